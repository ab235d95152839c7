"""From one word to a run: what a preset trains, what it says before it starts, and what is handed in at the end."""

import json
import re
import zipfile

import pytest
import torch
from fake_runs import write_run
from logitnorm import data, runs
from logitnorm.config import Config, ConfigError
from logitnorm.study import experiments, preset, training


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of images that holds none."""
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path / "images"))
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def put(cache, *names):
    for name in names:
        for split in data.SETS[name].splits:
            (cache / f"{name}-{split}.npz").touch()


def test_a_preset_is_a_run_whose_weights_are_kept_and_given_settings_win(cache):
    put(cache, "svhn_part", "isun")
    quick = preset.config("quick", method="cross_entropy", seed=3, tau=None)
    assert quick == Config(size="small", epochs=4, method="cross_entropy", seed=3, keep_model=True,
                           ood_sets=("svhn_part", "isun"), extra_sets=())
    assert preset.config("quick", epochs=2, keep_model=False).epochs == 2
    assert not preset.config("quick", keep_model=False).keep_model
    assert preset.config("quick", size="smoke") == Config(size="smoke")
    assert preset.config("full").run_id in {run.run_id for run in experiments.configs(size="full")}
    with pytest.raises(ConfigError, match="preset should be one of quick, small, medium, full, got 'fast'"):
        preset.config("fast")


def test_without_the_stand_ins_the_official_sets_are_scored(cache):
    assert preset.config("quick").ood_sets == ("svhn", "isun") and preset.config("quick").history_ood == "svhn"
    put(cache, "svhn_part")
    assert preset.config("quick").ood_sets == ("svhn_part", "isun")
    assert preset.config("small").ood_sets == Config().ood_sets


def test_it_says_how_many_megabytes_it_will_download(cache):
    quick = preset.config("quick")
    assert preset.download(quick) == ("235 MB: cifar10, svhn, isun (without isun, of which only the download knows the "
                                      "size)")
    for file in ("cifar10-test", "svhn-test"):
        (cache / f"{file}.npz").touch()
    assert preset.download(quick).startswith("171 MB: cifar10, isun"), "of the OOD set the test split is enough"
    put(cache, "cifar10")
    assert preset.download(quick).startswith("0 MB: isun")
    put(cache, "isun")
    assert preset.download(quick) == "nothing, the images are here"
    assert preset.download(Config(size="smoke")) == "nothing, the images are here"


def test_full_on_a_cpu_asks_for_one_word(cache, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(preset, "minutes", lambda run, device: 1234.4)
    full = preset.config("full")
    with pytest.raises(ConfigError, match="takes days on a CPU.*full_on_cpu = True"):
        preset.tell(full)
    text = preset.tell(full, "somewhere", full_on_cpu=True)
    assert "about 1235 min," in text and f"somewhere/{full.run_id}" in text and "CPU" in text


def test_the_minutes_are_those_of_the_measured_steps(monkeypatch):
    clock = iter([100.0, 103.2])
    monkeypatch.setattr(preset.Trainer, "train_epoch", lambda trainer: None)
    monkeypatch.setattr(preset.time, "perf_counter", lambda: next(clock))
    run = Config(size="smoke", batch_size=32)  # 3.2 seconds for 5 x 32 images: 0.02 each
    assert preset.minutes(run, torch.device("cpu")) == pytest.approx(run.epochs * 1437 * 0.02 / 60)


def test_the_number_of_training_images_is_that_of_the_set():
    assert len(data.load("digits", "train").images) == training.TRAIN_IMAGES["digits"]


def test_whoever_interrupts_is_told_how_to_go_on_and_the_checkpoint_stays(few_images, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LOGITNORM_DATA", str(few_images))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    run = Config(size="smoke", epochs=3, batch_size=128, ood_sets=("brick",), extra_sets=(), history_ood="text")
    train_epoch = preset.Trainer.train_epoch

    def interrupted(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt
        return train_epoch(trainer)

    monkeypatch.setattr(preset.Trainer, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(run, tmp_path)
    assert f"the last checkpoint is in {tmp_path / run.run_id}.part: execute this cell again" in capsys.readouterr().out
    monkeypatch.setattr(preset.Trainer, "train_epoch", train_epoch)
    path = training.train(run, tmp_path)
    said = capsys.readouterr().out
    assert "continuing after epoch 1" in said and len(re.findall("█{20}  epoch 3/3", said)) == 1
    assert "█" * 6 + "░" * 14 not in said and runs.load(path).id == run.run_id


def test_the_end_is_one_file_and_the_text_of_a_pull_request(tmp_path):
    folder = write_run(tmp_path, n_id=40, n_ood=20)
    text = preset.hand_in(folder)
    assert "It is one of the runs that experiments.yaml lists." in text
    assert zipfile.is_zipfile(tmp_path / f"{folder.name}.zip") and f"verify {tmp_path / folder.name}.zip" in text
    info = json.loads((folder / "run.json").read_text())
    assert f"{info['test_accuracy']:.2f} % on the test images of CIFAR-10" in text and str(info["code"]["commit"]) in text
    own = write_run(tmp_path, n_id=40, n_ood=20, lr=0.3)
    text = preset.hand_in(own)
    assert "pull request" not in text and f"Keep {own.name} out of data/runs/" in text and "so the tables leave it out" in text
    assert "A results notebook shows it beside" in preset.hand_in(write_run(tmp_path, n_id=40, n_ood=20, seed=77))
    assert f'runs_dir = "+{tmp_path}"' in text and zipfile.is_zipfile(tmp_path / f"{own.name}.zip")
