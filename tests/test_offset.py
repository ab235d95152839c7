"""The hidden temperature: its theory against autograd, its tables and sentences against worked cases."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from fake_runs import write_grid, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from logitnorm import losses, metrics, scores
from logitnorm.study import intervention, offset, repair, results

K = 10
SMALL = {"architecture": "wrn10_2", "n_id": 60, "n_ood": 20}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([0.01, 0.04, 0.1, 1.0]), st.floats(-5, 5))
def test_the_slope_along_ones_is_autograds(seed, tau, shift):
    torch.manual_seed(seed)
    f, y = (torch.randn(6, K, dtype=torch.float64) + shift).requires_grad_(), torch.randint(K, (6,))
    gradient = torch.autograd.grad(losses.logitnorm(f, y, tau, eps=0.0) * 6, f)[0].sum(dim=1)
    torch.testing.assert_close(offset.slope_along_ones(f.detach(), y, tau), gradient, rtol=1e-6, atol=1e-9)


def test_cross_entropy_and_centred_logitnorm_do_not_feel_an_offset():
    torch.manual_seed(0)
    f, y = (torch.randn(6, K, dtype=torch.float64) + 2).requires_grad_(), torch.randint(K, (6,))
    for loss in (losses.cross_entropy(f, y), losses.centred_logitnorm(f, y, 0.04)):
        torch.testing.assert_close(torch.autograd.grad(loss, f)[0].sum(dim=1), torch.zeros(6).double())
    torch.testing.assert_close(losses.centred_logitnorm(f + 7, y, 0.04), losses.centred_logitnorm(f, y, 0.04))


def test_descent_on_the_offset_alone_ends_on_the_fork():
    """Fixed directions of which a tenth is wrong: s* by a grid search, then gradient descent on m from nearly 0."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(K, size=400))
    seen = torch.where(torch.from_numpy(rng.random(400) < 0.9), labels, (labels + 3) % K)
    c = losses.centred(
        torch.nn.functional.one_hot(seen, K).double() + 0.15 * torch.from_numpy(rng.normal(size=(400, K)))
    )
    c = c / c.norm(dim=1, keepdim=True)
    grid = np.linspace(1, 30, 2901)
    s_star = grid[np.argmin([losses.cross_entropy(s * c, labels).item() for s in grid])]
    for tau, sign in ((0.04, 1), (0.04, -1), (1 / s_star * 1.5, 1)):
        m = torch.tensor(0.01 * sign, dtype=torch.float64, requires_grad=True)
        for _ in range(3000):
            [slope] = torch.autograd.grad(losses.logitnorm(c + m, labels, tau, eps=0.0), m)
            m = (m - 0.02 * slope).detach().requires_grad_()
        [arm] = offset.fork(tau, s_star)
        assert math.sqrt(K) * m.item() == pytest.approx(sign * arm, abs=0.02)
    assert arm == 0, "beyond 1/s* the offset goes away"


def test_worked_figures_of_the_fork():
    assert offset.fork([0.01, 0.04, 0.1], 14) == pytest.approx([7.07, 1.48, 0], abs=0.01)
    assert offset.ratio(10, 0.1) == 0 and offset.ratio(1 / (0.04 * math.sqrt(2)), 0.04) == pytest.approx(1)


