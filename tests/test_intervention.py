"""Trainings without the offset, and with one for all images: what is said of them follows the numbers."""

import pandas as pd
from fake_runs import write_run
from logitnorm.study import intervention, offset


def test_heads_are_compared_seed_by_seed(tmp_path):
    for method, seeds in (("logitnorm", (1, 2, 3)), ("one_offset", (1, 2, 3)), ("one_temperature", (1,))):
        for seed in seeds:
            write_run(tmp_path, method=method, tau=0.04, seed=seed, architecture="wrn10_1", n_id=60, n_ood=20)
    found = intervention.alternatives(offset.load(tmp_path))
    assert found["method"].tolist() == ["logitnorm"] * 3 + ["one_offset"] * 3 + ["one_temperature"]
    base = {"logitnorm": (83.0, 55.0, 12.0), "one_offset": (82.6, 59.0, 12.5), "one_temperature": (80.0, 65.0, 12.0)}
    found[["accuracy", "msp", "s"]] = [base[name] for name in found["method"]]
    said = intervention.alternatives_said(found)
    assert "all images the test accuracy changes by -0.40 points and the FPR95 of MSP by +4.0 (s = 12.5 beside 12.0, n = 3)" in said
    assert "by -3.00 points and the FPR95 of MSP by +10.0 (s = 12.0 beside 12.0, n = 1)" in said
    assert said.startswith("**One offset comes near, one temperature does not** by the thresholds of the predictions, 0.6 points of accuracy and 6 of FPR95. That is so far")
    assert "no length in its loss, so the length of c in the loss counts" in said
    assert "Either comes near" in intervention.alternatives_said(found.assign(accuracy=83.0, msp=55.0))
    worse = found.assign(accuracy=[80.0 if name == "one_offset" else 83.0 for name in found["method"]], msp=55.0)
    assert "**One temperature comes near, one offset does not**" in intervention.alternatives_said(worse) and "is hardly what MSP" in intervention.alternatives_said(worse)
    assert "**Neither does" in intervention.alternatives_said(worse.assign(accuracy=[83.0 if name == "logitnorm" else 80.0 for name in found["method"]]))
    assert said.endswith("A temperature fixed at its end was not trained, so whether the moving counts is open.")
    fixed = pd.DataFrame([{"method": "centred_logitnorm", "seed": 1, "accuracy": 79.6, "msp": 68.0, "s": 9.2, "nll": 0.5}])
    for change, word in (({}, "counts**:"), ({"msp": 66.0}, "counts for one of the two**"), ({"accuracy": 80.0, "msp": 66.0}, "hardly counts**")):
        assert f"**That it may move {word}" in intervention.fixed_said(pd.concat([found, fixed.assign(**change)]))
    assert "(centred LogitNorm, τ = 0.109), the test accuracy changes by -0.40 points and the FPR95 of MSP by +3.0 (n = 1)" in intervention.fixed_said(
        pd.concat([found, fixed]))
    assert "not yet run" in intervention.alternatives_said(found[:3]) and len(intervention.alternatives_table(found)) == 3


def test_what_the_intervention_says_names_both_losses():
    found = pd.DataFrame({"method": ["logitnorm"] * 2 + ["centred_logitnorm"] * 2, "tau": [0.01, 0.1] * 2,
                          "accuracy": [87.0, 88.0, 60.0, 86.0]})
    said = intervention.intervention_said(found)
    assert "between 87.0 and 88.0 %" in said and "between 60.0 and 86.0 %" in said and "0.01 to 0.1" in said
    assert "τ is real" in said and "matters little more" in intervention.intervention_said(found.assign(accuracy=[87.0, 88.0, 86.0, 87.0]))
    assert intervention.intervention_said(found[:2]) == ""
