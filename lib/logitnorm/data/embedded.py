"""Image sets that need no download: noise, and pictures that ship inside scikit-learn and scikit-image."""

from importlib import resources

import numpy as np
from PIL import Image

from .sets import SIZE, evenly, fit

NOISE_IMAGES, MOST_PATCHES = 2000, 160
# name -> (files, side of the square patches in pixels). Textures are cut at 32 pixels; photos at 96 and then
# reduced, so that a patch still shows a part of an object.
FILES = {
    **{name: ([f"skimage.data/{name}.png"], 32) for name in ("brick", "grass", "gravel")},
    "text": (["skimage.data/text.png", "skimage.data/page.png"], 32),
    "hubble": (["skimage.data/hubble_deep_field.jpg"], 32),
    "photos": ([*(f"skimage.data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")),
                "sklearn.datasets.images/china.jpg", "sklearn.datasets.images/flower.jpg"], 96),
}
NAMES = ("digits", "gaussian_noise", "uniform_noise", *FILES)


def make(name: str, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels of one of NAMES; the digits have 8 x 8 pixels, the others 32 x 32 x 3."""
    if name == "digits":
        return digits(split)
    return (patches(name) if name in FILES else noise(name)), None


def noise(name: str) -> np.ndarray:
    """The noise of ODIN and Learned Confidence: values from N(0.5, 1), clipped to [0, 1], or from U(0, 1)."""
    # RandomState, because NumPy promises that its stream never changes; that of default_rng may.
    random = np.random.RandomState(2022)
    shape = (NOISE_IMAGES, SIZE, SIZE, 3)
    values = random.normal(0.5, 1.0, shape) if name == "gaussian_noise" else random.uniform(size=shape)
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits (8 x 8, grey levels 0 to 16): 1,437 train and 360 test, stratified, fixed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    chosen = train_test_split(np.arange(len(grey)), test_size=360, stratify=digits.target, random_state=0)[split != "train"]
    return grey[chosen], digits.target[chosen]


def patches(name: str) -> np.ndarray:
    """Square patches that do not overlap, row by row; of more than 160, 160 evenly spaced ones."""
    files, side = FILES[name]
    found = []
    for file in files:
        package, _, file = file.partition("/")
        # skimage.data's own functions might go to the network
        picture = Image.open((resources.files(package) / file).open("rb")).convert("RGB")
        found += [fit(picture.crop((x, y, x + side, y + side))) for y in range(0, picture.height - side + 1, side)
                  for x in range(0, picture.width - side + 1, side)]
    return np.stack(found)[evenly(len(found), MOST_PATCHES)]
