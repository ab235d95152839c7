import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logitnorm import metrics
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

# Few distinct values: almost everything ties. All values are integers, so that maps of them are exact.
tied = st.lists(st.integers(-5, 5), min_size=1, max_size=60)
spread = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60)
pairs = st.one_of(st.tuples(tied, tied), st.tuples(spread, spread))


def gaussians(n=10_000, m=2_000, shift=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n), rng.normal(0, 1, m)


def labelled(id_scores, ood_scores):
    return np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))], np.r_[id_scores, ood_scores]


def sklearn_fpr95(id_scores, ood_scores):
    fpr, tpr, _ = roc_curve(*labelled(id_scores, ood_scores), drop_intermediate=False)
    return 100 * fpr[np.argmax(tpr >= 0.95)]


def sklearn_aupr(id_scores, ood_scores, id_per_ood):
    weight = np.r_[np.full(len(id_scores), id_per_ood / len(id_scores)),
                   np.full(len(ood_scores), 1 / len(ood_scores))]
    return 100 * average_precision_score(*labelled(id_scores, ood_scores), sample_weight=weight)


def sklearn_aupr_out(id_scores, ood_scores):
    return sklearn_aupr(-np.array(ood_scores), -np.array(id_scores), 1)


def slow_detection_error(id_scores, ood_scores):
    i, o = np.array(id_scores), np.array(ood_scores)
    thresholds = np.r_[i, o, np.inf]
    return 100 * min((np.mean(i < t) + np.mean(o >= t)) / 2 for t in thresholds)


ORACLES = {
    "fpr95": sklearn_fpr95,
    "auroc": lambda i, o: 100 * roc_auc_score(*labelled(i, o)),
    "aupr": lambda i, o: sklearn_aupr(i, o, 5),
    "aupr_in": lambda i, o: sklearn_aupr(i, o, 1),
    "aupr_out": sklearn_aupr_out,
    "detection_error": slow_detection_error,
    "ties": lambda i, o: 100 * np.mean([np.sum(np.r_[i, o] == s) > 1 for s in np.r_[i, o]]),
}


def check_against_oracles(id_scores, ood_scores):
    found = metrics.ood_metrics(id_scores, ood_scores)
    assert found.keys() == ORACLES.keys()
    for name, oracle in ORACLES.items():
        expected = pytest.approx(oracle(id_scores, ood_scores), abs=1e-9)
        assert found[name] == expected and getattr(metrics, name)(id_scores, ood_scores) == expected, name


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_every_metric_agrees_with_its_oracle_also_under_heavy_ties(pair):
    check_against_oracles(*pair)


@pytest.mark.parametrize("round_to", [6, 1])
def test_every_metric_agrees_with_its_oracle_on_many_scores(round_to):
    id_scores, ood_scores = gaussians(3_001, 701)
    check_against_oracles(id_scores.round(round_to), ood_scores.round(round_to))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(0, 3))
def test_fpr95_for_every_number_of_id_scores(n, step):
    """Not only multiples of 20, where 0.05 n is an integer and quantile rules agree."""
    id_scores = np.arange(n) // (step + 1)
    ood_scores = np.arange(-3, n + 3)
    expected = sklearn_fpr95(id_scores, ood_scores)
    assert metrics.fpr95(id_scores, ood_scores) == pytest.approx(expected, abs=1e-12)
    threshold = metrics.threshold95(id_scores)
    assert np.sum(id_scores >= threshold) >= math.ceil(19 * n / 20) > np.sum(id_scores > threshold)


# Calibration

def two_class_logits(probabilities):
    """Logits (log odds, 0) that give class 0 these probabilities."""
    p = np.array(probabilities)
    return np.stack([np.log(p / (1 - p)), np.zeros_like(p)], axis=1)


def test_ece_bins_include_their_upper_edge():
    """0.5 belongs to (0, 0.5]; in [0.5, 1) it would share a bin with 0.9, and their gaps cancel to 20 %."""
    f = two_class_logits([0.5, 0.9])
    assert metrics.ece(f, np.array([1, 0]), bins=2) == pytest.approx(100 * (0.5 + 0.1) / 2)
    assert metrics.ece([[800.0, 0.0]], [0]) == 0  # confidence exactly 1 is in the last bin


def test_ece_agrees_with_a_loop_over_bins():
    rng = np.random.default_rng(0)
    f, labels = rng.normal(size=(500, 4)), rng.integers(0, 4, 500)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    confidence, correct = p.max(1), p.argmax(1) == labels
    expected = 0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert metrics.ece(f, labels) == pytest.approx(100 * expected)


def calibrated(n, K=10, spread=2.0, seed=0):
    """Logits z and labels drawn from softmax(z), so that T = 1 is right."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, spread, (n, K))
    return z, (z + rng.gumbel(size=z.shape)).argmax(axis=1)


def logitnorm_like(n=5_000, K=10, seed=0):
    """Logits of a norm near 0.8, mostly right: the best T is far below 1, as after LogitNorm training."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, n)
    f = rng.normal(0, 0.15, (n, K))
    f[np.arange(n), labels] += 0.60
    return f.astype(np.float32), labels


