"""The ledger's rule against cases worked by hand, its claims against the papers' tables, and the pages it feeds."""

import re
from types import SimpleNamespace

import fake_runs
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from logitnorm import losses, paths
from logitnorm.book import front, lists, pictures, plots
from logitnorm.paths import ROOT
from logitnorm.study import ledger, paper, results
from scipy.stats import norm

MAIN = dict(size="full", architecture="wrn40_2", ood_sets=fake_runs.PAPER_SETS, history_ood="svhn")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Six synthetic small runs in which LogitNorm detects better."""
    folder = tmp_path_factory.mktemp("small")
    fake_runs.write_grid(folder)
    return folder


@pytest.fixture(scope="module")
def built(small):
    """The ledger of those runs."""
    return ledger.build(loaded(small))


def loaded(folder):
    return results.by_size(folder, ledger.SIZES)


def line(rows, name):
    return rows.set_index("id").loc[name]


def numbers(*said, exact=True, ours=1.0):
    return pd.DataFrame([dict(ours=np.nan if word in (plots.NOT_RUN, paper.NOT_MEASURED) else ours, verdict=word,
                              exact=exact) for word in said])


# ---------------------------------------------------------------- the claims

def test_every_table_and_figure_of_both_papers_has_a_line():
    places = {name: " ".join(c["where"] for c in ledger.claims() if c["paper"] == name) for name in ledger.PAPERS}
    tables = {number for c in ledger.claims() if c["paper"] == "logitnorm"
              for many in re.findall(r"Tables? ([\d, and]+)", c["where"]) for number in re.findall(r"\d", many)}
    assert tables == set("123456789")
    assert set(re.findall(r"Figure (\d)", places["logitnorm"])) == set("12345")
    assert set(re.findall(r"Proposition (3\.\d)", places["logitnorm"])) == {"3.1", "3.2", "3.3"}
    assert set(re.findall(r"Figure (\d)", places["confidence"])) == set("1234") and "Table 1" in places["confidence"]


def test_every_line_leads_to_a_page_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    assert {c["page"] for c in ledger.claims()} <= pages


@pytest.mark.parametrize("change, words", [
    (lambda c: c[0].pop("says"), "an entry has"), (lambda c: c[0].update(unjudged="x"), "an entry has"),
    (lambda c: c[-1].update(id=c[0]["id"]), "two entries with the id"),
    (lambda c: c[-1].update(topic=c[0]["topic"]), "two entries with the topic"),
    (lambda c: next(x for x in c if "measure" in x).update(measure="nonsense"), "no measure 'nonsense'")])
def test_a_wrong_entry_is_refused(change, words, tmp_path, monkeypatch):
    entries = yaml.safe_load((paths.PAPER_DATA / "claims.yaml").read_text())
    change(entries)
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(paths, "PAPER_DATA", tmp_path)
    with pytest.raises(ValueError, match=words):
        ledger.claims()


# ---------------------------------------------------------------- the rule

@pytest.mark.parametrize("said, wanted", [
    (["reproduced", "reproduced"], "reproduced"), (["reproduced", "not reproduced"], "partly"),
    (["partly", "not reproduced"], "partly"), (["not reproduced"], "not reproduced"),
    (["reproduced", plots.NOT_RUN], plots.NOT_RUN), (["reproduced", paper.NOT_MEASURED], paper.NOT_MEASURED),
    ([plots.NOT_RUN, paper.NOT_MEASURED], plots.NOT_RUN)])
def test_verdict_at_the_papers_size(said, wanted):
    assert ledger.verdict(numbers(*said)) == wanted


@pytest.mark.parametrize("said, wanted", [
    (["same direction"], "direction agrees"), (["no change, as in the paper"], "direction agrees"),
    (["opposite direction"], "direction does not agree"),
    (["no clear change", "opposite direction"], "direction does not agree"),
    (["change, in the paper none of its sign"], "direction does not agree"), (["change, in the paper a small one of its sign"], "direction does not agree"),
    (["same direction", "opposite direction"], "direction agrees in part"),
    (["no clear change", "no clear change"], "no clear change")])  # within the spread: no disagreement
def test_verdict_elsewhere_judges_the_direction_only(said, wanted):
    assert ledger.verdict(numbers("baseline", *said, exact=False)) == f"stand-in: {wanted}"


def test_without_a_baseline_nothing_is_compared():
    rows = numbers("no baseline", "no baseline", exact=False)
    assert ledger.verdict(rows) == plots.NOT_RUN and ledger.lowered("reproduced", rows) == "reproduced"


@pytest.mark.parametrize("exact, good, best, less", [
    (True, "reproduced", "reproduced", "partly"),
    (False, "same direction", "stand-in: direction agrees", "stand-in: direction agrees in part")])
def test_a_verdict_is_lowered_where_fewer_than_half_of_the_counted_numbers_agree(exact, good, best, less):
    half = numbers(good, "not reproduced" if exact else "no clear change", exact=exact)
    assert ledger.lowered(best, half) == best  # one of two
    fewer = pd.concat([half, numbers("not reproduced" if exact else "opposite direction", exact=exact)])
    assert ledger.lowered(best, fewer) == less  # one of three
    assert ledger.lowered("stand-in: direction does not agree", fewer) == "stand-in: direction does not agree"
    missing = pd.concat([half, *[numbers(plots.NOT_RUN, exact=exact)] * 5])
    assert ledger.lowered(best, missing) == best  # what was not run counts neither way


def test_stand_ins_beside_exact_numbers_count_by_their_direction():
    mixed = pd.concat([numbers("reproduced"), numbers("same direction", "same direction", exact=False)])
    assert ledger._agreeing(mixed) == (3, 3) and ledger._tally(mixed) == "3 of 3 numbers and changes agree"
    assert ledger.lowered("reproduced", mixed) == "reproduced"
    assert ledger.verdict(mixed).startswith("stand-in"), "one stand-in among the numbers makes it one"


def test_judge_by_hand():
    rows = ledger.judge([50.0, 10.0], [[52.0, 56.0], [11.0, 13.0]], True, [5.0, 5.0], least=2.0)
    sd = np.sqrt(8), np.sqrt(2)
    assert rows["ours"].tolist() == [54, 12] and np.allclose(rows["sd"], sd)
    assert np.allclose(rows["tolerance"], [2 * sd[0], 5]) and rows["difference"].tolist() == [4, 2]
    assert rows["verdict"].tolist() == ["reproduced", "reproduced"]
    assert rows["change"][1] == -42 and rows["paper_change"][1] == -40 and rows["ratio"][1] == pytest.approx(1.05)
    elsewhere = ledger.judge([50.0, 10.0], [[52.0, 56.0], [62.0, 66.0]], False, [5.0, 5.0], least=2.0)
    assert elsewhere["verdict"].tolist() == ["baseline", "opposite direction"]
    # the spread over seeds hides a change of 8 points: 2 sqrt(8 + 8) = 8
    hidden = ledger.judge([50.0, 10.0], [[52.0, 56.0], [44.0, 48.0]], False, [5.0, 5.0], least=2.0)
    assert hidden["verdict"][1] == "no clear change"
    half = ledger.judge([50.0, 10.0], [[52.0], []], True, [5, 5], 2)
    assert half["verdict"].tolist() == ["reproduced", plots.NOT_RUN]


@given(st.floats(0, 100), st.floats(0, 100))
def test_judge_agrees_with_the_rule_of_the_tables(mine, theirs):
    rows = ledger.judge([0.0, theirs], [[0.0], [mine]], True, [5.0, 5.0], least=2.0)
    way = paper.direction(theirs, mine, 2.0, 2.0)
    assert rows["verdict"][1] == paper.verdict(mine, theirs, 5.0, way)


# ---------------------------------------------------------------- from runs to lines

def test_without_runs_nothing_is_claimed(tmp_path):
    rows = ledger.build(loaded(tmp_path))
    computed = {"prop31", "prop32", "prop33", "prop33-figure5"}
    others = rows[~rows["id"].isin(computed)]
    assert set(others["verdict"]) == {plots.NOT_RUN, ledger.NOT_JUDGED}
    assert not rows["runs"].any() and set(others["ours"]) == {plots.NOT_RUN, ""} and set(others["ours_short"]) == {""}
    assert line(rows, "average-cifar10")["theirs"] == "49.52 → 15.65"
    assert line(rows, "godin")["theirs_short"] == "25.2, 15.7"  # no arrow: neither is the other's baseline
    assert (rows["ours_short"] == rows["ours"])[rows["id"].isin(computed)].all()


def test_a_small_run_is_judged_by_its_direction(small, built):
    row = line(built, "average-cifar10")
    frame = paper.ours(results.load_all(small)).query(
        "ood_dataset == 'average' and metric == 'fpr95' and score == 'msp'").groupby("method")["value"].mean()
    assert row["size"] == "small" and row["verdict"] == "stand-in: direction agrees"
    ce, ln = frame["cross_entropy"], frame["logitnorm"]
    assert re.fullmatch(rf"{ce:.2f} ± \S+ → {ln:.2f} ± \S+ \(n = 3\)", row["ours"])
    assert row["ours_short"] == f"{ce:.1f} → {ln:.1f}" and row["theirs_short"] == "49.5 → 15.7"
    assert row["difference"] == f"change {ln - ce:+.2f}, the paper's -33.87"
    assert len(row["runs"]) == 6 and line(built, "average-cifar100")["verdict"] == plots.NOT_RUN


@pytest.mark.parametrize("best, verdict", [(0.04, "direction agrees"), (0.1, "direction agrees in part")])
def test_figure_5_is_about_where_the_minimum_lies(best, verdict, tmp_path):
    for tau in (0.01, 0.04, 0.1):
        gap = 6.0 if tau == best else {0.01: 1.0, 0.04: 2.5, 0.1: 1.0}[tau]
        fake_runs.write_run(tmp_path, method="logitnorm", tau=tau, gap=gap, n_id=2000, n_ood=2000)
    assert line(ledger.build(loaded(tmp_path)), "figure5")["verdict"] == f"stand-in: {verdict}"


def test_figure_5_against_numbers_by_hand():
    frame = pd.DataFrame([
        dict(run=f"r{tau}-{value}", paper_id="cifar10", paper_architecture="wrn40_2", method="logitnorm", tau=tau,
             score="msp", ood_dataset="average", metric="fpr95", value=value, exact=True)
        for tau, value in ((0.04, 16.0), (0.1, 26.0), (0.1, 30.0), (0.0123, 99.0))])
    rows = ledger.tau_curve([], frame, [0.04, 0.1, 0.01]).set_index("tau")
    assert rows["paper"].tolist() == [15.65, 20.74, 24.26] and rows["ours"].tolist()[:2] == [16, 28]
    assert rows["verdict"].tolist() == ["reproduced", "partly", plots.NOT_RUN]  # 7.26 is beyond 2 sd = 5.66
    assert rows["change"][0.1] == 12 and rows["paper_change"][0.1] == pytest.approx(20.74 - 15.65)


@pytest.mark.parametrize("godin, verdict", [(70.0, "direction agrees"), (30.0, "direction does not agree")])
def test_godin_and_logitnorm_are_compared_with_each_other(godin, verdict):
    frame = pd.DataFrame([
        dict(run=method, paper_id="cifar10", id_dataset="cifar10", paper_architecture="wrn40_2", method=method, tau=0.04,
             cutout=0, score=score, ood_dataset="average", metric="fpr95", value=value, exact=False)
        for method, score, value in (("cross_entropy", "msp", 90.0), ("godin", "godin", godin), ("godin", "msp", 1.0),
                                     ("logitnorm", "msp", 50.0))])
    rows = ledger.against_godin([], frame)
    assert rows["paper"].tolist() == [25.24, 15.65] and rows["ours"].tolist() == [godin, 50]
    assert ledger.verdict(rows) == f"stand-in: {verdict}"


def test_the_papers_size_comes_first_and_a_missing_half_falls_back(small, tmp_path):
    both = {"full": [], "small": results.load_all(small)}
    fake_runs.write_run(tmp_path, method="cross_entropy", **MAIN)
    both["full"] = results.load_all(tmp_path)
    assert line(ledger.build(both), "average-cifar10")["size"] == "small"
    fake_runs.write_run(tmp_path, method="logitnorm", **MAIN)
    both["full"] = results.load_all(tmp_path)
    row = line(ledger.build(both), "average-cifar10")
    assert row["size"] == "full" and "tolerance 5.00" in row["difference"] and "±" not in row["ours"]
    assert row["verdict"] in ("reproduced", "partly", "not reproduced")


def test_only_the_tau_of_the_tables_enters(tmp_path):
    for tau in (0.04, 0.1):
        fake_runs.write_run(tmp_path, method="logitnorm", tau=tau)
    fake_runs.write_run(tmp_path, method="cross_entropy")
    row = line(ledger.build(loaded(tmp_path)), "average-cifar10")
    assert "(n = 1)" in row["ours"] and not [run for run in row["runs"] if "tau0.1" in run]


def test_norm_growth_reads_the_first_and_the_last_epoch(small):
    rows = ledger.norm_growth(results.load_all(small), None)
    assert rows["paper"].tolist() == [6.58, 12.80]
    assert np.allclose(rows["ours"], [0.6 + 12 / 12, 0.6 + 12])  # fake_runs._history, twelve epochs
    assert rows.attrs["runs"] == [run.id for run in results.load_all(small) if "cross_entropy" in run.id]


def test_learned_confidence_shows_where_it_ran():
    frame = pd.DataFrame([
        dict(run=f"r{seed}-{method}-{cutout}", size="small", paper_id="cifar10", architecture="wrn10_2", method=method,
             cutout=cutout, score=score, ood_dataset="isun", metric="fpr95", value=value)
        for method, cutout, score, value in (
            ("cross_entropy", 16, "msp", 60.0), ("learned_confidence", 16, "confidence", 40.0),
            ("learned_confidence", 16, "msp", 99.0), ("cross_entropy", 0, "msp", 1.0)) for seed in (1, 2)])
    ask = dict(id_dataset="cifar10", metric="fpr95")
    rows = ledger.learned_confidence([], frame, architecture="wrn28_10", **ask)
    assert rows["paper"].tolist() == [36.7, 24.9] and rows["ours"].tolist() == [60, 40]
    assert ledger.verdict(rows) == "stand-in: direction agrees"
    own = frame.assign(architecture="vgg13", size="full")
    for changed, exact in (({}, True), ({"lr": 0.001}, False), ({"milestones": (80, 140)}, False)):
        loaded = [SimpleNamespace(id=run, config=SimpleNamespace(**ledger.OWN_TRAINING["cifar10"] | changed)) for run in own["run"]]
        rows = ledger.learned_confidence(loaded, pd.concat([frame, own]), architecture="vgg13", **ask)
        assert rows["ours"].tolist() == [60, 40] and rows["exact"].tolist() == [exact, exact]
        small = ledger.learned_confidence(loaded, pd.concat([frame, own.assign(size="small")]), architecture="vgg13", **ask)
        assert not small["exact"].any(), "another size is never the paper's own training"
        wide = ledger.learned_confidence(loaded, pd.concat([frame, own.assign(architecture="wrn28_10")]), architecture="wrn28_10", **ask)
        assert not wide["exact"].any(), "only its VGG13 is trained here as there"
    six = pd.concat([frame, frame.assign(ood_dataset="average", value=frame["value"] + 8)])
    assert ledger.learned_confidence([], six, architecture="wrn28_10", **ask).attrs["beside"] == "over the six sets 68.0 → 48.0"
    # a baseline without its Cutout is none, and a wide ResNet does not stand in for VGG
    plain = frame[(frame["method"] != "cross_entropy") | (frame["cutout"] == 0)]
    assert ledger.verdict(ledger.learned_confidence([], plain, architecture="wrn28_10", **ask)) == plots.NOT_RUN
    assert ledger.verdict(ledger.learned_confidence([], frame, architecture="vgg13", **ask)) == plots.NOT_RUN


def test_confidence_table_against_numbers_read_from_the_paper():
    keys = ["id_dataset", "architecture", "method", "ood_dataset", "metric"]
    table = ledger.confidence_table().set_index(keys)["paper"]
    assert len(table) == 252 and table.index.is_unique
    for key, value in {("cifar10", "vgg13", "learned_confidence", "all", "fpr95"): 19.2,
                       ("cifar10", "wrn28_10", "cross_entropy", "all", "aupr_in"): 73.3,
                       ("svhn", "wrn16_8", "learned_confidence", "lsun_r", "fpr95"): 0.6,
                       ("svhn", "densenet", "cross_entropy", "", "accuracy"): 97.11}.items():
        assert table[key] == value


# ---------------------------------------------------------------- measures

def test_shared_area_of_normal_densities():
    rng = np.random.default_rng(0)
    for shift in (0.0, 1.0, 3.0):
        a, b = rng.normal(0, 1, 20_000), rng.normal(shift, 1, 20_000)
        assert ledger.shared_area(a, b) == pytest.approx(100 * 2 * norm.cdf(-shift / 2), abs=2.5)
    # a needle beside a broad density, as the scores of Figure 4 are
    assert ledger.shared_area(rng.normal(0.9, 1e-3, 5000), rng.normal(0.2, 0.1, 5000)) < 0.5


def test_the_papers_own_figure4_has_less_overlap_under_logitnorm():
    ce, ln = ledger.overlap([], pd.DataFrame())["paper"]
    assert 0 < ln < ce < 100


def test_the_propositions_are_computed_and_can_fail(monkeypatch):
    assert ledger.bound_holds([], None)["verdict"].item() == "reproduced"
    assert ledger.argmax_kept([], None)["ours"].item() == "10,000 of 10,000"
    assert ledger.bound_explains_figure5([], None)["verdict"].item() == "not reproduced"
    monkeypatch.setattr(losses, "lower_bound", lambda tau, K: 0.8)
    assert ledger.bound_holds([], None)["verdict"].item() == "not reproduced"
    assert ledger.bound_explains_figure5([], None)["verdict"].item() == "reproduced"
    monkeypatch.undo()
    monkeypatch.setattr(losses, "logitnorm", lambda f, y, tau: f.new_tensor(0.0))
    assert ledger.bound_holds([], None)["verdict"].item() == "not reproduced"
    assert ledger._holds(torch.tensor([True, False]))["verdict"].item() == "not reproduced"


# ---------------------------------------------------------------- in words

def test_html_links_pages_and_runs(small, built):
    soup = BeautifulSoup(lists.claims(built, "All <claims>"), "html.parser")
    lines = {row["id"].removeprefix("claim-"): row for row in soup.find_all("tr", id=True)}
    assert sorted(lines) == sorted(built["id"])
    assert soup.caption.text == "All <claims>" and all(th.has_attr("scope") for th in soup.find_all("th"))
    links = [a["href"] for a in lines["svhn"].find_all("a")]
    assert links[0] == "../notebooks/table1.html" and len(links) == 3  # the page, and the runs of two methods
    shown = BeautifulSoup("".join(lists.facts(run) for run in results.load_all(small)), "html.parser")
    for link in links[1:]:
        assert shown.find(id=link.split("#")[1]), f"no anchor for {link}"
    for row in built.to_dict("records"):
        theirs, ours, verdict = lines[row["id"]].find_all("td")
        assert verdict["title"] == row["verdict"] and ledger.MARKS[ledger.VERDICTS[row["verdict"]]] in verdict.text
        assert lines[row["id"]].strong.text == row["topic"] and "±" not in theirs.text + ours.text
        assert ours.text == "" or "±" not in row["ours"] or row["ours"] in lines[row["id"]].details.text


def test_html_groups_the_claims_by_what_became_of_them(built):
    soup = BeautifulSoup(lists.claims(built, "c"), "html.parser")
    for body, (name, kinds) in zip(soup.find_all("tbody"), ledger.GROUPS):
        wanted = [name for name, word in zip(built["id"], built["verdict"]) if ledger.VERDICTS[word] in kinds]
        assert [row["id"] for row in body.find_all("tr", id=True)] == [f"claim-{name}" for name in wanted]
        assert body.th.text == f"{name}: {len(wanted)} of {len(built)}"


@pytest.mark.parametrize("theirs, mine, short", [
    ([61.56, 26.84], [[60.36, 62.76], [26.84]], "61.6 → 26.8"), ([3.2, 66.95], [[3.2], [66.95]], "3.20 → 67.0")])
def test_a_line_shows_the_numbers_alone(theirs, mine, short):
    shown = ledger.judge(theirs, mine, False, [1, 1], 1)
    assert [ledger._numbers(shown, column, short=True) for column in ("paper", "ours")] == [short, short]


@pytest.mark.parametrize("mine, said", [([[50], [52.04]], " (one seed, 0.04 beyond the least change of 2)"),
                                        ([[50], [48.6]], " (one seed, 0.60 short of the least change of 2)"), ([[50], [56]], None),
                                        ([[50, 50], [52.04, 52.04]], None)])
def test_a_verdict_by_a_hair_is_told(mine, said):
    told = ledger._difference(ledger.judge([41.2, 16.3], mine, False, [5, 5], 2))
    assert told.endswith(said) if said else "one seed" not in told


def test_a_single_seed_of_energy_says_so_and_leads_to_the_page_on_seeds(tmp_path):
    for seeds, alone in (((1,), True), ((1, 2), False)):
        fake_runs.write_grid(tmp_path / str(alone), seeds=seeds)
        rows = ledger.build(loaded(tmp_path / str(alone)))
        assert ("one seed; Energy depends on it" in line(rows, "energy")["tally"]) == alone
        soup = BeautifulSoup(lists.claims(rows, "c"), "html.parser")
        assert bool(soup.select('#claim-energy a[href="../notebooks/seeds.html"]')) == alone


def test_groups_of_runs():
    assert ledger.groups(["a-tau0.04-seed1", "b-seed2", "a-tau0.04-seed3"]) == {
        "a-tau0.04-seed{1,3}": "a-tau0.04-seed1", "b-seed{2}": "b-seed2"}


def test_summary_counts_every_line(built):
    total, held, failed, unclear, still, *how = map(int, re.findall(r"\d+", ledger.summary(built)))
    assert (total, held + failed + unclear + still) == (len(built), len(built)) and sum(how) == held
    assert held == sum(ledger.VERDICTS[word] == "good" for word in built["verdict"])
    assert "3 proved or computed" in ledger.summary(built) and "in their numbers" not in ledger.summary(built)


def test_the_picture_of_all_claims_has_a_line_for_each_that_changes(built):
    figure, alt = pictures.claims(built)
    changed = {row["topic"] for row in built.to_dict("records") if row["changes"]}
    assert {label.get_text()[2:] for label in figure.axes[0].get_yticklabels()} == changed
    theirs, mine = built.set_index("id").loc["svhn", "changes"][0]
    assert round(theirs, 2) == -42.3 and f"paper -42.3, this book {mine:+.1f} (" in alt
    assert "No run yet" in pictures.claims(ledger.build({"full": []}))[1]


def test_what_the_pages_include_is_written(small, tmp_path):
    front.write(tmp_path / "generated", small)
    text = (tmp_path / "generated" / "ledger.md").read_text()
    assert "```{raw} html" in text and (tmp_path / "generated" / "first.md").read_text().startswith("**")
    soup = BeautifulSoup(text, "html.parser")
    assert len(soup.select("tbody tr")) == len(ledger.claims())
    for row in soup.select("tbody tr"):  # what held stands open, the rest is folded
        assert row.find_parent("details").has_attr("open") == ("✓" in row.td.text), row.td.text
    assert plots.NOT_RUN in front.story({"full": []})[2], "without runs the story is the paper's"
    story = (tmp_path / "generated" / "story.md").read_text()
    for method, name in (("cross_entropy", "Cross-entropy"), ("logitnorm", "LogitNorm")):
        run = paper.chosen(results.load_all(small), method)[0]
        fpr95 = run.metrics.query("score == 'msp' and ood_dataset == 'svhn_part' and metric == 'fpr95'")["value"].item()
        assert f"{name}: {fpr95:.2f} % of the OOD images pass." in story
    assert (tmp_path / "generated" / "story.png").read_bytes().startswith(b"\x89PNG")
    cost = (tmp_path / "generated" / "cost.md").read_text()
    assert "| small | WRN-10-2, CIFAR-10, 12 | none: synthetic numbers | 6 | 1.0 | 1,000 |" in cost
    assert "| full | not yet run" in cost


def test_the_front_page_includes_them():
    index = (ROOT / "book" / "index.md").read_text()
    assert "generated/ledger.md" in index and "generated/story.md" in index
    assert "generated/cost.md" in (ROOT / "book" / "limits.md").read_text()


def test_a_run_of_another_length_is_refused(tmp_path):
    fake_runs.write_run(tmp_path, method="logitnorm", epochs=6)
    with pytest.raises(ValueError, match="epochs6-seed1 may not stand in an average"):
        ledger.build({"small": results.load_all(tmp_path, everything=True)})
