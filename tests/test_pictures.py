"""Contact sheets, ROC curves, norm and confidence: what they tell against the run's own metrics.csv and the images."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from logitnorm import data, metrics, paths
from logitnorm.book import pictures
from logitnorm.study import collapse, confidence, conventions, findings, ledger, paper, results


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
    figure, alt, said = pictures.norm_and_confidence(runs[:2])
    for ax, run in zip(figure.axes, runs):
        f = run.tensor("cifar10/logits").astype(float)
        p = np.exp(f - f.max(1, keepdims=True))
        points = dict(zip(np.linalg.norm(f, axis=1).round(9), (p / p.sum(1, keepdims=True)).max(1)))
        for norm, msp in zip(*ax.lines[0].get_data()):
            assert points[round(norm, 9)] == pytest.approx(msp, rel=1e-9)
        assert len(ax.lines[0].get_xdata()) == 600
    assert alt.count("median norm") == 4 and re.fullmatch(r".* 0\.\d\d under Cross-entropy and 0\.\d\d under LogitNorm\.", said)


def test_norm_curves_are_the_papers_and_the_runs(runs):
    figure = pictures.norm_curves(runs[:2])
    assert [len(ax.lines) for ax in figure.axes] == [4, 2] and [len(ax.lines) for ax in pictures.norm_curves([]).axes] == [2, 0]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), paper.figure(1).query("epoch >= 1")["id_test"])
    for ax, run in zip(figure.axes, runs):
        for line, column in zip(ax.lines[-2:], ("norm_test", "norm_ood")):
            np.testing.assert_array_equal(line.get_ydata(), run.history.query("epoch >= 1")[column])
            assert line.get_xdata()[-1] == 100


def test_the_curve_of_tau_has_the_runs_means_and_both_cross_entropies(runs):
    curve = pd.DataFrame({"tau": [0.01, 0.04, 0.1], "paper": [20.0, 15.65, 24.0], "ours": [30.0, 28.0, np.nan], "sd": [1.0, np.nan, np.nan]})
    [ax] = pictures.tau_curve(curve, paper.ours(runs)).axes
    theirs, printed_base, ours, base = ax.lines[:2] + [ax.containers[0][0]] + ax.lines[-1:]
    assert theirs.get_ydata().tolist() == [20.0, 15.65, 24.0] and ours.get_ydata().tolist() == [30.0, 28.0]
    mean = np.mean([printed(runs[0], name, "fpr95", "msp") for name in runs[0].config.ood_sets])
    assert printed_base.get_ydata()[0] == 49.52 and base.get_ydata()[0] == pytest.approx(mean, abs=0.01)
    assert len(pictures.tau_curve(curve.assign(ours=np.nan), paper.ours([])).axes[0].lines) == 2


def test_a_training_is_drawn_from_its_history(runs):
    above, below = pictures.training(runs[1]).axes
    drawn = [line.get_ydata() for line in (*above.lines, *below.lines)]
    np.testing.assert_array_equal(drawn, runs[1].history[["train_loss", "norm_train", "norm_test", "norm_ood"]].T)


def test_spectra_and_lengths_are_those_of_the_features():
    both = findings.pair({"small": collapse.keeping(results.load_all())}, "cross_entropy", "logitnorm")
    (spectra, ranks), (lengths, means) = pictures.spectra(both), pictures.feature_lengths(both)
    assert len(spectra.axes[0].lines) == len(lengths.axes) == 2
    for run, line, ax in zip(both, spectra.axes[0].lines, lengths.axes):
        features = run.tensor(f"{run.config.id_dataset}/features").astype(float)
        variances = np.linalg.eigvalsh(np.cov(features.T, bias=True))[::-1]
        np.testing.assert_allclose(line.get_ydata() ** 2, variances / variances[0], rtol=1e-4, atol=1e-9)
        assert f"effective rank {variances.sum() ** 2 / (variances ** 2).sum():.1f} of {len(variances)}" in ranks
        assert f"mean {np.linalg.norm(features, axis=1).mean():.2f} on ID images" in means and len(ax.patches) == 2
    assert pictures.spectra([])[1] == pictures.feature_lengths([])[1] == "No run."


def test_figure_2_shows_its_two_images_only_where_they_are_those_of_its_rule():
    two = findings.pair(results.by_size("", ledger.SIZES), "cross_entropy", "logitnorm")
    _, pick = findings.examples(two)
    figure, ax = plt.subplots()
    pictures.two_images(ax, pick | {"OOD": -1})
    assert not ax.child_axes
    pictures.two_images(ax, pick)
    assert len(ax.child_axes) == 2, "python tools/thumbnails.py draws the two images anew"


def test_without_a_run_the_pictures_say_so():
    assert "No run yet" in pictures.roc_curves([])[1] and "No run yet" in pictures.norm_and_confidence([])[1]


# ---- Learned Confidence

def test_the_drawing_computes_what_its_hint_does():
    figure, alt = pictures.two_heads()
    drawn = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert f"= {-np.log(0.4 * 0.28 + 0.6):.2f}" in drawn and f"{-np.log(0.4):.2f}" in drawn and "from 0.28 to 0.71" in alt and "at test time" in drawn


def test_the_price_of_hints_marks_the_lowest_point_of_each_curve():
    figure, alt = pictures.price_of_hints()
    lines = figure.axes[0].lines
    for curve, mark in zip(lines[::2], lines[1::2]):
        c, loss = curve.get_data()
        assert mark.get_xdata()[0] == pytest.approx(c[np.argmin(loss)], abs=0.01) and mark.get_ydata()[0] <= loss.min() + 1e-4
    assert alt.count("cheapest at c") == 3


def test_learned_confidence_is_drawn_from_the_runs_scores():
    run = results.load(paths.RUNS / "small-cifar10-wrn10_2-learned_confidence-cutout16-seed1")
    c = 1 / (1 + np.exp(-run.score("confidence", "cifar10")))
    assert f"in-distribution: mean {c.mean():.2f}, standard deviation {c.std():.2f}" in pictures.confidence_histogram(run)[1]
    assert "No run yet" in pictures.confidence_histogram(None)[1] and "No run yet" in pictures.thresholds_from_errors([])[1]
    found = confidence.from_errors(run)
    assert f"{found.error:.1f} % at the threshold from ID errors, {found.threshold:.3f}" in pictures.thresholds_from_errors([run])[1]


def test_a_map_of_each_toy_has_its_noise_as_title():
    settings, maps = [confidence.Setting(flipped=0.1), confidence.Setting(jitter=0.2)], [np.full((3, 3), 0.5), np.eye(3)]
    figure, alt = pictures.toy_maps(settings, maps)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["10% flipped", "moved by 0.2"]
    assert "moved by 0.2: c from 0.00 to 1.00" in alt


# ---- the papers' figures

def test_two_examples_draw_the_papers_bars_and_ours(runs):
    bars, pick = findings.examples(runs[:2])
    figure = pictures.two_examples(bars, pick)
    heights = [bar.get_height() for bar in figure.axes[1].patches[:10]]
    np.testing.assert_allclose(heights, bars["cross_entropy"]["ID"])
    assert len([ax for ax in pictures.two_examples({}, {}).axes if ax.get_title()]) == 2


def test_tsne_maps_name_the_classes_of_the_id_set(runs):
    sample = findings.sample(runs[1], 600, 60)
    figure = pictures.tsne_maps(runs[1:2], [sample])
    assert {text.get_text() for text in figure.axes[0].texts} <= set(paper.CLASSES) and len(figure.axes[0].texts) == 10


def test_score_densities_tell_the_means_and_show_the_papers_curves_on_svhn_only(runs):
    figure, alt = pictures.score_densities(runs[:2], "svhn_part")
    assert f"LogitNorm, OOD: mean {runs[1].score('msp', 'svhn_part').mean():.2f}" in alt and len(figure.axes[0].lines) == 2
    assert len(pictures.score_densities(runs[:2], "isun")[0].axes[0].lines) == 1 and "The paper only" in pictures.score_densities([], "svhn")[1]


def test_three_numbers_are_the_runs_own(runs):
    _, alt = pictures.three_numbers(runs[1])
    assert f"{printed(runs[1], 'svhn_part', 'fpr95', 'msp'):.1f} % of the OOD images" in alt
    assert f"an area of {printed(runs[1], 'svhn_part', 'auroc', 'msp'):.1f} %" in alt and "No run yet" in pictures.three_numbers(None)[1]


def test_learning_curves_end_where_the_runs_ended(runs):
    figure, alt = pictures.learning_curves(runs[:2])
    assert all(f"{run.id}: {run.history['test_accuracy'].iloc[-1]:.2f} %" in alt for run in runs[:2])
    assert len(figure.axes[0].lines) == 4 and "no run" in pictures.learning_curves([])[1]


# ---- other people's metric code

def test_the_two_metrics_called_fpr95_are_those_of_the_packages(runs):
    _, alt = pictures.two_metrics_one_name(runs[:2], "svhn_part")
    for run in runs[:2]:
        both = run.score("msp", "cifar10"), run.score("msp", "svhn_part")
        caught = np.sort(both[1])[::-1][int(np.floor(0.05 * len(both[1])))]  # 95 % of OOD lie at or below it
        assert f"{metrics.fpr95(*both):.1f} % of the OOD images pass" in alt
        assert f"{100 * np.mean(both[0] <= caught):.1f} % of the ID images are refused" in alt
    assert "No run yet" in pictures.two_metrics_one_name([], "svhn_part")[1]


def test_every_rule_has_its_line(runs):
    frame = conventions.fpr95_by_convention(runs[:2], "msp")
    figure, alt = pictures.fpr95_rules({"msp": frame})
    assert len(figure.axes[0].get_yticklabels()) == len(conventions.FPR95) and conventions.in_words(frame) in alt
