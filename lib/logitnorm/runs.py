"""The run folder: absent, in progress (`<run id>.part`), or complete with a checksum of every file.

    run.json             format, settings, provenance, and the sha256 of the other files
    history.csv          one row per epoch, row 0 before training
    metrics.csv          score, ood_dataset, metric, value (percent)
    scores.safetensors   the per-image scores of every image set, from which metrics.csv follows
    model.safetensors    weights, in a few runs (float16 in format 2)

Format 1 holds the logits of every image in float32, 3 MB and more a run. Format 2 holds of each score its rank among all
images of the run: what detection is about is their order, so FPR95, AUROC, AUPR and ties are exact at two bytes an image.
A table of the score at evenly spaced ranks gives the values back for a histogram.
"""

import contextlib
import csv
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from filelock import FileLock, Timeout

from . import data, metrics, paths, scores
from .config import TAU, Config
from .losses import geometry


class RunError(RuntimeError):
    """A run folder that cannot be used, with the file's name and what to do."""


# Writing ---------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def part(runs_dir: Path, run_id: str):
    """The folder of a run in progress, held by one process at a time (the lock ends with the process)."""
    folder = Path(runs_dir) / f"{run_id}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{runs_dir} cannot hold run folders ({error.strerror}); name a folder that can be written"
                       ) from error
    try:
        lock = FileLock(folder / "lock").acquire(blocking=False)
    except Timeout:
        raise RunError(f"{folder} is being trained by another process; wait for it or stop it") from None
    with lock:
        # The other process may have finished between the caller's look for a complete run and this lock.
        if (Path(runs_dir) / run_id).exists():
            shutil.rmtree(folder, ignore_errors=True)
            raise RunError(f"{Path(runs_dir) / run_id} was completed by another process just now; nothing to train")
        yield folder


def write_atomically(path: Path, write) -> None:
    """Call write(temporary path), then put the file under its name: readers see all of it or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"could not write {path}: {error.strerror or error}; free some space and start the same "
                       "command again, it continues from the last checkpoint") from error


def write_tensors(path: Path, tensors: dict, metadata: dict[str, str]) -> None:
    """A safetensors file of numpy arrays or torch tensors, written atomically."""
    arrays = {k: np.asarray(v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v, order="C")
              for k, v in tensors.items()}
    write_atomically(path, lambda p: p.write_bytes(safetensors.numpy.save(arrays, metadata)))


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], state: dict) -> None:
    """Weights and momentum with the plain state (epoch, history, settings) in the same file: one atomic write."""
    write_tensors(path, tensors, {"state": json.dumps(state)})


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors and the plain state that write_checkpoint wrote."""
    try:
        with safetensors.safe_open(path, "pt") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, json.loads(f.metadata()["state"])
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it to train this run from the start") from error


def write_csv(path: Path, rows: list[dict]) -> None:
    """Rows with the same keys as a CSV file with a header, written atomically."""
    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def write_history(path: Path, rows: list[dict]) -> None:
    columns = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
               "norm_train", "norm_test", "norm_ood", "grad_norm", "images_per_second"]
    optional = [f"{name}_{where}" for name in ("offset", "centred_norm", "inverse_temperature")
                for where in ("train", "test", "ood")]
    columns += [name for name in (*optional, "lambda", "confidence_loss") if any(name in row for row in rows)]
    write_csv(path, [{name: f"{row[name]:.8g}" if isinstance(row.get(name), float) else row.get(name, "")
                      for name in columns} for row in rows])


def write_run(folder: Path, config: Config, arrays: dict[str, np.ndarray], history: list[dict],
              weights: dict[str, torch.Tensor], info: dict) -> Path:
    """Write the files of a run whose outputs (score_sets) are known, and seal the folder; returns its final path."""
    packed = pack(config, arrays)
    measured = measure(config, packed)
    write_history(folder / "history.csv", history)
    write_tensors(folder / "scores.safetensors", packed, {"run_id": config.run_id})
    write_csv(folder / "metrics.csv", measured)
    if config.keep_model:
        write_tensors(folder / "model.safetensors", {
            name: value.half() if value.is_floating_point() else value for name, value in weights.items()},
            {"run_id": config.run_id})
    of_logits = {name: {key: value.item() for key, value in geometry(
        torch.from_numpy(arrays[f"{name}/logits"]).double(), config.normalised_at).items()} for name in set_names(config)}
    return finish(folder, {"run_id": config.run_id, "format": FORMAT, "config": config.model_dump(), **info,
                                "test_accuracy": measured[0]["value"], "logits": of_logits})


