"""What goes wrong in a night of training: kills, two at once, a full disk, half a download. Nothing may be lost.

SIGKILL of the training itself is in test_train.py, runs that changed since are in test_batch.py.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import nbformat
import pytest
import torch
from fake_runs import write_run
from logitnorm import data, runs, train
from logitnorm.config import Config
from logitnorm.study import provenance, results, training, writing
from small_book import snakemake
from test_batch import RUN, tiny_root

TINY = dict(size="smoke", id_dataset="digits", architecture="wrn10_1", method="cross_entropy", batch_size=256, lr=0.05,
            dropout=0.0, ood_sets=("brick",), extra_sets=(), history_ood="brick")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def wait_for(condition, what, seconds=90):
    """Until the condition holds; a hanging process fails the test instead of the whole suite."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)


def is_free(lock):
    """Whether no process trains in the folder of this lock file."""
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


# ---------------------------------------------------------------- a kill while the run folder is sealed

def child(action) -> int:
    """Run action in a forked process; returns its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def sealed_until(folder, steps):
    """writing.finish in a process that is killed just before its file operation number `steps` (0 is the first)."""
    left = [steps]

    def counted(call):
        def wrapper(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)
        return wrapper

    def seal():
        os.replace, os.fsync, os.unlink = map(counted, (os.replace, os.fsync, os.unlink))
        type(folder).unlink = counted(type(folder).unlink)
        type(folder).write_text = counted(type(folder).write_text)
        writing.file_sha256 = counted(writing.file_sha256)
        writing.finish(folder, {"run_id": "r", "config": {}})
    return child(seal)


def test_a_kill_while_a_run_is_sealed_loses_nothing(tmp_path):
    killed, states = 0, set()
    for steps in range(40):
        folder = tmp_path / str(steps) / "r.part"
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "history.csv").write_text("epoch\n0\n")
        (folder / "scores.safetensors").write_bytes(b"scores")
        training.write_checkpoint(folder / "checkpoint.safetensors", {"w": torch.ones(3)}, {"epoch": 7})
        status = sealed_until(folder, steps)
        complete = folder.with_name("r")
        if complete.exists():
            assert not folder.exists()
            assert set(results.load(complete).info["files"]) == {"history.csv", "scores.safetensors"}
            states.add("complete")
        else:  # goes on from its last checkpoint
            assert training.read_checkpoint(folder / "checkpoint.safetensors")[1] == {"epoch": 7}
            states.add("continues")
        if not os.WIFSIGNALED(status):
            assert status == 0 and sorted(os.listdir(complete)) == ["history.csv", "run.json", "scores.safetensors"]
            break
        killed += 1
    assert killed >= 6 and states == {"complete", "continues"}


def test_half_a_file_of_a_killed_write_is_not_sealed_with_the_run(tmp_path):
    with writing.part(tmp_path, "r") as folder:
        (folder / "history.csv").write_text("epoch\n0\n")
        (folder / "scores.safetensors.tmp").write_bytes(b"half")
        final = writing.finish(folder, {"run_id": "r", "config": {}})
    assert list(results.load(final).info["files"]) == ["history.csv"]


# ---------------------------------------------------------------- two at once

@pytest.mark.slow
def test_two_processes_that_start_the_same_run_train_it_once(tmp_path):
    program = textwrap.dedent(f"""
        import sys
        from logitnorm import runs
        from logitnorm.config import Config
        from logitnorm.study import training
        config = Config(**{TINY!r}, epochs=2)
        print("ready", flush=True); sys.stdin.readline()
        try:
            training.train(config, {str(tmp_path)!r}, "cpu")
        except runs.RunError as error:
            print("refused:", error)
    """)
    two = [subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=ENVIRONMENT) for _ in range(2)]
    for process in two:
        assert process.stdout.readline() == "ready\n"
    for process in two:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    assert sum("epochs of" in text for text in said) == 1, "exactly one of them trains"
    [other] = [text for text in said if "epochs of" not in text]
    assert "by another process" in other or "nothing to train" in other
    [folder] = tmp_path.iterdir()
    assert results.load(folder).history.epoch.tolist() == [0, 1, 2]


def test_a_run_completed_between_the_look_and_the_lock_is_not_trained_again(tmp_path):
    done = write_run(tmp_path, n_id=20, n_ood=10)
    before = (done / "run.json").read_bytes()
    with pytest.raises(runs.RunError, match="was completed by another process just now"):
        with writing.part(tmp_path, done.name):
            pytest.fail("the folder of a complete run must not be opened again")
    assert [path.name for path in tmp_path.iterdir()] == [done.name] and (done / "run.json").read_bytes() == before


# ---------------------------------------------------------------- a full disk

FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from logitnorm import runs
from logitnorm.config import Config
from logitnorm.study import results, training
training.CHECKPOINT_SECONDS = 0
disk = Path(sys.argv[1])
config = Config(**%r, epochs=3)
for size in ("1m", "40m"):  # room for one checkpoint, not for the next beside it; then for everything
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]) if size == "1m" else \\
        subprocess.run(["mount", "-o", f"remount,size={size}", disk])
    assert done.returncode == 0
    try:
        found = results.load(training.train(config, disk, "cpu"))
        print("complete", sorted(os.listdir(disk)), len(found.history))
    except runs.RunError as error:
        print("RunError", error)
        [folder] = disk.iterdir()
        print("epoch", training.read_checkpoint(folder / "checkpoint.safetensors")[1]["epoch"], sorted(os.listdir(folder)))
"""


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_from_it(tmp_path):
    inside = ["unshare", "--mount"]  # a mount that only this child sees, and that ends with it
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs (root, and unshare)")
    done = subprocess.run([*inside, sys.executable, "-c", FULL_DISK % TINY, str(tmp_path)], capture_output=True,
                          text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("RunError could not write") and "No space left on device; free some space and start "
               "the same command again" in line for line in lines), done.stdout
    assert "epoch 1 ['checkpoint.safetensors', 'lock']" in lines
    assert any("continuing after epoch 1" in line for line in lines)
    assert lines[-1] == f"complete ['{Config(**TINY, epochs=3).run_id}'] 4"


