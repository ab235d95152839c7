"""Run one notebook with papermill, but refuse a wrong parameter before anything executes.

    python -m logitnorm runner NOTEBOOK OUT [-p NAME VALUE]... [-f PARAMETERS.yaml]

papermill itself runs a notebook happily with a misspelt parameter (it only logs a warning), so that a night of
training can turn out to have used the defaults. Here the name must be one of the notebook's own, and the value
must have the type of its default. OUT is written whole or not at all; a failed run is left in OUT.failed.ipynb.
"""

import argparse
import ast
import difflib
import os
import sys
import time
from pathlib import Path

import yaml

from logitnorm.paths import ROOT
from logitnorm.study import report, say

BARE_PYTHON = ("python", "python3", f"python3.{sys.version_info.minor}")


class RunnerError(Exception):
    """A refusal or failure that one sentence explains."""


def parameters(notebook: Path) -> dict:
    """The parameters of a notebook and their defaults, read from its cell tagged `parameters`.

    Raises RunnerError where the file is no notebook, has not exactly one such cell, or a default is not a literal.
    """
    import nbformat

    notebook = Path(notebook)
    if not notebook.is_file():
        raise RunnerError(f"{notebook}: no such notebook")
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat raises many kinds: bad JSON, bad schema, bad encoding
        raise RunnerError(f"{notebook}: not a readable notebook ({_one_line(error)})") from error
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise RunnerError(f"{notebook}: {len(tagged)} cells are tagged 'parameters'; tag exactly one code cell")
    return literal_assignments(tagged[0].source, where=f"{notebook}, parameters cell")


def literal_assignments(source: str, where: str) -> dict:
    """{name: value} of a cell that holds nothing but `name = literal` (annotations allowed)."""
    found = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise RunnerError(f"{where}, line {error.lineno}: not Python ({error.msg}); only 'name = literal' may stand "
                          "here") from None
    for statement in statements:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
            raise RunnerError(f"{where}, line {statement.lineno}: only 'name = literal' may stand here")
        try:
            value = ast.literal_eval(statement.value)
        except (ValueError, TypeError) as error:
            raise RunnerError(f"{where}, line {statement.lineno}: the default must be a literal") from error
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            if not isinstance(target, ast.Name):
                raise RunnerError(f"{where}, line {statement.lineno}: only 'name = literal' may stand here")
            found[target.id] = value
    return found


def check(notebook: Path, given: dict) -> dict:
    """The given parameters, in the types of the notebook's defaults; RunnerError where one does not fit."""
    known = parameters(notebook)
    return {name: _fit(notebook, name, value, known) for name, value in given.items()}


def _fit(notebook, name, value, known):
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RunnerError(f"{notebook}: unknown parameter {name!r}.{hint} Known: {', '.join(known) or 'none'}.")
    default = known[name]
    if default is None:  # no type to compare with
        return value
    allowed = {float: (int, float), list: (list, tuple), tuple: (list, tuple)}.get(type(default), type(default))
    if not isinstance(value, allowed) or isinstance(value, bool) != isinstance(default, bool):  # to Python True is an int
        raise RunnerError(f"{notebook}: parameter {name!r} must be {type(default).__name__} like its default "
                          f"{default!r}, got {type(value).__name__} {value!r}")
    return type(default)(value)


def check_run(notebook: Path, given: dict) -> None:
    """RunnerError for a folder of runs that is a file, for sizes that there are not and, of a notebook whose parameters are
    those of a run, for settings that cannot be trained."""
    defaults = parameters(notebook)
    settings = {**defaults, **given}
    known = ["smoke", *defaults.get("sizes", ())]  # config.SIZES, without the import of torch
    if "sizes" in given and (not given["sizes"] or any(size not in known for size in given["sizes"])):
        raise RunnerError(f"{notebook}: sizes should be a list of one or more of {', '.join(known)}, got {given['sizes']!r}")
    if (folder := settings.get("runs_dir")) and Path(ROOT, folder).is_file():
        raise RunnerError(f"{notebook}: runs_dir {folder} is a file; name a folder for the runs")
    if not {"id_dataset", "architecture", "method"} <= set(settings):
        return
    if str(folder).startswith("+"):
        raise RunnerError(f"{notebook}: runs_dir {folder} is for notebooks that read runs; training writes into {folder[1:]}")
    from logitnorm.config import Config  # they import torch, which no other notebook needs here
    from logitnorm.data import DataError
    from logitnorm.study import preset, training

    try:
        training.require_batch(preset.config(settings.get("preset", "full"), **{name: settings.get(name) for name in Config.model_fields}))
    except (ValueError, DataError) as error:
        raise RunnerError(f"{notebook}: {error}") from error


