"""What made a run: the commit, the library's checksum, the versions, the device."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import torch

from logitnorm import paths

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")


def git(*command: str) -> str | None:
    """What git says of this checkout, without white space at its ends; None without git or where it fails."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", "-C", str(paths.ROOT), *command], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def provenance() -> dict:
    """The code and the libraries of a run: commit, uncommitted changes, a checksum of the library, versions.

    The checksum is of the science floor and of study: their code, and the table of image sets, which says what a training
    mirrors and scales.
    Where the code travels without its history, LOGITNORM_COMMIT says which commit it is; whether it was changed since
    is then unknown (None), and the checksum of the library tells.
    """
    floors = Path(__file__).parents[1]
    library = [path for folder in (floors, floors / "data", floors / "study") for path in sorted(folder.iterdir())
               if path.suffix in (".py", ".yaml")]
    source = hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in library)).hexdigest()
    changes = git("status", "--porcelain", "--", "lib")
    return {"code": {"version": code_version(), "commit": git("rev-parse", "HEAD") or os.environ.get("LOGITNORM_COMMIT"),
                     "dirty": None if changes is None else bool(changes), "library_sha256": source},
            "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}}


def unfit(code: dict) -> str:
    """Why `verify` refuses a run of this code, and what to do; "" for code that can be looked up."""
    commit = str(code["commit"] or "none")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        return f"no commit is known ({commit}); train in a clone of the book that git reads, or set LOGITNORM_COMMIT=<40 hex digits>"
    return f"the library differs from its commit {commit[:10]}; commit the change, and train with that commit" if code["dirty"] else ""


def code_version() -> str:
    """The library's version: from the project file of a checkout (in Colab nothing is installed), else from pip."""
    project = paths.ROOT / "pyproject.toml"
    return tomllib.loads(project.read_text())["project"]["version"] if project.exists() else version("logitnorm")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return f"CPU {model[0] if model else platform.processor() or platform.machine()}"
