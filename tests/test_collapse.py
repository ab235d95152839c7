"""Feature collapse: ranks and spreads by hand, and the table of a run."""

import fake_runs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logitnorm.study import collapse, findings, results


def test_spectrum_is_that_of_the_covariance():
    features = np.random.default_rng(0).normal(size=(300, 6)) @ np.diag([5, 3, 2, 1, 0.5, 0.1]) + 7
    wanted = np.sqrt(np.linalg.eigvalsh(np.cov(features.T, bias=True))[::-1])
    assert np.allclose(collapse.spectrum(features), wanted)


@given(st.integers(1, 20), st.integers(0, 20), st.floats(1e-3, 1e3))
def test_effective_rank_counts_equal_directions(directions, zeros, scale):
    deviations = np.r_[np.full(directions, scale), np.zeros(zeros)]
    assert collapse.effective_rank(deviations) == pytest.approx(directions)
    assert collapse.share(deviations, directions) == pytest.approx(100)


def test_effective_rank_by_hand():
    assert collapse.effective_rank(np.sqrt([3.0, 1.0])) == pytest.approx(16 / 10)
    assert collapse.share(np.sqrt([3.0, 1.0]), 1) == pytest.approx(75)
    with pytest.raises(ValueError, match="do not vary"):
        collapse.effective_rank(np.zeros(3))


def test_within_to_between_by_hand():
    features, labels = np.array([[-2.0], [0.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    # class means -1 and 5, mean 2: within 4 * 1, between 4 * 9
    assert collapse.within_to_between(features, labels) == pytest.approx(1 / 9)
    assert collapse.within_to_between(features[[0, 0, 3, 3]], labels) == 0
    with pytest.raises(ValueError, match="one label for each"):
        collapse.within_to_between(features, labels[:3])


@pytest.mark.parametrize("features, said", [(np.zeros((1, 3)), r"N >= 2 images by D features, got shape \(1, 3\)"), (np.zeros(5), r"got shape \(5,\)"),
                                            (np.full((4, 2), np.nan), "must be finite; 8 of 8 are not")])
def test_features_that_are_no_matrix_are_refused(features, said):
    with pytest.raises(ValueError, match=said):
        collapse.spectrum(features)


def test_collapse_table_of_a_run(tmp_path):
    for method in ("cross_entropy", "logitnorm"):
        fake_runs.write_run(tmp_path, method=method, keep_features=True)
        fake_runs.write_run(tmp_path, method=method, seed=2)
    pair = collapse.keeping(results.load_all(tmp_path))
    assert [run.config.seed for run in pair] == [1, 1]
    table = collapse.table(pair[0])
    assert len(table) == 2, "the ID set and that of history_ood are what a run keeps features of"
    assert set(table["within / between classes"][1:]) == {"–"} and table["within / between classes"][0] > 0
    lengths = np.linalg.norm(pair[0].tensor("svhn_part/features").astype(float), axis=1)
    assert table["mean norm"].iloc[1] == pytest.approx(lengths.mean())
    told = {"mean norm": [6.0, 1.5], "variance in 9 directions (%)": [97.0, 89.5], "within / between classes": [0.2, 0.5]}

    def said(**changed):
        rows = pd.DataFrame(told | changed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(collapse, "table", lambda run: rows[pair.index(run):])
            return findings.collapsed(pair)

    images = len(pair[0].tensor("cifar10/features"))
    assert f"are less collapsed than cross-entropy's: variance within classes over that between them 0.50 against 0.20, and 10.5 against 3.0 % of it outside 9 directions**, on {images} ID" in said()
    assert "are not clearly more" in said(**{"variance in 9 directions (%)": [80.0, 90.0]})
    assert "LogitNorm's features are more" in said(**{"variance in 9 directions (%)": [80.0, 90.0], "within / between classes": [0.5, 0.2]})
