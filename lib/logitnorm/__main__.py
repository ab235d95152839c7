"""The commands, one word each: python -m logitnorm experiments | verify | pack | runner | book | count | data | official, each with --help."""

import importlib
import sys

from logitnorm import paths
from logitnorm.study import print_anywhere

COMMANDS = {"experiments": "logitnorm.study.experiments",  # train the runs of experiments.yaml
            "verify": "logitnorm.study.verify",  # is a run what it says?
            "pack": "logitnorm.study.parcel",  # a run folder as one file
            "runner": "logitnorm.book.runner",  # execute a notebook with parameters
            "book": "logitnorm.book.build",  # from executed notebooks to pages
            "count": "logitnorm.study.count",  # how many printed numbers have one of ours
            "data": "logitnorm.study.images",  # download image sets
            "official": "logitnorm.study.official"}  # score kept weights on the papers' own OOD sets

USAGE = f"usage: python -m logitnorm {{{','.join(COMMANDS)}}} ...  (--help after the word says more)"
OF_THE_BOOK = ("book", "count")  # these read files of the repository, which a wheel does not bring


def main(arguments: list[str]) -> int:
    """Run a command; its exit status, or SystemExit with what is wrong with the arguments."""
    print_anywhere()
    if arguments in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit(USAGE)
    if arguments[0] in OF_THE_BOOK and "--help" not in arguments and not (paths.ROOT / "_config.yml").is_file():
        sys.exit(f"error: `{arguments[0]}` reads files of the book, and {paths.ROOT} is no checkout of it; set LOGITNORM_ROOT to "
                 "a checkout")
    try:
        return importlib.import_module(COMMANDS[arguments[0]]).main(arguments[1:])
    except KeyboardInterrupt:
        return 130  # as a shell says it; a training has told how it goes on


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
