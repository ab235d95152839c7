"""paper.py against numbers read in the PDF, against cases worked by hand, and against its own rule."""

import math
import statistics
from pathlib import Path

import fake_runs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logitnorm import data, runs, train
from logitnorm.book import plots
from logitnorm.study import paper, results

SMALL_SETS = fake_runs.SMALL_SETS
SMALL = dict(size="small", ood_sets=SMALL_SETS, history_ood="svhn_part")
STAND_IN = dict(zip(paper.SIX, SMALL_SETS))
ALL_TABLES = (*"123456789", "text-4.2")


def made(values, norms=(10.0, 4.0), **settings):
    """A run as runs.load gives it, with metrics typed by hand: {(score, OOD set, metric): value}."""
    config = train.Config(**settings)
    run = runs.Run(Path("nowhere"), {"run_id": config.run_id, "config": config.model_dump()})
    vars(run)["metrics"] = pd.DataFrame([(*key, float(value)) for key, value in values.items()],
                                        columns=["score", "ood_dataset", "metric", "value"])
    vars(run)["history"] = pd.DataFrame({"epoch": [0, 1], "norm_test": [0.5, norms[0]], "norm_ood": [0.5, norms[1]]})
    return run


def ce(values, **settings):
    return made(values, **settings, method="cross_entropy")


def on(sets, *values, metric="fpr95", score="msp"):
    """The metric on each of the sets; one value is for all."""
    values = values * len(sets) if len(values) == 1 else values
    return {(score, name, metric): value for name, value in zip(sets, values)}


def seeds(key, *values, **settings):
    """One run per value of one metric, or of the norm on ID images."""
    key = ("", "", "accuracy") if key[2] == "logit_norm_id" else key
    return [made({key: value}, norms=(value, 4.0), seed=seed, **settings) for seed, value in enumerate(values, 1)]


def line(rows, **where):
    """The only row with these values."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, where
    return rows.iloc[0]


# In the PDF, for CIFAR-10 and WRN-40-2, on SVHN where there is an OOD set: table, cross-entropy, LogitNorm
PRINTED = {"fpr95": ("1", 50.33, 8.03), "auroc": ("1", 93.48, 98.47), "aupr": ("1", 98.70, 99.68), "accuracy": ("3", 94.75, 94.69),
           "ece": ("4", 3.20, 66.95), "ece_ts": ("4", 0.66, 0.41), "logit_norm_id": ("5", 12.80, 1.48)}
SVHN, SVHN_PART = ("msp", "svhn", "fpr95"), ("msp", "svhn_part", "fpr95")


def key(metric, ood_dataset="svhn"):
    return (*(("msp", ood_dataset) if PRINTED[metric][0] == "1" else ("", "")), metric)


def row_of(loaded, metric="fpr95", method="logitnorm"):
    """compare's row of the number in PRINTED."""
    score, ood_dataset, _ = key(metric)
    return line(paper.compare(paper.ours(loaded), PRINTED[metric][0]), id_dataset="cifar10", architecture="wrn40_2",
                method=method, score=score, ood_dataset=ood_dataset, metric=metric)


def nothing(rows):
    """Whether the rows of compare claim no result."""
    judged = ["ours", "sd", "n", "exact", "used", "net", "difference", "tolerance", "paper_change", "change",
              "ratio"]
    return rows[judged].isna().all().all()


# ---------------------------------------------------------------- the printed numbers

def test_numbers_as_read_in_the_pdf():
    """arXiv 2205.09310v2: one number of every table and of the text."""
    for table, id_dataset, architecture, method, score, ood_dataset, metric, value in (
            ("1", "cifar10", "wrn40_2", "logitnorm", "msp", "average", "fpr95", 15.65),
            ("2", "cifar100", "wrn40_2", "logitnorm", "msp", "average", "fpr95", 58.35),
            ("3", "cifar10", "resnet34", "logitnorm", "", "", "accuracy", 95.14),
            ("4", "cifar10", "wrn40_2", "logitnorm", "", "", "ece", 66.95),
            ("4", "cifar10", "wrn40_2", "logitnorm", "", "", "ece_ts", 0.41),
            ("5", "cifar10", "wrn40_2", "logit_penalty", "", "svhn", "logit_norm_ood", 1.74),
            ("6", "cifar10", "wrn40_2", "godin", "godin", "average", "auroc", 95.07),
            ("9", "cifar10", "densenet", "logitnorm", "msp", "places365", "aupr", 98.09),
            ("text-4.2", "cifar100", "wrn40_2", "cross_entropy", "", "", "accuracy", 75.23)):
        row = line(paper.numbers(table), id_dataset=id_dataset, architecture=architecture, method=method, score=score,
                   ood_dataset=ood_dataset, metric=metric)
        assert row["paper"] == value


def test_the_averages_of_table_1_are_those_of_its_rows():
    groups = list(paper.numbers("1").groupby(["id_dataset", "method", "metric"]))
    assert len(groups) == 12
    for _, group in groups:
        six = group[group["ood_dataset"] != "average"]
        assert tuple(six["ood_dataset"]) == paper.SIX
        assert six["paper"].mean() == pytest.approx(line(group, ood_dataset="average")["paper"], abs=0.006)


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=r"no table \['10'\]; it has .*'text-4.2'"):
        paper.numbers("1", "10")


