"""What a release is made of: python tools/release.py TAG FOLDER, with `make pdf` run before.

Refuses a tag that is not the version of pyproject.toml and CITATION.cff, a branch in _config.yml that is not the tag, and
a CHANGELOG.md without a section of it. Writes into FOLDER the notes (that section), the wheel, the PDF, and the archive of
the commit, whose .zenodo.json describes it to Zenodo.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def notes(changelog: str, version: str) -> str:
    """The section `## VERSION` of the change log, without its heading; ValueError where there is none or it is empty."""
    found = re.search(rf"^## \[?{re.escape(version)}(?![\d.])\]?[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if not found or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section '## {version}'; rename 'Unreleased' to it")
    return found[1].strip() + "\n"


def require_one_version(root: Path, tag: str) -> str:
    """The version of the tag; ValueError where a file says another."""
    version = tag.removeprefix("v")
    said = {"pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"],
            "CITATION.cff": str(yaml.safe_load((root / "CITATION.cff").read_text())["version"]),
            "_config.yml (branch)": yaml.safe_load((root / "_config.yml").read_text())["repository"]["branch"].removeprefix("v")}
    for name, other in said.items():
        if other != version:
            raise ValueError(f"the tag is {tag}, but {name} says {other}; set it, and tag again")
    return version


def main(tag: str, folder: str) -> int:
    out = Path(folder)
    try:
        text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), require_one_version(ROOT, tag))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    (out / "notes.md").write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "build" / "book.pdf", out / f"logitnorm-book-{tag}.pdf")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, ROOT], check=True)
    subprocess.run(["git", "archive", f"--prefix=logitnorm-book-{tag}/", "-o", (out / f"logitnorm-book-{tag}.zip").absolute(),
                    "HEAD"], check=True, cwd=ROOT)
    print(*sorted(path.name for path in out.iterdir()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
