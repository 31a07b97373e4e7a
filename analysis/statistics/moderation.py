"""Variances of classes that few networks estimate, shrunk towards a common one.

A few networks say little of how much one class varies, and the classes together say much. Smyth (2004, Statistical
Applications in Genetics and Molecular Biology 3(1)) takes the variances of all as drawn from a population, whose mean
and spread the logarithms of the estimates show. Each class then counts this population as further networks.

That population is itself estimated, and from ten classes badly: with the moments of the paper one audit in ten of three
networks a side has a false alarm. `moderated` allows for this (`expected_prior`), and lets a single class that varies
more than the others keep its own variance, as Phipson et al. (2016, Annals of Applied Statistics 10(2)) do. Two
networks hardly show which class that is, so that a second estimate is asked as well, if there is one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.statistics.arithmetic import quotient

# Fewer classes that can move do not show how much their variances differ. benchmarks/false_alarms.py measures the rule.
FEWEST_CLASSES = 10
# Most networks that the other classes count for, however equal the variances seem: a few that differ are overlooked.
_MOST_ADDED = 8.0
# Degrees of freedom that are lost because the common variance is estimated; benchmarks/false_alarms.py shows how many.
_LOST_BY_ESTIMATION = 0.25
# The reciprocal of the degrees of freedom of the prior is anything between 0 and this, before the variances are seen.
_LARGEST_RECIPROCAL = 2.0
# Points of the integrals over the reciprocal and over the common variance, and how many standard errors the latter has.
_RECIPROCALS, _VARIANCES, _ERRORS = 40, 33, 4.0
# A smaller share of the largest variance is rounding.
_ROUNDING = 1e-9
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
    excess_variance = float(np.var(logarithms, ddof=1) - polygamma(1, dof / 2))
    if excess_variance <= 0:
        return Prior(float(np.mean(variances)), np.inf)
    half = trigamma_inverse(excess_variance)
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


def expected_prior(variances: np.ndarray, dof: float) -> Prior:
    """Estimate the population of the variances with allowance for how little they show of it.

    The reciprocal of its degrees of freedom is the posterior mean, where any value between 0 and 2 is as likely before
    the variances are seen. So the degrees of freedom stay few until the variances show that there are more.

    Parameters
    ----------
    variances : (classes,)
        Estimates above 0, two or more.
    dof : float
        Degrees of freedom of each.

    Returns
    -------
    Prior
        The variance is the posterior mean of its logarithm.

    Examples
    --------
    Chance alone makes variances of two degrees of freedom differ more than these ten. The prior still has no more than
    seven degrees of freedom, while the moments give infinitely many:

    >>> found = expected_prior(np.ones(10), 2)
    >>> round(found.dof, 1), prior(np.ones(10), 2).dof
    (6.5, inf)
    """
    return _expected_prior(np.asarray(variances, dtype=float).tobytes(), dof)


@lru_cache(maxsize=16)  # an audit asks for the same classes several times, and thousands of them take a second each
def _expected_prior(content: bytes, dof: float) -> Prior:
    variances = np.frombuffer(content)
    grid = _grid(dof, len(variances))
    logarithms = np.log(variances)
    mean = float(logarithms.mean())
    above = (logarithms - mean) - grid.logarithms[..., np.newaxis]
    # Each variance over the common one has an F distribution.
    shares = (
        (grid.dof + dof)[:, np.newaxis]
        / 2
        * np.log1p(np.exp(above) * (dof / grid.dof)[:, np.newaxis, np.newaxis]).sum(-1)
    )
    likelihood = grid.constants[:, np.newaxis] + dof / 2 * above.sum(-1) - shares
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    variance = np.exp(mean + (weights * grid.logarithms).sum())
    return Prior(float(variance), float(1 / (weights.sum(-1) / grid.dof).sum()))


class _Grid(NamedTuple):
    """Degrees of freedom of the prior, (n,); logarithms of its variance, (n, m); logarithms of densities, (n,)."""

    dof: np.ndarray
    logarithms: np.ndarray
    constants: np.ndarray


@lru_cache(maxsize=64)
def _grid(dof: float, classes: int) -> _Grid:
    """Return the points of the integral of `expected_prior`, with logarithms relative to the mean of the classes."""
    from scipy.special import digamma, gammaln, polygamma  # training imports this package and must not wait for scipy

    of_prior = _RECIPROCALS / ((np.arange(_RECIPROCALS) + 0.5) * _LARGEST_RECIPROCAL)
    bias = digamma(dof / 2) - np.log(dof / 2) - digamma(of_prior / 2) + np.log(of_prior / 2)
    error = np.sqrt((polygamma(1, dof / 2) + polygamma(1, of_prior / 2)) / classes)
    points = -bias[:, np.newaxis] + error[:, np.newaxis] * np.linspace(-_ERRORS, _ERRORS, _VARIANCES)
    density = gammaln((dof + of_prior) / 2) - gammaln(of_prior / 2) - gammaln(dof / 2)
    return _Grid(of_prior, points, classes * (density + dof / 2 * np.log(dof / of_prior)) + np.log(error))


class Moderated(NamedTuple):
    """Variances of classes with their degrees of freedom, each (classes,)."""

    variances: np.ndarray
    dof: np.ndarray


def enough_classes(recall: np.ndarray) -> bool:
    """Return whether classes of these mean recalls, (classes,), are enough; a recall of 0 or 1 shows no variance.

    Examples
    --------
    >>> enough_classes(np.full(10, 0.9)), enough_classes(np.array([1.0] + [0.9] * 9))
    (True, False)
    """
    return int(((recall > 0) & (recall < 1)).sum()) >= FEWEST_CLASSES


def moderated(
    variances: np.ndarray,
    dof: float,
    scale: np.ndarray,
    least: np.ndarray | float = 0.0,
    second: np.ndarray | None = None,
) -> Moderated:
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
    second : (classes,), optional
        Estimates of another variance of the same networks and of as many degrees of freedom, which chance draws apart
        from the first. A class that varies more than the others in either is not taken as one of them.

    Returns
    -------
    Moderated
        Where each class has two degrees of freedom or more, the others add a quarter of one less than they count for.
        The given variances with fewer than `FEWEST_CLASSES` classes, or if fewer than half as many vary.

    Examples
    --------
    With three networks each variance has two degrees of freedom. The other classes add nearly seven:

    >>> found = moderated(np.array([1.0, 2.0, 3.0, 4.0] * 3), 2, np.ones(12))
    >>> found.variances[:2].round(2).tolist(), found.dof[:2].round(2).tolist()
    ([2.14, 2.36], [8.62, 8.62])
    """
    ratios = quotient(variances, scale)
    largest = ratios[np.isfinite(ratios)].max(initial=0)
    has_scale = np.isfinite(ratios)
    varying = has_scale & (ratios > _ROUNDING * largest)
    if has_scale.sum() < FEWEST_CLASSES or varying.sum() < FEWEST_CLASSES / 2:
        return Moderated(variances, np.full(len(variances), float(dof)))
    common = expected_prior(ratios[varying], dof)
    extra_dof = np.full(len(variances), min(common.dof, _MOST_ADDED))
    likely = likely_alike(ratios[varying] / common.variance, dof, extra_dof[0])
    if second is not None:
        likely = np.minimum(likely, _likely_alike_in(second[varying] / scale[varying], dof, extra_dof[0]))
    extra_dof[varying] *= likely
    posterior = (dof * variances + extra_dof * common.variance * scale) / (dof + extra_dof)
    added_dof = extra_dof if dof < 2 else np.maximum(extra_dof - _LOST_BY_ESTIMATION, 0)
    return Moderated(
        np.where(has_scale, np.maximum(posterior, least), variances), np.where(has_scale, dof + added_dof, float(dof))
    )


