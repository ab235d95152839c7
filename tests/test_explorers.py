"""The explorers: their counts against logitnorm.metrics, and in a browser against the library's own numbers."""

import json
import math
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from fake_runs import write_grid
from hypothesis import given
from hypothesis import strategies as st
from logitnorm import losses, metrics
from logitnorm.book import build, explorers, hidden
from logitnorm.study import branches, results

SCORES_WITH_TIES = st.lists(st.integers(-20, 20).map(lambda x: x / 8), min_size=1, max_size=90)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """One run of each method, of different sizes; 211 and 47 images: shares that no rounding makes even."""
    folder = tmp_path_factory.mktemp("runs")
    write_grid(folder, format=1, seeds=(1,), n_id=211, n_ood=47)
    return results.load_all(folder)


# ---------------------------------------------------------------- the numbers

@given(SCORES_WITH_TIES)
def test_each_position_is_the_highest_threshold_that_keeps_its_share(id_scores):
    id_scores = np.array(id_scores)
    found = explorers.thresholds(id_scores)
    for j, threshold in enumerate(found, start=1):
        keeps = [t for t in id_scores if np.mean(id_scores >= t) * explorers.STEPS >= j - 1e-9]
        assert threshold == max(keeps)
    assert found[round(0.95 * explorers.STEPS) - 1] == metrics.threshold95(id_scores)


def test_counts_are_those_of_the_metrics(loaded):
    data = explorers.threshold_data(loaded)
    assert [run["title"] for run in data["runs"]] == [explorers.run_title(run) for run in loaded]
    at95 = round(0.95 * explorers.STEPS) - 1
    for run, shown in zip(loaded, data["runs"]):
        for score, entry in zip(explorers.score_names(run), shown["scores"]):
            id_scores = run.score(score, run.config.id_dataset)
            assert sum(entry["id"]["added"][:at95 + 1]) == (id_scores >= metrics.threshold95(id_scores)).sum()
            assert len(entry["sets"]) == len(run.sets) - 1
            for name, found in zip(run.sets[1:], entry["sets"]):
                # metrics.csv was written by the trainer, from the same arrays
                printed = run.metrics.query("score == @score and ood_dataset == @name").set_index("metric")["value"]
                assert 100 * sum(found["added"][:at95 + 1]) / found["n"] == pytest.approx(printed["fpr95"], abs=1e-9)
                assert found["auroc"] == pytest.approx(printed["auroc"], abs=0.00501)
            for images in (entry["id"], *entry["sets"]):
                assert sum(images["histogram"]) == images["n"] and len(images["added"]) == explorers.STEPS
                assert min(images["added"]) >= 0
            assert sum(entry["id"]["added"]) == entry["id"]["n"]


def test_a_score_of_the_methods_own_can_be_chosen():
    class Stub:
        metrics = pd.DataFrame({"score": ["", "msp", "confidence", "confidence"]})

    assert explorers.score_names(Stub()) == ["msp", "confidence"]


@pytest.mark.parametrize("K", [3, 10, 100])
@pytest.mark.parametrize("norm", [0.1, 10.0])
def test_the_example_logits_have_the_stated_norm_and_angle(K, norm):
    best = np.full(K, -1 / K)
    best[0] += 1
    for angle in (0, 35, 90, 180):
        f = explorers.example_logits(norm, angle, K).numpy()
        assert np.linalg.norm(f) == pytest.approx(norm, rel=1e-12)
        cosine = f @ best / norm / np.linalg.norm(best)
        assert cosine == pytest.approx(np.cos(np.radians(angle)), abs=1e-12)
        assert f[1] == max(f[1:])


