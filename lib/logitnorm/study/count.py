"""How many of the printed numbers of both papers have one of ours: python -m logitnorm count."""

import argparse
from pathlib import Path

import pandas as pd

from logitnorm import paths
from logitnorm.runs import RunError

from . import ledger, paper, report, results


def first_paper(loaded: list) -> pd.DataFrame:
    """One line per table of the LogitNorm paper: printed numbers, how many have one of ours, sizes, fewest seeds.

    A number counts where a run of any size has its own one: of the network or a narrow one of its kind, on the image
    set or its stand-in. Which of them is close is another question, the verdict's.
    """
    frame = paper.ours(loaded)
    cells = []
    for size in dict.fromkeys(frame["size"]):
        found = paper.compare(frame[frame["size"] == size])
        cells.append(found[found["ours"].notna()].assign(size=size)[["table", *paper.KEYS, "size", "n"]])
    printed = paper.numbers().drop_duplicates(["table", *paper.KEYS])
    mine = pd.concat(cells) if cells else pd.DataFrame(columns=["table", *paper.KEYS, "size", "n"])
    best = mine.groupby(["table", *paper.KEYS], as_index=False).agg(seeds=("n", "max"), sizes=("size", list))
    return _by_table(printed.merge(best, on=["table", *paper.KEYS], how="left"), "LogitNorm, Table ")


def second_paper(loaded: list) -> pd.DataFrame:
    """The same for Table 1 of Learned Confidence: its methods with Cutout, on a network of the same family."""
    printed = ledger.confidence_table()
    printed["set"] = printed["ood_dataset"].replace({"tinyimagenet_resize": "tinyimagenet"})
    printed["family"] = printed["architecture"].str.replace(r"[\d_].*", "", regex=True)
    frame = paper.ours([run for run in loaded if run.config.cutout])
    frame["set"], frame["family"] = frame["paper_set"], frame["architecture"].str.replace(r"[\d_].*", "", regex=True)
    keys = ["family", "method", "score", "set", "metric"]
    best = frame.assign(id_dataset=frame["paper_id"]).groupby(["id_dataset", *keys], as_index=False).agg(
        seeds=("seed", "nunique"), sizes=("size", lambda size: sorted(set(size))))
    both = printed.merge(best, on=["id_dataset", *keys], how="left")
    both["table"] = both["id_dataset"].map(paper.title) + ", " + both["architecture"].map(paper.network)
    return _by_table(both, "Learned Confidence, Table 1, ")


def _by_table(cells: pd.DataFrame, prefix: str) -> pd.DataFrame:
    rows = []
    for table, part in cells.groupby("table"):
        ours = part[part["seeds"].notna()]
        rows.append({"where": f"{prefix}{table}".replace("Table text-", "section "), "printed": len(part),
                     "ours": len(ours), "sizes": ", ".join(sorted({size for sizes in ours["sizes"] for size in sizes})) or "–",
                     "seeds": f"{ours['seeds'].min():.0f}" if len(ours) else ""})
    return pd.DataFrame(rows)


def counted(loaded: list) -> pd.DataFrame:
    """Both papers, table by table, and a line with the sum of each."""
    parts = []
    for name, part in (("LogitNorm", first_paper(loaded)), ("Learned Confidence", second_paper(loaded))):
        total = {"where": f"{name}, all", "printed": part["printed"].sum(), "ours": part["ours"].sum(), "sizes": "",
                 "seeds": ""}
        parts += [part, pd.DataFrame([total])]
    return pd.concat(parts, ignore_index=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m logitnorm count", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--runs-dir", type=Path, default=paths.RUNS, help="where the runs are (default: data/runs)")
    args = parser.parse_args(arguments)
    try:
        loaded = [run for run in results.load_all(args.runs_dir) if run.config.size != "smoke"]
        print(counted(loaded).to_string(index=False))
    except (RunError, OSError) as error:
        return report(error)
    return 0
