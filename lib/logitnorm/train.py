"""One training loop for every method, from images to a finished run folder.

The defaults of Config are those of Wei et al. (ICML 2022, section 4.1) and, where the paper is silent, of the
authors' released code: SGD without Nesterov, weight decay on every parameter, crop + flip, batches of 128
with the last incomplete one dropped, and the last epoch's weights.
"""

import math
import platform
import sys
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from . import data, losses, models, runs, scores

METHODS = ("cross_entropy", "logitnorm")
CHECKPOINT_SECONDS = 30.0  # a killed run loses at most this much work, or one epoch if that is longer


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run. The defaults are the paper's."""

    size: str = "paper"  # smoke, small or paper: a name for the settings below, nothing branches on it
    id_dataset: str = "cifar10"
    architecture: str = "wrn40_2"
    method: str = "logitnorm"
    tau: float = 0.04  # of LogitNorm; the other methods do not read it
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
    precision: str = "float32"  # of the convolutions in training; "bfloat16" keeps weights and loss in float32
    ood_sets: tuple[str, ...] = ("textures", "svhn", "lsun_c", "lsun_r", "isun", "places365")
    extra_sets: tuple[str, ...] = ()  # further sets to score that are not part of the six-set average
    history_ood: str = "svhn"  # the OOD set whose mean logit norm is recorded every epoch (Figure 1)
    odin_temperature: float = 1000.0
    odin_epsilon: float = 0.0014
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
        need(self.method != "logitnorm" or self.tau > 0,
             f"tau must be positive, got {self.tau}; the paper uses 0.04 for CIFAR-10")
        need(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        need(self.batch_size >= 2, f"batch_size must be at least 2 (BatchNorm needs two images), got {self.batch_size}")
        need(self.lr > 0, f"lr must be positive, got {self.lr}")
        need(self.schedule in ("steps", "onecycle"), f"unknown schedule {self.schedule!r}; known: steps, onecycle")
        need(0 <= self.warmup < 1, f"warmup is a share of the steps, 0 <= warmup < 1, got {self.warmup}")
        need(0 <= self.dropout < 1, f"dropout is a probability below 1, got {self.dropout}")
        need(self.precision in ("float32", "bfloat16"),
             f"unknown precision {self.precision!r}; known: float32, bfloat16")
        for name in (self.id_dataset, *self.ood_sets, *self.extra_sets, self.history_ood):
            need(name in data.SETS, f"unknown image set {name!r}; known: {', '.join(data.SETS)}")
        need(data.SETS[self.id_dataset].num_classes > 1,
             f"{self.id_dataset!r} has no classes to train on; use one of "
             + ", ".join(n for n, s in data.SETS.items() if s.num_classes > 1))
        models.build(self.architecture, 2, self.dropout)

    @property
    def run_id(self) -> str:
        tau = f"-tau{self.tau:g}" if self.method == "logitnorm" else ""
        return f"{self.size}-{self.id_dataset}-{self.architecture}-{self.method}{tau}-seed{self.seed}"


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run."""
    if config.schedule == "steps":
        return config.lr * config.gamma ** sum(step // steps_per_epoch >= m for m in config.milestones)
    done = step / (config.epochs * steps_per_epoch)
    if done < config.warmup:
        return config.lr * done / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def objective(config: Config, f: Tensor, y: Tensor) -> Tensor:
    """The method's training loss of logits f (B x K, float32) and labels y (B)."""
    if config.method == "logitnorm":
        return losses.logitnorm(f, y, config.tau)
    return losses.cross_entropy(f, y)


class Trainer:
    """The state of a run: net, optimiser and what happened so far. Every epoch starts from its own seed."""

    def __init__(self, config: Config, train_set: data.ImageSet, device: torch.device):
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        num_classes = data.SETS[config.id_dataset].num_classes
        self.net = models.build(config.architecture, num_classes, config.dropout)
        self.net.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.net.parameters(), config.lr, config.momentum,
                                         weight_decay=config.weight_decay, nesterov=config.nesterov)
        # The whole training set stays on the device as zero-padded bytes; a batch is one gather.
        self.padded = data.pad(train_set.images.to(device))
        self.labels = train_set.labels.to(device)
        self.steps = len(self.labels) // config.batch_size
        if self.steps == 0:
            raise ValueError(f"{config.id_dataset} has {len(self.labels)} training images, fewer than one batch of "
                             f"{config.batch_size}; lower batch_size")
        self.epoch, self.history, self.seconds = 0, [], {"train": 0.0, "total": 0.0}

    def train_epoch(self) -> dict:
        """One pass over the training set; returns the epoch's training columns of history.csv.

        The seed depends on (seed, epoch) alone, so a resumed run draws what an uninterrupted one draws.
        Nothing is copied to the host before the epoch ends.
        """
        config, device, start = self.config, self.device, time.perf_counter()
        seed = config.seed * 1_000_003 + self.epoch
        torch.manual_seed(seed)  # dropout
        draw = torch.Generator(device).manual_seed(seed)  # order, crops, flips
        order = torch.randperm(len(self.labels), generator=draw, device=device)
        loss_of_step = torch.empty(self.steps, device=device)
        sums = torch.zeros(3, dtype=torch.float64, device=device)  # correct, norm, gradient norm
        self.net.train()
        for i, index in enumerate(order[:self.steps * config.batch_size].split(config.batch_size)):
            lr = learning_rate(config, self.epoch * self.steps + i, self.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            x = data.to_float(data.random_crop_flip(self.padded, index, draw))
            y = self.labels[index]
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                f, _ = self.net(x)
            f = f.float()
            loss = objective(config, f, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                loss_of_step[i] = loss
                gradient = nn.utils.get_total_norm([p.grad for p in self.net.parameters()])
                sums += torch.stack([(f.argmax(1) == y).sum(), f.norm(dim=1).mean(), gradient])
        step_losses, (correct, norm, gradient) = loss_of_step.cpu(), sums.cpu().tolist()
        refuse_nan(step_losses, self.epoch + 1, self.history)
        self.epoch += 1
        seconds = time.perf_counter() - start
        self.seconds["train"] += seconds
        seen = self.steps * config.batch_size
        return {"lr": lr, "train_loss": step_losses.mean().item(), "train_accuracy": 100 * correct / seen,
                "norm_train": norm / self.steps, "grad_norm": gradient / self.steps,
                "images_per_second": seen / seconds}

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as named tensors: weights, running statistics, momentum."""
        tensors = {f"net/{k}": v for k, v in self.net.state_dict().items()}
        for name, p in self.net.named_parameters():
            if self.optimizer.state[p]:
                tensors[f"momentum/{name}"] = self.optimizer.state[p]["momentum_buffer"]
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self.net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net/")})
        for name, p in self.net.named_parameters():
            self.optimizer.state[p]["momentum_buffer"] = tensors[f"momentum/{name}"].to(
                self.device).clone(memory_format=torch.preserve_format)


def refuse_nan(step_losses: Tensor, epoch: int, history: list[dict]) -> None:
    """Stop a run whose loss is no longer finite, with the epoch, the step and the last finite loss."""
    bad = (~step_losses.isfinite()).nonzero()
    if len(bad):
        step = bad[0].item()
        before = history[-1].get("train_loss", math.nan)  # row 0 is the untrained net
        last = step_losses[step - 1].item() if step else before
        raise FloatingPointError(f"the training loss became {step_losses[step].item()} in epoch {epoch}, step {step + 1} "
                                 f"of {len(step_losses)}; the last finite loss was {last:.4g}; lower lr or raise warmup")


def evaluate(net: nn.Module, id_test: data.ImageSet, ood: data.ImageSet, device: torch.device) -> dict:
    """The epoch's test columns of history.csv: loss and accuracy on ID, mean norm of the raw logits on ID and OOD."""
    f = torch.from_numpy(scores.collect(net, id_test.images, device)["logits"])
    f_ood = torch.from_numpy(scores.collect(net, ood.images, device)["logits"])
    return {"test_loss": F.cross_entropy(f, id_test.labels).item(),
            "test_accuracy": 100 * (f.argmax(1) == id_test.labels).double().mean().item(),
            "norm_test": f.norm(dim=1).mean().item(), "norm_ood": f_ood.norm(dim=1).mean().item()}


def score_sets(config: Config, net: nn.Module, test_sets: dict[str, data.ImageSet],
               device: torch.device) -> dict[str, np.ndarray]:
    """One forward pass per image set for every score but ODIN: the arrays of scores.safetensors."""
    arrays = {f"{config.id_dataset}/labels": test_sets[config.id_dataset].labels.numpy()}
    for name, image_set in test_sets.items():
        found = scores.collect(net, image_set.images, device)
        arrays[f"{name}/logits"] = found["logits"]
        arrays[f"{name}/feature_l1"] = found["feature_l1"]
        arrays[f"{name}/odin"] = scores.odin(net, image_set.images, T=config.odin_temperature,
                                             epsilon=config.odin_epsilon, device=device)
        if config.keep_features:
            arrays[f"{name}/features"] = found["features"].astype(np.float16)
    return arrays


def require_same(found: dict, wanted: Config, path: Path) -> None:
    """Refuse to mix runs: name the first setting in which a folder differs from what was asked for."""
    found = Config.from_dict(found)
    for field in fields(Config):
        old, new = getattr(found, field.name), getattr(wanted, field.name)
        if old != new:
            raise runs.RunError(f"{path} was trained with {field.name} = {old!r}, not {new!r}; "
                                "delete the folder to train it again, or use another seed or size")


def train(config: Config, runs_dir: Path, device: str | None = None) -> Path:
    """Train, score and write one run folder; returns its path.

    A complete folder is returned at once; one that was interrupted (`<run id>.part`) is continued from its last
    checkpoint and, on a CPU, ends with the weights of an uninterrupted run.
    """
    config.check()
    runs_dir = Path(runs_dir)
    if (runs_dir / config.run_id).exists():
        found = runs.load(runs_dir / config.run_id, verify=True)
        require_same(found.info["config"], config, found.path)
        print(f"{config.run_id}: complete, nothing to train")
        return found.path
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    provenance = runs.provenance()
    with runs.part(runs_dir, config.run_id) as folder:
        train_set = data.load(config.id_dataset, "train")
        names = dict.fromkeys((config.id_dataset, *config.ood_sets, *config.extra_sets, config.history_ood))
        test_sets = {name: data.load(name, "test") for name in names}
        id_test, ood = test_sets[config.id_dataset], test_sets[config.history_ood]
        trainer = Trainer(config, train_set, device)
        if (folder / "checkpoint.safetensors").exists():
            tensors, saved = runs.read_checkpoint(folder / "checkpoint.safetensors")
            require_same(saved["config"], config, folder)
            trainer.load_state(tensors)
            trainer.epoch, trainer.history, trainer.seconds = saved["epoch"], saved["history"], saved["seconds"]
            print(f"{config.run_id}: continuing after epoch {trainer.epoch}")
        else:
            print(f"{config.run_id}: {config.epochs} epochs of {trainer.steps} steps on {device}")
            trainer.history.append({"epoch": 0, **evaluate(trainer.net, id_test, ood, device)})

        terminal = sys.stderr.isatty()
        bar = tqdm(total=config.epochs, initial=trainer.epoch, unit="epoch", disable=not terminal, desc=config.run_id)
        begun = last_saved = time.perf_counter()
        before = trainer.seconds["total"]
        while trainer.epoch < config.epochs:
            row = trainer.train_epoch()
            trainer.history.append({"epoch": trainer.epoch, **row, **evaluate(trainer.net, id_test, ood, device)})
            now = time.perf_counter()
            trainer.seconds["total"] = before + now - begun
            if now - last_saved >= CHECKPOINT_SECONDS or trainer.epoch == config.epochs:
                runs.write_checkpoint(folder / "checkpoint.safetensors", trainer.state(), {
                    "config": asdict(config), "epoch": trainer.epoch, "history": trainer.history,
                    "seconds": trainer.seconds})
                last_saved = now
            bar.update()
            if not terminal:
                print(progress_line(config, trainer.history[-1], trainer.seconds["total"]), flush=True)
        bar.close()

        scoring = time.perf_counter()
        arrays = score_sets(config, trainer.net, test_sets, device)
        trainer.seconds["total"] += time.perf_counter() - scoring
        runs.write_history(folder / "history.csv", trainer.history)
        runs.write_tensors(folder / "scores.safetensors", arrays, {"run_id": config.run_id})
        runs.measure(config, arrays).to_csv(folder / "metrics.csv", index=False)
        if config.keep_model:
            runs.write_tensors(folder / "model.safetensors", trainer.net.state_dict(), {"run_id": config.run_id})
        return runs.finish(folder, {
            "run_id": config.run_id, "config": asdict(config), **provenance,
            "device": device_name(device), "threads": torch.get_num_threads(),
            "wall_seconds": round(trainer.seconds["total"], 1),
            "images_per_second": round(config.epochs * trainer.steps * config.batch_size / trainer.seconds["train"], 1),
            "data": {f"{config.id_dataset}-train": data.sha256(train_set.images),
                     **{f"{name}-test": data.sha256(s.images) for name, s in test_sets.items()}},
            "test_accuracy": trainer.history[-1]["test_accuracy"],
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        })


def progress_line(config: Config, row: dict, seconds: float) -> str:
    left = seconds / row["epoch"] * (config.epochs - row["epoch"]) / 60
    return (f"epoch {row['epoch']}/{config.epochs}  loss {row['train_loss']:.3f}  train {row['train_accuracy']:.1f} %  "
            f"test {row['test_accuracy']:.1f} %  {row['images_per_second']:.0f} images/s  {left:.1f} min left")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return f"CPU {model[0] if model else platform.processor() or platform.machine()}"
