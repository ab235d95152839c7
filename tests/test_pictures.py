"""Contact sheets, ROC curves, norm and confidence: what they tell against the run's own metrics.csv and the images."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from logitnorm import data, paths
from logitnorm.book import pictures
from logitnorm.study import findings, paper, results


@pytest.fixture(scope="module")
def runs():
    return [results.load(paths.RUNS / f"small-cifar10-wrn10_2-{name}-seed1") for name in ("cross_entropy", "logitnorm-tau0.04", "godin")]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def printed(run, name, metric, score):
    [value] = run.metrics.query("ood_dataset == @name and metric == @metric and score == @score")["value"]
    return value


@pytest.mark.parametrize("name", ["front", "sheets", "fig2"])
def test_the_committed_thumbnails_are_the_images_they_name(name):
    pixels, images, source = pictures.thumbnails(name)
    assert len(pixels) == len(images) and ("seed 1" in source or name == "fig2")
    assert all(data.SETS[used].title in source for used in images["set"])
    for image, told in zip(pixels, images.itertuples()):
        assert image.shape == (32, 32, 3)
        if not (data.cache_dir() / f"{told.set}-test.npz").is_file():
            pytest.skip(f"{told.set} is not on this machine: set LOGITNORM_DATA to compare with the images themselves")
        true = data.load(told.set, "test")
        np.testing.assert_array_equal(image, true.images[told.index].numpy())
        assert true.labels is None or true.labels[told.index] == told.label


def test_a_contact_sheet_counts_what_the_detector_lets_in(runs):
    _, images, _ = pictures.thumbnails("sheets")
    for run, score in zip(runs, ("msp", "msp", "cosine")):
        figure, alt = pictures.contact_sheet(run)
        kept = np.sort(run.score(score, "cifar10"))[len(run.score(score, "cifar10")) // 20]
        assert len(figure.axes) == images["set"].nunique() == 7
        for name, part in images.groupby("set"):
            let_in = (run.score(score, name)[part["index"]] >= kept).sum()
            assert f"{paper.title(name)}: {let_in} of 24" in alt
            if name != "cifar10":
                assert f"of all images {printed(run, name, 'fpr95', score):.1f} %" in re.sub(r".*" + re.escape(paper.title(name)), "", alt)


def test_a_contact_sheet_frames_what_is_wrong_and_pales_what_is_kept_out(runs):
    figure, alt = pictures.contact_sheet(runs[0])
    for ax, title in zip(figure.axes, re.findall(r"(\d+) of 24", alt)):
        canvas = np.asarray(ax.images[0].get_array())
        framed = sum((canvas[36 * (i // 12), 36 * (i % 12)] == pictures.WRONG).all() for i in range(24))
        assert framed == (24 - int(title) if ax is figure.axes[0] else int(title))
        out = [canvas[36 * (i // 12) + 2:36 * (i // 12) + 34, 36 * (i % 12) + 2:36 * (i % 12) + 34] for i in range(int(title), 24)]
        assert all(image.min() >= 170 for image in out)


def test_roc_curves_tell_the_runs_metrics(runs):
    figure, alt = pictures.roc_curves(runs[:2])
    for run in runs[:2]:
        for name in run.config.ood_sets:
            assert (f"{paper.LABELS[run.config.method]} on {paper.title(name)}: AUROC {printed(run, name, 'auroc', 'msp'):.1f} %, "
                    f"FPR95 {printed(run, name, 'fpr95', 'msp'):.1f} %") in alt
    assert all(len(ax.lines) == 4 for ax in figure.axes)


def test_norm_and_confidence_are_those_of_the_logits(runs):
    figure, alt, said = pictures.norm_and_confidence(runs[:2], shown=50)
    for ax, run in zip(figure.axes, runs):
        f = run.tensor("cifar10/logits").astype(float)
        p = np.exp(f - f.max(1, keepdims=True))
        points = dict(zip(np.linalg.norm(f, axis=1).round(9), (p / p.sum(1, keepdims=True)).max(1)))
        for norm, confidence in zip(*ax.lines[0].get_data()):
            assert points[round(norm, 9)] == pytest.approx(confidence, rel=1e-9)
        assert len(ax.lines[0].get_xdata()) == 50
    assert alt.count("median norm") == 4 and re.fullmatch(r".* 0\.\d\d under Cross-entropy and 0\.\d\d under LogitNorm\.", said)


def test_figure_2_shows_its_two_images_only_where_they_are_those_of_its_rule():
    two = findings.pair(results.by_size("", ("medium", "small")), "cross_entropy", "logitnorm")
    _, pick = findings.examples(two)
    figure, ax = plt.subplots()
    pictures.two_images(figure, ax, pick | {"OOD": -1})
    assert not ax.child_axes
    pictures.two_images(figure, ax, pick)
    assert len(ax.child_axes) == 2, "python tools/thumbnails.py draws the two images anew"


def test_without_a_run_the_pictures_say_so():
    assert "No run yet" in pictures.roc_curves([])[1] and "No run yet" in pictures.norm_and_confidence([])[1]


def test_the_drawing_says_what_its_heads_are():
    figure, alt = pictures.two_heads()
    drawn = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "softmax" in drawn and r"\sigma" in drawn and "confidence" in alt
