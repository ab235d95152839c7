"""Are the numbers still those that were recorded? python tools/nightly.py RUNS_FOLDER [RUNS_FOLDER ...]

Compares each run that data/tolerances.yaml names with the interval that stands there, prints one line a number, and
exits with 1 where one lies outside, or where no run was compared.
"""

import sys
from pathlib import Path

import yaml
from logitnorm.paths import ROOT
from logitnorm.study import results

FILE = ROOT / "data" / "tolerances.yaml"


def compare(run, recorded: dict) -> list[tuple[str, float, float, float]]:
    """(number, value, least, most) of a run for each recorded interval; a number is 'accuracy' or 'score set metric'."""
    values = {" ".join(filter(None, (row.score, row.ood_dataset, row.metric))): row.value
              for row in run.metrics.itertuples()}
    return [(name, values[name], *interval) for name, interval in recorded.items()]


def main(folders: list[str]) -> int:
    recorded = yaml.safe_load(FILE.read_text(encoding="utf-8"))["runs"]
    compared, outside = 0, []
    for run in [run for folder in folders for run in results.load_all(Path(folder), everything=True)]:
        for name, value, least, most in compare(run, recorded.get(run.id, {})):
            compared += 1
            line = f"{run.id}: {name} is {value:.2f}, recorded are {least:g} to {most:g}"
            print(line)
            outside += [line] * (not least <= value <= most)
    if not compared:
        outside = [f"no run in {', '.join(folders)} is one that {FILE.name} names"]
    for line in outside:
        print(f"error: {line}", file=sys.stderr)
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
