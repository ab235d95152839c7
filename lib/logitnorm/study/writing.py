"""The run folder in the making: held by one process, written so that a kill loses nothing, sealed with checksums.

Absent, in progress (`<run id>.part`), or complete: logitnorm.runs says what a complete one holds, and reads it.
"""

import contextlib
import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from filelock import FileLock, Timeout

from logitnorm.runs import RunError, file_sha256

PASSING = ("checkpoint.safetensors", "lock")  # of a run in progress


@contextlib.contextmanager
def part(runs_dir: Path, run_id: str) -> Iterator[Path]:
    """The folder of a run in progress, held by one process at a time (the lock ends with the process)."""
    folder = Path(runs_dir) / f"{run_id}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock").acquire(blocking=False)
    except Timeout:
        raise RunError(f"{folder} is being trained by another process; wait for it or stop it") from None
    except OSError as error:
        raise RunError(f"{folder} cannot hold a run ({error.strerror}); move what lies in its place, or name a folder that can be written"
                       ) from error
    with lock:
        # The other process may have finished between the caller's look for a complete run and this lock.
        if (Path(runs_dir) / run_id).exists():
            shutil.rmtree(folder, ignore_errors=True)
            raise RunError(f"{Path(runs_dir) / run_id} was completed by another process just now; nothing to train")
        yield folder


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call write(temporary path), then put the file under its name: readers see all of it or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        with open(temporary, "r+b") as f:  # Windows syncs only what is open for writing
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"see that {path.parent} can be written"
        raise RunError(f"could not write {path}: {error.strerror or error}; {remedy} and start the same command again; a training "
                       "continues from its last checkpoint") from error


def write_tensors(path: Path, tensors: dict, metadata: dict[str, str]) -> None:
    """A safetensors file of numpy arrays or torch tensors, written atomically."""
    arrays = {k: np.asarray(v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v, order="C")
              for k, v in tensors.items()}
    write_atomically(path, lambda p: p.write_bytes(safetensors.numpy.save(arrays, metadata)))


def write_csv(path: Path, rows: list[dict]) -> None:
    """Rows with the same keys as a CSV file with a header, written atomically."""
    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def finish(folder: Path, info: dict) -> Path:
    """Seal a `.part` folder: run.json with the sha256 of every file, then one rename to the final name.

    The checkpoint goes last: a process killed anywhere in between leaves a run that continues, or a complete one.
    """
    names = sorted(p.name for p in folder.iterdir() if p.name not in (*PASSING, "run.json") and p.suffix != ".tmp")
    info = {**info, "files": {name: file_sha256(folder / name) for name in names}}
    write_atomically(folder / "run.json", lambda p: p.write_text(json.dumps(info, indent=1) + "\n"))
    final = folder.with_name(folder.name.removesuffix(".part"))
    os.replace(folder, final)
    for name in PASSING:
        (final / name).unlink(missing_ok=True)
    return final
