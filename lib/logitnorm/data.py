"""Image sets as uint8 tensors N x H x W x C: where they come from, and the batch gather (crop + flip).

`load(name, split)` looks in this order:

1. the cache directory (environment variable LOGITNORM_DATA, else ~/.cache/logitnorm): NAME-SPLIT.npz with
   `images` (uint8, N x H x W x 3 or grey N x H x W) and, for sets with a training split, `labels`;
2. sets that need no download: noise, and the images that ship inside scikit-learn and scikit-image;
3. the official download, checked, converted once and kept in the cache directory.

Whatever the source, every image is fitted to 32 x 32 x 3 as in the paper: shorter side to 32, centre crop.
Run `python -m logitnorm.data cifar10 svhn` to download and cache sets beforehand.
"""

import hashlib
import http.client
import os
import sys
import tarfile
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# The official code normalises every set, ID and OOD, with these.
MEAN = (0.492, 0.482, 0.446)
STD = (0.247, 0.244, 0.262)
SIZE = 32
NOISE_IMAGES = 2000


class DataError(RuntimeError):
    """An image set that is missing, damaged or unknown; the message is one sentence that says what to do."""


class ImageSet(NamedTuple):
    images: Tensor  # uint8, N x 32 x 32 x 3
    labels: Tensor | None  # int64, N; None for sets that are only used as out-of-distribution


class SetInfo(NamedTuple):
    title: str
    num_classes: int  # 0: the set is only used as out-of-distribution, its labels are ignored
    stands_in_for: str | None  # the official set that a stand-in replaces
    source: str
    splits: tuple[str, ...] = ("test",)


_BOTH = ("train", "test")
SETS = {
    # In-distribution sets
    "cifar10": SetInfo(
        "CIFAR-10", 10, None, "Krizhevsky 2009: 50,000 training and 10,000 test photos.", _BOTH),
    "cifar100": SetInfo(
        "CIFAR-100", 100, None, "Krizhevsky 2009: 50,000 training and 10,000 test photos.", _BOTH),
    "digits": SetInfo(
        "Digits 8x8", 10, None, "1,797 handwritten digits of 8 x 8 pixels that ship with scikit-learn, "
        "enlarged; a fixed stratified split into 1,437 and 360.", _BOTH),
    # The paper's six OOD sets, and two more
    "textures": SetInfo(
        "Textures", 0, None, "DTD (Cimpoi et al. 2014), all images of all 47 classes."),
    "svhn": SetInfo(
        "SVHN", 0, None, "Netzer et al. 2011, all cropped digits of the test split."),
    "lsun_c": SetInfo(
        "LSUN-C", 0, None, "LSUN crops as released with ODIN (Liang et al. 2018), their central 32 x 32."),
    "lsun_r": SetInfo(
        "LSUN-R", 0, None, "LSUN photos resized to 32 x 32 as released with ODIN (Liang et al. 2018)."),
    "isun": SetInfo(
        "iSUN", 0, None, "8,925 iSUN photos of 32 x 32 as released with ODIN (Liang et al. 2018)."),
    "places365": SetInfo(
        "Places365", 0, None, "10,000 validation photos of Places365 (Zhou et al. 2017), evenly spaced by "
        "name; the literature's set is 10,000 photos of its test split."),
    "tinyimagenet": SetInfo(
        "TinyImageNet-R", 0, None, "TinyImageNet at 32 x 32 as released with ODIN (Liang et al. 2018)."),
    "mnist": SetInfo(
        "MNIST", 0, None, "LeCun et al. 1998, test digits."),
    # Stand-ins for official sets: they exist only where somebody put them into the cache directory
    "textures_part": SetInfo(
        "Textures (part)", 0, "textures", "A part of DTD: 10 of its 47 classes."),
    "svhn_part": SetInfo(
        "SVHN (part)", 0, "svhn", "A part of SVHN's digit crops, not the test split."),
    "lsun_like_crop": SetInfo(
        "LSUN-like crops", 0, "lsun_c", "32 x 32 crops of Places photos of LSUN's scene categories."),
    "lsun_like_resize": SetInfo(
        "LSUN-like resized", 0, "lsun_r", "Places photos of LSUN's scene categories, resized without "
        "anti-aliasing."),
    "places_mini": SetInfo(
        "MiniPlaces", 0, "places365", "Validation photos of MiniPlaces, 100 scene categories."),
    "tinyimagenet_resize": SetInfo(
        "TinyImageNet (part)", 0, "tinyimagenet", "A part of TinyImageNet's test photos at 32 x 32."),
    # Generated
    "gaussian_noise": SetInfo(
        "Gaussian noise", 0, None, f"{NOISE_IMAGES:,} images, each value drawn from N(0.5, 1) and clipped to "
        "[0, 1]."),
    "uniform_noise": SetInfo(
        "Uniform noise", 0, None, f"{NOISE_IMAGES:,} images, each value drawn from U(0, 1)."),
    # Patches cut from images that ship inside installed packages
    "brick": SetInfo(
        "Brick", 0, None, "160 patches of scikit-image's photo of a brick wall."),
    "grass": SetInfo(
        "Grass", 0, None, "160 patches of scikit-image's photo of grass."),
    "gravel": SetInfo(
        "Gravel", 0, None, "160 patches of scikit-image's photo of gravel."),
    "text": SetInfo(
        "Text", 0, None, "130 patches of scikit-image's two photos of text."),
    "hubble": SetInfo(
        "Hubble field", 0, None, "160 patches of scikit-image's Hubble deep field."),
    "photos": SetInfo(
        "Photos", 0, None, "133 patches of six colour photos of scikit-image and scikit-learn."),
}


