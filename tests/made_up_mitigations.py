"""Networks with a mitigation, whose losses on test and on validation images are known.

Three classes of 100 images each. The dense network has 90 of each right, on test and on validation images.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.runs import frames, schema
from tests.made_up_runs import with_controls

OFFSETS = {schema.CLASS_OFFSETS: "dense"}
DENSE = (90, 90, 90)
_OFF = dict.fromkeys(schema.mitigations(), "none") | {schema.DISTILL: "0.0", schema.SCHEDULE: "one-shot"}


def cell(
    pruner: str,
    ratio: float,
    right: Sequence[Sequence[int]],
    on_validation: Sequence[Sequence[int]] | None = None,
    params: Mapping[str, str] | None = None,
    dataset: str = "toy",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a run for each network, and its counts and those of its dense network on validation images.

    Parameters
    ----------
    pruner, ratio, params, dataset
        What the runs have in common.
    right, on_validation : (networks, 3)
        Images of each class that the pruned networks have right; by default as many on validation images.
    """
    params = params or {}
    rows, counts = [], []
    for seed, (test, validation) in enumerate(zip(right, on_validation or right, strict=True)):
        dense = f"{dataset} {seed}"
        settings = [f"{name} {value}" for name, value in params.items()]
        run_id = " ".join([dataset, pruner, f"{ratio:g}", *settings, str(seed)])
        for own, found in ((dense, DENSE), (run_id, validation)):
            counts += [(own, label, 100, number) for label, number in enumerate(found)]
        rows.append(
            {"dataset": dataset, "model": "net", "pruner": pruner, "ratio": float(ratio), "seed": seed}
            | {frames.column(name): value for name, value in (_OFF | params).items()}
            | {"accuracy_before": 0.9, "accuracy_after": sum(test) / 300}
            | {f"recall_before/{label}": 0.9 for label in "abc"}
            | {f"recall_after/{label}": number / 100 for label, number in zip("abc", test, strict=True)}
            | {f"support/{label}": 100.0 for label in "abc"}
            | {"dense_run_id": dense, "run_id": run_id}
        )
    return pd.DataFrame(rows), pd.DataFrame(counts, columns=["run_id", "label", "images", "right"])


def study(*cells: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the runs of cells as one frame, and the counts on validation images."""
    runs, counts = zip(*cells, strict=True)
    joined = pd.concat(counts, ignore_index=True).drop_duplicates(["run_id", "label"], ignore_index=True)
    return with_controls(pd.concat(runs, ignore_index=True)), joined


def mitigated(dataset: str = "toy") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two networks with and without class offsets, pruned to 20, and their controls.

    Without offsets the first network loses 12, 3 and 0 points, 5 in all; the second 15, 0 and 0, again 5. So the
    largest excess losses are 7 and 10, on test images as on validation images. With offsets each class loses 5 points
    on validation images; on test images one loses 9 in the first network and 8 in the second.
    """
    return study(
        cell("mp", 20, [(78, 87, 90), (75, 90, 90)], dataset=dataset),
        cell("mp", 20, [(81, 87, 87), (82, 87, 86)], [(85, 85, 85), (85, 85, 85)], OFFSETS, dataset),
        cell("none", 1, [(90, 90, 93), (88, 92, 93)], dataset=dataset),
        cell("none", 1, [(91, 91, 91), (91, 91, 91)], params=OFFSETS, dataset=dataset),
    )
