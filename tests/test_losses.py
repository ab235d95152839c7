"""The losses against hand-worked numbers, autograd and the propositions of section 3 of the paper."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from logitnorm import losses

properties = settings(max_examples=100)

temperatures = st.floats(0.02, 5.0)


@st.composite
def examples(draw, batch=1, largest=20.0):
    """Logits f (batch x K, float64, no row near the zero vector) and labels y (batch)."""
    K = draw(st.integers(2, 12))
    numbers = st.floats(-largest, largest, allow_nan=False, width=32)
    f = torch.tensor(draw(st.lists(numbers, min_size=batch * K, max_size=batch * K)), dtype=torch.float64)
    f = f.reshape(batch, K)
    assume(f.norm(dim=-1).min() > 0.01)
    y = torch.tensor(draw(st.lists(st.integers(0, K - 1), min_size=batch, max_size=batch)))
    return f, y


def simplex_vertex(K, y):
    """The direction e_y - 1/K, where the LogitNorm loss of label y is smallest."""
    vertex = torch.full((1, K), -1.0 / K, dtype=torch.float64)
    vertex[0, y] += 1
    return vertex


# --- hand-worked numbers --------------------------------------------------------------------------

@pytest.mark.parametrize("f, y, tau, by_hand", [
    # K = 2: (3, 4) / 5 = (0.6, 0.8)
    ([3.0, 4.0], 1, 1.0, math.log(1 + math.exp(-0.2))),
    ([3.0, 4.0], 0, 1.0, math.log(1 + math.exp(0.2))),
    ([3.0, 4.0], 1, 0.1, math.log(1 + math.exp(-2.0))),
    # K = 3: (2, -1, 2) / 3, tau = 1/3 -> (2, -1, 2)
    ([2.0, -1.0, 2.0], 0, 1 / 3, math.log(2 + math.exp(-3.0))),
    ([2.0, -1.0, 2.0], 1, 1 / 3, math.log(1 + 2 * math.exp(3.0))),
])
def test_logitnorm_by_hand(f, y, tau, by_hand):
    f = torch.tensor([f], dtype=torch.float64)
    assert losses.logitnorm(f, torch.tensor([y]), tau, eps=0.0).item() == pytest.approx(by_hand, rel=1e-12)
    assert losses.logitnorm(f, torch.tensor([y]), tau).item() == pytest.approx(by_hand, rel=1e-5)


def test_zero_logits_give_log_K_and_a_finite_gradient():
    f = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    loss = losses.logitnorm(f, torch.tensor([0]), 0.04)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(10))
    assert torch.isfinite(f.grad).all()


# --- Eq. 4: what normalising does -----------------------------------------------------------------

@properties
@given(examples(), temperatures)
def test_logitnorm_is_cross_entropy_at_temperature_tau_times_norm(example, tau):
    f, y = example
    as_temperature = losses.cross_entropy(f / (tau * f.norm()), y)
    torch.testing.assert_close(losses.logitnorm(f, y, tau, eps=0.0), as_temperature)


@pytest.mark.parametrize("tau", [0.0, -0.04, float("nan")])
def test_a_tau_that_is_not_positive_is_refused(tau):
    f, y = torch.ones(1, 3), torch.tensor([0])
    for call in (lambda: losses.normalise(f, tau), lambda: losses.logitnorm(f, y, tau),
                 lambda: losses.grad_logitnorm(f, y, tau), lambda: losses.lower_bound(tau, 10),
                 lambda: losses.infimum(tau, 10)):
        with pytest.raises(ValueError, match="tau must be positive"):
            call()


# --- gradients ------------------------------------------------------------------------------------

def autograd(loss, f):
    """Gradient of a mean loss over the rows of f, times their number: the per-example gradients."""
    f = f.clone().requires_grad_()
    return torch.autograd.grad(loss(f) * len(f), f)[0]


@properties
@given(examples(batch=3))
def test_gradient_of_cross_entropy_equals_autograd(example):
    f, y = example
    by_autograd = autograd(lambda x: losses.cross_entropy(x, y), f)
    torch.testing.assert_close(losses.grad_cross_entropy(f, y), by_autograd)


@properties
@given(examples(batch=3), temperatures)
def test_gradient_of_logitnorm_equals_autograd(example, tau):
    f, y = example
    by_autograd = autograd(lambda x: losses.logitnorm(x, y, tau, eps=0.0), f)
    # rounding grows with the factor 1/(tau ||f||) before the projection cancels most of it
    tolerance = 1e-13 * len(f[0]) * (1 / (tau * f.norm(dim=-1).min())).item() / tau
    torch.testing.assert_close(losses.grad_logitnorm(f, y, tau), by_autograd, rtol=1e-9, atol=tolerance)


@properties
@given(examples())
def test_cross_entropy_pushes_the_norm_by_mean_direction_minus_own(example):
    """dL/d||f|| = E_p[f^] - f^_y, and it is <= 0 (the norm is pushed up) when y is the predicted class."""
    f, y = example
    norm, direction = f.norm().requires_grad_(), f / f.norm()
    slope = torch.autograd.grad(losses.cross_entropy(norm * direction, y), norm)[0].item()
    formula = ((f.softmax(dim=-1) * direction).sum() - direction[0, y[0]]).item()
    assert slope == pytest.approx(formula, abs=1e-12)
    assert formula == pytest.approx((losses.grad_cross_entropy(f, y) * direction).sum().item(), abs=1e-12)
    predicted = f.argmax(dim=-1)
    assert (losses.grad_cross_entropy(f, predicted) * direction).sum().item() <= 1e-15


# --- Proposition 3.3 and the exact infimum --------------------------------------------------------

@pytest.mark.parametrize("K, tau, printed, exact", [
    (10, 1.0, 0.7966, 1.4199), (10, 0.5, 0.1526, 0.7387),
    (10, 0.1, 1.9e-8, 2.4e-4), (10, 0.04, 1.7e-21, 3.2e-11),
    (100, 1.0, 2.6671, 3.6173), (100, 0.5, 1.0343, 2.6577),
    (100, 0.1, 2.0e-7, 4.3e-3), (100, 0.04, 1.9e-20, 1.2e-9),
])
def test_bounds_at_tabulated_values(K, tau, printed, exact):
    digits = 3e-4 if tau >= 0.5 else 0.03  # the table gives two digits of the tiny values
    assert losses.lower_bound(tau, K) == pytest.approx(printed, rel=digits)
    assert losses.infimum(tau, K) == pytest.approx(exact, rel=digits)


@pytest.mark.parametrize("K", [2, 3, 10, 100])
@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0, 3.0])
def test_infimum_is_reached_at_a_vertex_of_the_simplex(K, tau):
    loss = losses.logitnorm(simplex_vertex(K, 1), torch.tensor([1]), tau, eps=0.0).item()
    assert loss == pytest.approx(losses.infimum(tau, K), abs=1e-13 / tau)


@properties
@given(examples(), temperatures)
def test_no_logits_undercut_the_infimum(example, tau):
    f, y = example
    assert losses.logitnorm(f, y, tau).item() >= losses.infimum(tau, f.shape[1]) - 1e-13 / tau


@properties
@given(st.integers(2, 1000), st.floats(0.06, 100.0))
def test_printed_bound_is_below_the_infimum_also_for_two_classes(K, tau):
    assert losses.lower_bound(tau, K) < losses.infimum(tau, K)


# Learned Confidence ---------------------------------------------------------------------------

def reference_confidence(f, c, y, hinted):
    """DeVries and Taylor's formulas word for word: p' = c p + (1 - c) y, L_t = -sum_i y_i log p'_i, L_c = -log c."""
    p, c = f.softmax(1), c.sigmoid()
    one_hot = F.one_hot(y, f.shape[1]).to(f)
    b = torch.where(hinted, c, torch.ones_like(c))[:, None]
    return -(one_hot * (b * p + (1 - b) * one_hot).log()).sum(1).mean(), -c.log().mean()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.floats(0.1, 8))