def official(name: str) -> str:
    """The official set that `name` stands in for; any other name itself."""
    return (SETS[name].stands_in_for if name in SETS else None) or name


def load(name: str, split: str = "test") -> ImageSet:
    """Image set `name` (a key of SETS): uint8 N x 32 x 32 x 3 on the CPU, and int64 labels or None.

    The order of the images is fixed. Raises DataError with one sentence if the set or split is unknown,
    missing, damaged, or cannot be downloaded.
    """
    if name not in SETS:
        raise DataError(f"there is no image set {name!r}; choose from {', '.join(SETS)}.")
    info = SETS[name]
    if split not in info.splits:
        raise DataError(f"{name} has no split {split!r}; choose from {', '.join(info.splits)}.")
    path = cache_dir() / f"{name}-{split}.npz"
    if not path.exists():
        if name == "digits":
            return _checked(name, *_digits(split), "scikit-learn")
        if name in _EMBEDDED:
            return _checked(name, _patches(name), None, "the installed packages")
        if name in ("gaussian_noise", "uniform_noise"):
            return _checked(name, _noise(name), None, "the generator")
        if info.stands_in_for:
            raise DataError(
                f"{path} does not exist: {name} only stands in for the official set {info.stands_in_for} "
                f"and has no download, so put that file there or use load({info.stands_in_for!r}), which "
                f"downloads the official set (for the runs of experiments.yaml: --official).")
        _download(name)
    return _checked(name, *_read(path), path)


def cache_dir() -> Path:
    """LOGITNORM_DATA if set, else logitnorm/ in the user's cache directory (XDG_CACHE_HOME or ~/.cache)."""
    chosen = os.environ.get("LOGITNORM_DATA")
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(chosen) if chosen else Path(user_cache) / "logitnorm").expanduser()


def sha256(images: Tensor) -> str:
    """SHA-256 (hexadecimal) of the raw bytes of `images` in C order; it names the data in a run's record."""
    return hashlib.sha256(images.cpu().contiguous().numpy()).hexdigest()


# --- Batches ----------------------------------------------------------------------------------------------

