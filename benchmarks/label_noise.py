"""The temperature by decree: LogitNorm on scikit-learn's digits with labels that are wrong with a set probability.

    python benchmarks/label_noise.py [--out data/benchmarks]

Trains the perceptrons of logitnorm.study.label_noise and writes label_noise.json, which the page on the hidden temperature
reads. About ten minutes on one core.
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
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    found = []
    for seed in label_noise.SEEDS:
        for noise in label_noise.NOISE:
            for tau in (None, *label_noise.TAUS):
                found.append({"noise": noise, "tau": tau, "seed": seed, **label_noise.train(x, y, tau, noise, seed)})
                print(found[-1], flush=True)
    save(out / "label_noise.json", {"epochs": label_noise.EPOCHS, "width": label_noise.WIDTH, "torch": torch.__version__, "runs": found})


if __name__ == "__main__":
    main()
