# The graph train -> results -> book. Every node but the last is one papermill execution by logitnorm.runner.
#
#   build/runs/RUN/                   a smoke training (experiments.yaml), its notebook in build/executed/train/
#   build/executed/NAME.ipynb         a results notebook on the finished runs in data/runs/ (sizes paper and small)
#   build/smoke/NAME.ipynb            the same notebook on the smoke trainings: does all of it work, image to table?
#   build/book/_build/html/           the pages
#
# The runs in data/runs/ are inputs here, never outputs: `make runs` trains them, `make book` only reads them.
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import yaml

from logitnorm import experiments, runner

# Snakemake runs as many jobs as there are cores, so each job keeps to one thread.
shell.prefix("set -euo pipefail; export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; ")

PY = sys.executable
TOC = yaml.safe_load(Path("_toc.yml").read_text())
PAGES = [TOC["root"]] + [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
NOTEBOOKS = [Path(page).name for page in PAGES if page.startswith("notebooks/")]
RESULTS = [name for name in NOTEBOOKS if name != "train"]
FINISHED = sorted(str(path) for path in Path("data/runs").glob("*/run.json"))
PAPER = sorted(str(path) for path in Path("data/paper").glob("*.csv"))
MODULES = sorted(str(path) for path in Path("lib/logitnorm").glob("*.py"))
LIB = [path for path in MODULES if Path(path).stem not in ("book", "experiments", "runner")]  # notebooks use these

try:
    AT_SMOKE = [name for name in RESULTS if "sizes" in runner.parameters(Path(f"notebooks/{name}.ipynb"))]
    TRAIN_DEFAULTS = runner.parameters(Path("notebooks/train.ipynb"))
    CONFIGS = experiments.configs(size="smoke")
except (runner.RunnerError, ValueError) as error:
    runner.report(error)
    raise WorkflowError(str(error))


def settings(config):
    """The parameters of notebooks/train.ipynb that make it this run: those that differ from its defaults."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {name: value for name, value in plain.items() if value != TRAIN_DEFAULTS.get(name)}


def flags(given):
    """Parameters as command line flags of logitnorm.runner."""
    as_text = {name: value if isinstance(value, str) else repr(value) for name, value in given.items()}
    return " ".join(f"-p {name} {shlex.quote(text)}" for name, text in as_text.items())


SMOKE = {config.run_id: settings(config) for config in CONFIGS}
SHOWN = next(config.run_id for config in CONFIGS if config.method == "logitnorm")  # the training in the book


wildcard_constraints:
    run="|".join(SMOKE),
    name="|".join(RESULTS),


rule html:
    input:
        pages=[f"{page}.md" for page in PAGES if not page.startswith("notebooks/")],
        other=[str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()],
        config=["_config.yml", "_toc.yml"],
        results=expand("build/executed/{name}.ipynb", name=RESULTS),
        smoke=expand("build/smoke/{name}.ipynb", name=AT_SMOKE),
        train=f"build/executed/train/{SHOWN}.ipynb",
        lib=MODULES,
        paper=PAPER,
    output:
        "build/book/_build/html/index.html",
    message: "HTML pages"
    threads: workflow.cores
    shell:
        "{PY} -m logitnorm.book build --train {input.train}"


rule train:
    input:
        notebook="notebooks/train.ipynb",
        lib=LIB,
    output:
        run=directory("build/runs/{run}"),
        notebook="build/executed/train/{run}.ipynb",
    params:
        flags=lambda wildcards: flags(SMOKE[wildcards.run] | {"runs_dir": "build/runs"}),
    message: "training {wildcards.run}"
    shell:
        "{PY} -m logitnorm.runner {input.notebook} {output.notebook} {params.flags}"


rule results:
    input:
        notebook="notebooks/{name}.ipynb",
        lib=LIB,
        paper=PAPER,
        runs=FINISHED,
    output:
        "build/executed/{name}.ipynb",
    message: "results {wildcards.name}"
    shell:
        "{PY} -m logitnorm.runner {input.notebook} {output}"


rule results_at_smoke:
    input:
        notebook="notebooks/{name}.ipynb",
        lib=LIB,
        paper=PAPER,
        runs=expand("build/runs/{run}", run=SMOKE),
    output:
        "build/smoke/{name}.ipynb",
    message: "results {wildcards.name}, at size smoke"
    shell:
        "{PY} -m logitnorm.runner {input.notebook} {output} -p sizes '[\"smoke\"]' -p runs_dir build/runs"
