"""Is a run what it says? On a CPU, in minutes, from its folder or its one-file archive.

    python -m logitnorm verify RUN [RUN ...] [--download] [--report]

The first thing that is wrong ends the check with one sentence. What is looked at, in this order: the files (no pickle, no
link, nothing that a run does not have), their checksums, the settings (the name says the same; experiments.yaml lists the
same), the code version, the history, the metrics, the image sets, and the weights, with which the test set and one OOD set
are scored again. --download fetches image sets that are not on this machine; --report prints Markdown for a pull request.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
import safetensors.torch
import torch
from scipy.stats import rankdata

from logitnorm import data, paths, runs
from logitnorm.runs import RunError
from logitnorm.train import learning_rate, network

from . import experiments, images, parcel, report, results, scoring
from .provenance import git, unfit
from .results import Result
from .training import TRAIN_IMAGES

# How far a run's scores may be from those of its weights. The weights of format 2 are rounded to float16, which moves an
# image among all by 1 rank in 1000 on average; a net of another seed moves it by 200. Shares of the number of images.
MEAN_MOVE = 0.01  # on average
FAR, MOST_FAR = 0.05, 0.001  # an image that moved by more than FAR; the share of images that may have
MOST_CHANGED = 0.005  # of the predictions on the ID test set
STEPPED = 500  # images whose scores with a step on the input are computed again: each takes a backward pass too

# Above what these nets reach without other images; a net that was trained on the test images is at 100 %.
BEST_ACCURACY = {"cifar10": 98.0, "cifar100": 87.0}
GAP = 5.0  # by so many points the last epoch's accuracy on test images may be above that on the augmented training images
HISTORY_ACCURACY = 1.0  # the history's last one is of the precision of the training, run.json's of float32


def verify(path: Path, file: Path = experiments.FILE, known: Path = paths.RUNS, download: bool = False) -> list[str]:
    """What was checked and found right, one sentence each; a run that is not right raises RunError with one sentence.

    path: a run folder or an archive of one; file: experiments.yaml; known: finished runs, for the checksums of the image
    sets; download: fetch image sets that are not on this machine.
    """
    with parcel.opened(path) as folder:
        require_files(folder)
        try:
            run = results.load(folder)
            said = [_sealed(run), _settings(run, file), _code(run), _history(run), _metrics(run), _images(run, known),
                    _weights(run, download)]
        except RunError:
            raise
        except Exception as error:  # a stranger's file may raise anything
            raise RunError(f"{folder.name} is not a run of this book: {type(error).__name__}: {error}") from error
    return said


def require_files(folder: Path) -> None:
    """RunError unless the folder holds what a run holds and nothing else: plain files, weights and scores as safetensors."""
    if folder.suffix == ".part":
        raise RunError(f"{folder} is a run in progress; start the same command again, it goes on from the checkpoint")
    if folder.is_symlink():
        raise RunError(f"{folder} is a link; name the run folder itself")
    for path in sorted(folder.iterdir()):
        if path.name not in parcel.FILES or path.is_symlink() or not path.is_file():
            raise RunError(f"{folder.name} holds {path.name}{' (a link)' if path.is_symlink() else ''}; a run has "
                           f"{', '.join(parcel.FILES)} and nothing else, and weights only as safetensors")
    if (total := sum(path.stat().st_size for path in folder.iterdir())) > parcel.MOST_BYTES:
        raise RunError(f"{folder.name} has {total / 1e6:.0f} MB, more than any run ({parcel.MOST_BYTES / 1e6:.0f} MB)")
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            start = file.read(9)
        if start[8:] != b"{":  # eight bytes of length, then JSON
            kind = "a pickle" if start[:1] == b"\x80" or start[:2] == b"PK" else "another file"
            raise RunError(f"{folder.name}/{path.name} is {kind} under the name of a safetensors file; it was not opened")


def _sealed(run: Result) -> str:
    files = run.info["files"]
    inside = {path.name for path in run.path.iterdir()} - {"run.json"}
    if set(files) != inside or not {"history.csv", "metrics.csv", "scores.safetensors"} <= inside:
        raise RunError(f"{run.path.name}: run.json lists {', '.join(sorted(files))}, but the folder holds "
                       f"{', '.join(sorted(inside))}")
    return f"{len(files)} files have the checksums of run.json"


def _settings(run: Result, file: Path) -> str:
    """The name of the folder, the settings and the tensors' own labels agree; so does experiments.yaml if it lists it."""
    config, name = run.config, run.path.name
    for said, where in ((config.run_id, "the settings in run.json"), (run.id, "run_id in run.json"),
                        *((label, file) for file, label in _labels(run))):
        if said != name:
            raise RunError(f"{name}: {where} say {said}; a run keeps the name that its settings give it")
    listed = {planned.run_id: planned for planned in experiments.configs(file)}.get(name)
    if listed is None:
        return f"{Path(file).name} does not list this run, so no table shows it: its settings were compared with nothing"
    if differs := experiments.unlike(config, listed, file):
        raise RunError(f"{name} was trained with {differs}")
    return f"the settings are those of {Path(file).name}"


