"""Networks whose losses by writer are known: of 20 images, writer k loses 2 k, and k / 10 is the tilt of each.

Writers 0 to 3 are of the series `new`, 4 to 7 of `old`. Before pruning one image of writer 0 is wrong, and so in the
control. All seeds answer alike, if not asked otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tests.made_up_runs import with_controls

WRITERS, IMAGES = 8, 20
WRITER = np.repeat(np.arange(WRITERS), IMAGES)
LABEL = np.arange(len(WRITER)) % 2
_PLACE = np.arange(len(WRITER)) % IMAGES
BEFORE = (WRITER > 0) | (_PLACE > 0)
AFTER = _PLACE >= 2 * WRITER


def table() -> pd.DataFrame:
    """The table of groups, as a user writes it."""
    return pd.DataFrame(
        {
            "writer": WRITER,
            "series": np.where(WRITER < 4, "new", "old"),
            "measure:tilt": -WRITER / 10,
            "measure:absolute_tilt": WRITER / 10,
        }
    )


def write(folder: Path) -> Path:
    """Write the table of groups into a folder."""
    path = folder / "groups.csv"
    table().to_csv(path, index=False)
    return path


def study(
    dataset: str = "digits", seeds: int = 2, after: Sequence[np.ndarray] | None = None, **params: str
) -> tuple[pd.DataFrame, Callable[[Sequence[str]], Mapping[str, Mapping[str, np.ndarray]]]]:
    """Return a frame of pruned runs and their controls, as `pull.pull_runs` gives it, and what reads their predictions.

    `after` is which images each seed has right after pruning.
    """
    rows, predicted = [], {}
    for seed, right in enumerate(after or [AFTER] * seeds):
        dense = f"{dataset} dense {seed}"
        for pruner, ratio, answers in (("mp", 10.0, right), ("none", 1.0, BEFORE)):
            run_id = f"{dataset} {pruner} {seed}"
            rows.append(
                {
                    "dataset": dataset,
                    "model": "lenet5",
                    "pruner": pruner,
                    "ratio": ratio,
                    "seed": seed,
                    **{f"params.{name}": value for name, value in params.items()},
                    **_measured(BEFORE, answers),
                    "dense_run_id": dense,
                    "run_id": run_id,
                }
            )
            predicted[run_id] = _arrays(answers)
        predicted[dense] = _arrays(BEFORE)
    runs = with_controls(pd.DataFrame(rows))
    runs.attrs["left_out"] = []
    return runs, lambda run_ids: {run_id: predicted[run_id] for run_id in run_ids if run_id in predicted}


def _measured(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    found = {"accuracy_before": before.mean(), "accuracy_after": after.mean()}
    for place, name in enumerate("ab"):
        own = place == LABEL
        found |= {f"recall_before/{name}": before[own].mean(), f"recall_after/{name}": after[own].mean()}
        found |= {f"support/{name}": float(own.sum()), f"both_right/{name}": (before & after)[own].mean()}
    return found


def _arrays(right: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": LABEL, "predicted": np.where(right, LABEL, 1 - LABEL)}
