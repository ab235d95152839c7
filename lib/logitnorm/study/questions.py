"""What the finished runs say to the open issues of the official repository: one sentence or table an issue, computed."""

import numpy as np
import pandas as pd

from logitnorm import metrics, scores

from . import conventions, findings, paper, repair, results

TEMPERATURES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the energy score: the code has 0.1 and 0.01, the score's paper 1
NONE = f"The runs that would show it: {paper.NOT_RUN}."


def _with_logits(loaded: list) -> list:
    """The runs of cross-entropy and of LogitNorm at the paper's tau on CIFAR-10 that kept their logits."""
    found = [run for run in loaded if run.config.id_dataset == "cifar10" and run.in_grid]
    return [run for run in paper.of_methods(found, "cross_entropy", "logitnorm") if run.keeps("logits")]


def tau_of_cifar100(loaded: list) -> str:
    """Issue 2, Markdown: the tau that held-out noise chooses on CIFAR-100, and what each tau gives on the OOD sets."""
    found = [run for run in loaded if run.config.id_dataset == "cifar100" and run.config.seed == 1 and run.in_grid]
    choice = paper.by_tau(paper.ours(found), "cifar100")
    if len(choice) < 2:
        return NONE
    listed = "; ".join(f"τ = {row.tau:g}: {row.far:.1f} % and {row.accuracy:.1f} %" for row in choice.itertuples())
    return (f"{findings.tau_choice(choice)} Average FPR95 of the six sets by MSP and test accuracy, one seed each, "
            f"{_nets(loaded, 'cifar100')}: {listed}.")


def fitted_on_test(loaded: list) -> str:
    """Issue 4, Markdown: what fitting the temperature on the test images themselves gains over cross-fitting it."""
    gains = []
    for run in _with_logits(loaded):
        f, y = (run.tensor(f"{run.config.id_dataset}/{name}") for name in ("logits", "labels"))
        on_test = metrics.ece(f / metrics.fit_temperature(f, y), y)
        gains.append(run.metrics.set_index("metric")["value"]["ece_ts"] - on_test)
    if not gains:
        return NONE
    return (f"Over {len(gains)} runs the calibration error with a temperature fitted on the very test images differs from the "
            f"cross-fitted one by {min(gains):+.2f} to {max(gains):+.2f} points: it makes no difference that a table would show.")


def crop_or_resize(loaded: list) -> str:
    """Issue 5, Markdown: which of the two ways of preparing photos is harder, network by network, by MSP."""
    pair = ("lsun_like_crop", "lsun_like_resize")
    lines = {}
    for run in loaded:
        if run.config.id_dataset == "cifar10" and run.config.method in ("cross_entropy", "logitnorm") and set(pair) <= set(run.sets):
            found = paper.where(run.metrics, score="msp", metric="fpr95").set_index("ood_dataset")["value"]
            lines.setdefault(run.config.method, []).append(found[pair[0]] - found[pair[1]])
    if not lines:
        return NONE
    printed = paper.where(paper.numbers("1"), id_dataset="cifar10", metric="fpr95").set_index(["ood_dataset", "method"])["paper"]
    said = []
    for method, gaps in lines.items():
        crop, resized = (printed[name, method] for name in ("lsun_c", "lsun_r"))
        said.append(f"{paper.LABELS[method]}: the crops are harder in {sum(gap > 0 for gap in gaps)} of {len(gaps)} runs "
                    f"(mean difference {np.mean(gaps):+.1f} points; in the paper's Table 1 {crop - resized:+.1f})")
    return "With photos prepared in the two ways, stand-ins for LSUN-C and LSUN-R: " + "; ".join(said) + "."


