"""Does a network trained with LogitNorm stand at the bottom of its valley on the images that it was trained on?

    LOGITNORM_DATA=... python benchmarks/valley.py [--out data/benchmarks]

For each LogitNorm run of data/runs that kept its weights: logits of 5,000 training images, each cropped and flipped once as
in training, and of the test images; then the factor on the offset that has the least loss (logitnorm.study.branches.deepest;
1: the bottom), and the inverse temperature there beside the network's own. Writes valley.json, which the page on the hidden
temperature reads. A few minutes on one core.
"""

import argparse
from pathlib import Path

import torch
from logitnorm import data, paths, scores
from logitnorm.study import branches, results
from logitnorm.study.verify import load_weights
from speed import save

COUNT = 5_000


def as_trained(images: data.ImageSet) -> data.ImageSet:
    """COUNT images, evenly from the set, each with one random crop and flip."""
    kept = data.evenly(len(images.images), COUNT)
    padded = data.pad(images.images[kept])
    draws = data.draw_crops(padded, len(kept), torch.Generator().manual_seed(0))
    return data.ImageSet(data.crop_flip(padded, torch.arange(len(kept)), *draws), images.labels[kept])


def measured(run, images: data.ImageSet, net) -> dict:
    """What `branches.deepest` says of a network's logits of these images."""
    f = scores.collect(net, images.images)["logits"].astype(float)
    m, c, y, tau = f.mean(axis=1), scores.centred(f), images.labels.numpy(), run.config.tau
    t = branches.deepest(m, c, y, tau)
    own, at_bottom, without = (branches.stretched_loss(m, c, y, tau, factor) for factor in (1.0, t, 0.0))
    return {"images": len(y), "accuracy": 100 * float((f.argmax(axis=1) == y).mean()), "factor": t,
            "own": own[1], "bottom": at_bottom[1], "loss": own[0], "least_loss": at_bottom[0],
            "loss_without": without[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    out = parser.parse_args().out
    found = []
    for run in results.load_all(paths.RUNS):
        if run.config.method == "logitnorm" and "model.safetensors" in run.info["files"]:
            net, ID = load_weights(run), run.config.id_dataset
            found.append({"run": run.id, "weights": run.info["files"]["model.safetensors"],
                          "training": measured(run, as_trained(data.load(ID, "train")), net),
                          "test": measured(run, data.load(ID), net)})
            print(found[-1], flush=True)
    save(out / "valley.json", {"runs": found})


if __name__ == "__main__":
    main()
