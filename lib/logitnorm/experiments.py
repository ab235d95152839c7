"""experiments.yaml: which runs there are, and `python -m logitnorm.experiments` to train them without a notebook.

    python -m logitnorm.experiments --size small --only 'logitnorm.*seed1' [--runs-dir data/runs] [--list]
"""

import argparse
import itertools
import re
import sys
from pathlib import Path

import yaml

from . import paths
from .data import DataError
from .runs import RunError
from .train import Config, train

FILE = paths.ROOT / "experiments.yaml"


def configs(file: Path = FILE, size: str | None = None, only: str = "") -> list[Config]:
    """The runs of experiments.yaml, in its order: those of one size, whose run id matches the expression `only`."""
    content = yaml.safe_load(Path(file).read_text())
    found: list[Config] = []
    for number, entry in enumerate(content["runs"], start=1):
        entry = dict(entry)
        name = entry.pop("size", None)
        if name not in content["sizes"]:
            raise ValueError(f"{file}: run {number} has size {name!r}; known: {', '.join(content['sizes'])}")
        seeds, taus = entry.pop("seeds", [1]), entry.pop("tau", Config.tau)
        for seed, tau in itertools.product(seeds, taus if isinstance(taus, list) else [taus]):
            settings = {**content["sizes"][name], **entry, "size": name, "seed": seed, "tau": tau}
            try:
                config = Config.from_dict(settings)
                config.check()
            except ValueError as error:
                raise ValueError(f"{file}: run {number} ({name}, {entry.get('method')}): {error}") from None
            found.append(config)
    ids = [c.run_id for c in found]
    twice = {i for i in ids if ids.count(i) > 1}
    if twice:
        raise ValueError(f"{file}: the run {sorted(twice)[0]} is listed twice; change a seed or delete one entry")
    return [c for c in found if (size is None or c.size == size) and re.search(only, c.run_id)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm.experiments", description="Train the runs of experiments.yaml.")
    parser.add_argument("--size", help="only the runs of this size (smoke, small, paper)")
    parser.add_argument("--only", default="", help="only the runs whose id matches this regular expression")
    parser.add_argument("--runs-dir", type=Path, default=paths.RUNS, help="where run folders go (default: data/runs)")
    parser.add_argument("--list", action="store_true", help="print the run ids and train nothing")
    args = parser.parse_args(arguments)
    try:
        chosen = configs(FILE, args.size, args.only)
        if not chosen:
            raise ValueError(f"no run of {FILE.name} matches --size {args.size} --only {args.only!r}; see --list")
        for number, config in enumerate(chosen, start=1):
            if args.list:
                print(config.run_id)
            else:
                print(f"[{number}/{len(chosen)}] {config.run_id}", flush=True)
                print(f"wrote {train(config, args.runs_dir)}", flush=True)
    except (DataError, RunError, ValueError, FloatingPointError, re.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
