"""What a training costs: the measurements of benchmarks/speed.py, and what is said of them."""

import json
from pathlib import Path

import pandas as pd

from . import paper

PLAIN, OURS = "plain, float32", "this book, float32"


def load(folder: Path) -> list[dict]:
    """The measurements of a folder, by network and then from the slowest processor to the fastest."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("speed-*.json"))]
    return sorted(found, key=lambda one: (one["architecture"], max(row["images_per_second"] for row in one["training"])))


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


def finding(found: pd.DataFrame) -> str:
    """Markdown: how many times as fast as the plain loop, in one sentence with its numbers."""
    if not len(found):
        return f"The measurement: {paper.NOT_RUN}."

    def ends(rows):
        least, most = f"{rows['times'].min():.2f}", f"{rows['times'].max():.2f}"
        return least if least == most else f"{least} to {most}"

    plain, float32 = found["loop"].eq(PLAIN), found["loop"].eq(OURS)
    lower = found[~plain & ~float32]
    more = f", and {ends(lower)} times where the processor computes in a lower precision" if len(lower) else ""
    return f"**This book trains {ends(found[float32])} times as fast as a plain PyTorch loop in the same precision{more}.**"
