"""Adopt a number: the runs of size full that are missing, what each gives and costs, and the parameters that train it in Colab."""

from functools import cache
from html import escape

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from logitnorm import data
from logitnorm.config import TAU, Config
from logitnorm.train import network

from . import count, experiments, ledger, paper
from .training import TRAIN_IMAGES

# GPU -> (dense peak of its 16-bit tensor cores in TFLOP/s, from its data sheet; the share of it that these narrow nets
# are assumed to use). The shares are assumptions, not measurements: a narrow net leaves a large GPU mostly idle.
GPUS = {"T4": (65, 0.05), "L4": (121, 0.04), "H100": (989, 0.02)}


def missing(loaded: list) -> list[list[Config]]:
    """The runs of size full that experiments.yaml lists and nobody has handed in, seeds of the same run together."""
    done = {run.id for run in loaded}
    groups: dict[str, list[Config]] = {}
    for config in experiments.configs(size="full"):
        if config.run_id not in done:
            groups.setdefault(config.run_id.rpartition("-seed")[0], []).append(config)
    return list(groups.values())


@cache
def forward_flops(architecture: str, id_dataset: str, method: str) -> float:
    """Floating-point operations of one image's forward pass, two for a multiply-add."""
    net = network(Config(architecture=architecture, id_dataset=id_dataset, method=method, dropout=0.0, ood_sets=["isun"],
                         history_ood="isun")).eval()  # the OOD sets do not matter, but must not be the ID set
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, data.SIZE, data.SIZE))
    return float(counter.get_total_flops())


def training_flops(config: Config) -> float:
    """Operations of all epochs: a step costs three forward passes (one forward, two backward)."""
    once = forward_flops(config.architecture, config.id_dataset, config.method)
    return 3 * once * TRAIN_IMAGES[config.id_dataset] * config.epochs


def hours(config: Config, gpu: str) -> float:
    """An estimate: the run's operations over the share of the GPU's peak that GPUS assumes."""
    peak, share = GPUS[gpu]
    return training_flops(config) / (peak * 1e12 * share) / 3600


def parameters(config: Config) -> str:
    """What to write into the first cell of the training notebook for this run."""
    tau = {"tau": config.tau} if config.method in TAU else {}
    of_run = {"method": config.method, **tau, **config.changed, "seed": config.seed}
    kept = {name: value for name, value in of_run.items() if not name.startswith("keep_")}
    return "; ".join(['preset = "full"', *(f"{name} = {list(value) if isinstance(value, tuple) else value!r}".replace("'", '"')
                                           for name, value in kept.items())])


def printed(config: Config) -> tuple[int, str]:
    """How many printed numbers of both papers the run stands beside, and where they are printed ("" for none).

    Those of its network, ID set and method; of LogitNorm at the tau of the tables, and a point of Figure 5 at any of its tau.
    """
    rows = paper.numbers().drop_duplicates(["table", *paper.KEYS])
    rows = rows[(rows["id_dataset"] == config.id_dataset) & (rows["method"] == config.method)
                & (rows["architecture"] == paper.counterpart_architecture(config.architecture))]
    if not paper.in_tables(config.method, config.tau, config.cutout, config.id_dataset):
        rows = rows[:0]
    tables = sorted(name for name in rows["table"].unique() if not name.startswith("text-"))
    where = [f"Table{'s' * (len(tables) > 1)} {', '.join(tables)}"] if tables else []
    where += [name.replace("text-", "Section ") for name in rows["table"].unique() if name.startswith("text-")]
    second = ledger.confidence_table()
    second = second[(second["id_dataset"] == config.id_dataset) & (second["method"] == config.method)
                    & (second["architecture"] == config.architecture) & (config.cutout > 0)]
    where += ["Table 1 of Learned Confidence"] if len(second) else []
    if (config.method, config.id_dataset, config.architecture) == ("logitnorm", "cifar10", "wrn40_2"):
        where += ["Figure 5"] * int(np.isclose(paper.figure(5)["tau"], config.tau).sum())
    return len(rows) + len(second) + where.count("Figure 5"), "; ".join(where)


