"""Other projects' conventions: each against scikit-learn, autograd or values by hand, and against the packages' own."""

import json
import math
import statistics
import sys

import numpy as np
import pandas as pd
import peers
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from logitnorm import metrics, paths
from logitnorm.study import conventions, paper, results
from sklearn import metrics as sk
from test_metrics import gaussians, labelled

MEASURED = json.loads((paths.ROOT / "data" / "benchmarks" / "peers.json").read_text())

few = st.integers(1, 40)
tied = few.flatmap(lambda n: arrays(np.float64, n, elements=st.integers(-3, 3).map(float)))
spread = few.flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-5, 5).map(lambda x: round(x, 6) + 0.0)))
either = st.one_of(tied, spread)


def curve(positive, negative):
    fpr, tpr, _ = sk.roc_curve(*labelled(positive, negative), drop_intermediate=False)
    return tpr, fpr


# ---------------------------------------------------------------- one convention at a time

ID, OOD = np.arange(1.0, 21.0), np.array([0.5, 1.5, 2.5, 19.5, 30.0])


def test_fpr95_by_hand():
    """20 ID scores 1 ... 20: thresholds that keep exactly 19 are those above 1 up to 2."""
    assert metrics.fpr95(ID, OOD) == 60  # threshold 2: 2.5, 19.5, 30
    assert conventions.fpr95_nearest(ID, OOD) == 80  # threshold 1.5 keeps 19 as well
    assert conventions.fpr95_interpolated(ID, OOD) == 80
    assert conventions.fpr95_window(ID, OOD) == pytest.approx(70, abs=0.01)  # half the window is below 1.5
    assert conventions.fpr95_strict(ID, np.append(OOD, 2.0)) == 50 and metrics.fpr95(ID, np.append(OOD, 2.0)) > 66


@given(either, either)
def test_fpr95_with_ood_positive_is_scikit_learns_first_point_of_95_percent(id_scores, ood_scores):
    tpr, fpr = curve(-ood_scores, -id_scores)
    assert conventions.ood_positive(metrics.fpr95)(id_scores, ood_scores) == pytest.approx(100 * fpr[tpr >= 0.95][0])


@given(either, either)
def test_nearest_is_the_nearest_point_of_the_curve_and_the_lowest_of_equals(id_scores, ood_scores):
    tpr, fpr = curve(id_scores, ood_scores)
    tpr, fpr = tpr[1:][::-1], fpr[1:][::-1]  # without the point at infinity, from the lowest threshold
    tpr, fpr = tpr[np.sum(tpr == 1) - 1:], fpr[np.sum(tpr == 1) - 1:]
    at = int(np.argmin(np.abs(tpr - 0.95)))
    assert conventions.fpr95_nearest(id_scores, ood_scores) == pytest.approx(100 * fpr[at])


def test_window_by_a_plain_loop():
    draw = np.random.default_rng(0)
    id_scores, ood_scores = draw.normal(1, 1, 3000), draw.normal(0, 1, 500)
    low, high = min(id_scores.min(), ood_scores.min()), max(id_scores.max(), ood_scores.max())
    found = [np.mean(ood_scores > t) for t in np.arange(low, high, (high - low) / 2000)
             if 0.9495 <= np.mean(id_scores >= t) <= 0.9505]
    assert len(found) > 3
    assert conventions.fpr95_window(id_scores, ood_scores, steps=2000) == pytest.approx(100 * np.mean(found))


def test_window_without_a_threshold_has_no_value():
    assert np.isnan(conventions.fpr95_window(np.ones(100), np.ones(10)))
    assert np.isnan(conventions.fpr95_window(np.repeat([0.0, 1.0], [10, 90]), np.array([0.5])))


@given(either, either)
def test_every_fourth_by_counting(id_scores, ood_scores):
    is_ood, outlier = 1 - labelled(id_scores, ood_scores)[0], -np.concatenate([id_scores, ood_scores])
    points = [(1.0, 1.0)]
    for threshold in np.sort(outlier)[1::4]:
        (tn, fp), (fn, tp) = sk.confusion_matrix(is_ood, outlier >= threshold, labels=[0, 1])
        points.append((tp / (tp + fn), fp / (fp + tn)))
    points.append((0.0, 0.0))
    caught, refused = np.array(points).T
    assert np.allclose(conventions.roc_every_fourth(id_scores, ood_scores), (caught, refused))
    assert conventions.auroc_every_fourth(id_scores, ood_scores) == pytest.approx(100 * sk.auc(refused, caught), abs=1e-9)
    assert conventions.fpr95_every_fourth(id_scores, ood_scores) == pytest.approx(
        100 * next(fpr for tpr, fpr in points if tpr < 0.95))


