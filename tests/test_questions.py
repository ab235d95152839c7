"""The answers to the official repository's issues must say what the runs say, also when there are none."""

import numpy as np
import pytest
from fake_runs import write_grid, write_run
from logitnorm import metrics
from logitnorm.study import questions, results


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_grid(folder, format=1, seeds=(1, 2))
    for tau in (0.0085, 0.04):
        write_run(folder, format=1, method="logitnorm", id_dataset="cifar100", tau=tau, extra_sets=("gaussian_noise",))
    return results.load_all(folder)


@pytest.mark.parametrize("answer", questions.WRITTEN.values(), ids=questions.WRITTEN)
def test_without_a_run_an_answer_says_so(answer):
    assert answer([]) == questions.NONE


@pytest.mark.parametrize("answer", questions.WRITTEN.values(), ids=questions.WRITTEN)
def test_an_answer_has_numbers(answer, loaded):
    assert any(sign.isdigit() for sign in answer(loaded)) and "nan" not in answer(loaded)


def test_energy_is_that_of_the_formula_at_each_temperature(loaded):
    found = questions.energy(loaded)
    runs = [run for run in loaded if run.config.id_dataset == "cifar10" and run.config.method == "logitnorm"]
    for T in (0.1, 10.0):
        each = []
        for run in runs:
            f = {name: run.tensor(f"{name}/logits").astype(float) for name in ("cifar10", *run.config.ood_sets)}
            score = {name: T * np.log(np.exp((g - g.mean(1, keepdims=True)) / T).sum(1)) for name, g in f.items()}
            each.append(np.mean([metrics.fpr95(score["cifar10"], score[name]) for name in run.config.ood_sets]))
        assert found["WRN-10-2, LogitNorm", "f − m"][T] == pytest.approx(np.mean(each))
    said = questions.energy_said(found)
    assert f"{found['WRN-10-2, LogitNorm', 'f'][1.0]:.1f} % at T = 1" in said


def test_near_sets_are_near_and_far_sets_far(loaded):
    table = questions.near_and_far(loaded)
    run = next(run for run in loaded if run.config.method == "cross_entropy" and run.config.seed == 1)
    other = next(run for run in loaded if run.config.method == "cross_entropy" and run.config.seed == 2)
    near = [metrics.fpr95(r.score("msp", "cifar10"), r.score("msp", "cifar100")) for r in (run, other)]  # the only near set scored
    row = table[table["", "loss"] == "Cross-entropy"].iloc[0]
    assert row["FPR95 ↓", "near"] == f"{np.mean(near):.1f} ± {np.std(near, ddof=1):.1f}"


def test_near_and_far_of_no_run_is_an_empty_table():
    assert questions.near_and_far([]).empty


def test_the_harder_of_crop_and_resize_is_counted(loaded):
    def harder(run):
        inside = run.score("msp", "cifar10")
        return metrics.fpr95(inside, run.score("msp", "lsun_like_crop")) > metrics.fpr95(inside, run.score("msp", "lsun_like_resize"))
    for method, name in (("cross_entropy", "Cross-entropy"), ("logitnorm", "LogitNorm")):
        runs = [run for run in loaded if run.config.id_dataset == "cifar10" and run.config.method == method]
        assert f"{name}: the crops are harder in {sum(map(harder, runs))} of 2 runs" in questions.crop_or_resize(loaded)
