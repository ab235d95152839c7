"""'Ask the network': what the page needs beside its scripts in book/_static/ask.

`write` puts the demo into a built site: the scripts, ONNX Runtime Web, the exported networks (tools/ask_assets.py made
them), a picture of the samples, and ask.json, in which the measured histograms and thresholds stand. `block` is the
page's HTML: a button that loads all of it, and a table with fixed samples for readers without JavaScript.
"""

import gzip
import json
import shutil
from functools import cache
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import torch
from PIL import Image
from scipy.special import expit

from logitnorm import data, losses, metrics, paths
from logitnorm.study import paper, results, scoring, verify

from .plots import edges, html_table, tiles

SOURCE = paths.ROOT / "book" / "_static" / "ask"
TEMPLATE = paths.ROOT / "book" / "ask.html"
# Method -> run; the order of the page.
RUNS = {"cross_entropy": "small-cifar10-wrn10_2-cross_entropy-seed1",
        "logitnorm": "small-cifar10-wrn10_2-logitnorm-tau0.04-seed1",
        "godin": "small-cifar10-wrn10_2-godin-seed1",
        "learned_confidence": "small-cifar10-wrn10_2-learned_confidence-cutout16-seed1"}
# The first score of each gives the network's verdict: the one that its paper uses.
SCORES = {"cross_entropy": ("msp", "max_logit", "energy"),
          "logitnorm": ("msp", "msp_normalised", "max_logit", "energy"),
          "godin": ("cosine", "msp", "max_logit", "energy"),
          "learned_confidence": ("confidence", "msp", "max_logit", "energy")}
TITLES = {"max_logit": "Largest logit", "cosine": paper.title("godin"), "confidence": "Confidence c"}
BINS = 40
TILES = 9  # samples in a row of samples.png
FIXED = 8  # samples in the table for readers without JavaScript


# ---- the networks

@cache
def load(method: str) -> results.Result:
    return results.load(paths.RUNS / RUNS[method])


class Asked(torch.nn.Module):
    """uint8 images B x 32 x 32 x 3 -> logits B x 10, and the score B of a head that has its own: what is exported."""

    def __init__(self, run):
        super().__init__()
        self.net = verify.load_weights(run)
        self.eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, _, *own = self.net(data.to_float(images))
        return logits, *own


@cache
@torch.no_grad()
def answers(method: str) -> tuple[np.ndarray, ...]:
    """PyTorch's answers to the samples: what Asked gives, as float32 arrays."""
    return tuple(value.numpy() for value in Asked(load(method))(torch.from_numpy(sample_images())))


def score_values(method: str, name: str, logits: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    """A score of the page, N values, higher for in-distribution, from logits N x 10 and the head's own score N.

    c of Learned Confidence is shown as the probability that it is; the runs keep its logit.
    """
    if name == "max_logit":
        return logits.max(axis=1).astype(np.float64)
    if name == "cosine":
        return own.astype(np.float64)
    if name == "confidence":
        return expit(own.astype(np.float64))
    return scoring.score(load(method).config, name, {"logits": logits}.__getitem__)


def measured(run, name: str, image_set: str) -> np.ndarray:
    """The same score of every image of a set, as the run measured it."""
    if name == "max_logit":
        return run.tensor(f"{image_set}/logits").max(axis=1).astype(np.float64)
    values = run.score(name, image_set)
    return expit(values) if name == "confidence" else values


# ---- ask.json

def histogram(run, name: str) -> dict:
    """A score's histograms (percent of the images in each bin), the 95 % threshold and the OOD images that pass it.

    The OOD histogram and share are means over the run's six OOD sets, so that each set counts alike.
    """
    inside = measured(run, name, run.config.id_dataset)
    outside = [measured(run, name, image_set) for image_set in run.config.ood_sets]
    bins = edges([inside, *outside], BINS)

    def percent(values):
        return 100 * np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0] / len(values)

    return {"name": name, "title": TITLES.get(name) or paper.title(name), "low": bins[0], "high": bins[-1],
            "threshold": metrics.threshold95(inside), "id": percent(inside).round(3).tolist(),
            "ood": np.mean([percent(values) for values in outside], axis=0).round(3).tolist(),
            "passes": float(np.mean([metrics.fpr95(inside, values) for values in outside]))}


def network(method: str) -> dict:
    """What ask.json says of one network."""
    run = load(method)
    c = run.config
    return {"method": method, "title": paper.LABELS[method], "model": f"models/{method}.onnx", "tau": c.tau,
            "eps": losses.EPS, "energyT": scoring.energy_temperature(c),
            "accuracy": run.info["test_accuracy"], "scores": [histogram(run, name) for name in SCORES[method]]}


def content() -> dict:
    """ask.json. bytes: of each file that the button loads, unpacked, so that the progress bar knows the whole."""
    networks = [network(method) for method in RUNS]
    loaded = ["ort/ort-wasm-simd-threaded.wasm", *(entry["model"] for entry in networks)]
    return {"classes": paper.CLASSES, "tiles": TILES, "samples": samples(), "networks": networks,
            "bytes": {name: (SOURCE / name).stat().st_size for name in loaded}}


