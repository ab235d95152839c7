import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from logitnorm import models


def test_wrn40_2_has_the_published_size():
    net = models.build("wrn40_2", 10)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32))
    assert sum(p.numel() for p in net.parameters()) == 2_243_546  # 2.24 M
    assert round(counter.get_total_flops() / 2 / 1e6, 1) == 327.6  # multiply-adds


def test_parameter_count_by_hand_for_wrn10_1():
    conv = 3 * 16 * 9 + 2 * 16 * 16 * 9 + (16 * 32 + 32 * 32) * 9 + (32 * 64 + 64 * 64) * 9 + 16 * 32 + 32 * 64
    norm = 2 * (16 + 16 + 16 + 32 + 32 + 64 + 64)
    assert sum(p.numel() for p in models.build("wrn10_1", 10).parameters()) == conv + norm + 64 * 10 + 10


def test_forward_gives_logits_and_the_features_that_enter_the_classifier():
    net = models.build("wrn16_2", 7).eval()
    f, features = net(torch.randn(5, 3, 32, 32))
    assert f.shape == (5, 7) and features.shape == (5, 128)
    torch.testing.assert_close(f, features @ net.fc.weight.T + net.fc.bias)
    assert (features >= 0).all()


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


def test_identity_blocks_pass_the_raw_input_and_widening_blocks_the_activated_one():
    """With a zero second convolution a block is its shortcut."""
    same, wider = models.Block(4, 4, 1, 0.0).eval(), models.Block(4, 6, 2, 0.0).eval()
    for block in (same, wider):
        nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(same(x), x)
    activated = torch.relu(x / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(wider(x), nn.functional.conv2d(activated, wider.shortcut.weight, stride=2))


@pytest.mark.parametrize("name", ["resnet", "wrn40", "wrn12_1", "wrn4_1"])
def test_unknown_architectures_are_refused(name):
    with pytest.raises(ValueError, match="architecture|depth"):
        models.build(name, 10)
