"""python -m logitnorm.data SET ...: download or generate image sets beforehand."""

import sys

from . import SETS, DataError, load, sha256


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
