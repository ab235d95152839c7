"""The papers' own OOD sets for runs that were scored on stand-ins: python -m logitnorm official [RUN ...].

Downloads and checks the official sets, scores the kept weights of each run on them (without a RUN: all of data/runs that
kept weights), and writes data/official/RUN.json: the metrics, with the checksums of the weights and of every image set.
What is there already is not scored again; a set that cannot be had is named, and the others are scored.
"""

import argparse
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pandas as pd
import torch

from logitnorm import data, paths
from logitnorm.runs import RunError

from . import experiments, images, paper, report, results, scoring
from .provenance import device_name, provenance
from .results import Result
from .verify import load_weights
from .writing import write_atomically

FOLDER = paths.ROOT / "data" / "official"


def score(run: Result, image_sets: dict[str, data.ImageSet], folder: Path = FOLDER) -> Path:
    """Score the run's weights on its ID test set and on official OOD sets; returns the file that holds what they measure.

    image_sets: by name, the ID test set first. A file of the same weights and images is left as it is. Raises RunError
    for a run without weights or one whose weights do not fit, and for a damaged file of an earlier call.
    """
    _require_weights(run)
    sums = {name: images.sha256(found.images) for name, found in image_sets.items()}
    known = {"run_id": run.id, "weights": run.info["files"]["model.safetensors"], "images": sums}
    path = Path(folder) / f"{run.id}.json"
    if path.exists() and known.items() <= _read(path).items():
        return path
    far = tuple(name for name in image_sets if name != run.config.id_dataset)
    config = run.config.replace(ood_sets=far, extra_sets=(), history_ood=far[0], keep_features=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arrays = scoring.score_sets(config, load_weights(run).to(device), image_sets)
    info = {**known, "counts": {name: len(found.images) for name, found in image_sets.items()},
            "scored": {**provenance(), "device": device_name(device)},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": [row for row in scoring.measure(config, arrays) if row["ood_dataset"]]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(info, indent=1) + "\n"))
    return path


def _require_weights(run: Result) -> None:
    if "model.safetensors" not in run.info["files"]:
        raise RunError(f"{run.id} kept no weights, so nothing can be scored; train it with keep_model = true")


def _read(path: Path) -> dict:
    """What `score` wrote."""
    try:
        info = json.loads(path.read_text())
        rows = [{name: row[name] for name in ("score", "ood_dataset", "metric", "value")} for row in info["metrics"]]
        return {**info, "weights": info["weights"], "metrics": rows}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); delete it and run `python -m logitnorm official` again") from error


def load(loaded: list[Result], folder: Path = FOLDER) -> pd.DataFrame:
    """What `score` wrote for these runs, with what each run says of the stand-in: one row per score, set and metric.

    Columns run, score, metric, stand_in, official (the sets' names), on_stand_in, on_official (percent). Raises RunError
    where a file is damaged or was made from other weights than the run's.
    """
    rows = []
    for run in loaded:
        path = Path(folder) / f"{run.id}.json"
        if not path.exists():
            continue
        info = _read(path)
        if info["weights"] != run.info["files"].get("model.safetensors"):
            raise RunError(f"{path} was made from other weights than {run.id} has; delete it and run `python -m logitnorm "
                           "official` again")
        stated = run.metrics.set_index(["score", "ood_dataset", "metric"])["value"]
        stand_ins = {data.official(name): name for name in run.config.ood_sets}
        rows += [{"run": run.id, "score": row["score"], "metric": row["metric"], "stand_in": stand_ins[row["ood_dataset"]],
                  "official": row["ood_dataset"], "on_official": row["value"],
                  "on_stand_in": stated[row["score"], stand_ins[row["ood_dataset"]], row["metric"]]}
                 for row in info["metrics"] if row["ood_dataset"] in stand_ins]
    return pd.DataFrame(rows, columns=["run", "score", "metric", "stand_in", "official", "on_stand_in", "on_official"])


def beside(frame: pd.DataFrame, found: list[Result], metric: str) -> pd.DataFrame:
    """By MSP, one line per pair of sets, and per method its stand-in and official value, means over these runs, for plots.table."""
    method = {run.id: paper.method_title(run.config) for run in paper.by_method(found)}
    part = frame[(frame["metric"] == metric) & (frame["score"] == "msp") & frame["run"].isin(method)]
    lines = []
    for (stand_in, official), group in part.groupby(["stand_in", "official"], sort=False):
        line = {("", "stand-in"): "the same images" if stand_in == official else paper.title(stand_in),
                ("", "official"): paper.title(official)}
        for name in dict.fromkeys(method.values()):
            of_method = group[group["run"].map(method) == name]
            line |= {(name, "stand-in"): of_method["on_stand_in"].mean(), (name, "official"): of_method["on_official"].mean()}
        lines.append(line)
    return paper.grouped_columns(lines)


def told(frame: pd.DataFrame) -> str:
    """The page's finding, computed: do the stand-ins say what the official sets say?"""
    part = frame[(frame["metric"] == "fpr95") & (frame["score"] == "msp") & (frame["stand_in"] != frame["official"])]
    if part.empty:
        return ("**No official image set was scored beside its stand-in yet**, so a number on a stand-in is "
                "judged by its direction alone. With a network connection, `python -m logitnorm official` downloads the six sets, scores "
                "the committed weights on them, and fills this page at the next `make book`.")
    gap = part["on_official"] - part["on_stand_in"]
    return (f"**FPR95 by MSP on an official set differs from that on its stand-in by {gap.abs().mean():.1f} points on "
            f"average**, {gap.abs().max():.1f} at most, over {part['official'].nunique()} sets and {part['run'].nunique()} "
            f"networks; the official set is harder in {(gap > 0).sum()} of {len(gap)} pairs.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm official",
                                     description="Score kept weights on the papers' own OOD sets, which are downloaded.")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="run folders (default: all with weights)")
    parser.add_argument("--to", type=Path, default=FOLDER, help="where the results go (default: data/official)")
    args = parser.parse_args(arguments)
    try:
        chosen = [results.load(path) for path in args.runs] or [
            run for run in results.load_all(everything=True) if "model.safetensors" in run.info["files"]]
        if not chosen:
            raise RunError(f"no run in {paths.RUNS} kept its weights; name a run folder that holds model.safetensors")
    except (RunError, OSError) as error:
        return report(error)
    status = 0

    @cache
    def fetched(name: str) -> data.ImageSet | None:
        nonlocal status
        try:
            return images.load(name)
        except data.DataError as error:
            status = report(error)
            return None

    for run in chosen:
        try:
            _require_weights(run)  # before anything is downloaded for it
            ID, far = run.config.id_dataset, experiments.official(run.config).ood_sets
            sets = {name: found for name in (ID, *far) if (found := fetched(name))}
            if ID not in sets or len(sets) == 1:
                raise RunError(f"{run.id} cannot be scored without its test images and one official set")
            print(score(run, sets, args.to), flush=True)
        except (RunError, OSError) as error:
            status = report(error)
    return status
