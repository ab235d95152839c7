"""The commands, one word each: python -m logitnorm experiments | verify | pack | runner | book | count | data | official, each with --help."""

import importlib
import sys

COMMANDS = {"experiments": "logitnorm.study.experiments",  # train the runs of experiments.yaml
            "verify": "logitnorm.study.verify",  # is a run what it says?
            "pack": "logitnorm.study.parcel",  # a run folder as one file
            "runner": "logitnorm.book.runner",  # execute a notebook with parameters
            "book": "logitnorm.book.build",  # from executed notebooks to pages
            "count": "logitnorm.study.count",  # how many printed numbers have one of ours
            "data": "logitnorm.study.fetch",  # download image sets
            "official": "logitnorm.study.official"}  # score kept weights on the papers' own OOD sets

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(f"usage: python -m logitnorm {{{','.join(COMMANDS)}}} ...  (--help after the word says more)")
sys.exit(importlib.import_module(COMMANDS[sys.argv[1]]).main(sys.argv[2:]))
