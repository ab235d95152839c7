"""What the offset does to Energy, against the scores of the logits themselves."""

import numpy as np
import pandas as pd
import pytest
from logitnorm import metrics, scores
from logitnorm.study import repair


def test_both_sides_are_energies_of_the_logits_with_and_without_their_mean(logit_runs):
    found = repair.sides(logit_runs)
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


def test_what_the_repair_costs_on_near_ood_is_said():
    mean = {("six", "energy_centred"): 20.7, ("six", "energy"): 21.7, ("six", "msp"): 19.3, ("near", "energy_centred"): 50.1, ("near", "energy"): 43.0, ("near", "msp"): 42.3}
    repaired = pd.DataFrame([{"size": "full", "architecture": "wrn40_2", "id_dataset": "cifar10", "cutout": 0, "in_grid": True, "method": "logitnorm",
                              "group": group, "score": score, "fpr95": value} for (group, score), value in mean.items()])
    assert "has 20.7 % instead of 21.7 on the six sets (MSP 19.3 %) and 50.1 % instead of 43.0 on near OOD (MSP 42.3 %)" in repair.own_cost_said(repaired)
    assert repair.own_cost_said(repaired[:3]) == ""
