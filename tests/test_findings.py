"""findings.py: a page's first sentence must say what the numbers say, also when they disappoint or are missing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_run
from logitnorm import metrics, paths
from logitnorm.study import findings, paper, results
from scipy.special import softmax

EMPTY = paper.ours([])


def rows(ours, verdict="same direction", theirs=(50.0, 16.0), metric="fpr95", exact=False, sd=np.nan, net="wrn10_2", way=""):
    """Cross-entropy's row and LogitNorm's, as compare gives them; way: of the change, where the verdict is of the number."""
    shared = dict(id_dataset="cifar10", architecture="wrn40_2", score="msp", ood_dataset="average", metric=metric,
                  used="average", net=net, exact=exact, sd=sd)
    change = ours[1] - ours[0]
    return pd.DataFrame([
        {**shared, "method": "cross_entropy", "paper": theirs[0], "ours": ours[0], "verdict": "baseline", "way": "", "change": np.nan},
        {**shared, "method": "logitnorm", "paper": theirs[1], "ours": ours[1], "verdict": verdict, "way": way or verdict, "change": change,
         "paper_change": theirs[1] - theirs[0]}])


@pytest.mark.parametrize("given, wanted", [
    (rows((61.6, 26.8)), "LogitNorm lowers FPR95 from 61.6 % to 26.8 % (paper: 50.0 to 16.0)"),
    (rows((40.0, 60.0), "opposite direction"), "LogitNorm raises FPR95 from 40.0 % to 60.0 % (paper: 50.0 to 16.0)"),
    (rows((61.0, 60.0), "no clear change"), "LogitNorm does not clearly change FPR95: 61.0 % to 60.0 % (paper: 50.0 to 16.0)"),
    (rows((50.0, 20.0), "reproduced", exact=True, way="same direction"), "LogitNorm lowers FPR95 from 50.0 % to 20.0 % (paper: 50.0 to 16.0)"),
    (rows((50.0, 40.0), "not reproduced", exact=True, way="no clear change"),
     "LogitNorm does not clearly change FPR95: 50.0 % to 40.0 % (paper: 50.0 to 16.0)"),
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
    both = rows((57.4, 16.7), "reproduced", exact=True)
    both.loc[0, "verdict"] = "not reproduced"
    assert findings.side_by_side(both, "ood_dataset", ("fpr95",), "OOD set").iloc[0, -1] == "57.4 ✗ → 16.7 ✓", "the baseline's own number is judged too"
    assert findings.legend(both) == "✓ reproduced; ✗ not reproduced."
    alone = findings.side_by_side(rows((np.nan, np.nan), paper.NOT_RUN), "ood_dataset", ("fpr95",), "OOD set")
    assert list(alone.columns) == [("", "OOD set"), ("FPR95 ↓", "paper")]


def test_every_verdict_has_a_mark_or_needs_none():
    assert set(findings.MARKS) >= {"reproduced", "partly", "not reproduced", "same direction", "opposite direction",
                                   "no change, as in the paper", "no clear change", "change, in the paper a small one of its sign",
                                   "change, in the paper none of its sign"}
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
    assert f"is {wanted} the softmax of an ordinary network" in findings.confidence(frame)
    cut = pd.concat([frame, frame[:1].assign(cutout=16, value=base + 4)])
    assert f"without the second output: FPR95 {mine:.1f} % against {base + 4:.1f} % (without the augmentation Cutout {base:.1f} %)" in findings.confidence(cut)
    assert "no run here yet" in findings.confidence(frame[:1])


@pytest.mark.parametrize("verdicts, sd, said", [(["", "no clear change"], [6.2, 3.0], "with a standard deviation of 6.2 over the seeds there, no change as large as the paper's (up to 8.6 points) could be told either**"),
                                                (["", "no clear change"], [1.0, 1.0], "so the paper's curve is not seen**"), (["", "same direction"], [1.0, 1.0], "")])
def test_figure_5_says_where_no_tau_differs_clearly(verdicts, sd, said):
    curve = pd.DataFrame({"tau": [0.04, 0.01], "paper": [15.7, 24.3], "ours": [45.9, 43.1], "sd": sd, "paper_change": [np.nan, 8.6], "verdict": "partly", "way": verdicts})
    text = findings.figure5(curve)
    assert "lies at τ = 0.01 (43.1 %), in the paper at τ = 0.04 (15.7 %)" in text
    assert ("no value differs clearly" in text) == bool(said) and said in text


def judged(kind, sets=("isun",), verdicts=("not reproduced", "reproduced"), ours=(57.4, 16.7), score="msp"):
    """Rows of official sets, which are judged as numbers."""
    parts = []
    for name in sets:
        part = rows(ours, verdicts[1], theirs=(46.6, 12.3), exact=True).assign(ood_dataset=name, used=name, n=1, score=score)
        part.loc[0, "verdict"] = verdicts[0]
        parts.append(part.assign(difference=part["ours"] - part["paper"], paper_change=-34.3, kind=kind))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("ours, why", [((57.4, 16.7), ", so the larger gain comes from a weaker start."), ((57.4, 10.0), ", so part of the larger gain comes from a weaker start."),
                                       ((57.4, 30.0), ".")])
def test_what_is_judged_as_a_number_is_told_of_both_losses(ours, why):
    said = findings.official(judged("one", ours=ours))
    assert said == (f"On iSUN, the one official set here, LogitNorm's FPR95 is the paper's within the tolerance ({ours[1]:.1f}, paper 12.3); cross-entropy's is not (57.4, paper "
                    f"46.6){why}")
    assert findings.official(judged("one").assign(exact=False)) == ""
    two = findings.official(judged("two", ("isun", "svhn")))
    assert two == ("On iSUN and SVHN, the official sets here, LogitNorm's FPR95 is the paper's within the tolerance in 2 of 2 cases; cross-entropy's is the paper's within the "
                   "tolerance in 0 of 2 cases (not iSUN 57.4, paper 46.6; SVHN 57.4, paper 46.6).")


def test_networks_are_named_beside_their_numbers():
    parts = [rows(ours, net=net).assign(architecture=architecture, n=3) for architecture, net, ours in (
        ("wrn40_2", "wrn40_2", (56.0, 19.0)), ("resnet34", "resnet20", (69.0, 43.0)))]
    table = pd.concat(parts + [part.assign(metric="accuracy") for part in parts], ignore_index=True)
    assert "on 2 of 2 networks: WRN-40-2 56.0 to 19.0 %, ResNet-20 (for ResNet-34) 69.0 to 43.0 % (paper:" in findings.table3(table, [])


def test_the_runs_behind_a_page_stand_in_the_order_of_its_rows_and_are_those_of_every_size():
    def run(name, size, architecture):
        return SimpleNamespace(id=name, config=SimpleNamespace(id_dataset="cifar10", architecture=architecture, method="logitnorm", tau=0.04, cutout=0, size=size))

    loaded = {"full": [run("a", "full", "wrn40_2")], "small": [run("b", "small", "densenet_bc_22_12"), run("c", "small", "resnet20"), run("d", "small", "wrn10_2")]}
    compared = {size: pd.concat([rows((60.0, 20.0)).assign(architecture=name, ours=1.0 if (size == "small") or name == "wrn40_2" else np.nan)
                                 for name in ("wrn40_2", "resnet34", "densenet")]) for size in loaded}
    assert [found.id for found in findings.behind(loaded, findings.best(compared))] == ["a", "c", "b"]
    assert {found.id for found in findings.behind(loaded, findings.every(compared))} == set("abcd")


def test_one_seed_leads_to_the_size_with_more(monkeypatch):
    monkeypatch.setattr(findings, "behind", lambda loaded, rows: [SimpleNamespace(config=SimpleNamespace(
        method="logitnorm", architecture="wrn10_2", id_dataset="cifar10", epochs=12))] * 3)
    one, three = rows((60.0, 20.0)).assign(n=1, net="wrn40_2"), rows((60.0, 59.0), "no clear change").assign(n=3)
    said = findings.more_seeds({"full": one, "small": three}, {})
    assert said.startswith("The numbers on CIFAR-10 come from one seed of WRN-40-2. In WRN-10-2, 12 epochs, 3 seeds, the average FPR95 is clearly lower in 0 of 1 (not Softmax (MSP)); see [Size")
    assert findings.more_seeds({"full": three, "small": three}, {}) == "" == findings.more_seeds({"full": one}, {})


def detector(logits, temperature, **far):
    config = SimpleNamespace(id_dataset="cifar10", history_ood="svhn_part", method="logitnorm", architecture="wrn40_2", epochs=200)
    table = pd.DataFrame({"metric": ["temperature"], "value": [temperature]})
    return SimpleNamespace(config=config, metrics=table, has=lambda name: name in logits, tensor=logits.__getitem__, far=far.get, separated=lambda score, name: (8.8, 98.0))


def test_what_rescaling_costs_is_measured():
    rng = np.random.default_rng(0)
    logits = {"cifar10/logits": rng.normal(size=(200, 10)), "svhn_part/logits": rng.normal(size=(100, 10))}
    run = detector(logits, 0.1)
    wanted = metrics.fpr95(*(softmax(values / 0.1, axis=1).max(1) for values in logits.values()))
    said = findings.scaled([None, run])
    assert said.startswith("**Rescale for showing, detect with the raw softmax: at T = 0.10** LogitNorm's FPR95 on SVHN (part)") and f"is {wanted:.1f} instead of 8.8 %" in said
    run.separated = lambda score, name: (wanted, 50.0)
    assert findings.scaled([None, run]).startswith("**Rescaling does not clearly cost detection here")
    assert findings.scaled([None, detector({}, 0.1)]) == "" == findings.scaled([])


@pytest.mark.parametrize("soft, word", [(64.9, "worse than"), (10.0, "better than"), (20.0, "about as well as")])
def test_how_the_normalised_softmax_detects(soft, word):
    pair = [detector({}, 1, msp=56.2), detector({}, 1, msp=19.4, msp_normalised=soft)]
    assert findings.normalised(pair).startswith(f"**It detects {word} the raw softmax**: mean FPR95 over the six sets {soft:.1f} %, by the raw softmax 19.4 %, by cross-entropy's 56.2 %")
    assert findings.normalised([]) == ""


def test_the_area_of_figure_4_is_that_of_the_ledger(monkeypatch, small_runs):
    monkeypatch.setattr(findings.ledger, "overlap", lambda found, frame: pd.DataFrame({"ours": [29.96, 13.49], "paper": [33.0, 11.7]}))
    monkeypatch.setattr(findings, "of_first_size", lambda loaded, *methods: [small_runs["small"][:1], small_runs["small"][2:]])
    assert "**30.0 % under cross-entropy, 13.5 % under LogitNorm** (the paper's curves: 33.0 and 11.7 %)" in findings.overlap({})
    monkeypatch.setattr(findings, "of_first_size", lambda loaded, *methods: [[], []])
    assert findings.overlap({}) == ""


@pytest.mark.parametrize("spreads, told", [(["41.0 ± 9.0", "45.0 ± 14.8"], "Noise would choose τ = 0.05 (FPR95 on noise 41.0 ± 9.0 % there, 45.0 ± 14.8 % at τ = 0.04)"),
                                           (["41.0", "45.0"], "Noise would choose τ = 0.05")])
def test_a_choice_by_noise_is_told_with_its_spread(spreads, told):
    choice = pd.DataFrame({"tau": [0.05, 0.04], "noise": [41.0, 45.0], "accuracy": [87.0, 88.0], "far": [46.0, 45.0], "noise_spread": spreads})
    assert findings.tau_choice(choice) == f"{told}; ID accuracy τ = 0.04; the lowest FPR95 on the six sets is at τ = 0.04."


def test_the_norm_before_training_is_told_with_its_mode():
    history = pd.DataFrame({"epoch": [0, 1, 2], "norm_test": [86.1, 7.0, 13.0]})
    ce, ln = SimpleNamespace(history=history), SimpleNamespace(history=history.assign(norm_test=[80.0, 113.0, 2.0]))
    assert findings.untrained([ce, ln]) == (" Not drawn: the norm before training, 86.1 with the batch norms' untouched running statistics (far smaller with a batch's own, which the "
                                            "first step sees), and LogitNorm's first epochs (up to 113).")
    assert findings.untrained([]) == ""


def test_figures_without_runs_speak_of_the_paper_only():
    for text in (findings.figure1([]), findings.figure2({}), findings.figure3([], 0.0, []), findings.figure4([])):
        assert "no run of it is here yet" in text
    assert findings.pair({"full": [], "small": []}, "cross_entropy", "logitnorm") == []
    assert findings.missing({"full": [], "small": []}, []) == f"Not run: size full, small; {findings.HOW}."


def test_neighbours_by_hand():
    p = np.array([[0.0, 0], [0, 0.1], [5, 5], [5, 5.1], [5, 5.2]])
    assert findings.neighbours(p, np.array([-1, 0, -1, -1, 0]), k=1) == pytest.approx(100 * 2 / 3)


def learned(sd, collapsed):
    """What the sentences on c read of a run."""
    config = SimpleNamespace(id_dataset="cifar10")
    correct = np.arange(100) < 80
    scores = {"confidence": np.where(correct, 1.0, 0.5), "msp": np.where(correct, 1.0, 0.0) + np.arange(100) % 2}
    return SimpleNamespace(config=config, correct=correct, score=lambda name, _: scores[name], info={"confidence": dict(
        mean=0.8, sd=sd, collapsed=collapsed)})


def test_what_c_knows_of_errors_and_whether_it_collapsed():
    said = findings.confidence_errors([learned(0.12, False), learned(0.13, False)])
    assert said.startswith("But c knows") and "AUROC of 100.0 %" in said and "It did not collapse" in said and "0.12 to 0.13" in said
    assert "1 of 2 collapsed" in findings.confidence_errors([learned(0.12, False), learned(0.001, True)])
    assert findings.confidence_errors([]) == ""


@pytest.fixture(scope="module")
def small_runs():
    names = ("cross_entropy-cutout16", "learned_confidence-cutout16", "cross_entropy")
    return {"small": [results.load(paths.RUNS / f"small-cifar10-wrn10_2-{name}-seed1") for name in names]}


def test_learned_confidence_beside_the_second_papers_table(small_runs):
    frames = {"small": paper.ours(small_runs["small"])}
    lines = findings.confidence_ends(small_runs, frames).set_index("label")
    assert list(lines.index) == ["VGG13", "WRN-28-10\nhere WRN-10-2", "DenseNet-BC"]
    row = lines.iloc[1]
    assert (row["theirs0"], row["theirs1"]) == (36.7, 24.9) and lines["ours1"].isna().tolist() == [True, False, True]
    for value, run, score in zip(row[["ours0", "ours1"]], small_runs["small"], ("msp", "confidence")):
        assert value == pytest.approx(metrics.fpr95(run.score(score, "cifar10"), run.score(score, "isun")))
    table = findings.confidence_table(frames)
    assert table.set_index(("", "images")).loc["iSUN", ("FPR95 ↓", "paper")] == "41.2 → 16.3" and "this book" not in dict(table.columns).values()
    mean = {run.id: run.metrics.query("metric == 'fpr95' and score == 'msp' and ood_dataset in @run.config.ood_sets")["value"].mean()
            for run in small_runs["small"]}
    cut, learned_, plain = mean.values()
    assert f"from {plain:.1f} to {cut:.1f} %; branch and hints take it on to {learned_:.1f} %" in findings.confidence_steps(frames["small"])
    assert findings.confidence_steps(paper.ours(small_runs["small"][:1])) == ""


def test_the_second_papers_own_network_is_told_first(tmp_path, small_runs):
    assert findings.confidence_own_network(small_runs) == "", "a wide ResNet is not its network"
    vgg13 = dict(architecture="vgg13", cutout=16, ood_sets=("isun",), extra_sets=(), history_ood="isun")
    softmax, c = (results.load(write_run(tmp_path, method=method, **vgg13)) for method in ("cross_entropy", "learned_confidence"))
    said = findings.confidence_own_network({"small": [softmax, c], "full": []})
    ends = [run.far(score) for run, score in ((c, "confidence"), (softmax, "msp"))]
    word = "gains on" if ends[1] - ends[0] > 2 else "gains nothing on"
    assert f"VGG13 c {word} iSUN: {ends[0]:.1f} % of its images pass, and {ends[1]:.1f} % by the softmax of the same training without c** (paper: 16.3 and 41.2 %)" in said
    assert said.endswith("(VGG13, 12 epochs, 1 seed).")
    assert findings.confidence_own_network({"small": [c]}) == ""


def test_images_that_one_network_alone_has_right_are_counted(small_runs):
    pair = [SimpleNamespace(config=run.config, correct=np.array([True] * 6 + [side] * 4 + [not side]))
            for run, side in zip(small_runs["small"], (True, False))]
    said = findings.right_alone(pair)  # of 5 tosses 4 or more, or 1 or fewer, are heads: 12 of 32
    assert "4 that only cross-entropy gets right and 1 that only LogitNorm does (p = 0.38 by" in said
    assert findings.right_alone(pair[:1]) == ""


def test_the_first_steps_are_told_from_the_histories(monkeypatch):
    assert "not yet run" in findings.first_steps([])
    rows = {"epoch": range(12), "norm_train": [np.nan, 100.0, 50, 20, *[5.0] * 8], "train_accuracy": [np.nan, 10, 20, 30, *[60.0] * 8]}
    run = SimpleNamespace(config=SimpleNamespace(tau=0.04), history=pd.DataFrame(rows))
    other = SimpleNamespace(config=run.config, history=run.history.assign(train_accuracy=run.history["train_accuracy"] + 5))
    monkeypatch.setattr(paper, "chosen", lambda runs, method: [run if method == "logitnorm" else other])
    said = findings.first_steps([run])
    assert "a mean length of 100 in the first epoch, so that the factor there is 0.2; it passes 1 in epoch 3 and is 5 in the last" in said
    assert "get 10, 20, 30 % of the training images right, and those of cross-entropy 15, 25, 35 %; after ten LogitNorm is 5.0 points behind" in said


def test_what_is_clear_is_called_so_but_for_a_single_seed():
    after = pd.DataFrame({"n": [3, 3]})
    assert findings._lower(after) == "clearly lower" and findings._lower(after.assign(n=[3, 1]), "lowers FPR95") == "lowers FPR95 by more than 2 points"


def test_sets_outside_the_six_are_told_by_what_happens_on_them(monkeypatch):
    def run(**fpr95):
        return SimpleNamespace(config=SimpleNamespace(extra_sets=tuple(fpr95)), separated=lambda score, name: (fpr95[name], 50.0))

    runs = {"cross_entropy": [run(mnist=40.0, gaussian_noise=20.0, cifar100=60.0)], "logitnorm": [run(mnist=1.0, gaussian_noise=81.0, cifar100=61.0)]}
    monkeypatch.setattr(paper, "chosen", lambda found, method: found.get(method, []))
    assert findings.outside({"full": {}, "small": runs}) == (
        "For the networks of CIFAR-10, on OOD sets outside the six, FPR95 is lower on MNIST (40.0 to 1.0 %); higher on Gaussian noise (20.0 to 81.0 %); not clearly different on CIFAR-100 (60.0 to 61.0 %).")
    assert findings.outside({"full": {}}) == ""


def test_thresholds_from_errors_are_held_against_the_best(monkeypatch):
    by_set = {"a": pd.DataFrame({"error": [20.0, 22.0], "best": [19.0, 21.5]}), "b": pd.DataFrame({"error": [20.0, 22.0], "best": [15.0, 16.0]})}
    monkeypatch.setattr(findings.confidence_, "from_errors", lambda run: SimpleNamespace(score="msp", by_set=by_set[run.config]))
    monkeypatch.setattr(paper, "method_title", str)
    runs = [SimpleNamespace(config=name) for name in "ab"]
    a, b = "for Softmax (MSP) of a (21.0 % instead of the best 20.2)", "for Softmax (MSP) of b (21.0 % instead of the best 15.5)"
    assert findings.confidence_thresholds_said(runs).startswith(f"**They can {a}; they cannot {b}**: detection error, the mean over the sets")
    assert findings.confidence_thresholds_said(runs[1:]).startswith(f"**They cannot {b}**") and findings.confidence_thresholds_said([]) == ""


def test_penalty_and_godin_are_told_no_stronger_than_their_spread():
    compared = paper.compare(EMPTY, "5", "6").drop_duplicates(["method", "metric"])
    values = {("cross_entropy", "fpr95"): 68.0, ("logit_penalty", "fpr95"): 66.0, ("godin", "fpr95"): 35.9, ("logitnorm", "fpr95"): 45.9,
              ("cross_entropy", "logit_norm_id"): 13.2, ("logit_penalty", "logit_norm_id"): 6.2, ("logitnorm", "logit_norm_id"): 3.1}
    compared["ours"] = [values.get(key, np.nan) for key in zip(compared["method"], compared["metric"])]
    compared["way"] = "no clear change"
    said = findings.table5(compared.assign(sd=6.0), [])
    assert said.startswith("**Shorter logits did not clearly help here: ") and "between GODIN (35.9 %) and LogitNorm (45.9 %) there is no clear difference" in said
    short = compared.assign(sd=1.0)
    short.loc[(short["method"] == "logit_penalty") & (short["metric"] == "logit_norm_id"), "ours"] = 3.0
    said = findings.table5(short, [])
    assert said.startswith("**Short logits alone do not help: ") and "GODIN (35.9 %) is ahead of LogitNorm (45.9 %), in the paper behind it" in said