def test_the_losses_are_those_of_the_library_and_exact_where_tiny():
    y = torch.tensor([0])
    for norm, tau, angle, K in ((0.1, 2.0, 180, 10), (5.0, 0.04, 50, 100), (10.0, 0.3, 30, 10)):
        f, found = explorers.example_logits(norm, angle, K)[None], explorers.norm_values(norm, tau, angle, K)
        assert found["ce_loss"] == pytest.approx(losses.cross_entropy(f, y).item(), abs=1e-13)
        assert found["ln_loss"] == pytest.approx(losses.logitnorm(f, y, tau).item(), abs=1e-13)
    exact = math.log1p(9 * math.exp(-100 * math.sqrt(10 / 9)))  # 1.5e-45, the best direction at norm 100
    assert explorers.norm_values(100.0, 0.04, 0, 10)["ce_loss"] == pytest.approx(exact, rel=1e-9, abs=0)


def test_a_start_off_the_scale_is_refused():
    with pytest.raises(ValueError, match="tau = 0.123 is not on the explorer's scale: choose one of"):
        explorers.norm_block(0.123, 10.0, 30, 10)


# ---------------------------------------------------------------- the block

def content(block):
    return json.loads(BeautifulSoup(block.data, "html.parser").find("script", type="application/json").string)


def test_a_block_labels_its_controls_places_its_numbers_and_needs_no_network(loaded):
    for block in (explorers.threshold_block(loaded), explorers.norm_block(0.04, 10.0, 30, 10)):
        soup = BeautifulSoup(block.data, "html.parser")
        controls = soup.select("[data-control]")
        assert controls and all(control.find_parent("label").get_text(strip=True) for control in controls)
        assert len(soup.select("[data-value]")) >= 4
        plots = {plot["id"] for plot in soup.select(".explorer-plot") if plot["aria-label"]}
        assert len(plots) == len(soup.select(".explorer-plot")) >= 2
        assert all(re.fullmatch("#[0-9a-fA-F]{6}", look["color"]) for look in content(block)["looks"].values())
        assert "http" not in block.data and len(block.data) < 500_000
        assert [tag["src"] for tag in soup.find_all("script", src=True)] == ["../_static/explorers.js"], "no library is repeated"


def test_a_title_cannot_end_the_script(loaded, monkeypatch):
    monkeypatch.setattr(explorers, "run_title", lambda run: "</script><b>")
    block = explorers.threshold_block(loaded)
    assert content(block)["data"]["runs"][0]["title"] == "</script><b>"
    assert not BeautifulSoup(block.data, "html.parser").select(".explorer b:not([data-shown])")


def test_the_site_gets_the_scripts_only_where_a_page_has_an_explorer(tmp_path):
    (tmp_path / "_static").mkdir()
    page = tmp_path / "page.html"
    page.write_text('<script>const THEBE_JS_URL = "x"</script>\n'
                    '<script async="async" src="_static/sphinx-thebe.js?v=1"></script><p>text</p>')
    build.finish(tmp_path)
    assert page.read_text() == "<p>text</p>" and list((tmp_path / "_static").iterdir()) == []
    page.write_text('<div data-explorer="norm"></div>')
    build.finish(tmp_path)
    assert sorted(path.name for path in (tmp_path / "_static").iterdir()) == ["explorers.js"]


def test_the_static_twins_say_the_numbers(loaded):
    import matplotlib.pyplot as plt

    figure, alt, caption = explorers.threshold_figure(loaded)
    plt.close(figure)
    for run in loaded:
        name = run.sets[1]  # noqa: F841 (the query reads it)
        row = run.metrics.query("score == 'msp' and ood_dataset == @name and metric == 'fpr95'")
        assert f"{row['value'].item():.2f} %" in alt
    assert len(caption) > 40
    figure, alt, caption = explorers.norm_figure(0.04, 10.0, 30, 10)
    plt.close(figure)
    values = explorers.norm_values(10.0, 0.04, 30, 10)
    assert f"{values['infimum']:.3g}" in alt and f"{values['ce_loss']:.3g}" in alt


# ---------------------------------------------------------------- in a browser

@pytest.fixture(scope="module")
def open_block(loaded, tmp_path_factory, browser):
    """open_block(block) -> a page with that block, loaded from disk without a network."""
    site = tmp_path_factory.mktemp("site")
    (site / "_static").mkdir()
    (site / "notebooks").mkdir()
    shutil.copy2(explorers.SCRIPT, site / "_static")

    def go(block):
        path = site / "notebooks" / "page.html"
        path.write_text(f'<!doctype html><html lang="en"><title>t</title><body>{block.data}</body></html>')
        page = browser.new_context(offline=True).new_page()
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text)
                if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready]")
        return page

    return go


