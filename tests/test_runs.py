"""Run folders: complete or refused, never half-read."""

import errno
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fake_runs import reseal, write_run
from logitnorm import metrics, paths, runs, scores
from logitnorm.config import Config, ConfigError
from logitnorm.study import experiments, results, scoring, training, writing
from logitnorm.study.provenance import provenance


def test_a_damaged_checkpoint_is_refused_with_its_name(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    training.write_checkpoint(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(runs.RunError, match="checkpoint.safetensors is damaged .* delete it"):
        training.read_checkpoint(path)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    training.write_checkpoint(path, {"a": torch.ones(2)}, {"epoch": 1})

    def full(file):
        os.write(file, b"")  # refused, as Windows refuses to sync, where the file is open for reading only
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(runs.RunError, match="could not write .*c.safetensors: No space left on device; free some space"):
        training.write_checkpoint(path, {"a": torch.zeros(2)}, {"epoch": 2})
    assert training.read_checkpoint(path)[1] == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path, method="logitnorm", seed=1)


@pytest.mark.parametrize("name", ["history.csv", "metrics.csv", "scores.safetensors"])
def test_an_altered_or_missing_file_is_refused_with_its_name(run_folder, name):
    file = run_folder / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(runs.RunError, match=f"{name} is damaged or was changed"):
        results.load(run_folder)
    file.unlink()
    with pytest.raises(runs.RunError, match=f"{name} is missing"):
        results.load(run_folder)


def test_a_folder_without_or_with_a_damaged_run_json_is_refused(run_folder):
    for damaged in (b'{"run_id": ', b'{"files": {}, "device": "\xff"}', b'{"files": []}', b"[]", b'{"files": {}, "config": {}}',
                    b'{"files": {}, "config": [], "run_id": "r"}', b'{"files": {}, "config": {}, "run_id": 1}'):
        (run_folder / "run.json").write_bytes(damaged)
        with pytest.raises(runs.RunError, match="run.json is damaged"):
            results.load(run_folder)
    (run_folder / "run.json").unlink()
    with pytest.raises(runs.RunError, match="is not a complete run: run.json is missing; restore it, or delete the folder and train"):
        results.load(run_folder)


@pytest.mark.parametrize("name", ["metrics.csv", "run.json"])
def test_a_folder_in_the_place_of_a_file_is_named_with_what_to_do(run_folder, name):
    (run_folder / name).unlink()
    (run_folder / name).mkdir()
    with pytest.raises(runs.RunError, match=f"{name} cannot be read .Is a directory.; make it a file that you may read, or restore it"):
        results.load(run_folder)


def test_a_second_net_another_length_or_rate_is_in_no_average(tmp_path):
    for other in ({}, {"architecture": "wrn10_1"}, {"epochs": 6}, {"lr": 0.1}):
        write_run(tmp_path, method="logitnorm", seed=1, n_id=30, n_ood=10, **other)
    assert [run.id for run in results.load_all(tmp_path)] == ["small-cifar10-wrn10_2-logitnorm-tau0.04-seed1"]
    assert len(results.load_all(tmp_path, everything=True)) == 4
    for of_its_own in ({"size": "full", "architecture": "resnet34", "dropout": 0.0}, {"size": "small", "architecture": "vgg13", "epochs": 15}):
        assert results.Result(Path(), {"config": of_its_own}).in_grid, "the papers' other nets come with settings of their own"


def test_an_archive_and_settings_of_another_version_are_refused_when_a_run_is_read(tmp_path):
    (tmp_path / "run.zip").write_bytes(b"PK")
    with pytest.raises(runs.RunError, match="run.zip is no folder; name a run folder, unpack an archive"):
        results.load(tmp_path / "run.zip")
    folder = write_run(tmp_path, n_id=20, n_ood=10)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"config": info["config"] | {"taw": 1}}))
    with pytest.raises(runs.RunError, match="settings that this version does not know .*taw"):
        results.load_all(tmp_path)


