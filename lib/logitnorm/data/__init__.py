"""Image sets as uint8 tensors N x H x W x C: where they come from, and the batch gather (crop + flip).

`load(name, split)` looks in this order:

1. the cache directory (environment variable LOGITNORM_DATA, else ~/.cache/logitnorm): NAME-SPLIT.npz with
   `images` (uint8, N x H x W x 3 or grey N x H x W) and, for sets with a training split, `labels`;
2. sets that need no download: noise, and the images that ship inside scikit-learn and scikit-image;

Official sets are put into the cache directory by `python -m logitnorm data cifar10 svhn`, checked and converted once;
logitnorm.study.images.load downloads what is missing. Whatever the source, every image is fitted to 32 x 32 x 3 as in
the paper: shorter side to 32, centre crop.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from . import embedded
from .augment import MEAN, STD, crop_flip, cutout, draw_crops, draw_cutouts, pad, to_float
from .sets import SETS, SIZE, Archive, DataError, ImageSet, SetInfo, cache_dir, evenly, file, fit, official

__all__ = ["MEAN", "SETS", "SIZE", "STD", "Archive", "DataError", "ImageSet", "SetInfo", "cache_dir", "crop_flip",
           "cutout", "draw_crops", "draw_cutouts", "evenly", "file", "fit", "load", "official", "pad", "to_float"]


def load(name: str, split: str = "test") -> ImageSet:
    """Image set `name` (a key of SETS): uint8 N x 32 x 32 x 3 on the CPU, and int64 labels or None.

    The order of the images is fixed. Raises DataError with one sentence if the set or split is unknown, missing or
    damaged.
    """
    if name not in SETS:
        raise DataError(f"there is no image set {name!r}; choose from {', '.join(SETS)}.")
    info = SETS[name]
    if split not in info.splits:
        raise DataError(f"{name} has no split {split!r}; choose from {', '.join(info.splits)}.")
    path = file(name, split)
    if path.exists():
        images, labels = _read(path)
        _require(images, labels, info.num_classes, path)
    elif name in embedded.NAMES:
        images, labels = embedded.make(name, split)
    elif info.stands_in_for:
        raise DataError(f"{path} does not exist: {name} only stands in for the official set {info.stands_in_for} and has no download, so "
                        f"put that file there or use {info.stands_in_for} (for the runs of experiments.yaml: --official).")
    else:
        raise DataError(f"{path} does not exist: run `python -m logitnorm data {name}`, which downloads and checks it.")
    if images.shape[1:] != (SIZE, SIZE, 3):
        images = np.stack([fit(Image.fromarray(image), info.scaled) for image in images])
    known = torch.from_numpy(labels.astype(np.int64)) if labels is not None and info.num_classes else None
    return ImageSet(torch.from_numpy(images), known)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Arrays `images` and `labels` (None where there are none) of a cached file."""
    try:
        # np.load takes a file that is no zip archive for a pickle; ZipFile says what is wrong with it.
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as arrays:
            # NumPy reads as many bytes as the array's header says; only reading all of them checks the CRC.
            if altered := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {altered} does not fit its content")
            if "images" in arrays:
                return arrays["images"], arrays["labels"] if "labels" in arrays else None
            found = ", ".join(arrays) or "nothing"
    except PermissionError:
        raise DataError(f"{path} may not be read: change its permissions, or set LOGITNORM_DATA to another folder.") from None
    except Exception as error:  # one changed byte makes zipfile, zlib or NumPy's header parser raise many kinds
        raise DataError(f"{path} cannot be read, it is damaged or incomplete ({error}): delete it and load the set again.") from error
    raise DataError(f"{path} holds no array `images`, but {found}: write it with np.savez(path, images=...).")


def _require(images: np.ndarray, labels: np.ndarray | None, num_classes: int, path: Path) -> None:
    """DataError, saying what is wrong, unless the arrays of a file are images and, for an ID set, their labels."""
    if images.dtype != np.uint8 or not (images.ndim == 3 or images.ndim == 4 and images.shape[3] == 3) or not images.size:
        raise DataError(f"`images` in {path} are {images.dtype} {images.shape}, but must be uint8 N x H x W x 3 or "
                        "N x H x W, none of them 0: write the file again, or delete it and load the set again.")
    if num_classes == 0:
        return
    wanted = f"must be {len(images)} integers from 0 to {num_classes - 1}, one for each image: write the file again."
    if labels is None:
        raise DataError(f"{path} holds no array `labels`, which {wanted}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(f"`labels` in {path} are {labels.dtype} {labels.shape}, but {wanted}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"`labels` in {path} run from {labels.min()} to {labels.max()}, but {wanted}")
