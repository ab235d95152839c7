"""study/speed.py: the measurements of the loops, what is said of them and how they are drawn."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from logitnorm.book import pictures, plots
from logitnorm.config import Config
from logitnorm.study import speed


def measured(folder, name, device, architecture, *training):
    """A file as benchmarks/speed.py writes it; training: (variant, precision, images/s, times plain, share of matrix rate)."""
    keys = ("variant", "precision", "images_per_second", "times_plain", "share_of_matmul_rate")
    rows = [dict(zip(keys, row)) | {"minutes_for_200_epochs": 200 * 390 * 128 / row[2] / 60, "peak_memory_gb": None} for row in training]
    (folder / f"speed-{name}.json").write_text(json.dumps({"architecture": architecture, "device": device, "training": rows}))


@pytest.fixture
def found(tmp_path):
    measured(tmp_path, "fast", "CPU Y", "wrn40_2", ("plain PyTorch loop, float32", "float32", 40, 1.0, 0.7),
             ("this book, float32", "float32", 48, 1.2, 0.9), ("this book, mixed", "bfloat16", 80, 2.0, 0.6))
    measured(tmp_path, "slow", "CPU X, AVX2", "wrn40_2", ("plain PyTorch loop, float32", "float32", 20, 1.0, 0.5),
             ("this book, float32", "float32", 30, 1.5, 0.7), ("this book, mixed", "float32", 29, 1.45, 0.7))
    return speed.load(tmp_path)


def test_a_line_for_each_loop_the_slowest_processor_first(found):
    lines = speed.lines(found)
    assert lines["processor"].tolist() == ["X, AVX2"] * 2 + ["Y, bfloat16"] * 3
    assert lines["loop"].tolist() == ["plain, float32", "this book, float32"] * 2 + ["this book, bfloat16"]
    assert lines["rate"].tolist() == [20, 30, 40, 48, 80]
    assert lines["hours"].iloc[0] == pytest.approx(200 * 390 * 128 / 20 / 3600)


def test_a_gpu_that_computes_in_bfloat16_keeps_its_name(tmp_path):
    measured(tmp_path, "gpu", "NVIDIA H100", "wrn40_2", ("plain PyTorch loop, float32", "float32", 40, 1.0, 0.1),
             ("this book, mixed", "bfloat16", 800, 20.0, 0.3))
    assert set(speed.lines(speed.load(tmp_path))["processor"]) == {"NVIDIA H100"}


def test_the_finding_has_the_smallest_and_the_largest_ratio(found):
    assert speed.finding(speed.lines(found)) == (
        "**This book trains 1.2 to 1.5 times as fast as a plain PyTorch loop in the same precision, and 2.0 times where the "
        "processor computes in a lower precision.**")
    assert speed.finding(speed.lines(found[:1])) == "**This book trains 1.5 times as fast as a plain PyTorch loop in the same precision.**"
    assert "not yet run" in speed.finding(speed.lines([]))


def test_the_table_has_a_line_for_each_network_and_processor(found):
    table = speed.wide(speed.lines(found))
    assert table.shape == (2, 4) and table.iloc[:, 0].tolist() == ["WRN-40-2, X, AVX2", "WRN-40-2, Y, bfloat16"]
    assert table.iloc[:, 1].tolist() == ["20 → 30", "40 → 48 → 80"]
    assert table.iloc[:, 2].tolist() == ["50 → 70", "70 → 90 → 60"]


def test_the_figure_draws_and_says_every_rate(found):
    plots.style()
    lines = speed.lines(found)
    fig, alt = pictures.speeds(lines)
    assert [patch.get_width() for patch in fig.axes[0].patches] == lines["times"].tolist()
    assert [text.get_text().strip() for text in fig.axes[0].texts] == [f"{rate} images/s" for rate in (20, 30, 40, 48, 80)]
    assert all(f"{rate:,.0f}" in alt for rate in lines["rate"])


def test_the_ceiling_is_the_share_of_the_convolutions_alone(found):
    assert speed.ceiling(found) == ""  # measured before this was asked
    found[0]["convolutions_images_per_second"] = 37.5  # the step has 30 images/s, 0.7 of the matrix rate
    assert speed.ceiling(found).endswith("in float32: WRN-40-2 on X, AVX2 0.88 and 80%.")


def test_low_precision_is_judged_against_the_seeds():
    def rows(method, float32, bfloat16):
        return [{"method": method, "precision": name, "accuracy": value} for name, values in
                (("float32", float32), ("bfloat16", bfloat16)) for value in values]

    table = speed.precision_table({"rows": rows("cross_entropy", (90, 92), (91, 92)) + rows("logitnorm", (90, 90.2), (91, 91.2))})
    assert table["loss"].tolist() == ["Cross-entropy", "LogitNorm"] and table["difference"].tolist() == ["+0.50", "+1.00"]
    assert table.iloc[:, -1].tolist() == ["yes", "no"]


def test_what_ran_on_a_gpu_is_told_from_its_runs_and_its_measurement(tmp_path):
    def run(device, method):
        history = pd.DataFrame({"epoch": range(201), "images_per_second": [None] + 190 * [190 * speed.EPOCH / 600] + 10 * [70.0]})
        return SimpleNamespace(config=Config(size="full", method=method), history=history,
                               info={"device": device, "continued": [{"from_epoch": 150, "device": device}, {"from_epoch": 191, "device": "CPU x"}]})

    both = [run("NVIDIA H100 80GB HBM3", method) for method in ("cross_entropy", "logitnorm")]
    assert speed.on_gpu([*both, run("CPU x", "godin")]) == both
    said = speed.gpu_said(both)
    assert "On an H100" in said and "2 runs of WRN-40-2, 190 and 190 epochs" in said and "took 10 minutes" in said
    assert "open" in speed.gpu_said([run("CPU x", "logitnorm")])
    rates = [{"step": "replayed", "images_per_second": 200 * speed.EPOCH / 60}, {"step": "compiled", "images_per_second": 100.0, "seconds_to_compile": 48.6}]
    (tmp_path / "gpu-x.json").write_text(json.dumps({"architecture": "wrn40_2", "rates": rates}))
    table = speed.gpu_table(tmp_path, both)
    assert len(table) == 4 and table["200 epochs (min)"].iloc[0] == "1.0" and table["what"].iloc[1].endswith("compiled (in 49 s)")
