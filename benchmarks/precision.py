"""Does training in low precision cost accuracy? Float32 against bfloat16, the same seeds, on this machine.

    python benchmarks/precision.py [--size smoke] [--only cross_entropy] [--seeds 1 2 3] [--out data/benchmarks]

Trains the runs of one size of experiments.yaml at both precisions into a temporary folder, and writes test accuracy
and mean AUROC by MSP of every seed to one JSON file, which the book's page on speed reads.
"""

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from logitnorm import paths
from logitnorm.study import experiments, results, training
from speed import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", default="smoke")
    parser.add_argument("--only", default="cross_entropy|logitnorm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    args = parser.parse_args()
    base = {(c.method, c.tau): c for c in experiments.configs(size=args.size, only=args.only)}
    rows = []
    for config in base.values():
        for precision in ("float32", "bfloat16"):
            for seed in args.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    run = results.load(training.train(config.replace(precision=precision, seed=seed), folder))
                    msp = run.metrics[(run.metrics.score == "msp") & (run.metrics.metric == "auroc")]
                    far = msp[msp.ood_dataset.isin(config.ood_sets)].value.mean()
                rows.append({"method": config.method, "precision": precision, "seed": seed,
                             "accuracy": round(run.info["test_accuracy"], 3), "auroc": round(far, 3)})
                print(json.dumps(rows[-1]), flush=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    save(args.out / f"precision-{device.type}-{args.size}.json",
         {"size": args.size, "device": training.device_name(device), "torch": version("torch"), "rows": rows})


if __name__ == "__main__":
    main()