def test_figures_agree_with_the_tables():
    last = paper.figure(1).iloc[-1]
    norms = paper.numbers("5").query("method == 'cross_entropy'").set_index("metric")["paper"]
    assert last["id_test"] == pytest.approx(norms["logit_norm_id"], abs=0.01)
    assert last["ood_svhn_test"] == pytest.approx(norms["logit_norm_ood"], abs=0.01)
    assert paper.figure(5).set_index("tau")["fpr95"][0.04] == 15.65


# ---------------------------------------------------------------- the paper's words

@pytest.mark.parametrize("say, wanted", [
    (paper.counterpart, {"svhn_part": "svhn", "svhn": "svhn", "places_mini": "places365", "digits": "cifar10", "average": "average", "": ""}),
    (paper.counterpart_architecture, {"wrn10_1": "wrn40_2", "wrn28_10": "wrn40_2", "densenet": "densenet", "resnet20": "resnet34", "vgg13": "vgg13"}),
    (paper.title, {"fpr95": "FPR95 ↓", "godin": "GODIN's cosine", "wrn40_2": "WRN-40-2", "svhn_part": "SVHN (part)", "average": "average"}),
    (paper.named, {"svhn_part": "SVHN (part) (for SVHN)", "isun": "iSUN", "digits": "Digits 8x8", "average": "average"}),
    (paper.network, {"wrn40_2": "WRN-40-2", "wrn10_1": "WRN-10-1", "densenet": "DenseNet-BC", "vgg13": "VGG13", "resnet20": "ResNet-20",
                     "densenet_bc_22_12": "DenseNet-BC-22-12"})], ids=lambda given: getattr(given, "__name__", ""))
def test_words(say, wanted):
    assert {name: say(name) for name in wanted} == wanted


@pytest.mark.parametrize("name", data.SETS)
def test_a_counterpart_stands_for_itself(name):
    theirs = paper.counterpart(name)
    assert theirs in data.SETS and paper.counterpart(theirs) == theirs


# ---------------------------------------------------------------- ours

def test_ours_adds_averages_and_norms():
    run = ce({**on(paper.SIX, 10, 20, 30, 40, 50, 75), **on(paper.SIX, 90, metric="auroc", score="odin"),
              ("msp", "cifar100", "fpr95"): 1000, ("", "", "accuracy"): 94}, norms=(12.5, 3.25),
             extra_sets=("cifar100",))
    frame = paper.ours([run])
    mean = frame[frame["ood_dataset"] == "average"]
    assert len(mean) == 2  # the far sets only: 1000 does not enter, accuracy has no average
    assert line(mean, score="msp", metric="fpr95")["value"] == 37.5
    assert line(mean, score="odin", metric="auroc")["value"] == 90
    id_norm, ood_norm = line(frame, metric="logit_norm_id"), line(frame, metric="logit_norm_ood")
    assert (id_norm["value"], id_norm["ood_dataset"], id_norm["score"]) == (12.5, "", "")
    assert (ood_norm["value"], ood_norm["ood_dataset"], ood_norm["score"]) == (3.25, "svhn", "")
    assert len(frame) == len(run.metrics) + 4
    assert frame["run"].eq(run.id).all() and frame["seed"].eq(1).all() and frame["method"].eq("cross_entropy").all()


@pytest.mark.parametrize("settings, exact", [
    ({}, True), (dict(size="small", ood_sets=paper.SIX), False), (dict(architecture="wrn10_1"), False), (dict(id_dataset="digits"), False),
    (dict(architecture="resnet34", dropout=0.0), True), (dict(architecture="resnet34", dropout=0.0, epochs=3, lr=0.01), False),
    (dict(epochs=190), False), (dict(id_dataset="cifar100"), True)])
def test_exact_is_the_papers_size_net_and_images(settings, exact):
    frame = paper.ours([ce({**on(paper.SIX, 1), ("", "", "accuracy"): 94}, **settings)])
    assert len(frame) == 10 and set(frame["exact"]) == {exact}


@pytest.mark.parametrize("sets", [("textures", "svhn_part", *paper.SIX[2:]), paper.SIX[:5], (*paper.SIX, "mnist")])
def test_an_average_over_other_sets_is_not_the_papers(sets):
    frame = paper.ours([ce(on(sets, 1), ood_sets=sets), ce(on(paper.SIX, 1), seed=2)])
    inexact = frame[~frame["exact"].astype(bool)]
    assert set(inexact["seed"]) == {1}, "each run's average is judged by its own sets"
    assert set(inexact["ood_dataset"]) == {"average", *sets} - {*paper.SIX, "mnist"}


# ---------------------------------------------------------------- which runs

def grid():
    """Every method and several tau, on both ID sets, with two networks."""
    return [made({SVHN: tau}, tau=tau, method=method, id_dataset=id_dataset, seed=seed)
            for seed in (2, 1) for id_dataset in ("cifar10", "cifar100", "digits")
            for method, taus in (("cross_entropy", (0.04,)), ("logitnorm", (0.0085, 0.04, 0.1)), ("godin", (0.04,)))
            for tau in taus]


