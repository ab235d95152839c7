"""What is missing at full size, what it would cost, and whether the parameters that are offered train just that run."""

import ast

import pytest
from fake_runs import write_run
from logitnorm.config import Config
from logitnorm.study import adopt, experiments, preset, results


def cells(config):
    """The assignments of adopt.parameters as a notebook would execute them."""
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(adopt.parameters(config)).body}


@pytest.mark.parametrize("config", [group[0] for group in adopt.missing([])], ids=lambda config: config.run_id)
def test_the_offered_parameters_train_just_that_run(config):
    given = cells(config)
    trained = preset.config(given.pop("preset"), **given)
    assert trained.run_id == config.run_id and trained.differs_from(config) is None and trained.keep_model


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


def test_the_page_names_every_run_an_estimate_and_where_it_opens(tmp_path):
    text = adopt.markdown([], "https://colab.example/train.ipynb")
    assert text.startswith("At size full there are 0 of the 511 numbers of LogitNorm and 0 of the 252 numbers of Learned")
    assert "an **estimate**" in text and text.count("[open](https://colab.example/train.ipynb)") == len(adopt.missing([]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1, "a cell holds a stroke"
    assert f"{adopt.hours(Config(), 'T4'):.1f} h" in text
