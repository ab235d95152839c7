"""How many seeds a claim needs, on numbers of which the answer is known by hand."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_run
from logitnorm.study import paper, results, seeds


def frame(a, b, score="msp", metric="fpr95", offsets=None):
    """Rows as paper.ours gives them: `a` with cross-entropy and `b` with LogitNorm, one value a seed."""
    return pd.DataFrame([{"method": method, "seed": seed, "score": score, "metric": metric, "ood_dataset": "average", "value": value,
                          "offset": 0.0 if offsets is None else offsets[seed]}
                         for method, values in zip(seeds.METHODS, (a, b)) for seed, value in enumerate(values)])


def test_pairs_stand_seed_by_seed():
    rows = frame([70, 71, 72], [40, 41, 42]).sample(frac=1, random_state=0)
    assert seeds.pairs(rows, "msp", "fpr95").tolist() == [[70, 40], [71, 41], [72, 42]]


@pytest.mark.parametrize("count", [1, 2])
def test_the_chance_of_a_wrong_order_is_that_of_all_draws(count):
    a, b = [50.0, 60.0, 70.0, 80.0], [45.0, 55.0, 72.0, 75.0]
    means = [[np.mean(pick) for pick in itertools.product(side, repeat=count)] for side in (a, b)]
    counted = [0.5 * (y == x) + (y > x) for x, y in itertools.product(*means)]  # LogitNorm's mean is the lower one
    assert seeds.wrong(np.transpose([a, b]), count) == pytest.approx(100 * np.mean(counted), abs=1e-9 if count == 1 else 1)


def test_losses_far_apart_are_never_in_the_wrong_order_and_equal_ones_half_the_time():
    rng = np.random.default_rng(0)
    assert seeds.wrong(np.c_[70 + rng.random(10), 40 + rng.random(10)], 1) == 0
    same = rng.permutation(20) / 1.0
    assert 35 < seeds.wrong(np.c_[same, rng.permutation(same) + 1e-3], 3) < 65


def test_more_seeds_than_there_are_is_refused():
    with pytest.raises(ValueError, match="wrong: 4 seeds out of 3; give between 1 and 3"):
        seeds.wrong(np.ones((3, 2)), 4)


def test_the_interval_holds_the_true_change_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(20):
        a = rng.normal(60, 3, 15)
        low, high = seeds.interval(np.c_[a, rng.normal(55, 3, 15)])
        held += low <= -5 <= high
    assert held >= 16


def test_the_books_rule_calls_a_change_within_the_spread_unclear():
    rng = np.random.default_rng(0)
    clear = seeds.unclear(np.c_[rng.normal(70, 1, 20), rng.normal(40, 1, 20)], 3, 2.0)
    vague = seeds.unclear(np.c_[rng.normal(70, 6, 20), rng.normal(66, 6, 20)], 3, 2.0)
    assert clear == (0, 0) and vague[0] > 50


def test_two_heaps_by_the_sign_of_the_offset():
    rows = frame([70] * 6, [80, 81, 82, 60, 61, 62], score="energy", offsets=[-1, -1, -1, 1, 1, 1])
    assert "the 3 seeds with a mean logit below zero have 81.0 ± 1.0 %, the 3 above zero 61.0 ± 1.0 %" in seeds.heaps(rows)
    assert seeds.heaps(rows.assign(offset=1.0)) == ""


def test_the_study_takes_the_seeds_that_both_losses_have(tmp_path):
    for method, chosen in (("cross_entropy", (1, 2, 3)), ("logitnorm", (2, 3, 4))):
        for seed in chosen:
            write_run(tmp_path, method=method, seed=seed, architecture="wrn10_1")
    for odd in (dict(lr=0.4), dict(tau=0.1), dict(cutout=16)):
        write_run(tmp_path, method="logitnorm", seed=2, architecture="wrn10_1", **odd)
    loaded = results.load_all(tmp_path, everything=True)
    found = seeds.many(loaded)
    assert set(found["seed"]) == {2, 3} and found["offset"].notna().all()
    lines = seeds.table(frame_of_all_claims())
    assert seeds.finding(lines, 8).startswith("**One seed of each loss ranks the two by the FPR95 of MSP as all 8 seeds do in 100 of 100 draws, by that of")
    assert re.search(r"With 2, 3 and 5 seeds \w+ gets \d+, \d+ and \d+\.", seeds.finding(lines, 8))
    assert list(seeds.printed(lines)["", "number"]) == list(seeds.CLAIMS)


def frame_of_all_claims():
    rng = np.random.default_rng(0)
    parts = []
    for score, metric in seeds.CLAIMS.values():
        far = score == "msp" or metric == "accuracy"
        part = frame(rng.normal(70, 1, 8), rng.normal(40 if far else 69, 3, 8), score=score, metric=metric)
        parts.append(part.assign(ood_dataset="average" if score else ""))
    return pd.concat(parts)


def test_what_the_rule_says_is_in_words():
    said = seeds.rule_said(frame_of_all_claims())
    assert "-0.5 and +0.5" in seeds.paired_said(pd.DataFrame({"correlation": [0.1, -0.5, 0.5]}))
    assert "MSP 0 and 0" in said and "Energy of f − m" in said
    assert paper.LEAST["fpr95"] == 2.0