def _labels(run: Result) -> list[tuple[str, str]]:
    """(file, the run id that its metadata say) of the tensors."""
    found = []
    for path in sorted(run.path.glob("*.safetensors")):
        with safetensors.safe_open(path, "np") as file:
            found.append((path.name, (file.metadata() or {}).get("run_id", "nothing")))
    return found


def _code(run: Result) -> str:
    """The commit that trained the run is one of this repository, as far as this checkout can tell."""
    code = run.info["code"]
    if why := unfit(code):
        raise RunError(f"{run.id}: {why}")
    commit = code["commit"]
    if git("rev-parse", "--is-shallow-repository") != "false":
        return f"trained by commit {commit[:10]}, which this checkout has no history to look for"
    if git("cat-file", "-t", commit) != "commit":
        raise RunError(f"{run.id} was trained by commit {commit[:10]}, which this repository does not have; push that "
                       "commit first")
    return f"trained by commit {commit[:10]} of this repository"


def _history(run: Result) -> str:
    """All epochs are there, with the learning rates of the schedule and accuracies that so many images can have."""
    config, name, rows = run.config, run.config.id_dataset, run.history.to_dict("records")
    if len(rows) != config.epochs + 1 or any(row["epoch"] != epoch for epoch, row in enumerate(rows)):
        raise RunError(f"{run.id}: history.csv has {len(rows) - 1} epochs, the settings say {config.epochs}")
    steps = TRAIN_IMAGES[name] // config.batch_size
    for row in rows[1:]:
        epoch = f"{run.id}: history.csv, epoch {row['epoch']:.0f}"
        for column in ("train_loss", "test_loss", "norm_train", "norm_test", "norm_ood", "grad_norm"):
            if not math.isfinite(row[column]):
                raise RunError(f"{epoch}: {column} is {row[column]}; a training that lost its numbers is no result")
        rate = learning_rate(config, int(row["epoch"]) * steps - 1, steps)
        if not math.isclose(row["lr"], rate, rel_tol=1e-6):
            raise RunError(f"{epoch}: the learning rate is {row['lr']:.6g}, the schedule of the settings gives {rate:.6g} "
                           f"for {TRAIN_IMAGES[name]:,} training images")
        for which, count in (("train", steps * config.batch_size), ("test", len(run.correct))):
            right = row[f"{which}_accuracy"] / 100 * count
            if abs(right - round(right)) > 0.01:
                raise RunError(f"{epoch}: no count of {count:,} images gives a {which} accuracy of "
                               f"{row[f'{which}_accuracy']:.6f} %; the net saw another number of images")
    last, stated = rows[-1], run.info["test_accuracy"]
    if abs(last["test_accuracy"] - stated) > HISTORY_ACCURACY or abs(100 * np.mean(run.correct) - stated) > 1e-6:
        raise RunError(f"{run.id}: run.json says a test accuracy of {stated} %, the history ends with "
                       f"{last['test_accuracy']} % and the scores give {100 * np.mean(run.correct):.2f} %")
    if last["test_accuracy"] - last["train_accuracy"] > GAP or stated > BEST_ACCURACY.get(name, 100):
        raise RunError(f"{run.id}: {stated} % on test images and {last['train_accuracy']:.1f} % on training images; so good "
                       "a net has most likely been trained on test images")
    return (f"{config.epochs} epochs with the learning rates of the schedule, {stated:.2f} % on test and "
            f"{last['train_accuracy']:.2f} % on training images")


def _metrics(run: Result) -> str:
    scoring.require_metrics(run)
    return "metrics.csv follows from the scores"


