"""The first screen: ten images and what two networks say of them, against numpy and the images themselves."""

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from fake_runs import write_grid
from logitnorm import paths
from logitnorm.book import front, lists
from logitnorm.study import ledger, paper, results


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_grid(folder, format=1, seeds=(1,), architecture="wrn10_2", epochs=12)  # their logits are those of every image
    return results.by_size(folder, ("full", "small"))


def measured(loaded):
    """What metrics.csv has for cross-entropy and for LogitNorm: the mean FPR95 by MSP over the far OOD sets."""
    found = {}
    for run in loaded["small"]:
        rows = run.metrics.query("metric == 'fpr95' and score == 'msp'")
        found[run.config.method] = rows.loc[rows["ood_dataset"].isin(run.config.ood_sets), "value"].mean()
    return found["cross_entropy"], found["logitnorm"]


@pytest.fixture
def ten(monkeypatch):
    """Images that the fake runs have scored."""
    pixels, _, source = front.thumbnails("front")
    images = pd.DataFrame({"set": ["cifar10"] * 5 + ["svhn_part"] * 5, "index": range(10), "label": [3, 7, 3, 2, 0] + [None] * 5})
    monkeypatch.setattr(front, "thumbnails", lambda name: (pixels, images, source))
    return images


def test_an_answer_is_the_softmax_and_the_threshold_of_95_percent(loaded, ten):
    [run] = [run for run in loaded["small"] if run.config.method == "logitnorm"]
    found = front.answers(run, ten)
    inside = np.exp(run.tensor("cifar10/logits").astype(float))
    inside = (inside / inside.sum(1, keepdims=True)).max(1)
    for i, row in enumerate(found.itertuples()):
        f = run.tensor(f"{ten['set'][i]}/logits")[i].astype(float)
        p = np.exp(f) / np.exp(f).sum()
        assert row.said == paper.CLASSES[p.argmax()] and row.percent == pytest.approx(100 * p.max(), rel=1e-5)
        assert row.accepted == (np.mean(inside >= p.max()) <= 0.95 or p.max() >= np.sort(inside)[len(inside) // 20])
        assert row.right == (row.accepted == (i < 5))


def test_the_first_screen_says_of_each_image_what_both_networks_say(loaded, ten):
    text = front.first_screen(loaded, ledger.build(loaded))
    page = BeautifulSoup(re.search("```{raw} html\n(.*)```", text, re.S)[1], "html.parser")
    assert len(page.find_all("img")) == 10 and all(len(image["alt"].split()) >= 3 for image in page.find_all("img"))
    told = [cell.get_text(" ", strip=True) for cell in page.select("tbody td")]
    assert len(told) == 20 and all(re.fullmatch(r"\w+ \d+\s% [✓✗]\s(in|out)", cell) for cell in told)
    for cell in page.select("tbody td"):
        table, [mark] = cell.find_parent("table"), cell.select("strong")
        familiar = "Familiar" in table.caption.text
        assert mark["class"] == (["right"] if ("in" in mark.text) == familiar else ["wrong"])
    assert [door["href"] for door in page.select("nav.doors a")] == [target for target, _, _ in front.DOORS]


def test_without_runs_the_first_screen_says_so_and_shows_the_papers_numbers():
    empty = {"full": [], "small": []}
    text = front.first_screen(empty, ledger.build(empty))
    assert "not yet run" in text and "49.5 to 15.7" in text and "<img" not in text


def test_the_sentence_has_the_runs_numbers(loaded, ten):
    lines = ledger.build(loaded)
    assert "from {:.1f} to {:.1f} %".format(*measured(loaded)) in front.first_screen(loaded, lines)


def test_full_runs_on_stand_ins_are_not_called_the_papers_setting(tmp_path):
    write_grid(tmp_path, seeds=(1,), size="full", ood_sets=("textures_part", "svhn_part", "isun"), history_ood="svhn_part", n_id=60, n_ood=20)
    full = results.by_size(tmp_path, ["full"])
    lines = ledger.build({**full, "small": []}).assign(size="full", ours_short="54.5 → 19.3")
    assert "2 of 3 sets here are stand-ins" in front.first_screen({**full, "small": []}, lines)


@pytest.mark.parametrize("language", front.SUMMARIES)
def test_a_summary_in_another_language_has_the_runs_numbers(loaded, language):
    lines = ledger.build(loaded)
    said = front.summary(language, lines, loaded)
    assert "**{:.1f} → {:.1f} %**".format(*measured(loaded)) in said and "49.5 → 15.7 %" in said
    run = paper.chosen(loaded["small"], "logitnorm")[0]
    stand_ins = sum(name != paper.counterpart(name) for name in run.config.ood_sets)
    numbers = list(map(int, re.findall(r"\d+", said.split("WRN-10-2", 1)[1])))[:4]
    assert numbers == [12, 1, len(run.config.ood_sets), stand_ins], "network, epochs, seeds and sets are named"
    assert "$c$" not in said
    ran = lines["id"] == "confidence-vgg13-cifar10"
    vgg13 = lines.assign(size=lines["size"].where(~ran, "small"), ours_short=lines["ours_short"].where(~ran, "46.6 → 48.6"))
    vgg13["runs"] = [[run.id] if one else runs for one, runs in zip(ran, vgg13["runs"])]
    last = front.summary(language, vgg13, loaded).splitlines()[-1]
    assert "$c$" in last and "46.6 → 48.6 %" in last and "41.2 → 16.3 %" in last and "VGG13" in last
    empty = {"full": [], "small": []}
    assert "**" not in front.summary(language, ledger.build(empty), empty)
    page = (paths.ROOT / f"book/summary_{language}.md").read_text(encoding="utf-8")
    assert f"\nlanguage: {language.replace('zh', 'zh-Hans')}\n" in page and "分布外" in page
    assert f"generated/summary_{language}.md" in page and not re.search(r"\d\d\.\d", page), "a number that nothing computes"


def test_the_small_ledger_has_every_claim_once_and_in_its_group(loaded):
    lines = ledger.build(loaded)
    page = BeautifulSoup(lists.claims_in_small(lines), "html.parser")
    links = [link["href"].rpartition("-claim-")[2] or link["href"] for link in page.select("td a")]
    assert sorted(link.partition("#claim-")[2] for link in links) == sorted(lines["id"])
    counts = [int(re.search(r": (\d+) of", summary.text)[1]) for summary in page.select("summary")]
    assert sum(counts) == len(lines) and counts == [len(details.select("tbody tr")) for details in page.select("details")]


def test_the_picture_tells_in_words_what_it_shows(loaded, ten):
    fig, alt = front.picture(loaded, ledger.build(loaded), dark=True)
    assert alt.count("accepted") + alt.count("rejected") == 20 and tuple(fig.get_size_inches() * 100) == (1200, 630)


def test_the_pictures_of_readme_are_there():
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r'data/thumbnails/[\w-]+\.png', text):
        assert (paths.ROOT / name).stat().st_size > 10_000
