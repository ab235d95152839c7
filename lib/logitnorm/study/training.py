"""From settings to a sealed run folder: epochs and checkpoints, the rows of history.csv, scores, progress.

One run per call. What is learned, and how, is logitnorm.train's.
"""

import ctypes
import json
import math
import multiprocessing
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import safetensors
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from logitnorm import data, losses, runs, scores
from logitnorm.config import Config, ConfigError
from logitnorm.train import Trainer, resident

from . import graph, images, say, scoring
from .provenance import device_name, provenance, unfit
from .writing import finish, part, write_csv, write_tensors

HISTORY_OOD = 2000  # so many OOD images, evenly spaced, are enough for a mean norm each epoch
EVALUATION_BATCH = 2500  # images at once after each epoch on a GPU: no gradients, so they are small
TRAIN_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "svhn": 73_257, "digits": 1_437}
CHECKPOINT_SECONDS = 30.0  # a killed run loses at most this much work, or one epoch if that is longer


def require_batch(config: Config) -> Config:
    """These settings; ConfigError for a batch that is larger than the training set."""
    if config.batch_size > (most := TRAIN_IMAGES[config.id_dataset]):
        raise ConfigError(f"batch_size should be at most {most}, the training images of {config.id_dataset}, got {config.batch_size}", "batch_size")
    return config


