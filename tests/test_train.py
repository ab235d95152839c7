"""The loop: schedules against PyTorch's, resume after SIGKILL, refusals, and one whole smoke run."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from logitnorm import data, losses, runs, train
from logitnorm.train import Config

SMOKE = dict(size="smoke", id_dataset="digits", architecture="wrn10_1", batch_size=32, lr=0.05, nesterov=True, schedule="onecycle",
             dropout=0.1, ood_sets=["brick", "text"], history_ood="text", keep_model=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One LogitNorm run on digits, never interrupted."""
    return runs.load(train.train(Config(**SMOKE, epochs=4), tmp_path_factory.mktemp("runs"), "cpu"))


def test_defaults_are_the_papers():
    c = Config()
    assert (c.id_dataset, c.architecture, c.method, c.tau) == ("cifar10", "wrn40_2", "logitnorm", 0.04)
    assert (c.epochs, c.batch_size, c.lr, c.momentum, c.nesterov, c.weight_decay) == (200, 128, 0.1, 0.9, False, 5e-4)
    assert (c.schedule, c.milestones, c.gamma, c.dropout, c.precision) == ("steps", (80, 140), 0.1, 0.3, "float32")
    assert (c.odin_temperature, c.odin_epsilon) == (1000, 0.0014)


def test_step_schedule_is_multisteplr():
    c, steps = Config(epochs=200), 390
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], c.lr)
    oracle = torch.optim.lr_scheduler.MultiStepLR(optimizer, [80, 140], 0.1)
    for epoch in range(c.epochs):
        for step in (epoch * steps, epoch * steps + steps - 1):
            assert train.learning_rate(c, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        oracle.step()


def test_one_cycle_rises_linearly_and_falls_as_a_cosine():
    c = Config(epochs=10, schedule="onecycle", lr=0.2, warmup=0.2)
    lr = [train.learning_rate(c, s, 100) for s in range(1000)]
    assert lr[0] == 0 and lr[100] == pytest.approx(0.1) and lr[200] == pytest.approx(0.2) == max(lr)
    assert lr[600] == pytest.approx(0.1)  # half way down
    assert 0 < lr[-1] < 1e-5
    assert all(a > b for a, b in zip(lr[200:], lr[201:]))


def test_first_step_is_sgd_by_hand(monkeypatch):
    """One step of the loop equals p - lr (g + wd p), on every parameter, BatchNorm and biases included."""
    c = Config(**{**SMOKE, "dropout": 0.0, "schedule": "steps", "nesterov": False, "lr": 0.1, "batch_size": 64},
               epochs=1)
    digits = data.load("digits", "train")
    trainer = train.Trainer(c, data.ImageSet(digits.images[:64], digits.labels[:64]), torch.device("cpu"))
    before = {k: v.detach().clone() for k, v in trainer.net.named_parameters()}
    twin = train.Trainer(c, data.ImageSet(digits.images[:64], digits.labels[:64]), torch.device("cpu"))
    draw = torch.Generator().manual_seed(c.seed * 1_000_003)
    order = torch.randperm(64, generator=draw)
    x = data.to_float(data.random_crop_flip(twin.padded, order, draw))
    twin.net.train()
    losses.logitnorm(twin.net(x)[0], twin.labels[order], c.tau).backward()
    row = trainer.train_epoch()
    for name, p in twin.net.named_parameters():
        expected = before[name] - c.lr * (p.grad + c.weight_decay * before[name])
        torch.testing.assert_close(dict(trainer.net.named_parameters())[name], expected)
    total = math.sqrt(sum((p.grad ** 2).sum().item() for p in twin.net.parameters()))
    assert row["grad_norm"] == pytest.approx(total, rel=1e-4)


def test_a_smoke_run_learns_and_is_complete(finished):
    h = finished.history
    assert list(h.epoch) == [0, 1, 2, 3, 4]
    assert h.train_loss.iloc[-1] < h.train_loss.iloc[1] and h.test_accuracy.iloc[-1] > 25  # chance: 10
    labels, logits = finished.tensor("digits/labels"), finished.tensor("digits/logits")
    accuracy = 100 * np.mean(logits.argmax(1) == labels)
    assert finished.info["test_accuracy"] == pytest.approx(accuracy) == pytest.approx(h.test_accuracy.iloc[-1])
    assert h.norm_test.iloc[-1] == pytest.approx(np.linalg.norm(logits, axis=1).mean(), rel=1e-5)
    assert set(finished.info["files"]) == {"history.csv", "metrics.csv", "model.safetensors", "scores.safetensors"}
    assert finished.info["data"]["digits-train"] == data.sha256(data.load("digits", "train").images)


def test_metrics_csv_is_what_the_scores_give(finished):
    again = runs.measure(finished.config, finished.arrays())
    pd.testing.assert_frame_equal(again, finished.metrics, rtol=1e-12)
    assert set(again.ood_dataset) == {"", "brick", "text"}


def test_kept_weights_reproduce_the_kept_logits(finished):
    from logitnorm import models, scores

    net = models.build("wrn10_1", 10, 0.1)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(finished.path / "model.safetensors").items()})
    logits = scores.collect(net, data.load("digits", "test").images)["logits"]
    np.testing.assert_allclose(logits, finished.tensor("digits/logits"), rtol=1e-4, atol=1e-5)