def test_the_tables_take_one_tau_and_cutout_with_learned_confidence_only():
    with_cutout = [made({SVHN: 1}, method=method, cutout=16)
                   for method in ("cross_entropy", "learned_confidence")]
    plain = ce({})
    assert paper.of_methods([plain, *with_cutout], "learned_confidence", "cross_entropy") == [plain, with_cutout[1]]
    assert paper.of_methods(with_cutout) == [] and not paper.in_tables("logitnorm", 0.04, 0, "svhn"), "the paper does not train on SVHN"
    assert set(paper.for_tables(paper.ours(with_cutout))["run"]) == {with_cutout[1].id}
    frame = paper.for_tables(paper.ours(grid()))
    kept = {(row.id_dataset, row.method, row.value) for row in frame[frame["metric"] == "fpr95"].itertuples()}
    assert kept == {(name, method, 0.04) for name in ("cifar10", "digits", "cifar100")
                    for method in ("cross_entropy", "godin", "logitnorm")} - {("cifar100", "logitnorm", 0.04)} | {
                        ("cifar100", "logitnorm", 0.0085)}


def test_chosen_by_tau_set_net_and_seed():
    other = [made({}, architecture="resnet34", dropout=0.0, seed=1), made({}, architecture="wrn10_1", seed=3)]
    found = paper.chosen([*other, *grid()], "logitnorm")
    assert [(run.config.architecture, run.config.seed) for run in found] == [("wrn40_2", seed) for seed in (1, 1, 2, 2)]
    assert paper.chosen(other, "logitnorm") == other[1:] and paper.chosen(other[:1], "logitnorm") == other[:1]
    assert {run.config.id_dataset for run in found} == {"cifar10", "digits"}
    assert {run.config.tau for run in found} == {0.04}
    found = paper.chosen(grid(), "logitnorm", "cifar100")
    assert [(run.config.tau, run.config.seed) for run in found] == [(0.0085, 1), (0.0085, 2)]
    assert [run.config.seed for run in paper.chosen(grid(), "cross_entropy", "cifar100")] == [1, 2]
    assert paper.chosen(grid(), "logit_penalty") == [] == paper.chosen([], "logitnorm")


# ---------------------------------------------------------------- the rule

WAYS = {(1, 1): "same direction", (-1, -1): "same direction", (1, -1): "opposite direction",
        (-1, 1): "opposite direction", (1, 0): "no clear change", (-1, 0): "no clear change",
        (0, 1): "change, in the paper none of its sign", (0, -1): "change, in the paper none of its sign",
        (0, 0): "no change, as in the paper"}
NO_CHANGE, NEW_CHANGE = WAYS[0, 0], WAYS[0, 1]
SMALL_TOO = "change, in the paper a small one of its sign"
few = st.integers(-8, 8).map(lambda n: n / 4)  # so few that changes equal to their bound come up in every run
change = few | st.floats(-100, 100, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-100)
bound = few.map(abs) | st.floats(0, 20)


@given(change, change, bound, bound)
def test_direction_compares_signs_beyond_the_noise(theirs, mine, noise, least):
    def sign(x, bound):
        return 1 if x > bound else -1 if x < -bound else 0
    small = not sign(theirs, least) and sign(mine, noise) and sign(theirs, 0) == sign(mine, 0)  # the paper's is too small to count, and has the sign of ours
    hidden = not sign(theirs, least) and not sign(mine, noise) and sign(mine, least)  # the paper has no change, and ours cannot be told from one
    assert paper.direction(theirs, mine, noise, least) == (
        "no clear change" if hidden else SMALL_TOO if small else WAYS[sign(theirs, least), sign(mine, noise)])


@pytest.mark.parametrize("mine, way, wanted", [
    (55, "", "reproduced"), (45, "opposite direction", "reproduced"), (55.5, "", "partly"), (60, "opposite direction", "partly"), (40, "", "partly"),
    (60.5, "", "not reproduced"), (39.5, "", "not reproduced"), (60.5, "same direction", "partly"), (0, "same direction", "partly"),
    *((60.5, way, "not reproduced") for way in sorted({SMALL_TOO, *WAYS.values()} - {"same direction"}))])
def test_verdict_by_hand(mine, way, wanted):
    assert paper.verdict(mine, 50, 5, way) == wanted


# ---------------------------------------------------------------- compare: exact rows

# A single run without a cross-entropy run beside it: only the distance decides. A norm may be a fifth off.
@pytest.mark.parametrize("metric, off, wanted", [
    ("fpr95", 4.9, "reproduced"), ("fpr95", 5.1, "partly"), ("fpr95", 9.9, "partly"), ("fpr95", 10.1, "not reproduced"), ("auroc", -2.1, "partly"),
    ("aupr", -1.9, "reproduced"), ("accuracy", -4.1, "not reproduced"), ("ece", 2.1, "partly"), ("ece_ts", 0.6, "partly"),
    ("logit_norm_id", 0.29, "reproduced"), ("logit_norm_id", -0.29, "reproduced"), ("logit_norm_id", 0.31, "partly"),
    ("logit_norm_id", 0.58, "partly"), ("logit_norm_id", 0.60, "not reproduced"), ("logit_norm_id", -0.60, "not reproduced")])