def finish(folder: Path, info: dict) -> Path:
    """Seal a `.part` folder: run.json with the sha256 of every file, then one rename to the final name.

    The checkpoint goes last: a process killed anywhere in between leaves a run that continues, or a complete one.
    """
    passing = ("checkpoint.safetensors", "lock")
    names = sorted(p.name for p in folder.iterdir() if p.name not in (*passing, "run.json") and p.suffix != ".tmp")
    info = {**info, "files": {name: file_sha256(folder / name) for name in names}}
    write_atomically(folder / "run.json", lambda p: p.write_text(json.dumps(info, indent=1) + "\n"))
    final = folder.with_name(folder.name.removesuffix(".part"))
    os.replace(folder, final)
    for name in passing:
        (final / name).unlink(missing_ok=True)
    return final


def set_names(config: Config) -> list[str]:
    """Names of the image sets that a run scores, ID first. config: Config."""
    return list(dict.fromkeys((config.id_dataset, *config.ood_sets, *config.extra_sets, config.history_ood)))


def input_steps(config: Config) -> dict[str, scores.InputStep]:
    """The scores of a run that take a step on the input, by name."""
    steps = {"odin": scores.odin_step(config.odin_temperature, config.odin_epsilon)}
    if config.method == "learned_confidence":
        steps["confidence_step"] = scores.confidence_step(config.confidence_epsilon)
    return steps


def score_sets(config: Config, net: torch.nn.Module, test_sets: dict[str, data.ImageSet],
               device: torch.device) -> dict[str, np.ndarray]:
    """What scores.safetensors holds: per image set one forward pass for all scores, one more per step on the input."""
    steps = input_steps(config)
    arrays = {f"{config.id_dataset}/labels": test_sets[config.id_dataset].labels.numpy()}
    for name, image_set in test_sets.items():
        found = scores.collect(net, image_set.images, device, steps=steps)
        for key in ("logits", "feature_l1", *steps):
            arrays[f"{name}/{key}"] = found[key]
        if config.method in scores.OWN_SCORES:
            arrays[f"{name}/{scores.OWN_SCORES[config.method][0]}"] = found["own"]
        if config.keep_features:
            arrays[f"{name}/features"] = found["features"].astype(np.float16)
    return arrays


FORMAT = 2
KEPT = 500  # so many evenly spaced images of a set leave their features
KNOTS = 1025  # values of a score that are kept beside the ranks


def evenly(count: int, kept: int) -> np.ndarray:
    """The places of `kept` evenly spaced ones of `count` images; all of them if there are no more."""
    return np.arange(count) if count <= kept else np.arange(kept) * count // kept


def _score(config: Config, arrays: Mapping[str, np.ndarray], name: str, image_set: str) -> np.ndarray:
    """A score of every image of a set from the arrays of a network's outputs (score_sets, or format 1)."""
    energy_T = scores.energy_temperature(config.method, data.SETS[config.id_dataset].num_classes)
    found = {key: arrays[f"{image_set}/{key}"] for key in scores.needed(name)}
    return scores.from_run_arrays(name, found, energy_T, config.tau if config.method in TAU else None)


