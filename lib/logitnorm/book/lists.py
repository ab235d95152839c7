"""Lists of the pages, as HTML: the claims, what a run's run.json records, and the runs that nobody has trained yet."""

import re
from html import escape

import pandas as pd

from logitnorm.config import Config
from logitnorm.study import adopt, count, ledger, paper

from . import plots

CARDS = 6  # of the runs that nobody has trained yet; the others stand in a table

# ---- the claims

def claims(lines: pd.DataFrame, caption: str) -> str:
    """The ledger as an HTML table for a page in book/ or notebooks/, one line a claim; reasons, page and runs unfold.

    A group for each of `ledger.kinds`; each row has the anchor claim-ID. A field above it, which needs a script, keeps the rows with a word.
    """
    heads = ("claim", "paper", "this book", "verdict")
    body = []
    for name, part in ledger.kinds(lines):
        rows = [f'<tr class="group"><th scope="rowgroup" colspan="{len(heads)}">{name}: {len(part)} of {len(lines)}</th></tr>']
        rows += [_claim(row) for row in part.to_dict("records")]
        body.append("<tbody>\n" + "\n".join(rows) + "\n</tbody>")
    return (f'<p class="ledger-find" hidden><label>Find <input type="search" placeholder="Energy, ECE, SVHN …"></label></p>\n'
            f'<table class="ledger">\n<caption>{escape(caption)}</caption>\n'
            f"<thead>{plots.columns(heads)}</thead>\n" + "\n".join(body) + f"\n</table>\n<script>{FIND}</script>")


# Rows without the word go, and a group's heading with its last row; without a script all rows stay.
FIND = """(() => {
  const field = document.querySelector(".ledger-find"), bodies = document.querySelectorAll("table.ledger tbody");
  field.hidden = false;
  document.querySelector("tr:target details")?.setAttribute("open", "");
  field.addEventListener("input", (event) => {
    const word = event.target.value.trim().toLowerCase();
    for (const body of bodies) {
      const rows = [...body.querySelectorAll("tr[id]")];
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
      body.hidden = rows.every((row) => row.hidden);
    }
  });
})();"""


def _claim(row: dict) -> str:
    more = [f'<a href="../{row["page"]}.html">{escape(row["where"])}</a> of {escape(ledger.PAPERS[row["paper"]])}']
    more += [re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', escape(row[key])) for key in ("difference", "tally") if row[key]]
    if "±" in row["ours"] or "n =" in row["ours"]:
        more.append(f"with spread and seeds: {escape(row['ours'])}")
    if row["runs"]:
        links = ", ".join(f'<a href="../notebooks/provenance.html#{first}" title="{escape(label)}">{number}</a>'
                          for number, (label, first) in enumerate(ledger.groups(row["runs"]).items(), 1))
        more.append(f"size {escape(row['size'])}, runs {links}")
    claim = (f'<details><summary><strong>{escape(row["topic"])}</strong> {escape(row["says"])}</summary>'
             f"<p>{'; '.join(one.rstrip('.') for one in more)}.</p></details>")
    numbers = "".join(f'<td data-name="{name}">{escape(row[key])}</td>'
                      for name, key in (("paper", "theirs_short"), ("this book", "ours_short")))
    mark = ledger.MARKS[ledger.VERDICTS[row["verdict"]]]
    return (f'<tr id="claim-{row["id"]}"><th scope="row">{claim}</th>{numbers}<td title="{escape(row["verdict"])}">'
            f'<span aria-hidden="true">{mark}</span> {escape(ledger.short(row["verdict"]))}</td></tr>')


def claims_in_small(lines: pd.DataFrame) -> str:
    """The ledger in small: one line a claim, in groups that unfold; the whole of it has its own page. A claim of the second paper is
    named with its network and ID set."""
    groups = []
    for title, part in ledger.kinds(lines):
        rows = "".join(
            f'<tr><td><span aria-hidden="true">{ledger.MARKS[ledger.VERDICTS[row.verdict]]}</span> '
            f'<a href="../notebooks/ledger.html#claim-{row.id}" title="{escape(row.verdict)}">{escape(f"{row.topic}: " * (row.paper == "confidence") + row.says)}</a></td>'
            f'<td data-label="paper">{escape(row.theirs)}</td><td data-label="this book">{escape(row.ours)}</td></tr>'
            for row in part.itertuples())
        groups.append(
            f'<details class="claims"{" open" * (not groups)}><summary>{title}: {len(part)} of {len(lines)}</summary>'
            f'<table class="claims"><thead>{plots.columns(("claim", "paper", "this book"))}</thead><tbody>{rows}</tbody></table></details>')
    return f"```{{raw}} html\n{''.join(groups)}\n```\n"


# ---- runs

def facts(run) -> str:
    """What a run's run.json records, folded, as HTML with the run's id as its anchor."""
    info = run.info
    code, scored = info["code"], info.get("scored", info)["device"]
    continued = "; ".join(f"from epoch {part['from_epoch']} in {part['precision']} by commit {part['code']['commit']}"
                          for part in info.get("continued", []))
    recorded = {
        "test accuracy": f"{info['test_accuracy']:.2f} %",
        "commit": f"{code['commit']}{' with uncommitted changes' if code['dirty'] else ''}",
        "library": f"version {code['version']}, sha256 {code['library_sha256']}",
        "versions": ", ".join(f"{name} {number}" for name, number in info["versions"].items()),
        "device": run.device + f", scored on {scored}" * (scored != info["device"]), **{name: info[name] for name in ("note",) if name in info},
        **({"continued": continued} if continued else {}),
        "wall time": f"{info['wall_seconds'] / 60:.1f} minutes", "finished": info["finished"],
        "settings": ", ".join(f"{name} = {value}" for name, value in info["config"].items()),
        "images (sha256)": ", ".join(f"{name} {digest[:12]}" for name, digest in info["data"].items()),
        "files (sha256)": ", ".join(f"{name} {digest[:12]}" for name, digest in info["files"].items())}
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in recorded.items())
    return (f'<details id="{run.id}"><summary><code>{escape(run.id)}</code></summary>'
            f'<dl style="overflow-wrap:anywhere">{items}</dl></details>')


