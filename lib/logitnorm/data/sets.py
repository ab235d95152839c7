"""The table of image sets (sets.yaml), where their files lie, and what an image set is."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image
from torch import Tensor

SIZE = 32


class DataError(RuntimeError):
    """An image set that is missing, damaged or unknown; the message is one sentence that says what to do."""


class ImageSet(NamedTuple):
    images: Tensor  # uint8, N x 32 x 32 x 3
    labels: Tensor | None  # int64, N; None for sets that are only used as out-of-distribution


class Archive(NamedTuple):
    urls: tuple[str, ...]  # each is tried in turn
    checksum: str  # algorithm:hexadecimal
    take: int | None = None  # so many evenly spaced images; None: all


class SetInfo(NamedTuple):
    title: str
    source: str
    num_classes: int = 0  # 0: the set is only used as out-of-distribution, its labels are ignored
    stands_in_for: str | None = None  # the official set that a stand-in replaces
    splits: tuple[str, ...] = ("test",)
    archive: Archive | None = None  # what is downloaded
    training_archive: Archive | None = None  # the training split, where it is a file of its own
    flips: bool = True  # whether a training image may be mirrored
    scaled: bool = True  # whether images of another size are scaled to 32 before their centre is cut out


def _info(**entry: Any) -> SetInfo:
    for name in {"archive", "training_archive"} & set(entry):
        entry[name] = Archive(**entry[name] | {"urls": tuple(entry[name]["urls"])})
    return SetInfo(**entry | {"splits": tuple(entry.get("splits", ("test",)))})


SETS = {name: _info(**entry)
        for name, entry in yaml.safe_load(Path(__file__).with_name("sets.yaml").read_text(encoding="utf-8")).items()}


def official(name: str) -> str:
    """The official set that `name` stands in for; any other name itself."""
    return (SETS[name].stands_in_for if name in SETS else None) or name


def cache_dir() -> Path:
    """LOGITNORM_DATA if set, else logitnorm/ in the user's cache directory (XDG_CACHE_HOME or ~/.cache)."""
    try:
        folder = Path(os.environ.get("LOGITNORM_DATA") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "logitnorm")).expanduser()
        (folder / "any").exists()
        return folder
    except (RuntimeError, OSError) as error:  # no home is known, or the folder is another user's
        raise DataError(f"the image sets have no folder ({error}): set LOGITNORM_DATA to a folder for the images.") from None


def file(name: str, split: str) -> Path:
    """Where the images of a set lie once they were downloaded or put there."""
    return cache_dir() / f"{name}-{split}.npz"


def fit(image: Image.Image, scale: bool = True) -> np.ndarray:
    """uint8 32 x 32 x 3: shorter side to 32 (bilinear) if `scale`, then centre crop; grey is replicated."""
    from torchvision.transforms import functional

    image = image.convert("RGB")
    return np.array(functional.center_crop(functional.resize(image, SIZE) if scale else image, SIZE))


def evenly(count: int, kept: int) -> np.ndarray:
    """The places of `kept` evenly spaced ones of `count` images; all of them if there are no more."""
    return np.arange(count) if count <= kept else np.arange(kept) * count // kept
