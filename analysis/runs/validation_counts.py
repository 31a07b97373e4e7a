"""Count the validation images that networks classify correctly, per class, and export the counts."""

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.frames import RUN_ID
from analysis.runs.run_tables import RunTable

# To compare methods at a given accuracy, each method gets the ratio whose accuracy is nearest to it. A method needs at
# least this many ratios, because with fewer ratios an accuracy is near only by chance.
FEWEST_RATIOS = 4
LABEL, IMAGES, RIGHT = schema.LABEL, "images", "right"


def _check(table: pd.DataFrame) -> None:
    label, images, right = (table[name] for name in (LABEL, IMAGES, RIGHT))
    if not ((label >= 0) & (label < frames.MOST_CLASSES)).all():
        raise ValueError(f"a label is not between 0 and {frames.MOST_CLASSES:,}")
    if not ((images > 0) & (images < 2**53) & (right >= 0) & (right <= images)).all():
        raise ValueError(f"{IMAGES} and {RIGHT} contradict each other")


# label: index of the class; images: validation images of the class; right: those that the network classifies correctly.
# Runs do not log this table: it is counted from `val_predictions.npz`.
TABLE = RunTable(
    artifact=schema.VALIDATION_COUNTS,
    columns=dict.fromkeys((LABEL, IMAGES, RIGHT), int),
    key=[LABEL],
    contents="counts of validation images",
    check=_check,
)


def wanted(runs: pd.DataFrame) -> bool:
    """Return whether a report on these runs uses validation images.

    A report uses validation images if a mitigation may have been fitted to them, or if a method has enough ratios for a
    choice of the ratio by validation images.
    """
    by_method = [name for name in frames.identity(runs) if name not in (schema.RATIO, schema.SEED)]
    ratios = runs.groupby(by_method, dropna=False)[schema.RATIO].nunique()
    return bool(is_mitigated(runs).any() or (ratios >= FEWEST_RATIOS).any())


def is_mitigated(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run has an option or a pruner that is meant to spare classes."""
    mitigated = runs[schema.PRUNER].isin(schema.MITIGATING_PRUNERS)
    for param in schema.mitigations():
        column = frames.column(param)
        if column in runs:
            mitigated |= runs[column].fillna(schema.ABSENT[param]) != schema.ABSENT[param]
    return mitigated


def counted(label: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Count the validation images that a network classifies correctly, per class.

    Parameters
    ----------
    label, predicted : (images,), integers from 0

    Examples
    --------
    >>> counted(np.array([0, 2, 2]), np.array([0, 2, 1])).to_dict("list")
    {'label': [0, 2], 'images': [1, 2], 'right': [1, 1]}
    """
    images = np.bincount(label)
    right = np.bincount(label, predicted == label).astype(int)
    labels = np.flatnonzero(images)
    return pd.DataFrame({LABEL: labels, IMAGES: images[labels], RIGHT: right[labels]})


class ValidationRecalls:
    """Recalls and accuracies of networks on validation images, by run id.

    Parameters
    ----------
    counts : DataFrame, optional
        `TABLE` of the runs, with run_id. If None, no network has counts.
    """

    def __init__(self, counts: pd.DataFrame | None) -> None:
        groups = [] if counts is None else counts.groupby(RUN_ID)
        self._counts = {run_id: own.set_index(LABEL) for run_id, own in groups}

    def accuracy(self, run_id: str) -> float:
        """Return a network's accuracy on validation images, or NaN if unknown."""
        if run_id not in self._counts:
            return np.nan
        own = self._counts[run_id]
        return float(own[RIGHT].sum() / own[IMAGES].sum())

    def recalls(self, before: str, after: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the recalls of two networks, each (labels,), or None if one has no counts or their `images` differ."""
        sides = [self._counts.get(run_id) for run_id in (before, after)]
        if sides[0] is None or sides[1] is None or not sides[0][IMAGES].equals(sides[1][IMAGES]):
            return None
        first, second = (own[RIGHT].to_numpy() / own[IMAGES].to_numpy() for own in sides if own is not None)
        return first, second
