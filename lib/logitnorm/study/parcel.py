"""A run folder as one file, RUN.zip, and back: what a reader hands in. Nothing in an archive is trusted.

    python -m logitnorm pack data/runs/RUN      # writes RUN.zip beside it
"""

import argparse
import contextlib
import os
import re
import stat
import tempfile
import zipfile
from pathlib import Path

from logitnorm import runs
from logitnorm.runs import RunError

from . import report
from .writing import write_atomically

# The files of a complete run folder; format 1 and 2 have the same names.
FILES = ("run.json", "history.csv", "metrics.csv", "scores.safetensors", "model.safetensors")
MOST_BYTES = 200_000_000  # of a folder: the largest run here has 43 MB of weights (ResNet-34)
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def pack(folder: Path) -> Path:
    """Write the run folder as one archive, RUN.zip beside it; returns its path.

    Raises RunError for a folder that is not a complete, undamaged run.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name; a link stays a link
    run = runs.load(folder)
    archive = folder.with_name(f"{folder.name}.zip")

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in ("run.json", *sorted(run.info["files"])):
                file.write(folder / name, f"{folder.name}/{name}")

    write_atomically(archive, write)
    return archive


@contextlib.contextmanager
def opened(path: Path):
    """The run folder at `path`: itself, or a temporary one with the content of the archive that lies there.

    Raises RunError, before anything is written, for an archive that holds a link, a path that leads out of its folder,
    a file that no run has, or more bytes than a run can have.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        yield path
        return
    content = _content(path)
    with tempfile.TemporaryDirectory(prefix="run-") as temporary:
        folder = Path(temporary, next(iter(content))).parent
        folder.mkdir()
        for name, written in content.items():
            Path(temporary, name).write_bytes(written)
        yield folder


def _content(path: Path) -> dict[str, bytes]:
    """{"RUN/file": what is in it} of an archive that may be unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:  # it gives no byte more of a file than the size that is checked
            return {name: archive.read(member) for name, member in _checked(path, archive).items()}
    except RunError:
        raise
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; name a run folder, or an archive that `logitnorm pack` wrote") from None
    except Exception as error:  # one changed byte makes zipfile and its decompressors raise many kinds, and so does a password
        raise RunError(f"{path} is no readable archive ({error}); write it again with `logitnorm pack RUN`") from None


def _checked(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """{"RUN/file": member} of an archive that may be unpacked."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        folder, _, name = member.filename.partition("/")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise RunError(f"{path} holds {member.filename!r}, a link or a device; a run is plain files only")
        if member.is_dir() and not name and PLAIN.fullmatch(folder):
            continue
        if not PLAIN.fullmatch(folder) or name not in FILES or member.filename in found:
            raise RunError(f"{path} holds {member.filename!r}; an archive holds one folder with {', '.join(FILES)}, once "
                           "each, and nothing else: write it with `logitnorm pack RUN`")
        found[member.filename] = member
    if len({name.partition("/")[0] for name in found}) != 1:
        raise RunError(f"{path} holds {'no run' if not found else 'more than one run'}; pack one run in one archive")
    if (total := sum(member.file_size for member in found.values())) > MOST_BYTES:
        raise RunError(f"{path} would unpack to {total / 1e6:.0f} MB, more than any run has ({MOST_BYTES / 1e6:.0f} MB); "
                       "nothing was unpacked")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm pack", description="Write a run folder as one archive.")
    parser.add_argument("run", type=Path, help="the run folder")
    args = parser.parse_args(arguments)
    try:
        print(pack(args.run))
    except (RunError, OSError) as error:
        return report(error)
    return 0
