"""Adopt a number: the runs of size full that are missing, what each will cost, and the parameters that train it in Colab."""

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from logitnorm import data
from logitnorm.config import TAU, Config
from logitnorm.train import network

from . import count, experiments, paper
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


def markdown(loaded: list, colab: str) -> str:
    """The page's part that follows from the runs: loaded, the runs of size full; colab, where the notebook opens."""
    counted = count.counted(loaded).set_index("where")
    have = " and ".join(f"{counted.loc[f'{name}, all', 'ours']:.0f} of the {counted.loc[f'{name}, all', 'printed']:.0f} numbers "
                        f"of {name}" for name in ("LogitNorm", "Learned Confidence"))
    groups = missing(loaded)
    rows = ["| network, ID set | method | seeds | " + " | ".join(GPUS) + " | first cell, for the first of the seeds | |",
            "|---|---|---|" + "---|" * len(GPUS) + "---|---|"]
    for group in groups:
        first = group[0]
        name = ", ".join([first.method] + [f"tau {first.tau:g}"] * ("tau" in first.run_id)
                         + [f"Cutout {first.cutout}"] * (first.cutout > 0))
        cost = " | ".join(f"{hours(first, gpu):.1f} h" for gpu in GPUS)
        rows.append(f"| {paper.network(first.architecture)}, {paper.title(first.id_dataset)} | {name} | "
                    f"{', '.join(str(config.seed) for config in group)} | {cost} | `{parameters(first)}` | "
                    f"[open]({colab}) |")
    shares = ", ".join(f"{gpu} {100 * share:g} % of {peak} TFLOP/s" for gpu, (peak, share) in GPUS.items())
    return (f"At size full there are {have}. {sum(map(len, groups))} runs are missing. The hours are an **estimate**, for one "
            f"run: its floating-point operations over an assumed share of the GPU's 16-bit peak ({shares}). The notebook "
            "measures its own first steps and prints a better one before it starts.\n\n" + "\n".join(rows) + "\n")
