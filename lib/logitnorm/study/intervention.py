"""The interventions: LogitNorm trained without the offset, and with one offset or one temperature for all images.

Losses and heads of this book, none of the papers': losses.centred_logitnorm, models.OneOffset and OneTemperature.
"""

import pandas as pd
from scipy import stats

from logitnorm.config import TAU

from . import offset, paper, repair, results, scoring
from .paper import where

NEAR_ACCURACY, NEAR_FPR95 = 0.6, 6.0  # points, by which the prediction one-offset allows them to differ
SEEDS = (1, 2, 3)  # of the runs with one offset or one temperature for all images
FIXED = 0.109  # tau of the runs at a fixed temperature: 1/s at which the one learned temperature ends
WORSE_ACCURACY, WORSE_FPR95 = 0.3, 3.0  # points, by which the prediction fixed-temperature asks them to be worse than that one


def interventions(loaded: list) -> pd.DataFrame:
    """LogitNorm and centred LogitNorm on CIFAR-10, small WRN-10-2: method, tau, seed, accuracy and mean FPR95 by MSP (percent)."""
    rows = [{"method": c.method, "tau": c.tau, "seed": c.seed, "accuracy": run.info["test_accuracy"],
             "msp": run.far("msp")}
            for run in results.small_net(loaded) for c in (run.config,) if c.method in TAU]
    return pd.DataFrame(rows, columns=["method", "tau", "seed", "accuracy", "msp"])


def intervention_said(found: pd.DataFrame) -> str:
    """Markdown: what tau does to the accuracy with and without the offset; "" where one of them was not run."""
    means = found.groupby(["method", "tau"])["accuracy"].mean().unstack(0)
    if not {"logitnorm", "centred_logitnorm"} <= set(means):
        return ""
    both = means.dropna().sort_index()
    plain, without = both["logitnorm"], both["centred_logitnorm"]
    real = without.max() - without.min() > 2 * (plain.max() - plain.min())
    return (f"**Without the offset τ {'counts' if real else 'matters little more'}**: at τ = {', '.join(f'{tau:g}' for tau in both.index)} the test accuracy is "
            f"{', '.join(f'{value:.1f}' for value in without)} %, and with it {', '.join(f'{value:.1f}' for value in plain)} %.")


def steps_said(loaded: list) -> str:
    """Markdown: the divisor of the gradient, tau ||c|| without the offset and tau ||f|| with it, on training images, and the norm of the gradient of all
    parameters: in the first three epochs and in the median over all, means over seeds; "" where one of the two losses was not run."""
    rows = []
    for run in results.small_net(loaded):
        c, column = run.config, "centred_norm_train" if run.config.method == "centred_logitnorm" else "norm_train"
        if c.method in ("logitnorm", "centred_logitnorm") and column in run.history:
            epochs = run.history[run.history["epoch"] > 0]
            rows += [{"method": c.method, "tau": c.tau, "what": what, "early": values.iloc[:3].mean(), "median": values.median()}
                     for what, values in (("divisor", c.tau * epochs[column]), ("gradient", epochs["grad_norm"]))]
    means = pd.DataFrame(rows, columns=["method", "tau", "what", "early", "median"]).groupby(["what", "tau", "method"]).mean().unstack().dropna()
    if means.empty or len(means.columns) < 4:  # two numbers of two losses
        return ""
    without, with_ = (means.xs(method, axis=1, level="method") for method in ("centred_logitnorm", "logitnorm"))
    told = {what: "; ".join(f"τ = {tau:g}: {without.loc[(what, tau), 'early']:.2f} and {with_.loc[(what, tau), 'early']:.2f}, in the median of all epochs "
                            f"{without.loc[(what, tau), 'median']:.2f} and {with_.loc[(what, tau), 'median']:.2f}" for tau in means.loc[what].index)
            for what in ("divisor", "gradient")}
    larger = (without.loc["gradient"] > with_.loc["gradient"]).all(axis=None)
    word = ("So the steps without the offset are larger, and too large a step is not excluded; no other learning rate was tried." if larger else
            "So the steps without the offset are not all larger.")
    return ("Is it the step instead? The gradient is divided by τ‖c‖ without the offset and by τ‖f‖ with it, on training images in the first three epochs "
            f"({told['divisor']}). The gradient of all parameters itself has the norm, without the offset and with it, {told['gradient']}. {word}")


def alternatives(loaded: list) -> pd.DataFrame:
    """LogitNorm, and it with one offset, one temperature or a fixed temperature for all images, in the net of the many seeds, seeds 1 to 3.

    Columns method, seed, accuracy (%), s (mean over the ID test images), nll (nats, of the softmax that is trained), msp (mean FPR95, %).
    """
    rows = [{"method": c.method, "seed": c.seed, "accuracy": run.info["test_accuracy"], "s": offset.described(run)["inverse_temperature"],
             "nll": offset.on_softmax(run, True)["nll"], "msp": run.far("msp")}
            for run in paper.by_method(loaded) for c in (run.config,) if run.counted and c.size == "small" and c.architecture == results.SECOND_NET
            and c.tau == (FIXED if c.method == "centred_logitnorm" else 0.04) and c.method in TAU and c.seed in SEEDS]
    return pd.DataFrame(rows, columns=["method", "seed", "accuracy", "s", "nll", "msp"])


