"""What the offset does to Energy, against the scores of the logits themselves."""

import numpy as np
import pytest
from fake_runs import write_run
from logitnorm import metrics, scores
from logitnorm.study import repair, results


def test_both_sides_are_energies_of_the_logits_with_and_without_their_mean(logit_runs):
    found = repair.sides(repair.repairs(logit_runs))
    [run] = [run for run in logit_runs if run.config.method == "logitnorm" and run.config.tau == 0.04]
    row = found[found["tau"] == 0.04].iloc[0]
    logits = {name: run.tensor(f"{name}/logits").astype(float) for name in run.sets}

    def mean(score):
        return np.mean([metrics.fpr95(score(logits["cifar10"]), score(logits[name])) for name in run.config.ood_sets])

    assert row["paper"] == pytest.approx(mean(lambda f: scores.energy(f, 0.1)))
    assert row["paper_centred"] == pytest.approx(mean(lambda f: scores.energy(scores.centred(f), 0.1)))
    assert row["one"] == pytest.approx(mean(scores.energy)) and row["msp"] == pytest.approx(mean(scores.msp))
    assert row["one_centred"] == pytest.approx(mean(lambda f: scores.energy(scores.centred(f))))
    assert repair.turned(run) == pytest.approx(mean(lambda f: scores.energy(scores.centred(f) - f.mean(axis=1, keepdims=True))))
    assert repair.own_turned_said(logit_runs) == "", "these are small runs"
    assert row["side"] == ("below 0" if logits["cifar10"].mean() < 0 else "above 0") and row["n"] == 1
    assert len(repair.sides_table(found)) == len(found) == 2 and repair.sides_said(found[:0]) == ""
    said = repair.sides_said(found.assign(one=90.0, one_centred=[50.0, 95.0], paper=50.0, paper_centred=[51.0, 47.0], msp=48.0))
    assert "in 1 at T = 1 and worse in 1; at the paper's T = 0.1 better in 1 and worse in 0" in said and "within 3.0 points" in said


def test_the_papers_own_training_is_repaired_at_both_temperatures(tmp_path):
    sets = ("textures_part", "svhn_part", "isun")
    write_run(tmp_path, format=1, size="full", method="logitnorm", tau=0.04, seed=1, ood_sets=sets, extra_sets=("cifar100",), history_ood="svhn_part")
    found = results.load_all(tmp_path)
    f = {name: found[0].tensor(f"{name}/logits").astype(float) for name in found[0].sets}

    def mean(score, names, metric=metrics.fpr95):
        return np.mean([metric(score(f["cifar10"]), score(f[name])) for name in names])

    said = repair.own_cost_said(found)
    for names, words in ((sets, "the six sets"), (("cifar100",), "near OOD")):
        ends = mean(lambda x: scores.energy(x, 0.1), names), mean(lambda x: scores.energy(scores.centred(x), 0.1), names)
        assert f"on {words} the paper's Energy (T = 0.1) goes from {ends[0]:.1f} to {ends[1]:.1f} %, at T = 1 it ends at {mean(lambda x: scores.energy(scores.centred(x)), names):.1f} %" in said
    alone = [mean(lambda x: abs(x.mean(axis=1)), names, metrics.auroc) for names in (sets, ("cifar100",))]
    assert f"|m| has an AUROC of {alone[0]:.0f} % on the six sets and {alone[1]:.0f} % on near OOD" in said
    assert repair.own_cost_said([]) == "" and repair.own_turned_said(found).startswith("Flip the sign of its offset")
