"""Adopt a number: the runs of size full that are missing, what each gives and costs, and the parameters that train it in Colab."""

from functools import cache

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from logitnorm import data
from logitnorm.config import TAU, Config
from logitnorm.train import network

from . import experiments, ledger, paper
from .training import TRAIN_IMAGES

# GPU -> (dense peak of its 16-bit tensor cores in TFLOP/s, from its data sheet; the share of it that these narrow nets
# use). The H100's was measured (data/benchmarks/gpu-h100-wrn40_2.json), the others are assumed: a narrow net leaves a large GPU mostly idle.
GPUS = {"T4": (65, 0.05), "L4": (121, 0.04), "H100": (989, 0.05)}


def missing(loaded: list) -> list[list[Config]]:
    """The runs of size full that experiments.yaml lists and nobody has handed in, seeds of the same run together."""
    done = {run.id for run in loaded}
    absent = [config for config in experiments.configs(size="full") if config.run_id not in done]
    return [group for _, group in paper.grouped(absent, lambda config: config.run_id.rpartition("-seed")[0])]


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
    """An estimate: the run's operations over the share of the GPU's peak in GPUS."""
    peak, share = GPUS[gpu]
    return training_flops(config) / (peak * 1e12 * share) / 3600


def parameters(config: Config) -> str:
    """The line that makes the training notebook train this run, added to its cell of parameters."""
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
    rows = paper.where(rows, id_dataset=config.id_dataset, method=config.method,
                       architecture=paper.counterpart_architecture(config.architecture))
    if not paper.in_tables(config.method, config.tau, config.cutout, config.id_dataset):
        rows = rows[:0]
    tables = sorted(name for name in rows["table"].unique() if not name.startswith("text-"))
    where = [f"Table{'s' * (len(tables) > 1)} {', '.join(tables)}"] if tables else []
    where += [name.replace("text-", "Section ") for name in rows["table"].unique() if name.startswith("text-")]
    second = (config.cutout > 0) * len(paper.where(ledger.confidence_table(), id_dataset=config.id_dataset, method=config.method,
                                                   architecture=config.architecture))
    where += ["Table 1 of Learned Confidence"] if second else []
    if (config.method, config.id_dataset, config.architecture) == ("logitnorm", "cifar10", "wrn40_2"):
        where += ["Figure 5"] * int(np.isclose(paper.figure(5)["tau"], config.tau).sum())
    return len(rows) + second + where.count("Figure 5"), "; ".join(where)


def by_worth(loaded: list) -> list[tuple[list[Config], int, str]]:
    """`missing`, each group with what `printed` says of it: most numbers for an hour of a T4 first.

    A group of which a seed is there already gives a spread, but no number that had none: 0.
    """
    done = {run.id.rpartition("-seed")[0] for run in loaded}
    groups = [(group, *printed(group[0])) for group in missing(loaded)]
    groups = [(group, 0, f"the spread of {where}") if group[0].run_id.rpartition("-seed")[0] in done else (group, count, where)
              for group, count, where in groups]
    return sorted(groups, key=lambda one: -one[1] / hours(one[0][0], "T4"))  # equals stay in the order of experiments.yaml
