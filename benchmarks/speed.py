"""How fast this book trains and evaluates, measured beside the plain way, on this machine.

    python benchmarks/speed.py [--architecture wrn40_2] [--seconds 20] [--repeat 3] [--out data/benchmarks]

Prints and writes one JSON file: images/s of training, the best of three measurements that take turns, for a plain
PyTorch loop (DataLoader, torchvision's transforms, float32, eager) and for logitnorm.train at each precision; peak memory; the share of the device's measured
matrix-product rate; what the network's convolutions alone would allow; what 200 epochs would take; and the time of all
metrics of 480 cells.
Images are random bytes: their content does not matter for speed, and nothing has to be downloaded.
"""

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from logitnorm import data, metrics, models, paths, scores, train
from logitnorm.config import Config
from logitnorm.study import graph, results, training
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

IMAGES = 50_000  # CIFAR's training set


def random_set(count: int = IMAGES) -> data.ImageSet:
    draw = torch.Generator().manual_seed(0)
    return data.ImageSet(torch.randint(256, (count, 32, 32, 3), generator=draw, dtype=torch.uint8),
                         torch.randint(10, (count,), generator=draw))


class PlainDataset(Dataset):
    """What torchvision's CIFAR10 does: one PIL image at a time, through its transforms."""

    def __init__(self, images: data.ImageSet):
        self.images, self.labels = images.images.numpy(), images.labels
        self.transform = transforms.Compose([
            transforms.ToPILImage(), transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(data.MEAN, data.STD)])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_loop(config: Config, images: data.ImageSet, device: torch.device, seconds: float) -> float:
    """Images per second of the loop that most code uses, with as many loading processes as there are spare cores."""
    workers = max(0, min(8, torch.multiprocessing.cpu_count() - 1)) if device.type == "cuda" else 0
    loader = DataLoader(PlainDataset(images), config.batch_size, shuffle=True, drop_last=True, num_workers=workers,
                        pin_memory=device.type == "cuda")
    net = models.build(config.architecture, 10, config.dropout).to(device)
    optimizer = torch.optim.SGD(net.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    net.train()
    seen, start = -3 * config.batch_size, None
    for x, y in loader:
        if seen == 0:
            wait(device)
            start = time.perf_counter()
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        optimizer.zero_grad()
        F.cross_entropy(net(x)[0], y).backward()
        optimizer.step()
        seen += len(y)
        if start is not None and time.perf_counter() - start > seconds:
            break
    wait(device)
    return seen / (time.perf_counter() - start)


def our_loop(config: Config, images: data.ImageSet, device: torch.device, seconds: float) -> float:
    """Images per second of this book's step, in an epoch of a share of the images."""
    trainer = train.Trainer(config, train.resident(images, 10, device), device)
    if device.type == "cuda":
        trainer.play, _ = graph.recorded(trainer)
    trainer.begin_epoch()
    for _ in range(3):  # the first steps choose algorithms
        trainer.play()
    wait(device)
    step, start = 3, time.perf_counter()
    while time.perf_counter() - start < seconds and step < trainer.steps:
        trainer.play()
        step += 1
        if step % 50 == 0:
            wait(device)  # otherwise the clock would only see how fast work is queued
    wait(device)
    return (step - 3) * config.batch_size / (time.perf_counter() - start)


def matmul_size(device: torch.device) -> int:
    """The side of the square matrices whose product is the measure: one CPU thread is busy with less than a GPU is."""
    return 8192 if device.type == "cuda" else 1024


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a square matrix product, best of five: what this machine really gives."""
    n = matmul_size(device)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        wait(device)
        start = time.perf_counter()
        a @ b
        wait(device)
        best = max(best, 2 * n ** 3 / (time.perf_counter() - start))
    return best


def training_flops(architecture: str) -> float:
    """Floating-point operations per image of forward and backward: three times the forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    net = models.build(architecture, 10, 0.0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, 32, 32))
    return 3 * counter.get_total_flops()


