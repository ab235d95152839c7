"""Where things are: everything is found from the repository, never from the current directory."""

import os
from pathlib import Path

# The package is installed in place (pip install -e .), so the repository is two folders up;
# LOGITNORM_ROOT points at a checkout when the package was installed elsewhere.
ROOT = Path(os.environ.get("LOGITNORM_ROOT", Path(__file__).resolve().parents[2]))
RUNS = ROOT / "data" / "runs"
PAPER_DATA = ROOT / "data" / "paper"
