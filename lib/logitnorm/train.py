"""One training loop for every method, from images to a finished run folder.

The defaults of Config are those of Wei et al. (ICML 2022, section 4.1) and, where the paper is silent, of the
authors' released code: SGD without Nesterov, weight decay on every parameter, crop + flip, batches of 128
with the last incomplete one dropped, and the last epoch's weights.
"""

import contextlib
import math
import os
import platform
import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from . import data, losses, models, runs, scores
from .config import Config

HEADS = {"godin": "godin", "learned_confidence": "confidence"}  # the other methods have a plain linear layer
LAMBDA = 0.1  # of Learned Confidence at the first step; the budget moves it from there
HISTORY_OOD = 2000  # so many OOD images, evenly spaced, are enough for a mean norm each epoch
# Processor features that compute in bfloat16 (x86: AVX512-BF16, AMX; ARM: BF16, its SVE variant).
CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
EVALUATION_BATCH = 2500  # images at once after each epoch on a GPU: no gradients, so they are small
CHECKPOINT_SECONDS = 30.0  # a killed run loses at most this much work, or one epoch if that is longer


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run."""
    if config.schedule == "steps":
        return config.lr * config.gamma ** sum(step // steps_per_epoch >= m for m in config.milestones)
    done = step / (config.epochs * steps_per_epoch)
    if done < config.warmup:
        return config.lr * done / config.warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def precision_on(precision: str, device: torch.device) -> tuple[str, str]:
    """(what is trained in, why): "mixed" means the fastest sound precision of the device.

    On a GPU bfloat16, or float16 with loss scaling where that is only emulated (e.g. a T4). On a CPU bfloat16 where
    it has instructions for it; without them it is emulated, an order of magnitude slower than float32.
    """
    if precision != "mixed":
        return precision, "as asked for"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "native on this GPU"
        return "float16", "this GPU only emulates bfloat16"
    has = torch.cpu.get_capabilities()
    native = [name for name in CPU_BFLOAT16 if has.get(name)]
    return ("bfloat16", f"native on this processor ({native[0]})") if native else (
        "float32", "this processor has no instructions for bfloat16")


def geometry(config: "Config", f: Tensor) -> dict[str, Tensor]:
    """Batch means of what history.csv says of the logits f (B x K): their norm, their common offset, the norm
    without it, and for LogitNorm the inverse temperature that this leaves to the softmax."""
    found = {"norm": f.norm(dim=1), "offset": losses.offset(f), "centred_norm": losses.centred(f).norm(dim=1)}
    if config.method == "logitnorm":
        found["inverse_temperature"] = losses.effective_inverse_temperature(f, config.tau)
    return {name: value.mean() for name, value in found.items()}


def objective(config: Config, out: tuple, y: Tensor, hinted: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The method's training loss, and L_c (0 for all methods but Learned Confidence).

    out: what the net gives, (logits B x K, features) or (logits, features, own score B); y: labels B. hinted
    (bool, B) and weight (lambda) are read by Learned Confidence only.
    """
    f = out[0].float()
    if config.method in HEADS and len(out) < 3:
        raise ValueError(f"{config.method} needs a net with its own head; "
                         f"build it with models.build(..., head={HEADS[config.method]!r})")
    if config.method == "logitnorm":
        return losses.logitnorm(f, y, config.tau), f.new_zeros(())
    if config.method == "centred_logitnorm":
        return losses.centred_logitnorm(f, y, config.tau), f.new_zeros(())
    if config.method == "logit_penalty":
        return losses.logit_penalty(f, y, config.penalty), f.new_zeros(())
    if config.method == "learned_confidence":
        L_t, L_c = losses.learned_confidence(f, out[2].float(), y, hinted)
        return L_t + weight * L_c, L_c
    return losses.cross_entropy(f, y), f.new_zeros(())


def resident(train_set: data.ImageSet, num_classes: int, device: torch.device) -> data.ImageSet:
    """The training set as it stays on the device: zero-padded bytes, so that a batch is one gather."""
    if train_set.labels is None or not 0 <= int(train_set.labels.min()) <= int(train_set.labels.max()) < num_classes:
        raise ValueError(f"the training set needs labels from 0 to {num_classes - 1}, one per image")
    return data.ImageSet(data.pad(train_set.images.to(device)), train_set.labels.to(device))


