"""The training notebook's presets: from one word to a run, what it will cost before it starts, and how to hand it in."""

import math
import time
from pathlib import Path

import torch

from logitnorm import data, paths
from logitnorm.config import Config, ConfigError
from logitnorm.train import Trainer, precision_on, resident

from . import experiments, parcel, results, training
from .provenance import device_name

# quick: a real result on CIFAR-10 (WRN-10-2, the schedule of size small in a third of its epochs). It is scored on two image
# sets, so that there is little to download. On a processor with AVX2 alone, where a core trains on about 120 images a second
# and scores about 140, that is half an hour of one core; where bfloat16 is native, a third of it.
# Every preset keeps the weights: a run can only be verified with them.
PRESETS: dict[str, dict] = {
    "quick": dict(size="small", epochs=4, ood_sets=("svhn_part", "isun"), extra_sets=()),
    "small": dict(size="small"), "medium": dict(size="medium"), "full": dict(size="full")}

# Megabytes of the official downloads whose size is known.
MEGABYTES = {"cifar10": 171, "cifar100": 169, "svhn": 64, "mnist": 12, "textures": 625, "places365": 525}
MEASURED_STEPS = 5


def config(preset: str, **given) -> Config:
    """The run of a preset with the settings that are given (None: not given); a size among them takes its place.

    Where the stand-ins of a preset's image sets are not on this machine, it is scored on the official sets, which are
    downloaded. Raises ConfigError for an unknown preset or setting.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if "size" in given:
        return Config(**given)
    if preset not in PRESETS:
        raise ConfigError(f"preset should be one of {', '.join(PRESETS)}, got {preset!r}", "preset")
    found = Config(**{"keep_model": True, **PRESETS[preset], **given})
    absent = [name for name in found.sets if data.SETS[name].stands_in_for and not _cached(name, "test")]
    return experiments.official(found) if absent else found


def _cached(name: str, *splits: str) -> bool:
    return all(data.file(name, split).exists() for split in splits)


def tell(run: Config, runs_dir: Path = paths.RUNS, full_on_cpu: bool = False) -> str:
    """What the run needs, before it starts: device, precision, minutes, megabytes, and where the results go.

    Raises ConfigError for a run of size full on a CPU, unless full_on_cpu.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and run.size == "full" and not full_on_cpu:
        raise ConfigError("a run of size full takes days on a CPU: choose a GPU (in Colab: Runtime, Change runtime type), "
                          "another preset, or set full_on_cpu = True", "full_on_cpu")
    precision, why = precision_on(run.precision, device)
    return "\n".join([
        f"run        {run.run_id}",
        f"device     {device_name(device)}, {torch.get_num_threads()} threads, {precision} ({why})",
        f"training   about {math.ceil(minutes(run, device))} min, measured on its first steps; then every image set is scored",
        f"download   {download(run)}", f"results    {Path(runs_dir) / run.run_id}"])


def minutes(run: Config, device: torch.device) -> float:
    """Minutes that all epochs will take, from a few steps on noise."""
    count = run.batch_size * MEASURED_STEPS
    classes = run.num_classes
    noise = data.ImageSet(torch.randint(256, (count, data.SIZE, data.SIZE, 3), dtype=torch.uint8),
                          torch.arange(count) % classes)
    trainer = Trainer(run, resident(noise, classes, device), device)
    trainer.train_epoch()  # the first steps choose algorithms
    started = time.perf_counter()
    trainer.train_epoch()
    per_image = (time.perf_counter() - started) / count
    return run.epochs * training.TRAIN_IMAGES[run.id_dataset] * per_image / 60


def download(run: Config) -> str:
    """The image sets that are not on this machine, with the megabytes that are known."""
    missing = [name for name in run.sets
               if data.SETS[name].archive and not _cached(name, "test", *["train"] * (name == run.id_dataset))]
    if not missing:
        return "nothing, the images are here"
    unknown = [name for name in missing if name not in MEGABYTES]
    return (f"{sum(MEGABYTES.get(name, 0) for name in missing)} MB: {', '.join(missing)}"
            + (f" (without {', '.join(unknown)}, of which only the download knows the size)" if unknown else ""))


def hand_in(folder: Path) -> str:
    """Pack the run as one file; its path and, of a run that experiments.yaml lists and no build trains anew, the text of the pull request
    that hands it in."""
    run, archive = results.load(folder), parcel.pack(folder)
    listed = run.config.size != "smoke" and run.id in {planned.run_id for planned in experiments.configs()}
    packed = f"{archive} ({archive.stat().st_size / 1e6:.1f} MB): look at it with `python -m logitnorm verify {archive}`."
    if not listed:
        where = "A results notebook shows it" if run.in_grid else (
            "Its network or settings are not those of its size, so the tables leave it out; provenance.ipynb lists it")
        return (f"{packed}\nKeep {run.id} out of data/runs/, which holds what experiments.yaml lists and a build does not train. {where} beside the book's "
                f"runs with runs_dir = \"+{folder.absolute().parent}\".")
    return "\n".join([
        packed, "To hand it in, unpack it in data/runs/ of a fork and open a pull request with this text:", "",
        f"Run {run.id}", "",
        f"{run.info['test_accuracy']:.2f} % on the test images of {data.SETS[run.config.id_dataset].title}, trained on "
        f"{run.info['device']} in {run.info['wall_seconds'] / 60:.0f} minutes by commit {run.info['code']['commit']}. It is one of the runs that experiments.yaml lists."])
