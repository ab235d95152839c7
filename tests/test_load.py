"""Many run folders at once: all are checked, none is mixed up (benchmarks/load.py measures time and memory)."""

import shutil

import pytest
from fake_runs import write_run
from logitnorm import runs
from logitnorm.study import results

SEEDS = range(1, 21)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two methods, twenty seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("cross_entropy", "logitnorm"):
        for seed in SEEDS:
            write_run(folder, n_id=20, n_ood=10, method=method, seed=seed, ood_sets=("isun",), extra_sets=(),
                      history_ood="isun")
    return folder


def test_every_folder_is_read_once_and_tabulated_under_its_own_name(many):
    found = results.load_all(many)
    assert [run.path.name for run in found] == sorted(path.name for path in many.iterdir())
    frame = results.tidy(found)
    assert len(frame) == sum(len(run.metrics) for run in found)
    accuracy = frame[frame.metric == "accuracy"].set_index("run").value
    assert len(accuracy) == len(found) == 2 * len(SEEDS)
    for run in found:
        logits, labels = run.tensor("cifar10/logits"), run.tensor("cifar10/labels")
        assert accuracy[run.id] == pytest.approx(100 * (logits.argmax(1) == labels).mean())
    assert sorted(frame[frame.method == "logitnorm"].seed.unique()) == list(SEEDS)


def test_one_damaged_folder_among_many_is_named(many, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(many, copy)
    file = sorted(copy.iterdir())[17] / "scores.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(runs.RunError) as caught:
        results.load_all(copy)
    assert str(file) in str(caught.value)
    assert len(results.load_all(copy, verify=False)) == 2 * len(SEEDS)