def test_load_all_and_tidy(tmp_path):
    write_run(tmp_path, format=1, method="cross_entropy", seed=2)
    write_run(tmp_path, format=2, method="logitnorm", seed=1)
    (tmp_path / "unfinished.part").mkdir()
    (tmp_path / "unfinished.part" / "run.json").write_text("{}")
    found = results.load_all(tmp_path)
    assert [r.config.method for r in found] == ["cross_entropy", "logitnorm"]
    assert results.by_size(tmp_path, ["small", "smoke"]) == {"small": found, "smoke": []}
    for sizes in (["smal"], [], "small", [["small"]]):
        with pytest.raises(ConfigError, match="sizes should be a list of one or more of smoke, small, medium, full, got "):
            results.by_size(tmp_path, sizes)
    with pytest.raises(runs.RunError, match="nowhere does not exist; name a folder"):
        results.load_all(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(runs.RunError, match="file is a file; name a folder"):
        results.load_all(tmp_path / "file")
    frame = results.tidy(found)
    assert list(frame) == results.TIDY
    assert frame[frame.method == "cross_entropy"].tau.isna().all()
    assert (frame[frame.method == "logitnorm"].tau == 0.04).all()
    assert len(frame) == sum(len(r.metrics) for r in found)
    assert list(results.tidy([])) == results.TIDY
    accuracy = frame[frame.metric == "accuracy"].set_index("run").value
    for run in found:  # none is mixed up with another
        assert accuracy[run.id] == pytest.approx(100 * run.correct.mean())
    file = found[1].path / "scores.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(runs.RunError, match=f"{file} is damaged"):
        results.load_all(tmp_path)


def test_provenance_names_commit_versions_and_the_library(tmp_path, monkeypatch):
    found = provenance()
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert len(found["code"]["library_sha256"]) == 64
    read = Path.read_bytes
    with monkeypatch.context() as patch:  # the table of image sets decides what is mirrored and scaled
        patch.setattr(Path, "read_bytes", lambda path: b"" if path.name == "sets.yaml" else read(path))
        assert provenance()["code"]["library_sha256"] != found["code"]["library_sha256"]
    if (paths.ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=paths.ROOT, capture_output=True, text=True).stdout.strip()
        assert found["code"]["commit"] == head and found["code"]["dirty"] in (True, False)
    monkeypatch.setattr(paths, "ROOT", tmp_path)  # not a checkout
    assert provenance()["code"]["commit"] is None and provenance()["code"]["dirty"] is None
    monkeypatch.setenv("LOGITNORM_COMMIT", "0123abc")
    assert provenance()["code"]["commit"] == "0123abc" and provenance()["code"]["dirty"] is None


COMMITTED = sorted(p.parent for p in paths.RUNS.glob("*/run.json"))


# Every fifth here; all of them in test-all, and in each build (experiments --check).
@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name, marks=[pytest.mark.slow] * (i % 5 > 0))
                                    for i, folder in enumerate(COMMITTED)])
def test_committed_runs_are_intact_and_their_metrics_follow_from_their_scores(folder):
    run = results.load(folder)
    assert run.id == folder.name == run.config.run_id
    assert run.info["code"]["commit"] and run.info["code"]["dirty"] is False
    pd.testing.assert_frame_equal(pd.DataFrame(scoring.measure(run.config, run.arrays())), run.metrics, rtol=1e-9)
    for name in run.sets if run.format == 1 else ():
        assert np.isfinite(run.tensor(f"{name}/logits")).all()
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert run.format == 1 or size < 6.1e6 and (size < 1e6 or run.config.keep_model), f"{size / 1e6:.2f} MB"


# experiments.yaml ------------------------------------------------------------------------------------------

def test_experiments_hold_the_papers_grid():
    paper = experiments.configs(size="full")
    ids = [c.run_id for c in paper]
    assert len(ids) == len(set(ids))
    taus = {c.tau for c in paper if c.method == "logitnorm" and c.id_dataset == "cifar10"}
    assert taus == {0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1}
    assert [c.seed for c in experiments.configs(size="full", only="cifar10-wrn40_2-cross_entropy-seed")] == [
        1, 2, 3, 4, 5]


