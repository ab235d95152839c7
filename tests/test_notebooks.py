"""What every committed notebook must be: without outputs, runnable by parameters only, readable in Colab."""

import ast
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import notebook_setup
import pytest
from logitnorm import paths
from logitnorm.book import build, runner
from logitnorm.paths import ROOT
from logitnorm.runs import RunError
from logitnorm.study import results
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    """The code cells of the author: neither the setup cell nor the parameters."""
    return [cell for cell in read(path).cells if cell.cell_type == "code"
            and cell.id != notebook_setup.SETUP_ID and "parameters" not in cell.metadata.get("tags", [])]


def test_notebooks_and_table_of_contents_name_each_other():
    listed = {Path(page).name for page in build.pages() if page.startswith("notebooks/")}
    assert listed == {path.stem for path in NOTEBOOKS}


@every_notebook
def test_no_outputs_are_committed(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, f"cell {cell.id} has outputs"


@every_notebook
def test_it_opens_with_title_badge_and_setup(path):
    title, badge, setup = read(path).cells[:3]
    assert title.cell_type == "markdown" and title.source.startswith("# ")
    if not any("finding" in cell.id for cell in read(path).cells):  # a results page says what it found instead
        assert len(title.source.split("\n\n", 1)[1]) > 80, "one paragraph that says what and why follows the title"
    assert build.colab_url(f"notebooks/{path.stem}") in badge.source
    assert badge.metadata.tags == setup.metadata.tags == ["remove-cell"]
    assert path.read_text(encoding="utf-8") == notebook_setup.tidy(path.read_text(encoding="utf-8"),
                                                                   f"notebooks/{path.stem}"), \
        "run: python tools/notebook_setup.py"


@every_notebook
def test_a_results_page_shows_no_code_and_finds_before_it_draws(path):
    cells = read(path).cells
    names = [cell.id for cell in cells]
    finding = next((i for i, name in enumerate(names) if name.endswith("-finding")), None)
    if finding is None:
        return
    for cell in cells:
        if cell.cell_type == "code":
            assert {"remove-cell", "remove-input"} & set(cell.metadata.tags), f"cell {cell.id} would show its code"
    shown = [cell for cell in cells[1:finding] if "remove-cell" not in cell.metadata.get("tags", [])]
    assert not shown, f"{names[finding]} comes after {[cell.id for cell in shown]}"
    assert names[-1].endswith("-evidence")


@every_notebook
def test_cell_ids_are_stable(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids)
    # a notebook editor's random ids would change with every save elsewhere
    assert not [name for name in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", name)], "give the cells names"


@every_notebook
def test_every_parameter_is_read_and_none_is_overwritten(path):
    names = set(runner.parameters(path))
    read_names, written = set(), set()
    for cell in code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Name):
                (read_names if isinstance(node.ctx, ast.Load) else written).add(node.id)
    assert names <= read_names, f"never read: {names - read_names}"
    assert not names & written, f"a parameter must keep its value: {names & written}"


@every_notebook
def test_papermill_knows_the_same_parameters(path):
    import papermill

    assert list(papermill.inspect_notebook(str(path))) == list(runner.parameters(path))


@every_notebook
def test_results_notebooks_take_the_sizes_and_the_runs(path):
    given = runner.parameters(path)
    if "sizes" in given:
        sizes = ["small"] if path.stem == "small" else ["full", "medium", "small"]
        assert given["sizes"] == sizes and given["runs_dir"] == ""
        assert "data.load" not in "".join(cell.source for cell in code(path)), "a results notebook reads runs only"


@every_notebook
def test_markdown_shows_in_colab_as_it_is(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"^\s*(`{3,}|:{3,})\{", cell.source, re.M), f"MyST directive in {cell.id}"
            assert not re.search(r"\{[a-z][a-z:-]*\}`", cell.source), f"MyST role in {cell.id}"


@every_notebook
def test_cells_are_short_and_the_lines_fit(path):
    for cell in code(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, f"cell {cell.id} has {len(lines)} lines; what is longer belongs in lib/"
        assert max(map(len, lines), default=0) <= 120, f"cell {cell.id} has a line of over 120 characters"


# ---------------------------------------------------------------- the tool itself

def raw():
    notebook = new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("1", execution_count=3, outputs=[
        new_output("stream", name="stdout", text="1")], metadata={"tags": ["hide-input"], "scrolled": True})])
    notebook.metadata["widgets"] = {}
    return nbformat.writes(notebook)


