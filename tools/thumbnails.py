"""The pictures on the front page: five test images of CIFAR-10 and five house numbers, drawn by a seed and not by eye.

    LOGITNORM_DATA=... python tools/thumbnails.py        # or: make thumbnails

Writes data/thumbnails/front.png, the images side by side, and front.json, where each of them is from. What the networks
say of them is not stored: the build takes it from the committed runs.
"""

import json

import numpy as np
from logitnorm import data, paths
from PIL import Image

SEED = 1  # the first one; it was not changed after the images were seen
EACH = 5
SETS = ("cifar10", "svhn_part")
FOLDER = paths.ROOT / "data/thumbnails"


def main() -> None:
    rng = np.random.default_rng(SEED)
    pixels, found = [], []
    for name in SETS:
        images = data.load(name, "test")
        for index in sorted(rng.choice(len(images.images), EACH, replace=False).tolist()):
            pixels.append(images.images[index].numpy())
            found.append({"set": name, "index": index,
                          "label": int(images.labels[index]) if images.labels is not None else None})
    FOLDER.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(pixels, axis=1)).save(FOLDER / "front.png", optimize=True)
    source = ("CIFAR-10 test set (Krizhevsky 2009) and SVHN test set (Netzer et al. 2011), "
              f"{EACH} images of each, drawn with seed {SEED}")
    lines = ",\n".join(f"  {json.dumps(image)}" for image in found)
    (FOLDER / "front.json").write_text(f'{{"source": {json.dumps(source)}, "images": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