def test_one_run_is_judged_by_its_distance(metric, off, wanted):
    row = row_of(seeds(key(metric), PRINTED[metric][2] + off), metric)
    assert row["verdict"] == wanted
    assert row["exact"] and row["n"] == 1 and math.isnan(row["sd"])
    assert row["difference"] == pytest.approx(off)
    assert row["tolerance"] == pytest.approx({"fpr95": 5, "ece_ts": 0.5, "logit_norm_id": 0.296}.get(metric, 2))
    assert math.isnan(row["change"]) and math.isnan(row["ratio"])


def test_two_standard_deviations_widen_the_tolerance():
    row = row_of(seeds(SVHN, 10.03, 18.03))  # mean 14.03, sd 4 sqrt(2); printed 8.03
    assert row["ours"] == pytest.approx(14.03) and row["sd"] == pytest.approx(math.sqrt(32)) and row["n"] == 2
    assert row["difference"] == pytest.approx(6) and row["tolerance"] == pytest.approx(2 * math.sqrt(32))
    assert row["verdict"] == "reproduced"
    assert row_of(seeds(SVHN, 14.03))["verdict"] == "partly"
    narrow = row_of(seeds(SVHN, 14.02, 14.03, 14.04))
    assert narrow["sd"] == pytest.approx(0.01) and narrow["tolerance"] == 5 and narrow["n"] == 3


# Table 1, SVHN, FPR95: cross-entropy 50.33, LogitNorm 8.03, so the paper's change is -42.30
@pytest.mark.parametrize("baseline, mine, wanted, change", [
    (50, 30, "partly", -20), (30, 28.5, "not reproduced", -1.5), (20, 30, "not reproduced", 10),
    (50, 9, "reproduced", -41), (5, 9, "reproduced", 4)])
def test_far_off_but_the_right_way_is_partly(baseline, mine, wanted, change):
    row = row_of([ce({SVHN: baseline}), made({SVHN: mine})])
    assert row["verdict"] == wanted
    assert row["paper_change"] == pytest.approx(-42.3) and row["change"] == pytest.approx(change)
    assert row["ratio"] == pytest.approx(change / -42.3)


def test_cross_entropy_itself_is_judged_but_has_no_change():
    row = row_of([ce({SVHN: 47})], method="cross_entropy")
    assert row["verdict"] == "reproduced" and row["difference"] == pytest.approx(-3.33)
    assert math.isnan(row["change"]) and math.isnan(row["paper_change"])


def test_cifar100_has_its_own_tau_and_numbers():
    base = ce({SVHN: 79.09}, id_dataset="cifar100")  # Table 1: 79.09 and 45.98
    rows = [paper.compare(paper.ours([base, made({SVHN: 45.98}, id_dataset="cifar100", tau=tau)]), "1") for tau in (0.0085, 0.04)]
    found = [line(part, id_dataset="cifar100", method="logitnorm", ood_dataset="svhn", metric="fpr95") for part in rows]
    assert [row["verdict"] for row in found] == ["reproduced", plots.NOT_RUN]
    assert found[0]["ratio"] == pytest.approx(1) and found[0]["paper_change"] == pytest.approx(45.98 - 79.09)


def test_godins_score_has_the_softmax_score_as_its_baseline():
    base = ce({**on(paper.SIX, 50), **on(paper.SIX, 1, score="energy")})
    godin = made({**on(paper.SIX, 30, score="cosine"), **on(paper.SIX, 77)}, method="godin")
    row = line(paper.compare(paper.ours([base, godin]), "6"), method="godin", metric="fpr95")  # Table 6: 25.24
    assert row["ours"] == 30 and row["score"] == "godin" and row["verdict"] == "reproduced"
    assert row["change"] == -20 and row["paper_change"] == pytest.approx(25.24 - 49.52)


def test_other_architectures_have_their_own_baseline():
    frame = paper.ours([ce({SVHN: 90}), ce({SVHN: 60}, architecture="resnet34", dropout=0.0),
                        made({SVHN: 20}, architecture="resnet34", dropout=0.0),
                        made({SVHN: 89}, architecture="densenet_bc_100_12", dropout=0.0)])
    rows = paper.compare(frame, "9").query("ood_dataset == 'svhn' and metric == 'fpr95' and method == 'logitnorm'")
    assert line(rows, architecture="resnet34")["change"] == -40
    assert math.isnan(line(rows, architecture="densenet")["change"])


# ---------------------------------------------------------------- compare: stand-ins and other sizes

@pytest.mark.parametrize("metric, base, mine, wanted", [
    ("fpr95", [60], [30], "same direction"), ("fpr95", [60], [57.5], "same direction"), ("fpr95", [60], [58.5], "no clear change"),
    ("fpr95", [60], [62.5], "opposite direction"), ("fpr95", [60], [8.03], "same direction"),
    # sd sqrt(50) and sqrt(8): noise 2 sqrt(58) = 15.23
    ("fpr95", [50, 60], [38, 42], "no clear change"), ("fpr95", [50, 60], [37, 41], "same direction"),
    ("fpr95", [50, 60], [70, 72], "opposite direction"), ("fpr95", [60], [50, 56], "no clear change"),
    ("fpr95", [50, 56], [60], "no clear change"), ("fpr95", [50, 56], [40], "same direction"),
    # the least change of each metric
    ("auroc", [50], [51.1], "same direction"), ("auroc", [50], [50.9], "no clear change"), ("aupr", [50], [50.6], "same direction"),
    ("aupr", [50], [50.4], "no clear change"), ("ece", [5], [6.1], "same direction"), ("ece", [5], [5.9], "no clear change"),
    ("logit_norm_id", [12], [11.8], "no clear change"), ("logit_norm_id", [12], [11.6], "same direction"),
    ("logit_norm_id", [12], [12.4], "opposite direction"),
    ("accuracy", [80], [80], NO_CHANGE), ("accuracy", [80], [80.9], NO_CHANGE), ("accuracy", [80], [81.1], NEW_CHANGE),
    ("accuracy", [80], [78.9], SMALL_TOO), ("ece_ts", [5], [5.4], NO_CHANGE), ("ece_ts", [5], [5.6], NEW_CHANGE)])