def test_learned_confidence_is_the_reference_formula_with_its_gradients(seed, K, scale):
    torch.manual_seed(seed)
    f = (scale * torch.randn(7, K, dtype=torch.float64)).requires_grad_()
    c = (scale * torch.randn(7, dtype=torch.float64)).requires_grad_()
    y, hinted = torch.randint(K, (7,)), torch.rand(7) < 0.5
    ours, expected = losses.learned_confidence(f, c, y, hinted), reference_confidence(f, c, y, hinted)
    for a, b in zip(ours, expected):
        torch.testing.assert_close(a, b)
    for a, b in zip(torch.autograd.grad(sum(ours), (f, c)), torch.autograd.grad(sum(expected), (f, c))):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("c, hinted", [(torch.zeros(4, 1), torch.zeros(4) > 0), (torch.zeros(4), torch.zeros(4, 1) > 0)])
def test_a_confidence_with_a_last_axis_is_refused(c, hinted):
    with pytest.raises(ValueError, match=r"should have the shape of y, \(4,\); squeeze the last axis"):
        losses.learned_confidence(torch.zeros(4, 3), c, torch.tensor([0, 1, 2, 0]), hinted)


def test_learned_confidence_stays_finite_where_the_formula_does_not():
    f, c = torch.tensor([[-200.0, 0.0]], requires_grad=True), torch.tensor([200.0], requires_grad=True)
    L_t, L_c = losses.learned_confidence(f, c, torch.tensor([0]), torch.tensor([True]))
    assert L_t.item() == pytest.approx(200, rel=1e-2) and L_c.item() == 0
    assert all(g.isfinite().all() for g in torch.autograd.grad(L_t + L_c, (f, c)))