def train(config: Config, runs_dir: Path, device: str | None = None) -> Path:
    """Train, score and write one run folder; returns its path.

    A complete folder is returned at once; one that was interrupted (`<run id>.part`) is continued from its last
    checkpoint and, on a CPU, ends with the weights of an uninterrupted run. Raises ValueError for settings that cannot
    be trained, RunError for a folder that is damaged, in use or of other settings, FloatingPointError for a loss that
    is no longer finite.
    """
    path = Path(runs_dir) / config.run_id
    if os.path.lexists(path):  # be it a link to nothing, in whose place no run can be put
        require_same(runs.load(path).info["config"], config, path)
        say(f"{config.run_id}: complete, nothing to train")
        return path
    with part(runs_dir, config.run_id) as folder:
        try:
            return _train(config, folder, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
        except FloatingPointError as error:
            raise FloatingPointError(f"{config.run_id}: {error}") from None
        except KeyboardInterrupt:
            kept = (f"the last checkpoint is in {folder}" if (folder / "checkpoint.safetensors").exists() else
                    "no epoch was complete, so nothing is kept")
            say(f"interrupted; {kept}: execute this cell again, or give the same command, and the training goes on from there")
            raise


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next step, for as long as this process lives.

    glibc gives a large tensor back to the system as soon as it is freed, and its successor meets a page fault every 4 KiB:
    15,000 a step of WRN-10-2, some per cent of a CPU's time. Other C libraries have no such switch.
    """
    if platform.libc_ver()[0] == "glibc":
        M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _train(config: Config, folder: Path, device: torch.device) -> Path:
    if device.type == "cpu":
        keep_freed_memory()
    train_set = images.load(config.id_dataset, "train")
    sets = {name: images.load(name, "test") for name in config.sets}
    sums = {f"{config.id_dataset}-train": images.sha256(train_set.images),
            **{f"{name}-test": images.sha256(found.images) for name, found in sets.items()}}
    trainer, kept = start(config, folder, resident(train_set, config.num_classes, device), device)
    ood = sets[config.history_ood].images
    ood = ood[::max(1, len(ood) // HISTORY_OOD)]

    def add_row(row: dict) -> None:
        trainer.history.append({"epoch": trainer.epoch, **row, **evaluate(trainer, sets[config.id_dataset], ood)})

    if not trainer.history:
        add_row({})
    # bars of several processes would overwrite each other
    terminal = sys.stderr.isatty() and multiprocessing.parent_process() is None
    saved = time.perf_counter()
    for _ in tqdm(range(trainer.epoch, config.epochs), initial=trainer.epoch, total=config.epochs, unit="epoch",
                  disable=not terminal, desc=config.run_id):
        begun = time.perf_counter()
        row = trainer.train_epoch()
        refuse_nan(trainer.loss_of_step.cpu(), trainer.epoch, trainer.history)
        kept["seconds"]["train"] += trainer.steps * config.batch_size / row["images_per_second"]
        add_row(row)
        now = time.perf_counter()
        kept["seconds"]["total"] += now - begun
        if now - saved >= CHECKPOINT_SECONDS or trainer.epoch == config.epochs:
            save(trainer, kept, folder)
            saved = now
        if not terminal:
            say(progress_line(config, trainer.history, now - begun))
    try:
        return write_results(trainer, kept, folder, sets, {"data": sums})
    except ValueError as error:  # of a score or a metric
        raise runs.RunError(f"{config.run_id}: {error}") from error


def start(config: Config, folder: Path, train_set: tuple[Tensor, Tensor], device: torch.device) -> tuple[Trainer, dict]:
    """A new trainer, or the one that the folder's checkpoint describes, and what is kept beside it.

    That is the run's seconds so far and by what it was `trained`: code, versions, device and precision, from which epoch
    on; one entry, unless it went on elsewhere. Raises RunError for a checkpoint that is damaged, of other settings or of an
    earlier version.
    """
    trainer = Trainer(config, train_set, device)
    here = {**provenance(), "device": device_name(device), "precision": trainer.precision, "precision_reason": trainer.precision_reason}
    told = f"in {trainer.precision}: {trainer.precision_reason}"
    path = folder / "checkpoint.safetensors"
    if path.exists():
        tensors, saved = read_checkpoint(path)
        try:
            require_same(saved["config"], config, folder)
            kept = {"seconds": {name: 0.0 + saved["seconds"][name] for name in ("train", "total")},
                    "trained": [part for part in saved["trained"] if part["from_epoch"] <= saved["epoch"]]}
            same = any({"from_epoch": part["from_epoch"], **here} == part for part in kept["trained"][-1:])
            elsewhere = not same and saved["epoch"] < config.epochs  # else nothing is trained here
            if elsewhere:
                kept["trained"].append({"from_epoch": saved["epoch"] + 1, **here})
            trainer.load_state(tensors)
            if saved["scaler"]:  # it was begun, too, with loss scaling
                trainer.scaler.load_state_dict(saved["scaler"])
            trainer.epoch, trainer.history = range(config.epochs + 1).index(saved["epoch"]), list(saved["history"])
        except (TypeError, ValueError):
            raise runs.RunError(f"{path} is damaged: its state is none of a training of {config.epochs} epochs; delete it to train this "
                                "run from the start") from None
        except KeyError as error:
            raise runs.RunError(f"{path} holds no {error}, so another version of this library wrote it; delete it to train this "
                                "run from the start") from error
        say(f"{config.run_id}: continuing after epoch {trainer.epoch}" + f" on {here['device']}, {told}" * elsewhere)
    else:
        kept = {"seconds": {"train": 0.0, "total": 0.0}, "trained": [{"from_epoch": 1, **here}]}
        say(f"{config.run_id}: {config.epochs} epochs of {trainer.steps} steps on {device}, {told}")
        if config.size != "smoke" and (why := unfit(here["code"])):
            print(f"{config.run_id}: `verify` will refuse this run: {why}", file=sys.stderr)
    # Loss scaling looks at the gradients on the host, which cannot be recorded.
    if device.type == "cuda" and trainer.precision != "float16" and not os.environ.get("LOGITNORM_EAGER"):
        trainer.play, why = graph.recorded(trainer)
        if why:
            print(f"{config.run_id}: {why}", file=sys.stderr)
    return trainer, kept


def save(trainer: Trainer, kept: dict, folder: Path) -> None:
    """Write the checkpoint from which `start` continues."""
    write_checkpoint(folder / "checkpoint.safetensors", trainer.state(), {
        "config": trainer.config.model_dump(), "epoch": trainer.epoch, "history": trainer.history,
        "scaler": trainer.scaler.state_dict(), **kept})


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], state: dict) -> None:
    """Weights and momentum with the plain state (epoch, history, settings) in the same file: one atomic write."""
    write_tensors(path, tensors, {"state": json.dumps(state)})


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors and the plain state that write_checkpoint wrote."""
    try:
        with safetensors.safe_open(path, "pt") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, json.loads(f.metadata()["state"])
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise runs.RunError(f"{path} is damaged ({error}); delete it to train this run from the start") from error


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
    def logits(batch: Tensor) -> Tensor:
        count = EVALUATION_BATCH if trainer.device.type == "cuda" else None
        found = scores.collect(trainer.net, batch, count, trainer.precision)
        return torch.from_numpy(found["logits"])

    f, f_ood = logits(id_test.images), logits(ood)
    return {"test_loss": F.cross_entropy(f, id_test.labels).item(),
            "test_accuracy": 100 * (f.argmax(1) == id_test.labels).double().mean().item(),
            **{f"{name}_{where}": value for where, logits_of in (("test", f), ("ood", f_ood))
               for name, value in geometry(logits_of, trainer.config).items()}}


def write_results(trainer: Trainer, kept: dict, folder: Path, sets: dict[str, data.ImageSet], known: dict) -> Path:
    """Score the trained net on every set, write the run's files and seal the folder; returns its final path."""
    config, begun = trainer.config, time.perf_counter()
    say(f"{config.run_id}: trained; now scoring {len(sets)} image sets ({sum(len(found.images) for found in sets.values()):,} images)")
    arrays = scoring.score_sets(config, trainer.net, sets)
    kept["seconds"]["total"] += time.perf_counter() - begun
    packed = scoring.pack(config, arrays)
    measured = scoring.measure(config, packed)
    label = {"run_id": config.run_id}
    write_history(folder / "history.csv", trainer.history)
    write_tensors(folder / "scores.safetensors", packed, label)
    write_csv(folder / "metrics.csv", measured)
    if config.keep_model:
        write_tensors(folder / "model.safetensors", {
            name: value.half() if value.is_floating_point() else value
            for name, value in trainer.net.state_dict().items()}, label)
    begun, *continued = kept["trained"]
    info = {**label, "format": scoring.FORMAT, "config": config.model_dump(), **known,
            **{name: value for name, value in begun.items() if name != "from_epoch"}, **({"continued": continued} if continued else {}),
            "threads": torch.get_num_threads(), "wall_seconds": round(kept["seconds"]["total"], 1),
            "images_per_second": round(config.epochs * trainer.steps * config.batch_size / kept["seconds"]["train"], 1),
            "scored": {**provenance(), "device": device_name(trainer.device)},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), "test_accuracy": measured[0]["value"],
            "logits": {name: geometry(torch.from_numpy(arrays[f"{name}/logits"]).double(), config)
                       for name in config.sets}}
    if config.method == "learned_confidence":
        info["confidence"] = scoring.confidence_summary(arrays[f"{config.id_dataset}/confidence"])
        if info["confidence"]["collapsed"]:
            print(f"{config.run_id}: warning: the confidence is the same for all ID test images (standard deviation "
                  f"{info['confidence']['sd']:.2g}); the branch has collapsed", file=sys.stderr)
    return finish(folder, info)


