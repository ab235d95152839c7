"""Write what 'Ask the network' cannot make at build time: the exported networks and the picture of the samples.

    pip install onnx==1.23.2 onnxscript==0.7.2
    python tools/ask_assets.py models
    LOGITNORM_DATA=images python tools/ask_assets.py samples

The first needs two packages that nothing else here needs, the second the image sets; both results are committed.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from logitnorm import data
from logitnorm.book import ask
from logitnorm.study import paper
from PIL import Image

FURTHER = 2  # samples of each set beside the paper's six
OF_SIX = 3


def models(folder: Path) -> None:
    """METHOD.onnx of each network: uint8 images B x 32 x 32 x 3 -> logits B x 10, and own B where there is a score."""
    import onnx

    folder.mkdir(exist_ok=True)
    for method in ask.RUNS:
        net, path = ask.Asked(ask.load(method)), folder / f"{method}.onnx"
        images = torch.zeros(2, data.SIZE, data.SIZE, 3, dtype=torch.uint8)
        program = torch.onnx.export(net, (images,), dynamo=True, input_names=["images"],
                                    output_names=["logits", "own"][:len(net(images))], dynamic_shapes=({0: "batch"},),
                                    optimize=False)  # the weights stay those of the run, byte for byte
        made = program.model_proto
        del made.metadata_props[:], made.graph.metadata_props[:]
        for item in (*made.graph.node, *made.graph.value_info, *made.graph.input, *made.graph.output):
            del item.metadata_props[:]  # they name the lines of code, with this machine's paths
        del made.graph.value_info[:]
        onnx.checker.check_model(made)
        path.write_bytes(made.SerializeToString())
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """SHA256SUMS of the folder's other files, as sha256sum writes it."""
    files = sorted(path for path in folder.iterdir() if path.name not in ("SHA256SUMS", "README.md"))
    (folder / "SHA256SUMS").write_text(
        "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))


def draw(image_sets: list[str]) -> list[dict]:
    """The samples, drawn blind by seed 0: one test image of each class, then of each OOD set as many as stated above."""
    rng = np.random.default_rng(0)
    labels = data.load("cifar10").labels.numpy()
    chosen = [{"set": "cifar10", "index": int(rng.choice(np.flatnonzero(labels == k))), "label": k}
              for k in range(len(paper.CLASSES))]
    for position, name in enumerate(image_sets):
        indices = rng.choice(len(data.load(name).images), OF_SIX if position < 6 else FURTHER, replace=False)
        chosen += [{"set": name, "index": int(index), "label": None} for index in indices]
    return chosen


def samples(folder: Path) -> None:
    """samples.json and samples.png, ask.TILES images a row."""
    c = ask.load("cross_entropy").config
    chosen = draw([*c.ood_sets, *c.extra_sets])
    (folder / "samples.json").write_text("[\n" + ",\n".join(map(json.dumps, chosen)) + "\n]\n")
    rows = -(-len(chosen) // ask.TILES)
    picture = np.zeros((rows * data.SIZE, ask.TILES * data.SIZE, 3), dtype=np.uint8)
    for i, sample in enumerate(chosen):
        top, left = i // ask.TILES * data.SIZE, i % ask.TILES * data.SIZE
        picture[top:top + data.SIZE, left:left + data.SIZE] = data.load(sample["set"]).images[sample["index"]]
    Image.fromarray(picture).save(folder / "samples.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["models", "samples"])
    if parser.parse_args().what == "models":
        models(ask.SOURCE / "models")
    else:
        samples(ask.SOURCE)
