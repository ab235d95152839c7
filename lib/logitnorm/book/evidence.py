"""What stands folded at the end of a results page: its runs, every size with its spread, how it is judged, its code."""

from html import escape

from logitnorm.study import paper

from . import plots
from .build import colab_url, repository

JUDGED = """<p>Every verdict follows one rule. Its tolerances were fixed before the first run, but for one that was made
smaller after small runs; other parts were added after small runs, and one was made stricter when two full runs were there:
<a href="../notebooks/ledger.html">the ledger</a> says what and when. 'Reproduced' is said only on the paper's own image sets, network and training. Elsewhere only the change from
cross-entropy is judged: 'same direction', 'no clear change' where it is within the noise of the seeds, 'opposite
direction'; a number in brackets is our change as a multiple of the paper's.</p>"""


def runs(found: list) -> str:
    """HTML table of the runs: each with a link to its record, its folder and its commit."""
    url, branch = repository()
    rows = []
    for run in found:
        code = run.info["code"]
        commit = (f'<a href="{url}/commit/{code["commit"]}">{code["commit"][:8]}</a>' if code["commit"] else "unknown") + (
            " + changes" if code["dirty"] else "")
        rows.append((f'<a href="../notebooks/provenance.html#{run.id}">{escape(run.id)}</a>', [
            f'<td><a href="{url}/tree/{branch}/data/runs/{run.id}">folder</a></td><td>{commit}</td>'
            f'<td>{escape(run.device)}</td><td>{run.info["finished"][:10]}</td>']))
    table = plots.html_table(("run", "files", "commit", "device", "finished"), rows, kind="dataframe runs",
                             caption="The runs behind the numbers. Their records tell settings, versions and checksums.")
    return f'<div style="overflow-x:auto" tabindex="0" role="region" aria-label="Runs">{table}</div>'


def every_size(compared: dict, by: list, metrics: tuple, **where) -> list:
    """Tables of every size that ran, the paper's numbers beside ours with spread, seeds and verdict."""
    tables = []
    for metric in metrics:
        for size, rows in compared.items():
            part = paper.where(rows[rows["ours"].notna()], metric=metric, **where)
            if len(part):
                name = ", ".join(map(paper.title, (metric, *where.values())))
                tables.append(plots.table(paper.wide(part, *by), caption=f"{name}, %, size {size}."))
    return tables


def evidence(name: str, found: list, tables: list, judged: str = JUDGED):
    """The folds that end the page notebooks/`name`: an HTML object."""
    url, branch = repository()
    code = (f'<p>This page is <a href="{url}/blob/{branch}/notebooks/{name}.ipynb">notebooks/{name}.ipynb</a> '
            f'(<a href="{colab_url(f"notebooks/{name}")}">open it in Colab</a>), executed on the run folders.</p>')
    text = runs(found) if found else "<p>No run is behind this page yet; its numbers are the paper's.</p>"
    parts = [plots.folded(f"Which runs,{' how judged,' * bool(judged)} and the code", text, judged, code)]
    if tables:
        parts.insert(0, plots.folded("Every size that ran, with spread and verdicts", *tables))
    return plots.displayed("\n".join(part.data for part in parts))