def move(page, **controls):
    """Set controls as a reader does: the value, then the event that the browser sends."""
    page.evaluate("""(controls) => { for (const [name, value] of Object.entries(controls)) {
        const control = document.querySelector(`[data-control="${name}"]`);
        control.value = value;
        control.dispatchEvent(new Event("input", { bubbles: true }));
    } }""", controls)


def numbers(page):
    return page.evaluate("Object.fromEntries([...document.querySelectorAll('[data-value]')]"
                         ".map((cell) => [cell.dataset.value, cell.innerText]))")


def test_the_threshold_explorer_shows_the_metrics(loaded, open_block):
    page = open_block(explorers.threshold_block(loaded))
    for r, run in enumerate(loaded):
        for s, score in enumerate(explorers.score_names(run)):
            for o in (0, 3):
                id_scores = run.score(score, run.sets[0])
                ood_scores = run.score(score, run.sets[1 + o])
                for position in (1, 77, 190, 200):
                    move(page, run=r, score=s, set=o, position=position)
                    shown = numbers(page)
                    threshold = explorers.thresholds(id_scores)[position - 1]
                    for key, values in (("tpr", id_scores), ("fpr", ood_scores)):
                        share = 100 * np.mean(values >= threshold)
                        assert float(shown[key].removesuffix(" %")) == pytest.approx(share, abs=0.00501)
                    if position == 190:
                        assert float(shown["fpr"].removesuffix(" %")) == pytest.approx(
                            metrics.fpr95(id_scores, ood_scores), abs=0.00501)
                    assert float(shown["auroc"].removesuffix(" %")) == pytest.approx(
                        metrics.auroc(id_scores, ood_scores), abs=0.0101)
                    assert float(shown["threshold"]) == pytest.approx(threshold, rel=1e-6)
                    assert shown["tpr"] in page.inner_text(".explorer-said")
    assert page.errors == []


def test_the_plots_follow_the_threshold(loaded, open_block):
    page = open_block(explorers.threshold_block(loaded))
    seen = []
    for position in (20, 190):
        move(page, position=position)
        point = page.evaluate("(({ x, y }) => [Number(x), Number(y)])(document.querySelector('#threshold-roc [data-x]').dataset)")
        line = page.locator("#threshold-histogram svg svg path").last.bounding_box()
        seen.append((point, line["x"]))
        shown = numbers(page)
        assert f"{point[0]:.2f} %" == shown["fpr"] and f"{point[1]:.2f} %" == shown["tpr"]
    assert seen[0][0] != seen[1][0] and seen[0][1] > seen[1][1]


def test_bars_are_as_high_as_the_counts(loaded, open_block):
    page = open_block(explorers.threshold_block(loaded))
    images = explorers.threshold_data(loaded)["runs"][0]["scores"][0]
    tops = [max(part["histogram"]) / part["n"] for part in (images["id"], images["sets"][0])]
    heights = [page.locator("#threshold-histogram svg svg path").nth(i).bounding_box()["height"] for i in (0, 1)]
    assert heights[0] / heights[1] == pytest.approx(tops[0] / tops[1], abs=0.02)


def test_the_region_of_impossible_losses_ends_at_the_infimum(open_block):
    page = open_block(explorers.norm_block(0.3, 10.0, 0, 10))  # the best direction: its loss is the infimum
    region, point = (page.locator(f"#norm-bounds svg svg {one}") for one in ("path >> nth=1", "[data-x]"))
    assert float(point.get_attribute("data-y")) == pytest.approx(losses.infimum(0.3, 10), rel=1e-3)
    edge = page.evaluate("""([path, x]) => { const xs = path.getAttribute("d").slice(1, -1).split("L").map((p) => p.split(",").map(Number));
        return xs.slice(0, xs.length / 2).reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)[1]; }""",
        [region.element_handle(), float(re.findall(r"[\d.]+", point.get_attribute("transform"))[0])])
    assert edge == pytest.approx(float(re.findall(r"[\d.]+", point.get_attribute("transform"))[1]), abs=4)