@given(either, either)
def test_aupr_is_scikit_learns_by_steps_and_by_trapezoids(id_scores, ood_scores):
    is_id, scores = labelled(id_scores, ood_scores)

    def trapezoid(labels, values):
        precision, recall, _ = sk.precision_recall_curve(labels, values)
        return pytest.approx(100 * sk.auc(recall, precision))

    by_steps = 100 * sk.average_precision_score(is_id, scores)
    assert conventions.aupr_as_given(id_scores, ood_scores) == pytest.approx(by_steps)
    assert conventions.aupr_trapezoid(id_scores, ood_scores) == trapezoid(is_id, scores)
    assert conventions.ood_positive(conventions.aupr_trapezoid)(id_scores, ood_scores) == trapezoid(1 - is_id, -scores)
    assert conventions.aupr_out_unnegated(id_scores, ood_scores) == trapezoid(1 - is_id, scores)


def test_sigmoid_only_outside_0_to_1_and_ties_only_large_positive_scores():
    draw = np.random.default_rng(0)
    high, low = draw.normal(60, 10, 500).astype(np.float32), draw.normal(50, 10, 300).astype(np.float32)
    squashed = conventions.after_sigmoid(metrics.auroc)
    true = 100 * sk.roc_auc_score(*labelled(high, low))
    assert true > 70 and squashed(high, low) == pytest.approx(50)
    assert squashed(high / 200, low / 200) == pytest.approx(true)  # within [0, 1]: untouched
    assert conventions.PEERS["torch-uncertainty"]["auroc"](high, low) == pytest.approx(true, abs=0.01)
    assert squashed(high - 60, low - 60) == pytest.approx(true, abs=0.01)


@given(either, either)
def test_weighed_detection_error_counts_the_images_on_the_wrong_side(id_scores, ood_scores):
    cuts = np.append(np.unique(np.concatenate([id_scores, ood_scores])), np.inf)
    wrong = [np.sum(id_scores < cut) + np.sum(ood_scores >= cut) for cut in cuts]
    assert conventions.detection_error_weighed(id_scores, ood_scores) == pytest.approx(
        100 * min(wrong) / (len(id_scores) + len(ood_scores)))


def test_exchanged_detection_error_by_hand():
    """Threshold 2 refuses 1 of 20 ID and accepts 3 of 5 OOD; ID are 4/5 of all and weigh 1/5."""
    assert conventions.detection_error_exchanged(ID, OOD) == pytest.approx(100 * (1 / 5 * 1 / 20 + 4 / 5 * 3 / 5))


def test_batch_gradnorm_is_autograds():
    draw = torch.Generator().manual_seed(0)
    phi = torch.randn(23, 7, generator=draw, dtype=torch.float64)
    layer = torch.nn.Linear(7, 4, dtype=torch.float64)
    expected = []
    for batch in phi[:20].split(5):
        loss = -F.log_softmax(layer(batch), dim=1).sum(dim=1).mean()
        expected.append(torch.autograd.grad(loss, layer.weight)[0].abs().sum().item())
    found = conventions.gradnorm_batches(layer(phi).detach().numpy(), phi.numpy(), batch_size=5)
    assert found.shape == (4,) and np.allclose(found, expected, rtol=1e-12)


def test_ece_of_logits_by_hand():
    logits = np.array([[0.5, 0.1], [0.52, 0.3], [0.95, 0.2], [1.0, 0.0], [7.0, 1.0], [-0.1, -0.2]])
    labels = np.array([0, 1, 0, 0, 1, 1])
    # bins of 1/15: 0.5 and 0.52 share one, 0.95 has its own; the last three lie in no bin
    assert conventions.ece_of_logits(logits, labels) == pytest.approx(100 * (abs(1 - 1.02) + 0.05) / 3)
    assert conventions.ece_of_logits(logits[3:], labels[3:]) == 0


# ---------------------------------------------------------------- against the packages, on the committed runs

@pytest.fixture(scope="module")
def measured_runs():
    return [results.load(paths.RUNS / name) for name in MEASURED["runs"]]


