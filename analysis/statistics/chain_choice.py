"""The choice between chains of compression by upper bounds of what they lose."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import pareto
from analysis.statistics.limits import Limits


class Choice(NamedTuple):
    """Places of chains in the frame of trials.

    Attributes
    ----------
    best : int, optional
        The cheapest chain that keeps to both limits; None if none does.
    nearest : int
        The chain that is least beyond a limit.
    by_accuracy : int, optional
        The cheapest chain that keeps to the limit of the accuracy; None if none does.
    """

    best: int | None
    nearest: int
    by_accuracy: int | None


def choose(trials: pd.DataFrame, limits: Limits) -> Choice:
    """Choose between chains. A chain keeps to a limit if the upper bound of the loss is below.

    Of equally cheap chains the one counts whose worst class may lose least, and then the first.

    Parameters
    ----------
    trials : DataFrame, at least one row
        number; cost; class_loss_upper and accuracy_loss_upper, the upper bounds of what is lost.
    limits : Limits

    Examples
    --------
    >>> trials = pd.DataFrame({"number": [0, 1, 2], "cost": [9, 4, 1], "class_loss_upper": [0.01, 0.02, 0.2]})
    >>> choose(trials.assign(accuracy_loss_upper=[0.0, 0.005, 0.009]), Limits(0.03, 0.01))
    Choice(best=1, nearest=1, by_accuracy=2)
    """
    beyond = np.maximum(
        trials["class_loss_upper"] - limits.class_loss, trials["accuracy_loss_upper"] - limits.accuracy_loss
    )
    best = _cheapest(trials[keeps(trials, limits)])
    return Choice(best, int(beyond.idxmin()) if best is None else best, _cheapest(trials[_is_accurate(trials, limits)]))


def _cheapest(trials: pd.DataFrame) -> int | None:
    by_cost = trials.sort_values(["cost", "class_loss_upper", "number"], kind="stable")
    return int(by_cost.index[0]) if len(by_cost) else None


def shown(trials: pd.DataFrame, choice: Choice, limits: Limits) -> pd.DataFrame:
    """Return the chains on the Pareto front, the choice and what accuracy alone would choose.

    Those that keep to both limits come first, and of them the cheapest.
    """
    is_choice = trials.index.isin([index for index in choice if index is not None])
    rows = trials[on_front(trials) | is_choice].sort_values("cost", kind="stable")
    return rows.loc[keeps(rows, limits).sort_values(ascending=False, kind="stable").index]


def keeps(trials: pd.DataFrame, limits: Limits) -> pd.Series:
    """Return whether each chain keeps to both limits."""
    return _is_accurate(trials, limits) & (trials["class_loss_upper"] < limits.class_loss)


def _is_accurate(trials: pd.DataFrame, limits: Limits) -> pd.Series:
    return trials["accuracy_loss_upper"] < limits.accuracy_loss


def on_front(trials: pd.DataFrame) -> np.ndarray:
    """Find the Pareto front of chains by cost and the worst class's bound, (chains,) bool."""
    return pareto.front(-trials[["cost", "class_loss_upper"]].to_numpy(float))
