"""Weights of other projects as nets of this library: the names in their state dict say what they are.

    net = weights.load("cifar10_wrn_logitnorm_standard_0.04_epoch_199.pt")      # (logits, features) like any net here

Known are the Wide ResNets of the released LogitNorm code, of energy_ood and of pytorch-ood (conv1, block1.layer.0.conv1,
..., fc), the ResNet-18 and ResNet-34 for 32 x 32 images of OpenOOD (conv1, layer1.0.conv1, layer2.0.shortcut.0, ..., fc),
and this library's own Wide ResNets.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from logitnorm import data, models

NESTED = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put the state dict
PREFIX = re.compile(r"(module|model|net|backbone)\.")  # and what wrappers put before its names


class WeightsError(ValueError):
    """A file of weights that cannot be used; one sentence says why and what to do."""


class Normalised(nn.Module):
    """A net that was trained with other constants than data.MEAN and data.STD, for images normalised with these."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        here, there = (torch.tensor(values).view(2, 1, -1, 1, 1) for values in ((data.MEAN, data.STD), (mean, std)))
        self.net = net
        self.register_buffer("scale", here[1] / there[1])
        self.register_buffer("shift", (here[0] - there[0]) / there[1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.net(x * self.scale + self.shift)


def load(path: str | Path, mean: Sequence[float] = data.MEAN, std: Sequence[float] = data.STD) -> nn.Module:
    """The net of a file of weights, in evaluation mode on the CPU: images B x 3 x 32 x 32 -> (logits B x K, features B x D).

    path: a state dict as torch.save or safetensors writes it; nothing but tensors is unpickled. mean, std: the constants
    of the channels, in [0, 1], with which it was trained; images here are normalised with data.MEAN and data.STD, which
    the net undoes. Raises WeightsError for a file that is no state dict, or of a network that is not known here, and for
    constants that no images can have.
    """
    if not (len(mean) == len(std) == 3 and all(0 <= value <= 1 for value in mean) and all(0 < value <= 1 for value in std)):
        raise WeightsError(f"mean and std should be three numbers each, one a channel, from 0 to 1, and those of std greater than 0; got {mean} "
                           f"and {std}; divide those for pixels from 0 to 255 by 255")
    state = _read(Path(path))
    net, named = _build(state, Path(path))
    counters = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    try:
        net.load_state_dict(counters | named)  # files from before PyTorch 0.4.1 have no counters
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the network that its names promise ({' '.join(str(error).split())[:200]}); "
                           "wrap the network yourself as the page 'Use it on your own network' shows") from None
    if bad := next((name for name, value in named.items() if not value.float().isfinite().all()), None):
        raise WeightsError(f"{path}: the weights {bad} are not finite; the training that wrote them had diverged")
    same = tuple(mean) == data.MEAN and tuple(std) == data.STD
    return (net if same else Normalised(net, mean, std)).eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict of a file, without the wrappers around its names."""
    try:
        if path.suffix == ".safetensors":
            found = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; name a file of weights") from None
    except Exception as error:  # a damaged file raises many kinds, and so does one that holds more than tensors
        raise WeightsError(f"{path} cannot be read as a state dict, and nothing in it was run ({type(error).__name__}); "
                           "download it again, or save it with torch.save(net.state_dict(), ...)") from error
    if isinstance(found, dict):
        found = next((found[key] for key in NESTED if isinstance(found.get(key), dict)), found)
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
        raise WeightsError(f"{path} holds no state dict; save it with torch.save(net.state_dict(), ...)")
    while match := PREFIX.match(next(iter(found))):
        if not all(name.startswith(match[0]) for name in found):
            break
        found = {name.removeprefix(match[0]): value for name, value in found.items()}
    return found


def _build(state: dict[str, Tensor], path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """(an untrained net of this library, the state dict with this library's names) of a known network."""
    names = {re.sub(r"^linear\.", "fc.", name): value for name, value in state.items()}
    head = names.get("fc.weight")
    classes = len(head) if head is not None else 0
    if classes and "block1.layer.0.conv1.weight" in names and "conv1.weight" in names:
        n = _count(names, r"block1\.layer\.(\d+)\.")
        width = len(names["block1.layer.0.conv1.weight"]) // 16
        return (models.build(f"wrn{6 * n + 4}_{width}", classes, dropout=0.0),
                {_of_wide(name, n): value for name, value in names.items()})
    if classes and "stem.weight" in names and "blocks.0.conv1.weight" in names:
        n, width = _count(names, r"blocks\.(\d+)\.") // 3, len(names["blocks.0.conv1.weight"]) // 16
        return models.build(f"wrn{6 * n + 4}_{width}", classes, dropout=0.0), names
    if classes and "layer4.0.conv2.weight" in names and not any(".conv3." in name for name in names):
        from torchvision.models.resnet import BasicBlock, ResNet

        body = ResNet(BasicBlock, [_count(names, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)])
        body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        body.maxpool = body.fc = nn.Identity()
        ours = {(name if name.startswith("fc.") else "body." + name).replace(".shortcut.", ".downsample."): value
                for name, value in names.items()}
        return models.TorchvisionNet(body, 512, classes, nn.Linear), ours
    raise WeightsError(f"{path} is of a network that is not known here (its names begin with {', '.join(list(state)[:3])}); "
                       "wrap the network yourself as the page 'Use it on your own network' shows")


def _count(names: dict[str, Tensor], pattern: str) -> int:
    """How many blocks there are whose number is the group of `pattern`."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _of_wide(name: str, n: int) -> str:
    """block2.layer.0.convShortcut.weight -> blocks.6.shortcut.weight for n = 6 blocks a group; conv1 is the stem."""
    if match := re.fullmatch(r"block([123])\.layer\.(\d+)\.(.*)", name):
        return f"blocks.{(int(match[1]) - 1) * n + int(match[2])}.{match[3].replace('convShortcut', 'shortcut')}"
    return re.sub(r"^conv1\.", "stem.", re.sub(r"^bn1\.", "bn.", name))
