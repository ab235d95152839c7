"""Files of runs that Colab's sparse clone left out, fetched when they are needed."""

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from logitnorm import paths
from logitnorm.runs import RunError

from .writing import write_atomically


@cache
def left_out(root: Path) -> frozenset[Path]:
    """The files of runs that a sparse clone (the setup cell of a notebook in Colab makes one) did not write."""
    if shutil.which("git") is None or not root.is_dir():
        return frozenset()
    listed = subprocess.run(["git", "ls-files", "-t", "--", "data/runs"], cwd=root, capture_output=True, text=True)
    return frozenset(root / line[2:] for line in listed.stdout.splitlines() if line.startswith("S "))


def bring(path: Path, sha256: str) -> Path:
    """The file of a run; where a sparse clone left it out, it is fetched from the clone's origin and checked first.

    Raises RunError where the origin does not answer or gives another file.
    """
    if not path.exists() and path in left_out(paths.ROOT):
        name = path.relative_to(paths.ROOT).as_posix()
        done = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=paths.ROOT, capture_output=True)
        if done.returncode or hashlib.sha256(done.stdout).hexdigest() != sha256:
            said = " ".join(done.stderr.decode(errors="replace").split())[:200] or "it has another checksum than run.json says"
            raise RunError(f"{name} could not be fetched from where the book was cloned ({said}); connect to the network and "
                           "run the cell again")
        write_atomically(path, lambda temporary: temporary.write_bytes(done.stdout))
    return path