def convolution_rate(config: Config, device: torch.device) -> float:
    """Images per second of the net's convolutions alone in float32, forward and backward, each best of five.

    What no step can pass, however little it does between them: the inputs lie ready, and nothing is normalised,
    activated, added or updated.
    """
    net = models.build(config.architecture, 10, 0.0).to(device, memory_format=torch.channels_last)
    calls, seconds = [], 0.0
    hooks = [module.register_forward_hook(lambda conv, inputs, out: calls.append((conv, inputs[0].detach(), out.detach())))
             for module in net.modules() if isinstance(module, nn.Conv2d)]
    net(torch.randn(config.batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()
    for conv, x, gradient in calls:
        x.requires_grad_(x.shape[1] != 3)  # nothing asks for the gradient of the images
        times = []
        for _ in range(5):
            x.grad = conv.weight.grad = None
            wait(device)
            start = time.perf_counter()
            conv(x).backward(gradient)
            wait(device)
            times.append(time.perf_counter() - start)
        seconds += min(times)
    return config.batch_size / seconds


def metrics_seconds(cells: int = 480) -> float:
    """Time of every metric of `cells` pairs of 10,000 ID and 2,000 OOD scores."""
    draw = np.random.default_rng(0)
    inside, outside = draw.normal(1, 1, 10_000), draw.normal(0, 1, 2_000)
    start = time.perf_counter()
    for _ in range(cells):
        metrics.ood_metrics(inside, outside)
    return time.perf_counter() - start


def scoring_rate(config: Config, device: torch.device) -> dict:
    """Images per second of MSP, Energy and GradNorm (one forward pass), and of these with ODIN (one backward, one more
    forward pass).
    """
    net = models.build(config.architecture, 10, config.dropout).to(device, memory_format=torch.channels_last)
    images = random_set(2_000 if device.type == "cpu" else 20_000).images
    found = {}
    for name, steps in (("three scores", {}), ("with ODIN", {"odin": scores.odin_step()})):
        scores.collect(net, images[:500], steps=steps)
        wait(device)
        start = time.perf_counter()
        scores.collect(net, images, steps=steps)
        found[name] = len(images) / (time.perf_counter() - start)
    return found


def passes(sets_of_a_run: dict[str, int]) -> dict:
    """Forward passes, in images, for four scores on six OOD sets; sets_of_a_run: size of each set, ID and OOD.

    The released protocol scores 10,000 ID images and ten draws of 2,000 from each OOD set, anew for every score and
    twice for ODIN. Here each image passes once for all four, and ODIN's stepped image once more.
    """
    official = 10_000 + 6 * 10 * 2_000
    found = {"released protocol": {"three scores": 3 * official, "with ODIN": 5 * official}}
    for name, n in {"the paper's 2,000 images of each set": 10_000 + 6 * 2_000,
                    "all images of the sets in data/runs": sum(sets_of_a_run.values())}.items():
        found[name] = {"three scores": n, "with ODIN": 2 * n,
                       "times cheaper, three scores": round(3 * official / n, 1),
                       "times cheaper, with ODIN": round(5 * official / (2 * n), 1)}
    return found


def sizes_of_a_run() -> dict[str, int]:
    """How many images each set of the first real run in data/runs has: its ID set and its six OOD sets."""
    run = results.by_size("", ["small"])["small"][0]
    return {name: len(run.score("odin", name)) for name in (run.config.id_dataset, *run.config.ood_sets)}


def save(file: Path, result: dict) -> None:
    """Write a measurement as JSON, with its time, for the page on speed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    result |= {"measured": datetime.now(UTC).isoformat(timespec="seconds")}
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--architecture", default="wrn40_2")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each variant is measured")
    parser.add_argument("--repeat", type=int, default=3, help="how often; the best counts")
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)  # as every run of this book on a CPU
        training.keep_freed_memory()
    else:
        torch.set_float32_matmul_precision("high")  # TF32, as convolutions have it, so that the peak is theirs too
    images, flops = random_set(), training_flops(args.architecture)
    variants = [("plain PyTorch loop, float32", "float32", plain_loop), ("this book, float32", "float32", our_loop),
                ("this book, mixed", "mixed", our_loop)]
    rates, peaks, used, memory, convolutions = {}, {}, {}, {}, 0.0
    for _ in range(args.repeat):  # in turns: what else the machine does at a time meets every variant
        convolutions = max(convolutions, convolution_rate(Config(architecture=args.architecture), device))
        for name, precision, loop in variants:
            config = Config(architecture=args.architecture, dropout=args.dropout, precision=precision,
                            method="cross_entropy")
            if device.type == "cuda":
                torch.cuda.empty_cache()  # what the last variant held
                torch.cuda.reset_peak_memory_stats(device)
            rates[name] = max(rates.get(name, 0.0), loop(config, images, device, args.seconds))
            used[name], _ = train.precision_on(precision, device)
            peaks[used[name]] = max(peaks.get(used[name], 0.0), matmul_rate(device, getattr(torch, used[name])))
            memory[name] = round(torch.cuda.max_memory_reserved(device) / 1e9, 2) if device.type == "cuda" else None
    rows = [{"variant": name, "precision": used[name], "images_per_second": round(rate, 1),
             "times_plain": round(rate / rates[variants[0][0]], 2), "matmul_gflops": round(peaks[used[name]] / 1e9, 1),
             "share_of_matmul_rate": round(rate * flops / peaks[used[name]], 3),
             "minutes_for_200_epochs": round(200 * 390 * 128 / rate / 60, 1),
             "peak_memory_gb": memory[name]}  # with that of graphs
            for name, rate in rates.items()]
    for row in rows:
        print(json.dumps(row), flush=True)
    instructions = [torch.backends.cpu.get_cpu_capability()] * (device.type == "cpu")  # AVX2, say: those of the convolutions
    result = {"architecture": args.architecture, "dropout": args.dropout,
              "device": ", ".join([training.device_name(device), *instructions]),
              "threads": torch.get_num_threads(), "cores": torch.multiprocessing.cpu_count(), "training": rows,
              "training_gflops_per_image": round(flops / 1e9, 3), "repeat": args.repeat,
              "matmul_size": matmul_size(device), "convolutions_images_per_second": round(convolutions, 1),
              "scoring_images_per_second": {k: round(v, 1) for k, v in scoring_rate(config, device).items()},
              "metrics_480_cells_seconds": round(metrics_seconds(), 2), "passes": passes(sizes_of_a_run()),
              "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "torchvision")}}}
    save(args.out / f"{'-'.join(['speed', device.type, *instructions, args.architecture]).lower()}.json", result)


if __name__ == "__main__":
    main()