def test_the_fitted_temperature_is_the_best_of_a_fine_grid():
    f, labels = logitnorm_like(2_000)
    T = metrics.fit_temperature(f, labels)
    grid = np.exp(np.linspace(np.log(1e-2), np.log(1e2), 2001))
    losses = [metrics.nll(f, labels, t) for t in grid]
    best = grid[np.argmin(losses)]
    assert best < 0.2
    assert pytest.approx(best, rel=0.005) == T
    assert metrics.nll(f, labels, T) <= min(losses)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_temperature_follows_the_scale_of_the_logits_and_ignores_a_shift_of_each_row(scale):
    f, labels = logitnorm_like(400)
    f = f.astype(float)
    shift = 1e4 * np.arange(400)[:, None]  # softmax does not see it, nor may the search range
    assert metrics.fit_temperature(scale * (f + shift), labels) == pytest.approx(
        scale * metrics.fit_temperature(f, labels), rel=1e-4)


def test_nll_agrees_with_torch():
    import torch
    f, labels = logitnorm_like(300)
    expected = torch.nn.functional.cross_entropy(torch.tensor(f).double() / 0.2, torch.tensor(labels))
    assert metrics.nll(f, labels, 0.2) == pytest.approx(expected.item(), rel=1e-12)
    with pytest.raises(ValueError, match="the temperature T must be positive, got 0"):
        metrics.nll(f, labels, 0)


def test_temperature_without_a_minimum_is_near_the_end_of_the_range():
    right, wrong = np.eye(10), np.arange(10)
    spread = np.std(right - right.mean(1, keepdims=True))
    assert metrics.fit_temperature(right, wrong) < 0.1 * spread  # all right: sharper is better
    assert metrics.fit_temperature(right, (wrong + 1) % 10) > 900 * spread  # all wrong: flatter is better
    with pytest.raises(ValueError, match="equal logits for all classes"):
        metrics.fit_temperature(np.ones((10, 10)), wrong)


def test_calibration_repairs_an_underconfident_net():
    f, labels = logitnorm_like(10_000)
    found = metrics.calibration(f, labels)
    assert found.keys() == {"ece", "ece_ts", "temperature"}
    assert found["ece"] == pytest.approx(metrics.ece(f, labels)) and found["ece"] > 60
    assert found["ece_ts"] < 1.5
    assert found["temperature"] == pytest.approx(metrics.fit_temperature(f, labels), rel=0.05)
    assert found == metrics.calibration(f, labels)


@pytest.mark.parametrize("n", [2, 601])
def test_no_image_is_scaled_by_a_temperature_it_helped_to_fit(monkeypatch, n):
    """The halves get the temperatures 2 and 3; the ECE is taken of each half divided by the other's."""
    f, labels = calibrated(n)
    fitted = []

    def fake_fit(half, half_labels):
        fitted.append({tuple(row) for row in half})
        return 1.0 + len(fitted)

    scaled = {}

    def fake_ece(logits, y):
        scaled["logits"] = logits
        return 0.0

    monkeypatch.setattr(metrics, "fit_temperature", fake_fit)
    monkeypatch.setattr(metrics, "ece", fake_ece)
    assert metrics.calibration(f, labels)["temperature"] == pytest.approx(math.sqrt(6))
    assert not fitted[0] & fitted[1] and len(fitted[0] | fitted[1]) == n
    assert abs(len(fitted[0]) - len(fitted[1])) <= 1
    for row, divided in zip(f, scaled["logits"]):
        T_of_the_other_half = 3.0 if tuple(row) in fitted[0] else 2.0
        np.testing.assert_allclose(divided, row / T_of_the_other_half)


# Refused inputs

@pytest.mark.parametrize("function", [metrics.fpr95, metrics.auroc, metrics.aupr, metrics.aupr_in, metrics.aupr_out,
                                      metrics.detection_error, metrics.ties, metrics.ood_metrics])
@pytest.mark.parametrize("bad, message", [
    ([], "OOD scores must be a non-empty list"),
    ([[1.0, 2.0]], r"OOD scores must be .*shape \(1, 2\)"),
    (3.0, "OOD scores must be"),
    ([1.0, np.nan], "1 of 2 OOD scores are not finite"),
    ([np.inf, -np.inf], "2 of 2 OOD scores are not finite"),
])
def test_bad_scores_are_refused(function, bad, message):
    with pytest.raises(ValueError, match=message):
        function([1.0] * 5, bad)
    with pytest.raises(ValueError, match=message.replace("OOD", "ID")):
        function(bad, [1.0] * 5)


@pytest.mark.parametrize("logits, labels, message", [
    (np.zeros((3, 2)), [0, 1], r"one label for each of the 3 rows of logits, got \(2,\)"),
    (np.zeros(3), [0, 1, 0], "matrix"),
    (np.zeros((0, 2)), [], "matrix"),
    (np.array([[np.nan, 0.0]]), [0], "not finite"),
    (np.zeros((2, 2)), [0, 2], "integers from 0 to 1"),
    (np.zeros((2, 2)), [-1, 0], "integers from 0 to 1"),
    (np.zeros((2, 2)), [0.0, 1.0], "integers from 0 to 1"),
])
def test_bad_logits_and_labels_are_refused(logits, labels, message):
    for function in (metrics.ece, metrics.nll, metrics.fit_temperature, metrics.calibration):
        with pytest.raises(ValueError, match=message):
            function(logits, labels)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        metrics.aupr_in([1.0], [0.0], id_per_ood=0)
    with pytest.raises(ValueError, match="matrix of N >= 1 images"):  # one of the halves is empty
        metrics.calibration([[1.0, 0.0]], [0])
