"""Learned Confidence at toy size: the data, the branch it learns, and the threshold taken from errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logitnorm import losses, metrics, paths
from logitnorm.study import confidence, results
from logitnorm.train import LAMBDA


def test_xor_labels_are_the_quadrants_and_noise_is_of_the_kind_asked_for():
    x, y = confidence.xor(20_000, 0.0, 0.0, torch.Generator().manual_seed(0))
    assert x.abs().max() <= 1 and x.min() < -0.99
    assert torch.equal(y, ((x[:, 0] > 0) != (x[:, 1] > 0)).long())
    same, noisy = confidence.xor(20_000, 0.3, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, x)
    assert (noisy != y).double().mean().item() == pytest.approx(0.3, abs=0.015)  # over four standard deviations
    moved, kept = confidence.xor(20_000, 0.0, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(kept, y) and (moved - x).std().item() == pytest.approx(0.2, abs=0.005)


def borders(c):
    """Mean confidence in the middles of the quadrants and on the axes, where labels change."""
    return c[[20, 20, 60, 60], [20, 60, 20, 60]].mean(), np.concatenate([c[40], c[:, 40]]).mean()


@pytest.fixture(scope="module")
def toys():
    """Moved points, flipped labels, and moved points without hints, trained side by side."""
    settings = dict(jitter=0.2), dict(flipped=0.3), dict(jitter=0.2, hints=0.0)
    return confidence.train_toys(*(confidence.Setting(**setting) for setting in settings))


def test_toys_trained_side_by_side_do_not_touch_each_other():
    """Against the plain loop, one net at a time."""
    settings = [confidence.Setting(jitter=0.2), confidence.Setting(flipped=0.2, budget=1.0, hints=1.0)]
    for setting, toy in zip(settings, confidence.train_toys(*settings, steps=20)):
        torch.manual_seed(1)
        net, weight, draw = confidence.Points(), torch.tensor(LAMBDA), torch.Generator().manual_seed(1)
        x, y = confidence.xor(1000, setting.flipped, setting.jitter, draw)
        optimizer = torch.optim.Adam(net.parameters(), 0.003)
        for _ in range(20):
            f, _, c = net(x)
            L_t, L_c = losses.learned_confidence(f, c, y, torch.rand(len(x), generator=draw) < setting.hints)
            optimizer.zero_grad()
            (L_t + weight * L_c).backward()
            optimizer.step()
            weight = losses.next_lambda(weight, L_c.detach(), setting.budget)
        np.testing.assert_allclose(confidence.grid(toy.net), confidence.grid(net), atol=1e-4)
        assert toy.weight == pytest.approx(weight.item())


def test_the_branch_is_less_sure_at_mixed_borders_and_the_budget_is_met(toys):
    toy = toys[0]
    assert toy.accuracy > 85
    c = confidence.grid(toy.net)
    assert c.shape == (81, 81) and c.min() >= 0 and c.max() <= 1
    middle, border = borders(c)
    assert border < middle - 0.2
    assert toy.confidence_loss == pytest.approx(0.3, abs=0.06)


def test_labels_flipped_everywhere_give_the_constant_that_costs_the_budget(toys):
    c = confidence.grid(toys[1].net)
    assert c.std() < 0.1 and c.mean() == pytest.approx(np.exp(-0.3), abs=0.06)


def test_without_hints_the_branch_learns_nothing(toys):
    assert confidence.grid(toys[2].net).min() > 0.99 and toys[2].weight < 1e-3


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 30), st.integers(1, 30))
def test_the_threshold_is_the_best_of_all(seed, levels, right, wrong):
    """Against a plain loop over every threshold, with ties; the detection error is that of metrics."""
    draw = np.random.default_rng(seed)
    score = draw.integers(levels, size=right + wrong) / levels
    correct = np.arange(right + wrong) < right
    found = confidence.threshold_from_errors(score, correct)

    def error(threshold):
        return 50 * (np.mean(score[correct] < threshold) + np.mean(score[~correct] >= threshold))

    assert error(found) == pytest.approx(min(error(t) for t in [*score, np.inf]))
    assert confidence.detection_error_at(score[correct], score[~correct], found) == pytest.approx(error(found))
    assert error(found) == pytest.approx(metrics.detection_error(score[correct], score[~correct]))


@pytest.mark.parametrize("correct", [np.ones(3, bool), np.zeros(3, bool)])
def test_without_errors_there_is_no_threshold(correct):
    with pytest.raises(ValueError, match="needs both right and wrong"):
        confidence.threshold_from_errors(np.arange(3.0), correct)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_threshold_curve_is_the_detection_error_and_its_flat_part_holds_the_best(inside, outside):
    curve = confidence.threshold_curve(inside, outside, points=11)
    expected = [50 * (np.mean(np.array(inside) < t) + np.mean(np.array(outside) >= t)) for t in curve.threshold]
    np.testing.assert_allclose(curve.error, expected)
    low, high = curve.flat
    within = (curve.threshold >= low) & (curve.threshold <= high)
    assert (curve.error[within] <= curve.error.min() + 2).all() and within[np.argmin(curve.error)]
    outer = np.flatnonzero(within)[[0, -1]] + [-1, 1]  # just beyond either end it is worse
    assert all(curve.error[i] > curve.error.min() + 2 for i in outer if 0 <= i < 11)


# ---- the price of hints

@given(p=st.floats(0.01, 0.99), weight=st.floats(0.01, 1))
@settings(max_examples=30, deadline=None)
def test_the_cheapest_confidence_is_where_the_loss_of_the_library_is_lowest(p, weight):
    c = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    f = torch.tensor([[np.log(p / (1 - p)), 0.0]], dtype=torch.float64).repeat(len(c), 1)
    terms = [losses.learned_confidence(f[i:i + 1], torch.logit(c[i:i + 1]), torch.tensor([0]), torch.tensor([True])) for i in range(0, len(c), 9)]
    loss = np.array([(L_t + weight * L_c).item() for L_t, L_c in terms])
    np.testing.assert_allclose(loss, confidence.hinted_loss(p, c[::9].numpy(), weight), rtol=1e-6)
    best = confidence.best_confidence(p, weight)
    assert abs(best - c[::9][int(loss.argmin())].item()) < 0.012


def test_a_sure_network_buys_nothing():
    np.testing.assert_array_equal(confidence.best_confidence([1.0, 0.95], 0.1), [1, 1])
    assert confidence.best_confidence(0.0, 0.1) == pytest.approx(0.1 / 1.1)


def test_middle_and_border_and_what_is_said_of_them():
    c = np.ones((81, 81))
    c[40], c[:, 40] = 0.2, 0.2
    assert confidence.middle_and_border(c) == (1.0, pytest.approx(0.2))
    assert "c is 1.00 in the middles of the quadrants and 0.20 on their borders" in confidence.toy_finding(np.full((81, 81), 0.7), c)


def test_the_threshold_of_a_run_is_that_of_its_errors():
    run = results.load(paths.RUNS / "small-cifar10-wrn10_2-learned_confidence-cutout16-seed1")
    found = confidence.from_errors(run)
    raw = run.score("confidence", "cifar10")
    assert found.score == "confidence"
    assert np.log(found.threshold / (1 - found.threshold)) == pytest.approx(confidence.threshold_from_errors(raw[::2], run.correct[::2]))
    outside = run.score("confidence", "isun")
    isun = found.by_set.set_index("ood_dataset").loc["isun"]
    assert isun["best"] == pytest.approx(metrics.detection_error(raw[1::2], outside)) and isun["error"] >= isun["best"]
    logit = np.log(found.threshold / (1 - found.threshold)) - 1e-9  # an image is accepted at the threshold
    assert isun["error"] == pytest.approx(50 * (np.mean(raw[1::2] < logit) + np.mean(outside >= logit)))
