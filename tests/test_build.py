"""The build: runner, staging and checks, the Snakemake graph on a tiny book, and the files around them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import version

import nbformat
import pytest
import yaml
from logitnorm.book import build, kernels, runner
from logitnorm.paths import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from small_book import copy, jobs, snakemake, write

PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


# ---------------------------------------------------------------- runner: parameters

def test_the_defaults_are_read_with_their_types(tmp_path):
    notebook = write(tmp_path / "n.ipynb", parameters="a: int = 1\nb = -0.5\nc = (80, 140)\nd = 'x # y'\ne = None")
    assert runner.parameters(notebook) == {"a": 1, "b": -0.5, "c": (80, 140), "d": "x # y", "e": None}


@pytest.mark.parametrize("given, sentence", [
    ({"epoch": 3}, "unknown parameter 'epoch'. Did you mean 'epochs'? Known: epochs, lr, name, sizes, fast, extra."),
    ({"qqq": 3}, "unknown parameter 'qqq'. Known: epochs"),
    ({"epochs": 3.0}, "'epochs' must be int like its default 2, got float 3.0"),
    ({"epochs": True}, "'epochs' must be int"),
    ({"lr": "fast"}, "'lr' must be float like its default 0.1, got str 'fast'"),
    ({"name": 5}, "'name' must be str"),
    ({"sizes": "paper"}, "'sizes' must be list"),
    ({"fast": 1}, "'fast' must be bool"),
])
def test_a_wrong_parameter_is_refused_in_one_sentence(tmp_path, given, sentence):
    notebook = write(tmp_path / "n.ipynb")
    with pytest.raises(runner.RunnerError) as caught:
        runner.check(notebook, given)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_fitting_parameters_take_the_type_of_their_default(tmp_path):
    notebook = write(tmp_path / "n.ipynb")
    fitted = runner.check(notebook, {"lr": 1, "sizes": ("a", "b"), "extra": "anything", "fast": True})
    assert fitted == {"lr": 1.0, "sizes": ["a", "b"], "extra": "anything", "fast": True}
    assert isinstance(fitted["lr"], float)


@pytest.mark.parametrize("source", ["a = 1\nprint(a)", "a = 2 * b", "a, b = 1, 2", "import os", "a = [x for x in 'ab']"])
def test_only_literals_may_stand_in_the_parameters_cell(tmp_path, source):
    with pytest.raises(runner.RunnerError, match="line [12]: "):
        runner.parameters(write(tmp_path / "n.ipynb", parameters=source))


@pytest.mark.parametrize("content, sentence", [(None, "no such notebook"), ('{"cells": [', "not a readable notebook"),
                                               (nbformat.writes(new_notebook()), "0 cells are tagged 'parameters'")])
def test_what_is_no_notebook_with_parameters_is_refused(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(runner.RunnerError, match=sentence):
        runner.parameters(tmp_path / "n.ipynb")


# ---------------------------------------------------------------- runner: execution

def run_module(*arguments, cwd, **environment):
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})


def test_a_refused_run_executes_nothing(tmp_path, monkeypatch, capsys):
    notebook = write(tmp_path / "n.ipynb", f"open({str(tmp_path / 'ran')!r}, 'w')")
    errors = tmp_path / "errors.txt"
    monkeypatch.setenv("LOGITNORM_ERRORS", str(errors))
    assert runner.main([str(notebook), str(tmp_path / "out.ipynb"), "-p", "epoch", "3"]) == 1
    said = capsys.readouterr().err
    assert "Did you mean 'epochs'?" in said and len(said.splitlines()) == 1 and errors.read_text() == said
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out.ipynb").exists()


def test_a_run_uses_this_python_and_every_way_of_giving_parameters(tmp_path, monkeypatch, capsys):
    notebook = write(tmp_path / "n.ipynb", "import os, sys, json",
                     "print(json.dumps([sys.executable, os.getcwd(), epochs, lr, name, sizes, fast]))")
    (tmp_path / "some.yaml").write_text("epochs: 7\nsizes: [smoke]\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    out = tmp_path / "deep" / "out.ipynb"
    assert runner.main([str(notebook), str(out), "-f", str(tmp_path / "some.yaml"), "-p", "epochs", "9", "-p", "lr",
                        "1e-3", "-p", "name", "007", "-p", "fast", "true"]) == 0
    said = capsys.readouterr()
    printed = json.loads(next(line for line in said.out.splitlines() if "[" in line).partition(": ")[2])
    assert os.path.samefile(printed[0], sys.executable)
    assert printed[1:] == [str(runner.ROOT), 9, 0.001, "007", ["smoke"], True]
    assert [cell.metadata.get("tags") for cell in nbformat.read(out, 4).cells].count(["injected-parameters"]) == 1
    assert os.listdir(out.parent) == ["out.ipynb"]
    assert "\r" not in said.out + said.err


def test_a_failing_notebook_leaves_the_old_result_and_its_own_remains(tmp_path):
    notebook = write(tmp_path / "n.ipynb", "print('before')", "x = 1\nraise ValueError('no such\\nrun')", "print('never')")
    out = tmp_path / "out.ipynb"
    out.write_text("yesterday's")
    with pytest.raises(runner.RunnerError) as caught:
        runner.run(notebook, out)
    sentence = str(caught.value)
    assert "n.ipynb, cell In [3] (x = 1): ValueError: no such run" in sentence and "\n" not in sentence
    assert out.read_text() == "yesterday's"
    remains = nbformat.read(tmp_path / "out.ipynb.failed.ipynb", 4)
    assert "before" in str(remains) and remains.cells[-1].execution_count is None
    assert sorted(os.listdir(tmp_path)) == ["n.ipynb", "out.ipynb", "out.ipynb.failed.ipynb"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")
def test_a_warm_kernel_has_the_imports_and_is_a_process_of_its_own(tmp_path):
    notebook = write(tmp_path / "n.ipynb", "import os, sys\nprint(os.getpid(), os.getcwd(), os.environ['MARK'], 'torch' in sys.modules)",
                     "import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "import subprocess\nprint(subprocess.run('exit 3', shell=True))")
    program = f"""
