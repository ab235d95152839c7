"""The temperature by decree: LogitNorm on scikit-learn's digits with labels that are wrong with a set probability.

    python benchmarks/label_noise.py law|controls [--out data/benchmarks]

Trains the perceptrons of logitnorm.study.label_noise and writes label_noise.json or label_controls.json, which the page on the hidden
temperature reads. About ten minutes each on one core.
"""

import argparse
from pathlib import Path

import torch
from logitnorm import paths
from logitnorm.study import label_noise
from sklearn.datasets import load_digits
from speed import save


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("law", "controls"))
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    if args.what == "law":
        file = label_noise.FILE
        runs = [({"noise": noise, "tau": tau, "seed": seed}, (tau, noise, seed), {})
                for seed in label_noise.SEEDS for noise in label_noise.NOISE for tau in (None, *label_noise.TAUS)]
    else:
        file = label_noise.CONTROLS_FILE
        runs = [({"name": name, "seed": seed}, (tau, noise, seed), settings)
                for name, (tau, noise, settings) in label_noise.CONTROLS.items() for seed in label_noise.SEEDS]
    found = []
    for row, settings, changes in runs:
        found.append(row | label_noise.train(x, y, *settings, **changes))
        print(found[-1], flush=True)
    save(args.out / file.name, {"epochs": label_noise.EPOCHS, "width": label_noise.WIDTH, "torch": torch.__version__, "runs": found})


if __name__ == "__main__":
    main()