def pack(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a run of format 2 keeps of a network's outputs (score_sets).

    NAME/ranks: of each score the dense rank of every image, set after set in the order of set_names, equal scores
    equal; NAME/knots: the score at evenly spaced ranks. Of the ID test set: labels, whether each prediction is right,
    and the largest probability before and after temperature scaling, of the raw softmax and, for LogitNorm, of the
    normalised one with its negative log-likelihood. With keep_features, of the ID set and the set of history_ood: the
    logits, and the features of 500 images, in float16.
    """
    ID, names = config.id_dataset, set_names(config)
    packed = {"sizes": np.array([len(arrays[f"{name}/logits"]) for name in names])}
    for score in scores.of_run(config.method, data.SETS[ID].num_classes):
        values, ranks = np.unique(np.concatenate([_score(config, arrays, score, name) for name in names]),
                                  return_inverse=True)
        packed[f"{score}/ranks"] = ranks.astype(np.uint16 if len(values) <= 1 << 16 else np.uint32)
        packed[f"{score}/knots"] = values[np.linspace(0, len(values) - 1, min(KNOTS, len(values))).round().astype(int)]
        packed[f"{score}/distinct"] = np.array(len(values))
    logits, labels = arrays[f"{ID}/logits"], arrays[f"{ID}/labels"]
    packed[f"{ID}/labels"] = labels.astype(np.uint8)
    packed[f"{ID}/correct"] = logits.argmax(axis=1) == labels
    softmaxes = {"": logits} | ({"_normalised": scores.normalised(logits, config.tau)} if config.method in TAU else {})
    for which, f in softmaxes.items():
        T = metrics.cross_fitted_temperature(f, labels)
        packed[f"{ID}/msp{which}"] = scores.msp(f).astype(np.float32)
        packed[f"{ID}/msp{which}_ts"] = scores.msp(f / T).astype(np.float32)
        packed[f"{ID}/temperature{which}"] = np.array(metrics.geometric_mean(T))
        packed[f"{ID}/nll{which}"] = np.array(metrics.nll(f, labels))
    if config.keep_features:
        for name in dict.fromkeys((ID, config.history_ood)):
            packed[f"{name}/logits"] = arrays[f"{name}/logits"].astype(np.float16)
            features = arrays[f"{name}/features"]
            packed[f"{name}/features"] = features[evenly(len(features), KEPT)].astype(np.float16)
    return packed


def _values(packed: Mapping[str, np.ndarray], score: str, names: list[str], image_set: str) -> np.ndarray:
    """A score of every image of a set of a packed run: in the true order, in value as near as the knots are."""
    knots, distinct = packed[f"{score}/knots"], int(packed[f"{score}/distinct"])
    places = np.linspace(0, distinct - 1, len(knots)).round()
    return np.interp(_ranks(packed, score, names, image_set), places, knots)


def _ranks(packed: Mapping[str, np.ndarray], score: str, names: list[str], image_set: str) -> np.ndarray:
    ends, at = np.cumsum(packed["sizes"]), names.index(image_set)
    return packed[f"{score}/ranks"][ends[at] - packed["sizes"][at]:ends[at]]


def measure(config: Config, arrays: dict[str, np.ndarray]) -> list[dict]:
    """metrics.csv: every score and metric of every image set against the ID test set, in percent.

    arrays: the content of scores.safetensors, or what score_sets gives.
    """
    ID, names = config.id_dataset, set_names(config)
    if is_packed := "sizes" in arrays:
        correct = arrays[f"{ID}/correct"]
        rows = [("", "", "accuracy", 100 * np.mean(correct))]
        for which in ("", "_normalised") if config.method in TAU else ("",):
            rows += [("", "", f"ece{which}", metrics.ece_of(arrays[f"{ID}/msp{which}"], correct)),
                     ("", "", f"ece{which}_ts", metrics.ece_of(arrays[f"{ID}/msp{which}_ts"], correct)),
                     ("", "", f"temperature{which}", arrays[f"{ID}/temperature{which}"]),
                     ("", "", f"nll{which}", arrays[f"{ID}/nll{which}"])]
    else:
        labels, logits = arrays[f"{ID}/labels"], arrays[f"{ID}/logits"]
        rows = [("", "", "accuracy", 100 * np.mean(logits.argmax(1) == labels))]
        rows += [("", "", name, value) for name, value in metrics.calibration(logits, labels).items()]

    def score(name: str, image_set: str) -> np.ndarray:
        return _ranks(arrays, name, names, image_set) if is_packed else _score(config, arrays, name, image_set)

    of_run = scores.of_run(config.method, data.SETS[ID].num_classes) if is_packed else scores.of_method(config.method)
    for name in of_run:
        id_scores = score(name, config.id_dataset)
        for image_set in set_names(config)[1:]:
            found = metrics.ood_metrics(id_scores, score(name, image_set))
            rows += [(name, image_set, metric, value) for metric, value in found.items()]
    return [dict(zip(("score", "ood_dataset", "metric", "value"), (*names, float(value)))) for *names, value in rows]


def require_metrics(run: "Run") -> None:
    """Raise RunError, naming the cell, where metrics.csv is not what the run's own scores give: a checksum cannot tell."""
    path = run.path / "metrics.csv"
    with open(path, newline="", encoding="utf-8") as file:
        stated = {(row["score"], row["ood_dataset"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    measured = {(row["score"], row["ood_dataset"], row["metric"]): row["value"] for row in measure(run.config, run.arrays())}
    for cell in measured | stated:
        if cell not in stated or cell not in measured or not math.isclose(stated[cell], measured[cell], rel_tol=1e-6):
            name = " ".join(filter(None, cell))
            raise RunError(f"{path} says {stated.get(cell, 'nothing')} for {name}, but the run's scores give "
                           f"{measured.get(cell, 'nothing')}; restore the file or train the run again")


def file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def code_version() -> str:
    """The library's version: from the project file of a checkout (in Colab nothing is installed), else from pip."""
    project = paths.ROOT / "pyproject.toml"
    return tomllib.loads(project.read_text())["project"]["version"] if project.exists() else version("logitnorm")


def provenance() -> dict:
    """The code and the libraries of a run: commit, uncommitted changes, a checksum of the library, versions.

    Where the code travels without its history, LOGITNORM_COMMIT says which commit it is; whether it was changed since
    is then unknown (None), and the checksum of the library tells.
    """
    def git(*command: str) -> str | None:
        done = subprocess.run(["git", *command], cwd=paths.ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    library = sorted(Path(__file__).parent.glob("*.py")) + sorted(Path(__file__).parent.glob("data/*.py"))
    source = hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in library)).hexdigest()
    has_git = shutil.which("git") is not None
    changes = git("status", "--porcelain", "--", "lib") if has_git else None
    packages = ("torch", "torchvision", "numpy", "scikit-learn")
    commit = git("rev-parse", "HEAD") if has_git else None
    return {"code": {"version": code_version(), "commit": commit or os.environ.get("LOGITNORM_COMMIT"),
                     "dirty": None if changes is None else bool(changes), "library_sha256": source},
            "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}}}


# Reading ---------------------------------------------------------------------------------------------------

class _Tensors:
    """An open safetensors file as a mapping that reads an array when it is asked for."""

    def __init__(self, file):
        self.file, self.names = file, list(file.keys())

    def __getitem__(self, name: str) -> np.ndarray:
        return self.file.get_tensor(name)


@dataclass(frozen=True)
class Run:
    """A complete run folder; tensor(name) reads one array of its scores.safetensors."""

    path: Path
    info: dict

    @property
    def id(self) -> str:
        return self.info["run_id"]

    @cached_property
    def config(self) -> Config:
        return Config(**self.info["config"])

    @cached_property
    def sets(self) -> list[str]:
        """Names of the image sets that were scored, ID first."""
        return set_names(self.config)

    @property
    def format(self) -> int:
        return self.info.get("format", 1)

    def has(self, name: str) -> bool:
        """Whether scores.safetensors holds the array: not every run kept its logits and features."""
        with self._open() as arrays:
            return name in arrays.names

    def tensor(self, name: str) -> np.ndarray:
        """One array of scores.safetensors, e.g. tensor("cifar10/logits")."""
        with self._open() as arrays:
            if name not in arrays.names:
                raise KeyError(f"{self.path / 'scores.safetensors'} holds no {name!r}; it holds {', '.join(arrays.names)}")
            return arrays[name]

    @contextlib.contextmanager
    def _open(self):
        with safetensors.safe_open(self.path / "scores.safetensors", "np") as file:
            yield _Tensors(file)

    def score(self, name: str, *image_sets: str) -> np.ndarray:
        """The named score of every image of the sets, one set after the other, in float64.

        In format 2 their order, and so every metric, is exact; between the values that the run kept they are interpolated.
        """
        with self._open() as arrays:
            if self.format == 1:
                parts = [_score(self.config, arrays, name, image_set) for image_set in image_sets]
            else:
                self.tensor(f"{name}/ranks")  # a score that the run does not have is named
                parts = [_values(arrays, name, self.sets, image_set) for image_set in image_sets]
        return np.concatenate(parts)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the prediction for each ID test image is right: N bool."""
        name = self.config.id_dataset
        if self.format > 1:
            return self.tensor(f"{name}/correct")
        return self.tensor(f"{name}/logits").argmax(axis=1) == self.tensor(f"{name}/labels")

    def arrays(self) -> dict[str, np.ndarray]:
        """All of scores.safetensors."""
        return safetensors.numpy.load_file(self.path / "scores.safetensors")


def load(path: Path, verify: bool = True) -> Run:
    """Read a run folder; verify compares every file with its sha256 and refuses a damaged run."""
    path = Path(path)
    try:
        info = json.loads((path / "run.json").read_text())
        files = info["files"]
    except FileNotFoundError:
        raise RunError(f"{path} is not a complete run: it has no run.json; start its training again") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path / 'run.json'} is damaged ({error}); restore it or train the run again") from error
    for name, expected in files.items() if verify else ():
        if not (path / name).exists():
            raise RunError(f"{path / name} is missing; restore it or delete the folder and train the run again")
        if file_sha256(path / name) != expected:
            raise RunError(f"{path / name} is damaged or was changed (sha256 differs from run.json); "
                           "restore it or delete the folder and train the run again")
    return Run(path, info)
