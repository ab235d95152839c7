"""The valley, the mirror and the branches of the offset: against the library's loss and scores, and worked cases."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from fake_runs import write_run
from logitnorm import losses, metrics, scores
from logitnorm.book import hidden
from logitnorm.study import branches, intervention, label_noise, offset, repair, results
from scipy import stats

K = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder, format=1, method="logitnorm", tau=0.04, architecture="wrn10_2", n_id=120, n_ood=40)
    return results.load_all(folder)[0]


def test_the_valley_passes_through_the_network_itself(run):
    f, y = (run.tensor(f"cifar10/{name}") for name in ("logits", "labels"))
    f = f.astype(float)
    m, c = f.mean(axis=1), f - f.mean(axis=1, keepdims=True)
    for tau in (0.01, 0.04, 0.2):
        loss, s, confidence = branches.stretched_loss(m, c, y, tau, 1.0)
        assert loss == pytest.approx(losses.logitnorm(torch.from_numpy(f), torch.from_numpy(y).long(), tau, eps=0.0).item(), rel=1e-9)
        assert s == pytest.approx((np.linalg.norm(c, axis=1) / np.linalg.norm(f, axis=1)).mean() / tau)
        assert confidence == pytest.approx(scores.msp(scores.normalised(f, tau)).mean(), rel=1e-6)
        assert branches.stretched_loss(m, c, y, tau, -1.0) == pytest.approx((loss, s, confidence)), "the mirror image"
        assert branches.stretched_loss(m, c, y, tau, 0.0)[1] == pytest.approx(1 / tau), "no offset: tau is what is asked for"


def test_the_valleys_energy_is_the_librarys(run):
    found = branches.valley(run, taus=(0.04,))
    assert found["shares"][len(found["shares"]) // 2] == 0 and found["loss"].shape == (1, len(found["shares"]))
    assert found["loss"][0] == pytest.approx(found["loss"][0, ::-1]), "even in the offset"
    six = list(run.config.ood_sets)
    own, centred = (np.mean([metrics.fpr95(*(scores.energy(change(run.tensor(f"{name}/logits").astype(float))) for name in ("cifar10", ood)))
                             for ood in six]) for change in (np.asarray, scores.centred))
    assert found["energy"][len(found["shares"]) // 2] == pytest.approx(centred) and found["energy_own"][0] == pytest.approx(own)
    assert f"Energy's mean FPR95 is {own:.1f} % there" in branches.valley_said(found)
    assert found["raw"]["loss"] == pytest.approx(
        losses.cross_entropy(*(torch.from_numpy(run.tensor(f"cifar10/{name}").astype(kind)) for name, kind in
                               (("logits", float), ("labels", np.int64)))).item(), rel=1e-6)
    assert f"{found['own']:+.2f}" in branches.valley_said(found)


def test_the_bottom_is_where_the_theory_puts_it():
    """All images with one offset ratio: the bottom of the valley is the arm of the fork of its s*."""
    rng = np.random.default_rng(0)
    y = rng.integers(K, size=600)
    seen = np.where(rng.random(600) < 0.9, y, (y + 3) % K)
    c = scores.centred(np.eye(K)[seen] + 0.15 * rng.normal(size=(600, K)))
    c /= np.linalg.norm(c, axis=1, keepdims=True)
    m = np.full(600, 1 / math.sqrt(K))  # a share of 1
    grid = np.linspace(1, 30, 2901)
    s_star = grid[np.argmin([losses.cross_entropy(torch.from_numpy(s * c), torch.from_numpy(y)).item() for s in grid])]
    for tau in (0.02, 0.04, 1 / s_star * 1.5):
        assert branches.deepest(m, c, y, tau) == pytest.approx(offset.fork(tau, s_star)[0], abs=0.02)


def test_a_mirrored_network_has_the_loss_and_the_answers_of_the_first(run):
    f, y = run.tensor("cifar10/logits").astype(float), torch.from_numpy(run.tensor("cifar10/labels")).long()
    turned = f - 2 * f.mean(axis=1, keepdims=True)
    one, other = (torch.from_numpy(g) for g in (f, turned))
    torch.testing.assert_close(losses.logitnorm(one, y, 0.04), losses.logitnorm(other, y, 0.04))
    torch.testing.assert_close(one.softmax(1), other.softmax(1))
    [row] = branches.mirrored([run]).itertuples()
    by_hand = np.mean([metrics.fpr95(scores.energy(turned), scores.energy(g - 2 * g.mean(axis=1, keepdims=True)))
                       for g in (run.tensor(f"{name}/logits").astype(float) for name in run.config.ood_sets)])
    assert row.mirrored == pytest.approx(by_hand) and row.offset == pytest.approx(f.mean())
    assert row.own == pytest.approx(np.mean([metrics.fpr95(scores.energy(f), scores.energy(run.tensor(f"{name}/logits").astype(float)))
                                             for name in run.config.ood_sets]))
    assert f"{row.mirrored:.1f} %" in branches.mirror_said(branches.mirrored([run]))
    assert branches.mirror_said(branches.mirrored([])) == ""


def test_each_images_temperature_by_hand(run):
    assert np.isnan(branches.of_images([run])["right"].item()), "it is right on all of its images"
    f, y = run.tensor("cifar10/logits").astype(float), np.roll(run.tensor("cifar10/labels").astype(int), 1)
    arrays = {"cifar10/logits": f, "cifar10/labels": y}
    run = SimpleNamespace(config=run.config, tensor=arrays.get, has=arrays.__contains__, correct=f.argmax(axis=1) == y)
    [row] = branches.of_images([run]).itertuples()
    q = f / (0.04 * np.linalg.norm(f, axis=1, keepdims=True))
    s = np.linalg.norm(q - q.mean(axis=1, keepdims=True), axis=1)
    assert row.s == pytest.approx(s.mean()) and row.spread == pytest.approx(100 * s.std() / s.mean())
    assert row.own == pytest.approx(metrics.nll(q, y)), "the loss that LogitNorm trains"
    c = f - f.mean(axis=1, keepdims=True)
    unit = c / np.linalg.norm(c, axis=1, keepdims=True)
    assert row.common == pytest.approx(min(metrics.nll(at * unit, y) for at in np.linspace(0.1, 25, 2000)), abs=1e-4)
    right = f.argmax(axis=1) == y
    assert row.right == pytest.approx(100 * np.mean([(a > b) + (a == b) / 2 for a in s[right] for b in s[~right]]))
    found = branches.of_images([run])
    assert len(branches.images_table(found)) == 1 and branches.images_said(found[:0]) == ""
    assert f"{row.own:.3f} nats" in branches.images_said(found)
    assert "is smaller" in branches.images_said(found.assign(own=0.1, common=0.2))
    assert "not smaller in every run" in branches.images_said(found.assign(own=0.3, common=0.2))
    other = pd.concat([found.assign(own=0.1, common=0.2), found.assign(architecture="wrn40_2", net="WRN-40-2", own=0.3, scaled=0.1, common=0.2)])
    assert branches.images_said(other).endswith("0.200. Not so in WRN-40-2 (0.300 against 0.200 nats; with one factor on all 0.100): their level is wrong on test images, "
                                                "their order is not.")
    assert branches.images_said(other.assign(scaled=0.25)).endswith("with one factor on all 0.250).")
    assert row.scaled == pytest.approx(min(metrics.nll(by * q, y) for by in np.linspace(0.05, 3, 3000)), abs=1e-4)
    assert branches.as_max_said(found.assign(as_max=0.99)).endswith("(rank correlation 0.990).") and branches.as_max_said(found[:0]) == ""
    assert row.as_max == pytest.approx(stats.spearmanr(scores.msp(f), c.max(axis=1)).statistic)


def test_the_tip_of_the_fork_is_where_the_curvature_in_a_shared_offset_turns():
    """90 right images with ||c|| = 2 and 10 wrong ones with 1: s* and the tip by grid, and the second derivative of the loss by autograd."""
    K, unit = 10, np.full(10, -1 / 10) + np.eye(10)[0]
    unit /= np.linalg.norm(unit)
    c, y = np.concatenate([np.tile(2 * unit, (90, 1)), np.tile(unit, (10, 1))]), np.repeat([0, 1], [90, 10])
    s_star, tip = branches.tips(c, y)
    assert (s_star, tip) == pytest.approx((label_noise.wanted(0.1, K), label_noise.wanted(10 / (10 + 90 / 4), K))), "the wrong ones count four times"
    grid = np.linspace(1, 12, 1101)
    assert s_star == pytest.approx(grid[np.argmin([metrics.nll(s * c / np.linalg.norm(c, axis=1, keepdims=True), y) for s in grid])], abs=0.01)
    for at, sign in ((0.98, 1), (1.02, -1)):
        m = torch.zeros((), dtype=torch.float64, requires_grad=True)
        loss = losses.logitnorm(torch.from_numpy(c) + m, torch.from_numpy(y), 1 / (at * tip), eps=0.0)
        [slope] = torch.autograd.grad(loss, m, create_graph=True)
        [curvature] = torch.autograd.grad(slope, m)
        assert curvature.item() * sign > 0
    assert branches.tips(c[:90], y[:90]) == (math.inf, math.inf) and branches.tips_said([]) == ""


def histories() -> pd.DataFrame:
    """Three seeds, of which the last changes its side after the start; s follows the accuracy alone, tau differs."""
    rows = []
    for seed, shares in ((1, (-0.5, -3.0, -2.0)), (2, (0.5, 3.5, 2.0)), (3, (-0.1, 2.5, 2.0))):
        for epoch, share in enumerate(shares):
            rows.append({"run": f"r{seed}", "size": "small", "architecture": "wrn10_1", "tau": 0.01 * seed, "nominal": 100 / seed, "seed": seed, "lr": 0.2,
                         "epoch": epoch, "share": share, "train_accuracy": 50.0 + 10 * epoch + seed, "s": 5.0 + 10 * epoch + seed})
    return pd.DataFrame(rows)


def test_branches_are_counted_by_hand():
    said = branches.branch_said(histories())
    assert said.startswith("**2 of 3 seeds go up, 1 go down") and "is 3.0 on either side, at the end 2.0" in said
    assert "branch in 2 of 3 (Fisher's exact test, p = 0.67), the side after one epoch in 3." in said
    assert branches.branch_said(histories()[:0]) == "" == branches.fitting_said(histories()[:0])


def test_what_follows_the_accuracy_is_told_from_what_follows_tau():
    rows = histories()
    rows = pd.concat([rows, rows.assign(epoch=rows["epoch"] + 3, s=rows["s"] + 30, train_accuracy=rows["train_accuracy"] + 30)])
    assert "s rises all the way in 3 of 3 runs" in branches.fitting_said(rows)
    assert "s rises all the way in 2 of 3 runs" in branches.fitting_said(rows.assign(s=rows["s"].where((rows["epoch"] != 5) | (rows["seed"] != 1), 6.0)))
    last = pd.DataFrame({"run": [*"abcd"], "size": "small", "architecture": "wrn10_2", "tau": [0.01, 0.02, 0.04, 0.05], "nominal": [100, 50, 25, 20], "seed": 1,
                         "lr": 0.2, "epoch": 12, "share": 2.0, "train_accuracy": [90.0, 88.0, 90.5, 89.0], "s": [14.0, 13.5, 13.0, 12.0]})
    said = branches.fitting_said(last)
    assert "the last of 4 runs of WRN-10-2" in said and "from 12.0 to 14.0 (17 %) for 20 to 100, though all are right on 88.0 to 90.5 % of" in said
    assert "the last of 3 runs of WRN-10-2" in branches.fitting_said(last.assign(nominal=[100, 50, 25, 12.5])), "1/τ bounds the last"
    own = last.assign(run="o", size="full", architecture="wrn40_2", tau=0.04, epoch=[1, 2, 3, 4], train_accuracy=[80.0, 90.0, 85.0, 95.0], s=[8.0, 9.0, 9.5, 10.0])
    assert "with the first epoch too in 4 (in the paper's own training 17 % of the pairs of epochs are in the other order). But" in branches.fitting_said(pd.concat([last, own]))
    assert "And" not in said, "there is one network"
    more = pd.concat([last, last[2:3].assign(run="e", architecture="resnet20", train_accuracy=95.0, s=11.0)])
    assert "And ResNet-20 is right on 95 % of its training images at s = 11.0, WRN-10-2 on 90 % at 13.0" in branches.fitting_said(more)
    assert set(branches.fitted(rows)["epoch"]) == {2, 3, 4, 5}, "without the start and the first epoch"
    assert branches.fitted(rows.assign(size="full")).empty, "the paper's own training has a figure of its own"


def test_the_papers_own_training_is_told_stage_by_stage():
    rates = [math.nan, *3 * [0.1], *2 * [0.01], 0.001]
    rows = pd.DataFrame({"run": "a", "size": "full", "architecture": "wrn40_2", "tau": 0.04, "nominal": 25.0, "seed": 1, "epoch": range(7), "rate": rates,
                         "s": [2.0, 5, 9, 10, 14, 16, 22.5], "share": [0.1, -4, -3, -2, -1.5, -1.2, -0.5], "train_accuracy": [math.nan, 50, 70, 86, 94, 96, 99.5]})
    assert branches.own_stages(rows)["epoch"].tolist() == [3, 5, 6]
    said = branches.own_said(rows)
    assert said.startswith("**In the first 3 of 6 epochs WRN-40-2 trains at an inverse temperature of at most 10.0, not at the 25 that τ = 0.04 asks for**: at their end it is right on 86 %")
    assert "16.0 at epoch 5, and 22.5 at the end, with 99.5 % right. The offset ratio falls from 4.0 in epoch 1 and 2.00 at epoch 3 to 0.50" in said and "within 10 % of 1/τ; in the last ten epochs it still rises by 17.5." in said
    assert branches.own_short(rows) == "Our training of the paper's network, for which 1/τ = 25, is at 10 after 3 epochs and at 22 at the end, after 6 (training images)."
    more = pd.concat([rows.assign(run="b", architecture="resnet34", epoch=rows["epoch"] + 9), rows[rows["epoch"] < 6].assign(run="c"), rows], ignore_index=True)
    assert branches.own_said(more) == said, "another network, and a shorter run, stay out"
    for other in (rows.assign(size="small"), rows.assign(tau=0.01), rows[rows["epoch"] < 4]):
        assert branches.own_said(other) == branches.own_short(other) == ""


def test_two_trainings_of_one_network_are_compared_at_the_same_training_accuracy():
    accuracy = np.linspace(50, 99, 50)
    own = pd.DataFrame({"run": "a", "size": "full", "architecture": "wrn40_2", "tau": 0.04, "seed": 1, "epoch": range(1, 51), "train_accuracy": accuracy,
                        "s": 0.2 * accuracy})
    short = own.assign(run="b", size="medium", train_accuracy=accuracy[::-1], s=0.2 * accuracy[::-1] * np.where(np.arange(50) == 30, 1.1, 1.0))
    said = branches.same_curve_said(pd.concat([own, short]))
    assert "differs by 0.0 % in the median and 10 % at most, in the 49 epochs of the shorter one" in said and "while s goes from 10.0 to 19.6" in said
    gap = own[(own["train_accuracy"] < 60) | (own["train_accuracy"] > 70)]
    assert "in the 37 epochs of the shorter one" in branches.same_curve_said(pd.concat([gap, short])), "what the longer one jumped over is left out"
    assert branches.same_curve_said(own) == branches.same_curve_said(short) == ""


def test_committed_histories_begin_near_zero_and_end_on_an_arm():
    loaded = offset.load()
    rows = branches.histories(loaded)
    ends = rows[(rows["tau"] < 0.05) & (rows["size"] != "full")].groupby("run").agg(share=("share", "last"), s=("s", "last"), tau=("tau", "last"))
    assert len(ends) >= 20 and (ends["share"].abs() > 0.9).all()
    # the share of the mean image and s of all images, each averaged on its own images: near the theory, not equal
    arm = [offset.ratio(s, tau).item() for s, tau in zip(ends["s"], ends["tau"])]
    assert np.allclose(ends["share"].abs(), arm, rtol=0.15)


def test_the_measurement_on_training_images_is_of_committed_weights():
    loaded = {run.id: run for run in offset.load()}
    stands = branches.training_valleys()
    for row in stands:
        assert loaded[row["run"]].info["files"]["model.safetensors"] == row["weights"]
        test = row["test"]
        assert test["accuracy"] == pytest.approx(loaded[row["run"]].info["test_accuracy"], abs=0.2)
        assert all(row[name]["least_loss"] <= row[name]["loss"] + 1e-9 for name in ("training", "test"))
    table = branches.training_table(stands, list(loaded.values()))
    assert len(table) == len(stands) >= 2 and len(branches.training_table(stands, [])) == 0
    made = {"images": 10, "accuracy": 90.0, "factor": 0.9, "loss_without": 2.0, "loss": 1.01, "least_loss": 1.0, "own": 9.0, "bottom": 10.0}
    said = branches.training_said([{"run": "a", "training": made, "test": {**made, "bottom": 8.0}},
                                   {"run": "b", "training": {**made, "loss": 1.5, "accuracy": 99.0, "bottom": 9.5}, "test": made}])
    assert said.startswith("**1 of 2 networks have saved more than 95 %") and "right on 99 % of them, has saved 50 % of what is only 1.000" in said
    assert "are 5 to 10 % below" in said and "In 1 of 2" in said
    done = {**made, "factor": 1e-6, "accuracy": 99.9, "own": 22.2, "bottom": 25.0, "loss": 0.0019, "least_loss": 0.0018, "loss_without": 0.0018}
    closed = {"run": "b", "training": done, "test": made}
    assert "where 99.9 % of the training images are right, the fork has closed**: without dropout the bottom lies at no offset, s = 25, and the network, at 22.2, has 0.0001 nats" in (
        branches.training_said([{"run": "a", "training": made, "test": {**made, "bottom": 8.0}}, closed]))


def test_the_explorer_holds_the_valley(run):
    found = branches.valley(run)
    block = BeautifulSoup(hidden.valley_block(found).data, "html.parser")
    content = json.loads(block.find("script", type="application/json").string)
    assert content["data"]["taus"] == list(branches.TAUS) and len(content["data"]["loss"]) == len(branches.TAUS)
    assert content["data"]["loss"][3] == pytest.approx(found["loss"][3], abs=1e-4)
    assert block.find("button").get_text() and all(c.find_parent("label") for c in block.select("[data-control]"))


def test_predictions_are_shown_in_their_order_with_a_word_each():
    judged = pd.DataFrame({"written": ["2026-01-01"] * 3, "prediction": ["a < b", "second", "third"], "known then": ["none"] * 3,
                           "became": ["held", "did not hold", "not yet run"], "numbers": ["1", "2", ""]})
    items = BeautifulSoup(hidden.predictions_block(judged).data, "html.parser").find_all("li")
    assert [item.find("strong").get_text() for item in items] == ["✓ held", "✗ did not hold", "○ open"]
    assert "a < b" in items[0].get_text()


def test_figures_draw_what_there_is(run):
    loaded = offset.load()
    frame, history = offset.temperatures(loaded), branches.histories(loaded)
    for figure in (hidden.temperature_figure(frame), hidden.branch_figure(history), hidden.fitting_figure(history),
                   hidden.mirror_figure(branches.mirrored([run])), hidden.valley_figure(branches.valley(run)),
                   hidden.intervention_figure(intervention.interventions(loaded)), hidden.repair_figure(repair.repairs(loaded))):
        assert all(ax.has_data() for ax in figure.axes)


def test_the_figure_of_images_has_a_mark_for_every_twentieth(run):
    fig, alt = hidden.images_figure(branches.kept_logits([run]))
    [marks] = fig.axes[0].collections
    length, s = branches.lengths(run)
    np.testing.assert_allclose(marks.get_offsets(), np.column_stack([length, s])[::20])
    assert "τ = 0.04" in alt