def energy(loaded: list) -> pd.DataFrame:
    """Issue 6: mean FPR95 (%) over the six far sets by Energy at each temperature, of the raw logits f and of f - m.

    One line a temperature, one pair of columns for each network and loss; means over the runs that kept their logits.
    """
    columns = {}
    for run in _with_logits(loaded):
        inside = run.tensor(f"{run.config.id_dataset}/logits").astype(float)
        outside = [run.tensor(f"{name}/logits").astype(float) for name in run.config.ood_sets]
        name = f"{paper.trained(run.config)}, {paper.LABELS[run.config.method]}"
        for kind, change in (("f", lambda f: f), ("f − m", scores.centred)):
            columns.setdefault((name, kind), []).append(
                [np.mean([metrics.fpr95(scores.energy(change(inside), T), scores.energy(change(f), T)) for f in outside])
                 for T in TEMPERATURES])
    return pd.DataFrame({key: np.mean(values, axis=0) for key, values in columns.items()}, index=pd.Index(TEMPERATURES, name="T"))


def energy_table(found: pd.DataFrame) -> pd.DataFrame:
    """`energy` as a table to read."""
    table = found.map("{:.1f}".format).reset_index(names=[""])
    table[table.columns[0]] = found.index.map("{:g}".format)
    table.columns = pd.MultiIndex.from_tuples([("", "T"), *found.columns])
    return table


def energy_said(found: pd.DataFrame) -> str:
    """Issue 6, Markdown: does a small temperature repair Energy, and what does."""
    if not len(found.columns):
        return NONE
    said = []
    for name in dict.fromkeys(name for name, _ in found.columns if paper.LABELS["logitnorm"] in name):
        raw, centred = found[name, "f"], found[name, "f − m"]
        said.append(f"{name.split(',')[0]}: {raw[1.0]:.1f} % at T = 1 and {raw[0.1]:.1f} % at T = 0.1; on f − m {centred[1.0]:.1f} % and "
                    f"{centred[0.1]:.1f} %")
    return ("Average FPR95 of Energy after LogitNorm, means over seeds. " + ". ".join(said) + ". Energy is m + T log Σ exp(c / T), with "
            "m the mean logit and c = f − m: the larger T, the less its second part differs between images, and the more m decides. "
            "A small T hides the trouble, and subtracting m ends it.")


def gradnorm(loaded: list) -> str:
    """Issue 3, Markdown: FPR95 of GradNorm image by image and with one gradient a batch of 200, of the runs that kept features."""
    said = []
    for run in _with_logits(loaded):
        if run.keeps("features"):
            found = conventions.gradnorm_both(run)
            image, batch = (pd.to_numeric(found[f"FPR95, by {what}"], errors="coerce").dropna() for what in ("image", "batch"))
            said.append(f"{paper.method_title(run.config)}: image by image {image.min():.1f} to {image.max():.1f} %, with one gradient a "
                        f"batch {', '.join(f'{value:.0f}' for value in sorted(batch)) or 'none'} %")
    return f"FPR95 of GradNorm over the OOD sets, {_nets(_with_logits(loaded), 'cifar10')}. {'; '.join(said)}." if said else NONE


def near_and_far(loaded: list) -> pd.DataFrame:
    """Mean FPR95 and AUROC (%) of MSP over OpenOOD's near and far sets at hand: a line for each loss, CIFAR-10."""
    found = results.small_net(loaded)
    if not found:
        return pd.DataFrame()
    rows = repair.repairs(found)
    rows = paper.where(rows, score="msp", group=["near", "far"])
    rows = rows[rows["tau"].isna() | np.isclose(rows["tau"], paper.TAU["cifar10"])]
    lines = []
    for (method, cutout), part in rows.groupby(["method", "cutout"], sort=False):
        line = {("", "loss"): paper.LABELS[method] + ", Cutout" * bool(cutout)}
        for metric in ("fpr95", "auroc"):
            for group in ("near", "far"):
                line[paper.title(metric), group] = paper.spread(part[part["group"] == group][metric], 1)
        lines.append(line)
    return paper.grouped_columns(lines)


def _nets(loaded: list, id_dataset: str) -> str:
    return ", ".join(dict.fromkeys(paper.network(run.config.architecture) for run in loaded if run.config.id_dataset == id_dataset))


WRITTEN = {"answer2": tau_of_cifar100, "answer3": gradnorm, "answer4": fitted_on_test, "answer5": crop_or_resize,
           "answer6": lambda loaded: " ".join(filter(None, (energy_said(energy(loaded)), repair.own_repair_said(
               repair.repairs([run for run in loaded if run.config.size == "full"])))))}