from logitnorm.book import kernels, runner
kernels.start()
runner.run({str(notebook)!r}, {str(tmp_path)!r} + "/a.ipynb")
import os, subprocess, sys
ask = [sys.executable, "-IS", kernels.__file__, os.environ["LOGITNORM_KERNELS"], "runner", {str(notebook)!r}]
assert subprocess.run([*ask, {str(tmp_path)!r} + "/b.ipynb"]).returncode == 0
assert subprocess.run([*ask, {str(tmp_path)!r} + "/c.ipynb", "-p", "nothing", "1"]).returncode == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=tmp_path,
                          env={**{k: v for k, v in os.environ.items() if k != "LOGITNORM_KERNELS"}, "MARK": "here"})
    assert done.returncode == 0, done.stderr
    said = [nbformat.read(tmp_path / f"{name}.ipynb", 4).cells for name in "ab"]
    first, second = (cells[-3].outputs[0].text.split() for cells in said)
    assert first[0] != second[0] and first[1:] == second[1:] == [str(runner.ROOT), "here", "True"]
    for cells in said:
        assert "image/png" in cells[-2].outputs[-1].data and "returncode=3" in cells[-1].outputs[0].text


@pytest.mark.skipif(sys.platform != "linux", reason="warm kernels need Linux")
@pytest.mark.parametrize("asked, said", [(["runner", "--help"], "usage: python -m logitnorm runner"), (["kernel", "--version"], version("ipython"))])
def test_where_the_warm_process_has_died_a_cold_one_does_the_work(tmp_path, asked, said):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "socket"))
    done = subprocess.run([sys.executable, "-IS", kernels.__file__, tmp_path / "socket", *asked], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(said), done.stderr


def test_a_foreign_python_kernel_is_refused(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["/bin/sh", "-c"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(runner.RunnerError, match="runs /bin/sh, not .*jupyter kernelspec remove python3"):
        runner.check_kernel()


# ---------------------------------------------------------------- staging

def executed(*outputs, tags=()):
    return new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("show()", metadata={"tags": list(tags)},
                                                                       outputs=list(outputs))])


def figure(**text):
    return new_output("display_data", {"image/png": PNG}, metadata={"logitnorm": text} if text else {})


def test_alt_text_and_caption_move_from_the_output_to_the_cell():
    notebook = build.ready_for_page(executed(figure(alt="Norms rise to 22.4", caption="Mean norms", classes="dark-light")), "fig1")
    cell = notebook.cells[1]
    assert cell.metadata["mystnb"] == {"image": {"alt": "Norms rise to 22.4", "classes": "dark-light"},
                                       "figure": {"caption": "Mean norms", "name": "fig1-1"}}
    assert cell.outputs[0].metadata == {}


@pytest.mark.parametrize("outputs, tags, sentence", [
    *(([figure(**text)], [], "figure 1 has no alt text") for text in ({}, {"alt": ""}, {"alt": "../_images/a.png"})),
    ([figure(alt="a b c"), figure(alt="d e f")], [], "2 figures in one cell"),
    ([], ["papermill-error-cell-tag"], "failed when it was executed")])
def test_a_notebook_that_must_not_become_a_page_is_refused(outputs, tags, sentence):
    with pytest.raises(build.BookError, match=sentence):
        build.ready_for_page(executed(*outputs, tags=tags), "fig1")


@pytest.mark.parametrize("page, sentence", [
    ("<article>papermill-error</article>", "shows a failed notebook"), (f"<p>{build.ROOT}/x</p>", "a path of this machine"),
    ('<article><img src="a.png" alt=""></article>', "has no alt text"), (None, "the build made no")])
def test_a_built_page_that_must_not_be_published_is_refused(tmp_path, monkeypatch, page, sentence):
    monkeypatch.setattr(build, "pages", lambda: ["book/index"])
    (tmp_path / "book").mkdir()
    if page is not None:
        (tmp_path / "book/index.html").write_text(page)
    with pytest.raises(build.BookError, match=sentence):
        build.check(tmp_path)


def test_parameters_fold_away_and_traces_of_the_machine_go():
    empty, full = (new_output("display_data", data={"text/markdown": text, "text/plain": "<Markdown object>"}) for text in ("", "said"))
    assert build.ready_for_page(executed(empty, full), "page").cells[1].outputs == [full]
    notebook = executed(new_output("stream", name="stdout", text=f"wrote {build.ROOT}/build/runs/x\n"),
                        new_output("stream", name="stderr", text="\n"), tags=["injected-parameters"])
    notebook.metadata["papermill"] = {"input_path": str(build.ROOT)}
    notebook.cells[1].metadata["papermill"] = {"duration": 1}
    cell = build.ready_for_page(notebook, "train").cells[1]
    assert cell.metadata == {"tags": ["injected-parameters", "hide-input"]}
    assert [output.text for output in cell.outputs] == ["wrote build/runs/x\n"]
    assert str(build.ROOT) not in str(notebook)


def test_lines_printed_one_after_the_other_stand_in_one_block():
    printed = [new_output("stream", name=name, text=text) for name, text in
               (("stdout", "epoch 1\n"), ("stdout", "epoch 2\n"), ("stderr", "careful\n"), ("stdout", "epoch 3\n"))]
    outputs = build.ready_for_page(executed(*printed), "train").cells[1].outputs
    assert [output.text for output in outputs] == ["epoch 1\nepoch 2\n", "careful\n", "epoch 3\n"]


# ---------------------------------------------------------------- the HTML

def html_table(*rows):
    head, *body = ["<tr>" + "".join(f'<{tag}><p>{cell}</p></{tag[:2]}>\n' for cell in row) + "</tr>"
                   for tag, row in zip(['th class="head"'] + ["td"] * len(rows), rows)]
    return f'<table class="table"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table>'


def test_cells_of_wide_tables_know_their_columns():
    table = html_table(["", "<code>paper</code>", "here"], ["rate", "0.1", "0.2"], ["batch", "128", "64"])
    labelled = build.label_cells(table)
    assert re.findall('data-label="(.*?)"><p>(.*?)<', labelled) == [
        ("", "rate"), ("paper", "0.1"), ("here", "0.2"), ("", "batch"), ("paper", "128"), ("here", "64")]
    assert re.sub(' data-label="[^"]*"', "", labelled) == table


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", r"\(\tau\)"]])
def test_narrow_tables_and_formulas_as_names_stay_as_they_are(names):
    table = html_table(names, names)
    assert build.label_cells(table) == table


def test_links_of_the_single_page_stay_inside_it():
    def joined(target):
        return re.search('href="(.*?)"', build.joined(f'<a href="{target}">'))[1]

    assert joined("../notebooks/fig1.html") == "#document-notebooks/fig1"
    assert joined("../notebooks/provenance.html#a-run") == "#a-run"
    assert joined("book/index.html#id3") == "#id3" and joined("book/index.html") == "#"
    assert joined("https://example.org/fig1.html") == "https://example.org/fig1.html"


def test_the_single_page_unfolds_results_not_code_and_loads_a_script_once():
    script = '<script src="../_static/explorers.js"></script>'
    text = build.joined(f'<details id="a-run"><details class="admonition hide above-input">{script}{script}'
                       '<script defer src="searchindex.js"></script>')
    assert text == ('<details open id="a-run"><details class="admonition hide above-input">'
                    '<script src="_static/explorers.js"></script>')


@pytest.mark.parametrize("wrong, sentence", [
    ('<a href="#nowhere">', "links to #nowhere"), ('<a href="../notebooks/old.html">', "another page, ../notebooks/old"),
    ('<img src="_images/none.png">', "no picture _images/none.png"),
])
def test_a_single_page_with_a_loose_end_is_refused(tmp_path, wrong, sentence):
    page = tmp_path / "index.html"
    page.write_text('<article><p id="here"><a href="#here"></a><a href="#"></a></p></article>')
    build.check_one_page(tmp_path)
    page.write_text(f"<article>{wrong}</article>")
    with pytest.raises(build.BookError, match=re.escape(sentence)):
        build.check_one_page(tmp_path)


# ---------------------------------------------------------------- the graph, on a tiny book

EXPERIMENTS = """
from dataclasses import dataclass

@dataclass
class Config:
    run_id: str
    method: str
    lr: float = 0.5
    taus: tuple = (1, 2)
    size = "smoke"

    @property
    def changed(self):
        return vars(self)

def configs(size):
    assert size == "smoke"
    return [Config("smoke-ce", "cross_entropy", lr=0.5), Config("smoke-ln", "logitnorm")]


def main(arguments):
    return 0
"""

TRAIN = """
from pathlib import Path
from logitnorm.paths import ROOT
folder = ROOT / runs_dir / run_id
folder.mkdir(parents=True)
(folder / "run.json").write_text(f'{{"lr": {lr}}}')
"""

RESULT = f"""
import base64
from IPython.display import display
from logitnorm.paths import ROOT
print(sizes, runs_dir, sorted(path.parent.name for path in (ROOT / (runs_dir or "data/runs")).glob("*/run.json")))
display({{"image/png": base64.b64decode("{PNG}")}}, raw=True,
        metadata={{"logitnorm": {{"alt": "One dark pixel", "caption": "A *pixel*", "classes": "dark-light"}}}})
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A copy of the build with two trainings and two results notebooks that take no time, built once."""
    root = tmp_path_factory.mktemp("tiny")
    copy(root, EXPERIMENTS)
    (root / "data/paper").mkdir(parents=True)
    (root / "data/runs/small-x").mkdir(parents=True)
    (root / "data/runs/small-x/run.json").write_text("{}")
    (root / "experiments.yaml").write_text("")
    (root / "_toc.yml").write_text(yaml.safe_dump({
        "format": "jb-book", "root": "book/index",
        "parts": [{"caption": "All", "chapters": [{"file": f"notebooks/{name}"} for name in ("a", "b", "train")]}]}))
    (root / "book/_static").mkdir(parents=True)
    shutil.copy2(ROOT / "book/_static/favicon.svg", root / "book/_static")
    (root / "book/index.md").write_text("# Tiny\n\n{numref}`a-1` has a caption {cite:p}`Wei22`.\n\n"
                                        "```{literalinclude} ../lib/logitnorm/paths.py\n```\n\n```{bibliography}\n```\n")
    (root / "book/references.bib").write_text("@misc{Wei22, author={Wei}, title={LogitNorm}, year={2022}}\n")
    write(root / "notebooks/train.ipynb", TRAIN,
          parameters="size = ''\nrun_id = ''\nmethod = 'x'\nlr = 0.1\ntaus = [1, 2]\nruns_dir = ''")
    for name in ("a", "b"):
        write(root / f"notebooks/{name}.ipynb", RESULT, parameters="sizes = ['paper', 'small']\nruns_dir = ''")
    make(root)
    return root


BUILD = ("--cores", "2", "--scheduler", "greedy")


def make(root):
    return jobs(snakemake(root, *BUILD))


def plan(root):
    return jobs(snakemake(root, "--dry-run"))


def test_the_graph_makes_every_page_from_training_to_html(tiny):
    page = (tiny / "build/book/_build/html/notebooks/a.html").read_text()
    assert 'alt="One dark pixel"' in page and "Fig. " in page and "dark-light" in page
    assert "['paper', 'small']  ['small-x']" in page
    smoke = (tiny / "build/smoke/a.ipynb").read_text()
    assert "['smoke'] build/runs ['smoke-ce', 'smoke-ln']" in smoke
    assert "logitnorm" in (tiny / "build/book/_build/html/notebooks/train.html").read_text()


def print_pdf(root, browser):
    return run_module("logitnorm", "book", "pdf", cwd=root, PYTHONPATH=str(root / "lib"), LOGITNORM_ROOT=str(root),
                      LOGITNORM_BROWSER=str(browser), PATH="")


@pytest.mark.slow
def test_the_pages_join_in_one_which_a_browser_prints(tiny):
    printer = tiny / "printer"  # stands for Chromium: copies the page that it is given to where it shall print
    printer.write_text(f"""#!{sys.executable}
import sys, urllib.request
to = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--print-to-pdf="))
open(to, "wb").write(urllib.request.urlopen(sys.argv[-1]).read())
""")
    printer.chmod(0o755)
    done = print_pdf(tiny, printer)
    assert done.returncode == 0, done.stderr
    text = (tiny / "build/book.pdf").read_text()
    assert text.count('alt="One dark pixel"') == 2 and "Fig. 2" in text
    assert (tiny / "build/book/_build/html/index.html").is_file(), "the pages must survive"


@pytest.mark.slow
def test_without_a_browser_the_single_page_is_there_and_one_sentence_says_what_to_install(tiny):
    done = print_pdf(tiny, "no-such-browser")
    assert done.returncode == 1 and "no browser to print with: install Chromium" in done.stderr
    assert (tiny / "build/book/_build/singlehtml/index.html").is_file()


@pytest.mark.slow
def test_a_second_build_does_nothing_and_only_what_changed_is_redone(tiny):
    assert make(tiny) == []
    path = tiny / "notebooks/a.ipynb"
    path.write_text(path.read_text().replace("# A", "# A, changed"))
    assert make(tiny) == ["HTML pages", "results a", "results a, at size smoke"]
    assert "A, changed" in (tiny / "build/book/_build/html/notebooks/a.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name, jobs", [
    ("data/runs/small-y/run.json", ["check of the finished runs", "numbers in prose", "results a", "results b"]),
    ("data/predictions.yaml", ["results a", "results a, at size smoke", "results b", "results b, at size smoke"])])
def test_what_results_read_redoes_them_but_no_training(tiny, name, jobs):
    assert plan(tiny) == []
    (tiny / name).parent.mkdir(exist_ok=True)
    (tiny / name).write_text("{}")
    assert plan(tiny) == ["HTML pages", *jobs]
    (tiny / name).unlink()


@pytest.mark.slow
def test_a_changed_experiment_retrains_that_run_only(tiny):
    path = tiny / "lib/logitnorm/study/experiments.py"
    path.write_text(EXPERIMENTS.replace("lr=0.5", "lr=0.25"))
    planned = plan(tiny)
    path.write_text(EXPERIMENTS)
    assert [job for job in planned if "training" in job] == ["training smoke-ce"]
    assert "results a, at size smoke" in planned and "results a" not in planned


@pytest.mark.slow
def test_a_failing_notebook_stops_the_build_with_its_name_and_error(tiny):
    path, good = tiny / "notebooks/b.ipynb", (tiny / "notebooks/b.ipynb").read_text()
    page = (tiny / "build/book/_build/html/notebooks/b.html").read_text()
    write(path, "1 / 0", parameters="sizes = ['paper', 'small']\nruns_dir = ''")
    done = snakemake(tiny, *BUILD)
    assert done.returncode == 1
    sentences = (tiny / "errors.txt").read_text().splitlines()
    assert any("notebooks/b.ipynb, cell In [2] (1 / 0): ZeroDivisionError: division by zero" in line for line in sentences)
    path.write_text(good)
    assert (tiny / "build/book/_build/html/notebooks/b.html").read_text() == page, "the old pages must survive"


@pytest.mark.slow
def test_a_page_with_a_broken_reference_is_refused(tiny):
    index = tiny / "book/index.md"
    good = index.read_text()
    index.write_text(good + "\n{numref}`no-such-figure`\n")
    done = snakemake(tiny, *BUILD)
    index.write_text(good)
    assert done.returncode == 1 and "no-such-figure" in done.stdout + done.stderr


# ---------------------------------------------------------------- make, and the files around it

def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def fake_python(folder, old=False, venv=True):
    """A stand-in for an interpreter: too old, or without venv, or with a venv whose pip reaches no index."""
    inner = '#!/bin/sh\n[ "$3" = --version ] && exit 0\necho "ERROR: No matching distribution found" >&2\nexit 1\n'
    path = folder / "python"
    path.write_text(f"""#!/bin/sh
case "$1" in
  --version) echo "Python {'3.9.1' if old else '3.11.9'}";;
  -c) exit {int(old)};;
  -m) {'mkdir -p .venv/bin && cp inner .venv/bin/python' if venv else 'exit 1'};;
esac
""")
    (folder / "inner").write_text(inner)
    path.chmod(0o755)
    (folder / "inner").chmod(0o755)
    return path


@pytest.mark.parametrize("kind, sentence", [
    ({"old": True}, "error: Python 3.9.1 is not Python 3.11, 3.12 or 3.13, which the book needs"),
    ({"venv": False}, "error: could not make .venv; on Debian and Ubuntu its parts come with: apt install python3-venv"),
    ({}, "error: the packages could not be installed, the reason stands above"),
    (None, "error: no 'python9' on this machine; install Python 3.11 to 3.13"),
])
def test_make_says_in_one_sentence_what_is_missing(tmp_path, kind, sentence):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    python = "python9" if kind is None else fake_python(tmp_path, **kind)
    done = subprocess.run(["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert len([line for line in done.stderr.splitlines() if line.startswith(sentence)]) == 1, done.stderr
    assert not (tmp_path / ".venv" / ".installed").exists()


@pytest.mark.parametrize("with_uv, torch, wanted", [
    (True, "", "uv pip install --quiet --python .venv/bin/python -c constraints.txt -e .[book,test,dev]"),
    (True, "cpu", "uv pip install --quiet --python .venv/bin/python --torch-backend cpu -c constraints.txt -e .[book,test,dev]"),
    (False, "", "-m pip install --quiet -c constraints.txt -e .[book,test,dev]"),
    (False, "cpu", "-m pip install --quiet --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt "
                   "-e .[book,test,dev]"),
    (False, "gpu", "error: TORCH=gpu is not known: TORCH=cpu installs PyTorch without CUDA")])
def test_uv_installs_where_it_is_and_pytorch_may_come_without_cuda(tmp_path, with_uv, torch, wanted):
    """Only the commands: uv and Python are stand-ins that print what they are asked."""
    python = fake_python(tmp_path)
    (tmp_path / "inner").write_text('#!/bin/sh\n[ "$5" = uv ] && exit 1\necho "$@"\n')
    (tmp_path / "bin").mkdir()
    if with_uv:
        (tmp_path / "bin/uv").write_text('#!/bin/sh\necho "uv $@"\n')
        (tmp_path / "bin/uv").chmod(0o755)
    done = subprocess.run([ROOT / "tools/make_venv", python], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "TORCH": torch})
    assert (done.stdout + done.stderr).splitlines()[-1].startswith(wanted)
    assert done.returncode == int(torch == "gpu")


def test_a_quiet_command_shows_its_steps_and_logs_all(tmp_path):
    done = subprocess.run([ROOT / "tools/quiet", tmp_path / "log", "sh", "-c",
                           "echo noise; echo 'step: results a  3 s'; printf more >&2; exit 7"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "results a  3 s\n", "")
    assert set((tmp_path / "log").read_text().splitlines()) >= {"noise", "more", "step: results a  3 s"}


def test_readme_names_the_commands_that_exist():
    text, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.M))
    named = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z-]+)\b", text))
    assert {"test", "book"} <= named <= targets


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_front_files_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_conda_installs_the_same_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert f"python{project()['requires-python']}" in conda and "pip" in conda
    extras = ",".join(project()["optional-dependencies"])
    assert pip == ["--constraint constraints.txt", f"--editable .[{extras}]"]
    assert f"-c constraints.txt -e '.[{extras}]'" in (ROOT / "tools/make_venv").read_text()
    libraries = {re.split("[<>=]", name)[0] for name in project()["dependencies"]}
    assert not libraries & {re.split("[<>=]", name)[0] for name in conda}, "conda and pip must not both bring one"


