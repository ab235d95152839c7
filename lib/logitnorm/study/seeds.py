"""How many seeds a claim needs: many runs of one small net with each of two losses, and what fewer would have said."""

import numpy as np
import pandas as pd
from scipy import stats

from . import offset, paper, results
from .paper import listed

METHODS = ("cross_entropy", "logitnorm")
COUNTS = (1, 2, 3, 5, 10)
LEAST = 5  # seeds of each loss below which nothing is said about their spread
# Number -> (score, metric): averages over the far OOD sets where there is a score.
CLAIMS = {"accuracy": ("", "accuracy"), "MSP, FPR95": ("msp", "fpr95"), "MSP, AUROC": ("msp", "auroc"),
          "ODIN, FPR95": ("odin", "fpr95"), "GradNorm, FPR95": ("gradnorm", "fpr95"), "Energy, FPR95": ("energy", "fpr95"),
          "Energy of f − m, FPR95": ("energy_centred", "fpr95")}
RATES = {claim: claim.removesuffix(", FPR95") for claim, (_, metric) in CLAIMS.items() if metric == "fpr95"}  # -> name of the score


def behind(loaded: list) -> list:
    """The runs of that network with both losses as the tables have them, of each seed that both have."""
    found = [run for run in paper.of_methods(loaded, *METHODS) if run.config.architecture == results.SECOND_NET and run.counted]
    both = set.intersection(*({run.config.seed for run in found if run.config.method == method} for method in METHODS))
    return [run for run in found if run.config.seed in both]


def many(loaded: list) -> pd.DataFrame:
    """The rows of paper.ours for the runs `behind` the study; column offset: the run's mean logit."""
    found = behind(loaded)
    return paper.ours(found).assign(offset=lambda frame: frame["run"].map({run.id: offset.described(run)["offset"] for run in found}))


def pairs(frame: pd.DataFrame, score: str, metric: str) -> np.ndarray:
    """(seeds, 2): what each seed gave with cross-entropy and with LogitNorm, in the order of the seeds."""
    rows = paper.where(frame, score=score, metric=metric, ood_dataset="average" if score else "")
    return rows.pivot(index="seed", columns="method", values="value")[list(METHODS)].to_numpy()


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean change from column 0 to 1: bootstrap over the paired seeds (scipy, BCa)."""
    found = stats.bootstrap((values[:, 1] - values[:, 0],), np.mean, n_resamples=9999, rng=np.random.default_rng(0))
    return tuple(found.confidence_interval)


def wrong(values: np.ndarray, count: int) -> float:
    """The chance, in %, that the means of `count` seeds of each loss stand in the other order than those of all.

    Seeds are drawn with replacement, as new ones would come (without it, ten of twenty would be judged by a mean of which they are half),
    and for each loss on its own: a table does not know whose seed was lucky. Of one seed all pairs are counted, of more 40,000 draws, a tie
    is wrong by half.
    """
    a, b = values.T
    if not 1 <= count <= len(a):
        raise ValueError(f"wrong: {count} seeds out of {len(a)}; give between 1 and {len(a)}")
    rng = np.random.default_rng(0)
    if count == 1:
        difference = (b[None] - a[:, None]).ravel()
    else:
        means = [side[rng.integers(len(side), size=(40_000, count))].mean(axis=1) for side in (a, b)]
        difference = means[1] - means[0]
    against = -np.sign(b.mean() - a.mean())
    return 100 * float(np.mean(np.sign(difference) == against) + np.mean(difference == 0) / 2)


def unclear(values: np.ndarray, count: int, least: float) -> tuple[float, float]:
    """(%, %): how often this book's rule on `count` seeds of each loss calls the change unclear, or the other way round.

    The rule is paper.direction: a change within twice the spread of the seeds (paper.noise), or below `least`, is none. The paper's change
    is taken to be the change over all seeds. With one seed there is no spread and only `least` is asked.
    """
    rng, change = np.random.default_rng(0), float(np.diff(values.mean(axis=0))[0])
    words = []
    for _ in range(4_000):
        a, b = (rng.choice(side, count, replace=False) for side in values.T)
        noise = paper.noise(*(side.std(ddof=1) if count > 1 else 0.0 for side in (a, b)), least)
        words.append(paper.direction(change, float(b.mean() - a.mean()), noise, least))
    share = pd.Series(words).value_counts(normalize=True) * 100
    return float(share.get("no clear change", 0.0)), float(share.get("opposite direction", 0.0))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per number of CLAIMS: means with spread, the change and its interval, the correlation, chances of a wrong order.

    Columns claim, cross_entropy, logitnorm, sd0, sd1, change, low, high, correlation, and one per count of COUNTS.
    """
    lines = []
    for claim, (score, metric) in CLAIMS.items():
        values = pairs(frame, score, metric)
        low, high = interval(values)
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
        lines.append({"claim": claim, **dict(zip(METHODS, mean)), "sd0": sd[0], "sd1": sd[1], "change": mean[1] - mean[0],
                      "low": low, "high": high, "correlation": np.corrcoef(values.T)[0, 1],
                      **{count: wrong(values, count) for count in COUNTS if count <= len(values)}})
    return pd.DataFrame(lines)


