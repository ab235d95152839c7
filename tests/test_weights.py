"""Weights of other projects: tiny networks written anew with their names, whose logits are the oracle."""

import ast
import pickle
import re

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from archives import Bomb
from logitnorm import data, models, scores
from logitnorm.paths import ROOT
from logitnorm.study import weights
from PIL import Image
from torch import nn


class WideBlock(nn.Module):
    """A block with the names of energy_ood's WRN: activation before convolution, shortcut of the activated input."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(c_in), nn.BatchNorm2d(c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        if c_in != c_out:
            self.convShortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (self.convShortcut(active) if hasattr(self, "convShortcut") else x)


class Group(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class EnergyWRN(nn.Module):
    def __init__(self, n, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        c = 16
        for group, stride in ((1, 1), (2, 2), (3, 2)):
            wide = 16 * width * 2 ** (group - 1)
            setattr(self, f"block{group}", Group(WideBlock(c if i == 0 else wide, wide, stride if i == 0 else 1)
                                                 for i in range(n)))
            c = wide
        self.bn1, self.fc = nn.BatchNorm2d(c), nn.Linear(c, classes)

    def features(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return F.avg_pool2d(F.relu(self.bn1(x)), 8).flatten(1)


class BasicBlock(nn.Module):
    """A block with the names of OpenOOD's ResNet18_32x32."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        changes = stride != 1 or c_in != c_out
        self.shortcut = nn.Sequential(*[nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)] * changes)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class OpenOODResNet(nn.Module):
    def __init__(self, counts, classes, head="fc"):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        c = 64
        for stage, count in enumerate(counts, start=1):
            wide = 64 * 2 ** (stage - 1)
            setattr(self, f"layer{stage}", nn.Sequential(*[
                BasicBlock(c if i == 0 else wide, wide, 2 if stage > 1 and i == 0 else 1) for i in range(count)]))
            c = wide
        setattr(self, head, nn.Linear(c, classes))

    def features(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def lived(net):
    """The net with BatchNorm statistics and weights as after some training, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return net.eval()


X = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def same(loaded, theirs, head="fc", x=X):
    with torch.no_grad():
        logits, features = loaded(x)
        wanted = theirs.features(x)
        torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, getattr(theirs, head)(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n, width, classes", [(1, 1, 10), (2, 2, 100), (6, 2, 10)])
def test_wide_resnets_of_energy_ood_and_pytorch_ood(tmp_path, n, width, classes):
    theirs = lived(EnergyWRN(n, width, classes))
    torch.save(theirs.state_dict(), tmp_path / "wrn.pt")
    same(weights.load(tmp_path / "wrn.pt"), theirs)


@pytest.mark.parametrize("counts, head", [([2, 2, 2, 2], "fc"), ([1, 1, 1, 1], "linear")])
def test_resnets_of_openood(tmp_path, counts, head):
    theirs = lived(OpenOODResNet(counts, 10, head))
    torch.save(theirs.state_dict(), tmp_path / "resnet.ckpt")
    same(weights.load(tmp_path / "resnet.ckpt"), theirs, head)


@pytest.mark.parametrize("wrap", [
    lambda state: {f"module.{name}": value for name, value in state.items()},
    lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 199},
    lambda state: {name: value for name, value in state.items() if "num_batches" not in name}],
    ids=["DataParallel", "checkpoint", "before 0.4.1"])
def test_wrappers_of_training_scripts_are_seen_through(tmp_path, wrap):
    theirs = lived(EnergyWRN(1, 1, 10))
    torch.save(wrap(theirs.state_dict()), tmp_path / "wrn.pt")
    same(weights.load(tmp_path / "wrn.pt"), theirs)


def test_safetensors_and_this_librarys_own_names(tmp_path):
    theirs = lived(EnergyWRN(1, 1, 10))
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "wrn.safetensors")
    loaded = weights.load(tmp_path / "wrn.safetensors")
    same(loaded, theirs)
    assert isinstance(loaded, models.WideResNet)
    safetensors.torch.save_file(loaded.state_dict(), tmp_path / "own.safetensors")
    same(weights.load(tmp_path / "own.safetensors"), theirs)


def test_other_normalisation_constants_are_undone(tmp_path):
    theirs = lived(EnergyWRN(1, 1, 10))
    torch.save(theirs.state_dict(), tmp_path / "wrn.pt")
    mean, std = (0.1, 0.3, 0.6), (0.5, 0.1, 0.2)  # far from those of this library
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    found = scores.collect(weights.load(tmp_path / "wrn.pt", mean, std), images)
    x = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    with torch.no_grad():
        np.testing.assert_allclose(found["logits"], theirs.fc(theirs.features(x)), rtol=1e-3, atol=1e-3)
    assert found["features"].shape == (5, 64)


def write(path, content):
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)


@pytest.mark.parametrize("content, sentence", [
    (pickle.dumps(Bomb(), protocol=2), "nothing in it was run"),
    ({"fc.weight": Bomb()}, "nothing in it was run"),
    (b"<html>quota exceeded</html>", "torch.save"),
    ([1, 2], "holds no state dict"),
    ({0: torch.zeros(1)}, "holds no state dict"),
    ({"epoch": 3}, "holds no state dict"),
    ({"visual.proj": torch.zeros(3)}, "not known here .its names begin with visual.proj"),
    ({**EnergyWRN(1, 1, 10).state_dict(), "fc.weight": torch.zeros(10, 3)}, "does not fit"),
    ({**EnergyWRN(1, 1, 10).state_dict(), "fc.bias": torch.full((10,), torch.nan)}, "fc.bias are not finite")])
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, bomb, content, sentence):
    write(tmp_path / "weights.pt", content)
    with pytest.raises(weights.WeightsError, match=sentence) as caught:
        weights.load(tmp_path / "weights.pt")
    assert "\n" not in str(caught.value) and not bomb.exists()


@pytest.mark.parametrize("mean, std", [((0.5,), data.STD), (data.MEAN, (0.2, 0.2)), (data.MEAN, (0.2, 0.0, 0.2)),
                                       (data.MEAN, (0.2, float("nan"), 0.2)), ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)), ((float("nan"),) * 3, data.STD)])
def test_constants_that_no_images_can_have_are_refused(tmp_path, mean, std):
    with pytest.raises(weights.WeightsError, match="mean and std should be three numbers each, one a channel"):
        weights.load(tmp_path / "nothing.pt", mean, std)


def test_a_missing_file_and_damaged_safetensors(tmp_path):
    with pytest.raises(weights.WeightsError, match="does not exist"):
        weights.load(tmp_path / "nothing.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(weights.WeightsError, match="cannot be read"):
        weights.load(tmp_path / "cut.safetensors")


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    """Every Python block of book/yours.md, in order, in one namespace, as a reader would run them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "cache/cifar10-test.npz", images=rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
             labels=rng.integers(0, 10, 40))
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f"photos/{i}.png")
    torch.save(lived(EnergyWRN(1, 1, 10)).state_dict(), tmp_path / "theirs.pt")
    torch.save(lived(OpenOODResNet([1, 1, 1, 1], 10)).state_dict(), tmp_path / "resnet18.ckpt")
    text = (ROOT / "book/yours.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    space: dict = {}
    for block in blocks:
        exec(compile(block, "book/yours.md", "exec"), space)
    assert len(blocks) >= 3 and len(ast.parse(blocks[1]).body) == 5 and len(blocks[1].splitlines()) == 8  # lines of the page are short
    inside, outside = space["inside"], space["outside"]
    assert list(space["table"]["accepted"]) == list(outside >= np.sort(inside)[len(inside) // 20])
    assert "0.png" in capsys.readouterr().out


def test_the_page_names_what_the_library_knows():
    text = (ROOT / "book/yours.md").read_text(encoding="utf-8")
    for name in ("energy_ood", "pytorch-ood", "OpenOOD"):
        assert name in text and name in weights.__doc__
    assert data.MEAN == (0.492, 0.482, 0.446) and "0.492" in text
