"""The workflows: valid, least permissions, and calling only what exists."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from logitnorm.book import runner

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w[\w-]*):", (REPOSITORY / "Makefile").read_text(), re.M))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


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
                        "nightly": {"schedule", "workflow_dispatch"}, "weekly": {"schedule", "workflow_dispatch"}}


@every_workflow
def test_rights_are_the_least_and_time_is_limited(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"] and "cancel-in-progress" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        if "permissions" in job:
            assert (path.stem, name) == ("publish", "deploy")
            assert job["permissions"] == {"pages": "write", "id-token": "write"}
    text = path.read_text(encoding="utf-8")
    assert "pull_request_target" not in text and "secrets." not in text
    assert not re.search(r"run:.*\$\{\{", text), "an expression in a command can be injected"


@every_workflow
def test_actions_are_githubs_own_at_a_major_version(path):
    used = [step["uses"] for step in steps(read(path)) if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)


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


def test_the_script_for_colabs_image_is_one():
    script = REPOSITORY / ".github" / "colab.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    for word in re.findall(r"\btests/\S+", script.read_text(encoding="utf-8")):
        assert (REPOSITORY / word).is_file()
    assert "LOGITNORM_COLAB_PYTHON" in (REPOSITORY / "tests" / "test_colab.py").read_text(encoding="utf-8")


@every_workflow
def test_artifacts_come_from_the_build(path):
    for step in steps(read(path)):
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
