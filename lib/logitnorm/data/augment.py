"""The batch as the training sees it: pad once, then gather, crop, flip and cut out in one go, on the device."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .sets import SIZE

# The official code normalises every set, ID and OOD, with these.
MEAN = (0.492, 0.482, 0.446)
STD = (0.247, 0.244, 0.262)


def pad(images: Tensor, padding: int = 4) -> Tensor:
    """Zero-padded copy of uint8 images N x H x W x C: N x (H+2p) x (W+2p) x C."""
    return F.pad(images, (0, 0, padding, padding, padding, padding))


def crop_flip(padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, size: int = SIZE) -> Tensor:
    """Image index[b] of the padded set, cropped at (top[b], left[b]) and mirrored where flip[b].

    index, top, left (int64) and flip (bool) have length B and lie on the device of `padded`; gives uint8
    B x size x size x C. Equal to torchvision's crop and hflip of each padded image. On the CPU an offset
    beyond the padded image raises IndexError or RuntimeError.
    """
    channels = padded.shape[3]
    steps = torch.arange(size, device=padded.device)
    # Whole rows first, then columns: on a CPU core more than twice as fast as indexing single pixels.
    rows = padded.flatten(2)[index[:, None], top[:, None] + steps]
    columns = left[:, None] + torch.where(flip[:, None], size - 1 - steps, steps)
    places = (columns[:, :, None] * channels + torch.arange(channels, device=padded.device)).flatten(1)
    return rows.gather(2, places[:, None].expand(-1, size, -1)).unflatten(2, (size, channels))


def _draw(count: int, generator: torch.Generator, *below: int) -> tuple[Tensor, ...]:
    """`count` whole numbers below each of these, uniformly, and as many fair coins; drawn on the generator's device, in this order."""
    numbers = [torch.randint(n, (count,), generator=generator, device=generator.device) for n in below]
    return *numbers, torch.rand(count, generator=generator, device=generator.device) < 0.5


def draw_crops(padded: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """(top, left, flip) of `count` RandomCrops and RandomHorizontalFlips(0.5) of images of a padded set.

    Offsets are uniform over the positions of a 32 x 32 square in the padded image: 9 x 9 for the
    paper's padding of 4. All draws come from `generator`, on its device, in the order top, left, flip.
    """
    return _draw(count, generator, padded.shape[1] - SIZE + 1, padded.shape[2] - SIZE + 1)


def draw_cutouts(count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """(row, column, on) of `count` Cutouts: the square's centre, uniform over the image, and a fair coin.

    DeVries and Taylor's released code cuts with probability one half, wherever the centre falls.
    """
    return _draw(count, generator, SIZE, SIZE)


def cutout(x: Tensor, row: Tensor, column: Tensor, on: Tensor, side: int) -> Tensor:
    """Cutout (DeVries and Taylor 2017) of normalised images B x C x H x W: a square of zeros where on[b].

    The square covers rows row[b] - side // 2 to row[b] - side // 2 + side - 1, and columns likewise; what lies
    beyond the edge is lost, so that squares at the border are smaller.
    """
    def inside(centre: Tensor, length: int) -> Tensor:
        offset = torch.arange(length, device=x.device) - (centre - side // 2)[:, None]
        return (offset >= 0) & (offset < side)

    square = inside(row, x.shape[2])[:, None, :, None] & inside(column, x.shape[3])[:, None, None, :]
    return x.masked_fill(square & on[:, None, None, None], 0)


@lru_cache
def _mean_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """MEAN and STD in units of pixel values, kept on the device: copying them anew would stall a GPU."""
    return torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255


def to_float(batch: Tensor) -> Tensor:
    """uint8 B x H x W x C -> normalised float32 B x C x H x W in channels_last memory order.

    Equal to torchvision's ToTensor and Normalize(MEAN, STD) to 1e-6.
    """
    mean, std = _mean_std(batch.device)
    return batch.float().sub_(mean).div_(std).permute(0, 3, 1, 2)