def pad(images: Tensor, padding: int = 4) -> Tensor:
    """Zero-padded copy of uint8 images N x H x W x C: N x (H+2p) x (W+2p) x C."""
    n, h, w, c = images.shape
    padded = images.new_zeros(n, h + 2 * padding, w + 2 * padding, c)
    padded[:, padding:padding + h, padding:padding + w] = images
    return padded


def crop_flip(padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor,
              size: int = SIZE) -> Tensor:
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


def draw_crops(padded: Tensor, count: int, generator: torch.Generator, size: int = SIZE) -> tuple[Tensor, ...]:
    """(top, left, flip) of `count` RandomCrops and RandomHorizontalFlips(0.5) of images of a padded set.

    Offsets are uniform over the (H - size + 1) x (W - size + 1) positions of the padded image: 9 x 9 for the
    paper's padding of 4. All draws come from `generator`, on its device, in the order top, left, flip.
    """
    device = generator.device
    top = torch.randint(padded.shape[1] - size + 1, (count,), generator=generator, device=device)
    left = torch.randint(padded.shape[2] - size + 1, (count,), generator=generator, device=device)
    return top, left, torch.rand(count, generator=generator, device=device) < 0.5


def draw_cutouts(count: int, generator: torch.Generator, size: int = SIZE) -> tuple[Tensor, ...]:
    """(row, column, on) of `count` Cutouts: the square's centre, uniform over the image, and a fair coin.

    DeVries and Taylor's released code cuts with probability one half, wherever the centre falls.
    """
    device = generator.device
    row = torch.randint(size, (count,), generator=generator, device=device)
    column = torch.randint(size, (count,), generator=generator, device=device)
    return row, column, torch.rand(count, generator=generator, device=device) < 0.5


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


# --- Reading and checking ---------------------------------------------------------------------------------

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
    except Exception as error:  # one changed byte makes zipfile, zlib or NumPy's header parser raise many kinds
        raise DataError(
            f"{path} cannot be read, it is damaged or incomplete ({error}): delete it and load the set "
            f"again.") from error
    raise DataError(f"{path} holds no array `images`, but {found}: write it with np.savez(path, images=...).")


def _checked(name: str, images: np.ndarray, labels: np.ndarray | None, where: object) -> ImageSet:
    """The arrays as an ImageSet of 32 x 32 x 3, or a DataError that says what is wrong with them."""
    num_classes = SETS[name].num_classes
    if images.dtype != np.uint8 or not (images.ndim == 3 or images.ndim == 4 and images.shape[3] == 3):
        raise DataError(
            f"`images` of {name} in {where} are {images.dtype} {images.shape}, but must be uint8 N x H x W "
            f"x 3 or N x H x W: write the file again.")
    if 0 in images.shape:
        raise DataError(
            f"`images` of {name} in {where} are empty, of shape {images.shape}: delete the file and load the "
            f"set again.")
    if images.shape[1:] != (SIZE, SIZE, 3):
        images = np.stack([_fit(Image.fromarray(image), name not in _ONLY_CROPPED) for image in images])
    if num_classes == 0:
        return ImageSet(torch.from_numpy(images), None)
    if labels is None:
        raise DataError(f"{where} holds no array `labels`, which {name} needs: write the file again with it.")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"`labels` of {name} in {where} are {labels.dtype} {labels.shape}, but must be {len(images)} "
            f"integers, one for each image: write the file again.")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"`labels` of {name} in {where} run from {labels.min()} to {labels.max()}, but must lie in 0 to "
            f"{num_classes - 1}: write the file again.")
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _fit(image: Image.Image, scale: bool = True) -> np.ndarray:
    """uint8 32 x 32 x 3: shorter side to 32 (bilinear) if `scale`, then centre crop; grey is replicated."""
    from torchvision.transforms import functional

    image = image.convert("RGB")
    if scale:
        image = functional.resize(image, SIZE)
    return np.array(functional.center_crop(image, SIZE))


# --- Sets that need no download ---------------------------------------------------------------------------