def test_elsewhere_only_the_change_is_judged(metric, base, mine, wanted):
    where = key(metric, "svhn_part")
    loaded = [*seeds(where, *base, method="cross_entropy", **SMALL), *seeds(where, *mine, **SMALL)]
    first, second = (row_of(loaded, metric, method) for method in ("cross_entropy", "logitnorm"))
    assert first["verdict"] == "baseline" and second["verdict"] == wanted
    assert not first["exact"] and not second["exact"] and second["used"] == where[1]
    change, theirs = statistics.fmean(mine) - statistics.fmean(base), PRINTED[metric][2] - PRINTED[metric][1]
    assert second["change"] == pytest.approx(change) and second["paper_change"] == pytest.approx(theirs)
    if wanted in (NO_CHANGE, NEW_CHANGE, SMALL_TOO):
        assert math.isnan(second["ratio"])
    else:
        assert second["ratio"] == pytest.approx(change / theirs)


def test_the_papers_sets_at_another_size_get_no_verdict_of_their_own():
    settings = dict(size="small", architecture="wrn40_2")
    row = row_of([ce({SVHN: 50.33}, **settings), made({SVHN: 8.03}, **settings)])
    assert row["verdict"] == "same direction" and not row["exact"] and row["ratio"] == pytest.approx(1)
    assert row_of([made({SVHN: 8.03}, **settings)])["verdict"] == "no baseline"


def test_the_papers_own_set_counts_where_its_stand_in_is_there_too():
    both = {SVHN_PART: 90, SVHN: 9}
    for order in (both, dict(reversed(both.items()))):
        row = row_of([made(order, extra_sets=("svhn_part",))])
        assert row["ours"] == 9 and row["used"] == "svhn" and row["n"] == 1 and row["verdict"] == "reproduced"


def test_where_some_seeds_saw_the_papers_set_only_these_count():
    sets = ("textures", "svhn_part", *paper.SIX[2:])
    mixed = [made({("msp", "svhn", "fpr95"): 8}), made({SVHN_PART: 9}, seed=2, ood_sets=sets)]
    row = row_of(mixed)
    assert row["n"] == 1 and row["ours"] == 8 and row["exact"] and row["used"] == "svhn" and row["verdict"] == "reproduced"
    base = [ce(on(paper.SIX, 50)), ce(on(sets, 60), seed=2, ood_sets=sets)]
    assert row_of([*base, *mixed])["change"] == 8 - 50
    row = row_of([base[0], mixed[1]])
    assert row["ours"] == 9 and math.isnan(row["change"]) and row["verdict"] == "no baseline", "a stand-in beside the paper's set is no pair"


def test_runs_of_another_training_enter_no_mean():
    odd = [made({SVHN_PART: value}, seed=seed, **SMALL, **(dict(lr=0.01) if value > 50 else {})) for seed, value in ((1, 9), (2, 11), (3, 90))]
    row = row_of(odd)
    assert row["n"] == 2 and row["ours"] == 10


def test_one_size_at_a_time():
    frame = paper.ours([ce(on(paper.SIX, 1)), ce(on(SMALL_SETS, 1), **SMALL)])
    with pytest.raises(ValueError, match=r"one size .* holds \['full', 'small'\]"):
        paper.compare(frame, "1")
    assert len(paper.compare(frame[frame["size"] == "full"], "1")) == 84


# ---------------------------------------------------------------- nothing invented

@pytest.mark.parametrize("table", ALL_TABLES)
def test_without_runs_there_are_only_the_papers_numbers(table):
    rows = paper.compare(paper.ours([]), table)
    theirs = paper.numbers(table)
    assert set(rows["verdict"]) == {plots.NOT_RUN} and nothing(rows)
    pd.testing.assert_frame_equal(rows[list(theirs.columns)], theirs)
    lines = (theirs["method"] != "cross_entropy").sum()
    assert paper.tally(rows) == f"Of {lines} lines: {lines} not yet run."
    assert paper.long(rows)["ours"].isna().all() and set(paper.long(rows)["verdict"]) == {plots.NOT_RUN}
    assert list(rows.columns) == ["table", *paper.KEYS, "paper", "ours", "sd", "n", "exact", "used", "net", "difference",
                                  "tolerance", "paper_change", "change", "ratio", "way", "verdict"]