@cache
def megabytes() -> float:
    """What the button loads, in millions of bytes, compressed as a web server does."""
    names = [path for folder in ("ort", "models", ".") for path in (SOURCE / folder).glob("*.*")
             if path.suffix in (".mjs", ".wasm", ".onnx", ".js", ".css", ".png")]
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in names) / 1e6


# ---- the samples

@cache
def samples() -> list[dict]:
    """Of each sample its set, its index in that set as data.load gives it, its label (of ID images), and all in words."""
    found = json.loads((SOURCE / "samples.json").read_text(encoding="utf-8"))
    for sample in found:
        label = "" if sample["label"] is None else f", labelled {paper.CLASSES[sample['label']]}"
        sample["said"] = f"{paper.title(sample['set'])}, test image {sample['index']}{label}"
    return found


@cache
def sample_images() -> np.ndarray:
    """The samples, uint8 N x 32 x 32 x 3, from their one picture."""
    return tiles(SOURCE / "samples.png")[:len(samples())]


# ---- the page

def verdict(is_in: bool) -> str:
    return "● in" if is_in else "○ out"  # no tick, no cross: they would judge the verdict


def fixed_table() -> str:
    """The answers of the four networks to every few samples as an HTML table, computed by PyTorch."""
    chosen = data.evenly(len(samples()), FIXED)
    rows = []
    for i in chosen:
        cells = []
        for method in RUNS:
            (name, at), (logits, *own) = first_score(method), answers(method)
            [value] = score_values(method, name, logits[[i]], own[0][[i]] if own else None)
            cells.append(f"<td>{verdict(value >= at)}<br><small>{paper.CLASSES[logits[i].argmax()]}, {value:.2f}</small></td>")
        sample = samples()[i]
        rows.append((f'<img src="../_static/ask/fixed-{i}.png" alt="{escape(sample["said"])}">'
                     f'<small>{escape(paper.title(sample["set"]))}</small>', cells))
    said = ", ".join(f"{paper.LABELS[method]}: {(TITLES.get(name) or paper.title(name))}"
                     for method, (name, *_) in SCORES.items())
    return html_table(["image", *(paper.LABELS[method] for method in RUNS)], rows, kind="ask-fixed",
                      caption=f"{len(chosen)} of the samples. In or out at the threshold that keeps 95 % of CIFAR-10's test images, "
                              f"the predicted class, and the score ({escape(said)}).")


@cache
def first_score(method: str) -> tuple[str, float]:
    """The score that gives a network's verdict, and its threshold."""
    name, run = SCORES[method][0], load(method)
    return name, metrics.threshold95(measured(run, name, run.config.id_dataset))


def block() -> str:
    """The page's HTML."""
    rows = -(-len(samples()) // TILES)
    buttons = [
        f'<button type="button" data-sample="{i}" aria-label="{escape(sample["said"])}" title="{escape(sample["said"])}" '
        f'style="background-position:{100 * (i % TILES) / (TILES - 1):g}% {100 * (i // TILES) / (rows - 1):g}%"></button>'
        for i, sample in enumerate(samples())]
    familiar = sum(sample["label"] is not None for sample in samples())  # they come first
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        megabytes=f"{megabytes():.1f}", columns=TILES, rows=rows, fixed=fixed_table(),
        familiar="".join(buttons[:familiar]), foreign="".join(buttons[familiar:]))


def about() -> str:
    """Markdown that says what the networks are."""
    loaded = [load(method) for method in RUNS]
    c = loaded[0].config
    parameters = sum(p.numel() for p in Asked(loaded[0]).parameters())
    right = ", ".join(f"{paper.LABELS[run.config.method]} {run.info['test_accuracy']:.1f} %" for run in loaded)
    return (f"**What they are.** Four small networks of one kind, {paper.network(c.architecture)} with {parameters / 1e6:.2f} million "
            f"parameters, trained on the {paper.title(c.id_dataset)} training images for {c.epochs} epochs with seed "
            f"{c.seed}. LogitNorm's τ is {loaded[1].config.tau:g}; Learned Confidence trains with squares of "
            f"{loaded[3].config.cutout} pixels cut out of its images. Right on {paper.title(c.id_dataset)}'s test images: "
            f"{right}.")


def write_page(folder: Path) -> None:
    """Write what the page includes into `folder`: ask.md and ask_about.md."""
    (folder / "ask.md").write_text(f"```{{raw}} html\n{block()}\n```\n", encoding="utf-8")
    (folder / "ask_about.md").write_text(about() + "\n", encoding="utf-8")


def write(static: Path) -> None:
    """Put the demo into static/ask of a built site."""
    folder = Path(static) / "ask"
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    (folder / "ask.json").write_text(json.dumps(content(), separators=(",", ":")), encoding="utf-8")
    for i in data.evenly(len(samples()), FIXED):
        Image.fromarray(sample_images()[i]).save(folder / f"fixed-{i}.png")
