import math

import pytest
import torch
from logitnorm import losses, models, train
from logitnorm.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def test_wrn40_2_has_the_published_size():
    net = models.build("wrn40_2", 10)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32))
    assert sum(p.numel() for p in net.parameters()) == 2_243_546  # 2.24 M
    assert round(counter.get_total_flops() / 2 / 1e6, 1) == 327.6  # multiply-adds


def test_initialisation_is_the_released_codes():
    torch.manual_seed(0)
    net = models.build("wrn40_2", 10)
    for m in net.modules():
        if isinstance(m, nn.Conv2d) and m.weight.numel() > 4000:
            expected = math.sqrt(2 / (m.kernel_size[0] ** 2 * m.out_channels))
            assert m.weight.std().item() == pytest.approx(expected, rel=0.06)
        elif isinstance(m, nn.BatchNorm2d):
            assert (m.weight == 1).all() and (m.bias == 0).all()
    assert (net.fc.bias == 0).all()
    assert net.fc.weight.abs().max() <= 1 / math.sqrt(128)  # PyTorch's default: uniform within 1/sqrt(fan in)


def test_dropout_sits_in_every_block_and_only_acts_in_training():
    net = models.build("wrn40_2", 10, dropout=0.3)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3] * 18
    x = torch.randn(2, 3, 32, 32)
    net.eval()
    torch.testing.assert_close(net(x)[0], net(x)[0], rtol=0, atol=0)
    net.train()
    assert not torch.equal(net(x)[0], net(x)[0])


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_share_whatever_the_shape_and_scales_as_pytorchs(p, dtype):
    x = torch.ones(16, 33, 31, 7, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    torch.manual_seed(1)
    y = models.Dropout(p)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y) and y.stride() == x.stride()  # the gradient passes where the value does
    assert set(y.unique().tolist()) == {0.0, nn.Dropout(p)(x).max().item()}
    kept, n = (y.permute(0, 2, 3, 1) != 0).double(), x.numel()
    assert abs(kept.mean() - (1 - p)) < 4 * (p * (1 - p) / n) ** 0.5
    lines = kept.flatten()
    for apart in (1, 2, 3, 4, 33):  # four numbers share a random word: neighbours are independent all the same
        assert abs(torch.corrcoef(torch.stack([lines[:-apart], lines[apart:]]))[0, 1]) < 4 / n ** 0.5
    torch.manual_seed(1)
    assert torch.equal(models.Dropout(p)(x), y) and not torch.equal(models.Dropout(p)(x), y)
    assert models.Dropout(p).eval()(x) is x


def test_identity_blocks_pass_the_raw_input_and_widening_blocks_the_activated_one():
    """With a zero second convolution a block is its shortcut."""
    same, wider = models.Block(4, 4, 1, 0.0).eval(), models.Block(4, 6, 2, 0.0).eval()
    for block in (same, wider):
        nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(same(x), x)
    activated = torch.relu(x / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(wider(x), nn.functional.conv2d(activated, wider.shortcut.weight, stride=2))


@pytest.mark.parametrize("architecture, parameters, features", [
    ("wrn16_2", 691_674, 128), ("resnet34", 21_282_122, 512), ("densenet_bc_100_12", 769_162, 342),
    ("resnet20", 272_474, 64), ("densenet_bc_22_12", 71_686, 69), ("vgg13", 9_416_010, 512)])
def test_nets_have_their_published_sizes_and_give_the_features_that_enter_the_classifier(architecture, parameters, features):
    net = models.build(architecture, 10, dropout=0.0).eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    with torch.no_grad():
        f, phi = net(torch.randn(2, 3, 32, 32))
    assert f.shape == (2, 10) and phi.shape == (2, features) and (phi >= 0).all()
    torch.testing.assert_close(f, phi @ net.fc.weight.T + net.fc.bias)


def test_densenet_keeps_the_resolution_until_its_transitions():
    net = models.build("densenet_bc_100_12", 10, dropout=0.0).eval()
    sizes = {}
    for name in ("denseblock1", "denseblock2", "denseblock3"):
        getattr(net.body.features, name).register_forward_hook(
            lambda _, __, out, name=name: sizes.__setitem__(name, tuple(out.shape[1:])))
    net(torch.randn(1, 3, 32, 32))
    assert sizes == {"denseblock1": (216, 32, 32), "denseblock2": (300, 16, 16), "denseblock3": (342, 8, 8)}


def test_godin_is_the_papers_formula():
    net = models.build("wrn10_1", 10, 0.0, head=models.Godin).eval()
    f, phi, score = net(torch.randn(5, 3, 32, 32))
    linear, bn = net.fc.g
    bn.running_mean.fill_(0.3), bn.running_var.fill_(2.0)
    f, phi, score = net(torch.randn(5, 3, 32, 32))
    h = torch.nn.functional.cosine_similarity(phi[:, None], net.fc.h.weight[None], dim=2)
    z = phi @ linear.weight[0] + linear.bias
    g = torch.exp((z - 0.3) / (2.0 + bn.eps) ** 0.5 * bn.weight + bn.bias)
    torch.testing.assert_close(f, h / g[:, None])
    torch.testing.assert_close(score, h.max(dim=1).values)
    assert score.abs().max() <= 1 + 1e-6


def test_the_confidence_branch_reads_the_same_features():
    net = models.build("wrn10_1", 10, 0.0, head=models.Confidence).eval()
    f, phi, c = net(torch.randn(4, 3, 32, 32))
    assert f.shape == (4, 10) and c.shape == (4,)
    torch.testing.assert_close(c, (phi @ net.fc.confidence.weight.T + net.fc.confidence.bias)[:, 0])


@pytest.mark.parametrize("name, dropout, sentence", [
    ("vgg16", 0.0, "unknown architecture 'vgg16'; known: .*vgg13"), ("wrn40", 0.3, "unknown architecture 'wrn40'"),
    ("wrn11_1", 0.3, "WRN depth"), ("wrn4_1", 0.3, "WRN depth"), ("resnet34", 0.3, "resnet34 has no dropout; set dropout to 0")])
def test_nets_that_do_not_exist_are_refused(name, dropout, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.build(name, 10, dropout)


@pytest.mark.parametrize("method", ["one_offset", "one_temperature"])
def test_the_two_experiments_have_one_offset_or_one_temperature_for_all_images(method):
    config = Config(size="small", architecture="wrn10_1", method=method)
    net = train.network(config)
    net.fc.a.data.fill_(-0.7)
    f, _ = net(torch.randn(6, 3, 32, 32))
    m, c = losses.offset(f), losses.centred(f).norm(dim=1)
    s = 25 * c / f.norm(dim=1)
    same, other = (m, s) if method == "one_offset" else (s, m)
    wanted = -0.7 if method == "one_offset" else 25 / math.sqrt(1 + 0.7**2)
    torch.testing.assert_close(same, torch.full_like(same, wanted))
    assert other.std() > 0.01 * other.abs().mean()
    losses.logitnorm(f, torch.arange(6), 0.04).backward()
    assert net.fc.a.grad != 0  # the loss moves it