def test_what_was_not_run_stays_empty_beside_what_was():
    run = ce({**on(paper.SIX[:5], 50), ("", "", "accuracy"): 94})
    rows = paper.compare(paper.ours([run]))
    mine = (rows["method"] == "cross_entropy") & (rows["architecture"] == "wrn40_2") & (rows["id_dataset"] == "cifar10")
    assert set(rows[~mine]["verdict"]) == {plots.NOT_RUN} and nothing(rows[~mine])
    there = mine & (((rows["score"] == "msp") & rows["ood_dataset"].isin(paper.SIX[:5]) & (rows["metric"] == "fpr95"))
                    | rows["metric"].isin(["accuracy", "logit_norm_id", "logit_norm_ood"]))
    assert there.sum() == 5 + 1 + 2 and rows[there]["ours"].notna().all()
    absent = rows[mine & ~there]
    assert len(absent) and set(absent["verdict"]) == {paper.NOT_MEASURED} and nothing(absent)


# ---------------------------------------------------------------- tables to read

@pytest.fixture
def paired():
    """compare's FPR95 of Table 1, CIFAR-10: cross-entropy and LogitNorm on two stand-ins, the other sets unmeasured."""
    def values(textures, svhn_part):
        return {("msp", "textures_part", "fpr95"): textures, SVHN_PART: svhn_part}
    frame = paper.ours([ce(values(60, 50), **SMALL), ce(values(64, 50), **SMALL, seed=2),
                        made(values(40, 49), **SMALL)])
    return paper.compare(frame, "1").query("id_dataset == 'cifar10' and metric == 'fpr95'")


def test_wide(paired):
    table = paper.wide(paired, "ood_dataset")
    assert list(table.columns) == ["OOD set", "Cross-entropy, paper", "Cross-entropy, ours", "LogitNorm, paper",
                                   "LogitNorm, ours", "verdict"]
    assert table["OOD set"].tolist() == ["Textures (part) (for Textures)", "SVHN (part) (for SVHN)", "LSUN-C", "LSUN-R",
                                         "iSUN", "Places365", "average"]
    assert table["Cross-entropy, paper"].tolist()[:2] == [64.13, 50.33]
    assert table["LogitNorm, paper"].tolist()[:2] == [28.64, 8.03]
    assert table["Cross-entropy, ours"].tolist()[:3] == ["62.00 ± 2.83 (n = 2)", "50.00 ± 0.00 (n = 2)", "not measured"]
    assert table["LogitNorm, ours"].tolist()[:3] == ["40.00 (n = 1)", "49.00 (n = 1)", "not measured"]
    # -22 / -35.49 and -1 / -42.30; the baseline says nothing
    assert table["verdict"].tolist()[:3] == ["same direction (0.62 × the paper's)",
                                             "no clear change (0.02 × the paper's)", "not measured"]


@pytest.mark.parametrize("runs, wanted", [
    ([ce({SVHN: 50}), made({SVHN: 30})], "Cross-entropy: reproduced; LogitNorm: partly"),  # no ratio beside a verdict
    ([ce({SVHN: 50}), made({SVHN: 9})], "reproduced")])
def test_wide_of_exact_rows_names_who_is_judged_how(runs, wanted):
    rows = paper.compare(paper.ours(runs), "1").query("id_dataset == 'cifar10' and metric == 'fpr95'")
    assert line(paper.wide(rows, "ood_dataset"), **{"OOD set": "SVHN"})["verdict"] == wanted
    base = rows.query("method == 'cross_entropy' and ood_dataset == 'svhn'").assign(verdict="baseline")
    assert paper.wide(base, "ood_dataset")["verdict"].tolist() == ["baseline"]


def test_wide_by_two_columns():
    rows = paper.compare(paper.ours([]), "8").query("id_dataset == 'cifar10' and metric == 'fpr95'")
    table = paper.wide(rows, "score", "ood_dataset")
    assert list(table.columns)[0] == "score, OOD set" and len(table) == 18
    assert {"ODIN, Textures", "Energy, SVHN", "GradNorm, Places365"} <= set(table["score, OOD set"])
    assert table["LogitNorm, ours"].isna().all() and set(table["verdict"]) == {plots.NOT_RUN}
    theirs = line(rows, score="energy", ood_dataset="svhn", method="logitnorm")["paper"]
    assert line(table, **{"score, OOD set": "Energy, SVHN"})["LogitNorm, paper"] == theirs
    shown = plots.table(table, caption="Table 8").data
    assert shown.count(plots.NOT_RUN) == 3 * 18  # two methods and the verdict, on every line


def test_wide_refuses_to_drop_a_number():
    rows = paper.compare(paper.ours([]), "3").query("metric == 'accuracy'")  # three nets
    with pytest.raises(ValueError, match="accuracy.*two rows of one method"):
        paper.wide(rows, "metric")


def test_long(paired):
    table = paper.long(paired)
    assert len(table) == len(paired) == 14
    assert table.iloc[0].tolist() == ["FPR95 ↓", "Cross-entropy", 64.13, "62.00 ± 2.83 (n = 2)", "baseline"]
    assert table.iloc[1].tolist() == ["FPR95 ↓", "LogitNorm", 28.64, "40.00 (n = 1)",
                                      "same direction (0.62 × the paper's)"]
    assert table.iloc[4].tolist() == ["FPR95 ↓", "Cross-entropy", paired.iloc[4]["paper"], *["not measured"] * 2]
    assert paper.long(paired.assign(exact=True).iloc[:2])["verdict"].tolist() == ["baseline", "same direction"], "no ratio beside a verdict"


