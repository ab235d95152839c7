"""How long 500 run folders take to load, check and tabulate, and how much memory: python benchmarks/load.py [FOLDERS]

The folders are synthetic (tests/fake_runs.py) and are written to a temporary directory first, which is not timed.
The goal for 500 is under 10 s and under 1 GB.
"""

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fake_runs import write_run  # noqa: E402
from logitnorm.study import results


def write(folder: Path, count: int) -> None:
    """One real fake run for each method, then copies under other seeds: what is read is the same, written faster."""
    for method in ("cross_entropy", "logitnorm"):
        first = write_run(folder, method=method, seed=1)
        text = (first / "run.json").read_text()
        for seed in range(2, count // 2 + 1):
            copy = folder / first.name.replace("seed1", f"seed{seed}")
            shutil.copytree(first, copy)
            other = text.replace("seed1", f"seed{seed}").replace('"seed": 1,', f'"seed": {seed},')
            (copy / "run.json").write_text(other)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder, count)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        start = time.perf_counter()
        found = results.load_all(folder, verify=True)
        loaded = time.perf_counter()
        frame = results.tidy(found)
        end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    assert len(found) == frame.run.nunique() == count // 2 * 2
    print(f"{len(found)} run folders of {size / len(found) / 1024:.0f} KiB: loaded and checked in "
          f"{loaded - start:.2f} s, {len(frame):,} rows tabulated in {end - loaded:.2f} s, {end - start:.2f} s in all, peak {peak:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