def moderated_alone(
    variances: np.ndarray,
    others: np.ndarray,
    dof: float,
    scale: np.ndarray,
    scale_of_others: np.ndarray,
    priors: Sequence[Prior] | None = None,
) -> Moderated:
    """Moderate each class as if it alone had another variance and the others had theirs.

    The population is that of the others and of the class as it was. So it need not be estimated for each class.

    Parameters
    ----------
    variances : (studies, classes)
        Variance of each class if it is the one that differs.
    others : (studies, classes)
        Variances of the classes otherwise.
    dof : float
    scale, scale_of_others : (classes,)
        As `moderated` takes it, of the class that differs and of the others.
    priors : sequence of Prior, optional
        Of each study, if `priors_of` has estimated them before.

    Examples
    --------
    Without a difference it is what `moderated` returns:

    >>> usual = np.array([1.0, 2.0, 3.0, 4.0] * 3)
    >>> alone = moderated_alone(usual[np.newaxis], usual[np.newaxis], 2, np.ones(12), np.ones(12))
    >>> alone.variances[0, :2].round(2).tolist(), alone.dof[0, :2].round(2).tolist()
    ([2.14, 2.36], [8.62, 8.62])
    """
    from scipy.special import fdtrc  # training imports this package and must not wait for scipy

    classes = others.shape[1]
    priors = priors_of(others, dof, scale_of_others) if priors is None else priors
    if not priors:
        return Moderated(variances, np.full(variances.shape, float(dof)))
    ratios = others / scale_of_others
    common = np.array([each.variance for each in priors])[:, np.newaxis]
    of_prior = np.minimum([each.dof for each in priors], _MOST_ADDED)[:, np.newaxis]
    tails = fdtrc(dof, of_prior, ratios / common)
    tail = fdtrc(dof, of_prior, quotient(variances, scale) / common)
    expected = (np.arange(classes) + 0.5) / classes
    highest = np.maximum.accumulate(np.minimum(np.sort(tails) / expected, 1), axis=1)
    n_below = (tails[:, np.newaxis] < tail[..., np.newaxis]).sum(-1) - (tails < tail)
    so_far = np.where(n_below > 0, np.take_along_axis(highest, np.maximum(n_below - 1, 0), axis=1), 0)
    likely = np.maximum(np.minimum(tail / expected[n_below], 1), so_far)
    extra_dof = of_prior * likely
    posterior = (dof * variances + extra_dof * common * scale) / (dof + extra_dof)
    added_dof = extra_dof if dof < 2 else np.maximum(extra_dof - _LOST_BY_ESTIMATION, 0)
    return Moderated(posterior, dof + added_dof)


