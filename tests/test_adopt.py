"""What is missing at full size, what it would cost, and whether the parameters that are offered train just that run."""

import ast

import pytest
from bs4 import BeautifulSoup
from fake_runs import PAPER_SETS, write_run
from logitnorm.book import lists
from logitnorm.config import Config
from logitnorm.study import adopt, count, experiments, ledger, preset, results, training


def cells(config):
    """The assignments of adopt.parameters as a notebook would execute them."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(adopt.parameters(config)).body}


@pytest.mark.parametrize("config", [group[0] for group in adopt.missing([])], ids=lambda config: config.run_id)
def test_the_offered_parameters_train_just_that_run(monkeypatch, config):
    monkeypatch.setattr(preset, "_cached", lambda *given: True)  # else a run on stand-ins that are not here asks for the official sets
    given = cells(config)
    trained = preset.config(given.pop("preset"), **given)
    assert trained.run_id == config.run_id and training.difference(trained, config) is None and trained.keep_model


def test_what_is_missing_is_what_is_listed_and_not_there(tmp_path):
    listed = experiments.configs(size="full")
    assert sorted(config.run_id for group in adopt.missing([]) for config in group) == sorted(c.run_id for c in listed)
    done = results.load(write_run(tmp_path, n_id=40, n_ood=20, **listed[0].model_dump()))
    left = adopt.missing([done])
    assert sum(map(len, left)) == len(listed) - 1 and listed[0] not in [config for group in left for config in group]


def test_operations_are_those_worked_by_hand():
    # models.WideResNet: 327.6 million multiply-adds for an image, two operations each, three passes
    assert adopt.training_flops(Config()) == pytest.approx(3 * 2 * 327.6e6 * 50_000 * 200, rel=2e-3)
    assert adopt.training_flops(Config(epochs=100, milestones=(80,))) == adopt.training_flops(Config()) / 2
    assert adopt.hours(Config(), "T4") == pytest.approx(adopt.training_flops(Config()) / (65e12 * 0.05) / 3600)


@pytest.mark.parametrize("settings", [
    dict(method="cross_entropy"), dict(method="logit_penalty"), dict(method="logitnorm", tau=0.0085, id_dataset="cifar100",
                                                                     extra_sets=("cifar10", "mnist"))])
def test_the_printed_numbers_of_a_run_are_those_that_the_count_finds_for_it(tmp_path, settings):
    run = results.load(write_run(tmp_path, n_id=40, n_ood=20, size="full", ood_sets=PAPER_SETS, history_ood="svhn", **settings))
    number, where = adopt.printed(run.config)
    counted = count.first_paper([run])
    counted = counted[counted["ours"] > 0]
    assert number == counted["ours"].sum() > 0
    assert all(name.removeprefix("LogitNorm, Table ").removeprefix("LogitNorm, section ") in where for name in counted["where"])


def test_the_printed_numbers_of_the_second_paper_and_of_figure_5():
    theirs = ledger.confidence_table().query("id_dataset == 'cifar10' and architecture == 'vgg13' and method == 'learned_confidence'")
    vgg = dict(size="full", architecture="vgg13", method="learned_confidence", dropout=0.0)
    assert adopt.printed(Config(**vgg, cutout=16)) == (len(theirs), "Table 1 of Learned Confidence")
    assert adopt.printed(Config(**vgg, cutout=0)) == (0, ""), "that paper trained with Cutout"
    assert adopt.printed(Config(size="full", method="logitnorm", tau=0.05)) == (1, "Figure 5")
    assert adopt.printed(Config(size="full", method="logitnorm", tau=0.07)) == (0, "")


def test_what_is_worth_most_for_its_cost_comes_first_and_a_second_seed_gives_no_new_number(tmp_path):
    order = adopt.by_worth([])
    worth = [number / adopt.hours(group[0], "T4") for group, number, _ in order]
    assert worth == sorted(worth, reverse=True) and len(order) == len(adopt.missing([]))
    best = order[0][0][0]
    done = results.load(write_run(tmp_path, n_id=40, n_ood=20, **best.model_dump()))
    [(group, number, where)] = [one for one in adopt.by_worth([done]) if one[0][0].run_id.startswith(best.run_id.rpartition("1")[0])]
    assert group[0].seed == 2 and number == 0 and where.startswith("the spread of Table")


def test_the_page_names_every_run_an_estimate_and_where_it_opens():
    text = lists.missing_runs([], "https://colab.example/train.ipynb")
    assert text.startswith("At size full there are 0 of the 511 numbers of LogitNorm and 0 of the 252 numbers of Learned")
    page, order = BeautifulSoup(text, "html.parser"), adopt.by_worth([])
    cards = page.select("ol.adopt > li")
    assert [card.pre.get_text() for card in cards] == [adopt.parameters(group[0]) for group, *_ in order[:6]]
    for card, (group, number, where) in zip(cards, order):
        assert f"{number} printed numbers: {where}." in card.get_text() and f"T4 {adopt.hours(group[0], 'T4'):.1f} h" in card.get_text()
    lines = page.select("table.adopt tbody tr")
    assert [line.code.get_text() for line in lines] == [adopt.parameters(group[0]) for group, *_ in order[6:]]
    assert {link["href"] for link in page.find_all("a")} == {"https://colab.example/train.ipynb"}
    two = sum(number for _, number, _ in order[:2])
    assert f"**{two} numbers" in text and "<strong>estimate</strong>" in text


def test_when_every_run_is_there_nothing_is_asked_for(monkeypatch):
    monkeypatch.setattr(adopt, "missing", lambda loaded: [])
    assert lists.missing_runs([], "x").endswith("and no run is missing.\n")
