"""The benchmark commands run and write what the page on speed reads. How fast they are is not tested."""

import json
import sys

import numpy as np
import precision
import pytest
import speed
import torch
from fake_runs import write_run
from logitnorm import data


@pytest.mark.slow
def test_speed_writes_every_number_of_its_page(tmp_path, monkeypatch, capsys):
    few = speed.random_set(2048)
    monkeypatch.setattr(speed, "random_set", lambda count=0: few)
    monkeypatch.setattr(speed, "metrics_seconds", lambda: 1.0)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--architecture", "wrn10_1", "--seconds", "0.1", "--repeat", "1",
                                      "--out", str(tmp_path)])
    speed.main()
    kind = "cuda" if torch.cuda.is_available() else f"cpu-{torch.backends.cpu.get_cpu_capability().lower()}"
    found = json.loads((tmp_path / f"speed-{kind}-wrn10_1.json").read_text())
    plain, ours, *_ = found["training"]
    assert ours["times_plain"] == pytest.approx(ours["images_per_second"] / plain["images_per_second"], abs=0.02)
    assert plain["minutes_for_200_epochs"] == pytest.approx(
        200 * 390 * 128 / plain["images_per_second"] / 60, rel=0.01, abs=0.06)
    for row in found["training"]:
        assert row["share_of_matmul_rate"] == pytest.approx(
            row["images_per_second"] * found["training_gflops_per_image"] / row["matmul_gflops"], abs=0.005, rel=0.01)
    assert all(rate > 0 for rate in found["scoring_images_per_second"].values())
    assert found["convolutions_images_per_second"] > 0
    assert str(tmp_path) in capsys.readouterr().out


def test_the_plain_loop_sees_torchvisions_images():
    few = speed.random_set(4)
    x, y = speed.PlainDataset(few)[2]
    assert x.shape == (3, 32, 32) and y == few.labels[2]
    mean, std = (np.array(v)[:, None, None] for v in (data.MEAN, data.STD))
    pixels = {tuple(p) for p in few.images[2].reshape(-1, 3).tolist()} | {(0, 0, 0)}  # the crop may show the padding
    back = np.rint((x.numpy() * std + mean) * 255).astype(int).reshape(3, -1).T
    assert {tuple(p) for p in back.tolist()} <= pixels


def test_passes_are_the_released_protocols():
    sizes = speed.sizes_of_a_run()
    assert sizes["cifar10"] == 10_000 and len(sizes) == 7
    found = speed.passes(sizes)
    assert found["released protocol"] == {"three scores": 390_000, "with ODIN": 650_000}
    assert found["the paper's 2,000 images of each set"]["three scores"] == 22_000
    assert found["all images of the sets in data/runs"]["with ODIN"] == 2 * sum(sizes.values())


def test_the_work_of_a_training_step_is_three_forward_passes():
    assert speed.training_flops("wrn40_2") == pytest.approx(3 * 2 * 327.6e6, rel=0.01)


def test_precision_trains_every_seed_in_both_precisions(tmp_path, monkeypatch):
    made = []

    def train(config, folder):
        made.append(config)
        return write_run(folder, n_id=20, n_ood=10, **config.model_dump())

    monkeypatch.setattr(precision.training, "train", train)
    monkeypatch.setattr(sys, "argv", ["precision.py", "--only", "cross_entropy-seed", "--seeds", "1", "2", "--out", str(tmp_path)])
    precision.main()
    pairs = [("float32", 1), ("float32", 2), ("bfloat16", 1), ("bfloat16", 2)]
    assert [(config.precision, config.seed) for config in made] == pairs
    [path] = tmp_path.glob("precision-*-smoke.json")
    rows = json.loads(path.read_text())["rows"]
    assert [(row["precision"], row["seed"]) for row in rows] == pairs and all(0 <= row["auroc"] <= 100 for row in rows)
