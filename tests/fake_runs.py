"""Synthetic run folders in the true format, for tests of what reads them. Nothing here was ever trained.

The logits are drawn from a random generator: ID images get one raised logit, OOD images a smaller one, and a
`gap` per method says how far apart the two are. Write them under tmp_path, never into data/runs.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from logitnorm import runs, scores
from logitnorm.config import Config
from logitnorm.study import scoring, training, writing
from logitnorm.study.provenance import provenance

PAPER_SETS = ("textures", "svhn", "lsun_c", "lsun_r", "isun", "places365")
SMALL_SETS = ("textures_part", "svhn_part", "lsun_like_crop", "lsun_like_resize", "isun", "places_mini")
GAP = {"cross_entropy": 1.0, "logitnorm": 3.0}


def write_run(runs_dir, n_id=200, n_ood=60, gap=None, format=2, **settings) -> Path:
    """Writes one finished run folder of Config(**settings) and returns its path; same arguments, same scores.

    Settings not given are those of a small run on CIFAR-10. format 2 is what a training writes; 1 has the logits
    and features of every image, as the oldest committed runs.
    """
    config = Config(**{**dict(size="small", ood_sets=SMALL_SETS, extra_sets=("cifar100", "mnist"),
                              history_ood="svhn_part"), **settings})
    num_classes = 100 if config.id_dataset == "cifar100" else 10
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(config.run_id.encode()).digest()[:4], "big"))
    gap = GAP.get(config.method, 2.0) if gap is None else gap
    labels = rng.integers(num_classes, size=n_id)
    arrays = {f"{config.id_dataset}/labels": labels}
    for name in config.sets:
        is_id = name == config.id_dataset
        classes = labels if is_id else rng.integers(num_classes, size=n_ood)
        arrays.update(_arrays(rng, name, classes, num_classes, 2 + gap if is_id else 2.0))
        for own in scoring.OWN_SCORES.get(config.method, ()):
            arrays[f"{name}/{own}"] = rng.normal(is_id, size=len(classes)).astype(np.float32)
    new = {}
    if format > 1:
        new = {"format": format, "logits": {name: training.geometry(torch.from_numpy(arrays[f"{name}/logits"]).double(), config)
                                            for name in config.sets}}
        arrays = scoring.pack(config, arrays)
    with writing.part(runs_dir, config.run_id) as folder:
        training.write_history(folder / "history.csv", _history(config, rng))
        writing.write_tensors(folder / "scores.safetensors", arrays, {"run_id": config.run_id})
        measured = scoring.measure(config, arrays)
        writing.write_csv(folder / "metrics.csv", measured)
        return writing.finish(folder, {
            "run_id": config.run_id, "config": config.model_dump(), **provenance(), "device": "none: synthetic numbers",
            "threads": 1, "wall_seconds": 60.0, "images_per_second": 1000.0,
            "data": {f"{config.id_dataset}-train": "0" * 64, **{f"{name}-test": "0" * 64 for name in config.sets}},
            "test_accuracy": measured[0]["value"], **new,
            "finished": "2000-01-01T00:00:00+00:00"})


def write_grid(runs_dir, seeds=(1, 2, 3), methods=("cross_entropy", "logitnorm"), **settings) -> list[Path]:
    """One run per method and seed."""
    return [write_run(runs_dir, method=method, seed=seed, **settings) for method in methods for seed in seeds]


def edit_json(folder, change):
    """`change` edits what run.json holds."""
    info = json.loads((folder / "run.json").read_text())
    change(info)
    (folder / "run.json").write_text(json.dumps(info))


def reseal(folder):
    """What a forger does last: checksums that fit."""
    edit_json(folder, lambda info: info.update(files={
        path.name: runs.file_sha256(path) for path in folder.iterdir() if path.name != "run.json"}))


def _arrays(rng, name, classes, num_classes, height):
    n = len(classes)
    logits = rng.normal(size=(n, num_classes)).astype(np.float32)
    logits[np.arange(n), classes] += height
    return {f"{name}/logits": logits,
            f"{name}/feature_l1": (10 + rng.gamma(2.0, size=n)).astype(np.float32),
            f"{name}/features": rng.gamma(1.0, size=(n, 8)).astype(np.float16),
            f"{name}/odin": scores.msp(logits, T=1000.0)}


def _history(config, rng):
    scale = 1.5 if config.method == "logitnorm" else 12.0
    rows = []
    for epoch in range(config.epochs + 1):
        rise = epoch / config.epochs
        row = {"epoch": epoch, "test_loss": 2.3 - 1.8 * rise, "test_accuracy": 10 + 78 * rise,
               "norm_test": 0.6 + scale * rise, "norm_ood": 0.6 + scale * rise / 2}
        if epoch:  # epoch 0 is the untrained net: nothing was trained, so the training columns stay empty
            row |= {"lr": 0.1 * (1 - rise), "train_loss": 2.3 - 2 * rise, "train_accuracy": 10 + 80 * rise,
                    "norm_train": 0.5 + scale * rise, "grad_norm": 1 + rng.random(), "images_per_second": 1000.0}
        rows.append(row)
    return rows