def check_kernel() -> None:
    """RunnerError unless the kernel `python3` runs this very Python (a kernel in the user's home may shadow it)."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel as error:
        raise RunnerError("no Jupyter kernel 'python3' is installed; run: make book "
                          "(or pip install ipykernel)") from error
    program = spec.argv[0]  # jupyter_client replaces a bare 'python' with sys.executable
    if program not in BARE_PYTHON and not (os.path.exists(program) and os.path.samefile(program, sys.executable)):
        raise RunnerError(f"the Jupyter kernel 'python3' in {spec.resource_dir} runs {program}, not {sys.executable}; "
                          f"remove it with: jupyter kernelspec remove python3")


def run(notebook: Path, out: Path, given: dict | None = None) -> Path:
    """Execute a notebook with the given parameters in the repository's root; return the path of the executed one.

    Raises RunnerError with the notebook, the cell and the error in one sentence.
    """
    notebook, out = Path(notebook), Path(out)
    given = check(notebook, given or {})
    check_run(notebook, given)
    if out.is_dir() or out.resolve() == notebook.resolve():
        raise RunnerError(f"{out} is {'a folder' if out.is_dir() else 'the notebook itself'}; name a new one, e.g. build/{notebook.name}")
    part = out.with_name(out.stem + ".part.ipynb")  # papermill wants the ending .ipynb
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except OSError as error:
        raise RunnerError(f"{out} cannot be written ({error.filename}: {error.strerror}); name another file") from error
    check_kernel()
    import papermill
    from papermill.exceptions import PapermillExecutionError

    warm = {}
    if os.path.exists(os.environ.get("LOGITNORM_KERNELS", "")):  # not where a cluster runs this on another machine
        from . import kernels

        warm = {"kernel_manager_class": kernels.manager()}
    failed = out.with_name(out.name + ".failed.ipynb")
    name = _shown(notebook)
    say(f"{name}: running")
    start = time.monotonic()
    try:
        papermill.execute_notebook(str(notebook), str(part), parameters=given, kernel_name="python3", cwd=str(ROOT),
                                   progress_bar=False, stdout_file=_Prefixed(name),
                                   extra_arguments=["--log-level=ERROR"], **warm)
    except PapermillExecutionError as error:
        part.replace(failed)
        code = error.source.strip().partition("\n")[0]
        raise RunnerError(f"{name}, cell In [{error.exec_count}] ({code}): {error.ename}: {_one_line(error.evalue)} "
                          f"(the notebook up to there: {_shown(failed)})") from error
    except Exception as error:  # the kernel died or never started: say so for this notebook
        if part.exists():
            part.replace(failed)
        raise RunnerError(f"{name}: the run broke off: {type(error).__name__}: {_one_line(error)}") from error
    os.replace(part, out)
    failed.unlink(missing_ok=True)
    say(f"{name}: done in {time.monotonic() - start:.0f} s")
    return out


def _given(notebook: Path, file: Path | None, pairs: list) -> dict:
    """The parameters of the command line, those of the file first; RunnerError names what cannot be read."""
    given, source = {}, file
    try:
        if file:
            given = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
                raise RunnerError(f"{file}: expected lines 'name: value'")
        defaults = parameters(notebook)
        for source, value in pairs:
            given[source] = value if isinstance(defaults.get(source), str) else _literal(value)
    except OSError as error:
        raise RunnerError(f"{error.filename} cannot be read ({error.strerror}); name a YAML file with parameters") from error
    except (yaml.YAMLError, ValueError) as error:
        raise RunnerError(f"{'parameter ' * (source != file)}{source} is not valid YAML: {_one_line(error)}") from error
    return given


def _literal(text: str):
    """A value from the command line: a Python literal (1e-3, [80, 140]) or else YAML (true, null, a bare word)."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError):
        return yaml.safe_load(text)


class _Prefixed:
    """What the notebook prints, line by line on our standard output, each line with the notebook's name."""

    def __init__(self, name):
        self.name, self.rest = name, ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if line.strip():
                say(f"{self.name}: {line}")

    def flush(self):
        pass


def _one_line(error) -> str:
    return " ".join(str(error).split())[:300]


def _shown(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(ROOT.resolve())) if path.is_relative_to(ROOT.resolve()) else str(path)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm runner", description=__doc__.split("\n\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("-p", dest="pairs", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="one parameter; the value as a Python literal or in YAML")
    parser.add_argument("-f", dest="file", type=Path, help="a YAML file with several parameters")
    options = parser.parse_args(arguments)
    try:
        run(options.notebook, options.out, _given(options.notebook, options.file, options.pairs))
    except RunnerError as error:
        return report(error)
    return 0