def heaps(frame: pd.DataFrame) -> str:
    """Markdown: Energy under LogitNorm by the sign of the offset, which the seed chooses; "" where all have one sign."""
    rows = paper.where(frame, method="logitnorm", score="energy", metric="fpr95", ood_dataset="average")
    below, above = (rows[rows["offset"] * sign > 0]["value"] for sign in (-1, 1))
    if not len(below) or not len(above):
        return ""
    apart = stats.mannwhitneyu(below, above).pvalue
    return (f"Energy, at the paper's T, falls into two heaps under LogitNorm, and the sign of the offset tells them apart: the {len(below)} seeds with "
            f"a mean logit below zero have {paper.spread(below, 1)} %, the {len(above)} above zero {paper.spread(above, 1)} % "
            f"(Mann-Whitney, p = {apart:.1g}). The seed chooses the sign, and the loss is the same for both "
            "([why](hidden_temperature.html)). So the mean over seeds of this number describes no network that exists.")


def finding(lines: pd.DataFrame, seeds: int) -> str:
    """Markdown: which number one seed decides, and which not even several do."""
    rates = lines[lines["claim"].isin(RATES)].assign(claim=lines["claim"].map(RATES))
    sure, loose = rates.loc[rates[1].idxmin()], rates.loc[rates[1].idxmax()]
    several = [count for count in COUNTS if count in lines and count > 1]
    said = (f"**One seed of each loss ranks the two by the FPR95 of {sure['claim']} as all {seeds} seeds do in {100 - sure[1]:.0f} of 100 draws, by "
            f"that of {loose['claim']} in {100 - loose[1]:.0f}**")
    if several:
        said += f". With {listed(several)} seeds {loose['claim']} gets {listed([f'{100 - loose[count]:.0f}' for count in several])}"
    blind = lines[(lines["low"] < 0) & (lines["high"] > 0)]["claim"]
    open_ = (f" For {', '.join(blind)} not even all {seeds} say whether LogitNorm lowers or raises it: "
             "the interval of the change contains zero.") if len(blind) else ""
    return said + "." + open_


def printed(lines: pd.DataFrame) -> pd.DataFrame:
    """The table as the page shows it."""
    shown = pd.DataFrame({("", "number"): lines["claim"]})
    for name, mean, sd in (("CE", "cross_entropy", "sd0"), ("LogitNorm", "logitnorm", "sd1")):
        shown["mean ± sd over seeds", name] = [f"{m:.1f} ± {s:.1f}" for m, s in zip(lines[mean], lines[sd])]
    shown["change", "mean"] = [f"{value:+.1f}" for value in lines["change"]]
    shown["change", "95 % interval"] = [f"{low:+.1f} to {high:+.1f}" for low, high in zip(lines["low"], lines["high"])]
    for count in (1, 3, 5):
        if count in lines:
            shown["wrong order, %", f"{count} seed{'s' * (count > 1)}"] = [f"{value:.1f}" for value in lines[count]]
    shown.columns = pd.MultiIndex.from_tuples(shown.columns)
    return shown


def rule_said(frame: pd.DataFrame) -> str:
    """Markdown: what this book's own verdict rule, with its three seeds, says of a change that is there."""
    found = {name: unclear(pairs(frame, *CLAIMS[claim]), 3, paper.LEAST["fpr95"]) for claim, name in RATES.items()}
    said = "; ".join(f"{name} {vague:.0f} and {wrong:.0f}" for name, (vague, wrong) in found.items())
    return ("This book's rule asks whether a change exceeds twice the spread of its seeds, and 2 points. Of 100 draws of three seeds each, it would call the "
            f"change unclear, and call it the other way round, in: {said}. The rule buys rare wrong signs with a word that commits to "
            "nothing.")


def paired_said(lines: pd.DataFrame) -> str:
    """Markdown: whether the two losses of one seed go together, from the rows of `table`."""
    return (f"Both losses of a pair start from the same weights; over the numbers above their correlation lies between "
            f"{lines['correlation'].min():+.1f} and {lines['correlation'].max():+.1f}. Pairing narrows an interval only where it is high.")
