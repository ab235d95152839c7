"""The workflows: valid, least permissions, and calling only what exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import changed_pages
import nightly
import pytest
import release
import yaml
from logitnorm.book import runner
from logitnorm.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


# (workflow, job) -> the only rights beyond reading the repository
WRITING = {("publish", "deploy"): {"pages": "write", "id-token": "write"},
           ("answer", "comment"): {"actions": "read", "pull-requests": "write"},
           ("release", "release"): {"contents": "write"},
           ("release", "image"): {"contents": "read", "packages": "write"}}


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
                        "verify": {"pull_request"}, "answer": {"workflow_run"}, "release": {"push"}}


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
    [comment] = read(ROOT / ".github/workflows/answer.yml")["jobs"].values()
    used = [step["uses"].partition("@")[0] for step in comment["steps"] if "uses" in step]
    assert used == ["actions/download-artifact"] and "verify" in read(ROOT / ".github/workflows/answer.yml")["on"][
        "workflow_run"]["workflows"]
    [verify] = read(ROOT / ".github/workflows/verify.yml")["jobs"].values()
    code, offered = (step["with"] for step in verify["steps"] if step.get("uses", "").startswith("actions/checkout@"))
    assert code["ref"] == "${{ github.event.pull_request.base.sha }}" and "path" not in code
    assert offered["path"] == "offered" and offered["sparse-checkout"] == "data/runs"
    assert not code["persist-credentials"] and not offered["persist-credentials"]


def test_the_job_that_releases_executes_nothing_of_the_repository():
    release = read(ROOT / ".github/workflows/release.yml")["jobs"]["release"]
    assert [step["uses"].partition("@")[0] for step in release["steps"] if "uses" in step] == ["actions/download-artifact"]
    assert not re.search(r"python|make|\.venv|tools/", "".join(step.get("run", "") for step in release["steps"]))


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
    assert set(pins) == set(least) and all(version >= least[name] for name, (_, version) in pins.items())
    assert "github-actions" in (ROOT / ".github" / "dependabot.yml").read_text()


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
    done = subprocess.run([ROOT / ".github/verify.sh", "offered", "answer"], cwd=root, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "lib")})
    assert (root / "answer/number.txt").read_text() == "7\n"
    text = (root / "answer/report.md").read_text()
    assert (root / "summary.md").read_text().endswith(text)
    return done.returncode, text


def test_only_runs_that_are_new_or_changed_are_verified(offered, monkeypatch):
    from fake_runs import edit_json, write_run

    assert answer(offered, monkeypatch) == (0, "No run folder was added or changed.\n")
    [run] = (offered / "offered").iterdir()
    (run / "metrics.csv").write_text("edited")
    new = write_run(offered / "offered", lr=0.3, n_id=40, n_ood=20)
    edit_json(new, lambda info: info.update(code={"commit": "ab" * 20, "dirty": False}))
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
            assert (ROOT / "lib" / f"{module.replace('.', '/')}.py").is_file(), line
        for word in shlex.split(line.replace("$(", "").replace(")", "")):
            word = word.strip(";")
            word = word.removeprefix("/book/")  # where the repository lies inside Colab's image
            if re.match(r"(\.ci|tests|notebooks|tools|\.github)/", word) and "*" not in word:
                assert (ROOT / word).exists(), f"{line}: there is no {word}"


@pytest.mark.parametrize("there, code, said", [
    ({"actionlint": "echo a mistake; exit 3"}, 3, "a mistake\n"),
    ({}, 0, "the workflows were not checked: neither actionlint nor Node.js with npm is on this machine\n")])
def test_workflows_are_checked_by_actionlint_or_it_says_that_they_were_not(tmp_path, there, code, said):
    for name, text in there.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["/bin/sh", ROOT / "tools/check_workflows"], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (code, said)


def test_the_script_for_colabs_image_is_one():
    script = ROOT / ".github" / "colab.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    for word in re.findall(r"\btests/\S+", script.read_text(encoding="utf-8")):
        assert (ROOT / word).is_file()
    assert "LOGITNORM_COLAB_PYTHON" in (ROOT / "tests" / "test_colab.py").read_text(encoding="utf-8")


@every_workflow
def test_artifacts_come_from_the_build(path):
    for step in steps(read(path)):
        if "artifact@" not in step.get("uses", ""):
            continue
        for given in str(step.get("with", {}).get("path", "")).split():
            assert given.startswith("build/"), given


def test_the_nightly_parameters_are_those_of_the_training_notebook():
    from logitnorm import data, train

    given = yaml.safe_load((ROOT / ".github" / "nightly.yaml").read_text(encoding="utf-8"))
    fitted = runner.check(ROOT / "notebooks" / "train.ipynb", given)
    assert fitted["size"] == "small" and fitted["epochs"] <= 2 and fitted["runs_dir"].startswith("build/")
    for name in (fitted["id_dataset"], *fitted["ood_sets"], *fitted["extra_sets"], fitted["history_ood"]):
        assert data.SETS[name].stands_in_for is None, f"{name} cannot be downloaded"
    train.Config(**{key: value for key, value in fitted.items() if key != "runs_dir" and value is not None})
    results = [path for path in (ROOT / "notebooks").glob("*.ipynb")
               if '"sizes = [' in path.read_text(encoding="utf-8")]
    for path in results:  # what nightly.yml greps for
        runner.check(path, {"sizes": ["small"], "runs_dir": fitted["runs_dir"]})
    assert len(results) >= 10


# ---------------------------------------------------------------- what the jobs call

def test_a_releases_notes_are_its_section_of_the_change_log():
    log = "# Changes\n\n## Unreleased\n\n- later\n\n## 1.2.0 - 2026-01-02\n\n### Added\n\n- this\n\n## 1.1.0\n\n- before\n"
    assert release.notes(log, "1.2.0") == "### Added\n\n- this\n" and release.notes(log, "1.1.0") == "- before\n"
    for missing in ("2.0.0", "1.2"):
        with pytest.raises(ValueError, match="has no section"):
            release.notes(log, missing)


def test_a_tag_that_is_not_the_version_everywhere_is_refused(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\n")
    (tmp_path / "_config.yml").write_text("repository: {branch: v1.2.0}\n")
    assert release.require_one_version(tmp_path, "v1.2.0") == "1.2.0"
    with pytest.raises(ValueError, match="pyproject.toml says 1.2.0"):
        release.require_one_version(tmp_path, "v1.3.0")
    (tmp_path / "_config.yml").write_text("repository: {branch: main}\n")
    with pytest.raises(ValueError, match="_config.yml .branch. says main"):
        release.require_one_version(tmp_path, "v1.2.0")


def test_zenodo_is_told_what_the_citation_says():
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert zenodo["title"] == citation["title"] and zenodo["license"] == citation["license"]
    assert zenodo["upload_type"] == citation["type"] and zenodo["keywords"] == citation["keywords"]
    assert [person["name"] for person in zenodo["creators"]] == [person["name"] for person in citation["authors"]]
    assert len(zenodo["related_identifiers"]) == len(citation["references"])


def test_the_pages_that_a_pull_request_changes_are_listed(tmp_path):
    listed = ["book/index", "book/data", "notebooks/fig1"]
    assert changed_pages.changed(["book/data.md", "notebooks/fig1.ipynb", "README.md"], listed) == (["book/data", "notebooks/fig1"], [])
    assert changed_pages.changed(["lib/logitnorm/scores.py", "data/runs/a/run.json"], listed) == ([], ["the library", "finished runs"])
    (tmp_path / "book").mkdir()
    (tmp_path / "book/data.html").write_text("<title>Image sets &#8212; LogitNorm</title>")
    text = changed_pages.markdown(["book/data", "notebooks/fig1"], ["the library"], tmp_path)
    assert "- Image sets: `book/data.html`" in text and "- notebooks/fig1: `notebooks/fig1.html`" in text
    assert "The library changed too" in text
    assert "No page's own source changed" in changed_pages.markdown([], [], tmp_path)


def test_a_number_outside_its_interval_fails_the_nightly_run(tmp_path, monkeypatch, capsys):
    from fake_runs import write_run
    from logitnorm.study import results

    run = results.load(write_run(tmp_path / "runs", n_id=40, n_ood=20))
    value = run.metrics.query("score == 'msp' and ood_dataset == 'isun' and metric == 'auroc'")["value"].item()
    accuracy = run.info["test_accuracy"]
    monkeypatch.setattr(nightly, "FILE", tmp_path / "tolerances.yaml")

    def recorded(**intervals):
        nightly.FILE.write_text(yaml.safe_dump({"runs": {run.id: {name.replace("_", " "): found
                                                                  for name, found in intervals.items()}}}))
        return nightly.main([str(tmp_path / "runs")])

    assert recorded(accuracy=[accuracy - 1, accuracy + 1], msp_isun_auroc=[value, value]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert recorded(accuracy=[accuracy - 1, accuracy + 1], msp_isun_auroc=[value + 0.1, 100]) == 1
    assert f"msp isun auroc is {value:.2f}" in capsys.readouterr().err
    nightly.FILE.write_text(yaml.safe_dump({"runs": {"another": {"accuracy": [0, 100]}}}))
    assert nightly.main([str(tmp_path / "runs")]) == 1 and "no run in" in capsys.readouterr().err


def test_the_recorded_intervals_are_those_of_the_smoke_runs():
    from logitnorm.study import experiments

    recorded = yaml.safe_load((ROOT / "data" / "tolerances.yaml").read_text(encoding="utf-8"))["runs"]
    assert set(recorded) == {config.run_id for config in experiments.configs(size="smoke")}
    for intervals in recorded.values():
        assert len(intervals) >= 3 and all(0 <= least < most <= 100 for least, most in intervals.values())
        assert intervals["accuracy"][0] > 30, "far above guessing among ten classes"


def test_the_batch_image_is_the_profiles_not_roots_and_copies_what_is_there():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    instructions = [line.split() for line in text.replace("\\\n", " ").splitlines() if re.match("[A-Z]+ ", line)]
    users = [words[1] for words in instructions if words[0] == "USER"]
    assert users == ["1000"] and f"--uid {users[0]}" in text
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for words in instructions:
        for name in words[1:-1] if words[0] == "COPY" else ():
            assert (ROOT / name).exists() and f"!{name}" in ignored, name
    profile = yaml.safe_load((ROOT / "profiles/kubernetes/config.yaml").read_text())
    for variable in profile["envvars"]:
        assert f"{variable}=" in text
    assert profile["container-image"].startswith("ghcr.io/") and profile["container-image"].endswith(":latest")
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    assert "image=ghcr.io/${GITHUB_REPOSITORY,,}" in workflow and "$image:latest" in workflow