def test_every_package_on_the_committed_runs_says_what_our_function_says(measured_runs):
    found = conventions.differences(MEASURED["rows"], measured_runs)
    assert set(found["peer"]) == set(conventions.PEERS)
    assert len(found) == sum(len(row["values"]) for row in MEASURED["rows"])
    for peer, functions in conventions.PEERS.items():
        assert set(found.loc[found["peer"] == peer, "metric"]) == set(functions)
    # which large scores a float32 sigmoid rounds to 1 differs a little between machines
    rounds = found["score"].eq("gradnorm_float32") & found["peer"].isin(["torchmetrics", "torch-uncertainty"])
    off = (found["package"] - found["ours"]).abs()
    assert off[~rounds].max() < 0.01, found[~rounds & (off >= 0.01)].to_string()
    assert off[rounds].max() < 1, found[rounds & (off >= 1)].to_string()


def test_packages_that_are_given_other_scores_would_not_agree(measured_runs):
    """The test above can fail: the functions of one package do not describe another."""
    cross_entropy = [row for row in MEASURED["rows"] if row["run"] == MEASURED["runs"][0]]
    wrong = [{**row, "peer": "detectors"} for row in cross_entropy if row["peer"] == "pytorch-ood"]
    found = conventions.differences(wrong, measured_runs)
    off = (found["package"] - found["ours"]).abs()[found["metric"].isin(["fpr95", "aupr_out"])]
    assert off.min() > 0.01 and off.median() > 10


# ---------------------------------------------------------------- the tables of the page

def test_beside_leaves_out_the_packages_column_where_none_was_run(measured_runs):
    run = measured_runs[1]
    both = conventions.beside(MEASURED["rows"], [run], "fpr95", "msp", "svhn_part").set_index("code")
    assert list(both.columns) == ["LogitNorm, package", "LogitNorm, our function"]
    ours = run.metrics.query("score == 'msp' and ood_dataset == 'svhn_part' and metric == 'fpr95'")["value"].item()
    assert both.loc["this book", "LogitNorm, our function"] == pytest.approx(ours, abs=1e-6)
    assert both.loc["detectors", "LogitNorm, package"] == pytest.approx(ours, abs=1e-6)
    assert both.loc["OpenOOD 1.5", "LogitNorm, package"] == "not on PyPI"
    alone = conventions.beside(MEASURED["rows"], [run], "fpr95", "msp", "isun")
    assert list(alone.columns) == ["code", "LogitNorm, our function"]


def test_fpr95_by_convention_starts_with_the_books_own(measured_runs):
    found = conventions.fpr95_by_convention(measured_runs, "msp")
    assert len(found) == len(measured_runs) * len(conventions.FPR95)
    for run in measured_runs:
        table = run.metrics.query("score == 'msp' and metric == 'fpr95'").set_index("ood_dataset")["value"]
        assert found.query("method == @run.config.method")["fpr95"].iloc[0] == pytest.approx(
            table[list(run.config.ood_sets)].mean(), abs=1e-6)


def test_in_words_by_hand():
    names = list(conventions.FPR95)
    frame = pd.DataFrame([(name, "logitnorm", seed, value + seed) for name, value in
                          zip((names[0], names[1], names[4], names[5]), (10, 20, np.nan, 5)) for seed in (1, 2)],
                         columns=["convention", "method", "seed", "fpr95"])
    assert conventions.in_words(frame) == ("LogitNorm 11.5 to 21.5 % with ID as positive; "
                                           "LogitNorm 6.5 to 6.5 % with OOD as positive.")


def test_batches_of_gradnorm_give_one_score_each(measured_runs):
    found = conventions.gradnorm_both(measured_runs[1])
    assert list(found["batches, ID and OOD"])[:2] == ["50 and 6", "50 and 6"]
    assert (found["FPR95, by image"] > 0).all() and (found["AUROC, by batch"].astype(float) > 99).all()


def test_base_rates_of_aupr_are_those_of_metrics(measured_runs):
    line = conventions.aupr_by_base_rate(measured_runs[:1]).iloc[0]
    run = measured_runs[0]
    table = run.metrics.query("score == 'msp' and ood_dataset == 'isun'").set_index("metric")["value"]
    assert line["all, weighed 5:1"] == pytest.approx(table["aupr"], abs=1e-6)
    assert line["all, weighed 1:1"] == pytest.approx(table["aupr_in"], abs=1e-6)
    drawn, _, spread_of_draws = line["ten random fifths (the paper's code)"].split()
    assert float(drawn) == pytest.approx(table["aupr"], abs=0.2) and 0 < float(spread_of_draws) < 0.2


# ---------------------------------------------------------------- the script