def _noise(name: str) -> np.ndarray:
    """The noise of ODIN and Learned Confidence: values from N(0.5, 1), clipped to [0, 1], or from U(0, 1)."""
    # RandomState, because NumPy promises that its stream never changes; that of default_rng may.
    random = np.random.RandomState(2022)
    shape = (NOISE_IMAGES, SIZE, SIZE, 3)
    values = random.normal(0.5, 1.0, shape) if name == "gaussian_noise" else random.uniform(size=shape)
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits (8 x 8, grey levels 0 to 16): 1,437 train and 360 test, stratified, fixed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(np.arange(len(grey)), test_size=360, stratify=digits.target,
                                   random_state=0)
    chosen = train if split == "train" else test
    return grey[chosen], digits.target[chosen]


# name -> (files, side of the square patches in pixels). Textures are cut at 32 pixels; photos at 96 and then
# reduced, so that a patch still shows a part of an object.
_EMBEDDED = {
    "brick": (["skimage/brick.png"], 32),
    "grass": (["skimage/grass.png"], 32),
    "gravel": (["skimage/gravel.png"], 32),
    "text": (["skimage/text.png", "skimage/page.png"], 32),
    "hubble": (["skimage/hubble_deep_field.jpg"], 32),
    "photos": (["skimage/astronaut.png", "skimage/chelsea.png", "skimage/coffee.png", "skimage/rocket.jpg",
                "sklearn/china.jpg", "sklearn/flower.jpg"], 96),
}
_MAX_PATCHES = 160


def _patches(name: str) -> np.ndarray:
    """Square patches that do not overlap, row by row; of more than 160, 160 evenly spaced ones."""
    files, side = _EMBEDDED[name]
    patches = []
    for file in files:
        picture = Image.open(_packaged(file)).convert("RGB")
        for y in range(0, picture.height - side + 1, side):
            for x in range(0, picture.width - side + 1, side):
                patches.append(_fit(picture.crop((x, y, x + side, y + side))))
    return np.stack(_evenly(patches, _MAX_PATCHES))


def _evenly(items: list, count: int) -> list:
    """`count` evenly spaced items, or all of them if there are no more."""
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else items


def _packaged(file: str) -> Path:
    """Path of an image inside an installed package; skimage.data's own functions might go to the network."""
    package, file = file.split("/")
    if package == "skimage":
        import skimage.data
        path = Path(skimage.data.__file__).parent / file
    else:
        import sklearn.datasets
        path = Path(sklearn.datasets.__file__).parent / "images" / file
    if not path.is_file():
        raise DataError(
            f"{path} is missing, although it ships with {package} and the embedded benchmark is cut from it: "
            f"install scikit-image and scikit-learn again.")
    return path


# --- Official downloads -----------------------------------------------------------------------------------

class _Archive(NamedTuple):
    url: str
    checksum: str  # algorithm:hexadecimal
    count: int | None = None  # take so many evenly spaced images; None = all


