"""'Ask the network': its files, and the page in a real browser, from the button to the answers and the errors."""

import hashlib
import io
import re
import statistics
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
import torch
from browser import served
from bs4 import BeautifulSoup
from logitnorm import data, metrics, scores
from logitnorm.book import ask, build
from logitnorm.data.sets import fit
from PIL import Image

LARGEST = 1_300_000  # bytes of an exported network


# ---------------------------------------------------------------- the files

@pytest.mark.parametrize("folder", ["ort", "models"])
def test_the_committed_files_are_those_of_their_checksums(folder):
    sums = dict(reversed(line.split()) for line in (ask.SOURCE / folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {path.name for path in (ask.SOURCE / folder).iterdir()} - {"SHA256SUMS", "README.md"}
    for name, expected in sums.items():
        assert hashlib.sha256((ask.SOURCE / folder / name).read_bytes()).hexdigest() == expected, name


@pytest.mark.parametrize("method", ask.RUNS)
def test_an_exported_network_holds_the_weights_of_its_run(method):
    exported = (ask.SOURCE / "models" / f"{method}.onnx").read_bytes()
    weights = safetensors.numpy.load_file(ask.load(method).path / "model.safetensors")
    for name, value in weights.items():
        if value.dtype.kind == "f":
            assert value.astype(np.float32).tobytes() in exported, name
    assert len(exported) <= LARGEST
    assert not re.search(rb"/(tmp|home|work|root)/", exported)


def test_all_of_it_is_under_eight_megabytes():
    assert 1 < ask.megabytes() < 8


def test_the_samples_are_those_of_the_rule_and_of_their_sets(real_images):
    import ask_assets

    c = ask.load("cross_entropy").config
    drawn = ask_assets.draw([*c.ood_sets, *c.extra_sets])
    assert [{key: sample[key] for key in ("set", "index", "label")} for sample in ask.samples()] == drawn
    for sample, image in zip(ask.samples(), ask.sample_images()):
        assert (data.load(sample["set"]).images[sample["index"]].numpy() == image).all()


def test_the_samples_are_24_to_40_and_each_has_its_picture():
    assert 24 <= len(ask.samples()) <= 40 and ask.sample_images().shape == (len(ask.samples()), 32, 32, 3)
    assert [sample["label"] for sample in ask.samples()[:10]] == list(range(10))


@pytest.mark.parametrize("method, digits", [("cross_entropy", 1e-4), ("logitnorm", 1e-4), ("learned_confidence", 1e-4),
                                            ("godin", 0.02)])  # its weights are kept in float16
def test_the_network_is_the_one_that_the_run_scored(method, digits):
    run, (logits, *_) = ask.load(method), ask.answers(method)
    for sample, found in zip(ask.samples(), logits):
        np.testing.assert_allclose(found, run.tensor(f"{sample['set']}/logits")[sample["index"]], rtol=digits, atol=digits)


@pytest.mark.parametrize("method", ask.RUNS)
def test_histograms_and_shares_are_those_of_the_run(method):
    run, network = ask.load(method), ask.network(method)
    assert ask.first_score(method) == (network["scores"][0]["name"], network["scores"][0]["threshold"])
    for shown in network["scores"]:
        assert sum(shown["id"]) == pytest.approx(100, abs=0.1) and sum(shown["ood"]) == pytest.approx(100, abs=0.1)
        assert len(shown["id"]) == len(shown["ood"]) == ask.BINS and shown["low"] < shown["high"]
        inside = ask.measured(run, shown["name"], "cifar10")
        assert shown["threshold"] == pytest.approx(metrics.threshold95(inside))
        # metrics.csv was written by the trainer
        printed = run.metrics.query("score == @shown['name'] and metric == 'fpr95'").set_index("ood_dataset")["value"]
        if len(printed):
            assert shown["passes"] == pytest.approx(printed[list(run.config.ood_sets)].mean(), abs=1e-6)


def test_the_scores_of_the_page_are_those_of_the_library():
    f = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)).numpy()
    own = np.float32([-40, -1, 0, 1, 40])
    assert (ask.score_values("godin", "cosine", f, own) == own).all()
    assert ask.score_values("learned_confidence", "confidence", f, own) == pytest.approx(1 / (1 + np.exp(-own.astype(float))))
    assert (ask.score_values("cross_entropy", "max_logit", f, None) == f.max(axis=1)).all()
    with pytest.raises(KeyError, match="absent"):
        ask.score_values("cross_entropy", "absent", f, None)


