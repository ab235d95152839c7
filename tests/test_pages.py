"""What prose pages say in code and numbers is true: their blocks run, their errata follow, their names are right."""

import re

import numpy as np
import pytest
import torch
import yaml
from logitnorm import data, losses, models
from logitnorm.paths import ROOT
from logitnorm.study import paper


def test_the_code_of_the_page_use_runs(tmp_path, monkeypatch, capsys):
    """Every Python block of book/use.md, in order, in one namespace, as a reader would run them."""
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "SETS", dict(data.SETS))
    torch.manual_seed(0)
    head = torch.nn.Linear(12, 10)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten(), head)
    torch.save(models.build("wrn10_1", 10).state_dict(), "mine.pt")
    rng = np.random.default_rng(0)
    space = dict(net=net, head=head, x=torch.randn(8, 3, 32, 32), y=torch.arange(8),
                 id_logits=3 * rng.normal(size=(60, 10)), ood_logits=rng.normal(size=(60, 10)),
                 id_labels=rng.integers(10, size=60), images=torch.randint(256, (6, 32, 32, 3), dtype=torch.uint8),
                 my_images=rng.integers(256, size=(5, 40, 50, 3), dtype=np.uint8))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "book" / "use.md").read_text(), re.S)
    assert len(blocks) >= 6
    for block in blocks:
        exec(compile(block, "book/use.md", "exec"), space)
    assert head.weight.grad is not None and head.weight.grad.abs().sum() > 0
    assert space["gradnorm_scores"].shape == space["odin_scores"].shape == (6,)
    assert np.mean(space["accepted"]) < 0.95 and space["images"].shape == (5, 32, 32, 3)
    assert {"fpr95", "ece"} <= set(re.findall(r"\w+", capsys.readouterr().out))


def test_the_errata_are_in_the_numbers():
    text = (ROOT / "book" / "errata.md").read_text()

    def mean(table, method, metric, **where):
        rows = paper.numbers(table)
        for column, value in (where | dict(method=method, metric=metric)).items():
            rows = rows[rows[column] == value]
        rows = rows[rows["ood_dataset"].isin(paper.SIX)]
        assert len(rows) == 6
        return rows["paper"].mean()

    found = [mean("9", "cross_entropy", "fpr95", architecture="densenet"),
             mean("9", "logitnorm", "fpr95", architecture="densenet"),
             mean("9", "cross_entropy", "auroc", architecture="densenet"), mean("7", "godin", "auroc")]
    for value in found:
        assert f"{value:.2f}" in text, f"{value:.2f} is not on the page"
    assert mean("7", "godin", "fpr95") == pytest.approx(25.24, abs=0.006)
    for metric, printed in (("fpr95", 58.49), ("auroc", 85.73), ("aupr", 96.42)):
        assert mean("1", "logitnorm", metric, id_dataset="cifar100") == pytest.approx(printed, abs=0.006)
        two = paper.numbers("2").query("id_dataset == 'cifar100' and method == 'logitnorm' and score == 'msp' "
                                       "and metric == @metric")
        assert f"{two['paper'].item():.2f}" in text and f"{printed}" in text
    curve = paper.figure(1).set_index("epoch")["id_test"]
    assert f"epoch {curve.idxmax()} ({curve.max():.1f};" in text
    assert curve.iloc[-1] == pytest.approx(12.8, abs=0.01)


def test_the_questions_quote_the_infimum_rightly():
    text = (ROOT / "book" / "questions.md").read_text()
    assert f"{losses.infimum(0.1, 100):.4f}" in text
    digits, power = f"{losses.infimum(0.04, 100):.1e}".split("e")
    assert rf"{digits} \cdot 10^{{{int(power)}}}" in text


def test_the_repositorys_address_on_the_citing_page():
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert url in (ROOT / "book" / "cite.md").read_text()
