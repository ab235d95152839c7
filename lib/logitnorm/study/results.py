"""Finished runs as tables: a run folder with frames, all of them below a folder, one row per number."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors

from logitnorm import paths, runs
from logitnorm.config import TAU
from logitnorm.runs import RunError

from . import fetch, parcel, scoring


class Result(runs.Run):
    """A complete run folder whose history and metrics are frames."""

    @property
    def format(self) -> int:
        return self.info.get("format", 1)

    @property
    def sets(self) -> list[str]:
        """Names of the image sets that were scored, ID first."""
        return self.config.sets

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "history.csv")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "metrics.csv", keep_default_na=False, dtype={"value": float})

    @cached_property
    def measured(self) -> dict[tuple[str, str, str], float]:
        """{(score, OOD set, metric): value} of metrics.csv."""
        return self.metrics.set_index(["score", "ood_dataset", "metric"])["value"].to_dict()

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the prediction for each ID test image is right: N bool."""
        name = self.config.id_dataset
        if self.format > 1:
            return self.tensor(f"{name}/correct")
        return self.tensor(f"{name}/logits").argmax(axis=1) == self.tensor(f"{name}/labels")

    def file(self, name: str) -> Path:
        """One of its files; in Colab's sparse clone it is fetched first."""
        return fetch.bring(self.path / name, self.info["files"].get(name, ""))

    def tensor(self, name: str) -> np.ndarray:
        self.file("scores.safetensors")
        return super().tensor(name)

    def arrays(self) -> dict[str, np.ndarray]:
        self.file("scores.safetensors")
        return super().arrays()

    def has(self, name: str) -> bool:
        """Whether scores.safetensors holds the array: not every run kept its logits and features."""
        with safetensors.safe_open(self.file("scores.safetensors"), "np") as file:
            return name in file.keys()

    def score(self, name: str, *image_sets: str) -> np.ndarray:
        """The named score of every image of the sets, one set after the other, in float64.

        In format 2 their order, and so every metric, is exact; between the values that the run kept they are interpolated.
        """
        if self.format > 1:
            return np.concatenate([scoring.values(self.config, self.tensor, name, each) for each in image_sets])
        return np.concatenate([scoring.score(self.config, name, lambda key, each=each: self.tensor(f"{each}/{key}"))
                               for each in image_sets])


def load(path: Path, verify: bool = True) -> Result:
    """Read a run folder; verify compares every file with its sha256 and refuses a damaged run.

    What Colab's sparse clone left out is compared when it is fetched.
    """
    path = Path(path)
    absent = [] if all((path / name).exists() for name in parcel.FILES) else [
        file.name for file in fetch.left_out(paths.ROOT) if file.parent == path and not file.exists()]
    run = runs.load(path, verify, absent)
    return Result(run.path, run.info)


def load_all(runs_dir: Path | str, size: str | None = None, verify: bool = True, everything: bool = False) -> list[Result]:
    """The complete runs below runs_dir that may stand in one average (Config.in_grid), sorted by name.

    runs_dir: a folder of run folders; "+FOLDER", a text: the book's runs and those in FOLDER, which take the place of
    the book's where both have one. everything: those of a second net, another length or another learning rate too, for
    the studies of these. Runs in progress are left out. Raises RunError for a damaged run, or where FOLDER has none.
    """
    own = str(runs_dir).removeprefix("+")
    folders = {p.parent.name: p.parent for p in Path(own).glob("*/run.json")}
    if own != str(runs_dir):
        if not folders:
            raise RunError(f"{Path(own).absolute()} holds no finished run; name the folder in which your run folder lies")
        folders = {p.parent.name: p.parent for p in paths.RUNS.glob("*/run.json")} | folders
    found = [load(folder, verify) for name, folder in sorted(folders.items()) if not name.endswith(".part")]
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