def _images(run: Result, known: Path) -> str:
    """The checksums of the image sets are those of the finished runs, and no training set is a test set."""
    config, sums = run.config, run.info["data"]
    wanted = [f"{config.id_dataset}-train", *(f"{name}-test" for name in run.sets)]
    if missing := [name for name in wanted if name not in sums]:
        raise RunError(f"{run.id}: run.json has no checksum of {missing[0]}")
    if twin := next((name for name in wanted[1:] if sums[name] == sums[wanted[0]]), None):
        raise RunError(f"{run.id}: {wanted[0]} and {twin} have the same checksum; it was trained on what it is tested on")
    recorded: dict[str, str] = {}
    for path in sorted(Path(known).glob("*/run.json")):
        if path.parent.name != run.id:
            recorded |= runs.load(path.parent, verify=False).info["data"]
    compared = [name for name in wanted if name in recorded]
    for name in compared:
        if sums[name] != recorded[name]:
            raise RunError(f"{run.id}: its {name} are other images than those of the finished runs (the checksums in "
                           "run.json differ)")
    return f"{len(compared)} of {len(wanted)} image sets have the checksums that finished runs recorded"


def _weights(run: Result, download: bool) -> str:
    """The weights give the run's predictions and, on the ID test set and one OOD set, its scores."""
    if not (run.path / "model.safetensors").exists():
        return "the run kept no weights, so its scores could not be computed again (keep_model = true keeps them)"
    config = run.config
    net = load_weights(run)
    usable = [name for name in dict.fromkeys((config.history_ood, *run.sets[1:])) if _usable(name, download)]
    if not usable or not _usable(config.id_dataset, download):
        return (f"the weights load, but the images of {config.id_dataset} or of every OOD set are not on this machine, so "
                "its scores were not computed again; --download fetches them")
    ood = usable[0]
    sets = {name: images.load(name) for name in (config.id_dataset, ood)}
    for name, found in sets.items():
        if images.sha256(found.images) != run.info["data"][f"{name}-test"]:
            raise RunError(f"{run.id} was scored on other images of {name} than those on this machine")
    labels = sets[config.id_dataset].labels.numpy()
    if not np.array_equal(run.tensor(f"{config.id_dataset}/labels"), labels):
        raise RunError(f"{run.id}: the labels in scores.safetensors are not those of {config.id_dataset}")
    found = {name: scoring.outputs(config, net, image_set.images) for name, image_set in sets.items()}
    changed = np.mean((found[config.id_dataset]["logits"].argmax(1) == labels) != run.correct)
    if changed > MOST_CHANGED:
        raise RunError(f"{run.id}: the weights give other predictions than the run says, for {100 * changed:.1f} % of the "
                       "test images; the weights or the scores are not those of this training")
    moves = {name: _require_near(run, name, run.score(name, *sets), np.concatenate(
        [scoring.score(config, name, of_set.__getitem__) for of_set in found.values()]))
        for name in scoring.of_method(config.method) if name not in scoring.input_steps(config)}
    return (f"the weights give its scores on {config.id_dataset} and {ood} again: an image moves by "
            f"{100 * max(moves.values()):.2f} % of the ranks on average at most, {100 * MEAN_MOVE:g} % are allowed"
            + _stepped(run, net, sets))


def load_weights(run: Result) -> torch.nn.Module:
    """The run's net with its weights. Raises RunError for weights that are not those of the network in the settings."""
    config = run.config
    net = network(config)
    try:
        weights = safetensors.torch.load_file(run.file("model.safetensors"))
        net.load_state_dict(weights)
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise RunError(f"{run.id}: model.safetensors does not fit {config.architecture} ({' '.join(str(error).split())[:160]})"
                       ) from None
    if bad := next((name for name, value in weights.items() if not value.float().isfinite().all()), None):
        raise RunError(f"{run.id}: the weights {bad} are not finite")
    return net


def _usable(name: str, download: bool) -> bool:
    """Whether the set is on this machine, is made here, or may and can be downloaded."""
    made = name in data.embedded.NAMES
    return made or data.file(name, "test").exists() or (download and data.SETS[name].stands_in_for is None)


def _stepped(run: Result, net: torch.nn.Module, sets: dict[str, data.ImageSet]) -> str:
    """The scores with a step on the input, of evenly spaced images of each set. The step is the sign of a gradient, so
    that a rounding of the weights moves single images far: only the average counts."""
    steps = scoring.input_steps(run.config)
    places = {name: data.evenly(len(found.images), STEPPED) for name, found in sets.items()}
    found = {name: scoring.outputs(run.config, net, sets[name].images[at], steps=steps) for name, at in places.items()}
    for step in steps:
        stated = np.concatenate([run.score(step, name)[at] for name, at in places.items()])
        _require_near(run, step, stated, np.concatenate([found[name][step] for name in sets]), far=1.0)
    return f", and so do {' and '.join(steps)} on {sum(map(len, places.values()))} of the images"


