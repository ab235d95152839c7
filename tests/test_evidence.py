"""evidence.py: every run that stands behind a page can be followed to its folder, its record and its commit."""

from types import SimpleNamespace

import pytest
from logitnorm.book import build, evidence

pytest.importorskip("IPython")


def run(commit="0123456789abcdef", dirty=False):
    return SimpleNamespace(id="small-x-seed1", device="CPU <A>",
                           info={"code": {"commit": commit, "dirty": dirty}, "finished": "2026-01-02T03:04:05"})


def test_a_run_leads_to_its_folder_record_and_commit():
    url, branch = build.repository()
    page = evidence.runs([run()])
    for link in (f"{url}/tree/{branch}/data/runs/small-x-seed1", f"{url}/commit/0123456789abcdef",
                 "../notebooks/provenance.html#small-x-seed1"):
        assert f'href="{link}"' in page
    assert "CPU &lt;A&gt;" in page and "2026-01-02" in page
    assert "unknown" in evidence.runs([run(commit=None)]) and "+ changes" in evidence.runs([run(dirty=True)])


def test_evidence_folds_and_says_where_nothing_ran():
    page = evidence.evidence("table1", [], []).data
    assert page.count("<details") == 1 and "No run is behind this page yet" in page and "notebooks/table1.ipynb" in page
    assert "how judged" in page and "how judged" not in evidence.evidence("fig2", [run()], [], judged="").data
