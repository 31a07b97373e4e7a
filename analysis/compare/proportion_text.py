"""Sentences on disproportionate losses of classes, which reports and audits share."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.common.points import limit_in_points
from analysis.compare.cost_text import points_with_interval
from analysis.rendering.formats import decimals
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.proportion import expected_losses

_points = decimals(1)


def growth(factor: float, reference: str) -> str:
    """Say by which factor the error grew, without a full stop.

    Examples
    --------
    >>> growth(1.183, "control")
    'The error is 1.18 times that of the control'
    """
    return f"The error is {factor:.2f} times that of the {reference}"


def beyond_proportion(rows: pd.DataFrame, names: pd.Series, kind: str = "class") -> str:
    """Return a sentence on classes that are shown to lose more than they would if all errors grew by the same factor.

    Parameters
    ----------
    rows : DataFrame
        A row for each class, with the columns `disproportionate`, its interval and its p, as in `classes.csv`.
    names : Series
        Names of the rows.
    kind : str
        `class` or `group`.

    Examples
    --------
    >>> ends = {"disproportionate_low": [-0.05, 0.01], "disproportionate_high": [-0.01, 0.05]}
    >>> rows = pd.DataFrame({"disproportionate": [-0.03, 0.03], **ends, "disproportionate_p": [0.01, 0.01]})
    >>> beyond_proportion(rows, pd.Series(["cat", "dog"]))
    "dog loses 3.0 points (1.0 to 5.0) more than if every class's error had been multiplied by the same factor."
    """
    shown = rows[(rows["disproportionate_p"] <= LEVEL) & (rows["disproportionate"] > 0)]
    shown = shown.sort_values("disproportionate", ascending=False)
    if shown.empty:
        return f"No {kind} is shown to lose more than if every {kind}'s error had been multiplied by the same factor."
    loss = points_with_interval(*(shown.iloc[0][f"disproportionate{end}"] for end in ("", "_low", "_high")))
    others = len(shown) - 1
    more = f", and so do {others} others" if others > 1 else f", and so does another {kind}" if others else ""
    alike = f"if every {kind}'s error had been multiplied by the same factor"
    return f"{names[shown.index[0]]} loses {loss} more than {alike}{more}."


def in_proportion(rows: pd.DataFrame) -> np.ndarray:
    """Return the loss of each class if all errors grew by the same factor, in points as text; n/a if unknown."""
    return np.array([_points(100 * loss) for loss in rows["loss"] - rows["disproportionate"]])


def implied_loss(names: Sequence[str], recall: np.ndarray, accuracy: float, accuracy_loss: float) -> Iterator[str]:
    """Yield a sentence on what a loss of accuracy costs the class that loses most, if errors grow in proportion.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    recall : (classes,)
        Recalls before pruning.
    accuracy, accuracy_loss : float
        Accuracy before pruning, and its loss, as shares.

    Yields
    ------
    str
        Nothing if the loss is infinite, if there is no error before, or if a class would lose more than its recall.

    Examples
    --------
    >>> list(implied_loss(["cat", "dog"], np.array([0.9, 0.7]), 0.8, 0.01))
    ['If the error of every class grows by the same factor, a loss of 1 point of accuracy costs dog 1.5 points.']
    """
    losses = expected_losses(recall, accuracy, accuracy_loss if np.isfinite(accuracy_loss) else np.nan)
    if not (losses <= recall).all():
        return
    limit = limit_in_points(accuracy_loss)
    loss = f"{names[int(np.argmax(losses))]} {_points(100 * float(np.max(losses)))} points"
    yield f"If the error of every class grows by the same factor, a loss of {limit} of accuracy costs {loss}."