def test_tally(paired):
    assert paper.tally(paired) == "Of 7 lines: 5 not measured, 1 same direction, 1 no clear change."
    exact = paper.compare(paper.ours([ce({("msp", "svhn", "fpr95"): 90}), made({("msp", "svhn", "fpr95"): 9})]), "1").query(
        "id_dataset == 'cifar10' and metric == 'fpr95'")
    assert paper.tally(exact) == ("Of 7 lines: 6 not measured, 1 reproduced. Of cross-entropy's own numbers there 1 is judged: 1 not reproduced.")
    assert paper.tally(paired[paired["verdict"] == "baseline"]) == "None of these numbers is judged."


def test_own():
    frame = paper.ours([ce({**on(SMALL_SETS, 60), ("msp", "mnist", "fpr95"): 30}, **SMALL),
                        ce(on(SMALL_SETS, 64), **SMALL, seed=2),
                        made({**on(SMALL_SETS, 40), **on(SMALL_SETS, 7, score="odin")}, **SMALL),
                        made(on(SMALL_SETS, 99), **SMALL, tau=0.1)])
    table = paper.own(frame, ["svhn_part", "mnist", "average", "isun", "cifar100"], "fpr95")
    assert list(table.columns) == ["OOD set", "Cross-entropy, FPR95 ↓", "LogitNorm, FPR95 ↓"]
    assert table["OOD set"].tolist() == ["SVHN (part) (for SVHN)", "MNIST", "average", "iSUN", "CIFAR-100"]
    assert table["Cross-entropy, FPR95 ↓"].tolist()[:4] == ["62.00 ± 2.83", "30.00", "62.00 ± 2.83", "62.00 ± 2.83"]
    ln = table["LogitNorm, FPR95 ↓"]
    assert [ln[0], ln[2], ln[3]] == ["40.00"] * 3  # tau 0.1 is no table's
    assert ln[1] == paper.NOT_MEASURED and set(table.iloc[4, 1:]) == {paper.NOT_MEASURED}
    assert paper.own(paper.ours([]), ["svhn"], "fpr95").to_dict("list") == {"OOD set": ["SVHN"]}


def test_joint_gives_each_method_its_own_score_on_the_main_network():
    frame = paper.ours([ce(on(SMALL_SETS, 60), **SMALL), ce(on(SMALL_SETS, 64), **SMALL, seed=2),
                        made(on(SMALL_SETS, 40), **SMALL), made(on(SMALL_SETS, 99), **SMALL, tau=0.1),
                        made({**on(SMALL_SETS, 50), **on(SMALL_SETS, 30, score="confidence")}, **SMALL,
                             method="learned_confidence"),
                        made({**on(SMALL_SETS, 50), **on(SMALL_SETS, 20, score="cosine")}, **SMALL, method="godin"),
                        made(on(SMALL_SETS, 1), **{**SMALL, "architecture": "vgg13"}, method="learned_confidence")])
    table = paper.joint(frame, "cross_entropy", "logitnorm", "godin", "learned_confidence", "logit_penalty")
    assert table[[("", "loss, score"), ("FPR95 ↓", "%")]].fillna("").values.tolist() == [  # LogitPenalty was not run
        ["Cross-entropy, Softmax (MSP)", "62.00 ± 2.83"], ["LogitNorm, Softmax (MSP)", "40.00"],
        ["GODIN, Softmax (MSP)", "50.00"], ["GODIN, GODIN's cosine", "20.00"],
        ["Learned Confidence, Softmax (MSP)", "50.00"], ["Learned Confidence, confidence c", "30.00"],
        ["Learned Confidence, confidence c, input step", ""]]


def test_by_tau_takes_means_over_seeds_of_the_main_network():
    def at(tau, seed, accuracy, far, noise, **settings):
        return made({**on(SMALL_SETS, far), ("", "", "accuracy"): accuracy, ("msp", "gaussian_noise", "fpr95"): noise,
                     ("energy", "gaussian_noise", "fpr95"): 99}, **{**SMALL, **settings}, tau=tau, seed=seed)

    frame = paper.ours([at(0.1, 1, 90, 30, 5), at(0.01, 1, 80, 50, 9), at(0.01, 2, 84, 54, 1),
                        at(0.04, 1, 1, 1, 1, architecture="resnet34")])
    assert paper.by_tau(frame).values.tolist() == [[0.01, 2, 82, 5, 52, "5.0 ± 5.7"], [0.1, 1, 90, 5, 30, "5.0"]]
    assert list(paper.by_tau(paper.ours([])).columns) == ["tau", "n", "accuracy", "noise", "far", "noise_spread"]


# ---------------------------------------------------------------- in words

def test_method_title_names_tau_where_there_is_one():
    assert paper.method_title(train.Config(tau=0.0085)) == "LogitNorm τ = 0.0085"
    assert paper.method_title(train.Config(method="centred_logitnorm", tau=0.01)) == "Centred LogitNorm τ = 0.01"
    assert paper.method_title(train.Config(method="cross_entropy", cutout=16)) == "Cross-entropy with Cutout"