def test_the_command_lists_trains_and_refuses(tmp_path, capsys):
    assert experiments.main(["--size", "full", "--only", "seed5", "--list"]) == 0
    assert capsys.readouterr().out.split() == ["full-cifar10-wrn40_2-cross_entropy-seed5",
                                               "full-cifar10-wrn40_2-logitnorm-tau0.04-seed5"]
    assert experiments.main(["--only", "no such run", "--runs-dir", str(tmp_path)]) == 1
    assert "no run of experiments.yaml matches" in capsys.readouterr().err


def test_scores_of_a_run_are_those_of_its_metrics(tmp_path):
    run = results.load(write_run(tmp_path, method="logitnorm"))
    for name in scoring.SCORES:
        inside, outside = run.score(name, "cifar10"), run.score(name, "mnist")
        found = metrics.ood_metrics(inside, outside)
        printed = run.metrics.query("score == @name and ood_dataset == 'mnist'").set_index("metric")["value"]
        assert found == pytest.approx(printed.to_dict(), abs=1e-9)
        assert run.score(name, "cifar10", "mnist").tolist() == [*inside, *outside]
    accuracy = run.metrics.query("metric == 'accuracy'")["value"].item()
    assert 100 * run.correct.mean() == pytest.approx(accuracy) and run.correct.dtype == bool


@pytest.fixture
def outputs():
    """A network's made-up outputs on the sets of a run of LogitNorm, with ties, and the run's settings."""
    config = Config(size="smoke", id_dataset="digits", method="logitnorm", ood_sets=("brick", "text"), extra_sets=(), history_ood="brick",
                    keep_features=True)
    rng, arrays = np.random.default_rng(5), {}
    for name, n in (("digits", 700), ("brick", 600), ("text", 90)):
        logits = rng.normal(size=(n, 10)).astype(np.float32) * (3 if name == "digits" else 1) + 2
        logits[::7] = logits[0]
        features = rng.gamma(2.0, size=(n, 6)).astype(np.float32)
        arrays |= {f"{name}/logits": logits, f"{name}/feature_l1": features.sum(1), f"{name}/features": features,
                   f"{name}/odin": np.round(rng.uniform(size=n), 2)}
    return config, arrays | {"digits/labels": rng.integers(10, size=700)}


def test_a_packed_run_has_the_metrics_of_its_outputs(outputs):
    config, arrays = outputs
    packed = {(r["score"], r["ood_dataset"], r["metric"]): r["value"] for r in scoring.measure(config, scoring.pack(*outputs))}
    for row in scoring.measure(config, arrays):
        key = row["score"], row["ood_dataset"], row["metric"]
        assert packed[key] == pytest.approx(row["value"], rel=1e-6 if row["metric"].startswith("ece") else 1e-12), key
    f, labels = arrays["digits/logits"].astype(float), arrays["digits/labels"]
    g = f / (0.04 * np.linalg.norm(f, axis=1, keepdims=True))
    assert packed["", "", "ece_normalised"] == pytest.approx(metrics.ece(g, labels), rel=1e-5)
    assert packed["", "", "nll_normalised"] == pytest.approx(metrics.nll(g, labels), rel=1e-5)
    h = arrays["text/logits"].astype(float)
    h_normalised = h / (0.04 * np.linalg.norm(h, axis=1, keepdims=True))
    assert packed["msp_normalised", "text", "auroc"] == pytest.approx(metrics.auroc(scores.msp(g), scores.msp(h_normalised)))
    f, h = f - f.mean(1, keepdims=True), h - h.mean(1, keepdims=True)
    of_c = scoring.pack(config.replace(method="centred_logitnorm"), arrays)  # its loss normalises f - m
    assert of_c["digits/msp_normalised"] == pytest.approx(scores.msp(f / (0.04 * np.linalg.norm(f, axis=1, keepdims=True))), rel=1e-5)
    assert packed["energy_centred", "text", "auroc"] == pytest.approx(metrics.auroc(scores.energy(f), scores.energy(h)))


