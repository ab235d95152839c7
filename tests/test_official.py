"""Kept weights on the papers' own sets: fetched from a server on this machine, scored, and shown beside the stand-ins."""

import hashlib
import io
import json

import numpy as np
import pytest
import scipy.io
import torch
from archives import as_tar, png
from logitnorm import data, runs
from logitnorm.config import Config
from logitnorm.study import official, results, training
from sklearn.metrics import roc_auc_score


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with weights, scored on tiny stand-ins of SVHN and Textures; and the folder of its image cache."""
    folder = tmp_path_factory.mktemp("official")
    (folder / "cache").mkdir()
    rng = np.random.default_rng(0)
    for name in ("svhn_part", "textures_part"):
        np.savez(folder / "cache" / f"{name}-test.npz", images=rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8))
    config = Config(size="smoke", architecture="wrn10_1", method="logitnorm", epochs=1, keep_model=True, extra_sets=(),
                    ood_sets=("svhn_part", "textures_part"), history_ood="svhn_part")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGITNORM_DATA", str(folder / "cache"))
        return training.train(config, folder / "runs", "cpu"), folder / "cache"


@pytest.fixture
def served(trained, server, tmp_path, monkeypatch):
    """The server of the two official sets, and their images; a cache that has the stand-ins alone."""
    images = np.random.default_rng(1).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    svhn = io.BytesIO()
    scipy.io.savemat(svhn, {"X": images[:20].transpose(1, 2, 3, 0), "y": np.ones((20, 1))})
    textures = as_tar({f"dtd/{i}.png": png(image) for i, image in enumerate(images[20:])})
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path / "cache"))
    for name, file, content in (("svhn", "/test_32x32.mat", svhn.getvalue()), ("textures", "/dtd.tar.gz", textures)):
        server.files[file] = content
        archive = data.Archive((server.url + file,), "sha256:" + hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(data.SETS, name, data.SETS[name]._replace(archive=archive))
    return server, images


def test_the_official_sets_are_fetched_scored_and_set_beside_the_stand_ins(trained, served, tmp_path, capsys):
    (folder, _), (_, images), to = trained, served, tmp_path / "to"
    assert official.main([str(folder), "--to", str(to)]) == 0
    run = results.load(folder)
    assert capsys.readouterr().out.strip() == str(to / f"{run.id}.json")
    frame = official.load([run], to)
    assert set(zip(frame["stand_in"], frame["official"])) == {("svhn_part", "svhn"), ("textures_part", "textures")}

    net = official.load_weights(run).eval()  # by hand: the weights on the images, the largest probability, scikit-learn
    with torch.no_grad():
        inside, outside = (net(data.to_float(x))[0].double().softmax(1).amax(1) for x in (
            data.load("digits").images, torch.from_numpy(images[:20])))
    by_hand = 100 * roc_auc_score([1] * len(inside) + [0] * 20, torch.cat([inside, outside]))
    row = frame.query("score == 'msp' and metric == 'auroc' and official == 'svhn'")
    assert row["on_official"].item() == pytest.approx(by_hand, abs=0.05)
    stated = run.metrics.query("score == 'msp' and metric == 'auroc' and ood_dataset == 'svhn_part'")["value"].item()
    assert row["on_stand_in"].item() == stated

    table = official.beside(frame, [run], "auroc")
    assert list(table["", "official"]) == ["SVHN", "Textures"] and list(table["", "stand-in"]) == ["SVHN (part)",
                                                                                               "Textures (part)"]
    assert table["LogitNorm τ = 0.04", "official"].iloc[0] == row["on_official"].item()
    assert "2 sets and 1 networks" in official.told(frame)


def test_what_is_there_is_not_scored_again_and_a_set_that_comes_later_is(trained, served, tmp_path, capsys, monkeypatch):
    (folder, _), (server, _), to = trained, served, tmp_path / "to"
    textures = server.files.pop("/dtd.tar.gz")
    assert official.main([str(folder), "--to", str(to)]) == 1  # one set cannot be had, the other is scored
    assert "the download of textures failed" in capsys.readouterr().err
    path = to / f"{folder.name}.json"
    assert set(json.loads(path.read_text())["counts"]) == {"digits", "svhn"}
    server.files["/dtd.tar.gz"] = textures
    assert official.main([str(folder), "--to", str(to)]) == 0
    assert json.loads(path.read_text())["counts"]["textures"] == 10
    before = path.read_bytes()
    monkeypatch.setattr(official.scoring, "score_sets", lambda *given: pytest.fail("scored again"))
    assert official.main([str(folder), "--to", str(to)]) == 0 and path.read_bytes() == before


def test_results_of_other_weights_and_damaged_ones_are_refused(trained, served, tmp_path):
    run = results.load(trained[0])
    info = {"weights": "0" * 64, "metrics": []}
    (tmp_path / f"{run.id}.json").write_text(json.dumps(info))
    with pytest.raises(runs.RunError, match="other weights"):
        official.load([run], tmp_path)
    for damaged in ('{"weights": ', "[]", "{}", '{"weights": "", "metrics": [{"score": "msp"}]}'):
        (tmp_path / f"{run.id}.json").write_text(damaged)
        with pytest.raises(runs.RunError, match=f"{run.id}.json is damaged .* delete it and run `python -m logitnorm official`"):
            official.load([run], tmp_path)


def test_a_run_without_weights_is_refused_before_anything_is_downloaded(trained, served, tmp_path, monkeypatch, capsys):
    run = results.load(trained[0])
    del run.info["files"]["model.safetensors"]
    with pytest.raises(runs.RunError, match="kept no weights"):
        official.score(run, {}, tmp_path)
    monkeypatch.setattr(results, "load", lambda path: run)
    assert official.main([str(run.path), "--to", str(tmp_path)]) == 1 and not served[0].asked
    assert "kept no weights" in capsys.readouterr().err


def test_without_official_scores_the_page_says_what_to_run(tmp_path):
    frame = official.load([], tmp_path)
    assert frame.empty and "python -m logitnorm official" in official.told(frame)
    assert official.beside(frame, [], "fpr95").empty