def test_tables_of_runs_follow_from_their_logits(logit_runs):
    frame = offset.temperatures(logit_runs)
    assert sorted(frame["tau"]) == [0.01, 0.01, 0.04]
    row = frame[(frame["method"] == "logitnorm") & (frame["tau"] == 0.01)].iloc[0]
    [run] = [run for run in logit_runs if run.id == row["run"]]
    f = run.tensor("cifar10/logits").astype(float)
    c = f - f.mean(1, keepdims=True)
    s = (np.linalg.norm(c, axis=1) / np.linalg.norm(f, axis=1)).mean() / 0.01
    assert row["effective"] == pytest.approx(s) and row["nominal"] == 100
    assert row["offset"] == pytest.approx(f.mean()) and 0 < row["wanted"] < 1000

    repaired = repair.repairs(logit_runs)
    assert set(repaired["group"]) == {"six", "near", "far"}
    of = repaired[(repaired["run"] == run.id) & (repaired["group"] == "near")].set_index("score")["auroc"]
    g = run.tensor("cifar100/logits").astype(float)
    by_hand = metrics.auroc(scores.energy(c), scores.energy(g - g.mean(1, keepdims=True)))
    assert of["energy_centred"] == pytest.approx(by_hand), "cifar100 is the only near set of these runs"
    for table in (repair.repair_table(repaired), repair.repair_pairs(repaired), intervention.intervention_table(logit_runs),
                  offset.calibration_table(logit_runs), offset.calibration_table(logit_runs, every=False)):
        assert len(table) and not table.isna().any().any()
    assert "13" not in repair.finding(frame[:0], repaired[:0]) and "14" not in repair.finding(frame, repaired)
    assert repair.finding(offset.temperatures([]), repair.repairs([])) == "The runs that would show it: not yet run."
    assert "**Asked for an inverse temperature of 25 to 100, the network trains at" in repair.finding(frame, repaired)


def test_the_variance_along_a_direction_is_worked_by_hand():
    features = np.array([[3.0, 4.0], [3.0, -4.0]])
    assert [offset.along(features, direction) for direction in ((2, 0), (0, 3), (1, 1))] == pytest.approx([0, 100, 50])


@pytest.mark.parametrize("tau", [0.01, 0.05])
def test_across_c_the_gradient_has_no_tau(tau):
    """With an offset that gives every image the inverse temperature s, whatever tau is."""
    torch.manual_seed(0)
    s, K, y = 14.0, 10, torch.randint(10, (32,))
    c = torch.randn(32, K, dtype=torch.float64)
    c = c - c.mean(1, keepdim=True)
    r = c.norm(dim=1, keepdim=True)
    f = (c + (r / K ** 0.5) * (1 / (tau * s) ** 2 - 1) ** 0.5).requires_grad_()
    [gradient] = torch.autograd.grad(32 * losses.logitnorm(f, y, tau, eps=0.0), f)
    residual = (s * c / r).softmax(1) - torch.nn.functional.one_hot(y, K)

    def across(v):  # without its parts along 1 and along c
        v = v - v.mean(1, keepdim=True)
        return v - (v * c).sum(1, keepdim=True) / r ** 2 * c
    torch.testing.assert_close(across(gradient), s / r * across(residual), rtol=1e-9, atol=1e-12)


def test_what_is_said_of_the_step_follows_the_numbers(tmp_path):
    for tau in (0.01, 0.04, 0.1):
        write_grid(tmp_path, seeds=(1,), methods=["logitnorm"], tau=tau, **SMALL)
    found = results.load_all(tmp_path)
    frame = offset.temperatures(found)
    np.testing.assert_allclose(frame["divisor"], [run.config.tau * offset.described(run)["norm"] for run in found])
    level, growing = (offset.step_said(frame.assign(divisor=values), repair.repairs(found)) for values in (0.125, frame["tau"]))
    assert level == "Nor does τ set the step: at one learning rate τ‖f‖ is 0.125 to 0.125 (means over seeds) while τ goes from 0.01 to 0.1."
    assert growing.startswith("τ sets the step too: at one learning rate τ‖f‖ is 0.010 to 0.100")
    assert offset.step_said(frame.iloc[:1], repair.repairs(found)) == ""
    write_run(tmp_path, method="logitnorm", tau=0.01, lr=0.05, seed=1, architecture="wrn10_2", n_id=60, n_ood=20)
    found = results.load_all(tmp_path, everything=True)
    frame = offset.temperatures(found)
    slow = frame["lr"] < 0.2
    said = offset.step_said(frame.assign(effective=np.where(slow, 13.5, 13.8), train_accuracy=np.where(slow, 88.0, 90.0)), repair.repairs(found))
    assert "for τ = 0.01, the network trains at 13.5 instead of 13.8, with a training accuracy of 88.0 instead of 90.0 %" in said


