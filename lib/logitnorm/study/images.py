"""The official image sets: downloaded, checked, and kept as one .npz a split in the cache directory.

    python -m logitnorm data cifar10 svhn      # and one line for each split
"""

import argparse
import gzip
import hashlib
import http.client
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from torch import Tensor
from tqdm import tqdm

from logitnorm import data
from logitnorm.data import SETS, Archive, DataError, ImageSet, cache_dir, evenly, fit

from . import report

IMAGE = re.compile(r"(.*/)?[^./][^/]*\.(jpe?g|png)", re.I)


def load(name: str, split: str = "test") -> ImageSet:
    """data.load, after the download of an official set that is not on this machine.

    Raises DataError, one sentence, as data.load does, and for a download that fails.
    """
    info = SETS.get(name)
    if info and info.archive and split in info.splits and not data.file(name, split).exists():
        download(name, split)
    return data.load(name, split)


def download(name: str, split: str = "test") -> None:
    """Fetch official set `name`, check it, and write the splits that its archive holds into the cache directory.

    Everything happens in a folder of its own, NAME-*.part, which goes away at the end; a cached file is written there,
    on the same disk, and renamed, so that its final name never shows half a file.
    """
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}-", suffix=".part", dir=cache) as folder:
            for found, arrays in fetch(name, folder, split).items():
                whole = Path(folder, f"{name}-{found}.npz")
                np.savez(whole, **arrays)
                os.replace(whole, cache / whole.name)
    except OSError as error:
        raise DataError(f"{cache} cannot hold {name} ({error}): free some space, or set LOGITNORM_DATA to another "
                        "folder that you may write to.") from error


def fetch(name: str, folder: str, split: str = "test") -> dict[str, dict]:
    """split -> arrays of the archive of an official set that holds `split`, downloaded into `folder` and checked there."""
    archive = (SETS[name].training_archive if split == "train" else None) or SETS[name].archive
    assert archive
    path = retrieve(name, folder, archive)
    if name.startswith("cifar"):
        from torchvision import datasets  # whose reader finds the file in the folder

        return {split: {"images": (part := getattr(datasets, name.upper())(folder, split == "train", download=True)).data,
                        "labels": np.array(part.targets)} for split in SETS[name].splits}
    if name == "svhn":  # whose files call the digit 0 ten
        arrays = loadmat(path)
        return {split: {"images": arrays["X"].transpose(3, 0, 1, 2), "labels": arrays["y"].ravel().astype(np.int64) % 10}}
    images = (np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 28, 28) if name == "mnist" else
              from_tar(path, archive.take, SETS[name].scaled))
    return {"test": {"images": images}}


def retrieve(name: str, folder: str, archive: Archive) -> Path:
    """An archive of set `name`, put below `folder`: from the first of its addresses that gives the recorded checksum.

    From each, a transfer that breaks off or gives another file is thrown away and done once more. Each address that
    fails is told in one line on stderr; DataError tells all of them.
    """
    import pooch

    failed = []
    file = archive.urls[0].rpartition("/")[2]
    for url in archive.urls:
        one = pooch.create(folder, "", registry={file: archive.checksum}, urls={file: url}, retry_if_failed=1)
        try:
            return Path(one.fetch(file, downloader=pooch.HTTPDownloader(progressbar=sys.stderr.isatty())))
        except (OSError, http.client.HTTPException, ValueError) as error:
            altered = "hash" in str(error)  # pooch's word for a wrong checksum
            failed.append(f"{url}: {'not the recorded checksum, it is another file' if altered else _cause(error)}")
            print(f"no {name} from {failed[-1]}", file=sys.stderr, flush=True)
    by_hand = " and ".join(f"{name}-{split}.npz" for split in SETS[name].splits)
    raise DataError(f"the download of {name} failed ({'; '.join(failed)}): connect to the network and try again later, or "
                    f"put {by_hand} into {cache_dir()}.")


def _cause(error: BaseException) -> str:
    """The first cause of a network library's error, which is wrapped several times."""
    return _cause(error.__context__) if error.__context__ else " ".join(str(error).split())


def from_tar(path: Path, take: int | None = None, scale: bool = True) -> np.ndarray:
    """Images of a tar archive in the order of their names, fitted to 32 x 32 x 3.

    Nothing is extracted: the members are decoded where they lie, so no name in it can lead anywhere else.
    """
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile() and IMAGE.fullmatch(member.name)]
        names = sorted(member.name for member in members)
        images = dict.fromkeys([names[i] for i in evenly(len(names), take or len(names))], np.empty(0))
        # in the archive's own order: going back in a compressed file is slow
        for member in tqdm(members, desc="reading images", unit=" files", disable=None):
            if member.name in images and (file := tar.extractfile(member)):
                images[member.name] = fit(Image.open(file), scale)
    return np.stack(list(images.values()))


def sha256(images: Tensor) -> str:
    """SHA-256 (hexadecimal) of the raw bytes of `images` in C order; it names the data in a run's record."""
    return hashlib.sha256(images.cpu().contiguous().numpy().data).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Download or generate the named sets and print one line for each split."""
    parser = argparse.ArgumentParser(prog="python -m logitnorm data", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="SET", help=f"one or more of {', '.join(SETS)}")
    names = parser.parse_args(arguments).names
    try:
        if not names:
            raise DataError(f"name the sets, for example cifar10 svhn; choose from {', '.join(SETS)}.")
        for name in names:
            for split in SETS[name].splits if name in SETS else ("test",):
                images, labels = load(name, split)
                print(f"{name}-{split}: {len(images):,} images, {'with' if labels is not None else 'no'} labels, "
                      f"sha256 {sha256(images)}")
    except DataError as error:
        return report(error)
    return 0