def beside(found: pd.DataFrame, method: str, other: str = "logitnorm") -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of a method and those of another with the same seeds, both by seed."""
    rows, plain = (where(found, method=name).set_index("seed").drop(columns="method") for name in (method, other))
    both = rows.index.intersection(plain.index)
    return rows.loc[both], plain.loc[both]


def alternatives_said(found: pd.DataFrame) -> str:
    """Markdown: what one offset, and one temperature, for all images change beside LogitNorm's own, with the 95 % interval of paired seeds."""
    said = []
    for method, words in (("one_offset", "one learned offset for all images"), ("one_temperature", "one learned temperature for all images")):
        rows, plain = beside(found, method)
        if not len(rows):
            return f"The runs of the two: {paper.NOT_RUN}."
        said.append(f"with {words} the test accuracy changes by {_interval(rows, plain, 'accuracy', 2)} points and the FPR95 of MSP by "
                    f"{_interval(rows, plain, 'msp', 1)} (s = {rows['s'].mean():.1f} beside {plain['s'].mean():.1f}, n = {len(rows)})")
    return (f"{said[0][0].upper()}{said[0][1:]}; {said[1]}; 95 % intervals of paired seeds. The second has no length in its loss: that the length of c counts there is "
            f"neither shown nor excluded by so few seeds. {fixed_said(found)}")


def _interval(rows: pd.DataFrame, other: pd.DataFrame, column: str, decimals: int) -> str:
    """'-0.59 ± 1.10': the mean change and half its 95 % interval (Student's t) over the paired seeds; of one seed the change alone."""
    change = rows[column] - other[column]
    half = f" ± {stats.t.ppf(0.975, len(change) - 1) * change.sem():.{decimals}f}" if len(change) > 1 else ""
    return f"{change.mean():+.{decimals}f}{half}"


def fixed_said(found: pd.DataFrame) -> str:
    """Markdown: what is lost where the temperature is fixed at the end of the one that is learned, so whether its moving counts."""
    rows, moving = beside(found, "centred_logitnorm", "one_temperature")
    if not len(rows):
        return "A temperature fixed at its end was not trained, so whether the moving counts is open."
    change = (rows - moving).mean()
    worse = change["accuracy"] <= -WORSE_ACCURACY, change["msp"] >= WORSE_FPR95
    word = {2: "That it may move counts", 1: "That it may move counts for one of the two", 0: "That it may move is not seen to count"}[sum(worse)]
    so_far = f", as far as {len(rows)} of {len(SEEDS)} seeds say" * (len(rows) < len(SEEDS))
    return (f"{word}{so_far}: fixed from the first step where the learned one ends (centred LogitNorm, τ = {FIXED:g}), the test accuracy changes by "
            f"{_interval(rows, moving, 'accuracy', 2)} points and the FPR95 of MSP by {_interval(rows, moving, 'msp', 1)} (n = {len(rows)}).")


def own_said(found: pd.DataFrame) -> str:
    """A sentence: what the loss of the trained softmax says to a temperature of each image's own; "" where it is not larger without one in every seed."""
    each = [beside(found, method) for method in ("one_temperature", "centred_logitnorm")]
    if not all(len(rows) and (rows["nll"] > plain["nll"]).all() for rows, plain in each):
        return ""
    moving, fixed = (_interval(rows, plain, "nll", 3) for rows, plain in each)
    worse = all((rows["accuracy"] < plain["accuracy"]).all() for rows, plain in each)
    end = "Part of it may be the accuracy, which is lower in every seed too." if worse else "So for the probabilities it counts that each image has its own."
    return (f"What is seen is the loss: with one temperature for all images the NLL of the trained softmax on test images is larger than LogitNorm's in every seed, "
            f"by {moving} nats where it may move and by {fixed} where it is fixed. {end}")


def alternatives_table(found: pd.DataFrame) -> pd.DataFrame:
    """`alternatives` as a table to read."""
    return pd.DataFrame([{"loss": paper.LABELS[method] + f", τ = {FIXED:g}" * (method == "centred_logitnorm"), "n": str(len(part)), "accuracy (%)": paper.spread(part["accuracy"]),
                          "s": paper.spread(part["s"], 1), "NLL (nats)": paper.spread(part["nll"], 3), "FPR95 by MSP (%)": paper.spread(part["msp"], 1)}
                         for method, part in found.groupby("method", sort=False)])


def intervention_table(loaded: list) -> pd.DataFrame:
    """LogitNorm and centred LogitNorm at each tau: accuracy, effective 1/tau, NLL and ECE, FPR95 of MSP and Energy."""
    found = []
    small = [run for run in loaded if run.config.method in TAU and run.config.size == "small" and run.in_grid]
    for c, group in offset.grouped([run for run in small if run.config.architecture.startswith("wrn")]):
        repaired = repair.repairs(group)
        raw = "energy_t1" if "energy_t1" in scoring.of_run(c) else "energy"
        six = where(repaired, group="six").set_index("score")["fpr95"]
        soft = pd.DataFrame([offset.on_softmax(run, True) for run in group])
        found.append({"loss": paper.LABELS[c.method], "ID": paper.title(c.id_dataset), "τ": f"{c.tau:g}", "n": str(len(group)),
                      "accuracy": paper.spread(pd.Series([run.info["test_accuracy"] for run in group])),
                      "s": paper.spread(pd.Series([offset.described(run)["inverse_temperature"] for run in group]), 1),
                      "NLL": paper.spread(soft["nll"], 3), "ECE": paper.spread(soft["ece"], 1),
                      "MSP": paper.spread(six[["msp"]], 1), "Energy, T = 1": paper.spread(six[[raw]], 1),
                      "of f − m": paper.spread(six[["energy_centred"]], 1)})
    return pd.DataFrame(found)
