"""findings.py: a page's first sentence must say what the numbers say, also when they disappoint or are missing."""

import numpy as np
import pandas as pd
import pytest
from logitnorm.study import findings, paper

EMPTY = paper.ours([])


def rows(ours, verdict="same direction", theirs=(50.0, 16.0), metric="fpr95", exact=False, sd=np.nan, net="wrn10_2"):
    """Cross-entropy's row and LogitNorm's, as compare gives them."""
    shared = dict(id_dataset="cifar10", architecture="wrn40_2", score="msp", ood_dataset="average", metric=metric,
                  used="average", net=net, exact=exact, sd=sd)
    change = ours[1] - ours[0]
    return pd.DataFrame([
        {**shared, "method": "cross_entropy", "paper": theirs[0], "ours": ours[0], "verdict": "baseline", "change": np.nan},
        {**shared, "method": "logitnorm", "paper": theirs[1], "ours": ours[1], "verdict": verdict, "change": change,
         "paper_change": theirs[1] - theirs[0]}])


@pytest.mark.parametrize("given, wanted", [
    (rows((61.6, 26.8)), "LogitNorm lowers FPR95 from 61.6 % to 26.8 % (paper: 50.0 to 16.0)"),
    (rows((40.0, 60.0), "opposite direction"), "LogitNorm raises FPR95 from 40.0 % to 60.0 % (paper: 50.0 to 16.0)"),
    (rows((61.0, 60.0), "no clear change"), "LogitNorm does not clearly change FPR95: 61.0 % to 60.0 % (paper: 50.0 to 16.0)"),
    (rows((50.0, 20.0), "reproduced", exact=True), "LogitNorm lowers FPR95 from 50.0 % to 20.0 % (paper: 50.0 to 16.0)"),
    (rows((50.0, 49.0), "not reproduced", exact=True),
     "LogitNorm does not clearly change FPR95: 50.0 % to 49.0 % (paper: 50.0 to 16.0)"),
    (rows((np.nan, np.nan), paper.NOT_RUN), "No run of it is here yet; in the paper LogitNorm takes FPR95 from 50.0 to 16.0")])
def test_change_says_what_the_rows_say(given, wanted):
    assert findings.change(given) == wanted


def test_best_is_the_size_with_most_methods_and_of_equals_the_first():
    nothing, both = rows((np.nan, np.nan), paper.NOT_RUN), rows((61.0, 27.0))
    half = both.assign(ours=[61.0, np.nan])
    kept = findings.best({"full": nothing, "medium": both, "small": rows((68.0, 46.0))})
    assert set(kept["size"]) == {"medium"} and kept["ours"].tolist() == [61.0, 27.0]
    assert set(findings.best({"full": half, "small": both})["size"]) == {"small"}
    assert set(findings.best({"full": nothing, "small": nothing})["size"]) == {""}


def test_what_was_not_run_is_one_line():
    nothing, both = rows((np.nan, np.nan), paper.NOT_RUN), rows((61.0, 27.0))
    half = both.assign(ours=[61.0, np.nan])
    assert findings.not_run({"full": nothing, "small": both}) == f"Not run: size full (CIFAR-10); {findings.HOW}."
    assert findings.not_run({"full": half, "small": both}) == f"Not run: size full (LogitNorm); {findings.HOW}."
    assert findings.not_run({"full": both, "small": nothing}) == ""


def test_side_by_side_pairs_the_paper_with_this_book():
    table = findings.side_by_side(rows((61.6, 26.8)), "ood_dataset", ("fpr95",), "OOD set")
    assert list(table.columns) == [("", "OOD set"), ("FPR95 ↓", "paper"), ("FPR95 ↓", "this book")]
    assert table.iloc[0].tolist() == ["average", "50.0 → 16.0", "61.6 → 26.8 ✓"]
    alone = findings.side_by_side(rows((np.nan, np.nan), paper.NOT_RUN), "ood_dataset", ("fpr95",), "OOD set")
    assert list(alone.columns) == [("", "OOD set"), ("FPR95 ↓", "paper")]


def test_every_verdict_has_a_mark_or_needs_none():
    assert set(findings.MARKS) >= {"reproduced", "partly", "not reproduced", "same direction", "opposite direction",
                                   "no change, as in the paper", "no clear change", "change, the paper has none"}
    assert findings.legend(rows((61.6, 26.8))) == "✓ same direction."


def test_stand_ins_are_starred_and_named_once():
    part = rows((61.6, 26.8)).assign(ood_dataset="svhn", used="svhn_part")
    assert findings.stand_ins(part) == "* Stand-ins: SVHN (part) for SVHN."
    assert findings.ends(part, "ood_dataset", "fpr95")["label"].tolist() == ["SVHN*"]
    assert findings.ends(part, "architecture", "fpr95")["label"].tolist() == ["WRN-40-2*"]


@pytest.mark.parametrize("sentence, tables", [
    (findings.table1, "1"), (findings.table2, "2"), (findings.table3, "3"), (findings.table4, "4"), (findings.table5, "56")])
def test_without_runs_the_sentence_is_the_papers(sentence, tables):
    said = sentence(findings.best({"full": paper.compare(EMPTY, *tables)}).drop_duplicates(
        list(paper.KEYS)), [])
    assert said.startswith("**") and said.endswith(".") and "nan" not in said and "paper" in said


@pytest.mark.parametrize("mine, base, wanted", [(83.5, 68.0, "worse than"), (60.0, 68.0, "better than"), (68.5, 68.0, "about as good as")])
def test_learned_confidence_is_said_to_be_what_it_is(mine, base, wanted):
    shared = dict(id_dataset="cifar10", paper_id="cifar10", paper_architecture="wrn40_2", metric="fpr95", ood_dataset="average",
                  tau=np.nan, cutout=0)
    frame = pd.DataFrame([{**shared, "method": "cross_entropy", "score": "msp", "value": base},
                          {**shared, "method": "learned_confidence", "score": "confidence", "value": mine}])
    assert f"is {wanted} the softmax" in findings.confidence(frame)
    assert "no run here yet" in findings.confidence(frame[:1])


@pytest.mark.parametrize("verdicts, said", [(["", "no clear change"], True), (["", "same direction"], False)])
def test_figure_5_says_where_no_tau_differs_clearly(verdicts, said):
    curve = pd.DataFrame({"tau": [0.04, 0.01], "paper": [15.7, 24.3], "ours": [45.9, 43.1], "verdict": verdicts})
    text = findings.figure5(curve)
    assert "lies at τ = 0.01 (43.1 %), in the paper at τ = 0.04 (15.7 %)" in text
    assert ("no value differs clearly" in text) == said


def test_figures_without_runs_speak_of_the_paper_only():
    for text in (findings.figure1([]), findings.figure2({}), findings.figure3([], 0.0, []), findings.figure4([])):
        assert "no run of it is here yet" in text
    assert findings.pair({"full": [], "small": []}, "cross_entropy", "logitnorm") == []
    assert findings.missing({"full": [], "small": []}, []) == f"Not run: size full, small; {findings.HOW}."


def test_neighbours_by_hand():
    p = np.array([[0.0, 0], [0, 0.1], [5, 5], [5, 5.1], [5, 5.2]])
    assert findings.neighbours(p, np.array([-1, 0, -1, -1, 0]), k=1) == pytest.approx(100 * 2 / 3)
