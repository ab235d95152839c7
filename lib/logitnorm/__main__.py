"""The commands, one word each: python -m logitnorm experiments | verify | pack | runner | book | count | data | official, each with --help."""

import importlib
import sys

from logitnorm import paths

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

if sys.argv[1:] in (["--help"], ["-h"]):
    print(USAGE)
    sys.exit()
if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(USAGE)
if sys.argv[1] in OF_THE_BOOK and "--help" not in sys.argv and not (paths.ROOT / "_config.yml").is_file():
    sys.exit(f"error: `{sys.argv[1]}` reads files of the book, and {paths.ROOT} is no checkout of it; set LOGITNORM_ROOT to "
             "a checkout")
sys.exit(importlib.import_module(COMMANDS[sys.argv[1]]).main(sys.argv[2:]))