# ---------------------------------------------------------------- nobody reads, or the terminal has few letters

@pytest.mark.parametrize("program, said", [("study.say('a'); study.say('b')", None), ("main(['--help']); study.say('█')", "?")])
def test_a_reader_that_goes_away_and_a_terminal_with_few_letters_end_nothing(program, said):
    reading, writing = os.pipe()
    if said is None:
        os.close(reading)
    done = subprocess.run([sys.executable, "-c", f"from logitnorm import study; from logitnorm.__main__ import main; {program}"],
                          stdout=writing, stderr=subprocess.PIPE, env={**ENVIRONMENT, "PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)
    if said:
        with open(reading) as file:
            assert file.read().splitlines()[-1] == said


# ---------------------------------------------------------------- damaged scores, other settings

@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_damaged_scores_are_refused_and_nothing_is_overwritten(tmp_path, damage):
    folder = write_run(tmp_path, n_id=20, n_ood=10)
    file = folder / "scores.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    left = file.read_bytes()
    config = Config(**json.loads((folder / "run.json").read_text())["config"])
    for attempt in (lambda: results.load_all(tmp_path), lambda: training.train(config, tmp_path, "cpu")):
        with pytest.raises(runs.RunError, match="scores.safetensors is damaged or was changed .* restore it, or delete"):
            attempt()
    assert file.read_bytes() == left and [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_checkpoint_of_other_settings_is_refused_and_kept(tmp_path):
    config = Config(**TINY, epochs=3)
    with writing.part(tmp_path, config.run_id) as folder:
        training.write_checkpoint(folder / "checkpoint.safetensors", {"w": torch.zeros(2)},
                              {"config": {**TINY, "epochs": 3, "odin_epsilon": 0.5}, "epoch": 1, "history": [], "seconds": {}})
    before = (folder / "checkpoint.safetensors").read_bytes()
    with pytest.raises(runs.RunError, match="was trained with odin_epsilon = 0.5, not 0.0014; delete the folder"):
        training.train(config, tmp_path, "cpu")
    assert (folder / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("state", [{"seconds": None}, {"seconds": {"train": None, "total": 0}}, {"epoch": "x"}, {"epoch": 99}, {"epoch": -1},
                                   {"history": None}])
def test_a_checkpoint_whose_state_is_damaged_is_refused_and_kept(tmp_path, state):
    config = Config(**TINY, epochs=3)
    images = train.resident(data.load("digits", "train"), 10, torch.device("cpu"))
    trainer, kept = training.start(config, tmp_path, images, torch.device("cpu"))
    training.save(trainer, kept, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    tensors, saved = training.read_checkpoint(path)
    training.write_checkpoint(path, tensors, saved | state)
    before = path.read_bytes()
    with pytest.raises(runs.RunError, match="checkpoint.safetensors is damaged: its state is none of a training of 3 epochs; delete it"):
        training.start(config, tmp_path, images, torch.device("cpu"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("name, sentence", [("", "is no folder; .* or move away what lies in its place"), (".part", "cannot hold a run")])
def test_what_lies_in_the_place_of_a_run_is_refused_before_the_training(tmp_path, monkeypatch, name, sentence):
    config = Config(**TINY, epochs=3)
    monkeypatch.setattr(training, "_train", lambda *given: pytest.fail("it trained"))
    (tmp_path / f"{config.run_id}{name}").symlink_to(tmp_path / "nothing")
    with pytest.raises(runs.RunError, match=sentence):
        training.train(config, tmp_path, "cpu")


def test_a_training_whose_commit_nobody_knows_says_so_at_its_start(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "git", lambda *command: None)
    images = train.resident(data.load("digits", "train"), 10, torch.device("cpu"))
    for size, commit, said in (("small", "main", 1), ("small", "ab" * 20, 0), ("smoke", "main", 0)):
        monkeypatch.setenv("LOGITNORM_COMMIT", commit)
        training.start(Config(**{**TINY, "size": size}, epochs=3), tmp_path, images, torch.device("cpu"))
        assert capsys.readouterr().err.count("`verify` will refuse this run: no commit is known (main); train in a clone") == said


# ---------------------------------------------------------------- papermill and Snakemake, killed

SLOW_TRAINING = f"""
import time
from logitnorm import train
from logitnorm.config import Config
from logitnorm.study import training
training.CHECKPOINT_SECONDS = 0
train_epoch = train.Trainer.train_epoch
def slowly(trainer):
    time.sleep(0.4)  # so that there is time to kill something between two checkpoints
    return train_epoch(trainer)
train.Trainer.train_epoch = slowly
training.train(Config(**{TINY!r}, epochs=5, seed=seed), runs_dir, "cpu")
"""


@pytest.fixture
def root(tmp_path):
    return tiny_root(tmp_path, SLOW_TRAINING)


def run_folder(root, seed):
    return root / "data/runs" / Config(**TINY, epochs=5, seed=seed).run_id


def start(root, *arguments):
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=root, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL,
                            env={**ENVIRONMENT, "PYTHONPATH": str(root / "lib"), "LOGITNORM_ROOT": str(root)})


def printed(notebook):
    return "".join(output.get("text", "") for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"
                   for output in cell.outputs)


@pytest.mark.slow
def test_a_killed_papermill_ends_its_training_which_then_goes_on(root, capsys):
    out = root / "data/runs/out.ipynb"
    process = start(root, "logitnorm", "runner", "notebooks/train.ipynb", str(out), "-p", "seed", "1",
                    "-p", "runs_dir", "data/runs")
    part = run_folder(root, 1).with_name(run_folder(root, 1).name + ".part")
    wait_for((part / "checkpoint.safetensors").exists, "the first checkpoint")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: is_free(part / "lock"), "the end of the orphaned kernel")
    assert not out.exists() and not run_folder(root, 1).exists()
    reached = training.read_checkpoint(part / "checkpoint.safetensors")[1]["epoch"]
    assert 1 <= reached < 5
    training.train(Config(**TINY, epochs=5, seed=1), root / "data/runs", "cpu")
    assert f"continuing after epoch {reached}" in capsys.readouterr().out
    assert results.load(run_folder(root, 1)).history.epoch.tolist() == list(range(6))


@pytest.mark.slow
def test_a_killed_snakemake_loses_no_training(root):
    process = start(root, "snakemake", *RUN, "only=seed1")
    part = run_folder(root, 1).with_name(run_folder(root, 1).name + ".part")
    wait_for((part / "checkpoint.safetensors").exists, "the first checkpoint")
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = snakemake(root, *RUN, "only=seed1")
    assert again.returncode != 0 and "--unlock" in again.stdout + again.stderr, "it says how to go on"
    # The training is a process of its own and runs on to its end.
    wait_for((run_folder(root, 1) / "run.json").exists, "the end of the orphaned training")
    before = (run_folder(root, 1) / "run.json").read_bytes()
    notebook = root / "data/runs/tiny-seed1.ipynb"
    wait_for(notebook.exists, "the orphaned notebook")
    assert snakemake(root, "--unlock").returncode == 0
    again = snakemake(root, *RUN, "only=seed1", "--rerun-incomplete")
    assert again.returncode == 0, again.stderr
    assert "complete, nothing to train" in printed(notebook)
    assert (run_folder(root, 1) / "run.json").read_bytes() == before
    results.load(run_folder(root, 1))
