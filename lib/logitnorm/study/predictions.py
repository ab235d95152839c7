"""The predictions about the hidden temperature, in the order in which they were made, and what became of each.

data/predictions.yaml says what was predicted, when, and what was known then; a judge here reads the finished runs and
answers held, did not hold, or None as long as runs are missing that could still change the answer.
"""

import pandas as pd
import yaml

from logitnorm import paths

from . import intervention, label_noise, offset, paper, repair
from .paper import where

RECORD = "no prediction but its record"  # what data/predictions.yaml says of an entry that was written after the fact


def made() -> list[dict]:
    """data/predictions.yaml: id, when it was written, what was known then, what it says."""
    return yaml.safe_load((paths.ROOT / "data" / "predictions.yaml").read_text(encoding="utf-8"))


def judged(loaded: list, frame: pd.DataFrame, repaired: pd.DataFrame) -> pd.DataFrame:
    """The predictions in the order in which they were made, with what the finished runs say of each.

    frame, repaired: `offset.temperatures` and `repair.repairs` of the runs.
    """
    plain = [run for run in loaded if run.config.size == "small" and run.config.architecture == "wrn10_2"
             and run.in_grid]
    rows = []
    for entry in made():
        held, said = JUDGES[entry["id"]](plain, frame, repaired, loaded)
        became = {True: "held", False: "did not hold", None: paper.NOT_RUN}[held]
        rows.append({"written": entry["written"], "prediction": entry["says"], "known then": entry["known then"], "numbers": said,
                     "became": RECORD if RECORD in entry["known then"] else became})
    return pd.DataFrame(rows)


def judged_said(found: pd.DataFrame) -> str:
    """Markdown: how many of the predictions held, and which did not, each by its first words."""
    held, failed, waiting, record = (int((found["became"] == word).sum()) for word in ("held", "did not hold", paper.NOT_RUN, RECORD))
    open_ = f"{waiting} {'waits' if waiting == 1 else 'wait'} for runs, and " * bool(waiting)
    wrong = "; ".join(f"“{said.split(':')[0].rstrip('.')}”" for said in found.loc[found["became"] == "did not hold", "prediction"])
    return (f"**{held} held, {failed} did not**; {open_}{record} is the record of what was already seen. Some were judged on the same runs, so the count is "
            f"no sample. What did not hold: {wrong or 'nothing'}.")


def _metric(loaded: list, name: str, **values) -> pd.Series:
    """A metric of the ID set of the runs with these settings, by seed."""
    return pd.Series({run.config.seed: run.metrics.set_index("metric")["value"].get(name) for run in loaded
                      if all(getattr(run.config, key) == value for key, value in values.items())}, dtype=float).dropna()


def _trains_worse(plain, frame, repaired, loaded):
    accuracy = [_metric(plain, "accuracy", id_dataset="cifar10", method=method, tau=0.01)
                for method in ("logitnorm", "centred_logitnorm")]
    if min(map(len, accuracy)) < 3:
        return None, f"so far {paper.spread(accuracy[1])} %" if len(accuracy[1]) else ""
    return bool(accuracy[1].mean() < accuracy[0].mean()), "; ".join(
        f"{name}: {paper.spread(values)} %" for name, values in zip(("with the offset", "without"), accuracy)
    )


def _best_tau(plain, frame, repaired, loaded):
    nll = {tau: _metric(plain, "nll_normalised", id_dataset="cifar10", method="centred_logitnorm", tau=tau)
           for tau in (0.01, 0.04, 0.07, 0.1)}
    said = "; ".join(f"tau {tau:g}: {paper.spread(values, 3)} nats" for tau, values in nll.items() if len(values))
    if min(map(len, nll.values())) < 3:
        return None, said
    return min(nll, key=lambda tau: nll[tau].mean()) == 0.07, said


def _energy(plain, frame, repaired, loaded):
    here = where(repaired, **offset.SMALL10, method="centred_logitnorm", tau=0.04, group="six")
    raw, centred = (where(here, score=score).set_index("seed")["fpr95"] for score in ("energy", "energy_centred"))
    said = "; ".join(f"seed {seed}: {raw[seed]:.1f} %, centred {centred[seed]:.1f} %" for seed in raw.index)
    held = bool((raw < 60).all() and ((raw - centred).abs() < 1).all())
    return (None if held and len(raw) < 3 else held), said


