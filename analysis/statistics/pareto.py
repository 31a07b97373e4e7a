"""Choose between networks by several objectives, with measures of unfairness, the Pareto front and a weighted value."""

import numpy as np


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