def test_the_sweep_with_a_scaled_rate_says_whether_one_seed_can_place_its_minimum():
    taus = (0.02, 0.04, 0.08)
    common = {**offset.SMALL10, "method": "logitnorm", "score": "msp", "group": "six", "epochs": 12}
    usual = [{**common, "tau": tau, "seed": seed, "lr": 0.2, "fpr95": 45.0 + 3 * seed} for tau in taus for seed in (1, 2, 3)]
    slow = [{**common, "in_grid": False, "tau": tau, "seed": 1, "lr": 5 * tau, "fpr95": value} for tau, value in ((0.02, 55.0), (0.08, 49.0))]
    said = offset.scaled_minimum_said(pd.DataFrame(usual + slow))
    assert said.startswith("Over all 3 τ, one seed each, such a rate gives an FPR95 by MSP of 48.0 to 55.0 %, the lowest at τ = 0.04. One seed each cannot")
    assert "the second best τ is 1.0 points above, and the seeds of one τ have a standard deviation of 3.0 points" in said and "the other seeds have 51.0, 54.0 %" in said
    slow[1]["fpr95"] = 41.0
    said = offset.scaled_minimum_said(pd.DataFrame(usual + slow))
    assert "So there is a minimum: the second best τ is 7.0 points above" in said and "other seeds" not in said
    assert offset.scaled_minimum_said(pd.DataFrame(usual + slow[:1])) == offset.scaled_minimum_said(pd.DataFrame(usual)) == ""


def test_a_run_of_another_length_does_not_move_the_fitted_temperature():
    frame = offset.temperatures(offset.load())
    usual = frame[(frame["architecture"] == "wrn10_2") & (frame["method"] == "logitnorm") & (frame["id_dataset"] == "cifar10")
                  & (frame["epochs"] == 12) & np.isclose(frame["lr"], 0.2)]
    assert offset.fitted_s(frame) == pytest.approx(usual.loc[usual["tau"] < 0.045, "effective"].mean())
    moved = frame.assign(effective=frame["effective"].where(frame["run"].isin(usual["run"]), 99.0))
    assert offset.fitted_s(moved) == offset.fitted_s(frame) and (moved["effective"] == 99).sum() > 20
    said = offset.temperature_said(frame)
    ends = usual.groupby("tau")["effective"].mean()
    assert len(ends) == 8 and f"trains at {ends.min():.1f} to {ends.max():.1f}**" in said


def test_shares_of_the_variance_and_errors_of_calibration_are_told_for_both_losses(logit_runs):
    found = pd.DataFrame({"network": ["a", "b", "c"], "method": ["logitnorm", "logitnorm", "cross_entropy"], "offset": [5.3, 7.3, 1.1], "class_row": [6.0, 9.8, 8.0], "mean_feature": 20.0, "chance": 0.8})
    assert offset.direction_said(found) == ("Along it lies 5.3 to 7.3 % of the variance of the features under LogitNorm, and 1.1 % under cross-entropy, where the offset "
                                            "means nothing to the loss; along the row of a class, LogitNorm's mean, 6.0 to 9.8 %.")
    assert offset.direction_said(found[:2]) == "" and list(offset.direction_table(found)) == ["network", "along the offset", "along a class row, mean", "along the mean feature", "by chance"]
    assert offset.direction_table(offset.directions([])).iloc[0, 0] == "not yet run"
    ece = {method: [offset.on_softmax(run, method != "cross_entropy")["ece"] for run in logit_runs if run.config.method == method] for method in ("cross_entropy", "logitnorm")}
    said = offset.normalised_said(logit_runs)
    assert said.startswith(f"On CIFAR-10 its ECE is {np.mean(ece['logitnorm']):.1f} %, the raw") and said.endswith(f"cross-entropy's {np.mean(ece['cross_entropy']):.1f}.")
    assert offset.normalised_said(logit_runs[:1]) == ""