def _plateau(plain, frame, repaired, loaded):
    rows = where(frame, **offset.SMALL10, method="logitnorm", tau=[0.02, 0.03, 0.04, 0.05, 0.06])
    new = rows[rows["tau"] != 0.04]
    if not len(new):
        return None, ""
    accuracy = rows.groupby("tau")["test_accuracy"].mean()
    said = (f"s* {new['effective'].min():.1f} to {new['effective'].max():.1f}; test accuracy of a tau "
            f"{accuracy.min():.2f} to {accuracy.max():.2f} % (n = {len(new)})")
    if not new["effective"].between(13, 14.5).all():  # one seed is enough to refute
        return False, said
    if new.groupby("tau")["seed"].nunique().reindex([0.02, 0.03, 0.05, 0.06], fill_value=0).min() < 3:
        return None, said
    return bool(accuracy.max() - accuracy.min() <= 1), said


def _threshold(plain, frame, repaired, loaded):
    rows = where(frame, **offset.SMALL10, method="logitnorm", tau=0.08)
    said = "; ".join(f"seed {row.seed}: offset {row.offset:+.2f}, s* {row.effective:.1f}" for row in rows.itertuples())
    held = bool((rows["offset"].abs() < 0.2).all() and (rows["effective"] >= 0.95 * 12.5).all())
    return (None if held and len(rows) < 3 else held), said  # one seed is enough to refute


def _sign(plain, frame, repaired, loaded):
    rows = where(frame, **offset.SMALL10, method="logitnorm", tau=[0.02, 0.03, 0.05]).sort_values(["tau", "seed"])
    said = "; ".join(f"tau {row.tau:g}, seed {row.seed}: {row.offset:+.2f}" for row in rows.itertuples())
    held = bool(((rows["offset"] < 0) == (rows["seed"] == 1)).all())
    return (None if held and len(rows) < 9 else held), said


def _cifar100(plain, frame, repaired, loaded):
    nll = {tau: _metric(plain, "nll_normalised", id_dataset="cifar100", method="centred_logitnorm", tau=tau, seed=1)
           for tau in (0.0085, 0.0263)}
    said = "; ".join(f"tau {tau:g}: {values.iloc[0]:.3f} nats" for tau, values in nll.items() if len(values))
    if min(map(len, nll.values())) < 1:
        return None, said
    return bool(nll[0.0263].iloc[0] < nll[0.0085].iloc[0]), said


def _larger(plain, frame, repaired, loaded):
    rows = where(frame, id_dataset="cifar10", method="logitnorm", tau=0.04, in_grid=True, size=["small", "medium"])
    small, large = (rows[rows["architecture"] == name]["effective"] for name in ("wrn10_2", "wrn40_2"))
    if not len(large) or not len(small):
        return None, ""
    return bool(large.min() > small.max()), f"WRN-40-2: {paper.spread(large, 1)}; WRN-10-2: {paper.spread(small, 1)}"


def _repaired_at(repaired: pd.DataFrame, size: str) -> tuple[bool | None, str]:
    """Whether the repair takes 5 points from Energy's mean FPR95 for LogitNorm, and not 1 for cross-entropy: WRN-40-2, seed 1."""
    here = where(repair.at_papers_tau(repaired), architecture="wrn40_2", size=size, id_dataset="cifar10", group="six", seed=1,
                 in_grid=True)
    found = {}
    for method, raw in (("logitnorm", "energy_t1"), ("cross_entropy", "energy")):
        fpr95 = where(here, method=method).set_index("score")["fpr95"]
        if raw not in fpr95:
            return None, ""
        found[method] = (fpr95[raw], fpr95["energy_centred"])
    said = "; ".join(f"{paper.LABELS[method]}: {raw:.1f} to {centred:.1f} %"
                     for method, (raw, centred) in found.items())
    (a, b), (x, y) = found["logitnorm"], found["cross_entropy"]
    return bool(a - b > 5 and abs(x - y) < 1), said


def _scaled_step(plain, frame, repaired, loaded):
    fpr95 = where(offset.scaled(repaired), score="msp", group="six").set_index("tau")["fpr95"]
    said = "; ".join(f"tau {tau:g}: {value:.1f} %" for tau, value in fpr95.items())
    others = where(repaired, **offset.SMALL10, method="logitnorm", tau=0.04, seed=[2, 3], score="msp", group="six")["fpr95"]
    if len(fpr95) and len(others):
        said += f" (seeds 2 and 3 of tau 0.04: {', '.join(f'{value:.1f}' for value in others)} %)"
    beaten = 0.04 in fpr95 and bool((fpr95 < fpr95[0.04]).any())  # one tau is enough for it to hold
    return (True if beaten else False if len(fpr95) == 8 else None), said


