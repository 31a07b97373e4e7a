"""Measure how the errors of classes grew, from a cell's controls to its networks."""

from typing import Any, NamedTuple

import numpy as np

from analysis.runs.frames import RUN_ID
from analysis.statistics import proportion
from analysis.statistics.proportion import Proportion
from analysis.statistics.resampling import with_ends
from analysis.study.arrays import RunArrays, common_support
from analysis.study.predictions import StudyPredictions

# Fewest networks for the jackknife variance, so that two are left when one is omitted.
_FEWEST = 3


class CellProportion(NamedTuple):
    """Comparison of a cell's networks with their controls.

    Attributes
    ----------
    n : int
        Number of networks that have slopes and a control that is not at chance.
    accuracy_control, accuracy : float
        Mean accuracies of the controls and of the networks.
    for_new_images, on_these_images : Proportion, optional
        `for_new_images` is None without predictions. `on_these_images` is None with fewer than three networks, or if
        their numbers of test images are unknown or differ.
    """

    n: int
    accuracy_control: float
    accuracy: float
    for_new_images: Proportion | None
    on_these_images: Proportion | None

    @property
    def odds_ratio(self) -> float:
        """Odds ratio of the error, from the mean accuracies."""
        return float(proportion.odds_ratio(self.accuracy_control, self.accuracy))


def cell_proportion(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None = None
) -> CellProportion | None:
    """Compare the networks of a cell that have slopes with their controls; return None if none can be compared."""
    rows = study.with_sloped_control(study.sloped(rows))
    if not len(rows):
        return None
    controls, run_ids = study.controls[rows], study.runs[RUN_ID].iloc
    pairs = predictions.of_pairs(run_ids[controls], run_ids[rows]) if predictions else None
    recalls = paired_recalls(study, rows)
    return CellProportion(
        len(rows),
        float(study.accuracy_after[controls].mean()),
        float(study.accuracy_after[rows].mean()),
        proportion.for_new_images(pairs.images.place, *pairs.right) if pairs else None,
        proportion.on_these_images(*recalls) if recalls else None,
    )


def paired_recalls(study: RunArrays, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the recalls of a cell's controls and of its networks, and each class's share of the test images.

    Recalls are (networks, classes). None is returned for fewer than three networks, or if their numbers of test images
    are unknown or differ.

    Parameters
    ----------
    study : RunArrays
    rows : (networks,), integers
        Rows of a cell that have controls.
    """
    if len(rows) < _FEWEST:
        return None
    has = study.classes_of(rows)
    support = common_support(study.support[np.ix_(rows, has)])
    if support is None:
        return None
    before, after = (study.after[np.ix_(each, has)] for each in (study.controls[rows], rows))
    return before, after, support / support.sum()


def class_columns(study: RunArrays, rows: np.ndarray) -> dict[str, Any]:
    """Return columns of the classes of a cell: the factor of the error, and the proportionality without the class.

    The second leaves out pairs with a network at chance, which have no slopes. All columns are NaN for fewer than three
    pairs.
    """
    pairs = paired_recalls(study, study.with_control(rows))
    sloped = paired_recalls(study, study.with_sloped_control(study.sloped(rows)))
    factors = proportion.error_factors(1 - pairs[0], 1 - pairs[1]) if pairs else np.full(3, np.nan)
    without = proportion.proportionality_without_each(*sloped) if sloped else np.full(3, np.nan)
    names = (*proportion.FACTOR_COLUMNS, *proportion.WITHOUT_COLUMNS)
    return dict(zip(names, (*factors, *without), strict=True))


def equal_factors_p(study: RunArrays, rows: np.ndarray) -> float:
    """Test whether the errors of all classes of a cell grew by equal factors; NaN if there are too few networks."""
    pairs = paired_recalls(study, study.with_control(rows))
    return proportion.equal_factors_p(1 - pairs[0], 1 - pairs[1], pairs[2]) if pairs else np.nan


def columns(found: Proportion | None, confidence: float = 0.95) -> dict[str, Any]:
    """Return columns for growth, slope, proportionality and alpha beyond proportion, with intervals.

    All columns are NaN if `found` is None.

    Examples
    --------
    >>> list(columns(None))[::3]
    ['error_growth', 'raw_slope_on_none', 'proportionality', 'alpha_beyond']
    """
    level = 1 - confidence
    nothing = (np.nan, np.nan, np.nan)
    return {
        **with_ends("error_growth", (found.growth, *found.growth_interval(level)) if found else nothing),
        **with_ends("raw_slope_on_none", (found.slope, *found.slope_interval(level)) if found else nothing),
        **with_ends("proportionality", found.proportionality(level) if found else nothing),
        **with_ends("alpha_beyond", found.alpha_beyond(level) if found else nothing),
    }
