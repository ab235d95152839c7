"""The official image sets: downloaded, checked, and kept as one .npz a split in the cache directory."""

import http.client
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from .sets import SETS, Archive, DataError, cache_dir, evenly, fit

# The released LSUN crops are 36 x 36; the code of Learned Confidence (uoguelph-mlrg/confidence_estimation)
# cuts out their centre and does not scale them.
ONLY_CROPPED = {"lsun_c"}


def download(name: str) -> None:
    """Fetch official set `name`, check it, and write all its splits into the cache directory.

    Everything happens in a folder of its own, NAME-*.part, which goes away at the end; a cached file appears
    under its final name only when it is whole.
    """
    cache = cache_dir()
    by_hand = f"put {' and '.join(f'{name}-{split}.npz' for split in SETS[name].splits)} into {cache}"
    print(f"downloading {SETS[name].title} into {cache}", file=sys.stderr, flush=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=".part", dir=cache)
    except OSError as error:
        raise DataError(
            f"the cache directory {cache} cannot be written ({error}): set LOGITNORM_DATA to a folder that "
            f"you may write to.") from error
    with scratch as folder:
        try:
            fetched = fetch(name, folder)
        except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
            # On a wrong checksum pooch's message says "hash", torchvision's "corrupted".
            if "hash" in str(error) or "corrupted" in str(error):
                raise DataError(
                    f"the download of {name} does not have the recorded checksum ({_reason(error)}), it is "
                    f"incomplete or another file: try again later, or {by_hand}.") from error
            raise DataError(
                f"the download of {name} failed ({_reason(error)}): connect to the network and try again, or "
                f"{by_hand}.") from error
        for split, arrays in fetched.items():
            _save(cache / f"{name}-{split}.npz", arrays, Path(folder))


def _reason(error: BaseException) -> str:
    """What went wrong in the first place, on one line: network libraries wrap the cause several times."""
    while error.__context__:
        error = error.__context__
    return " ".join(str(error).split())


def _save(path: Path, arrays: dict[str, np.ndarray], scratch: Path) -> None:
    """Write in the scratch folder, on the same disk, then rename: the final name never shows half a file."""
    whole = scratch / path.name
    try:
        np.savez(whole, **arrays)
        os.replace(whole, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error}): free some space, or set LOGITNORM_DATA to another "
            f"folder.") from error


def fetch(name: str, folder: str) -> dict[str, dict[str, np.ndarray]]:
    """split -> arrays of an official set, downloaded into `folder` and checked there."""
    if archive := SETS[name].archive:
        path = retrieve(archive, folder)
        return {"test": {"images": from_tar(path, archive.count, name not in ONLY_CROPPED)}}
    from torchvision import datasets

    if name == "svhn":
        return {"test": {"images": datasets.SVHN(folder, "test", download=True).data.transpose(0, 2, 3, 1)}}
    if name == "mnist":
        return {"test": {"images": datasets.MNIST(folder, train=False, download=True).data.numpy()}}
    cifar = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    parts = {split: cifar(folder, train=split == "train", download=True) for split in SETS[name].splits}
    return {split: {"images": part.data, "labels": np.array(part.targets)} for split, part in parts.items()}


def retrieve(archive: Archive, folder: str) -> str:
    """Path of the downloaded archive; ValueError if its checksum is wrong."""
    import pooch

    return pooch.retrieve(archive.url, archive.checksum, path=folder, progressbar=sys.stderr.isatty())


def from_tar(path: str, count: int | None = None, scale: bool = True) -> np.ndarray:
    """Images of a tar archive in the order of their names, fitted to 32 x 32 x 3.

    Nothing is extracted: the members are decoded where they lie, so no name in it can lead anywhere else.
    """
    from tqdm import tqdm

    def is_image(member: tarfile.TarInfo) -> bool:
        name = member.name.rpartition("/")[2].lower()
        return member.isfile() and name.endswith((".jpg", ".jpeg", ".png")) and not name.startswith(".")

    with tarfile.open(path) as tar:
        names = sorted(member.name for member in tar if is_image(member))
    chosen = dict.fromkeys(evenly(names, count) if count else names)
    with tarfile.open(path) as tar:  # in the archive's own order: going back in a compressed file is slow
        for member in tqdm(tar, desc="reading images", unit=" files", disable=None):
            if member.name in chosen:
                chosen[member.name] = fit(Image.open(tar.extractfile(member)), scale)
    return np.stack(list(chosen.values()))
