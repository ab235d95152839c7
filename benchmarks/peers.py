"""What the metric code of other packages says on this book's own scores.

    pip install --no-deps --target build/peers pytorch-ood==0.4.0 torchmetrics==1.9.0 lightning-utilities==0.15.3 \\
        oodeel==0.4.0 detectors==0.1.11 torch-uncertainty==0.13.0 ood-metrics==1.1.2
    PYTHONPATH=build/peers python benchmarks/peers.py [--out data/benchmarks]

Runs each package's own functions on committed runs and writes every value (percent) with the packages' versions to
peers.json, which the book's page on metric codes and the tests of logitnorm.study.conventions read. Nothing of these
packages is a dependency of the book. Some packages need much that metrics do not; of those the one file is loaded.
"""

import argparse
import importlib.util
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import numpy as np
from logitnorm import paths, runs
from logitnorm.study import conventions
from speed import save

PACKAGES = ("pytorch-ood", "torchmetrics", "lightning-utilities", "oodeel", "detectors", "torch-uncertainty",
            "ood-metrics", "scikit-learn")
RUNS = ("small-cifar10-wrn10_2-cross_entropy-seed1", "small-cifar10-wrn10_2-logitnorm-tau0.04-seed1")
OOD_SETS = ("svhn_part", "lsun_like_crop")
SCORES = ("msp", "energy", "msp_float32", "gradnorm_float32")


def one_file(package: str, path: str):
    """The module in one file of an installed package, without importing the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_of_peer", distribution(package).locate_file(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytorch_ood(id_scores, ood_scores) -> dict:
    """Outlier scores (higher: OOD) and negative labels for OOD, as the package wants them."""
    from pytorch_ood.metrics import functional

    scores, is_ood = joined(-id_scores, -ood_scores)
    labels = -is_ood
    return {"fpr95": functional.fpr_at_tpr(scores, labels), "auroc": functional.auroc(scores, labels),
            "aupr_in": functional.aupr(scores, labels, positive="id"),
            "aupr_out": functional.aupr(scores, labels, positive="ood")}


def oodeel(id_scores, ood_scores) -> dict:
    from oodeel.eval.metrics import bench_metrics

    found = bench_metrics((-id_scores, -ood_scores), metrics=["auroc", "fpr95tpr"])
    return {"fpr95": found["fpr95tpr"], "auroc": found["auroc"]}


def torch_uncertainty(id_scores, ood_scores) -> dict:
    """As in its classification routine: criteria are minus the score, OOD is 1, AUROC and AUPR are torchmetrics'."""
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    fpr95 = one_file("torch-uncertainty", "torch_uncertainty/metrics/classification/fpr.py").FPR95(pos_label=1)
    scores, is_ood = joined(-id_scores, -ood_scores)
    fpr95.update(scores, is_ood)
    return {"fpr95": fpr95.compute(), "auroc": binary_auroc(scores, is_ood),
            "aupr_out": binary_average_precision(scores, is_ood)}


def torchmetrics(id_scores, ood_scores) -> dict:
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    scores, is_ood = joined(id_scores, ood_scores)
    return {"auroc": binary_auroc(scores, 1 - is_ood), "aupr_in": binary_average_precision(scores, 1 - is_ood)}


def detectors(id_scores, ood_scores) -> dict:
    found = one_file("detectors", "detectors/eval.py").get_ood_results(id_scores, ood_scores)
    return {"fpr95": found["fpr_at_0.95_tpr"],
            **{name: found[name] for name in ("auroc", "aupr_in", "aupr_out", "detection_error")}}


def ood_metrics(id_scores, ood_scores) -> dict:
    """High scores mean normal, the positive class: labels are 1 for ID."""
    import ood_metrics as package

    scores, is_id = np.concatenate([id_scores, ood_scores]), np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    return {"fpr95": package.fpr_at_95_tpr(scores, is_id), "auroc": package.auroc(scores, is_id),
            "aupr_in": package.aupr(scores, is_id), "detection_error": package.detection_error(scores, is_id)}


def scikit_learn(id_scores, ood_scores) -> dict:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores, is_id = np.concatenate([id_scores, ood_scores]), np.repeat([1, 0], [len(id_scores), len(ood_scores)])
    return {"auroc": roc_auc_score(is_id, scores), "aupr_in": average_precision_score(is_id, scores),
            "aupr_out": average_precision_score(1 - is_id, -scores)}


CODES = {"pytorch-ood": pytorch_ood, "oodeel": oodeel, "torch-uncertainty": torch_uncertainty,
         "torchmetrics": torchmetrics, "detectors": detectors, "ood-metrics": ood_metrics, "scikit-learn": scikit_learn}


def joined(id_scores, ood_scores):
    """All scores as one tensor in their own precision, and 1 for each that is OOD."""
    import torch

    return (torch.from_numpy(np.concatenate([id_scores, ood_scores])),
            torch.from_numpy(np.repeat([0, 1], [len(id_scores), len(ood_scores)])))


def calibration(run) -> dict:
    """torchmetrics' calibration error of the raw logits of the ID test set, 15 bins, in float64 and in float32."""
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = (torch.from_numpy(run.tensor(f"{run.config.id_dataset}/{name}")) for name in ("logits", "labels"))
    return {name: 100 * float(multiclass_calibration_error(logits.to(dtype), labels, logits.shape[1], n_bins=15))
            for name, dtype in (("float64", torch.float64), ("float32", torch.float32))}


def installed() -> dict[str, str]:
    """Versions of PACKAGES; one sentence where any is missing."""
    found, missing = {}, []
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise SystemExit(f"benchmarks/peers.py needs {', '.join(missing)}: install with `pip install --no-deps "
                         f"--target build/peers {' '.join(missing)}` and start it again with PYTHONPATH=build/peers")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=paths.ROOT / "data" / "benchmarks")
    args = parser.parse_args()
    packages = installed()
    rows, ece = [], []
    for run in (runs.load(paths.RUNS / name) for name in RUNS):
        ece.append({"run": run.id, "peer": "torchmetrics", "values": calibration(run)})
        for score in SCORES:
            for ood_set in OOD_SETS:
                both = conventions.scores_of(run, score, ood_set)
                for peer, code in CODES.items():
                    values = {name: round(100 * float(value), 6) for name, value in code(*both).items()}
                    rows.append({"run": run.id, "score": score, "ood_set": ood_set, "peer": peer, "values": values})
    save(args.out / "peers.json", {"packages": packages, "runs": list(RUNS), "ece": ece, "rows": rows})


if __name__ == "__main__":
    main()