def full(method, fpr95, auroc, accuracy, ece, extra=(), **settings):
    """A run with everything that `plainly` tells."""
    sets = settings.get("ood_sets", paper.SIX)
    return made({**on(sets, *fpr95), **on(sets, auroc, metric="auroc"), ("", "", "accuracy"): accuracy,
                 ("", "", "ece"): ece, **on([name for name, _ in extra], *[value for _, value in extra])},
                method=method, extra_sets=tuple(name for name, _ in extra), **settings)


def test_plainly_by_hand():
    loaded = [full("cross_entropy", (60, 50, 40, 30, 20, 10), 90, 91, 5, [("mnist", 50), ("cifar100", 70)], **SMALL),
              full("cross_entropy", (62, 52, 42, 32, 22, 12), 92, 92, 6, [("mnist", 50), ("cifar100", 70)], **SMALL,
                   seed=2),
              full("logitnorm", (31, 21, 11, 41, 11, 11.5), 95, 90, 30.5, [("mnist", 55), ("cifar100", 60)], **SMALL),
              full("logitnorm", (0, 0, 0, 0, 0, 0), 1, 1, 1, [("mnist", 0)], **SMALL, tau=0.1),
              full("cross_entropy", (3,), 3, 3, 3, [("mnist", 3)], **SMALL, id_dataset="cifar100")]  # not CIFAR-10
    assert paper.plainly(loaded, "small") == (
        "* Size `small`, 2 + 1 runs: LogitNorm's ID accuracy is 90.00 %, cross-entropy's 91.50 % (-1.50 points). "
        "Averaged over the six far OOD sets, FPR95 by MSP goes from 36.00 to 21.08 (-14.92) and AUROC from 91.00 to "
        "95.00 (+4.00); the paper's changes are -33.87 and +5.36.\n* Of the six far sets LogitNorm's FPR95 is higher than cross-entropy's on "
        "LSUN-like resized (+10.00 FPR95), MiniPlaces (+0.50 FPR95, no clear change).\n* Of the other sets LogitNorm's FPR95 is higher than "
        "cross-entropy's on MNIST (+5.00 FPR95).\n* Its calibration error before temperature scaling is "
        "higher: 30.50 % against 5.50 %.\n* What this cannot show: the net (WRN-10-2) and the training (12 epochs) are not "
        "the paper's (WRN-40-2, 200 epochs); stand-in image sets: Textures (part) (for Textures), SVHN (part) (for "
        "SVHN), LSUN-like crops (for LSUN-C), LSUN-like resized (for LSUN-R), MiniPlaces (for Places365); only 1 "
        "LogitNorm seed, so the spread is unknown. The absolute numbers are therefore no verdict on the paper's.")


def test_plainly_at_the_papers_settings_has_no_limits_to_tell():
    loaded = [full(method, (50,) if method == "cross_entropy" else (20,), 90, 94, 5 if method == "cross_entropy" else 3,
                   seed=seed) for method in ("cross_entropy", "logitnorm") for seed in range(5)]
    text = paper.plainly(loaded, "full")
    assert text.startswith("* Size `full`, 5 + 5 runs") and "cannot show" not in text and "no verdict" not in text
    assert "Of the six far sets LogitNorm's FPR95 is higher than cross-entropy's on none." in text and "is lower: 3.00 % against 5.00 %" in text
    fewer = paper.plainly(loaded[:8], "full")
    assert "What this cannot show: only 3 LogitNorm seeds, so the spread is only roughly known." in fewer


@pytest.mark.parametrize("methods", [(), ("cross_entropy",), ("logitnorm",), ("godin", "logit_penalty")])
def test_plainly_needs_both_methods(methods):
    loaded = [full(method, (1, 2, 3, 4, 5, 6), 90, 91, 5) for method in methods]
    assert paper.plainly(loaded, "full") == "Size `full`: not yet run."


def test_provenance(tmp_path):
    folder = fake_runs.write_run(tmp_path, method="cross_entropy")
    run = results.load(folder)
    run.info["code"] = {"commit": "0123456789abcdef", "dirty": False}
    run.info.update(wall_seconds=150.0, images_per_second=999.6)
    run.info["data"]["cifar10-train"] = "abcdef0123456789"
    changed = results.load(folder)
    changed.info["code"] = {"commit": "fedcba9876543210", "dirty": True}
    table = paper.provenance([run, changed])
    assert table.iloc[0].tolist() == [folder.name, "01234567", "none: synthetic numbers", 2.5, "1000", "abcdef012345",
                                      "2000-01-01"]
    assert table["commit"].tolist() == ["01234567", "fedcba98 + changes"]
    assert paper.provenance([]).to_dict("list") == {"run": [plots.NOT_RUN]}


@pytest.mark.parametrize("value, decimals, said", [(12.95, 1, "13.0"), (15.65, 1, "15.7"), (91.55, 1, "91.6"), (90.75, 1, "90.8"), (-0.25, 1, "-0.3"), (0.404, 2, "0.40"),
                                                   (float("nan"), 1, "nan")])
def test_half_is_rounded_up_as_in_print(value, decimals, said):
    assert paper.fixed(value, decimals) == paper.fixed(np.float64(value), decimals) == said
