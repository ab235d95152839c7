"""Break one line at a time in a copy of the repository: do the tests of `make test` notice?

    python tools/mutations.py [NUMBER ...]

Prints, for each of the lines below, what caught it; exits with 1 if one survives or is no longer there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIB = "lib/logitnorm/"
# (file, what stands there, what is put in its place, the test files that should notice)
MUTATIONS = [
    ("losses.py", "return f / (tau * (f.norm(dim=-1, keepdim=True) + eps))",
     "return f / (tau * (f.abs().sum(dim=-1, keepdim=True) + eps))", "test_losses.py"),
    ("scores.py", "    return np.abs(K * p - 1).sum(axis=1) * feature_l1 / T",
     "    return np.abs(p - 1).sum(axis=1) * feature_l1 / T", "test_scores.py"),
    ("metrics.py", "rejected = len(id_scores) // 20 ", "rejected = len(id_scores) // 19 ", "test_metrics.py"),
    ("data/augment.py", "torch.where(flip[:, None], size - 1 - steps, steps)",
     "torch.where(flip[:, None], size - steps, steps).clamp(max=size - 1)", "test_data.py"),
    ("train.py", "(done - config.warmup) / (1 - config.warmup)", "(done - config.warmup)", "test_train.py"),
    ("study/training.py", "trainer.load_state(tensors)", "trainer.state()", "test_train.py"),
    ("study/writing.py", 'and p.suffix != ".tmp")', ")", "test_faults.py"),
    ("study/images.py", ".astype(np.int64) % 10", ".astype(np.int64) % 11", "test_data.py"),
    ("study/ledger.py", "    if all(agree):", "    if any(agree):", "test_ledger.py"),
    ("study/paper.py", 'return data.official(name)', 'return name', "test_paper.py"),
    ("runs.py", "        if file_sha256(path / name) != files[name]:", "        if False:", "test_runs.py test_batch.py"),
    ("study/verify.py", "    if moves.mean() > MEAN_MOVE or", "    if", "test_verify.py"),
    ("study/parcel.py", "not PLAIN.fullmatch(folder) or name", "name", "test_verify.py"),
    ("study/weights.py", "(here[0] - there[0]) / there[1]", "(here[0] - there[0]) / here[1]", "test_weights.py"),
    ("study/official.py", "stand_ins = {data.official(name): name", "stand_ins = {name: name", "test_official.py"),
    ("book/build.py", 'if "papermill-error" in text:', 'if "no-such-text" in text:', "test_build.py"),
    ("book/weight.py", "while (shorter := re.sub", "if (shorter := re.sub", "test_weight.py"),
]


def survives(number: int) -> str:
    """"" if the tests notice mutation `number`, else why it counts as unnoticed."""
    name, old, new, tests = MUTATIONS[number]
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "build", ".snakemake", "__pycache__"))
        file = copy / LIB / name
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            return f"{LIB}{name} holds {text.count(old)} times {old!r}; write the mutation anew"
        file.write_text(text.replace(old, new), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider",
                               *(f"tests/{test}" for test in tests.split())], cwd=copy, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(copy / "lib"), "LOGITNORM_ROOT": str(copy)})
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        if done.returncode == 1 and failed:
            print(f"{number}: {name}: caught by {failed[0].split(' ')[1]}", flush=True)
            return ""
    return f"{name}: {new!r} in place of {old!r} SURVIVED {tests}"


if __name__ == "__main__":
    chosen = [int(number) for number in sys.argv[1:]] or range(len(MUTATIONS))
    reasons = [reason for number in chosen if (reason := survives(number))]
    sys.exit("\n".join(reasons) or None)
