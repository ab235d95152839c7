"""What was predicted is judged by its own words: each judge says held, did not hold, and not yet."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_grid
from logitnorm.study import intervention, offset, predictions, repair, results

SMALL = {"architecture": "wrn10_2", "n_id": 60, "n_ood": 20}


def test_every_prediction_has_a_judge_and_open_ones_say_so(logit_runs):
    entries = predictions.made()
    assert [entry["id"] for entry in entries] == list(predictions.JUDGES)
    became = predictions.judged(logit_runs, offset.temperatures(logit_runs), repair.repairs(logit_runs))["became"]
    known = {"label-noise": "held", "wrn40-temperature": predictions.RECORD}  # one is judged by data/benchmarks, one was no prediction
    assert became.tolist() == [known.get(entry["id"], "not yet run") for entry in entries]
    became = ["held", "held", "did not hold", "not yet run", predictions.RECORD]
    assert predictions.judged_said(pd.DataFrame({"became": became, "prediction": [*"ab", "Third: it is so.", *"de"]})) == (
        "**2 held, 1 did not**; 1 waits for runs, and 1 is the record of what was already seen. Some were judged on the same runs, so the count is no sample. "
        "What did not hold: “Third”.")


def test_judges_say_held_and_did_not_hold(tmp_path):
    for tau in (0.02, 0.03, 0.05, 0.08):
        write_grid(tmp_path, methods=["logitnorm"], tau=tau, **SMALL)
    found = results.load_all(tmp_path)
    frame = offset.temperatures(found)
    for name, change, held in (
        ("sweep-sign", {"offset": np.where(frame["seed"] == 1, -1.0, 1.0)}, True),
        ("sweep-sign", {"offset": 1.0}, False),
        ("sweep-threshold", {"offset": 0.1, "effective": 12.0}, True),
        ("sweep-threshold", {"offset": 0.1, "effective": 11.8}, False),
        ("sweep-threshold", {"offset": -0.3, "effective": 12.4}, False),
    ):
        assert predictions.JUDGES[name]([], frame.assign(**change), None, [])[0] is held, (name, change)
    for tau in (0.06,):
        write_grid(tmp_path, methods=["logitnorm"], tau=tau, **SMALL)
    frame = offset.temperatures(results.load_all(tmp_path))
    for change, held in (
        ({"effective": 13.5, "test_accuracy": 87.0}, True),
        ({"effective": 12.9, "test_accuracy": 87.0}, False),
        ({"effective": 13.5, "test_accuracy": 86 + 20 * frame["tau"] * (frame["tau"] > 0.05)}, False),
    ):
        assert predictions.JUDGES["sweep-plateau"]([], frame.assign(**change), None, [])[0] is held, change


def test_one_run_can_decide_a_prediction_about_all():
    scaled = pd.DataFrame({"in_grid": False, "tau": [0.02, 0.04], "fpr95": [40.0, 38.0], "score": "msp", "group": "six", "size": "small", "seed": 1, "epochs": 12,
                           "architecture": "wrn10_2", "id_dataset": "cifar10", "method": "logitnorm", "lr": [0.1, 0.2]})
    judge = predictions.JUDGES["scaled-step"]
    assert judge([], None, scaled, [])[0] is None and judge([], None, scaled.assign(fpr95=[37.0, 38.0]), [])[0] is True
    whole = pd.concat([scaled[1:].assign(tau=tau, lr=5 * tau, fpr95=38 + abs(tau - 0.04)) for tau in
                       (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1)])
    assert judge([], None, whole, [])[0] is False
    lengths = pd.DataFrame({"epochs": [6, 12], "effective": [12.0, 13.6], "signed_ratio": [-1.7, -1.5], "train_accuracy": 90.0,
                            "size": "small", "architecture": "wrn10_2", "id_dataset": "cifar10", "method": "logitnorm", "tau": 0.04,
                            "seed": 1, "lr": 0.2})
    judge = predictions.JUDGES["longer-training"]
    assert judge([], lengths, None, [])[0] is None
    assert judge([], lengths.assign(effective=[14.0, 13.6]), None, [])[0] is False
    longest = lengths[1:].assign(epochs=30, effective=15.0, signed_ratio=-1.2)
    assert judge([], pd.concat([lengths, longest]), None, [])[0] is True


@pytest.mark.parametrize("name, method, change, held", [
    ("one-offset", "one_offset", (0.6, 6.0, 1.0), True), ("one-offset", "one_offset", (-0.7, 0.0, 0.0), False),
    ("one-offset", "one_offset", (0.0, 7.0, 0.0), False), ("one-offset", "one_offset", (0.0, 0.0, 2.0), False),
    ("one-temperature", "one_temperature", (-0.9, 5.0, 0.0), True), ("one-temperature", "one_temperature", (-0.7, 9.0, 0.0), False),
    ("one-temperature", "one_temperature", (-3.0, 4.0, 0.0), False), ("fixed-temperature", "centred_logitnorm", (-0.31, 3.0, 0.0), True),
    ("fixed-temperature", "centred_logitnorm", (-0.2, 9.0, 0.0), False), ("fixed-temperature", "centred_logitnorm", (-2.0, 2.9, 0.0), False)])
def test_judges_of_the_two_heads_and_of_a_fixed_temperature(monkeypatch, name, method, change, held):
    """A fixed temperature stands beside the one that moves, not beside LogitNorm."""
    of = {"logitnorm": (0, 0, 0), method: change}
    if name == "fixed-temperature":
        of = {"logitnorm": (9, -9, 0), "one_temperature": (0, 0, 0), method: change}
    found = pd.DataFrame([{"method": method, "seed": seed, "nll": 0.5, "accuracy": 83.0 + a, "msp": 55.0 + b, "s": 12.0 + c}
                          for method, (a, b, c) in of.items() for seed in (1, 2, 3)])
    for rows, said in ((found, held), (found[:-1], None)):
        monkeypatch.setattr(intervention, "alternatives", lambda loaded, rows=rows: rows)
        assert predictions.JUDGES[name]([], None, None, [])[0] is said


def test_the_papers_own_training_is_judged_by_what_was_predicted_of_it():
    common = {"architecture": "wrn40_2", "id_dataset": "cifar10", "seed": 1, "in_grid": True, "counted": True, "cutout": 0,
              "group": "six"}
    frame = pd.DataFrame([{**common, "method": "logitnorm", "tau": 0.04, "size": size, "epochs": epochs, "effective": s}
                          for size, epochs, s in (("full", 200, 22.0), ("medium", 30, 17.0))])
    assert predictions.JUDGES["full-temperature"](None, frame, None, None) == (True, "s* 22.0 after 200 epochs, 17.0 after 30")
    for s in (16.9, 23.1):
        assert predictions.JUDGES["full-temperature"](None, frame.assign(effective=[s, 17.0]), None, None)[0] is False
    assert predictions.JUDGES["full-temperature"](None, frame[1:], None, None) == (None, "")
    values = {"logitnorm": {"energy_t1": 96.0, "energy_centred": 20.0, "msp": 19.0, "energy": 21.0, "paper_centred": 18.0}, "cross_entropy": {"energy": 37.0, "energy_centred": 37.5}}
    repaired = pd.DataFrame([{**common, "size": "full", "method": method, "tau": 0.04 if method == "logitnorm" else np.nan, "score": score, "fpr95": value}
                             for method, of in values.items() for score, value in of.items()])
    judge = predictions.JUDGES["full-energy"]
    assert judge(None, None, repaired, None) == (True, "LogitNorm: 96.0 to 20.0 %; Cross-entropy: 37.0 to 37.5 %")
    assert judge(None, None, repaired.replace({"fpr95": {96.0: 24.0}}), None)[0] is False and judge(None, None, repaired[:5], None)[0] is None
    said = repair.own_repair_said(repaired)
    assert "from 21.0 to 18.0 % at the paper's T = 0.1, and from 96.0 to 20.0 % at T = 1** (MSP 19.0 %, Energy under cross-entropy 37.0 %;" in said
    assert repair.own_repair_said(repaired.assign(size="small")) == repair.own_repair_said(repaired[:5]) == repair.own_repair_said(pd.DataFrame()) == ""