def missing_runs(loaded: list, colab: str) -> str:
    """The page's part that follows from the runs: loaded, the runs of size full; colab, where the notebook opens.

    The first groups as cards that one can act on, the others as a folded table.
    """
    counted = count.counted(loaded).set_index("where")
    have = " and ".join(f"{counted.loc[f'{name}, all', 'ours']:.0f} of the {counted.loc[f'{name}, all', 'printed']:.0f} numbers "
                        f"of {name}" for name in ("LogitNorm", "Learned Confidence"))
    groups = adopt.by_worth(loaded)
    if not groups:
        return f"At size full there are {have}, and no run is missing.\n"
    two = groups[:2]
    text = (f"At size full there are {have}. The first two of the runs below would add **{sum(number for _, number, _ in two)} "
            f"numbers in about {sum(adopt.hours(group[0], 'T4') for group, *_ in two):.1f} hours of a T4**, a GPU that Colab lends for nothing.")
    shares = ", ".join(f"{gpu} {100 * share:g} % of {peak} TFLOP/s" for gpu, (peak, share) in adopt.GPUS.items())
    cards = "\n".join(_card(*group, colab) for group in groups[:CARDS])
    table = _table(groups[CARDS:], colab) if groups[CARDS:] else ""
    estimate = (f"An <strong>estimate</strong>, for one run: its floating-point operations over a share of the GPU's 16-bit peak "
                f"({shares}; measured on the H100, assumed for the others). The notebook measures its own first steps and prints a better one before it starts.")
    return (f"{text}\n\n```{{raw}} html\n<ol class=\"adopt\">\n{cards}\n</ol>\n{table}<details class=\"record\"><summary>How the "
            f"hours are estimated</summary><p>{estimate}</p></details>\n```\n\n{sum(len(group) for group, *_ in groups)} runs are "
            "missing, all seeds counted; `python -m logitnorm experiments --list --size full` prints them, with those that are here.\n")


def _name(config: Config) -> str:
    """'LogitNorm τ = 0.04, WRN-40-2 on CIFAR-10'."""
    return f"{paper.method_title(config)}, {paper.network(config.architecture)} on {paper.title(config.id_dataset)}"


def _cost(config: Config) -> str:
    return ", ".join(f"{gpu} {adopt.hours(config, gpu):.1f} h" for gpu in adopt.GPUS)


def _card(group: list[Config], number: int, where: str, colab: str) -> str:
    config = group[0]
    gives = f"<strong>{number} printed numbers</strong>: {escape(where)}" if number else escape(where or "no printed number")
    return (f'<li><p class="adopt-name"><strong>{escape(_name(config))}</strong>, seed {config.seed}'
            f'<a href="{escape(colab)}">Open in Colab</a></p><p>{gives}. {_cost(config)}.</p>'
            f'<div class="highlight"><pre>{escape(adopt.parameters(config))}</pre></div></li>')


def _table(groups: list, colab: str) -> str:
    """Every other group as a folded table: what it is, which seeds, what it gives, what it costs, what to add to the cell of parameters."""
    rows = [(escape(_name(group[0])), [
        f'<td data-label="seeds">{", ".join(str(one.seed) for one in group)}</td>'
        f'<td data-label="printed numbers">{number}</td><td data-label="hours a run">{_cost(group[0])}</td>'
        f'<td data-label="line to add"><code>{escape(adopt.parameters(group[0]))}</code> <a href="{escape(colab)}">open</a></td>'])
        for group, number, _ in groups]
    table = plots.html_table(("run", "seeds", "numbers", "hours a run", "line to add"), rows, kind="dataframe adopt")
    return f'<details class="record"><summary>{len(groups)} further kinds of run</summary>\n{table}</details>\n'
