"""Networks that were pruned iteratively, whose accuracies are known: each class loses `loss` times the sparsity."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import exports
from analysis.runs.frames import column
from tests import made_up_runs

CLASSES = ("0", "1", "2", "3")
RECALL = (0.99, 0.97, 0.95, 0.93)  # before pruning, of seed 0; each further seed has .005 less
LOSS = {"global-unstructured": 0.1, "l1-unstructured": 0.2, "l1-structured": 0.5, "none": 0.0}
# Images of each class that networks are trained on, of 1,000, and the mean entropy of the class in bits.
IMAGES, ENTROPY = (400, 300, 200, 100), (1.5, 2.5, 2.0, 3.0)


def runs(
    dataset: str = "mnist",
    model: str = "lenet5",
    *,
    pruners: Sequence[str] = ("global-unstructured", "l1-structured"),
    treatments: Sequence[str] = ("finetune", "rewind"),
    seeds: int = 2,
    levels: int = 3,
    keep: float = 0.8,
    loss: Mapping[str, float] = LOSS,
) -> pd.DataFrame:
    """Levels 1 to `levels` of every pruner, treatment and seed; columns as `analysis.runs.pull.pull_runs` gives them.

    Level i has the sparsity 1 - keep^i, and after it class c the recall before - loss * sparsity * (1 + c / 10).
    Rewinding costs as much again. Every class has 100 test images.
    """
    rows = [
        _row(dataset, model, pruner, treatment, seed, level, keep, loss[pruner])
        for pruner in pruners
        for treatment in treatments
        for seed in range(seeds)
        for level in range(1, levels + 1)
    ]
    return made_up_runs.with_controls(pd.DataFrame(rows))


def _row(
    dataset: str, model: str, pruner: str, treatment: str, seed: int, level: int, keep: float, loss: float
) -> dict[str, object]:
    sparsity = 0.0 if pruner == "none" else 1 - keep**level
    before = np.array(RECALL) - 0.005 * seed
    twice = 2 if treatment == "rewind" else 1
    after = before - twice * loss * sparsity * (1 + np.arange(len(CLASSES)) / 10)
    params = {
        "iteration": str(level),
        "keep": repr(keep),
        "weight_treatment": treatment,
        "sparsity": repr(sparsity),
        "ratio_prunable": repr(1 / (1 - sparsity)),
    }
    return {
        "dataset": dataset,
        "model": model,
        "pruner": pruner,
        "ratio": round(1 / (1 - 0.98 * sparsity), 6),
        "seed": seed,
        **{column(name): value for name, value in params.items()},
        "accuracy_before": before.mean(),
        "accuracy_after": after.mean(),
        **{f"recall_before/{name}": recall for name, recall in zip(CLASSES, before, strict=True)},
        **{f"recall_after/{name}": recall for name, recall in zip(CLASSES, after, strict=True)},
        **{f"support/{name}": 100.0 for name in CLASSES},
        "dense_run_id": f"{dataset} {model} {seed}",
        "run_id": f"{dataset} {model} {pruner} {treatment} {seed} {level}",
    }


def characteristics(*made: pd.DataFrame) -> pd.DataFrame:
    """Characteristics of the classes of all dense networks of some runs, as `characteristics.pulled` gives them."""
    dense = dict.fromkeys(run_id for frame in made for run_id in frame["dense_run_id"])
    table = pd.DataFrame(
        {
            "class": CLASSES,
            "index": range(len(CLASSES)),
            "training_images": IMAGES,
            "imbalance": np.array(IMAGES) / sum(IMAGES) - 1 / len(CLASSES),
            "entropy": ENTROPY,
        }
    )
    parts = [table.assign(run_id=run_id) for run_id in dense]
    return pd.concat(parts, ignore_index=True)[["run_id", *table.columns]]


def export(folder: Path, *made: pd.DataFrame) -> None:
    """Write the frames of runs to a folder that `report --frames` reads, without predictions."""
    exports.write(made_up_runs.whole(pd.concat(made, ignore_index=True)), lambda run_ids: {}, {}, folder)