def geometry(f: Tensor, config: Config) -> dict[str, float]:
    """losses.geometry as plain numbers."""
    return {name: value.item() for name, value in losses.geometry(f, config.normalised_at).items()}


def write_history(path: Path, rows: list[dict]) -> None:
    """history.csv: the columns that every run has, then those of this run."""
    columns = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
               "norm_train", "norm_test", "norm_ood", "grad_norm", "images_per_second"]
    optional = [f"{name}_{where}" for name in ("offset", "centred_norm", "inverse_temperature")
                for where in ("train", "test", "ood")]
    columns += [name for name in (*optional, "lambda", "confidence_loss") if any(name in row for row in rows)]
    write_csv(path, [{name: f"{row[name]:.8g}" if isinstance(row.get(name), float) else row.get(name, "")
                           for name in columns} for row in rows])


def difference(found: Config, wanted: Config) -> str | None:
    """The name of the first setting in which a run made with these settings is not the one that is wanted.

    A run that names a precision fits one that leaves the precision to the processor ("mixed"), and what a run keeps of
    its outputs makes no other run of it.
    """
    for name, value in found:
        free = name.startswith("keep_") or (name, wanted.precision) == ("precision", "mixed")
        if value != getattr(wanted, name) and not free:
            return name
    return None


def require_same(found: dict, wanted: Config, path: Path) -> None:
    """Refuse to mix runs: name the first setting in which a folder differs from what was asked for."""
    try:
        found = Config(**found)
    except ConfigError as error:
        raise runs.RunError(f"{path} has settings that this version does not know ({error}); delete the folder to train it again") from None
    name = difference(found, wanted)
    if name in ("ood_sets", "extra_sets", "history_ood"):
        raise runs.RunError(f"{path} was scored with {name} = {getattr(found, name)!r}, not {getattr(wanted, name)!r}; name those sets, "
                            "use another seed, or score its weights on the official sets: python -m logitnorm official")
    if name:
        raise runs.RunError(f"{path} was trained with {name} = {getattr(found, name)!r}, not {getattr(wanted, name)!r}; "
                            "delete the folder to train it again, or use another seed or size")


def progress_line(config: Config, history: list[dict], seconds: float) -> str:
    """What a log that is not a terminal shows of the last epoch, which took `seconds`, with the test accuracy of the last twelve as a curve."""
    row = history[-1]
    left = seconds * (config.epochs - row["epoch"]) / 60  # by the last epoch: those before may be another machine's
    curve = "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * past["test_accuracy"] / 100))] for past in history[-12:])
    done = 20 * row["epoch"] // config.epochs
    return (f"{config.run_id}  {'█' * done}{'░' * (20 - done)}  epoch {row['epoch']}/{config.epochs}  loss {row['train_loss']:.3f}  "
            f"train {row['train_accuracy']:.1f} %  test {row['test_accuracy']:.1f} % {curve}  "
            f"{row['images_per_second']:.0f} images/s  {left:.1f} min left")