# ---------------------------------------------------------------- the page

PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><title>Ask</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width"><style>:root{{color-scheme:{theme}}}body{{margin:0 8px}}</style>
<main><h1>Ask</h1>{block}</main></html>"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A site that consists of this page, light and dark."""
    site = tmp_path_factory.mktemp("site")
    (site / "_static").mkdir()
    (site / "book").mkdir()
    ask.write(site / "_static")
    for theme in ("light", "dark"):
        (site / "book" / f"{theme}.html").write_text(PAGE.format(theme=theme, block=ask.block()), encoding="utf-8")
    with served(site) as address:
        yield f"{address}book/"


class Asked:
    """A page, what it asked the server for, and what went wrong."""

    def __init__(self, context, address, hash="", theme="light"):
        self.page, self.requests, self.wrong = context.new_page(), [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(f"{address}{theme}.html{hash}")

    def load(self):
        self.page.click("[data-action=load]")
        self.page.wait_for_selector("[data-ask][data-swept]")
        return self

    def after(self, act):
        """Do something, and wait until all its answers are shown; returns the sentence that a screen reader hears."""
        before = int(self.page.get_attribute("[data-ask]", "data-answered"))
        act()
        self.page.wait_for_function("(before) => { const { answered, swept } = document.querySelector('[data-ask]').dataset;"
                                    " return Number(answered) > before && swept === answered; }", arg=before)
        assert self.error() == ""
        return self.page.text_content(".ask-said")

    def error(self):
        return self.page.inner_text(".ask-error")

    def complaint(self):
        """The one sentence that the page shows when something failed, once it is there."""
        self.page.wait_for_function("document.querySelector('.ask-error').textContent")
        return self.error().removeprefix("⚠ ")

    def give(self, content, name="image.png"):
        self.page.set_input_files("[data-control=file]", {"name": name, "mimeType": "", "buffer": content})

    def pick(self, i):
        """Choose a sample and undo what the slider does."""
        self.page.evaluate("document.querySelector('[data-control=level]').value = 0")
        return self.after(lambda: self.page.click(f"[data-sample='{i}']"))

    def shown(self):
        """What the cards show: {method: {"verdict", "probabilities" (of the classes, each column, percent), numbers}}."""
        found = self.page.evaluate("""Object.fromEntries([...document.querySelectorAll("[data-method]")].map((card) => {
            const text = (e) => e.innerText.replace("−", "-");
            const values = [...card.querySelectorAll("[data-value]")].map((e) => [e.dataset.value, Number(text(e))]);
            const rows = [...card.querySelectorAll(".ask-probabilities tbody tr")];
            return [card.dataset.method, { ...Object.fromEntries(values), verdict: text(card.querySelector(".ask-verdict")),
                probabilities: rows.map((row) => [...row.querySelectorAll("td:not(.ask-bars)")].map((e) => parseFloat(text(e)))) }];
        }))""")
        return found


@pytest.fixture(scope="module")
def loaded(browser, address):
    """One page on which the networks are loaded; the tests do not rely on each other's state."""
    return Asked(browser.new_context(permissions=["camera", "clipboard-read", "clipboard-write"]), address).load()


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise_image(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_nothing_of_it_is_loaded_before_the_press(browser, address):
    asked = Asked(browser.new_context(), address)
    asked.page.wait_for_selector("[data-action=load]")
    asked.page.wait_for_load_state("networkidle")
    assert asked.wrong == [] and not [url for url in asked.requests if re.search("ort|onnx|json|wasm", url)]


def test_without_javascript_the_fixed_samples_stand_there(browser, address):
    page = Asked(browser.new_context(java_script_enabled=False), address).page
    assert page.is_visible(".ask-fixed") and not page.is_visible("[data-action=load]")
    images = page.locator(".ask-fixed img")
    assert images.count() == ask.FIXED
    for i in range(ask.FIXED):
        assert images.nth(i).evaluate("(e) => e.complete && e.naturalWidth === 32")
        assert build.is_alt_text(images.nth(i).get_attribute("alt"))


def test_the_browsers_logits_are_pytorchs(loaded):
    images = np.concatenate([ask.sample_images()[:24], np.stack([noise_image(32, 32, seed) for seed in range(8)])])
    found = loaded.page.evaluate("""async (images) => {
        const { load, ask } = await import("../_static/ask/nets.js");
        const shares = [], { networks } = await load((share) => shares.push(share));
        const answers = [];
        for (const network of networks) answers.push(await ask(network, new Uint8Array(images)));
        return { shares, answers };
    }""", images.ravel().tolist())
    assert found["shares"] == sorted(found["shares"]) and found["shares"][-1] == 1 and len(found["shares"]) > 5
    for method, answers in zip(ask.RUNS, found["answers"]):
        with torch.no_grad():
            logits, *own = ask.Asked(ask.load(method))(torch.from_numpy(images))
        np.testing.assert_allclose([answer["logits"] for answer in answers], logits.numpy(), rtol=0, atol=1e-4)
        if own:
            np.testing.assert_allclose([answer["own"] for answer in answers], own[0].numpy(), rtol=0, atol=1e-4)


def test_a_sample_is_answered_as_pytorch_answers_it(loaded):
    milliseconds = []
    for i, sample in list(enumerate(ask.samples()))[::6]:
        said = loaded.pick(i)
        milliseconds.append(int(loaded.page.get_attribute("[data-ask]", "data-milliseconds")))
        assert said.startswith(sample["said"]) and loaded.page.inner_text(".ask-title") == sample["said"]
        for method, shown in loaded.shown().items():
            logits, *own = [value[[i]] for value in ask.answers(method)]
            for score in ask.SCORES[method]:
                [expected] = ask.score_values(method, score, logits, own[0] if own else None)
                assert shown[score] == pytest.approx(expected, rel=6e-3, abs=1e-4), (method, score)
            assert shown["norm"] == pytest.approx(np.linalg.norm(logits), rel=6e-3)
            name, threshold = ask.first_score(method)
            [value] = ask.score_values(method, name, logits, own[0] if own else None)
            assert shown["verdict"] == ask.verdict(value >= threshold)
            assert f"{ask.paper.LABELS[method]}: {ask.paper.CLASSES[logits.argmax()]}, {shown['verdict']}" in said
            columns = [torch.tensor(logits[0]).double()]
            if method == "logitnorm":
                columns += [torch.from_numpy(scores.normalised(logits, ask.load(method).config.tau)[0])]
            expected = [100 * f.softmax(0).numpy() for f in columns]
            np.testing.assert_allclose(np.transpose(shown["probabilities"]), expected, atol=0.06)
    print(f"\nfour answers to an image: median {statistics.median(milliseconds):.0f} ms, most {max(milliseconds)} ms")
    assert loaded.wrong == []


@pytest.mark.parametrize("width, height", [(1, 1), (5, 3), (32, 32), (31, 47), (100, 33), (320, 200), (33, 500)])
def test_an_image_is_fitted_as_the_library_fits_it(loaded, width, height):
    image = noise_image(width, height)
    found = loaded.page.evaluate("""async (bytes) => {
        const { fromFile } = await import("../_static/ask/image.js");
        return Array.from(await fromFile(new Blob([new Uint8Array(bytes)])));
    }""", list(encoded(image)))
    np.testing.assert_allclose(np.reshape(found, (32, 32, 3)), fit(image).astype(int), atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("name, content", [
    ("one pixel", lambda: encoded(noise_image(1, 1))),
    ("animated", lambda: encoded(noise_image(40, 30), "GIF", save_all=True, append_images=[noise_image(40, 30, 1)])),
    ("cmyk", lambda: encoded(noise_image(64, 48).convert("CMYK"), "JPEG")),
    ("grey", lambda: encoded(noise_image(64, 48).convert("L"))),
    ("transparent", lambda: encoded(Image.new("RGBA", (50, 50), (255, 0, 0, 0)))),
    ("telephone", lambda: encoded(Image.new("RGB", (4000, 3000), (90, 120, 30)))),
])
def test_an_unusual_image_is_answered(loaded, name, content):
    said = loaded.after(lambda: loaded.give(content(), f"{name}.bin"))
    assert said.startswith(f"{name}.bin") and loaded.page.inner_text(".ask-title") == f"{name}.bin"


def test_transparent_parts_are_white(loaded):
    loaded.after(lambda: loaded.give(encoded(Image.new("RGBA", (50, 50), (255, 0, 0, 0)))))
    assert pixels(loaded) == [255] * 4 * 32 * 32


def pixels(loaded):
    return loaded.page.evaluate("Array.from(document.querySelector('.ask-seen').getContext('2d').getImageData(0, 0, 32, 32).data)")


@pytest.mark.parametrize("content, sentence", [
    (lambda: b"no image at all", "“bad.png” is not an image that this browser can read."),
    (lambda: encoded(noise_image(60, 60))[:40], "“bad.png” is not an image that this browser can read."),
    (lambda: b"", "“bad.png” is not an image that this browser can read."),
    (lambda: encoded(Image.new("1", (8000, 5000))), "This image has 40 megapixels and is too large; 32 are the most."),
])
def test_a_bad_file_gets_one_sentence_and_the_page_goes_on(loaded, content, sentence):
    loaded.give(content(), "bad.png")
    assert loaded.complaint() == sentence
    loaded.after(lambda: loaded.page.click("[data-sample='0']"))


def drop(page, kind, content):
    """What a browser sends when a file (None: text) is dropped or pasted."""
    page.evaluate("""([kind, content]) => {
        const given = new DataTransfer();
        if (content) given.items.add(new File([new Uint8Array(content)], "given.png", { type: "image/png" }));
        else given.items.add("words", "text/plain");
        const options = { bubbles: true, cancelable: true, dataTransfer: given, clipboardData: given };
        document.querySelector("[data-ask]").dispatchEvent(
            kind === "drop" ? new DragEvent(kind, options) : new ClipboardEvent(kind, options));
    }""", [kind, content and list(content)])


def test_an_image_can_be_dropped_and_pasted(loaded):
    for kind in ("drop", "paste"):
        act = partial(drop, loaded.page, kind, encoded(noise_image(40, 40)))
        assert loaded.after(act).startswith("given.png")
    drop(loaded.page, "drop", None)
    assert "There was no image in that" in loaded.complaint()


def test_the_paste_button_reads_the_clipboard(loaded):
    loaded.page.evaluate("""async (bytes) => navigator.clipboard.write([new ClipboardItem(
        { "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }) })])""", list(encoded(noise_image(40, 40))))
    assert loaded.after(lambda: loaded.page.click("[data-action=paste]")).startswith("your image")


def test_the_file_button_opens_the_file_dialogue(loaded):
    with loaded.page.expect_file_chooser() as chooser:
        loaded.page.click("[data-action=file]")
    assert loaded.after(lambda: chooser.value.set_files(
        {"name": "chosen.png", "mimeType": "image/png", "buffer": encoded(noise_image(9, 9))})).startswith("chosen.png")


@pytest.mark.slow
def test_a_drawing_is_answered_and_cleared(loaded):
    page = loaded.page
    page.click("[data-action=draw]")
    canvas = page.locator(".ask-drawing")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def stroke():
        page.mouse.move(box["x"] + 40, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 180, steps=4)
        page.mouse.up()

    assert loaded.after(stroke).startswith("your drawing")
    seen = np.reshape(pixels(loaded), (32, 32, 4))
    assert (seen == 255).all(axis=2).any() and (seen[..., 0] < 100).any()
    page.click("[data-action=clear]")
    assert canvas.evaluate("(e) => e.getContext('2d').getImageData(0, 0, 256, 256).data.every((x) => x === 255)")
    page.click("[data-action=draw]")
    assert not canvas.is_visible()


@pytest.mark.slow
def test_the_camera_takes_a_picture(loaded):
    page = loaded.page
    page.click("[data-action=camera]")
    page.wait_for_function("document.querySelector('.ask video').videoWidth > 0")
    assert loaded.after(lambda: page.click("[data-action=picture]")).startswith("your camera's picture")
    assert not page.is_visible(".ask video") and page.evaluate("document.querySelector('.ask video').srcObject") is None
    page.click("[data-action=camera]")
    page.wait_for_selector(".ask video", state="visible")
    page.click("[data-action=close]")
    assert not page.is_visible(".ask video")


@pytest.mark.parametrize("camera, sentence", [
    ("async () => { throw new DOMException('', 'NotFoundError'); }", "There is no camera, or another program holds it."),
    ("async () => { throw new DOMException('', 'NotAllowedError'); }",
     "The camera was not allowed; change that in the browser's settings."),
    ("undefined", "This browser gives no camera to this page; it needs an address that starts with https."),
])
def test_no_camera_gets_one_sentence(loaded, camera, sentence):
    loaded.page.evaluate(f"Object.defineProperty(navigator.mediaDevices, 'getUserMedia', {{ value: {camera}, configurable: true }})")
    loaded.page.click("[data-action=camera]")
    assert loaded.complaint() == sentence
    loaded.page.evaluate("delete navigator.mediaDevices.getUserMedia")


def test_images_never_leave_the_machine(loaded):
    loaded.requests.clear()
    loaded.after(lambda: loaded.give(encoded(noise_image(50, 40))))
    assert [url for url in loaded.requests if not url.startswith("blob:")] == []


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["noise", "blur", "rotation"])
def test_the_slider_shows_where_each_detector_gives_up(loaded, effect):
    page = loaded.page
    loaded.pick(8)
    unchanged = pixels(loaded)
    loaded.after(lambda: page.select_option("[data-control=effect]", effect)) if effect != "noise" else None
    assert pixels(loaded) == unchanged
    page.focus("[data-control=level]")
    for level in (1, 2):
        said = loaded.after(lambda: page.keyboard.press("ArrowRight"))
        assert f"level {level}, " in said and page.get_attribute("[data-control=level]", "aria-valuetext") in said
        for method in ask.RUNS:
            cells = page.locator(f"[data-method={method}] .ask-cells span")
            assert cells.count() == 11
            now = page.locator(f"[data-method={method}] .ask-now").inner_text()
            assert cells.nth(level).inner_text() == now == page.inner_text(f"[data-method={method}] .ask-verdict")[0]
    assert pixels(loaded) != unchanged
    page.select_option("[data-control=effect]", "noise")


@pytest.mark.slow
def test_the_address_keeps_the_state(browser, address):
    sample = ask.samples()[14]
    where = f"#sample={sample['set']}-{sample['index']}&effect=blur&level=4"
    asked = Asked(browser.new_context(), address, where)
    assert asked.page.is_visible("[data-shown=link]")
    asked.load()
    page = asked.page
    assert page.get_attribute("[data-sample='14']", "aria-pressed") == "true" and page.input_value("[data-control=level]") == "4"
    assert page.text_content(".ask-said").startswith(f"{sample['said']}, level 4")
    assert page.evaluate("location.hash") == where
    asked.after(lambda: page.click("[data-sample='0']"))
    assert page.evaluate("location.hash").startswith("#sample=cifar10-")
    asked.after(lambda: page.evaluate("(hash) => { location.hash = hash; }", where))
    assert page.get_attribute("[data-sample='14']", "aria-pressed") == "true"
    asked.after(lambda: asked.give(encoded(noise_image(50, 40))))
    assert page.evaluate("location.hash") == "#effect=blur&level=4"


def test_without_webassembly_one_sentence_says_so(browser, address):
    context = browser.new_context()
    context.add_init_script("delete window.WebAssembly")
    asked = Asked(context, address)
    asked.page.click("[data-action=load]")
    assert "This browser has no WebAssembly, which the networks need; the table below stays." in asked.complaint()
    assert asked.page.is_visible(".ask-fixed")


@pytest.mark.slow
def test_a_lost_connection_is_said_and_can_be_tried_again(browser, address):
    context = browser.new_context()
    context.route(re.compile(r"\.onnx$"), lambda route: route.abort())
    asked = Asked(context, address)
    asked.page.click("[data-action=load]")
    assert "the connection failed; press the button to try again." in asked.complaint()
    context.unroute(re.compile(r"\.onnx$"))
    asked.load()
    assert asked.error() == ""


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_the_screen_and_axe_finds_no_barrier(browser, address, theme):
    from axe_playwright_python.sync_playwright import Axe

    asked = Asked(browser.new_context(color_scheme=theme), address, theme=theme)
    for width in (375, 1280):
        asked.page.set_viewport_size({"width": width, "height": 800})
        assert asked.page.evaluate("document.documentElement.scrollWidth") <= width
    asked.load()
    for panel in ("draw", "camera"):
        asked.page.evaluate("(name) => { document.querySelector(`[data-panel=${name}]`).hidden = false; }", panel)
    for width in (375, 1280):
        asked.page.set_viewport_size({"width": width, "height": 800})
        assert asked.page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(asked.page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found
            if rule["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_every_control_is_reached_by_the_keyboard(loaded):
    page = loaded.page
    page.focus("[data-sample='0']")
    loaded.after(lambda: page.keyboard.press("Enter"))
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(({ action, control, sample }) => action ?? control ?? sample)(document.activeElement.dataset)"))
    assert {"file", "paste", "draw", "camera", "effect", "level", "35"} <= reached


def test_the_fixed_table_says_what_the_page_says(loaded):
    rows = BeautifulSoup(ask.fixed_table(), "html.parser").select("tbody tr")
    assert len(rows) == ask.FIXED
    for row in rows[::3]:
        loaded.pick(int(re.search(r"fixed-(\d+)", row.img["src"])[1]))
        for shown, cell in zip(loaded.shown().values(), row.find_all("td")):
            assert cell.get_text(" ").startswith(shown["verdict"])
