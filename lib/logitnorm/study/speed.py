"""What a training costs: the measurements of benchmarks/speed.py, and what is said of them."""

import json
from pathlib import Path

import pandas as pd

from . import paper

PLAIN, OURS = "plain, float32", "this book, float32"
EPOCH = 390 * 128  # images of CIFAR's training set that an epoch sees
OFFICIAL_MINUTES = 65  # of 200 epochs in the official code's training log, on the RTX 3090 that its paper names


def read(folder: Path, pattern: str) -> list[dict]:
    """The measurements of a folder, by the names of their files: speed-*.json, precision-*.json and gpu-*.json."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(pattern))]


def load(folder: Path) -> list[dict]:
    """The measurements of a folder, by network and then from the slowest processor to the fastest."""
    return sorted(read(folder, "speed-*.json"), key=lambda one: (one["architecture"], max(row["images_per_second"] for row in one["training"])))


def processor(one: dict) -> str:
    """The device of a measurement; of a CPU also whether it computes in bfloat16."""
    name = one["device"].removeprefix("CPU ")
    native = any(row["precision"] == "bfloat16" for row in one["training"])
    return f"{name}, bfloat16" if native and name != one["device"] else name


def lines(found: list[dict]) -> pd.DataFrame:
    """A line for each loop of each measurement: network, processor, loop, rate (images/s), times (the plain loop's), share
    (% of the matrix rate in that precision), hours (200 epochs).

    "mixed" is left out where it was float32, which has a line of its own.
    """
    rows = []
    for one in found:
        for row in one["training"]:
            if row["variant"].endswith("mixed") and row["precision"] == "float32":
                continue
            loop = "plain" if row["variant"].startswith("plain") else "this book"
            rows.append({"network": paper.network(one["architecture"]), "processor": processor(one),
                         "loop": f"{loop}, {row['precision']}", "rate": row["images_per_second"], "times": row["times_plain"],
                         "share": 100 * row["share_of_matmul_rate"], "hours": row["minutes_for_200_epochs"] / 60})
    return pd.DataFrame(rows, columns=["network", "processor", "loop", "rate", "times", "share", "hours"])


def wide(found: pd.DataFrame) -> pd.DataFrame:
    """`lines` as a table to read: a line for each network and processor, for each number 'plain → float32 → lower precision'."""
    rows = []
    for (network, name), part in found.groupby(["network", "processor"], sort=False):
        row = {("", "network, processor"): f"{network}, {name}"}
        for column, label in (("rate", "images/s"), ("share", "of the matrix rate, %"), ("hours", "hours for 200 epochs")):
            row["plain → this book, float32 → in lower precision", label] = " → ".join(f"{x:,.0f}" for x in part[column])
        rows.append(row)
    return paper.grouped_columns(rows)


def record(one: dict) -> tuple[pd.DataFrame, str]:
    """A measurement with everything that was measured, a line for each loop, and its settings in words."""
    rows = [{"loop": row["variant"].replace("mixed", f"mixed: {row['precision']}"),
             "images/s": f"{row['images_per_second']:,.0f}", "times plain": row["times_plain"],
             "matrix rate (GFLOP/s)": f"{row['matmul_gflops']:,.0f}", "share of matrix rate": f"{row['share_of_matmul_rate']:.1%}",
             "200 epochs (min)": f"{row['minutes_for_200_epochs']:,.0f}"}
            | ({} if row["peak_memory_gb"] is None else {"peak memory (GB)": f"{row['peak_memory_gb']:.2f}"})
            for row in one["training"]]
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    return pd.DataFrame(rows), (
        f"{paper.network(one['architecture'])}, dropout {one['dropout']}, batch 128, on {one['device']}, {one['threads']} of {one['cores']} "
        f"cores; {one['training_gflops_per_image']:.2f} GFLOP an image; matrices of {one['matmul_size']}²; best of {one['repeat']}; {versions}; "
        f"{one['measured'][:10]}.")


def on_gpu(loaded: list) -> list:
    """The runs that a GPU trained."""
    return [run for run in loaded if not run.info["device"].startswith(("CPU", "none"))]


def seconds_on_gpu(run) -> pd.Series:
    """Seconds of the training steps of each epoch that the run's first device trained, from history.csv."""
    seconds = EPOCH / run.history.set_index("epoch")["images_per_second"].loc[1:]
    elsewhere = [part["from_epoch"] for part in run.info.get("continued", []) if part["device"] != run.info["device"]]
    return seconds.loc[:min(elsewhere, default=run.config.epochs + 1) - 1]


def gpu_table(folder: Path, loaded: list) -> pd.DataFrame:
    """What ran on a GPU, a line each: the steps measured alone (gpu-*.json), and the runs as their history.csv has them.

    Columns what, images/s, 200 epochs (min): of the training steps, without evaluation.
    """
    found = [(f"{paper.network(one['architecture'])}, alone, step {row['step']}"
              + (f" (in {row['seconds_to_compile']:.0f} s)" if "seconds_to_compile" in row else ""), row["images_per_second"])
             for one in read(folder, "gpu-*.json") for row in one["rates"]]
    found += [(f"{paper.network(run.config.architecture)}, the run of {paper.method_title(run.config)}, {len(seconds)} epochs, beside another",
               EPOCH / seconds.mean()) for run in on_gpu(loaded) for seconds in [seconds_on_gpu(run)]]
    return pd.DataFrame([{"what": what, "images/s": f"{rate:,.0f}", "200 epochs (min)": f"{200 * EPOCH / rate / 60:.1f}"} for what, rate in found])


def gpu_said(loaded: list) -> str:
    """Markdown: how long the paper's own trainings took on a GPU here, beside the released log; "" without such a run."""
    runs = [run for run in on_gpu(loaded) if run.config.size == "full"]
    if not runs:
        return "No GPU has trained for this book yet: **the GPU numbers are open**."
    found = [seconds_on_gpu(run) for run in runs]
    minutes, lengths = max(seconds.sum() for seconds in found) / 60, " and ".join(str(len(seconds)) for seconds in found)
    return (f"**On an {runs[0].info['device'].removeprefix('NVIDIA ').split()[0]} the paper's own training takes minutes**: {len(runs)} runs of "
            f"{paper.network(runs[0].config.architecture)}, {lengths} epochs, side by side on one GPU, took {minutes:.0f} minutes. The released log has "
            f"about {OFFICIAL_MINUTES} for one run, on an older card.")


def precision_table(one: dict) -> pd.DataFrame:
    """A line for each method: accuracy in float32 and in bfloat16 with the same seeds, and whether they differ by more than seeds do."""
    lines = []
    for method, part in pd.DataFrame(one["rows"]).groupby("method", sort=False):
        by = {precision: rows["accuracy"] for precision, rows in part.groupby("precision")}
        change = by["bfloat16"].mean() - by["float32"].mean()
        noise = max(by["float32"].std(), by["bfloat16"].std())
        lines.append({"loss": paper.LABELS[method], "seeds": str(len(by["float32"])), "float32, accuracy (%)": paper.spread(by["float32"]),
                      "bfloat16, accuracy (%)": paper.spread(by["bfloat16"]), "difference": f"{change:+.2f}",
                      "within two standard deviations of the seeds": "yes" if abs(change) <= 2 * noise else "no"})
    return pd.DataFrame(lines)


def finding(found: pd.DataFrame) -> str:
    """Markdown: how many times as fast as the plain loop, in one sentence with its numbers."""
    if not len(found):
        return f"The measurement: {paper.NOT_RUN}."

    def ends(rows):
        return paper.span(rows["times"], 1)  # two measurements of one loop differ by up to a tenth

    plain, float32 = found["loop"].eq(PLAIN), found["loop"].eq(OURS)
    lower = found[~plain & ~float32]
    more = f", and {ends(lower)} times where the processor computes in a lower precision" if len(lower) else ""
    return f"**This book trains {ends(found[float32])} times as fast as a plain PyTorch loop in the same precision{more}.**"


def ceiling(found: list[dict]) -> str:
    """Markdown: how much of the matrix rate PyTorch's convolutions alone reach, and how much of that the step; "" if unmeasured."""
    said = []
    for one in found:
        alone = one.get("convolutions_images_per_second")
        for row in one["training"]:
            if alone and row["variant"] == OURS:
                share = row["share_of_matmul_rate"]
                said.append(f"{paper.network(one['architecture'])} on {processor(one)} "
                            f"{share * alone / row['images_per_second']:.2f} and {row['images_per_second'] / alone:.0%}")
    if not said:
        return ""
    return ("The convolutions limit the speed: alone, with nothing between them, they reach only a part of the matrix rate, and our whole "
            f"step most of their speed. Both shares, in float32: {'; '.join(said)}.")
