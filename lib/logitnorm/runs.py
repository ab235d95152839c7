"""The run folder: absent, in progress (`<run id>.part`), or complete with a checksum of every file.

    run.json             format, settings, provenance, and the sha256 of the other files
    history.csv          one row per epoch, row 0 before training
    metrics.csv          score, ood_dataset, metric, value (percent)
    scores.safetensors   the per-image scores of every image set, from which metrics.csv follows (study/scoring.py)
    model.safetensors    weights, in a few runs (float16 in format 2)
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from .config import Config

RESTORE = "restore it, or delete the folder and train the run again"


class RunError(RuntimeError):
    """A run folder that cannot be used, with the file's name and what to do."""


def file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


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

    def tensor(self, name: str) -> np.ndarray:
        """One array of scores.safetensors, e.g. tensor("cifar10/logits")."""
        with safetensors.safe_open(self.path / "scores.safetensors", "np") as file:
            if name not in file.keys():
                raise KeyError(f"{self.path / 'scores.safetensors'} holds no {name!r}; it holds {', '.join(file.keys())}")
            return file.get_tensor(name)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of scores.safetensors."""
        return safetensors.numpy.load_file(self.path / "scores.safetensors")


def load(path: Path, verify: bool = True, but: Collection[str] = ()) -> Run:
    """Read a run folder; verify compares every file, `but` for these, with its sha256 and refuses a damaged run."""
    path = Path(path)
    try:
        if not path.is_dir():
            raise RunError(f"{path} is no folder; name a run folder, unpack an archive of one, or move away what lies in its place")
        info = json.loads((path / "run.json").read_text())
        files, _ = {**info["files"]}, {**info["config"], "name": info["run_id"] + ""}  # a TypeError for another kind of value
        for name in sorted(files.keys() - but) if verify else ():
            if Path(name).name != name:
                raise RunError(f"{path / 'run.json'} lists {name!r}, which is no file of its folder; {RESTORE}")
            if file_sha256(path / name) != files[name]:
                raise RunError(f"{path / name} is damaged or was changed (sha256 differs from run.json); {RESTORE}")
    except FileNotFoundError as error:
        raise RunError(f"{path} is not a complete run: {Path(error.filename).name} is missing; {RESTORE}") from None
    except OSError as error:
        raise RunError(f"{error.filename or path} cannot be read ({error.strerror}); make it a file that you may read, or {RESTORE}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # no JSON or no text, no files, another kind of value
        raise RunError(f"{path / 'run.json'} is damaged ({error}); {RESTORE}") from error
    return Run(path, info)
