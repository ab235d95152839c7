"""Every setting of a run, its bounds and the run's name. Nothing else knows them.

The defaults are those of Wei et al. (ICML 2022, section 4.1) and, where the paper is silent, of the authors' released
code: SGD without Nesterov, weight decay on every parameter, batches of 128, and the last epoch's weights.
"""

import math
import re
from dataclasses import dataclass, fields

import torch

from . import data, models

METHODS = ("cross_entropy", "logitnorm", "centred_logitnorm", "logit_penalty", "godin", "learned_confidence")
TAU = ("logitnorm", "centred_logitnorm")  # the methods that have a tau
PRECISIONS = ("float32", "bfloat16", "float16", "mixed")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run. The defaults are the paper's."""

    size: str = "full"  # smoke, small, medium or full: a name for the settings below, nothing branches on it
    id_dataset: str = "cifar10"
    architecture: str = "wrn40_2"
    method: str = "logitnorm"
    tau: float = 0.04  # of LogitNorm; the other methods do not read it
    penalty: float = 0.05  # lambda of LogitPenalty
    budget: float = 0.3  # beta of Learned Confidence
    cutout: int = 0  # side of Cutout's square, on half of the images; Learned Confidence uses 16, the others none
    seed: int = 1
    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "steps"  # "steps": lr * gamma at each milestone; "onecycle": linear warm-up, cosine to 0
    milestones: tuple[int, ...] = (80, 140)
    gamma: float = 0.1
    warmup: float = 0.2  # share of the steps that "onecycle" spends warming up
    dropout: float = 0.3
    precision: str = "float32"  # of the body in training: float32, bfloat16, float16 or mixed (see precision_on)
    ood_sets: tuple[str, ...] = ("textures", "svhn", "lsun_c", "lsun_r", "isun", "places365")
    extra_sets: tuple[str, ...] = ()  # further sets to score that are not part of the six-set average
    history_ood: str = "svhn"  # the OOD set whose mean logit norm is recorded every epoch (Figure 1)
    odin_temperature: float = 1000.0
    odin_epsilon: float = 0.0014
    confidence_epsilon: float = 0.001  # input preprocessing of Learned Confidence, in units of normalised pixels
    keep_model: bool = False  # leave model.safetensors in the run folder
    keep_features: bool = False  # leave the penultimate features (float16) in scores.safetensors

    def __post_init__(self) -> None:
        for f in fields(self):  # YAML and papermill give lists
            if isinstance(getattr(self, f.name), list):
                object.__setattr__(self, f.name, tuple(getattr(self, f.name)))

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """A Config from plain values; an unknown name is refused, never ignored."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            known = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"unknown setting {sorted(unknown)[0]!r} of a run; the settings are: {known}")
        return cls(**values)

    def check(self) -> None:
        """Raise ValueError, in one sentence, for the first setting that cannot be trained."""
        def need(condition: bool, message: str) -> None:
            if not condition:
                raise ValueError(message)

        need(self.method in METHODS, f"unknown method {self.method!r}; known: {', '.join(METHODS)}")
        need(self.method not in TAU or 0 < self.tau < math.inf,
             f"tau must be positive, got {self.tau}; the paper uses 0.04 for CIFAR-10")
        need(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        need(self.batch_size >= 2, f"batch_size must be at least 2 (BatchNorm needs two images), got {self.batch_size}")
        need(0 < self.lr < math.inf, f"lr must be a positive number, got {self.lr}")
        need(0 <= self.momentum < 1, f"momentum must be at least 0 and below 1, got {self.momentum}")
        need(self.weight_decay >= 0, f"weight_decay must not be negative, got {self.weight_decay}")
        need(0 < self.gamma <= 1, f"gamma, the factor at a milestone, must be above 0 and at most 1, got {self.gamma}")
        need(self.schedule in ("steps", "onecycle"), f"unknown schedule {self.schedule!r}; known: steps, onecycle")
        need(0 <= self.warmup < 1, f"warmup is a share of the steps, 0 <= warmup < 1, got {self.warmup}")
        need(0 <= self.dropout < 1, f"dropout is a probability below 1, got {self.dropout}")
        need(self.penalty >= 0, f"penalty, the lambda of LogitPenalty, must not be negative, got {self.penalty}")
        need(self.budget > 0, f"budget, the beta of Learned Confidence, must be positive, got {self.budget}")
        need(0 <= self.cutout <= data.SIZE,
             f"cutout is the side of a square in pixels, 0 to {data.SIZE}, got {self.cutout}")
        need(self.precision in PRECISIONS, f"unknown precision {self.precision!r}; known: {', '.join(PRECISIONS)}")
        # what scoring needs is looked at before training, not after it
        need(0 < self.odin_temperature < math.inf, f"odin_temperature must be positive, got {self.odin_temperature}")
        for name in ("odin_epsilon", "confidence_epsilon"):
            need(0 <= getattr(self, name) < math.inf, f"{name} must not be negative, got {getattr(self, name)}")
        need(bool(re.fullmatch(r"\w+", self.size)), "size is the first part of a folder's name: letters and digits, "
             f"got {self.size!r}")
        need(0 <= self.seed < 2 ** 32, f"seed must be a whole number from 0 to 2^32 - 1, got {self.seed}")
        for name in (self.id_dataset, *self.ood_sets, *self.extra_sets, self.history_ood):
            need(name in data.SETS, f"unknown image set {name!r}; known: {', '.join(data.SETS)}")
        need(data.SETS[self.id_dataset].num_classes > 1,
             f"{self.id_dataset!r} has no classes to train on; use one of "
             + ", ".join(n for n, s in data.SETS.items() if s.num_classes > 1))
        need(self.id_dataset not in (*self.ood_sets, *self.extra_sets, self.history_ood),
             f"{self.id_dataset!r} is the ID set and cannot be an OOD set of the same run")
        with torch.device("meta"):  # to see whether there is such a net: takes no memory
            models.build(self.architecture, 2, self.dropout)

    def differs_from(self, wanted: "Config") -> str | None:
        """The name of the first setting in which a run made with these settings is not the one that is wanted.

        A run that names a precision fits one that leaves the precision to the processor ("mixed"), and what a run
        keeps of its outputs makes no other run of it.
        """
        for f in fields(self):
            free = f.name.startswith("keep_") or (f.name, wanted.precision) == ("precision", "mixed")
            if getattr(self, f.name) != getattr(wanted, f.name) and not free:
                return f.name
        return None

    @property
    def normalised_at(self) -> float | None:
        """The tau by which the loss divides ||f||, offset and all; None for every loss but LogitNorm's."""
        return self.tau if self.method == "logitnorm" else None

    @property
    def run_id(self) -> str:
        tau = f"-tau{self.tau:g}" if self.method in TAU else ""
        cut = f"-cutout{self.cutout}" if self.cutout else ""
        return f"{self.size}-{self.id_dataset}-{self.architecture}-{self.method}{tau}{cut}-seed{self.seed}"
