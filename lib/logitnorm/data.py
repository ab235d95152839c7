"""Image sets as uint8 tensors N x H x W x C, and the batch gather (crop + flip)."""

from typing import NamedTuple

import torch
from torch import Tensor

MEAN = (0.492, 0.482, 0.446)
STD = (0.247, 0.244, 0.262)


class ImageSet(NamedTuple):
    images: Tensor
    labels: Tensor | None


def pad(images: Tensor, padding: int = 4) -> Tensor:
    """Zero-padded copy of uint8 images N x H x W x C: N x (H+2p) x (W+2p) x C."""
    n, h, w, c = images.shape
    padded = images.new_zeros(n, h + 2 * padding, w + 2 * padding, c)
    padded[:, padding:padding + h, padding:padding + w] = images
    return padded


def crop_flip(padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, size: int = 32) -> Tensor:
    """One gather: image index[b] of the padded set, cropped at (top[b], left[b]) and mirrored where flip[b]."""
    steps = torch.arange(size, device=padded.device)
    rows = top[:, None] + steps
    cols = left[:, None] + torch.where(flip[:, None], size - 1 - steps, steps)
    return padded[index[:, None, None], rows[:, :, None], cols[:, None, :]]


def to_float(batch: Tensor) -> Tensor:
    """uint8 B x H x W x C -> normalised float32 B x C x H x W in channels_last memory order."""
    mean = torch.tensor(MEAN, device=batch.device) * 255
    std = torch.tensor(STD, device=batch.device) * 255
    return ((batch - mean) / std).permute(0, 3, 1, 2)
