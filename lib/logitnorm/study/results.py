"""Finished runs as tables: a run folder with frames, all of them below a folder, one row per number."""

from functools import cached_property
from pathlib import Path

import pandas as pd

from logitnorm import runs
from logitnorm.config import TAU


class Result(runs.Run):
    """A complete run folder whose history and metrics are frames."""

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "history.csv")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "metrics.csv", keep_default_na=False, dtype={"value": float})


def load(path: Path, verify: bool = True) -> Result:
    """Read a run folder; verify compares every file with its sha256 and refuses a damaged run."""
    run = runs.load(path, verify)
    return Result(run.path, run.info)


def load_all(runs_dir: Path, size: str | None = None, verify: bool = True, everything: bool = False) -> list[Result]:
    """The complete runs below runs_dir that may stand in one average (Config.in_grid), sorted by name.

    everything: those of a second net, another length or another learning rate too, for the studies of these. Runs in
    progress are left out. Raises RunError for a damaged run.
    """
    found = [load(p.parent, verify) for p in sorted(Path(runs_dir).glob("*/run.json"))
             if not p.parent.name.endswith(".part")]
    return [run for run in found if (size is None or run.config.size == size) and (everything or run.config.in_grid)]


TIDY = ["run", "size", "id_dataset", "architecture", "method", "tau", "cutout", "seed", "score", "ood_dataset", "metric",
        "value"]


def tidy(loaded: list[Result]) -> pd.DataFrame:
    """One row per (run, score, OOD set, metric); tau is NaN for the methods that have none."""
    frames = []
    for run in loaded:
        c = run.config
        frames.append(run.metrics.assign(
            run=run.id, size=c.size, id_dataset=c.id_dataset, architecture=c.architecture, method=c.method,
            tau=c.tau if c.method in TAU else float("nan"), cutout=c.cutout, seed=c.seed))
    return pd.concat(frames)[TIDY].reset_index(drop=True) if frames else pd.DataFrame(columns=TIDY)
