"""The test images that the book prints: drawn by a seed, and the two of Figure 2 by its rule; none by eye.

    LOGITNORM_DATA=... python tools/thumbnails.py

Writes into data/thumbnails pictures of images side by side, and beside each a .json with where every image is from:
front (5 of CIFAR-10, 5 house numbers), sheets (24 of CIFAR-10 and of each far OOD set), fig2 (two). What networks say of
them is not stored: the build takes it from the committed runs.
"""

import json

import numpy as np
from logitnorm import data
from logitnorm.book.pictures import ACROSS, THUMBNAILS
from logitnorm.study import experiments, findings, ledger, results
from PIL import Image

SEED = 1  # the first one; it was not changed after the images were seen
FRONT, SHEET = 5, 24


def drawn(names: tuple, each: int) -> list[dict]:
    """`each` test images of every set, in the order of their numbers."""
    rng = np.random.default_rng(SEED)
    return [{"set": name, "index": index} for name in names
            for index in sorted(rng.choice(len(data.load(name, "test").images), each, replace=False).tolist())]


def write(name: str, chosen: list[dict], how: str, across: int) -> None:
    pixels = []
    for image in chosen:
        images = data.load(image["set"], "test")
        pixels.append(images.images[image["index"]].numpy())
        image["label"] = int(images.labels[image["index"]]) if images.labels is not None else None
    lines = [np.concatenate(pixels[i:i + across], axis=1) for i in range(0, len(pixels), across)]
    THUMBNAILS.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(THUMBNAILS / f"{name}.png", optimize=True)
    sources = dict.fromkeys(f"{data.SETS[image['set']].title}: {' '.join(data.SETS[image['set']].source.split())}" for image in chosen)
    told = ",\n".join(f"  {json.dumps(image)}" for image in chosen)
    (THUMBNAILS / f"{name}.json").write_text(f'{{"source": {json.dumps(f"{how} {chr(32).join(sources)}")}, "images": [\n{told}\n]}}\n')


def main() -> None:
    write("front", drawn(("cifar10", "svhn_part"), FRONT), f"Test images, {FRONT} of each set, drawn with seed {SEED}.", 2 * FRONT)
    [small] = experiments.configs(size="small", only=r"cifar10-wrn10_2-cross_entropy-seed1$")
    write("sheets", drawn((small.id_dataset, *small.ood_sets), SHEET), f"Test images, {SHEET} of each set, drawn with seed {SEED}.", ACROSS)
    runs = findings.pair(results.by_size("", ledger.SIZES), "cross_entropy", "logitnorm")
    _, pick = findings.examples(runs)
    c = runs[0].config
    two = [{"set": name, "index": int(pick[kind])} for kind, name in (("ID", c.id_dataset), ("OOD", c.history_ood))]
    write("fig2", two, "Two test images, of median confidence.", 2)


if __name__ == "__main__":
    main()
