"""python -m logitnorm data SET ...: download or generate image sets beforehand."""

from logitnorm import data

from . import report


def main(names: list[str]) -> int:
    """Download or generate the named sets and print one line for each split."""
    try:
        if not names:
            raise data.DataError(f"name the sets, for example cifar10 svhn; choose from {', '.join(data.SETS)}.")
        for name in names:
            for split in data.SETS[name].splits if name in data.SETS else ("test",):
                images, labels = data.load(name, split)
                print(f"{name}-{split}: {len(images):,} images, {'with' if labels is not None else 'no'} labels, "
                      f"sha256 {data.sha256(images)}")
    except data.DataError as error:
        return report(error)
    return 0