def _scaled_temperature(plain, frame, repaired, loaded):
    s = offset.scaled(frame).set_index("tau")["effective"].reindex([0.01, 0.02, 0.03, 0.05]).dropna()
    said = "; ".join(f"tau {tau:g}: {value:.1f}" for tau, value in s.items())
    held = bool(s.between(12, 15).all())
    return (None if held and len(s) < 4 else held), said


def _longer(plain, frame, repaired, loaded):
    rows = offset.lengths(frame)
    said = "; ".join(f"{row.epochs} epochs: s* {row.effective:.1f}, offset ratio {abs(row.signed_ratio):.2f}, training "
                     f"accuracy {row.train_accuracy:.1f} %" for row in rows.itertuples())
    held = bool(rows["effective"].is_monotonic_increasing and rows["signed_ratio"].abs().is_monotonic_decreasing)
    return (None if held and len(rows) < len(offset.LENGTHS) else held), said  # two lengths are enough to refute


def _one_offset(plain, frame, repaired, loaded):
    return _beside(loaded, "one_offset", lambda accuracy, msp, s: abs(accuracy) <= intervention.NEAR_ACCURACY
                   and abs(msp) <= intervention.NEAR_FPR95 and abs(s) <= 0.1)


def _one_temperature(plain, frame, repaired, loaded):
    return _beside(loaded, "one_temperature", lambda accuracy, msp, s: accuracy <= -0.8 and msp >= 5)


def _fixed_temperature(plain, frame, repaired, loaded):
    return _beside(loaded, "centred_logitnorm", lambda accuracy, msp, s: accuracy <= -intervention.WORSE_ACCURACY
                   and msp >= intervention.WORSE_FPR95, "one_temperature", "one temperature's")


def _beside(loaded: list, method: str, holds, other: str = "logitnorm", whose: str = "LogitNorm's") -> tuple[bool | None, str]:
    """holds(changes of accuracy and of MSP's FPR95 in points, relative change of s), means over the seeds of both methods."""
    rows, same = intervention.beside(intervention.alternatives(loaded), method, other)
    said = [f"{name} {paper.spread(rows[column], digits)}, {whose} {paper.spread(same[column], digits)}"
            for name, column, digits in (("accuracy", "accuracy", 2), ("FPR95 by MSP", "msp", 1), ("s*", "s", 1)) if len(rows)]
    change = (rows - same).mean()
    held = bool(holds(change["accuracy"], change["msp"], rows["s"].mean() / same["s"].mean() - 1))
    return held if len(rows) == len(intervention.SEEDS) else None, "; ".join(said)


def _full_temperature(plain, frame, repaired, loaded):
    rows = where(frame, size="full", **offset.WRN40, in_grid=True)
    short = where(frame, size="medium", **offset.WRN40, in_grid=True)
    if not len(rows) or not len(short):
        return None, ""
    s, before = rows["effective"].iloc[0], short["effective"].iloc[0]
    return bool(before < s < 23), f"s* {s:.1f} after {rows['epochs'].iloc[0]} epochs, {before:.1f} after {short['epochs'].iloc[0]}"


JUDGES = {"centred-trains-worse": _trains_worse, "centred-best-tau": _best_tau, "centred-energy": _energy,
          "sweep-plateau": _plateau, "sweep-threshold": _threshold, "sweep-sign": _sign, "cifar100-centred": _cifar100,
          "wrn40-temperature": _larger, "wrn40-energy": lambda plain, frame, repaired, loaded: _repaired_at(repaired, "medium"),
          "scaled-step": _scaled_step, "scaled-temperature": _scaled_temperature, "longer-training": _longer,
          "label-noise": lambda plain, frame, repaired, loaded: label_noise.judged(label_noise.load()),
          "one-offset": _one_offset, "one-temperature": _one_temperature, "full-temperature": _full_temperature,
          "full-energy": lambda plain, frame, repaired, loaded: _repaired_at(repaired, "full"),
          "fixed-temperature": _fixed_temperature}
