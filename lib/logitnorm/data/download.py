"""The official image sets: downloaded, checked, and kept as one .npz a split in the cache directory."""

import gzip
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

from .sets import SETS, Archive, DataError, cache_dir, evenly, fit

# The released LSUN crops are 36 x 36; the code of Learned Confidence (uoguelph-mlrg/confidence_estimation)
# cuts out their centre and does not scale them.
ONLY_CROPPED = {"lsun_c"}

IMAGE = re.compile(r"(.*/)?[^./][^/]*\.(jpe?g|png)", re.I)


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
              from_tar(path, archive.take, name not in ONLY_CROPPED))
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
    from tqdm import tqdm

    with tarfile.open(path) as tar:
        members = [member for member in tar if member.isfile() and IMAGE.fullmatch(member.name)]
        names = sorted(member.name for member in members)
        images = dict.fromkeys(evenly(names, take) if take else names, np.empty(0))
        # in the archive's own order: going back in a compressed file is slow
        for member in tqdm(members, desc="reading images", unit=" files", disable=None):
            if member.name in images and (file := tar.extractfile(member)):
                images[member.name] = fit(Image.open(file), scale)
    return np.stack(list(images.values()))
