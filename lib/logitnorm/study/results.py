"""Finished runs as tables: a run folder with frames, all of them below a folder, one row per number."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors

from logitnorm import metrics, paths, runs
from logitnorm.config import IN_EVERY_NAME, IN_NO_NAME, SIZES, TAU, Config, ConfigError
from logitnorm.runs import RunError

from . import fetch, parcel, scoring


class Result(runs.Run):
    """A complete run folder whose history and metrics are frames."""

    @cached_property
    def config(self) -> Config:
        try:
            return super().config
        except ConfigError as error:
            raise RunError(f"{self.path / 'run.json'} holds settings that this version does not know ({error}); "
                           "train the run again") from None

    @property
    def format(self) -> int:
        return self.info.get("format", 1)

    @property
    def sets(self) -> list[str]:
        """Names of the image sets that were scored, ID first."""
        return self.config.sets

    @property
    def in_grid(self) -> bool:
        """Whether averages over seeds and the papers' tables take this run.

        Of Wide ResNets only the size's own, with the size's schedule: others belong to a study of the network, the
        length or the rate. The papers' other networks come with settings of their own.
        """
        if "architecture" in self.config.changed:
            return not self.config.architecture.startswith("wrn")
        return not set(self.config.changed) - set(IN_EVERY_NAME + IN_NO_NAME)

    @property
    def counted(self) -> bool:
        """Whether tables over networks take this run: `in_grid`, or of SECOND_NET with the settings of its size otherwise."""
        return self.in_grid or (self.config.architecture == SECOND_NET and not set(self.config.changed) - set(IN_EVERY_NAME + IN_NO_NAME))

    @property
    def device(self) -> str:
        """What trained it, one device after the other: 'NVIDIA H100, from epoch 191 on CPU AMD EPYC'."""
        parts = [{"device": self.info["device"]}, *self.info.get("continued", [])]
        return parts[0]["device"] + "".join(f", from epoch {part['from_epoch']} on {part['device']}"
                                            for before, part in zip(parts, parts[1:]) if part["device"] != before["device"])

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "history.csv")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        return pd.read_csv(self.path / "metrics.csv", keep_default_na=False, dtype={"value": float})

    def separated(self, score: str, ood_set: str) -> tuple[float, float]:
        """FPR95 and AUROC (percent) of a score on one OOD set: as metrics.csv has them, which the build measures again, or,
        in a run that was written before it had this score, measured here, once."""
        if (score, ood_set) not in self._separated:
            inside, outside = self.score(score, self.config.id_dataset), self.score(score, ood_set)
            self._separated[score, ood_set] = metrics.fpr95(inside, outside), metrics.auroc(inside, outside)
        return self._separated[score, ood_set]

    def far(self, score: str) -> float:
        """Mean FPR95 (percent) of a score over the `ood_sets` of the run."""
        return float(np.mean([self.separated(score, name)[0] for name in self.config.ood_sets]))

    @cached_property
    def _separated(self) -> dict[tuple[str, str], tuple[float, float]]:
        found = self.metrics.pivot_table(index=["score", "ood_dataset"], columns="metric", values="value")
        return dict(zip(found.index, zip(found["fpr95"], found["auroc"])))

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

    def keeps(self, what: str) -> bool:
        """Whether it kept its "logits" or "features" of the ID test set and of every far OOD set."""
        return all(self.has(f"{name}/{what}") for name in (self.config.id_dataset, *self.config.ood_sets))

    def score(self, name: str, *image_sets: str) -> np.ndarray:
        """The named score of every image of the sets, one set after the other, in float64.

        In format 2 their order, and so every metric, is exact; between the values that the run kept they are interpolated.
        """
        if self.format > 1:
            return np.concatenate([scoring.values(self.config, self.tensor, name, each) for each in image_sets])
        return np.concatenate([scoring.score(self.config, name, lambda key, each=each: self.tensor(f"{each}/{key}"))
                               for each in image_sets])


def load(path: Path) -> Result:
    """Read a run folder. Raises RunError for a damaged run: every file is compared with its sha256, and what Colab's sparse
    clone left out when it is fetched."""
    path = Path(path)
    absent = [] if all((path / name).exists() for name in parcel.FILES) else [
        file.name for file in fetch.left_out(paths.ROOT) if file.parent == path and not file.exists()]
    run = runs.load(path, but=absent)
    return Result(run.path, run.info)


def load_all(runs_dir: Path | str = "", everything: bool = False) -> list[Result]:
    """The complete runs below runs_dir that may stand in one average (Result.in_grid), sorted by name.

    runs_dir: "", the book's runs; a folder of run folders; "+FOLDER", a text: the book's runs and those in FOLDER, which
    take the place of the book's where both have one. everything: those of a second net, another length or another
    learning rate too, for the studies of these. Runs in progress are left out. Raises RunError for a damaged run, a
    folder that does not exist, or where FOLDER has none.
    """
    own = Path(str(runs_dir).removeprefix("+") or paths.RUNS)
    folders = {p.parent.name: p.parent for p in own.glob("*/run.json")}
    if str(runs_dir).startswith("+"):
        if not folders:
            raise RunError(f"{own.absolute()} holds no finished run; name the folder in which your run folder lies")
        folders = {p.parent.name: p.parent for p in paths.RUNS.glob("*/run.json")} | folders
    elif own != paths.RUNS and not own.is_dir():
        raise RunError(f"{own.absolute()} {'is a file' if own.exists() else 'does not exist'}; name a folder that holds run folders")
    found = [load(folder) for name, folder in sorted(folders.items()) if not name.endswith(".part")]
    return [run for run in found if everything or run.in_grid]


def by_size(runs_dir: Path | str, sizes: Sequence[str], everything: bool = False) -> dict[str, list[Result]]:
    """{size: its runs} of load_all, every folder read once. Raises ConfigError for an unknown size, or none."""
    if not sizes or any(size not in list(SIZES) for size in sizes):
        raise ConfigError(f"sizes should be a list of one or more of {', '.join(SIZES)}, got {sizes!r}", "sizes")
    found = load_all(runs_dir, everything)
    return {size: [run for run in found if run.config.size == size] for size in sizes}


# The net on which this book asks most of its questions, because a seed of it takes an hour on a CPU core.
SMALL_NET = {"size": "small", "architecture": "wrn10_2", "id_dataset": "cifar10"}


SECOND_NET = "wrn10_1"  # the net of the many seeds


def small_net(loaded: list[Result]) -> list[Result]:
    """Of some runs those of SMALL_NET that may stand in one average."""
    return [run for run in loaded if run.in_grid and all(getattr(run.config, k) == v for k, v in SMALL_NET.items())]


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