def test_the_script_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "PACKAGES", ("scikit-learn", "no-such-metrics"))
    monkeypatch.setattr(sys, "argv", ["peers.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="needs no-such-metrics: install with `pip install --no-deps"):
        peers.main()
    assert list(tmp_path.iterdir()) == []


def test_the_script_runs_every_package_that_the_library_describes():
    assert set(peers.CODES) == set(conventions.PEERS) == set(peers.PACKAGES) - {"lightning-utilities"}
    assert list(peers.RUNS) == MEASURED["runs"] and set(MEASURED["packages"]) == set(peers.PACKAGES)
    assert len(MEASURED["rows"]) == len(peers.RUNS) * len(peers.SCORES) * len(peers.OOD_SETS) * len(peers.CODES)
    values = peers.CODES["scikit-learn"](np.array([2.0, 3.0]), np.array([1.0, 2.5]))
    assert values["auroc"] == 0.75


# ---- the draws of the official code

def test_the_papers_draws_estimate_the_same_quantity():
    id_scores, ood_scores = gaussians(5_000, 4_000)
    mean, std = conventions.aupr_of_draws(id_scores, ood_scores)
    assert std > 0 and mean == pytest.approx(metrics.aupr(id_scores, ood_scores), abs=4 * std / math.sqrt(10) + 0.01)
    assert (mean, std) == conventions.aupr_of_draws(id_scores, ood_scores)


def test_the_papers_draws_are_told_by_mean_and_sample_deviation(monkeypatch):
    values = [10.0, 14.0] * 5
    left = iter(values)
    monkeypatch.setattr(conventions, "aupr_as_given", lambda i, o: next(left))
    assert conventions.aupr_of_draws(*gaussians(100, 50)) == pytest.approx((12, statistics.stdev(values)))


def test_the_papers_draws_without_choice_are_exact():
    id_scores, ood_scores = gaussians(1_000, 200)
    mean, std = conventions.aupr_of_draws(id_scores, ood_scores)
    assert mean == pytest.approx(metrics.aupr(id_scores, ood_scores)) and std == pytest.approx(0, abs=1e-9)


def test_the_finding_and_the_order_of_the_losses_by_hand(measured_runs):
    names = list(conventions.FPR95)
    frame = pd.DataFrame([{"convention": name, "method": method, "seed": seed, "fpr95": value} for name in names
                          for method, seed, value in (("cross_entropy", 1, 50.0), ("logitnorm", 1, 20.0), ("cross_entropy", 2, 50.0),
                                                      ("logitnorm", 2, 60.0 if name == names[0] else 40.0), ("logitnorm", 3, 1.0))])
    assert conventions.orders(frame)["rules"].tolist() == [8, 7]
    assert conventions.orders_in_words(frame).endswith("seed 1 under 8, seed 2 under 7 of 8 rules: which loss is better depends on the rule")
    said = conventions.finding(measured_runs, "svhn_part", [frame])
    assert said.startswith("**The same scores have an FPR95 of 68.7 or of 27.9 %") and "in 1 of 2 comparisons" in said
    alone = frame[frame["method"] == "logitnorm"]
    assert conventions.orders(alone).empty and "not yet run" in conventions.orders_in_words(alone)
    assert "depends" not in conventions.finding(measured_runs, "svhn_part", [alone]) and "not yet run" in conventions.finding([], "x", [])


def test_the_overview_has_what_the_packages_gave(measured_runs):
    table = conventions.overview(measured_runs, "msp", "svhn_part").set_index(("", "code"))
    by_peer = {row["peer"]: row["values"] for row in MEASURED["rows"] if row["run"] == measured_runs[0].id and row["score"] == "msp"
               and row["ood_set"] == "svhn_part"}
    for peer, values in by_peer.items():
        for metric in ("fpr95", "auroc", "aupr_in", "aupr_out"):
            cell = table.loc[peer, (paper.title(metric), "Cross-entropy")]
            assert cell == "–" if metric not in values else abs(float(cell) - values[metric]) < 0.06
    assert table.loc["torchmetrics", ("FPR95 ↓", "Cross-entropy")] == "–"


def test_small_tables_against_the_metrics(measured_runs):
    ties = conventions.ties_by_precision(measured_runs[:1], "svhn_part")
    assert ties["scores that tie (%)"].iloc[1] > ties["scores that tie (%)"].iloc[0] and len(ties) == 2
    ece = conventions.ece_by_code(measured_runs, MEASURED["ece"])
    assert (ece["this book"] - ece["torchmetrics"]).abs().max() < 0.01
    frame = pd.DataFrame([{"convention": "this book; detectors", "method": "logitnorm", "seed": seed, "fpr95": value}
                          for seed, value in ((1, 10.0), (2, 14.0))])
    [row] = conventions.spread_by_divisor(frame).to_dict("records")
    assert row["± of this book"] == pytest.approx(8 ** 0.5) and row["± of OpenOOD"] == pytest.approx(2.0)