def priors_of(variances: np.ndarray, dof: float, scale: np.ndarray) -> list[Prior]:
    """Return the prior of each study, of variances (studies, classes); none if the classes are too few, or one is 0."""
    if variances.shape[1] < FEWEST_CLASSES or not (scale > 0).all() or not (variances > 0).all():
        return []
    return [expected_prior(each, dof) for each in variances / scale]


def _likely_alike_in(variances: np.ndarray, dof: float, of_prior: float) -> np.ndarray:
    """Judge by the variances themselves, as `likely_alike` does; 1 if too few of them are more than rounding."""
    varying = variances > _ROUNDING * variances.max()
    if varying.sum() < FEWEST_CLASSES / 2:
        return np.ones(len(variances))
    return likely_alike(variances / expected_prior(variances[varying], dof).variance, dof, of_prior)


def likely_alike(ratios: np.ndarray, dof: float, of_prior: float) -> np.ndarray:
    """Return how likely each class is one of the population, at least, and not one that varies more.

    The tail beyond it is held against the share of classes that have as large a ratio (Phipson et al. 2016, Section
    4.3). limma, the authors' package for R, does the same. It differs in two steps: its prior is by the moments of
    logarithms that are cut at their quantiles, and a class that is not alike keeps a few degrees of freedom of the
    prior. Here the prior is `expected_prior`, and such a class keeps none. So no number of limma's applies to the
    whole, and simulations calibrate it (`benchmarks/false_alarms.py`).

    Parameters
    ----------
    ratios : (classes,)
        Variance of each class over the common one.
    dof, of_prior : float
        Degrees of freedom of the variances, and of the prior.

    Returns
    -------
    (classes,)
        No class is less likely than one that varies more.

    Examples
    --------
    With two and two degrees of freedom the tail beyond a ratio x is 1 / (1 + x), so .01 beyond 99. The largest of four
    classes stands for a share of 1/8, and .01 is .08 of it:

    >>> likely_alike(np.array([1.0, 99.0, 1.0, 3.0]), 2, 2).round(3).tolist()
    [0.8, 0.08, 0.8, 0.667]
    """
    from scipy.special import fdtrc  # training imports this package and must not wait for scipy

    tails = fdtrc(dof, of_prior, ratios)
    order = np.argsort(tails)
    expected_tails = (np.arange(len(tails)) + 0.5) / len(tails)
    likely = np.empty(len(tails))
    likely[order] = np.maximum.accumulate(np.minimum(tails[order] / expected_tails, 1))
    return likely
