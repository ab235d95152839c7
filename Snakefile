# The graph train -> results -> book. Every training and every results notebook is one papermill execution by logitnorm.book.runner.
#
#   build/runs/RUN/                   a smoke training (experiments.yaml), its notebook beside it: build/runs/RUN.ipynb
#   build/executed/NAME.ipynb         a results notebook on the finished runs in data/runs/ (sizes full, medium and small)
#   build/smoke/NAME.ipynb            the same notebook on the smoke trainings: does all of it work, image to table?
#   build/checked.txt                 the finished runs are whole, as experiments.yaml lists them, and their metrics follow from
#                                     their scores
#   build/generated/                  what prose pages include of the runs: the ledger in small, the answers
#   build/book/_build/html/           the pages
#
# Each job ends with a line "step: NAME  12 s", which make shows; all else that is said belongs in a log.
#
# The target `runs` trains the runs of experiments.yaml, at any size, into data/runs/RUN/ and data/runs/RUN.ipynb:
#
#   snakemake runs --cores 8 --resources gpu=4 --config size=full only='logitnorm.*seed[12]$'
#
# size, only      which runs: of this size (default: all), whose id matches this regular expression (default: all)
# official        1: score the official image sets, which are downloaded, instead of their stand-ins
# runs_dir        where they go (default: data/runs)
# gpu             how much of the resource `gpu` one run takes (default 1). `--resources gpu=4` lets four runs train at
#                 the same time, whatever the cores; without that limit the cores alone decide.
# gpus            on one machine with n GPUs: run i of the list trains on GPU i modulo n and takes 1 of the resource
#                 gpu0, gpu1, ...; `--resources gpu0=3 gpu1=3` lets three runs share each. 0: train on the CPU.
#
# A run folder is never an output here. Snakemake deletes the outputs of a job before it starts and when it fails; a
# training writes its folder itself, continues from its checkpoint, and never touches a complete one.
import re
import shlex
import sys
from pathlib import Path

import yaml

from logitnorm.book import kernels

if workflow.is_main_process and "size" not in config:
    kernels.start()  # it imports while the graph is made; a training of hours has a process of its own

from logitnorm import study
from logitnorm.book import build, runner
from logitnorm.study import experiments

# Snakemake runs as many jobs as there are cores, so each job keeps to one thread.
shell.prefix("set -euo pipefail; export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; ")

PY = sys.executable
LOGITNORM = f'{PY} -IS {shlex.quote(kernels.__file__)} "${{LOGITNORM_KERNELS:-}}"'  # a fork where there are warm kernels
RUN = f"{LOGITNORM} runner"
PAGES = build.pages()
NOTEBOOKS = [Path(page).name for page in PAGES if page.startswith("notebooks/")]
RESULTS = [name for name in NOTEBOOKS if name != "train"]
FINISHED = sorted(str(path) for path in Path("data/runs").glob("*/run.json"))
MEASURED = sorted(str(path) for folder in ("benchmarks", "official") for path in Path("data", folder).glob("*.json"))
THUMBNAILS = sorted(str(path) for path in Path("data/thumbnails").glob("*"))
PAPER = sorted(str(path) for path in Path("data/paper").glob("*.*"))
MODULES = sorted(str(path) for kind in ("*.py", "*.yaml") for path in Path("lib/logitnorm").rglob(kind))
LIB = [path for path in MODULES if Path(path).stem not in ("build", "experiments", "runner", "sphinx_extension")]  # notebooks use these
# what a results notebook reads beside the library and the runs; evidence takes the addresses in _config.yml from build
READ = [*PAPER, *MEASURED, *THUMBNAILS, *map(str, Path("data").glob("predictions.yaml")), "_config.yml", "lib/logitnorm/book/build.py"]

RUNS_DIR = config.get("runs_dir", "data/runs")
GPUS = config.get("gpus")  # None: whatever the machine, or the cluster, shows a job

try:
    AT_SMOKE = [name for name in RESULTS if "sizes" in runner.parameters(Path(f"notebooks/{name}.ipynb"))]
    CONFIGS = experiments.configs(size="smoke")
    CHOSEN = experiments.configs(size=config["size"], only=str(config.get("only", ""))) if "size" in config else []
    if int(config.get("official", 0)):
        CHOSEN = [experiments.official(run) for run in CHOSEN]
    if "size" in config and not CHOSEN:
        raise ValueError(f"no run of experiments.yaml has size {config['size']} and an id that matches "
                         f"{config.get('only', '')!r}; python -m logitnorm experiments --list prints all of them")
except (runner.RunnerError, ValueError) as error:
    study.report(error)
    raise WorkflowError(str(error))


def settings(config):
    """The parameters of notebooks/train.ipynb that make it this run: its size, and what differs from the size."""
    return {"size": config.size} | {name: list(value) if isinstance(value, tuple) else value
                                    for name, value in config.changed.items()}


def flags(given):
    """Parameters as command line flags of logitnorm.book.runner."""
    as_text = {name: value if isinstance(value, str) else repr(value) for name, value in given.items()}
    return " ".join(f"-p {name} {shlex.quote(text)}" for name, text in as_text.items())


def step(name, command):
    """A command, and at its end the line that make shows of it."""
    return f"""{command}
printf 'step: %-62s %4d s\\n' "{name}" $SECONDS"""