def test_the_tool_writes_the_same_twice_and_leaves_nothing_of_a_run():
    once = notebook_setup.tidy(raw(), "notebooks/t")
    assert notebook_setup.tidy(once, "notebooks/t") == once
    cells = nbformat.reads(once, as_version=4).cells
    assert [cell.id for cell in cells[1:3]] == ["colab-badge", "colab-setup"]
    assert cells[3].outputs == [] and cells[3].execution_count is None and cells[3].metadata == {"tags": ["hide-input"]}


def test_check_mode_reports_and_changes_nothing(tmp_path, capsys):
    path = tmp_path / "t.ipynb"
    before = raw()
    path.write_text(before)
    assert notebook_setup.main(["--check", str(path)]) == 1
    assert "t.ipynb" in capsys.readouterr().err and path.read_text() == before
    assert notebook_setup.main([str(path)]) == 0
    assert notebook_setup.main(["--check", str(path)]) == 0


def test_the_repositorys_address_is_one_setting(tmp_path, monkeypatch):
    """With another address in _config.yml the tool rewrites every line that names it, and no other file names it."""
    url, _ = build.repository()
    owner, name = url.removeprefix("https://github.com/").split("/")
    names_it = re.compile(rf"{owner}/{name}\b|{owner}\.github\.io")
    listed = subprocess.run(["git", "ls-files", "-z", "--", ".", ":!data/runs"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs the git repository")
    found = {file for file in listed.stdout.split("\0") if file and (ROOT / file).is_file()
             and names_it.search((ROOT / file).read_text(encoding="utf-8", errors="replace"))}
    assert {file for file in found if not file.startswith("notebooks/")} == set(notebook_setup.PLACES)
    for place in notebook_setup.PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text((ROOT / place).read_text(encoding="utf-8"), encoding="utf-8")
    config = tmp_path / "_config.yml"
    config.write_text(config.read_text(encoding="utf-8").replace(f"url: {url}", "url: https://github.com/Somebody/else"))
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(notebook_setup, "ROOT", tmp_path)
    assert notebook_setup.main(["--check"]) == 1
    assert notebook_setup.main([]) == 0 and notebook_setup.main(["--check"]) == 0
    for place in notebook_setup.PLACES:
        text = (tmp_path / place).read_text(encoding="utf-8")
        assert not names_it.search(text) and re.search("somebody(/|.github.io/)else", text, re.I), place


def setup_source():
    return notebook_setup.setup_cells("notebooks/t")[1].source


def test_setup_installs_every_dependency_by_its_bare_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    source = setup_source()
    for dependency in project["dependencies"]:
        assert re.search(rf"\b{re.escape(re.split('[<>=]', dependency)[0])}\b", source), f"{dependency} is missing"
    assert not re.search(r"[<>=]=\d", source), "Colab's own versions are never pinned"


def run_setup(folder, source=None, **environment):
    source = source or setup_source() + "\nprint(sys.path[0])"
    return subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, **environment})


def git(folder, *commands):
    for command in commands:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", folder, *command.split()], check=True)


def test_setup_does_nothing_outside_colab(tmp_path):
    done = run_setup(tmp_path, PATH="")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [] and "logitnorm-book" not in done.stdout