class Trainer:
    """One net in training: the net, its optimiser, what happened so far.

    Every epoch draws from generators seeded with (seed, epoch), so that a resumed run, and a run trained beside
    others, draws what it would have drawn alone. Nothing is copied to the host before an epoch ends. On a GPU a
    step is captured once as a CUDA graph and then replayed on the trainer's own stream.
    """

    def __init__(self, config: Config, train_set: data.ImageSet, device: torch.device):
        """train_set: as `resident` gives it; trainers may share it."""
        self.config, self.device, self.set = config, device, train_set
        self.steps = len(train_set.labels) // config.batch_size
        if self.steps == 0:
            raise ValueError(f"{config.id_dataset} has {len(train_set.labels)} training images, "
                             f"fewer than one batch of {config.batch_size}; lower batch_size")
        torch.manual_seed(config.seed)
        num_classes = data.SETS[config.id_dataset].num_classes
        self.net = models.build(config.architecture, num_classes, config.dropout, HEADS.get(config.method, "linear"))
        self.net.to(device, memory_format=torch.channels_last)
        on_gpu = device.type == "cuda"
        torch.backends.cudnn.benchmark = on_gpu  # every batch has the same shape: try the algorithms once
        # A graph reads its learning rate from memory, so on a GPU it is a tensor.
        lr = torch.tensor(config.lr, device=device) if on_gpu else config.lr
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr, config.momentum, fused=on_gpu,
                                         weight_decay=config.weight_decay, nesterov=config.nesterov)
        for p in self.net.parameters():  # PyTorch makes these in its first step; zeros give the same step
            self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.precision, self.precision_reason = precision_on(config.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.weight = torch.tensor(LAMBDA, device=device)
        self.columns = [f"{name}_train" for name in geometry(config, torch.ones(1, num_classes))]
        self.draw, self.dropout = torch.Generator(device), torch.Generator(device)
        for module in self.net.modules():
            if isinstance(module, models.Dropout):
                module.generator = self.dropout
        # What one step reads and writes stands at fixed places in memory, as a CUDA graph wants it.
        self.now = torch.zeros((), dtype=torch.int64, device=device)  # the step within the epoch
        self.loss_of_step = torch.zeros(self.steps, device=device)
        # correct, gradient norm, L_c, and the means of `geometry`
        self.sums = torch.zeros(3 + len(self.columns), dtype=torch.float64, device=device)
        self.drawn = [torch.zeros(self.steps * config.batch_size, dtype=dtype, device=device)
                      for dtype in 3 * [torch.int64] + [torch.bool, torch.bool] + 2 * [torch.int64] + [torch.bool]]
        self.graph = None
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.epoch, self.history, self.seconds = 0, [], {"train": 0.0, "total": 0.0}
        self.provenance = {**runs.provenance(), "device": device_name(device)}

    def begin_epoch(self) -> None:
        """Draw the epoch's order and augmentation (one entry per image seen) and clear the sums."""
        seen = self.steps * self.config.batch_size
        seed = self.config.seed * 1_000_003 + self.epoch
        self.draw.manual_seed(seed)
        self.dropout.manual_seed(seed)
        order = torch.randperm(len(self.set.labels), generator=self.draw, device=self.device)[:seen]
        crops = data.draw_crops(self.set.images, seen, self.draw)
        hinted = torch.rand(seen, generator=self.draw, device=self.device) < 0.5
        cutouts = data.draw_cutouts(seen, self.draw)
        for place, values in zip(self.drawn, (order, *crops, hinted, *cutouts)):
            place.copy_(values)
        self.now.zero_()
        self.sums.zero_()
        self.net.train()
        if self.stream is not None:
            # loss scaling looks at the gradients on the host; and LOGITNORM_EAGER=1 is for where recording fails
            if self.graph is None and self.precision != "float16" and not os.environ.get("LOGITNORM_EAGER"):
                self._capture()
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def step(self, i: int) -> None:
        """Step i of the epoch."""
        self.lr = learning_rate(self.config, self.epoch * self.steps + i, self.steps)
        if self.graph is None:
            self._set_lr(self.lr)
            self._step()
        else:
            with torch.cuda.stream(self.stream):
                self._set_lr(self.lr)
                self.graph.replay()

    def end_epoch(self, seconds: float) -> dict:
        """The epoch's training columns of history.csv; stops a run whose loss is no longer finite."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        step_losses = self.loss_of_step.cpu()
        correct, gradient, L_c, *of_logits = self.sums.cpu().tolist()
        refuse_nan(step_losses, self.epoch + 1, self.history)
        self.epoch += 1
        self.seconds["train"] += seconds
        seen = self.steps * self.config.batch_size
        row = {"lr": self.lr, "train_loss": step_losses.mean().item(), "train_accuracy": 100 * correct / seen,
               **{name: value / self.steps for name, value in zip(self.columns, of_logits)},
               "grad_norm": gradient / self.steps, "images_per_second": seen / seconds}
        if self.config.method == "learned_confidence":
            row |= {"lambda": self.weight.item(), "confidence_loss": L_c / self.steps}
        return row

    def _set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def _step(self) -> None:
        """Forward, loss, backward, update, sums: all from and to fixed places."""
        config, here = self.config, torch.arange(self.config.batch_size, device=self.device)
        index, top, left, flip, hinted, *cut = (d[self.now * config.batch_size + here] for d in self.drawn)
        x = data.to_float(data.crop_flip(self.set.images, index, top, left, flip))
        if config.cutout:
            x = data.cutout(x, *cut, config.cutout)
        y = self.set.labels[index]
        low = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.precision)
        with torch.autocast(self.device.type, low, enabled=low is not None):
            out = self.net(x)
        loss, L_c = objective(config, out, y, hinted, self.weight)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradient = nn.utils.get_total_norm([p.grad for p in self.net.parameters()])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            if config.method == "learned_confidence":
                self.weight.copy_(losses.next_lambda(self.weight, L_c, config.budget))
            f = out[0].float()
            self.loss_of_step.index_copy_(0, self.now[None], loss.detach()[None])
            gradient = torch.where(gradient.isfinite(), gradient, 0)  # a step that loss scaling skips has none
            self.sums += torch.stack([(f.argmax(1) == y).sum(), gradient, L_c, *geometry(config, f).values()])
            self.now += 1

    def _capture(self) -> None:
        """Record a step as a CUDA graph; a few steps are run before, as PyTorch asks for, and undone."""
        before = {k: v.clone() for k, v in self.state().items()}
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self._step()
                self.now.zero_()  # an epoch may have fewer steps
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.dropout)
        with torch.cuda.graph(graph, stream=self.stream):
            self._step()
        self.graph = graph
        self.load_state(before)
        self.dropout.manual_seed(self.config.seed * 1_000_003 + self.epoch)
        self.now.zero_()
        self.sums.zero_()

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as named tensors: weights, running statistics, momentum, lambda."""
        momentum = {f"momentum/{name}": self.optimizer.state[p]["momentum_buffer"]
                    for name, p in self.net.named_parameters()}
        return {f"net/{k}": v for k, v in self.net.state_dict().items()} | momentum | {"lambda": self.weight}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Copy a state() into place."""
        self.net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net/")})
        for name, p in self.net.named_parameters():
            self.optimizer.state[p]["momentum_buffer"].copy_(tensors[f"momentum/{name}"])
        self.weight.copy_(tensors["lambda"])


def train_epochs(trainers: list[Trainer]) -> list[dict | FloatingPointError]:
    """One epoch of several trainers side by side, step by step; a row of history each, or why the run must stop.

    On a GPU their steps overlap, because each replays its graph on its own stream; on a CPU they take turns. Each
    draws what it would draw alone and, on a CPU, ends with the same weights. The time of the epoch is shared out
    evenly among them.
    """
    start = time.perf_counter()
    for trainer in trainers:
        trainer.begin_epoch()
    for i in range(max(trainer.steps for trainer in trainers)):
        for trainer in trainers:
            if i < trainer.steps:
                trainer.step(i)
    if trainers[0].device.type == "cuda":
        torch.cuda.synchronize(trainers[0].device)
    seconds = (time.perf_counter() - start) / len(trainers)
    rows = []
    for trainer in trainers:
        try:
            rows.append(trainer.end_epoch(seconds))
        except FloatingPointError as error:
            rows.append(error)
    return rows


def refuse_nan(step_losses: Tensor, epoch: int, history: list[dict]) -> None:
    """Stop a run whose loss is no longer finite, with the epoch, the step and the last finite loss."""
    bad = (~step_losses.isfinite()).nonzero()
    if len(bad):
        step = bad[0].item()
        before = history[-1].get("train_loss", math.nan) if history else math.nan  # row 0 is the untrained net
        last = step_losses[step - 1].item() if step else before
        raise FloatingPointError(f"the training loss became {step_losses[step].item()} in epoch {epoch}, "
                                 f"step {step + 1} of {len(step_losses)}; the last finite loss was {last:.4g}; "
                                 "lower lr or raise warmup")


def evaluate(trainer: Trainer, id_test: data.ImageSet, ood: Tensor) -> dict:
    """The epoch's test columns of history.csv: loss and accuracy on ID, mean norm of the raw logits on ID and OOD.

    In the precision of the training, because it is done after every epoch; the final scores are in float32.
    """
    def logits(images: Tensor) -> Tensor:
        batch = EVALUATION_BATCH if trainer.device.type == "cuda" else None
        found = scores.collect(trainer.net, images, trainer.device, batch, precision=trainer.precision)
        return torch.from_numpy(found["logits"])

    f, f_ood = logits(id_test.images), logits(ood)
    return {"test_loss": F.cross_entropy(f, id_test.labels).item(),
            "test_accuracy": 100 * (f.argmax(1) == id_test.labels).double().mean().item(),
            **{f"{name}_{where}": value.item() for where, logits_of in (("test", f), ("ood", f_ood))
               for name, value in geometry(trainer.config, logits_of).items()}}


def score_sets(config: Config, net: nn.Module, test_sets: dict[str, data.ImageSet],
               device: torch.device) -> dict[str, np.ndarray]:
    """What scores.safetensors holds: per image set one forward pass for all scores, one more per step on the input."""
    steps = {"odin": scores.odin_step(config.odin_temperature, config.odin_epsilon)}
    if config.method == "learned_confidence":
        steps["confidence_step"] = scores.confidence_step(config.confidence_epsilon)
    arrays = {f"{config.id_dataset}/labels": test_sets[config.id_dataset].labels.numpy()}
    for name, image_set in test_sets.items():
        found = scores.collect(net, image_set.images, device, steps=steps)
        for key in ("logits", "feature_l1", *steps):
            arrays[f"{name}/{key}"] = found[key]
        if config.method in HEADS:
            arrays[f"{name}/{scores.OWN_SCORES[config.method][0]}"] = found["own"]
        if config.keep_features:
            arrays[f"{name}/features"] = found["features"].astype(np.float16)
    return arrays


def require_same(found: dict, wanted: Config, path: Path) -> None:
    """Refuse to mix runs: name the first setting in which a folder differs from what was asked for."""
    found = Config.from_dict(found)
    if name := found.differs_from(wanted):
        raise runs.RunError(f"{path} was trained with {name} = {getattr(found, name)!r}, not {getattr(wanted, name)!r}; "
                            "delete the folder to train it again, or use another seed or size")


def train(config: Config, runs_dir: Path, device: str | None = None) -> Path:
    """Train, score and write one run folder; returns its path.

    A complete folder is returned at once; one that was interrupted (`<run id>.part`) is continued from its last
    checkpoint and, on a CPU, ends with the weights of an uninterrupted run.
    """
    return train_together([config], runs_dir, device)[0]


def train_together(configs: list[Config], runs_dir: Path, device: str | None = None) -> list[Path]:
    """Train several runs on one ID set side by side in this process, each into its own folder; returns the folders.

    A run whose loss diverges stops, and one whose folder is damaged or in use is left alone; the others go on. The
    first error is raised at the end.
    """
    for config in configs:
        config.check()
    if len({config.id_dataset for config in configs}) > 1:
        raise ValueError("runs that are trained together must share their id_dataset")
    runs_dir, todo, errors = Path(runs_dir), {}, []
    with contextlib.ExitStack() as stack:
        for config in configs:
            try:
                if (runs_dir / config.run_id).exists():
                    found = runs.load(runs_dir / config.run_id, verify=True)
                    require_same(found.info["config"], config, found.path)
                    print(f"{config.run_id}: complete, nothing to train")
                else:
                    todo[config] = stack.enter_context(runs.part(runs_dir, config.run_id))
            except runs.RunError as error:
                errors.append(error)
        if todo:
            errors += _train(todo, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    if errors:
        raise errors[0]
    return [runs_dir / config.run_id for config in configs]


def _train(folders: dict[Config, Path], device: torch.device) -> list[Exception]:
    """Train the runs into their folders; returns what stopped those that are not complete now."""
    configs = list(folders)
    id_dataset = configs[0].id_dataset
    train_set = data.load(id_dataset, "train")
    names = dict.fromkeys(name for c in configs for name in (id_dataset, *c.ood_sets, *c.extra_sets, c.history_ood))
    sets = {name: data.load(name, "test") for name in names}
    sums = {f"{id_dataset}-train": data.sha256(train_set.images),
            **{f"{name}-test": data.sha256(s.images) for name, s in sets.items()}}
    train_set = resident(train_set, data.SETS[id_dataset].num_classes, device)
    waiting, errors = [], []
    for config, folder in folders.items():
        try:
            waiting.append(start(config, folder, train_set, device))
        except runs.RunError as error:
            errors.append(error)

    def add_row(t: Trainer, row: dict) -> None:
        ood = sets[t.config.history_ood].images
        ood = ood[::max(1, len(ood) // HISTORY_OOD)]
        t.history.append({"epoch": t.epoch, **row, **evaluate(t, sets[id_dataset], ood)})

    def seal(t: Trainer) -> None:
        waiting.remove(t)
        used = {name: sets[name] for name in runs.set_names(t.config)}
        try:
            write_results(t, folders[t.config], used, {"data": {
                k: v for k, v in sums.items() if k == f"{id_dataset}-train" or k.removesuffix("-test") in used}})
        except runs.RunError as error:
            errors.append(error)
        except ValueError as error:  # of a score or a metric
            errors.append(runs.RunError(f"{t.config.run_id}: {error}"))

    for t in list(waiting):
        if not t.history:
            add_row(t, {})
        if t.epoch == t.config.epochs:  # it was interrupted after its last epoch
            seal(t)
    terminal = sys.stderr.isatty()
    bar = tqdm(total=sum(t.config.epochs for t in waiting), initial=sum(t.epoch for t in waiting), unit="epoch",
               disable=not terminal, desc=configs[0].run_id if len(configs) == 1 else f"{len(configs)} runs")
    last_saved = dict.fromkeys(waiting, time.perf_counter())
    while waiting:
        least = min(t.epoch for t in waiting)  # runs resumed from different epochs: the last one catches up first
        abreast = [t for t in waiting if t.epoch == least]
        begun = time.perf_counter()
        for t, row in zip(abreast, train_epochs(abreast)):
            if isinstance(row, FloatingPointError):
                errors.append(FloatingPointError(f"{t.config.run_id}: {row}"))
                waiting.remove(t)
            else:
                add_row(t, row)
        for t in [t for t in abreast if t in waiting]:
            now = time.perf_counter()
            t.seconds["total"] += (now - begun) / len(abreast)
            if now - last_saved[t] >= CHECKPOINT_SECONDS or t.epoch == t.config.epochs:
                save(t, folders[t.config])
                last_saved[t] = now
            bar.update()
            if not terminal:
                print(progress_line(t.config, t.history[-1], t.seconds["total"], len(configs) > 1), flush=True)
        for t in [t for t in waiting if t.epoch == t.config.epochs]:  # all of them are saved by now
            seal(t)
    bar.close()
    return errors


def start(config: Config, folder: Path, train_set: data.ImageSet, device: torch.device) -> Trainer:
    """A new trainer, or the one that the folder's checkpoint describes."""
    trainer = Trainer(config, train_set, device)
    path = folder / "checkpoint.safetensors"
    if path.exists():
        tensors, saved = runs.read_checkpoint(path)
        require_same(saved["config"], config, folder)
        trainer.load_state(tensors)
        trainer.scaler.load_state_dict(saved["scaler"])
        trainer.epoch, trainer.history, trainer.seconds = saved["epoch"], saved["history"], saved["seconds"]
        trainer.provenance = saved["provenance"]  # the run belongs to the code that began it
        print(f"{config.run_id}: continuing after epoch {trainer.epoch}")
    else:
        print(f"{config.run_id}: {config.epochs} epochs of {trainer.steps} steps on {device}, "
              f"in {trainer.precision}: {trainer.precision_reason}")
    return trainer


def save(trainer: Trainer, folder: Path) -> None:
    """Write the checkpoint from which `start` continues."""
    runs.write_checkpoint(folder / "checkpoint.safetensors", trainer.state(), {
        "config": asdict(trainer.config), "epoch": trainer.epoch, "history": trainer.history,
        "seconds": trainer.seconds, "scaler": trainer.scaler.state_dict(), "provenance": trainer.provenance})


def write_results(trainer: Trainer, folder: Path, sets: dict[str, data.ImageSet], known: dict) -> Path:
    """Score the trained net on every set, write the run's files and seal the folder; returns its final path."""
    config, begun = trainer.config, time.perf_counter()
    arrays = score_sets(config, trainer.net, sets, trainer.device)
    trainer.seconds["total"] += time.perf_counter() - begun
    info = {**known, **trainer.provenance, "threads": torch.get_num_threads(), "precision": trainer.precision,
            "precision_reason": trainer.precision_reason,
            "wall_seconds": round(trainer.seconds["total"], 1),
            "images_per_second": round(config.epochs * trainer.steps * config.batch_size / trainer.seconds["train"], 1),
            "scored": {**runs.provenance(), "device": device_name(trainer.device)},
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    if config.method == "learned_confidence":
        info["confidence"] = scores.confidence_summary(arrays[f"{config.id_dataset}/confidence"])
        if info["confidence"]["collapsed"]:
            print(f"{config.run_id}: warning: the confidence is the same for all ID test images (standard deviation "
                  f"{info['confidence']['sd']:.2g}); the branch has collapsed", file=sys.stderr)
    return write_run(folder, config, arrays, trainer.history, trainer.net.state_dict(), info)


def write_run(folder: Path, config: Config, arrays: dict[str, np.ndarray], history: list[dict],
              weights: dict[str, Tensor], info: dict) -> Path:
    """Write the files of a run whose outputs (score_sets) are known, and seal the folder; returns its final path."""
    packed = runs.pack(config, arrays)
    measured = runs.measure(config, packed)
    runs.write_history(folder / "history.csv", history)
    runs.write_tensors(folder / "scores.safetensors", packed, {"run_id": config.run_id})
    runs.write_csv(folder / "metrics.csv", measured)
    if config.keep_model:
        runs.write_tensors(folder / "model.safetensors", {
            name: value.half() if value.is_floating_point() else value for name, value in weights.items()},
            {"run_id": config.run_id})
    of_logits = {name: {key: value.item() for key, value in geometry(
        config, torch.from_numpy(arrays[f"{name}/logits"]).double()).items()} for name in runs.set_names(config)}
    return runs.finish(folder, {"run_id": config.run_id, "format": runs.FORMAT, "config": asdict(config), **info,
                                "test_accuracy": measured[0]["value"], "logits": of_logits})


def progress_line(config: Config, row: dict, seconds: float, named: bool = False) -> str:
    """What a log that is not a terminal shows of an epoch; named: with the run's id, where several run at once."""
    left = seconds / row["epoch"] * (config.epochs - row["epoch"]) / 60
    return (f"{config.run_id}  " if named else "") + (
        f"epoch {row['epoch']}/{config.epochs}  loss {row['train_loss']:.3f}  train {row['train_accuracy']:.1f} %  "
        f"test {row['test_accuracy']:.1f} %  {row['images_per_second']:.0f} images/s  {left:.1f} min left")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return f"CPU {model[0] if model else platform.processor() or platform.machine()}"
