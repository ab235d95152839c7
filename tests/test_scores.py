import numpy as np
import pytest
import torch
from logitnorm import data, scores
from logitnorm.config import Config
from logitnorm.study import scoring
from torch import nn

rng = np.random.default_rng(0)


class SmallNet(nn.Module):
    """A net with everything that differs between training and evaluation: BatchNorm and dropout."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, stride=2)
        self.bn = nn.BatchNorm2d(12)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x):
        features = self.dropout(torch.relu(self.bn(self.conv(x)))).mean(dim=(2, 3))
        return self.fc(features), features


def small_net(seed=0):
    torch.manual_seed(seed)
    net = SmallNet()
    net.fc.weight.data.mul_(20)  # spread predictions, so that images differ in their scores
    with torch.no_grad():
        for _ in range(5):
            net(data.to_float(images(64)))  # running statistics that are not the initial ones
    return net


def images(n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 32, 32, 3), generator=generator, dtype=torch.uint8)


# MSP, energy

@pytest.mark.parametrize("T", [0.01, 1.0, 1000.0])
def test_msp_and_energy_agree_with_torch(T):
    f = rng.normal(0, 5, (200, 10)).astype(np.float32)
    scaled = torch.tensor(f, dtype=torch.float64) / T
    np.testing.assert_allclose(scores.msp(f, T), scaled.softmax(1).amax(1), rtol=1e-12)
    np.testing.assert_allclose(scores.energy(f, T), T * scaled.logsumexp(1), rtol=1e-12)
    assert scores.msp(f, T).dtype == scores.energy(f, T).dtype == np.float64


def test_large_logits_do_not_overflow():
    f = np.array([[1e5, 0.0, -1e5]])
    assert scores.msp(f)[0] == 1 and scores.energy(f)[0] == 1e5


# GradNorm

@pytest.mark.parametrize("T", [1.0, 2.5])
def test_gradnorm_is_the_l1_norm_of_the_last_layers_gradient(T):
    torch.manual_seed(0)
    head = nn.Linear(7, 5).double()
    phi = torch.randn(20, 7, dtype=torch.float64)
    expected = []
    for row in phi:  # one image at a time: the official code's one gradient per batch is the known bug
        loss = torch.sum(-torch.ones(1, 5) * (head(row[None]) / T).log_softmax(1))
        gradient, = torch.autograd.grad(loss, head.weight)
        expected.append(gradient.abs().sum().item())
    closed = scores.gradnorm(head(phi).detach(), phi.abs().sum(1), T)
    np.testing.assert_allclose(closed, expected, rtol=1e-12)


# collect

def test_collect_gives_the_nets_evaluation_outputs_in_order():
    net, x = small_net(), images(53)
    run = scores.collect(net, x, batch_size=20)  # the last batch is smaller
    with torch.no_grad():
        f, phi = net.eval()(data.to_float(x))
    np.testing.assert_allclose(run["logits"], f, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run["features"], phi, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run["feature_l1"], phi.abs().sum(1), rtol=1e-4)
    assert {name: array.shape for name, array in run.items()} == {
        "logits": (53, 10), "features": (53, 12), "feature_l1": (53,)}
    assert {array.dtype for array in run.values()} == {np.dtype("float32")}


def odin(net, x, T=1000.0, epsilon=0.0014):
    return scores.collect(net, x, steps={"odin": scores.odin_step(T, epsilon)})["odin"]


def run_both(net, x):
    scores.collect(net, x)
    odin(net, x)


def test_scoring_leaves_the_net_as_it_was():
    net = small_net()
    net.train()
    net.bn.eval()  # one module in another mode than the rest
    modes = [m.training for m in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    run_both(net, images(8))
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.fixture
def tf32():
    """The global precision set as far from float32 as it goes, and put back after the test."""
    operators = [torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul]
    before = [operator.fp32_precision for operator in operators]
    for operator in operators:
        operator.fp32_precision = "tf32"
    yield operators
    for operator, precision in zip(operators, before):
        operator.fp32_precision = precision


def test_modes_and_precision_come_back_after_an_error(tf32):
    net = small_net().train()
    net.fc = torch.nn.Linear(3, 10)  # fails where scoring has begun
    with pytest.raises(RuntimeError, match="shapes"):
        scores.collect(net, images(8))
    assert all(m.training for m in net.modules())
    assert [operator.fp32_precision for operator in tf32] == ["tf32"] * 3


def test_scoring_is_true_float32_even_inside_autocast_and_no_grad(tf32):
    net, seen = small_net(), []
    net.fc.register_forward_hook(lambda module, inputs, f: seen.append(
        (f.dtype, torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        run_both(net, images(8))
    assert seen == [(torch.float32, "ieee", "ieee")] * 3  # collect once, ODIN twice


# ODIN

def odin_one_by_one(net, x, T, epsilon):
    """ODIN as its paper writes it, image by image, with the sign of the gradient of +log softmax."""
    std = torch.tensor([63.0, 62.1, 66.7]) / 255
    values = []
    for image in x:
        z = data.to_float(image[None]).requires_grad_()
        log_p = (net(z)[0] / T).log_softmax(1).max()
        log_p.backward()
        z = z.detach() + epsilon * z.grad.sign() / std[:, None, None]
        values.append((net(z)[0].double() / T).softmax(1).max().item())
    return np.array(values)


@pytest.mark.parametrize("T, epsilon", [(1000.0, 0.0014), (10.0, 0.01)])
def test_odin_agrees_with_one_image_at_a_time(T, epsilon):
    net, x = small_net().eval(), images(30)
    expected = odin_one_by_one(net, x, T, epsilon)
    found = scores.collect(net, x, batch_size=7, steps={"odin": scores.odin_step(T, epsilon)})["odin"]
    assert found.dtype == np.float64
    # Scores at T = 1000 lie close above 1/K: compare what distinguishes them.
    np.testing.assert_allclose(found - 0.1, expected - 0.1, rtol=2e-4)
    assert np.ptp(expected) > 100 * np.abs(found - expected).max()


class WithConfidence(nn.Module):
    """small_net with a confidence branch."""

    def __init__(self):
        super().__init__()
        self.net, self.branch = small_net(), nn.Linear(12, 1)

    def forward(self, x):
        f, phi = self.net(x)
        return f, phi, self.branch(phi)[:, 0]


def test_confidence_step_agrees_with_one_image_at_a_time():
    net, x, epsilon = WithConfidence().eval(), images(20), 0.05
    expected = []
    for image in x:
        z = data.to_float(image[None]).requires_grad_()
        (-net(z)[2].sigmoid().log()).sum().backward()
        expected.append(net(z.detach() - epsilon * z.grad.sign())[2].item())
    found = scores.collect(net, x, batch_size=7, steps={"stepped": scores.confidence_step(epsilon)})
    np.testing.assert_allclose(found["stepped"], expected, rtol=1e-4, atol=1e-5)
    assert (found["stepped"] > found["own"]).all() and found["own"].dtype == np.float32


def test_input_steps_share_the_first_pass_and_change_nothing_else():
    net, x, passes = WithConfidence(), images(20), []
    net.branch.register_forward_hook(lambda *_: passes.append(1))
    plain = scores.collect(net, x)
    alone = odin(net, x)
    assert len(passes) == 3  # one, and two for ODIN alone
    both = scores.collect(net, x, steps={"odin": scores.odin_step(), "c": scores.confidence_step()})
    assert len(passes) == 6
    np.testing.assert_array_equal(both["odin"], alone)
    for name in ("logits", "features", "feature_l1", "own"):
        np.testing.assert_array_equal(both[name], plain[name])


def test_odin_divides_by_another_rounding_of_the_normalisation():
    np.testing.assert_allclose(scores.ODIN_STD, data.STD, atol=6e-4)
    assert scores.ODIN_STD != data.STD


# By name, from what a net gives

def test_each_score_of_a_run_is_found_by_its_name():
    f, l1, odin = rng.normal(size=(9, 10)).astype(np.float32), np.arange(9, dtype=np.float32), rng.random(9)
    outputs = {"logits": f, "feature_l1": l1, "odin": odin}
    of_ten, of_hundred = Config(id_dataset="cifar10"), Config(id_dataset="cifar100", method="logitnorm")
    expected = {"msp": scores.msp(f), "energy": scores.energy(f, 0.1), "odin": odin,
                "gradnorm": scores.gradnorm(f, l1)}
    assert tuple(sorted(expected)) == tuple(sorted(scoring.SCORES))
    for name in scoring.SCORES:
        found = scoring.score(of_ten, name, outputs.__getitem__)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected[name])
    for config, T in ((of_hundred, 0.01), (of_ten.replace(method="cross_entropy"), 1.0)):  # the paper's temperatures
        np.testing.assert_array_equal(scoring.score(config, "energy", outputs.__getitem__), scores.energy(f, T))


# Refused inputs

@pytest.mark.parametrize("logits, message", [
    ([[0.0, np.nan], [0, 1]], "the logits of 1 of 2 images are not finite"),
    ([[0.0, np.inf]], "not finite"),
    ([1.0, 2.0], r"matrix.*got shape \(2,\)"),
    (np.zeros((0, 10)), "matrix"),
    (np.zeros((3, 1)), "K >= 2"),
])
def test_bad_logits_are_refused(logits, message):
    for score in (scores.msp, scores.energy, lambda f: scores.gradnorm(f, np.ones(len(f)))):
        with pytest.raises(ValueError, match=message):
            score(logits)


def test_bad_temperature_and_feature_norms_are_refused():
    with pytest.raises(ValueError, match="T must be positive, got 0"):
        scores.msp(np.zeros((2, 3)), T=0)
    for l1, said in ((np.ones(3), r"each of the 2 rows of logits, got shape \(3,\) with 0 that"), (np.ones((2, 1)), r"got shape \(2, 1\)"),
                     ([1.0, np.nan], "with 1 that are not finite")):
        with pytest.raises(ValueError, match=said):
            scores.gradnorm(np.zeros((2, 3)), l1)


@pytest.mark.parametrize("bad", [images(4).float(), images(4)[0], images(4)[:0]])
def test_images_that_are_no_uint8_set_are_refused(bad):
    for function in (scores.collect, odin):
        with pytest.raises(ValueError, match="non-empty uint8 tensor N x H x W x C"):
            function(small_net(), bad)


def test_a_network_that_returns_logits_alone_is_refused():
    with pytest.raises(ValueError, match=r"should return \(logits, features\) and gives one thing"):
        scores.collect(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)), images(4))


def test_a_step_on_the_input_may_have_one_size_for_all_channels():
    step = scores.odin_step(1000.0, 0.001)
    one, three = (scores.collect(small_net(), images(4), steps={"odin": step._replace(size=size)})["odin"] for size in (0.02, torch.full((1, 3, 1, 1), 0.02)))
    np.testing.assert_array_equal(one, three)
