"""Moderate variances of classes: shrink those estimated from few networks towards a common variance.

Few networks give a poor estimate of one class's variance, but all classes together give much information. Smyth (2004,
Statistical Applications in Genetics and Molecular Biology 3(1)) models the variances as drawn from a population, whose
mean and spread are estimated from the logarithms of the estimates. This population then acts like additional networks
for each class.

The population is itself estimated, and poorly from ten classes: with the paper's method of moments, 8 to 19 % of
simulated audits of three networks per side raise a false alarm. `moderated` accounts for this uncertainty
(`expected_prior`), and lets a single class that varies more than the others keep its own variance, as Phipson et al.
(2016, Annals of Applied Statistics 10(2)) do. Because two networks hardly reveal which class varies more, a second
variance estimate is also used if there is one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.statistics.arithmetic import quotient

# With fewer classes whose recall can change, the spread of variances cannot be estimated. benchmarks/false_alarms.py
# checks this rule.
FEWEST_CLASSES = 10
# Largest number of degrees of freedom that the other classes add. There is a limit because a few variances may differ
# unnoticed even if all seem equal.
_MOST_ADDED = 8.0
# Degrees of freedom lost because the common variance is estimated, as determined by benchmarks/false_alarms.py.
_LOST_BY_ESTIMATION = 0.25
# A priori, the reciprocal of the prior's degrees of freedom is uniform between 0 and this.
_LARGEST_RECIPROCAL = 2.0
# Numbers of grid points for the reciprocal and for the common variance, and half the range of the common variance in
# standard errors.
_RECIPROCALS, _VARIANCES, _ERRORS = 40, 33, 4.0
# Variances below this share of the largest are rounding errors.
_ROUNDING = 1e-9
# Precision of the inverse trigamma function, and maximum number of steps of Newton's method.
_PRECISION, _MOST_STEPS = 1e-10, 50


class Prior(NamedTuple):
    """Population of variances: `dof * variance` divided by a chi-squared variable with `dof` degrees of freedom."""

    variance: float
    dof: float


def prior(variances: np.ndarray, dof: float) -> Prior:
    """Estimate the population of variances by the moments of their logarithms (Smyth 2004, Section 6.2).

    Parameters
    ----------
    variances : (classes,)
        At least two estimates, all above 0.
    dof : float
        Degrees of freedom of each estimate.

    Returns
    -------
    Prior
        If the estimates differ no more than by chance, the prior has infinitely many degrees of freedom, and its
        variance is the mean of the estimates.

    Examples
    --------
    limma, Smyth's package for R, gives the same numbers:

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
    """Compute the number whose trigamma function is `value`, which is above 0.

    Newton's method on the reciprocal, which is nearly linear, converges from below (Smyth 2004, appendix).

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
    """Estimate the population of variances, and account for the uncertainty of its spread.

    The reciprocal of the population's degrees of freedom is a posterior mean for a uniform prior distribution between 0
    and 2. The degrees of freedom therefore stay low unless the variances clearly indicate more.

    Parameters
    ----------
    variances : (classes,)
        At least two estimates, all above 0.
    dof : float
        Degrees of freedom of each estimate.

    Returns
    -------
    Prior
        Its variance is the exponential of the posterior mean of the log variance.

    Examples
    --------
    Ten variances are equal, although chance alone makes variances with two degrees of freedom differ. Nevertheless the
    prior has fewer than seven degrees of freedom, while the prior by moments has infinitely many:

    >>> found = expected_prior(np.ones(10), 2)
    >>> round(found.dof, 1), prior(np.ones(10), 2).dof
    (6.5, inf)
    """
    return _expected_prior(np.asarray(variances, dtype=float).tobytes(), dof)


@lru_cache(maxsize=16)  # an audit repeats calls with the same classes, and thousands of classes take a second per call
def _expected_prior(content: bytes, dof: float) -> Prior:
    variances = np.frombuffer(content)
    grid = _grid(dof, len(variances))
    logarithms = np.log(variances)
    mean = float(logarithms.mean())
    above = (logarithms - mean) - grid.logarithms[..., np.newaxis]
    # The ratio of each variance to the common one has an F distribution.
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
    """Degrees of freedom of the prior, (n,); logarithms of its variance, (n, m); constants of the log density, (n,)."""

    dof: np.ndarray
    logarithms: np.ndarray
    constants: np.ndarray


@lru_cache(maxsize=64)
def _grid(dof: float, classes: int) -> _Grid:
    """Make the grid for the integral in `expected_prior`; points are relative to the mean log variance of classes."""
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
    """Return whether enough classes have a mean recall, (classes,), strictly between 0 and 1, so that they can vary.

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
    """Shrink variances towards a common one, and return them with their new degrees of freedom.

    Parameters
    ----------
    variances : (classes,)
        Estimates.
    dof : float
        Degrees of freedom of each estimate.
    scale : (classes,)
        The true variances are assumed to be proportional to this. A class with scale 0 keeps its variance.
    least : (classes,) or float
        Lower limit of the moderated variance of each class; smaller values are raised to it.
    second : (classes,), optional
        Estimates of the variance of another number of each class in the same networks, with the same degrees of freedom
        and an independent error. A class that varies more than the others in either estimate is not treated as part of
        the population.

    Returns
    -------
    Moderated
        If `dof` is at least 2, the degrees of freedom that the other classes add are reduced by 0.25. Variances are
        returned unchanged if fewer than `FEWEST_CLASSES` classes have a scale above 0, or if the variances of fewer
        than `FEWEST_CLASSES` / 2 classes are above 0.

    Examples
    --------
    With three networks each variance has two degrees of freedom, and the other classes add 6.62:

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
    """Moderate each class's variance as if this class were the only one that had changed.

    The population is estimated from the unchanged variances, so it need not be estimated anew for each class.

    Parameters
    ----------
    variances : (audits, classes)
        Variance of each class after its change.
    others : (audits, classes)
        Variance of each class without the change.
    dof : float
    scale, scale_of_others : (classes,)
        As `scale` of `moderated`: for `variances`, and for `others`.
    priors : sequence of Prior, optional
        The prior of each audit, if `priors_of` has already estimated them.

    Examples
    --------
    If no variance changes, the result is that of `moderated`:

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
    """Estimate the prior of each audit from variances, (audits, classes).

    Return an empty list if there are fewer than `FEWEST_CLASSES` classes, or if any variance or scale is 0.
    """
    if variances.shape[1] < FEWEST_CLASSES or not (scale > 0).all() or not (variances > 0).all():
        return []
    return [expected_prior(each, dof) for each in variances / scale]