def by_worth(loaded: list) -> list[tuple[list[Config], int, str]]:
    """`missing`, each group with what `printed` says of it: most numbers for an hour of a T4 first.

    A group of which a seed is there already gives a spread, but no number that had none: 0.
    """
    done = {run.id.rpartition("-seed")[0] for run in loaded}
    groups = [(group, *printed(group[0])) for group in missing(loaded)]
    groups = [(group, 0, f"the spread of {where}") if group[0].run_id.rpartition("-seed")[0] in done else (group, count, where)
              for group, count, where in groups]
    return sorted(groups, key=lambda one: -one[1] / hours(one[0][0], "T4"))  # equals stay in the order of experiments.yaml


def markdown(loaded: list, colab: str, first: int = 6) -> str:
    """The page's part that follows from the runs: loaded, the runs of size full; colab, where the notebook opens.

    The `first` groups as cards that one can act on, the others as a folded table.
    """
    counted = count.counted(loaded).set_index("where")
    have = " and ".join(f"{counted.loc[f'{name}, all', 'ours']:.0f} of the {counted.loc[f'{name}, all', 'printed']:.0f} numbers "
                        f"of {name}" for name in ("LogitNorm", "Learned Confidence"))
    groups = by_worth(loaded)
    if not groups:
        return f"At size full there are {have}, and no run is missing.\n"
    two = groups[:2]
    text = (f"At size full there are {have}. The first two of the runs below would add **{sum(number for _, number, _ in two)} "
            f"numbers in about {sum(hours(group[0], 'T4') for group, *_ in two):.1f} hours of a T4**, a GPU that Colab lends for nothing.")
    shares = ", ".join(f"{gpu} {100 * share:g} % of {peak} TFLOP/s" for gpu, (peak, share) in GPUS.items())
    cards = "\n".join(_card(*group, colab) for group in groups[:first])
    rest = groups[first:]
    table = _table(rest, colab) if rest else ""
    estimate = (f"An <strong>estimate</strong>, for one run: its floating-point operations over an assumed share of the GPU's 16-bit peak "
                f"({shares}). The notebook measures its own first steps and prints a better one before it starts.")
    return (f"{text}\n\n```{{raw}} html\n<ol class=\"adopt\">\n{cards}\n</ol>\n{table}<details class=\"record\"><summary>How the "
            f"hours are estimated</summary><p>{estimate}</p></details>\n```\n\n{sum(len(group) for group, *_ in groups)} runs are "
            "missing, all seeds counted; `python -m logitnorm experiments --list --size full` names them all.\n")


def _name(config: Config) -> str:
    """'LogitNorm, τ = 0.04, WRN-40-2 on CIFAR-10'."""
    parts = [paper.LABELS[config.method], *[f"τ = {config.tau:g}"] * (config.method in TAU),
             *[f"Cutout {config.cutout}"] * (config.cutout > 0)]
    return f"{', '.join(parts)}, {paper.network(config.architecture)} on {paper.title(config.id_dataset)}"


def _cost(config: Config) -> str:
    return ", ".join(f"{gpu} {hours(config, gpu):.1f} h" for gpu in GPUS)


def _card(group: list[Config], number: int, where: str, colab: str) -> str:
    config = group[0]
    gives = f"<strong>{number} printed numbers</strong>: {escape(where)}" if number else escape(where or "no printed number")
    return (f'<li><p class="adopt-name"><strong>{escape(_name(config))}</strong>, seed {config.seed}'
            f'<a href="{escape(colab)}">Open in Colab</a></p><p>{gives}. {_cost(config)}.</p>'
            f'<div class="highlight"><pre>{escape(parameters(config))}</pre></div></li>')


def _table(groups: list, colab: str) -> str:
    """Every other group as a folded table: what it is, which seeds, what it gives, what it costs, what to put into the first cell."""
    rows = "".join(
        f'<tr><th scope="row">{escape(_name(group[0]))}</th><td data-label="seeds">{", ".join(str(one.seed) for one in group)}</td>'
        f'<td data-label="printed numbers">{number}</td><td data-label="hours a run">{_cost(group[0])}</td>'
        f'<td data-label="first cell"><code>{escape(parameters(group[0]))}</code> <a href="{escape(colab)}">open</a></td></tr>\n'
        for group, number, _ in groups)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("run", "seeds", "numbers", "hours a run", "first cell"))
    return (f'<details class="record"><summary>{len(groups)} further kinds of run</summary>\n<table class="dataframe adopt">'
            f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></details>\n")
