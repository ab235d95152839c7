"""The official image sets: downloaded, checked, and kept as one .npz a split in the cache directory."""

import http.client
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .sets import SETS, DataError, cache_dir, evenly, fit

# The released LSUN crops are 36 x 36; the code of Learned Confidence (uoguelph-mlrg/confidence_estimation)
# cuts out their centre and does not scale them.
ONLY_CROPPED = {"lsun_c"}


def download(name: str) -> None:
    """Fetch official set `name`, check it, and write all its splits into the cache directory.

    Everything happens in a folder of its own, NAME-*.part, which goes away at the end; a cached file is written there,
    on the same disk, and renamed, so that its final name never shows half a file.
    """
    cache = cache_dir()
    print(f"downloading {SETS[name].title} into {cache}", file=sys.stderr, flush=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=".part", dir=cache) as folder:
            for split, arrays in fetch(name, folder).items():
                whole = Path(folder, f"{name}-{split}.npz")
                np.savez(whole, **arrays)
                os.replace(whole, cache / whole.name)
    except OSError as error:
        raise DataError(f"{cache} cannot hold {name} ({error}): free some space, or set LOGITNORM_DATA to another "
                        "folder that you may write to.") from error


def fetch(name: str, folder: str) -> dict[str, dict[str, Any]]:
    """split -> arrays of an official set, downloaded into `folder` and checked there; DataError says why not."""
    try:
        return _fetch(name, folder)
    except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
        cause: BaseException = error
        while cause.__context__:  # network libraries wrap it several times
            cause = cause.__context__
        # On a wrong checksum pooch's message says "hash", torchvision's "corrupted".
        altered = "hash" in str(error) or "corrupted" in str(error)
        what = ("does not have the recorded checksum ({}), it is incomplete or another file: try again later" if altered
                else "failed ({}): connect to the network and try again")
        by_hand = f"put {' and '.join(f'{name}-{split}.npz' for split in SETS[name].splits)} into {cache_dir()}"
        raise DataError(f"the download of {name} {what.format(' '.join(str(cause).split()))}, or {by_hand}.") from error


def _fetch(name: str, folder: str) -> dict[str, dict[str, Any]]:
    if archive := SETS[name].archive:
        import pooch

        path = pooch.retrieve(archive.url, archive.checksum, path=folder, progressbar=sys.stderr.isatty())
        return {"test": {"images": from_tar(path, archive.take, name not in ONLY_CROPPED)}}
    from torchvision import datasets

    if name == "svhn":
        return {"test": {"images": datasets.SVHN(folder, "test", download=True).data.transpose(0, 2, 3, 1)}}
    if name == "mnist":
        return {"test": {"images": datasets.MNIST(folder, train=False, download=True).data.numpy()}}
    cifar = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    parts = {split: cifar(folder, train=split == "train", download=True) for split in SETS[name].splits}
    return {split: {"images": part.data, "labels": np.array(part.targets)} for split, part in parts.items()}


def from_tar(path: str, take: int | None = None, scale: bool = True) -> np.ndarray:
    """Images of a tar archive in the order of their names, fitted to 32 x 32 x 3.

    Nothing is extracted: the members are decoded where they lie, so no name in it can lead anywhere else.
    """
    from tqdm import tqdm

    def is_image(member: tarfile.TarInfo) -> bool:
        name = member.name.rpartition("/")[2].lower()
        return member.isfile() and name.endswith((".jpg", ".jpeg", ".png")) and not name.startswith(".")

    with tarfile.open(path) as tar:
        names = sorted(member.name for member in tar if is_image(member))
    images = dict.fromkeys(evenly(names, take) if take else names, np.empty(0))
    with tarfile.open(path) as tar:  # in the archive's own order: going back in a compressed file is slow
        for member in tqdm(tar, desc="reading images", unit=" files", disable=None):
            if member.name in images and (file := tar.extractfile(member)):
                images[member.name] = fit(Image.open(file), scale)
    return np.stack(list(images.values()))