_DROPBOX = "https://www.dropbox.com/s/raw/"
_ARCHIVES = {
    # URL and MD5: torchvision.datasets.DTD.
    "textures": _Archive("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
                         "md5:fff73e5086ae6bdbea199a49dfb8a4c1"),
    # URL and MD5: torchvision.datasets.Places365, validation split at 256 x 256. The literature's set is a
    # list of 10,000 test photos (jfc43/informative-outlier-mining), a download of several gigabytes.
    "places365": _Archive("http://data.csail.mit.edu/places/places365/val_256.tar",
                          "md5:e27b17d8d44f4af9a78502beb927f808", count=10_000),
    # The next three: files of the ODIN release (facebookresearch/odin); URL and MD5 from
    # kkirchheim/pytorch-ood, dataset/img/odin.py.
    "lsun_c": _Archive(_DROPBOX + "fhtsw1m3qxlwj6h/LSUN.tar.gz",
                       "md5:458a0a0ab8e5f1cb4516d7400568e460"),
    "lsun_r": _Archive(_DROPBOX + "moqh2wh8696c3yl/LSUN_resize.tar.gz",
                       "md5:278b7b31c8cb7e804a1465a8ce03a2dc"),
    "tinyimagenet": _Archive(_DROPBOX + "kp3my3412u5k9rl/Imagenet_resize.tar.gz",
                             "md5:0f9ff11d45babf2eff5fe12281d1ac31"),
    # Of the ODIN release too: URL from wetliu/energy_ood; SHA-256 of a copy whose MD5 is the one in
    # edadaltocg/detectors, be77b0f2c26fda898afac5f99645ee70.
    "isun": _Archive(_DROPBOX + "ssz7qxfqae0cca5/iSUN.tar.gz",
                     "sha256:74c2d220910a65b495611601170a46fc093c26c543d66f7b843ef72954636ecc"),
}
# The released LSUN crops are 36 x 36; the code of Learned Confidence (uoguelph-mlrg/confidence_estimation)
# cuts out their centre and does not scale them.
_ONLY_CROPPED = {"lsun_c"}


def _download(name: str) -> None:
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
            fetched = _fetch(name, folder)
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


def _fetch(name: str, folder: str) -> dict[str, dict[str, np.ndarray]]:
    """split -> arrays of an official set, downloaded into `folder` and checked there."""
    if name in _ARCHIVES:
        archive = _ARCHIVES[name]
        path = _retrieve(archive, folder)
        return {"test": {"images": _from_tar(path, archive.count, name not in _ONLY_CROPPED)}}
    from torchvision import datasets

    if name == "svhn":
        return {"test": {"images": datasets.SVHN(folder, "test", download=True).data.transpose(0, 2, 3, 1)}}
    if name == "mnist":
        return {"test": {"images": datasets.MNIST(folder, train=False, download=True).data.numpy()}}
    cifar = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    parts = {split: cifar(folder, train=split == "train", download=True) for split in _BOTH}
    return {split: {"images": part.data, "labels": np.array(part.targets)} for split, part in parts.items()}


def _retrieve(archive: _Archive, folder: str) -> str:
    """Path of the downloaded archive; ValueError if its checksum is wrong."""
    import pooch

    return pooch.retrieve(archive.url, archive.checksum, path=folder, progressbar=sys.stderr.isatty())


def _from_tar(path: str, count: int | None = None, scale: bool = True) -> np.ndarray:
    """Images of a tar archive in the order of their names, fitted to 32 x 32 x 3.

    Nothing is extracted: the members are decoded where they lie, so no name in it can lead anywhere else.
    """
    from tqdm import tqdm

    def is_image(member: tarfile.TarInfo) -> bool:
        name = member.name.rpartition("/")[2].lower()
        return member.isfile() and name.endswith((".jpg", ".jpeg", ".png")) and not name.startswith(".")

    with tarfile.open(path) as tar:
        names = sorted(member.name for member in tar if is_image(member))
    chosen = dict.fromkeys(_evenly(names, count) if count else names)
    with tarfile.open(path) as tar:  # in the archive's own order: going back in a compressed file is slow
        for member in tqdm(tar, desc="reading images", unit=" files", disable=None):
            if member.name in chosen:
                chosen[member.name] = _fit(Image.open(tar.extractfile(member)), scale)
    return np.stack(list(chosen.values()))


def main(names: list[str]) -> None:
    """Download or generate the named sets and print one line for each split."""
    if not names:
        raise DataError(f"name the sets to prepare, for example cifar10 svhn; choose from {', '.join(SETS)}.")
    for name in names:
        for split in SETS[name].splits if name in SETS else ("test",):
            images, labels = load(name, split)
            print(f"{name}-{split}: {len(images):,} images, {'with' if labels is not None else 'no'} labels, "
                  f"sha256 {sha256(images)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DataError as error:
        sys.exit(f"logitnorm.data: {error}")