def _likely_alike_in(variances: np.ndarray, dof: float, of_prior: float) -> np.ndarray:
    """Compute `likely_alike` from variances; return 1 for all classes if too few variances exceed rounding errors."""
    varying = variances > _ROUNDING * variances.max()
    if varying.sum() < FEWEST_CLASSES / 2:
        return np.ones(len(variances))
    return likely_alike(variances / expected_prior(variances[varying], dof).variance, dof, of_prior)


def likely_alike(ratios: np.ndarray, dof: float, of_prior: float) -> np.ndarray:
    """Compute a lower bound of the probability that a class belongs to the population, instead of varying more.

    The tail probability of a class's ratio (`ratios`) is compared with the share of classes whose ratio is at least as
    large (Phipson et al. 2016, Section 4.3), as in limma, the authors' package for R. limma differs in two steps: it
    estimates the prior by moments of winsorised logarithms, and lets an outlying class keep a few degrees of freedom of
    the prior. Here the prior is `expected_prior`, and a class that surely varies more keeps no degrees of freedom of
    the prior. The whole procedure therefore cannot be checked against limma, and is calibrated by simulations
    (`benchmarks/false_alarms.py`).

    Parameters
    ----------
    ratios : (classes,)
        Variance of each class divided by the common variance.
    dof, of_prior : float
        Degrees of freedom of the variances, and of the prior.

    Returns
    -------
    (classes,)
        The bound of a class is never larger than that of a class that varies less.

    Examples
    --------
    If variances and prior have two degrees of freedom, the tail probability beyond a ratio x is 1 / (1 + x), so it is
    .01 beyond 99. The expected tail probability of the largest of four ratios is 1/8, so the bound for 99 is .01 /
    (1/8):

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