def test_a_complete_run_is_not_trained_again(finished, monkeypatch):
    monkeypatch.setattr(train, "Trainer", None)
    assert train.train(finished.config, finished.path.parent, "cpu") == finished.path


def test_a_complete_run_with_other_settings_is_not_mistaken_for_this_one(finished):
    other = Config.from_dict({**asdict(finished.config), "epochs": 5})
    with pytest.raises(runs.RunError, match="epochs = 4, not 5"):
        train.train(other, finished.path.parent, "cpu")


@pytest.mark.parametrize("moment", ["after a checkpoint", "inside an epoch"])
def test_sigkill_and_restart_give_the_weights_of_an_uninterrupted_run(finished, tmp_path, moment):
    program = ("import sys, json; from logitnorm import train; train.CHECKPOINT_SECONDS = 0.0\n"
               "train.train(train.Config.from_dict(json.loads(sys.argv[1])), sys.argv[2], 'cpu')")
    command = [sys.executable, "-u", "-c", program, json.dumps(asdict(finished.config)), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    wanted = "epoch 2/4" if moment == "after a checkpoint" else "digits"
    for line in process.stdout:
        if wanted in line:
            if moment == "inside an epoch":
                next(process.stdout)  # epoch 1 is done
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.2)  # epoch 2 is under way
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    part = tmp_path / f"{finished.id}.part"
    assert part.exists() and not (tmp_path / finished.id).exists()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "continuing after epoch" in done.stdout
    again = runs.load(tmp_path / finished.id)
    for name in ("model.safetensors", "scores.safetensors"):
        old, new = load_file(finished.path / name), load_file(again.path / name)
        assert old.keys() == new.keys()
        for key in old:
            np.testing.assert_array_equal(old[key], new[key])
    columns = [c for c in finished.history if c != "images_per_second"]
    pd.testing.assert_frame_equal(finished.history[columns], again.history[columns])


def test_a_nan_loss_stops_with_epoch_step_and_last_finite_loss(tmp_path):
    with pytest.raises(FloatingPointError, match=r"became (nan|inf) in epoch \d+, step \d+ of 44; the last finite loss was"):
        train.train(Config(**{**SMOKE, "lr": 1e12, "warmup": 0.0, "method": "cross_entropy"}, epochs=3), tmp_path, "cpu")


def test_where_a_nan_loss_is_found():
    with pytest.raises(FloatingPointError, match="became nan in epoch 3, step 3 of 4; the last finite loss was 0.5;"):
        train.refuse_nan(torch.tensor([1.0, 0.5, math.nan, 0.1]), 3, [{"epoch": 2, "train_loss": 0.7}])
    with pytest.raises(FloatingPointError, match="became inf in epoch 3, step 1 of 2; the last finite loss was 0.7;"):
        train.refuse_nan(torch.tensor([math.inf, 0.5]), 3, [{"epoch": 2, "train_loss": 0.7}])
    train.refuse_nan(torch.tensor([1.0, 2.0]), 1, [{"epoch": 0}])


@pytest.mark.parametrize("wrong, sentence", [
    (dict(method="mixup"), "unknown method 'mixup'; known: "),
    (dict(tau=0.0), "tau must be positive, got 0.0"),
    (dict(tau=-1.0), "tau must be positive"),
    (dict(epochs=0), "epochs must be at least 1, got 0"),
    (dict(batch_size=1), "batch_size must be at least 2"),
    (dict(lr=0.0), "lr must be positive"),
    (dict(schedule="cosine"), "unknown schedule 'cosine'; known: steps, onecycle"),
    (dict(warmup=1.0), "warmup is a share"),
    (dict(dropout=1.0), "dropout is a probability"),
    (dict(precision="float16"), "unknown precision 'float16'"),
    (dict(id_dataset="svhnn"), "unknown image set 'svhnn'; known: "),
    (dict(history_ood="nothing"), "unknown image set 'nothing'"),
    (dict(id_dataset="isun"), "'isun' has no classes to train on"),
    (dict(architecture="wrn11_1"), "WRN depth"),
])
def test_settings_that_cannot_be_trained_are_refused_in_one_sentence(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        train.train(Config(**wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown setting 'taw' of a run; the settings are: size, .*tau"):
        Config.from_dict({"taw": 0.04})


def test_a_batch_larger_than_the_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="digits has .* training images, fewer than one batch of 5000"):
        train.train(Config(**{**SMOKE, "batch_size": 5000}, epochs=1), tmp_path, "cpu")


def test_bfloat16_keeps_weights_and_loss_in_float32(tmp_path):
    c = Config(**{**SMOKE, "precision": "bfloat16"}, epochs=2)
    run = runs.load(train.train(c, tmp_path, "cpu"))
    assert {v.dtype for k, v in load_file(run.path / "model.safetensors").items() if "num_batches" not in k} == {
        np.dtype("float32")}
    assert run.history.train_loss.iloc[-1] < run.history.train_loss.iloc[1]