def test_setup_clones_the_tag_and_finds_the_library(tmp_path):
    origin, work = tmp_path / "origin", tmp_path / "work"
    (origin / "lib").mkdir(parents=True)
    (origin / "tests").mkdir()
    (origin / "tests" / "big.txt").write_text("not needed in Colab")
    work.mkdir()
    (origin / "lib" / "state.txt").write_text("tagged")
    git(origin, "init --quiet", "add .", "commit --quiet -m a", "tag v9")
    (origin / "lib" / "state.txt").write_text("later")
    git(origin, "commit --quiet -a -m b")
    (tmp_path / "git").write_text(f'#!/bin/sh\ncase "$*" in *sparse-checkout*) exit 1;; esac\nexec {shutil.which("git")} "$@"')
    (tmp_path / "git").chmod(0o755)
    broken_off = run_setup(work, LOGITNORM_CLONE=origin.as_uri(), LOGITNORM_REF="v9", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert broken_off.returncode and not (work / "logitnorm-book").exists()
    for _ in range(2):  # a second run of the cell finds the clone in place
        done = run_setup(work, LOGITNORM_CLONE=origin.as_uri(), LOGITNORM_REF="v9")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(work / "logitnorm-book" / "lib")
        assert (work / "logitnorm-book" / "lib" / "state.txt").read_text() == "tagged"
        assert not (work / "logitnorm-book" / "tests").exists()
        assert os.listdir(work) == ["logitnorm-book"]


def test_badge_clone_and_library_are_one_reference():
    url, reference = build.repository()
    badge, setup = notebook_setup.setup_cells("notebooks/t")
    assert f"/blob/{reference}/notebooks/t.ipynb" in badge.source
    assert f'"LOGITNORM_REF", "{reference}")' in setup.source and f'"LOGITNORM_CLONE", "{url}")' in setup.source


def test_setup_replaces_no_version_that_is_there(tmp_path):
    """Without scikit-image and with numpy: pip is asked for the one, and for the other as it is."""
    (tmp_path / "logitnorm-book").mkdir()
    spy = ("import importlib.util, subprocess, sys\n"
           "find = importlib.util.find_spec\n"
           "importlib.util.find_spec = lambda name: None if name == 'skimage' else find(name)\n"
           "subprocess.run = lambda command, check: print(*command[5:])\n")
    done = run_setup(tmp_path, spy + setup_source(), LOGITNORM_CLONE="nowhere")
    assert done.returncode == 0, done.stderr
    asked = done.stdout.split()
    assert asked[0] == "scikit-image" and f"numpy=={version('numpy')}" in asked and f"torch=={version('torch')}" in asked
    assert len(asked) == 5


def published(tmp_path):
    """A bare copy of this repository that is cloned as a public host's is."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("needs the git repository")
    bare = tmp_path / "public" / "logitnorm-book.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, bare], check=True)
    git(bare, "tag edition", "config uploadpack.allowFilter true")
    return bare


def clone(tmp_path, notebook):
    """What the notebook's own setup cell fetches of this repository's last commit, from a bare copy of it."""
    bare = published(tmp_path)
    [setup] = [cell.source for cell in read(ROOT / f"notebooks/{notebook}.ipynb").cells
               if cell.id == notebook_setup.SETUP_ID]
    done = run_setup(tmp_path, setup, LOGITNORM_CLONE=bare.as_uri(), LOGITNORM_REF="edition")
    assert done.returncode == 0, done.stderr
    return tmp_path / "logitnorm-book"


@pytest.mark.slow
def test_the_training_notebook_fetches_under_ten_megabytes_and_can_train(tmp_path):
    book = clone(tmp_path, "train")
    assert sum(path.stat().st_size for path in book.rglob("*") if path.is_file()) < 10e6
    assert not (book / "tests").exists() and not (book / "data/runs").exists()
    done = subprocess.run([sys.executable, "-m", "logitnorm", "experiments", "--size", "full", "--list"], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(book / "lib")}, capture_output=True, text=True)
    assert done.returncode == 0 and "full-cifar10" in done.stdout, done.stderr


# Runs in the clone: the code of every results notebook, as it stands, and then what was fetched for it.
ALL_PAGES = """
import json, sys, traceback
from pathlib import Path
import matplotlib
matplotlib.use("agg")
import builtins
builtins.display = lambda *things, **how: None
import torch
from logitnorm import paths
failed = []
for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    if path.stem == "train":
        continue
    space = {"__name__": path.stem}
    torch.set_default_dtype(torch.float32)  # the page of the derivation computes in float64
    try:
        for cell in cells:
            if cell["id"] != "colab-setup":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
                if "parameters" in cell["metadata"].get("tags", ()):
                    space.update({name: 200 for name in ("n_id", "n_ood") if name in space})  # t-SNE of 12,000 takes long
    except Exception:
        failed.append(f"{path.stem}: {traceback.format_exc()}")
print(*failed, sep="\\n", file=sys.stderr)
print(sum(1 for _ in paths.RUNS.glob("*/scores.safetensors")))
sys.exit(bool(failed))
"""


@pytest.mark.slow
def test_every_results_notebook_works_in_the_sparse_clone_and_fetches_single_files(tmp_path):
    book = clone(tmp_path, "fig1")
    assert sum(path.stat().st_size for path in book.rglob("*") if path.is_file()) < 10e6
    assert len(list(book.glob("data/runs/*/run.json"))) > 50 and not list(book.glob("data/runs/*/*.safetensors"))
    done = subprocess.run([sys.executable, "-c", ALL_PAGES, ROOT / "notebooks"], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(book / "lib"), "LOGITNORM_ROOT": str(book)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0


@pytest.mark.slow
def test_the_light_clone_of_the_readme_is_light_and_reads_a_run(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [(stated, commands)] = re.findall(r"^# (\d+) MB: without.*\n((?:git .*\n)+)", readme, re.M)
    commands = commands.replace(build.repository()[0], published(tmp_path).as_uri())
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    book = tmp_path / "logitnorm-book"
    downloaded = sum(path.stat().st_size for path in book.glob(".git/objects/**/*") if path.is_file()) / 1e6
    assert 0.75 < downloaded / int(stated) < 1.25
    done = run_setup(book, "from logitnorm import paths; from logitnorm.study import results\n"
                           "print(results.load_all(paths.RUNS)[0].tensor('cifar10/logits').shape)",
                     PYTHONPATH=str(ROOT / "lib"), LOGITNORM_ROOT=str(book))
    assert done.returncode == 0 and done.stdout.startswith("(10000, "), done.stderr
    assert len(list(book.glob("data/runs/*/scores.safetensors"))) == 1


def test_a_file_of_a_run_is_fetched_when_it_is_read_and_only_with_its_checksum(tmp_path, monkeypatch):
    """A small origin with two runs, cloned as the setup cell clones; then the origin goes away."""
    from fake_runs import write_run

    origin, book = tmp_path / "origin", tmp_path / "work" / "logitnorm-book"
    first, second, altered = [write_run(origin / "data/runs", n_id=40, n_ood=20, seed=seed) for seed in (1, 2, 3)]
    (altered / "scores.safetensors").write_bytes((first / "scores.safetensors").read_bytes())
    (origin / "lib").mkdir()
    (origin / "lib" / "a.txt").write_text("a")
    git(origin, "init --quiet", "add .", "commit --quiet -m a", "tag v9", "config uploadpack.allowFilter true",
        "config uploadpack.allowAnySHA1InWant true")
    book.parent.mkdir()
    setup = notebook_setup.setup_cells("notebooks/t", reads_runs=True)[1].source
    run_setup(book.parent, setup, LOGITNORM_CLONE=origin.as_uri(), LOGITNORM_REF="v9").check_returncode()
    monkeypatch.setattr(paths, "ROOT", book)

    def read(number):
        found = results.load_all(book / "data/runs")
        assert len(found) == 3 and len(found[0].metrics)
        return found[number].tensor("cifar10/msp")

    assert not list(book.glob("data/runs/*/scores.safetensors"))
    assert len(read(0)) == 40
    assert [path.parent.name for path in book.glob("data/runs/*/scores.safetensors")] == [first.name]
    with pytest.raises(RunError, match=f"{altered.name}.*another checksum"):
        read(2)
    origin.rename(tmp_path / "away")
    with pytest.raises(RunError, match=f"{second.name}/scores.safetensors could not be fetched"):
        read(1)
    assert len(read(0)) == 40  # what is there needs no network


def is_there(name):
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def unknown_names(source):
    """What a notebook's code asks of the library that the library has not."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in nodes
             if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "logitnorm" for alias in node.names}
    asked = [f"{names[node.value.id]}.{node.attr}" for node in nodes
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names]
    return [name for name in (*names.values(), *asked) if not is_there(name)]


def test_the_search_for_unknown_names_finds_them():
    assert unknown_names("from logitnorm import metrics, nothing\nfrom logitnorm.study import preset as p\n"
                         "metrics.fpr95(p.config('quick'), p.nowhere)\nmetrics.fpr96()") == [
        "logitnorm.nothing", "logitnorm.study.preset.nowhere", "logitnorm.metrics.fpr96"]


@every_notebook
def test_every_name_of_the_library_that_it_calls_is_there(path):
    """Notebook and library are one reference (above), so the library beside the notebook is the one it gets."""
    assert unknown_names("\n".join(cell.source for cell in code(path))) == []