def test_charts_take_the_width_of_a_phone(loaded, open_block):
    page = open_block(explorers.threshold_block(loaded))
    page.set_viewport_size({"width": 375, "height": 740})
    page.wait_for_function("document.querySelector('#threshold-roc svg[height]').getBoundingClientRect().width < 375")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_norm_explorer_shows_the_losses_and_both_bounds(open_block):
    page = open_block(explorers.norm_block(0.04, 10.0, 30, 10))
    for i, norm in enumerate(explorers.NORMS[::4]):
        for tau in (0.04, 0.3, 2.0):
            for angle in (0, 30, 90, 180):
                for k, K in enumerate((10, 100)):
                    move(page, norm=4 * i, tau=explorers.TAUS.index(tau), angle=angle, classes=k)
                    shown = numbers(page)
                    for key, value in explorers.norm_values(norm, tau, angle, K).items():
                        assert float(shown[key]) == pytest.approx(value, rel=6e-4, abs=6e-5 if value >= 1e-3 else 0)
    assert page.errors == []


def test_a_slider_says_its_value_and_moves_by_keyboard(open_block):
    page = open_block(explorers.norm_block(0.04, 10.0, 30, 10))
    slider = page.locator("[data-control=tau]")
    assert slider.get_attribute("aria-valuetext") == "0.04"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.05" and "τ 0.05" in page.inner_text(".explorer-said")


def test_the_valley_explorer_shows_the_valley_and_rolls_to_its_bottom(loaded, open_block):
    [run] = [run for run in loaded if run.config.method == "logitnorm"]
    found = branches.valley(run)
    page = open_block(hidden.valley_block(found))
    last, middle = len(found["shares"]) - 1, len(found["shares"]) // 2
    for t, i in ((0, 0), (3, middle - 5), (9, last)):
        move(page, tau=t, share=i)
        shown = numbers(page)
        assert float(shown["ln_loss"]) == pytest.approx(found["loss"][t, i], abs=1e-4)
        assert float(shown["ln_s"]) == pytest.approx(found["s"][t, i], abs=0.051)
        assert float(shown["ce_loss"]) == pytest.approx(found["raw"]["loss"], rel=1e-3)
        assert f"lets {found['energy'][i]:.1f} %" in page.inner_text(".explorer-said")
    for tau, start in ((0, middle + 3), (0, middle - 3), (9, last)):
        move(page, tau=tau, share=start)
        page.click("[data-roll]")
        at, loss = start, np.round(found["loss"][tau], 4)  # as the page has it
        while 0 < at < last and min(loss[at - 1], loss[at + 1]) < loss[at] or at == last and loss[at - 1] < loss[at]:
            at += 1 if at < last and loss[at + 1] < loss[at - 1] else -1
        page.wait_for_function(f"document.querySelector('[data-control=share]').value === '{at}'")
    assert page.errors == []


def test_in_colab_the_block_brings_its_scripts(open_block, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    block = explorers.norm_block(0.04, 10.0, 30, 10)
    assert not BeautifulSoup(block.data, "html.parser").find_all("script", src=True)
    page = open_block(block)
    move(page, angle=0)
    assert float(numbers(page)["ln_loss"]) == pytest.approx(losses.infimum(0.04, 10), rel=1e-3)
    assert page.errors == []


def test_without_the_script_the_page_says_so(loaded, open_block):
    block = explorers.norm_block(0.04, 10.0, 30, 10)
    block.data = re.sub(r'<script src="[^"]*explorers[^"]*"></script>', '<script>setTimeout(() => '
                        'document.querySelector("[data-explorer]").dataset.ready = "true")</script>', block.data)
    page = open_block(block)
    assert "a figure on this page shows the same" in page.inner_text(".explorer-said") and page.errors == []