def _require_near(run: Result, name: str, stated: np.ndarray, found: np.ndarray, far: float = FAR) -> float:
    """The average move of an image among all, in shares of their number; RunError where it is too large."""
    moves = np.abs(rankdata(stated) - rankdata(found)) / len(stated)
    if moves.mean() > MEAN_MOVE or np.mean(moves > far) > MOST_FAR:
        raise RunError(f"{run.id}: the weights give other scores ({name}) than the run says: an image moves by "
                       f"{100 * moves.mean():.1f} % of the ranks on average and {100 * np.mean(moves > far):.2f} % of them "
                       f"by more than {100 * far:g} %; allowed are {100 * MEAN_MOVE:g} % and {100 * MOST_FAR:g} %")
    return float(moves.mean())


# For a pull request ------------------------------------------------------------------------------------------

def changes(run: Result, runs_dir: Path = paths.RUNS) -> list[str]:
    """The lines of the ledger that this run changes, as Markdown list items: from the runs without it to those with it."""
    from . import ledger

    others = [found for found in results.load_all(runs_dir) if found.id != run.id]
    mine = [run] if run.in_grid else []
    tables = [ledger.build({size: [found for found in chosen if found.config.size == size] for size in ledger.SIZES})
              for chosen in (others, [*others, *mine])]
    both = tables[0].merge(tables[1], on="id", suffixes=("_before", ""))
    columns = ("ours", "verdict", "size")
    changed = both[[any(row[name] != row[f"{name}_before"] for name in columns) for _, row in both.iterrows()]]
    def told(row: pd.Series, which: str) -> str:
        word, number = row[f"verdict{which}"], row[f"ours{which}"]
        return word if number in ("", word) else f"{word} ({number})"

    return [f"- {row['where']}, {row['says'].rstrip('.')}: {told(row, '_before')} → {told(row, '')}; the paper: "
            f"{row['theirs']}" for _, row in changed.iterrows()]


def markdown(path: Path, download: bool = False) -> tuple[str, bool]:
    """(the answer to a pull request that adds this run, whether the run is what it says)."""
    name = Path(path).name.removesuffix(".zip")
    try:
        said = verify(path, download=download)
    except (RunError, data.DataError, experiments.ExperimentsError, OSError) as error:
        return f"### ✗ `{_plain(name)}`\n\n{_plain(str(error))}\n", False
    with parcel.opened(path) as folder:
        run = results.load(folder)
        rows = {(row["score"], row["ood_dataset"], row["metric"]): row["value"] for row in scoring.measure(run.config, run.arrays())}
        try:
            lines = changes(run) or ["- no line changes"]
        except RunError as error:  # of another run: its own report says so too
            lines = [f"- not compared: {_plain(str(error))}"]
    table = [f"| {image_set} | {rows['msp', image_set, 'fpr95']:.2f} | {rows['msp', image_set, 'auroc']:.2f} |"
             for image_set in run.sets[1:]]
    return "\n".join([
        f"### ✓ `{name}`", "", f"Test accuracy {run.info['test_accuracy']:.2f} %, on {_plain(str(run.info.get('device')))}.",
        "", "| OOD set (score MSP) | FPR95 (%) | AUROC (%) |", "|---|---|---|", *table, "", "Checked:", "",
        *(f"- {_plain(line)}" for line in said), "", "The ledger:", "", *lines, ""]), True


def _plain(text: str) -> str:
    """Text of a stranger's file inside Markdown: no markup, no mentions, one line."""
    return "".join(letter if letter.isalnum() or letter in " .,;:%()=/_-+'→" else "?" for letter in text)[:500]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm verify", description="Is a run what it says?")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, or archives of `logitnorm pack`")
    parser.add_argument("--download", action="store_true", help="fetch image sets that are not on this machine")
    parser.add_argument("--report", action="store_true", help="print Markdown with the numbers and what they change")
    args = parser.parse_args(arguments)
    failed = 0
    for path in args.runs:
        if args.report:
            text, right = markdown(path, args.download)
            print(text)
            failed |= not right
            continue
        try:
            said = verify(path, download=args.download)
            print(f"{path}:", *said, sep="\n  ")
        except (RunError, data.DataError, ValueError, OSError) as error:
            failed = report(error)
    return int(failed)