def test_a_packed_run_gives_scores_back_in_their_order_and_near_their_value(outputs, tmp_path, monkeypatch):
    config, arrays = outputs
    monkeypatch.setattr(scoring, "KNOTS", 65)
    writing.write_tensors(tmp_path / "scores.safetensors", scoring.pack(*outputs), {})
    run = results.Result(tmp_path, {"format": 2, "config": config.model_dump(), "files": {}})
    truth = np.concatenate([scores.msp(arrays[f"{name}/logits"]) for name in ("digits", "text")])
    found = run.score("msp", "digits", "text")
    assert np.array_equal(np.unique(truth, return_inverse=True)[1], np.unique(found, return_inverse=True)[1])
    assert np.abs(found - truth).max() < 0.03 and np.array_equal(run.correct, arrays["digits/logits"].argmax(1) ==
                                                                   arrays["digits/labels"])
    assert run.has("brick/logits") and not run.has("text/logits") and len(run.tensor("digits/features")) == scoring.KEPT
    np.testing.assert_array_equal(run.tensor("digits/features")[1], arrays["digits/features"][1].astype(np.float16))
    with pytest.raises(KeyError, match="holds no 'cosine/ranks'"):
        run.score("cosine", "digits")


def test_ranks_need_four_bytes_where_two_cannot_count_them(outputs):
    config, arrays = outputs
    many = np.arange(70000, dtype=float)
    for key in ("logits", "feature_l1", "features", "odin"):
        arrays[f"text/{key}"] = np.resize(arrays[f"text/{key}"], (70000, *arrays[f"text/{key}"].shape[1:]))
    arrays["text/odin"] = many
    packed = scoring.pack(config, arrays)
    assert packed["odin/ranks"].dtype == np.uint32 and packed["msp/ranks"].dtype == np.uint16
    assert np.array_equal(np.diff(packed["odin/ranks"][-70000:].astype(int)) > 0, np.full(69999, True))


def test_the_score_of_a_methods_own_head_is_read_as_it_was_stored(tmp_path):
    run = results.Result(tmp_path, {"config": Config(method="learned_confidence", id_dataset="digits").model_dump(), "files": {}})
    stored = {"digits/logits": np.eye(10, dtype=np.float32), "digits/confidence": np.arange(10, dtype=np.float32)}
    writing.write_tensors(tmp_path / "scores.safetensors", stored, {})
    assert run.score("confidence", "digits").tolist() == list(range(10))
    np.testing.assert_array_equal(run.score("msp", "digits"), scores.msp(np.eye(10)))


@pytest.mark.parametrize("change, cell", [
    (lambda text: re.sub(r"(msp,isun,fpr95,)[\d.]+", r"\g<1>1.5", text), "says 1.5 for msp isun fpr95"),
    (lambda text: re.sub(r"odin,mnist,auroc,.*\n", "", text), "says nothing for odin mnist auroc"),
    (lambda text: text + "msp,nowhere,auroc,99.0\n", "for msp nowhere auroc, but the run's scores give nothing")])
def test_metrics_that_do_not_follow_from_the_scores_are_refused_with_the_cell(tmp_path, change, cell):
    folder = write_run(tmp_path, method="logitnorm", n_id=40, n_ood=20)
    scoring.require_metrics(results.load(folder))
    path = folder / "metrics.csv"
    path.write_text(change(path.read_text()))
    reseal(folder)
    with pytest.raises(runs.RunError, match=cell):
        scoring.require_metrics(results.load(folder))


def test_a_folder_of_ones_own_stands_beside_the_books_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "book")
    for folder, seed in (("book", 1), ("book", 2), ("mine", 2), ("mine", 7)):
        write_run(tmp_path / folder, n_id=40, n_ood=20, seed=seed)
    found = results.load_all(f"+{tmp_path / 'mine'}")
    assert [(run.path.parent.name, run.config.seed) for run in found] == [("book", 1), ("mine", 2), ("mine", 7)]
    assert [run.config.seed for run in results.load_all(tmp_path / "mine")] == [2, 7]
    with pytest.raises(runs.RunError, match="nowhere holds no finished run"):
        results.load_all(f"+{tmp_path / 'nowhere'}")