def device(run):
    """The GPU of this machine on which a run trains; -1, as CUDA has it, is none."""
    return list(LISTED).index(run) % GPUS if GPUS else -1


def chosen(wildcards):
    """The notebooks of the runs that --config names; nothing is trained unless somebody says what."""
    if not LISTED:
        raise WorkflowError("name the runs to train: snakemake runs --config size=small only='regular expression'")
    return [f"{RUNS_DIR}/{run}.ipynb" for run in LISTED]


SMOKE = {config.run_id: settings(config) for config in CONFIGS}
LISTED = {config.run_id: settings(config) for config in CHOSEN}
SHOWN = next(config.run_id for config in CONFIGS if config.method == "logitnorm")  # the training in the book

if workflow.is_main_process:
    for run in LISTED:  # a notebook whose run folder was taken away must not keep the run from being trained again, or planned
        notebook = Path(RUNS_DIR, f"{run}.ipynb")
        if notebook.exists() and not notebook.with_suffix("").joinpath("run.json").exists():
            notebook.rename(notebook.with_suffix(".old.ipynb"))


wildcard_constraints:
    run="|".join(map(re.escape, SMOKE)),
    listed="|".join(map(re.escape, LISTED)) or "nothing",
    name="|".join(map(re.escape, RESULTS)),


rule html:
    input:
        pages=[f"{page}.md" for page in PAGES if not page.startswith("notebooks/")],
        other=[str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()],
        config=sorted(str(path) for path in Path(".").glob("*.y*ml")),  # experiments.yaml too
        runs=FINISHED,
        results=expand("build/executed/{name}.ipynb", name=RESULTS),
        smoke=expand("build/smoke/{name}.ipynb", name=AT_SMOKE),
        train=f"build/runs/{SHOWN}.ipynb",
        generated="build/generated",
        checked="build/checked.txt",  # no page of a run that is damaged
        lib=MODULES,
        paper=PAPER,
    output:
        "build/book/_build/html/index.html",
    message: "HTML pages"
    shell:
        step("HTML pages", "{LOGITNORM} book build --train {input.train}")


rule check:
    input:
        runs=FINISHED,
        files=sorted(str(path) for path in Path("data/runs").glob("*/*.*") if path.name != "run.json"),
        config="experiments.yaml",
        lib=MODULES,
    output:
        "build/checked.txt"
    priority: 1  # long: among the first, so that nothing waits for it at the end
    message: "check of the finished runs"
    shell:  # a run that is damaged, or not as experiments.yaml lists it, must not be published
        step("check of the finished runs", "{LOGITNORM} experiments --check; date > {output}")


rule prose:
    input:
        runs=FINISHED,
        ask=sorted(str(path) for path in Path("book").rglob("ask*") if path.is_file()),
        thumbnails=THUMBNAILS,
        config=["_config.yml", "experiments.yaml"],
        lib=MODULES,
        paper=PAPER,
        benchmarks=MEASURED,
    output:
        directory("build/generated")
    priority: 1
    message: "numbers in prose"
    shell:
        step("numbers in prose", "{LOGITNORM} book prose")


rule runs:
    input:
        chosen,


rule train:
    input:
        notebook="notebooks/train.ipynb",
        lib=LIB,
    output:
        run=directory("build/runs/{run}"),
        notebook="build/runs/{run}.ipynb",
    priority: 2
    params:
        flags=lambda wildcards: flags(SMOKE[wildcards.run] | {"runs_dir": "build/runs"}),
    message: "training {wildcards.run}"
    shell:
        step("training {wildcards.run}", "{RUN} {input.notebook} {output.notebook} {params.flags}")


rule train_listed:
    input:
        ancient("notebooks/train.ipynb"),  # a later version of it is no reason to train again
    output:
        update(f"{RUNS_DIR}/{{listed}}.ipynb"),  # a failed job keeps the old one
    params:
        flags=lambda wildcards: flags(LISTED[wildcards.listed] | {"runs_dir": RUNS_DIR}),
    resources:
        gpu=int(config.get("gpu", 1)),
        # among the resources because a parameter that changes would be a reason to run the job again
        device=lambda wildcards: "" if GPUS is None else f"CUDA_VISIBLE_DEVICES={device(wildcards.listed)}",
        **{f"gpu{i}": lambda wildcards, i=i: int(device(wildcards.listed) == i) for i in range(GPUS or 0)},
    message: "training {wildcards.listed}"
    shell:
        step("training {wildcards.listed}", "{resources.device} {PY} -m logitnorm runner {input} {output} {params.flags}")


rule results:
    input:
        notebook="notebooks/{name}.ipynb",
        lib=LIB,
        read=READ,
        runs=FINISHED,
    output:
        "build/executed/{name}.ipynb",
    message: "results {wildcards.name}"
    shell:
        step("results {wildcards.name}", "{RUN} {input.notebook} {output}")


rule results_at_smoke:
    input:
        notebook="notebooks/{name}.ipynb",
        lib=LIB,
        read=READ,
        runs=expand("build/runs/{run}", run=SMOKE),
    output:
        "build/smoke/{name}.ipynb",
    message: "results {wildcards.name}, at size smoke"
    shell:
        step("results {wildcards.name}, at size smoke",
             "{RUN} {input.notebook} {output} -p sizes '[\"smoke\"]' -p runs_dir build/runs")
