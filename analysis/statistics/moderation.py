"""Variances of classes that few networks estimate, shrunk towards a common one.

A few networks say little of how much one class varies, and the classes together say much. Smyth (2004, Statistical
Applications in Genetics and Molecular Biology 3(1)) takes the variances of all as drawn from a population, whose mean
and spread the logarithms of the estimates show. Each class then counts this population as further networks.

That population is itself estimated, and from ten classes badly. `moderated` is therefore more careful than the paper:
the common variance lies between that of the paper and the mean of the estimates, and counts for few networks.
"""

from typing import NamedTuple

import numpy as np

from analysis.statistics.arithmetic import quotient

# Fewer classes do not show how much their variances differ.
FEWEST_CLASSES = 5
# Most degrees of freedom of the common variance: of ten classes, and of each class and degree of freedom.
# benchmarks/false_alarms.py measures the rule.
_MOST_OF_TEN, _MOST_OF_EACH = 3.0, 1 / 3
# Of the inverse of the trigamma function, and after how many steps of Newton's method at most.
_PRECISION, _MOST_STEPS = 1e-10, 50


class Prior(NamedTuple):
    """Population of variances: `dof * variance` over a chi-squared variable of `dof` degrees of freedom."""

    variance: float
    dof: float


def prior(variances: np.ndarray, dof: float) -> Prior:
    """Estimate the population of the variances by the moments of their logarithms (Smyth 2004, Section 6.2).

    Parameters
    ----------
    variances : (classes,)
        Estimates above 0, two or more.
    dof : float
        Degrees of freedom of each.

    Returns
    -------
    Prior
        With infinite degrees of freedom, and the mean of the variances, if they differ no more than chance allows.

    Examples
    --------
    Numbers of limma, the authors' package for R:

    >>> found = prior(np.array([0.5, 1.3, 7.8]), 3)
    >>> round(found.variance, 6), round(found.dof, 6)
    (1.676927, 2.830777)
    """
    from scipy.special import digamma, polygamma  # training imports this package and must not wait for scipy

    logarithms = np.log(variances) - digamma(dof / 2) + np.log(dof / 2)
    spread = float(np.var(logarithms, ddof=1) - polygamma(1, dof / 2))
    if spread <= 0:
        return Prior(float(np.mean(variances)), np.inf)
    half = trigamma_inverse(spread)
    return Prior(float(np.exp(logarithms.mean() + digamma(half) - np.log(half))), 2 * half)


def trigamma_inverse(value: float) -> float:
    """Return the number whose trigamma function is `value`, above 0.

    Newton's method on the reciprocal, which is nearly a line, rises to the number (Smyth 2004, appendix).

    Examples
    --------
    The trigamma function of 1 is pi^2 / 6:

    >>> round(trigamma_inverse(np.pi**2 / 6), 9)
    1.0
    """
    from scipy.special import polygamma  # training imports this package and must not wait for scipy

    number = 0.5 + 1 / value
    for _ in range(_MOST_STEPS):
        trigamma = polygamma(1, number)
        step = trigamma * (1 - trigamma / value) / polygamma(2, number)
        number += step
        if abs(step) < _PRECISION * number:
            break
    return float(number)


class Moderated(NamedTuple):
    """Variances of classes with their degrees of freedom, each (classes,)."""

    variances: np.ndarray
    dof: np.ndarray


def moderated(variances: np.ndarray, dof: float, scale: np.ndarray, least: np.ndarray | float = 0.0) -> Moderated:
    """Return variances that are shrunk towards a common one, and the degrees of freedom that each then has.

    Parameters
    ----------
    variances : (classes,)
        Estimates.
    dof : float
        Degrees of freedom of each.
    scale : (classes,)
        What the variances are in proportion to, but for chance. A class of scale 0 keeps its variance.
    least : (classes,) or float
        Smallest variance that each class can have.

    Returns
    -------
    Moderated
        The given variances with fewer than `FEWEST_CLASSES` classes that vary.

    Examples
    --------
    With three networks each variance has two degrees of freedom. The other classes add three:

    >>> found = moderated(np.array([1.0, 2.0, 3.0, 4.0] * 3), 2, np.ones(12))
    >>> found.variances[:2].round(2).tolist(), found.dof[:2].round(2).tolist()
    ([1.93, 2.31], [5.24, 5.24])
    """
    scaled = quotient(variances, scale)
    varying = np.isfinite(scaled) & (scaled > 0)
    classes = int(varying.sum())
    if classes < FEWEST_CLASSES:
        return Moderated(variances, np.full(len(variances), float(dof)))
    common = prior(scaled[varying], dof)
    added = min(common.dof, _MOST_OF_TEN * np.log10(classes), _MOST_OF_EACH * (classes - 1) * dof)
    mean = float(scaled[np.isfinite(scaled)].mean())
    between = max(common.variance, np.sqrt(common.variance * mean))
    shrunk = (dof * variances + added * between * scale) / (dof + added)
    known = scale > 0
    return Moderated(np.where(known, np.maximum(shrunk, least), variances), np.where(known, dof + added, float(dof)))
