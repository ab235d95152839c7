"""Every run of experiments.yaml through one graph: what it plans, how runs share a GPU, and the clusters' profiles."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_runs import edit_json, write_run
from logitnorm import data, runs
from logitnorm.__main__ import main
from logitnorm.book import build, runner
from logitnorm.config import Config
from logitnorm.paths import ROOT
from logitnorm.study import experiments, training, writing
from small_book import copy, jobs, snakemake, write

LINKED = ("Snakefile", "_config.yml", "_toc.yml", "book", "data", "experiments.yaml", "lib", "notebooks", "profiles")


@pytest.fixture
def linked(tmp_path):
    """The committed files by links, so that a dry run leaves its traces elsewhere."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


# ---------------------------------------------------------------- the plan

@pytest.mark.parametrize("official", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_plan_trains_the_chosen_runs_with_their_very_settings(linked, official):
    done = snakemake(linked, "--dry-run", "--printshellcmds", "runs", "html", "--config", "size=full", "only=seed5",
                     "gpus=2", "runs_dir=elsewhere", f"official={official}", "--resources", "gpu0=1", "gpu1=1")
    wanted = {c.run_id: experiments.official(c) if official else c
              for c in experiments.configs(size="full", only="seed5")}
    planned = {job.removeprefix("training ") for job in jobs(done) if job.startswith("training ")}
    assert {run for run in planned if not run.startswith("smoke-")} == set(wanted) < planned
    pages = {Path(page).name for page in build.pages() if page.startswith("notebooks/")} - {"train"}
    assert {"HTML pages", *(f"results {page}" for page in pages)} <= set(jobs(done))

    commands = [line for line in done.stdout.splitlines() if "logitnorm runner" in line and " elsewhere/" in line]
    found, devices = {}, set()
    for command in commands:
        words = shlex.split(command.removeprefix("Shell command:"))
        devices.add(words[0])
        out = next(word for word in words if word.startswith("elsewhere/"))
        flags = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
        defaults = runner.parameters(ROOT / "notebooks/train.ipynb")
        values = {k: v if isinstance(defaults[k], str) else runner._literal(v) for k, v in flags.items()}
        assert values.pop("runs_dir") == "elsewhere"
        found[Path(out).stem] = Config(**values)
    assert found == wanted, "the flags must give exactly the listed settings"
    assert devices == {"CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"}

    assert "check of the finished runs" in jobs(done) and '/kernels.py "${LOGITNORM_KERNELS:-}" experiments --check; ' in done.stdout, \
        "no page without a look at the runs"


@pytest.mark.slow
@pytest.mark.parametrize("plugin, arguments", [
    ("snakemake_executor_plugin_slurm", ["--profile", "profiles/slurm"]),
    ("snakemake_executor_plugin_kubernetes", ["--profile", "profiles/kubernetes"]),
])
def test_a_cluster_plans_the_same_runs(linked, plugin, arguments):
    for name in [plugin] + ["snakemake_storage_plugin_fs"] * plugin.endswith("kubernetes"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name.replace('_', '-')}: pip install it")
    if plugin.endswith("kubernetes"):  # /book exists in the cluster only
        arguments = [*arguments, "--default-storage-prefix", str(linked)]
    done = snakemake(linked, "--dry-run", *arguments, "runs", "--config", "size=small", "only=seed2",
                     LOGITNORM_DATA=str(linked), PYTHONPATH=os.pathsep.join([str(linked / "lib"), *sys.path]))
    assert set(jobs(done)) == {f"training {c.run_id}" for c in experiments.configs(size="small", only="seed2")}


def test_make_passes_the_gpus_on():
    done = subprocess.run(["make", "-n", "runs", "SIZE=full", "ONLY=seed1", "GPUS=2", "SHARE=3"], cwd=ROOT,
                          capture_output=True, text=True)
    assert 'runs --resources gpu=0 gpu0=3 gpu1=3' in done.stdout
    assert 'size="full" only="seed1" official=0 gpu=0 gpus=2' in done.stdout


# ---------------------------------------------------------------- the local executor, on trainings that take no time

EXPERIMENTS = '''
import re
from dataclasses import dataclass

@dataclass
class Config:
    seed: int
    method: str = "logitnorm"
    size = "smoke"

    @property
    def changed(self):
        return {"seed": self.seed}

    @property
    def run_id(self):
        return f"tiny-seed{self.seed}"

def configs(size=None, only=""):
    return [c for c in map(Config, (1, 2)) if re.search(only, c.run_id)]
'''

STAND_IN = """
import time
from pathlib import Path
Path("log.txt").open("a").write(f"{time.time()} start\\n")
time.sleep(1)
folder = Path(runs_dir, f"tiny-seed{seed}")
folder.mkdir(parents=True, exist_ok=True)
(folder / "run.json").write_text("{}")
Path("log.txt").open("a").write(f"{time.time()} stop\\n")


def main(arguments):
    return 0
"""


def tiny_root(root, training):
    """The graph with two runs, tiny-seed1 and tiny-seed2, whose notebook runs the given code."""
    copy(root, EXPERIMENTS)
    (root / "_toc.yml").write_text("{root: book/index, parts: [{chapters: [{file: notebooks/train}]}]}")
    write(root / "notebooks/train.ipynb", training, parameters="size = 'full'\nseed = 0\nmethod = 'logitnorm'\nruns_dir = ''")
    return root


RUN = ("runs", "--cores", "2", "--config", "size=tiny")


@pytest.mark.slow
def test_runs_take_turns_on_a_gpu_and_leave_their_notebooks_beside_them(tmp_path):
    root = tiny_root(tmp_path, STAND_IN)
    done = snakemake(root, *RUN, "--resources", "gpu=1")
    assert jobs(done) == ["training tiny-seed1", "training tiny-seed2"]
    events = [line.split()[1] for line in sorted((root / "log.txt").read_text().splitlines())]
    assert events == ["start", "stop"] * 2, "two runs were on the one GPU at the same time"
    assert sorted(os.listdir(root / "data/runs")) == ["tiny-seed1", "tiny-seed1.ipynb",
                                                      "tiny-seed2", "tiny-seed2.ipynb"]
    assert "seed = 2" in (root / "data/runs/tiny-seed2.ipynb").read_text()

    shutil.rmtree(root / "data/runs/tiny-seed1")  # taken away: trained again, and its old notebook is kept
    assert jobs(snakemake(root, *RUN)) == ["training tiny-seed1"]
    assert sorted(os.listdir(root / "data/runs"))[:3] == ["tiny-seed1", "tiny-seed1.ipynb", "tiny-seed1.old.ipynb"]
    assert jobs(snakemake(root, *RUN)) == []


def test_nothing_is_trained_unless_somebody_says_what(tmp_path):
    done = snakemake(tiny_root(tmp_path, STAND_IN), "--dry-run", "runs")
    assert done.returncode != 0
    assert "name the runs to train: snakemake runs --config size=small" in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()


# ---------------------------------------------------------------- experiments.yaml: mistakes, with their line

GOOD = """\
runs:
  - size: smoke
    method: cross_entropy
    epochs: 2
    ood_sets: [brick]
    history_ood: brick
  - size: smoke
    method: logitnorm
    tau: [0.04, 0.1]
    seeds: [1, 2]
    epochs: 2
"""


def test_lists_stand_for_one_run_each(tmp_path):
    (tmp_path / "e.yaml").write_text(GOOD)
    found = experiments.configs(tmp_path / "e.yaml")
    assert [(c.method, c.tau, c.seed) for c in found] == [("cross_entropy", 0.04, 1)] + [
        ("logitnorm", tau, seed) for seed in (1, 2) for tau in (0.04, 0.1)]
    assert {c.epochs for c in found} == {2} and found[0].ood_sets == ("brick",)
    assert found[1].lr == 0.05 and len(found[1].ood_sets) == 6, "what is not said is the size's"


@pytest.mark.parametrize("old, new, line, parts", [
    ("epochs: 2", "epoch: 2", 4, ["unknown setting 'epoch' of run 1", "Did you mean 'epochs'?", "Known: size, id_dataset"]),
    ("epochs: 2", "epochs: 0", 4, ["run 1: epochs should be greater than or equal to 1, got 0"]),
    ("epochs: 2", "lr: 1e-3", 4, ["a number (0.001, not 1e-3)", "got the text '1e-3'"]),
    ("epochs: 2", "epochs: 2\n    epochs: 3", 5, ["'epochs' stands twice in run 1, first in line 4"]),
    ("epochs: 2", "epochs: !!python/object/apply:os.system [ls]", 4, ["not plain YAML"]),
    ("epochs: 2", "epochs: [2", 5, ["not valid YAML"]),
    ("epochs: 2", "seeds: [-1]", 4, ["run 1: seed should be greater than or equal to 0, got -1"]),
    ("epochs: 2", "architecture: resnet34\n    dropout: 0.3", 5, ["run 1: dropout: resnet34 has no dropout"]),
    ("[brick]", "[brick, dtd]", 5, ["ood_sets[1] should be one of cifar10, cifar100", "got 'dtd'"]),
    ("[brick]", "brick", 5, ["ood_sets should be a list, got the text 'brick'"]),
    ("size: smoke", "seeds: [1]", 2, ["run 1 has no size; known: smoke, small, medium, full"]),
    ("method: logitnorm", "method: logitnrm", 8, ["run 2: method should be 'cross_entropy', ", "got 'logitnrm'"]),
    ("[0.04, 0.1]", "[0.04, 0]", 9, ["tau should be greater than 0, got 0"]),
    ("[0.04, 0.1]", "[]", 9, ["tau of run 2 must be a list of numbers such as [1, 2, 3], got []"]),
    ("[0.04, 0.1]", "[0.04, 0.04]", 7, ["tau0.04-epochs2-seed1 is listed twice, first in line 7"]),
    ("seeds: [1, 2]", "seed: 1", 10, ["unknown setting 'seed' of run 2", "Write seeds: [1, 2]"]),
    ("seeds: [1, 2]", "seeds: 1", 10, ["seeds of run 2 must be a list of numbers such as [1, 2, 3], got 1"]),
    ("runs:", "run:", 1, ["unknown setting 'run' of the file", "Known: runs"]),
    (GOOD, "", 1, ["must be lines 'name: value'"]),
    ("epochs: 2", "epochs: 2  # \udce9", 4, ["not UTF-8"]),
    ("epochs: 2", "id_dataset: digits\n    batch_size: 1438", 5, ["batch_size should be at most 1437, the training images of digits, got 1438"]),
])
def test_a_mistake_is_named_with_its_line_and_what_is_allowed(tmp_path, old, new, line, parts):
    assert old in GOOD
    (tmp_path / "e.yaml").write_text(GOOD.replace(old, new, 1), errors="surrogateescape")
    with pytest.raises(experiments.ExperimentsError) as caught:
        experiments.configs(tmp_path / "e.yaml")
    sentence = str(caught.value)
    assert f"e.yaml, line {line}: " in sentence and "\n" not in sentence
    for part in parts:
        assert part in sentence


def test_an_unknown_size_or_a_bad_expression_is_refused():
    with pytest.raises(experiments.ExperimentsError, match="there is no size 'huge'; known: smoke, small, medium, full"):
        experiments.configs(size="huge")
    with pytest.raises(experiments.ExperimentsError, match=r"'\(seed' is not a regular expression"):
        experiments.configs(only="(seed")


# ---------------------------------------------------------------- finished runs against experiments.yaml

FINISHED = dict(size="smoke", method="cross_entropy", epochs=2, ood_sets=("brick",), extra_sets=(),
                history_ood="brick")


@pytest.fixture
def stored(tmp_path):
    (tmp_path / "e.yaml").write_text(GOOD)
    write_run(tmp_path / "runs", n_id=20, n_ood=10, **FINISHED)
    (tmp_path / "runs/other.part").mkdir()
    (tmp_path / "runs/other.part/run.json").write_text("in progress")
    return tmp_path


def check(root, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "FILE", root / "e.yaml")
    code = experiments.main(["--check", "--runs-dir", str(root / "runs")])
    said = capsys.readouterr()
    assert said.out == ("1 runs are whole and as e.yaml lists them\n" if code == 0 else "")
    return code, said.err.splitlines()


def test_a_run_whose_settings_changed_since_is_not_published(stored, monkeypatch, capsys):
    (stored / "e.yaml").write_text(GOOD.replace("brick]", "brick]\n    odin_epsilon: 0.5"))
    code, [sentence] = check(stored, monkeypatch, capsys)
    assert code == 1
    assert "was trained with odin_epsilon = 0.0014, but e.yaml says 0.5; put the old value back, or move" in sentence
    with pytest.raises(Exception, match="was trained with odin_epsilon = 0.0014, not 0.5"):  # nor is it trained over
        training.train(experiments.configs(stored / "e.yaml", only="cross")[0], stored / "runs")


def test_a_run_on_the_official_sets_is_as_listed_too(stored, monkeypatch, capsys):
    (stored / "e.yaml").write_text(GOOD.replace("brick", "svhn_part"))
    code, [sentence] = check(stored, monkeypatch, capsys)
    assert code == 1 and "ood_sets" in sentence
    shutil.rmtree(stored / "runs")
    write_run(stored / "runs", n_id=20, n_ood=10, **{**FINISHED, "ood_sets": ("svhn",), "history_ood": "svhn"})
    assert check(stored, monkeypatch, capsys) == (0, [])
    (stored / "runs" / "lost").mkdir()
    (stored / "runs" / "dangling").symlink_to(stored / "nothing")
    (stored / "runs" / "note.ipynb").touch()
    code, [dangling, lost] = check(stored, monkeypatch, capsys)
    assert code == 1 and "dangling is no folder" in dangling and "lost is not a complete run: run.json is missing; restore it, or" in lost


def test_official_names_the_papers_sets_and_nothing_without_a_download():
    for config in experiments.configs():
        on = experiments.official(config)
        named = (*on.ood_sets, *on.extra_sets, on.history_ood)
        assert not any(data.SETS[name].stands_in_for for name in named)
        assert on.run_id == config.run_id and experiments.official(on) == on
        if config.id_dataset.startswith("cifar"):
            assert on.ood_sets == Config().ood_sets and on.history_ood == Config().history_ood
    assert experiments.official(Config(ood_sets=("svhn", "isun", "svhn_part"))).ood_sets == ("svhn", "isun")


def test_official_is_what_is_trained(monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(experiments, "train", lambda config, runs_dir: trained.append(config))
    assert experiments.main(["--size", "small", "--only", "cifar10-wrn10_2-cross_entropy-seed1", "--official"]) == 0
    assert [config.ood_sets for config in trained] == [Config().ood_sets]


@pytest.mark.parametrize("together", ["1", "2"])
def test_a_run_that_fails_ends_no_list(monkeypatch, capsys, together):
    errors = {1: data.DataError("no network"), 2: runs.RunError("in use"), 3: None}
    if together == "2":
        monkeypatch.setattr(experiments, "ProcessPoolExecutor", lambda count, *of_processes: ThreadPoolExecutor(count))
        errors[1] = RuntimeError("out of memory")

    def train(config, runs_dir):
        if errors[config.seed]:
            raise errors[config.seed]
        return "somewhere"

    monkeypatch.setattr(experiments, "train", train)
    only = "small-cifar10-wrn10_2-cross_entropy-seed[123]$"
    assert experiments.main(["--only", only, "--together", together]) == 1
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert "seed1: " in first and str(errors[1]) in first and second.endswith("seed2: in use")
    assert "wrote somewhere" in said.out


def test_damaged_unlisted_and_foreign_runs_are_each_reported(stored, monkeypatch, capsys):
    [folder] = stored.glob("runs/*seed1")
    write_run(stored / "runs", n_id=20, n_ood=10, **{**FINISHED, "seed": 9})
    shutil.copytree(folder, stored / "runs/renamed")
    scores = folder / "scores.safetensors"
    scores.write_bytes(scores.read_bytes()[:-1])
    foreign = stored / "runs/foreign"
    shutil.copytree(stored / "runs/renamed", foreign)
    edit_json(foreign, lambda info: info["config"].update(from_the_future=1))
    code, sentences = check(stored, monkeypatch, capsys)
    assert code == 1 and len(sentences) == 4
    for sentence, part in zip(sentences, ["foreign/run.json holds settings that this version does not know",
                                          "renamed is not listed in e.yaml", "seed1/scores.safetensors is damaged",
                                          "seed9 is not listed in e.yaml"]):
        assert part in sentence


@pytest.mark.slow
def test_together_trains_in_processes_of_their_own(tmp_path, monkeypatch, capfd, few_images):
    """Two smoke runs at a time, one of which cannot be trained: its sentence, and the other's folder."""
    monkeypatch.setenv("LOGITNORM_DATA", str(few_images))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/smoke-digits-wrn10_1-cross_entropy-seed1").write_text("in the way")
    arguments = ["--size", "smoke", "--only", "cross_entropy|learned", "--together", "2", "--runs-dir", str(tmp_path / "runs")]
    assert experiments.main(arguments) == 1
    said = capfd.readouterr()
    assert "wrote" in said.out and list(tmp_path.glob("runs/*learned_confidence*/run.json"))
    assert said.err.count("error: ") == 1 and "cross_entropy-seed1" in said.err


@pytest.mark.parametrize("name, value, sentence", [
    ("epochs", "[1", "parameter epochs is not valid YAML: "), ("batch_size", "50001", "batch_size should be at most 50000, the training"),
    ("epochs", "-3", "epochs should be greater than or equal to 1, got -3"), ("method", "logitnrom", "method should be 'cross_entropy', "),
    ("preset", "fast", "preset should be one of quick, small, medium, full, got 'fast'"), ("size", "huge", "size should be 'smoke', "),
    ("runs_dir", __file__, "test_batch.py is a file; name a folder for the runs"),
    ("runs_dir", "+mine", "runs_dir +mine is for notebooks that read runs; training writes into mine")])
def test_settings_that_cannot_be_trained_are_refused_before_a_kernel_starts(tmp_path, monkeypatch, capsys, name, value,
                                                                            sentence):
    monkeypatch.setattr(runner, "check_kernel", lambda: pytest.fail("it got as far as the kernel"))
    arguments = [str(ROOT / "notebooks/train.ipynb"), str(tmp_path / "out.ipynb"), "-p", name, value]
    assert runner.main(arguments) == 1
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_executed_notebook_needs_a_file_of_its_own_and_parameters_need_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "check_kernel", lambda: pytest.fail("it got as far as the kernel"))
    notebook = shutil.copy(ROOT / "notebooks/fig1.ipynb", tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"runs_dir: \xe9")
    (tmp_path / "number.yaml").write_text("1: 2")
    for arguments, sentence in (([str(tmp_path)], "is a folder; name a new one"), ([notebook], "is the notebook itself; name a new one"),
                                ([f"{notebook}/o.ipynb"], "fig1.ipynb: File exists); name another file"),
                                ([f"{tmp_path}/o.ipynb", "-p", "sizes", '["smoke", "nano"]'], "sizes should be a list of one or more of smoke, "),
                                ([f"{tmp_path}/o.ipynb", "-f", str(tmp_path)], f"{tmp_path} cannot be read (Is a directory); name a YAML file"),
                                ([f"{tmp_path}/o.ipynb", "-f", f"{tmp_path}/number.yaml"], "number.yaml: expected lines 'name: value'"),
                                ([f"{tmp_path}/o.ipynb", "-f", f"{tmp_path}/latin.yaml"], "latin.yaml is not valid YAML: 'utf-8'")):
        assert runner.main([notebook, *arguments]) == 1
        said = capsys.readouterr().err
        assert sentence in said and len(said.splitlines()) == 1


def test_an_interrupted_list_ends_without_a_traceback(monkeypatch, tmp_path, capsys):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_train", interrupted)
    assert main(["experiments", "--size", "smoke", "--only", "cross", "--runs-dir", str(tmp_path)]) == 130
    assert "interrupted; no epoch was complete, so nothing is kept: execute this cell again, or give" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, folder, sentence", [
    (["--check"], "none", "none does not exist; name a folder that holds run folders"), (["--check"], "empty", "holds no finished run; name a folder"),
    (["--check"], "file", "file is a file; name a folder for the runs"),
    (["--size", "smoke", "--only", "logitnorm"], "file", "file is a file; name a folder for the runs")])
def test_a_runs_folder_that_is_none_gets_one_sentence(tmp_path, capsys, arguments, folder, sentence):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert experiments.main([*arguments, "--runs-dir", str(tmp_path / folder)]) == 1
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
    with pytest.raises(runs.RunError, match="cannot hold a run"), writing.part(tmp_path / "file", "r"):
        pytest.fail("a run in a file")
