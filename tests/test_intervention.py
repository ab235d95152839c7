"""Trainings without the offset, and with one for all images: what is said of them follows the numbers."""

from types import SimpleNamespace

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
    assert "all images the test accuracy changes by -0.40 ± 0.00 points and the FPR95 of MSP by +4.0 ± 0.0 (s = 12.5 beside 12.0, n = 3)" in said
    assert "by -3.00 points and the FPR95 of MSP by +10.0 (s = 12.0 beside 12.0, n = 1)" in said
    spread = found.assign(accuracy=[83.0, 83.0, 83.0, 82.0, 83.0, 84.0, 80.0])  # Student's t at 2 degrees of freedom: 4.303 / sqrt(3)
    assert "changes by +0.00 ± 2.48 points" in intervention.alternatives_said(spread)
    assert said.endswith("A temperature fixed at its end was not trained, so whether the moving counts is open.")
    fixed = pd.DataFrame([{"method": "centred_logitnorm", "seed": 1, "accuracy": 79.6, "msp": 68.0, "s": 9.2, "nll": 0.5}])
    for change, word in (({}, "counts, as far as 1 of 3 seeds say:"), ({"msp": 66.0}, "counts for one of the two, as"), ({"accuracy": 80.0, "msp": 66.0}, "is not seen to count, as")):
        assert f"That it may move {word}" in intervention.fixed_said(pd.concat([found, fixed.assign(**change)]))
    assert "(centred LogitNorm, τ = 0.109), the test accuracy changes by -0.40 points and the FPR95 of MSP by +3.0 (n = 1)" in intervention.fixed_said(
        pd.concat([found, fixed]))
    both = pd.concat([found, fixed]).assign(nll=lambda rows: rows["method"].map({"logitnorm": 0.46, "one_offset": 0.47, "one_temperature": 0.5, "centred_logitnorm": 0.49}))
    assert "in every seed, by +0.040 nats where it may move and by +0.030 where it is fixed. Part of it may be the accuracy" in intervention.own_said(both)
    right = both.assign(accuracy=both["accuracy"].where(both["method"] != "centred_logitnorm", 84.0))
    assert "So for the probabilities it counts that each image has its own." in intervention.own_said(right)
    assert intervention.own_said(both.assign(nll=0.46)) == intervention.own_said(both[:7]) == ""
    assert "not yet run" in intervention.alternatives_said(found[:3]) and len(intervention.alternatives_table(found)) == 3


def test_what_the_intervention_says_names_both_losses():
    found = pd.DataFrame({"method": ["logitnorm"] * 2 + ["centred_logitnorm"] * 2, "tau": [0.01, 0.1] * 2,
                          "accuracy": [87.0, 88.0, 60.0, 86.0]})
    said = intervention.intervention_said(found)
    assert said.endswith("at τ = 0.01, 0.1 the test accuracy is 60.0, 86.0 %, and with it 87.0, 88.0 %.")
    assert "τ counts" in said and "matters little more" in intervention.intervention_said(found.assign(accuracy=[87.0, 88.0, 86.0, 87.0]))
    assert intervention.intervention_said(found[:2]) == ""


def test_whose_steps_are_larger_is_read_from_the_histories():
    def run(method, **norms):
        return SimpleNamespace(in_grid=True, config=SimpleNamespace(size="small", architecture="wrn10_2", id_dataset="cifar10", method=method, tau=0.04),
                               history=pd.DataFrame({"epoch": range(6), **norms}))

    plain = run("logitnorm", norm_train=[1.0, 10, 11, 12, 4, 4], grad_norm=[0.0, 3, 2, 1, 1, 1])
    centred = {"norm_train": [9.0] * 6, "centred_norm_train": [1.0, 12, 12, 12, 8, 8]}
    said = intervention.steps_said([plain, run("centred_logitnorm", **centred, grad_norm=[0.0, 4, 3, 2, 2, 1])])
    assert "(τ = 0.04: 0.48 and 0.44, in the median of all epochs 0.48 and 0.40). The gradient of all parameters itself" in said
    assert "τ = 0.04: 3.00 and 2.00, in the median of all epochs 2.00 and 1.00. So the steps without the offset are larger, and too large" in said
    assert intervention.steps_said([plain, run("centred_logitnorm", **centred, grad_norm=[0.0, 3, 2, 1, 1, 1])]).endswith("are not all larger.")
    assert intervention.steps_said([plain]) == intervention.steps_said([plain, run("centred_logitnorm", norm_train=[1.0] * 6, grad_norm=[1.0] * 6)]) == ""
