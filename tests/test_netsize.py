"""Size of the net, size of the effect: which runs are compared, and what is said of them."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_grid, write_run
from logitnorm import metrics, scores
from logitnorm.book import pictures
from logitnorm.study import netsize, offset, results

NETS = {"wrn10_1": (83.0, 12), "resnet20": (90.0, 12), "wrn40_2": (98.0, 30), netsize.PAPER: (np.inf, 200)}


def lines(energy, gradnorm, noise=1.0):
    """As netsize.effects: the changes of two scores in NETS; MSP falls by more in each, all other numbers by 10."""
    rows = []
    for i, (net, (fit, epochs)) in enumerate(NETS.items()):
        for number in netsize.NUMBERS:
            change = {"Energy": energy, "GradNorm": gradnorm, "MSP": [-10.0, -20.0, -30.0, -34.0]}.get(number, [-10.0] * 4)[i]
            rows.append({"net": net, "network": net, "epochs": epochs, "n": 3, "fit": fit, "number": number, "start": 50.0, "end": 50 + change,
                         "change": change, "noise": noise if net != netsize.PAPER else np.nan})
    return pd.DataFrame(rows)


def test_only_pairs_with_the_settings_of_their_size_are_compared(tmp_path):
    write_grid(tmp_path, seeds=(1, 2))
    write_grid(tmp_path, seeds=(1,), architecture="resnet20")
    write_run(tmp_path, method="cross_entropy", architecture="wrn10_1")  # no LogitNorm beside it
    for odd in (dict(tau=0.1), dict(epochs=6), dict(lr=0.4), dict(cutout=16)):
        write_run(tmp_path, method="logitnorm", seed=9, **odd)
    loaded = results.load_all(tmp_path, everything=True)
    assert {(run.config.architecture, run.config.seed) for run in netsize.pairs(loaded)} == {("wrn10_2", 1), ("wrn10_2", 2), ("resnet20", 1)}


def test_the_effect_is_the_difference_of_the_means_over_seeds(tmp_path):
    write_grid(tmp_path, seeds=(1, 2), format=1)
    loaded = results.load_all(tmp_path, everything=True)
    found = netsize.effects(loaded)
    mean = {method: np.mean([metrics.fpr95(*(scores.energy(scores.centred(run.tensor(f"{name}/logits").astype(float)), T) for name in ("cifar10", ood)))
                             for run in loaded if run.config.method == method for ood in run.config.ood_sets])
            for method, T in (("cross_entropy", 1), ("logitnorm", 0.1))}
    row = found[(found["net"] != netsize.PAPER) & (found["number"] == "Energy of f − m")].iloc[0]
    assert (row["start"], row["end"]) == pytest.approx(tuple(mean.values())) and row["n"] == 2
    theirs = found[(found["net"] == netsize.PAPER) & (found["number"] == "MSP")].iloc[0]
    assert (theirs["start"], theirs["end"]) == (49.52, 15.65)
    theirs = found[(found["net"] == netsize.PAPER) & (found["number"] == "accuracy")].iloc[0]
    assert (theirs["start"], theirs["end"]) == (94.75, 94.69) and found["net"].iloc[-1] == netsize.PAPER


SIDES = pd.DataFrame({"network": ["resnet20", "wrn40_2", "wrn10_1"], "above": [True, True, False], "n": [3, 1, 2], "change": [-9.0, 2.0, 8.0]})


def test_the_net_is_named_where_one_schedule_gives_both_signs():
    said = netsize.cause(lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41]), SIDES)
    assert "**GradNorm: the network or its schedule.** It is better in wrn40_2 and in none of the nets with 12 epochs" in said
    said = netsize.cause(lines(energy=[8, -9, -8, -8], gradnorm=[6, -5, -24, -41]), SIDES[:0])
    assert "**GradNorm: the network.** With the same loss and the same 12 epochs it is better in resnet20 (-5.0 points)" in said and "Energy" not in said


def test_energy_is_told_by_the_side_of_the_offset(tmp_path):
    said = netsize.cause(lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41]), SIDES)
    assert ("(below): with a mean logit above 0 its FPR95 falls in 1 of 2 networks, with a mean logit below 0 its FPR95 falls in 0 of 1 networks. "
            "On f − m, without the offset, it falls in 3 of 3") in said
    assert netsize.sided_table(SIDES).iloc[1].tolist() == ["wrn40_2", "above 0", "1", "+2.0"]
    write_grid(tmp_path, seeds=(1, 2))
    loaded = results.load_all(tmp_path, everything=True)
    found = netsize.sided(loaded)
    fpr95 = {(run.config.method, run.config.seed): np.mean([metrics.fpr95(run.score("energy", "cifar10"), run.score("energy", name)) for name in run.config.ood_sets]) for run in loaded}
    start = np.mean([fpr95["cross_entropy", seed] for seed in (1, 2)])
    for row in found.itertuples():
        of = [run.config.seed for run in loaded if run.config.method == "logitnorm" and (offset.described(run)["offset"] > 0) == row.above]
        assert row.n == len(of) and row.change == pytest.approx(np.mean([fpr95["logitnorm", seed] for seed in of]) - start)
    assert found["n"].sum() == 2


def test_the_gain_is_set_beside_the_fit():
    given = lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41])
    assert "MSP is better in 3 of 3 networks, the accuracy clearly lower in 3" in netsize.meaning(given)
    assert netsize.gain(given).startswith("**In 3 networks, the better one fits its training images, the more LogitNorm lowers the FPR95 of MSP: changes of -10.0 to -30.0 points** "
                                          "(Spearman's ρ = +1.00; the paper's WRN-40-2: -34.0)")
    given.loc[given["number"] == "MSP", "change"] = [-30.0, -20.0, -10.0, -34.0]
    assert "the less LogitNorm lowers" in netsize.gain(given)
    assert netsize.meaning(given[given["net"] == "wrn10_1"]) == ""


def test_godin_without_a_logitnorm_beside_it_is_no_comparison(tmp_path):
    write_run(tmp_path, method="godin")
    assert "not yet run" in netsize.godin(results.load_all(tmp_path))


def test_godin_says_whether_the_difference_is_clear(tmp_path):
    write_grid(tmp_path, methods=("logitnorm", "godin"))
    said = netsize.godin(results.load_all(tmp_path))
    assert said.startswith("In WRN-10-2 GODIN has a mean FPR95 of") and "clear difference by this book's rule. In the paper's WRN-40-2 it is 25.2 and 15.7 %" in said


def test_a_change_within_the_spread_of_the_seeds_is_no_change():
    given = lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41], noise=20.0)
    assert "Energy is not clearly different in wrn10_1, resnet20 and wrn40_2." in netsize.finding(given)
    assert netsize.wide(given, "Energy").iloc[0, 1] == "50.0 → 58.0 ?"
    clear = lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41])
    assert "Energy is worse in wrn10_1, better in resnet20 and wrn40_2." in netsize.finding(clear)
    assert "seeds of" not in netsize.finding(clear) and "what the 20 seeds of wrn10_1 say together" in netsize.finding(clear.assign(n=20))
    assert netsize.wide(clear, "Energy").iloc[0, 1] == "50.0 → 58.0"


def test_without_runs_the_page_says_so():
    assert "not yet run" in netsize.finding(netsize.effects([])) and "not yet run" in netsize.godin([])


def test_the_picture_tells_its_numbers_in_words():
    figure, alt = pictures.growing_effect(lines(energy=[8, -9, -8, -8], gradnorm=[6, 5, -24, -41]))
    assert "Energy: wrn10_1 +8.0, resnet20 -9.0" in alt and len(figure.axes[0].get_xticks()) == len(NETS)
