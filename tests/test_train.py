"""The loop: schedules against PyTorch's, resume after SIGKILL, refusals, and one whole smoke run."""

import contextlib
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from logitnorm import data, losses, runs, train
from logitnorm.book import lists
from logitnorm.config import METHODS, Config
from logitnorm.study import graph, results, scoring, training, writing
from logitnorm.study.images import sha256
from safetensors.numpy import load_file

SMOKE = dict(size="smoke", id_dataset="digits", architecture="wrn10_1", batch_size=32, lr=0.05, nesterov=True, schedule="onecycle",
             dropout=0.1, ood_sets=["brick", "text"], extra_sets=(), history_ood="text",
             keep_model=True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def images(few_images):
    """Every training of this file, also in another process, reads sets of a few images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGITNORM_DATA", str(few_images))
        yield


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """One LogitNorm run on digits, never interrupted."""
    return results.load(training.train(Config(**SMOKE, epochs=4), tmp_path_factory.mktemp("runs"), "cpu"))


@pytest.fixture(scope="module")
def few(images):
    """96 digits, on the CPU, ready for a trainer."""
    digits = data.load("digits", "train")
    return train.resident(data.ImageSet(digits.images[:96], digits.labels[:96]), 10, CPU)


def small(**settings):
    return Config(**{**SMOKE, "schedule": "steps", "epochs": 2, **settings})


def trainer_of(few, **settings):
    return train.Trainer(small(**settings), few, CPU)


def test_defaults_are_the_papers():
    c = Config()
    assert (c.id_dataset, c.architecture, c.method, c.tau) == ("cifar10", "wrn40_2", "logitnorm", 0.04)
    assert (c.epochs, c.batch_size, c.lr, c.momentum, c.nesterov, c.weight_decay) == (200, 128, 0.1, 0.9, False, 5e-4)
    assert (c.schedule, c.milestones, c.gamma, c.dropout, c.precision) == ("steps", (80, 140), 0.1, 0.3, "mixed")
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


def test_first_step_is_sgd_by_hand(few):
    """One step of the loop equals p - lr (g + wd p), on every parameter, BatchNorm and biases included."""
    few = tuple(part[:64] for part in few)
    trainer, twin = (trainer_of(few, dropout=0.0, nesterov=False, lr=0.1, batch_size=64, epochs=1) for _ in range(2))
    c = trainer.config
    before = {k: v.detach().clone() for k, v in trainer.net.named_parameters()}
    draw = torch.Generator().manual_seed(c.seed * 1_000_003)
    order = torch.randperm(64, generator=draw)
    x = data.to_float(data.crop_flip(few[0], order, *data.draw_crops(few[0], 64, draw)))
    twin.net.train()
    losses.logitnorm(twin.net(x)[0], few[1][order], c.tau).backward()
    row = trainer.train_epoch()
    for name, p in twin.net.named_parameters():
        expected = before[name] - c.lr * (p.grad + c.weight_decay * before[name])
        torch.testing.assert_close(dict(trainer.net.named_parameters())[name], expected)
    total = math.sqrt(sum((p.grad ** 2).sum().item() for p in twin.net.parameters()))
    assert row["grad_norm"] == pytest.approx(total, rel=1e-4)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_step():
    """In a process of its own: a large tensor takes the place of one before it without a page fault.

    The least of forty counts: a small object that the heap has put between two large ones makes a place too narrow now and then.
    """
    program = ("import resource, torch\nfrom logitnorm.study import training\n"
               "def faults():\n    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n    torch.ones(2**24)\n"
               "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
               "print(min(faults() for _ in range(40)))\ntraining.keep_freed_memory()\nprint(min(faults() for _ in range(40)))")
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    given_back, kept = map(int, said.split())
    assert given_back > 20 and kept < given_back / 4  # the system may give pages of 2 MiB, 32 in all


def test_a_smoke_run_learns_and_is_complete(finished):
    h = finished.history
    assert list(h.epoch) == [0, 1, 2, 3, 4]
    assert h.train_loss.iloc[-1] < 0.8 * h.train_loss.iloc[1] and h.train_accuracy.iloc[-1] > h.train_accuracy.iloc[1] + 2
    accuracy = 100 * finished.correct.mean()
    assert finished.info["test_accuracy"] == pytest.approx(accuracy) == pytest.approx(h.test_accuracy.iloc[-1])
    for name in ("norm", "offset", "centred_norm", "inverse_temperature"):
        assert h[f"{name}_test"].iloc[-1] == pytest.approx(finished.info["logits"]["digits"][name], rel=1e-4)
    assert finished.info["scored"]["code"] == finished.info["code"] and finished.info["format"] == scoring.FORMAT
    assert set(finished.info["files"]) == {"history.csv", "metrics.csv", "model.safetensors", "scores.safetensors"}
    assert finished.info["data"]["digits-train"] == sha256(data.load("digits", "train").images)


def test_a_complete_run_is_not_trained_again(finished, monkeypatch):
    monkeypatch.setattr(training, "Trainer", None)
    assert training.train(finished.config, finished.path.parent, "cpu") == finished.path


def test_a_complete_run_with_other_settings_is_not_mistaken_for_this_one(finished):
    other = finished.config.replace(odin_epsilon=0.5)  # not in the name of a run
    assert other.run_id == finished.config.run_id
    with pytest.raises(runs.RunError, match="odin_epsilon = 0.0014, not 0.5"):
        training.train(other, finished.path.parent, "cpu")
    elsewhere = finished.config.replace(extra_sets=("gaussian_noise",))
    with pytest.raises(runs.RunError, match="was scored with extra_sets = .* python -m logitnorm official"):
        training.train(elsewhere, finished.path.parent, "cpu")
    with pytest.raises(runs.RunError, match="has settings that this version does not know .*taw.*; delete the folder"):
        training.require_same({"taw": 1}, finished.config, finished.path)


def same_run(one, other):
    """Two complete runs with the very same weights, scores and history."""
    for name in ("model.safetensors", "scores.safetensors"):
        old, new = load_file(one.path / name), load_file(other.path / name)
        assert old.keys() == new.keys()
        for key in old:
            np.testing.assert_array_equal(old[key], new[key])
    columns = [c for c in one.history if c != "images_per_second"]
    pd.testing.assert_frame_equal(one.history[columns], other.history[columns])


def test_an_interrupted_run_goes_on_to_the_weights_of_an_uninterrupted_one(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    epoch = train.Trainer.train_epoch

    def interrupted(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        return epoch(trainer)
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "train_epoch", interrupted)
        patch.setattr(training, "device_name", lambda device: "CPU of another kind")
        with pytest.raises(KeyboardInterrupt):
            training.train(finished.config, tmp_path, "cpu")
    again = results.load(training.train(finished.config, tmp_path, "cpu"))
    assert "continuing after epoch 2" in capsys.readouterr().out
    same_run(finished, again)
    here = finished.info["device"]
    assert again.device == f"CPU of another kind, from epoch 3 on {here}" and finished.device == here and "continued" not in finished.info
    assert f"from epoch 3 in float32 by commit {again.info['code']['commit']}" in lists.facts(again)


@pytest.mark.slow
def test_sigkill_inside_an_epoch_and_restart_give_the_weights_of_an_uninterrupted_run(finished, tmp_path):
    program = ("import sys, json; from logitnorm.config import Config; from logitnorm.study import training; training.CHECKPOINT_SECONDS = 0.0\n"
               "training.train(Config(**json.loads(sys.argv[1])), sys.argv[2], 'cpu')")
    command = [sys.executable, "-u", "-c", program, json.dumps(finished.config.model_dump()), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if "epoch 1/" in line:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)  # epoch 2 is under way
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert (tmp_path / f"{finished.id}.part").exists() and not (tmp_path / finished.id).exists()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "continuing after epoch" in done.stdout
    same_run(finished, results.load(tmp_path / finished.id))


def test_where_a_nan_loss_is_found():
    with pytest.raises(FloatingPointError, match="became nan in epoch 3, step 3 of 4; the last finite loss was 0.5;"):
        training.refuse_nan(torch.tensor([1.0, 0.5, math.nan, 0.1]), 3, [{"epoch": 2, "train_loss": 0.7}])
    with pytest.raises(FloatingPointError, match="became inf in epoch 3, step 1 of 2; the last finite loss was 0.7;"):
        training.refuse_nan(torch.tensor([math.inf, 0.5]), 3, [{"epoch": 2, "train_loss": 0.7}])
    with pytest.raises(FloatingPointError, match="epoch 1, step 1 of 1; the last finite loss was nan;"):
        training.refuse_nan(torch.tensor([math.nan]), 1, [{"epoch": 0}])
    training.refuse_nan(torch.tensor([1.0, 2.0]), 1, [{"epoch": 0}])


@pytest.mark.parametrize("wrong, sentence", [
    (dict(method="mixup"), "method should be 'cross_entropy', .*got 'mixup'"), (dict(tau=0.0), "tau should be greater than 0, got 0.0"),
    (dict(tau=math.nan), "tau should be a finite number"), (dict(seed=-1), "seed should be greater than or equal to 0, got -1"),
    (dict(seed=True), "seed should be a whole number, got True"), (dict(epochs=0), "epochs should be greater than or equal to 1, got 0"),
    (dict(batch_size=1), "batch_size should be greater than or equal to 2"), (dict(lr=0.0), "lr should be greater than 0"),
    (dict(lr=math.inf), "lr should be a finite number"), (dict(lr="0.1"), "lr should be a number .*got the text '0.1'"),
    (dict(momentum=0.0), "momentum should be greater than 0"), (dict(momentum=1.0), "momentum should be less than 1"),
    (dict(weight_decay=-1e-4), "weight_decay should be greater than or equal to 0"), (dict(gamma=0.0), "gamma should be greater than 0"),
    (dict(odin_temperature=0.0), "odin_temperature should be greater than 0"),
    (dict(odin_epsilon=math.nan), "odin_epsilon should be a finite number, got nan"),
    (dict(confidence_epsilon=-1.0), "confidence_epsilon should be greater than or equal to 0"),
    (dict(ood_sets=["cifar10"]), "ood_sets should not name cifar10, the ID set"),
    (dict(ood_sets=()), "ood_sets should name at least one image set, got \\(\\)"),
    (dict(ood_sets=["svhn", "isun", "svhn"]), "ood_sets should name each set once, got .*'isun'"),
    (dict(extra_sets=["mnist", "mnist"]), "extra_sets should name each set once"),
    (dict(size=""), "size should be 'smoke', 'small', 'medium' or 'full', got ''"),
    (dict(architecture="wrn10_0"), "unknown architecture 'wrn10_0'; known: wrnDEPTH_WIDTH"),
    (dict(schedule="cosine"), "schedule should be 'steps' or 'onecycle', got 'cosine'"), (dict(warmup=1.0), "warmup should be less than 1"),
    (dict(dropout=1.0), "dropout should be less than 1"), (dict(precision="float8"), "precision should be 'float32', .*got 'float8'"),
    (dict(penalty=-1.0), "penalty should be greater than or equal to 0"), (dict(budget=0.0), "budget should be greater than 0"),
    (dict(cutout=40), "cutout should be less than or equal to 32"), (dict(architecture="resnet34"), "resnet34 has no dropout"),
    (dict(size="small", id_dataset="svhn"), "should not name svhn_part, the ID set of the same run or a part of it"),
    (dict(taw=0.04), "unknown setting 'taw' of a run; did you mean 'tau'. the settings are: size, .*tau"),
    (dict(id_dataset="svhnn"), "id_dataset should be one of cifar10, .*got 'svhnn'"),
    (dict(history_ood="nothing"), "history_ood should be one of .*got 'nothing'"),
    (dict(id_dataset="isun"), "id_dataset should be a set with classes to train on: cifar10, .*got 'isun'")])
def test_settings_that_cannot_be_trained_are_refused_in_one_sentence(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        training.train(Config(**wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_size_brings_its_settings_and_a_changed_one_says_so():
    small, other = Config(size="small"), Config(size="small", lr=0.4, precision="float32", keep_model=True)
    assert (small.architecture, small.epochs, small.lr, small.changed) == ("wrn10_2", 12, 0.2, {})
    assert small.run_id == "small-cifar10-wrn10_2-logitnorm-tau0.04-seed1"
    assert other.run_id == "small-cifar10-wrn10_2-logitnorm-tau0.04-lr0.4-seed1"
    assert other.changed == {"lr": 0.4, "precision": "float32", "keep_model": True}
    assert small.replace(lr=0.4).run_id == other.run_id and Config(**small.model_dump()) == small
    assert Config() == Config(size="full") and Config().replace(milestones=[60, 120]).run_id.endswith("milestones60_120-seed1")
    assert Config(size="small", id_dataset="cifar100").extra_sets[0] == "cifar10"
    assert Config(size="small", id_dataset="cifar100").changed == {"id_dataset": "cifar100"}
    with pytest.raises(ValueError, match="tau should be greater than 0"):
        small.replace(tau=-1.0)


def test_no_two_values_of_a_setting_share_a_run_id():
    names = [Config(**given).run_id for given in (dict(lr=0.2), dict(lr=0.2000001), dict(lr=1), dict(tau=0.0400000001), {},
                                                  dict(weight_decay=1e-5), dict(weight_decay=1.0000001e-5))]
    assert len(set(names)) == len(names) and "-lr0.2-" in names[0] and "-lr1-" in names[2] and "-weight_decay1e-05-" in names[5]


def test_a_batch_larger_than_the_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="digits has .* training images, fewer than one batch of 5000"):
        training.train(Config(**{**SMOKE, "batch_size": 5000}, epochs=1), tmp_path, "cpu")


def test_bfloat16_keeps_weights_and_loss_in_float32(few):
    trainer = trainer_of(few, precision="bfloat16")
    inside = []
    trainer.net.blocks[0].conv1.register_forward_hook(lambda _, __, out: inside.append(out.dtype))
    first, second = trainer.train_epoch(), trainer.train_epoch()
    assert set(inside) == {torch.bfloat16}
    assert {p.dtype for p in trainer.net.parameters()} == {torch.float32} == {trainer.loss_of_step.dtype}
    assert second["train_loss"] < first["train_loss"]
    assert trainer.loss_of_step.bfloat16().float().ne(trainer.loss_of_step).any()  # more digits than bfloat16 has


# Methods ---------------------------------------------------------------------------------------------------------

def test_each_method_has_its_loss():
    torch.manual_seed(0)
    f, c, y = 3 * torch.randn(6, 10), torch.randn(6), torch.arange(6)
    hinted, weight = torch.tensor([True, False] * 3), torch.tensor(0.2)
    p, conf = f.softmax(1), c.sigmoid()
    norms = f.square().sum(1).sqrt()
    ce = -p[range(6), y].log().mean()
    mixed = torch.where(hinted, conf * p[range(6), y] + 1 - conf, p[range(6), y])
    logitnorm = -(f / (0.04 * norms[:, None])).log_softmax(1)[range(6), y].mean()
    expected = {"cross_entropy": ce, "godin": ce, "logit_penalty": ce + 0.05 * norms.mean(),
                "logitnorm": logitnorm, "one_offset": logitnorm, "one_temperature": logitnorm,  # heads of their own
                "centred_logitnorm": losses.logitnorm(f - f.mean(1, keepdim=True), y, 0.04),
                "learned_confidence": -mixed.log().mean() - 0.2 * conf.log().mean()}
    assert set(expected) == set(METHODS)
    for method, value in expected.items():
        loss, L_c = train.objective(small(method=method), (f, None, c), y, hinted, weight)
        torch.testing.assert_close(loss, value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(L_c, -conf.log().mean() if method == "learned_confidence" else torch.tensor(0.0))


def test_the_budget_moves_lambda_once_per_step(few):
    row = trainer_of(few, method="learned_confidence", batch_size=32).train_epoch()
    # c starts near one half, so L_c is near log 2, above the budget of 0.3: three steps up
    assert row["confidence_loss"] > 0.3 and row["lambda"] == pytest.approx(0.1 / 0.99 ** 3, rel=1e-5)
    row = trainer_of(few, method="learned_confidence", batch_size=32, budget=5.0).train_epoch()
    assert row["lambda"] == pytest.approx(0.1 / 1.01 ** 3, rel=1e-5)


def test_cutout_reaches_the_net(few):
    seen = []
    for side in (0, 16):
        trainer = trainer_of(few, cutout=side, batch_size=96, dropout=0.0)
        trainer.net.stem.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach().clone()))
        trainer.train_epoch()
    plain, cut = seen
    changed = (plain != cut).flatten(1).any(1)
    assert 20 < changed.sum() < 76  # a fair coin for each of 96
    assert (cut[(plain != cut)] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_draws_from_its_seed_alone(few, method):
    """With dropout and Cutout: whatever was drawn before, the same run takes the same steps, another seed others."""
    one, again, other = (trainer_of(few, method=method, seed=seed, dropout=0.3, cutout=16, batch_size=32) for seed in (1, 1, 2))
    rows = [one.train_epoch()]
    torch.rand(7)  # somebody else draws, too
    rows += [again.train_epoch(), other.train_epoch()]
    assert rows[0]["train_loss"] == rows[1]["train_loss"] != rows[2]["train_loss"]
    for name, tensor in one.state().items():
        assert torch.equal(again.state()[name], tensor), name


@pytest.mark.parametrize("kind, becomes", [(KeyboardInterrupt, KeyboardInterrupt), (runs.RunError, runs.RunError), (ValueError, runs.RunError)])
def test_a_run_that_ends_while_it_is_scored_keeps_its_checkpoint_and_is_trained_no_further(tmp_path, monkeypatch, capsys, kind, becomes):
    """Interrupted, on a full disk, or with a score that is refused."""
    def fails(*arguments):
        raise kind("no space left")
    config = small(method="cross_entropy", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_results", fails)
        with pytest.raises(becomes, match="no space left"):
            training.train(config, tmp_path, "cpu")
    checkpoint = load_file(tmp_path / f"{config.run_id}.part" / "checkpoint.safetensors")
    monkeypatch.setattr(train.Trainer, "train_epoch", lambda trainer: pytest.fail("trained again"))
    run = results.load(training.train(config, tmp_path, "cpu"))
    assert "continuing after epoch 1" in capsys.readouterr().out and run.history.epoch.tolist() == [0, 1]
    kept = load_file(run.path / "model.safetensors")
    assert all(np.array_equal(kept[name], checkpoint[f"net/{name}"].astype(kept[name].dtype)) for name in kept)


def test_a_run_may_go_on_elsewhere_and_says_so_but_not_from_an_early_version(few, tmp_path, monkeypatch, capsys):
    config, path = small(epochs=3), tmp_path / "checkpoint.safetensors"

    def start():
        return training.start(config, tmp_path, few, CPU)

    begun, kept = start()
    training.save(begun, kept, tmp_path)
    first, = kept["trained"]
    assert start()[1] == kept and first["precision"] == "float32" and first["from_epoch"] == 1
    elsewhere = {"precision": "bfloat16", "precision_reason": "native", "device": "CPU of another kind"}
    with monkeypatch.context() as patch:
        patch.setattr(train, "precision_on", lambda *given: ("bfloat16", "native"))
        patch.setattr(training, "device_name", lambda device: "CPU of another kind")
        assert start()[1]["trained"] == [first | elsewhere], "what trained nothing is not named"
        begun.epoch = 1
        training.save(begun, kept, tmp_path)
        capsys.readouterr()
        trainer, other = start()
        assert "continuing after epoch 1 on CPU of another kind, in bfloat16: native" in capsys.readouterr().out
        assert other == {**kept, "trained": [first, first | elsewhere | {"from_epoch": 2}]}
        trainer.epoch = 2
        training.save(trainer, other, tmp_path)
        assert start()[1] == other, "the same processor again adds nothing"
    assert start()[1]["trained"] == [*other["trained"], first | {"from_epoch": 3}]
    begun.epoch = begun.config.epochs  # trained elsewhere, to be scored here: this processor trains nothing
    training.save(begun, other, tmp_path)
    assert start()[1] == other
    tensors, state = training.read_checkpoint(path)
    del state["scaler"]
    training.write_checkpoint(path, tensors, state)
    with pytest.raises(runs.RunError, match="checkpoint.safetensors holds no 'scaler', .*delete it to train this run from the start"):
        start()


def test_a_run_that_is_in_use_is_left_alone(tmp_path):
    busy = small(method="cross_entropy", epochs=1)
    with writing.part(tmp_path, busy.run_id), pytest.raises(runs.RunError, match="by another process"):
        training.train(busy, tmp_path, "cpu")
    assert not (tmp_path / busy.run_id).exists()


def test_a_diverging_run_stops_with_its_name(tmp_path):
    bad = small(method="cross_entropy", epochs=1, lr=1e12)
    with pytest.raises(FloatingPointError, match=rf"{re.escape(bad.run_id)}: the training loss became (nan|inf) in epoch 1, step \d"):
        training.train(bad, tmp_path, "cpu")
    assert not (tmp_path / bad.run_id).exists()


@pytest.mark.parametrize("method, own", [("godin", ["cosine"]), ("learned_confidence", ["confidence", "confidence_step"])])
def test_methods_with_a_head_score_with_it(tmp_path, method, own):
    run = results.load(training.train(small(method=method, epochs=1), tmp_path, "cpu"))
    linear = method != "godin"  # GradNorm's closed form is that of a linear last layer
    assert set(run.metrics.score) - {""} == {"msp", "odin", "energy", "energy_centred", *["gradnorm"] * linear, *own}
    for name in own:
        assert run.score(name, "text").shape == run.score("odin", "text").shape
    if method == "learned_confidence":
        assert {"lambda", "confidence_loss"} <= set(run.history)
        c = 1 / (1 + np.exp(-run.score("confidence", "digits")))
        assert run.info["confidence"]["sd"] == pytest.approx(c.std()) and not run.info["confidence"]["collapsed"]
        assert (run.score("confidence_step", "digits") >= run.score("confidence", "digits")).mean() > 0.9


@pytest.mark.parametrize("labels", [torch.tensor([0, 10]), torch.tensor([-1, 3]), None])
def test_labels_out_of_range_are_refused(labels):
    images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="labels from 0 to 9"):
        train.resident(data.ImageSet(images, labels), 10, CPU)


@pytest.mark.parametrize("features, expected, reason", [
    ({"avx2": True}, "float32", "no instructions for bfloat16"),
    ({"avx2": True, "avx512_f": True, "avx512_bw": True, "avx512_bf16": False}, "float32", "no instructions"),
    ({"avx512_f": True, "avx512_bf16": True}, "bfloat16", "avx512_bf16"),
    ({"amx_tile": True, "amx_bf16": True}, "bfloat16", "amx_bf16"),
    ({"amx_tile": True, "amx_int8": True, "amx_bf16": False}, "float32", "no instructions"),
    ({"neon": True, "fp16_arith": True, "bf16": False}, "float32", "no instructions"),
    ({"neon": True, "bf16": True}, "bfloat16", "bf16"),
    ({}, "float32", "no instructions"),
])
def test_mixed_asks_the_processor(monkeypatch, features, expected, reason):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    precision, why = train.precision_on("mixed", CPU)
    assert precision == expected and reason in why
    for asked in ("float32", "bfloat16"):  # who names a precision gets it on every processor
        assert train.precision_on(asked, CPU)[0] == asked


@pytest.mark.parametrize("native, expected", [(True, "bfloat16"), (False, "float16")])
def test_mixed_asks_the_gpu(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert train.precision_on("mixed", torch.device("cuda"))[0] == expected
    assert train.precision_on("float32", torch.device("cuda"))[0] == "float32"



# What a GPU would do, as far as a CPU can tell -------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_a_step_never_asks_the_host_for_a_value(few, method, monkeypatch):
    """On the meta device tensors have no values: .item(), .cpu() or a tensor left on the host would raise.

    A CUDA graph cannot record such a step either. Autocast and generators do not exist there and are taken away.
    """
    monkeypatch.setattr(torch, "Generator", lambda device, cpu=torch.Generator: cpu())
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    meta = torch.device("meta")
    config = small(method=method, cutout=16, dropout=0.3)
    drawn = train.Trainer(config, few, CPU).drawn
    monkeypatch.setattr(train.Trainer, "draw", lambda self: [values.to(meta) for values in drawn])
    trainer = train.Trainer(config, (few[0].to(meta), few[1].to(meta)), meta)
    trainer.net.train()
    trainer.step()
    assert trainer.loss_of_step.is_meta
    with pytest.raises(RuntimeError, match="meta"):  # that it can fail
        monkeypatch.setattr(train, "objective", lambda *a, f=train.objective: (f(*a)[0] * f(*a)[0].item(), f(*a)[1]))
        trainer.step()


@pytest.fixture
def recording(monkeypatch):
    """A CPU that pretends to record: torch.cuda.CUDAGraph runs what `replay` holds instead of a recorded step."""
    stream, held = SimpleNamespace(wait_stream=lambda other: None), SimpleNamespace(replay=None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: held)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *a, **k: contextlib.nullcontext())
    return held


@pytest.mark.parametrize("method", ["logitnorm", "learned_confidence"])
def test_recording_a_graph_leaves_no_trace(few, method, recording):
    """Recording runs a few steps first; weights, momentum, lambda and random numbers must be as without them."""
    plain, graphed = (trainer_of(few, method=method, dropout=0.3, cutout=16) for _ in range(2))
    recording.replay = graphed.step
    graphed.play, why = graph.recorded(graphed)
    assert why == "" and graphed.play == graphed.step
    for _ in range(2):
        expected, row = plain.train_epoch(), graphed.train_epoch()
        expected.pop("images_per_second"), row.pop("images_per_second")
        assert row == expected
    for name, tensor in plain.state().items():
        assert torch.equal(graphed.state()[name], tensor), name


def test_a_replay_that_is_not_the_step_is_found_out_and_not_used(few, recording):
    trainer = trainer_of(few)
    before = {name: value.clone() for name, value in trainer.state().items()}

    def wrong():
        trainer.step()
        with torch.no_grad():
            next(trainer.net.parameters()).mul_(1.1)
    recording.replay = wrong
    play, why = graph.recorded(trainer)
    assert play == trainer.step and "not replayed as a CUDA graph: its first replay is" in why
    assert all(torch.equal(trainer.state()[name], value) for name, value in before.items())


def test_a_step_that_cannot_be_recorded_is_run_as_it_is(few, recording, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("operation not permitted when stream is capturing")
    monkeypatch.setattr(torch.cuda, "graph", refuse)
    trainer = trainer_of(few)
    play, why = graph.recorded(trainer)
    assert play == trainer.step and "it could not be recorded (operation not permitted" in why


def test_fused_sgd_with_its_rate_in_memory_makes_the_same_step():
    """A GPU trains with this variant: the graph reads the rate from memory. CPUs have it too."""
    start = torch.randn(50)
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    plain, fused = (torch.optim.SGD([p], lr, 0.9, weight_decay=5e-4, nesterov=True, fused=fused)
                    for p, lr, fused in zip(weights, (0.1, torch.tensor(0.1)), (False, True)))
    fused.state[weights[1]]["momentum_buffer"] = torch.zeros(50)  # as the trainer does
    for i in range(5):
        plain.param_groups[0]["lr"] = 0.1 / (1 + i)
        fused.param_groups[0]["lr"].fill_(0.1 / (1 + i))
        gradient = torch.randn(50)
        for p, optimizer in zip(weights, (plain, fused)):
            p.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(*weights)


def test_svhn_is_an_id_set_whose_digits_are_not_mirrored(tmp_path, monkeypatch, few_images):
    rng = np.random.default_rng(0)
    for split, count in (("train", 96), ("test", 40)):
        np.savez(tmp_path / f"svhn-{split}.npz", images=rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8),
                 labels=np.arange(count) % 10)
    (tmp_path / "brick-test.npz").write_bytes((few_images / "brick-test.npz").read_bytes())
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path))
    config = small(id_dataset="svhn", method="learned_confidence", cutout=20, epochs=1, ood_sets=["brick"], history_ood="brick")
    trainer = train.Trainer(config, train.resident(data.load("svhn", "train"), 10, CPU), CPU)
    assert not trainer.draw()[3].any()
    run = results.load(training.train(config, tmp_path / "runs", "cpu"))
    assert run.sets == ["svhn", "brick"] and {"svhn-train", "svhn-test"} <= set(run.info["data"])