def test_ranges_hold_what_is_pinned_and_the_pytorch_versions_in_use():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    lines = [line.partition(";")[0] for line in lines]  # a pin may be for some versions of Python
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    wanted = project()["dependencies"] + [name for extra in project()["optional-dependencies"].values() for name in extra]
    used = {"torch": ["2.11.0", "2.15.0"], "torchvision": ["0.26.0", "0.29.0"]}
    for requirement in map(Requirement, wanted):
        for version_in_use in [pins[canonicalize_name(requirement.name)], *used.get(requirement.name, ())]:
            assert requirement.specifier.contains(version_in_use), requirement
        assert not (requirement.name == "jupyter-book" and requirement.specifier.contains("2.0.0")), "another program"


def test_citation_agrees_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["title"] and citation["message"] and citation["authors"]
    assert citation["version"] == project()["version"] and citation["license"] == project()["license"]
    assert citation["repository-code"] == build.repository()[0]
    assert len(citation["references"]) == 2


def test_colab_links_survive_the_theme_options():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert config["sphinx"]["recursive_update"] is True, "html_theme_options would erase the launch buttons"
    assert config["repository"]["path_to_book"] == "" and config["only_build_toc_files"] is True


def test_ci_runs_the_tests_and_the_book():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert re.findall(r"^make (test-all|book|site)$", script.read_text(), re.M) == ["test-all", "book", "site"]
