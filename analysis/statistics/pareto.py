"""Choose between networks or chains of compression by several objectives: unfairness, Pareto fronts, weighted value."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics.limits import Limits


def spread(recalls: np.ndarray) -> np.ndarray:
    """Compute unfairness as the highest minus the lowest recall of a class (Paganini 2020, Section 4.2, Figure 4a).

    Noise of the recalls biases it upward, and more so with many classes.

    Parameters
    ----------
    recalls : (..., classes)
        Recalls, NaN for classes that a network does not have.

    Returns
    -------
    (...)
    """
    difference: np.ndarray = np.nanmax(recalls, axis=-1) - np.nanmin(recalls, axis=-1)
    return difference


def below_mean(recalls: np.ndarray) -> np.ndarray:
    """Compute unfairness as the mean minus the lowest recall of the classes (Paganini 2020, Figure 4b).

    Parameters and result are as for `spread`.
    """
    difference: np.ndarray = np.nanmean(recalls, axis=-1) - np.nanmin(recalls, axis=-1)
    return difference


def front(goods: np.ndarray) -> np.ndarray:
    """Find the Pareto front: the points that no other point dominates.

    A point dominates another if it is at least as large in every objective and larger in at least one. Equal points do
    not dominate each other, so either all or none of them are on the front.

    Parameters
    ----------
    goods : (points, goods)
        Objectives, of which larger values are better. A point with a NaN is never on the front, and dominates no other.

    Returns
    -------
    (points,), bool
    """
    goods = np.asarray(goods, dtype=float)
    is_complete = ~np.isnan(goods).any(axis=1)
    dominated = [
        bool(((goods >= point).all(axis=1) & (goods > point).any(axis=1) & is_complete).any()) for point in goods
    ]
    undominated: np.ndarray = is_complete & ~np.array(dominated, dtype=bool)
    return undominated


def value(sparsity: np.ndarray, unfairness: np.ndarray, fairness_value: float) -> np.ndarray:
    """Compute the value of points: sparsity minus `fairness_value` times unfairness.

    Paganini (2020, Section 4.2) uses 100 as an example, so that fairness is worth a hundred times as much as sparsity.

    Parameters
    ----------
    sparsity, unfairness : (points,)
    fairness_value : float, >= 0

    Returns
    -------
    (points,)
    """
    return np.asarray(sparsity) - fairness_value * np.asarray(unfairness)


def best(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Find the points with the greatest value. There are several if their values agree to nine decimals.

    Parameters
    ----------
    values : (points,)
    among : (points,), bool
        Points to choose from.

    Returns
    -------
    (points,), bool
    """
    is_candidate = np.asarray(among, dtype=bool)
    rounded_values = np.round(np.asarray(values, dtype=float), 9)
    greatest: np.ndarray = is_candidate & (rounded_values == rounded_values[is_candidate].max(initial=-np.inf))
    return greatest


class Choice(NamedTuple):
    """Index labels, in the frame of trials, of the chosen chains.

    Attributes
    ----------
    best : int, optional
        The cheapest chain within both limits; None if there is none.
    nearest : int
        The best chain or, if there is none, the chain that exceeds the limits least, judged by the limit that it
        exceeds by more.
    by_accuracy : int, optional
        The cheapest chain within the accuracy limit; None if there is none.
    """

    best: int | None
    nearest: int
    by_accuracy: int | None


def choose(trials: pd.DataFrame, limits: Limits) -> Choice:
    """Choose the cheapest chain whose losses have upper bounds below the limits.

    Equally cheap chains are ordered by class_loss_upper, then by number, and the first is chosen.

    Parameters
    ----------
    trials : DataFrame, at least one row
        Columns `number` (of the chain), `cost` (size, latency or operations of the network), `class_loss_upper` and
        `accuracy_loss_upper` (upper bounds of the worst class's loss and of the loss of accuracy).
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
    """Select the Pareto front, the best or nearest chain, and the chain that accuracy alone would choose.

    Chains within both limits come first, sorted by cost, and then the others, also sorted by cost.
    """
    is_choice = trials.index.isin([index for index in choice if index is not None])
    rows = trials[on_front(trials) | is_choice].sort_values("cost", kind="stable")
    return rows.loc[keeps(rows, limits).sort_values(ascending=False, kind="stable").index]


def keeps(trials: pd.DataFrame, limits: Limits) -> pd.Series:
    """Return whether each chain is within both limits."""
    return _is_accurate(trials, limits) & (trials["class_loss_upper"] < limits.class_loss)


def _is_accurate(trials: pd.DataFrame, limits: Limits) -> pd.Series:
    return trials["accuracy_loss_upper"] < limits.accuracy_loss


def on_front(trials: pd.DataFrame) -> np.ndarray:
    """Return a mask, (chains,), of the Pareto front of cost and upper bound of the worst class's loss."""
    return front(-trials[["cost", "class_loss_upper"]].to_numpy(float))
