"""Ask whether the errors of all classes grow alike: factors of classes, the test that they are equal, single classes.

A class's *factor* is its error (1 minus recall) after compression divided by its error in the controls. Proportionality
is one slope, in which a class far from the others may have most of the leverage, so it may be near 1 although the
factors differ. Therefore the factors, their test and the proportionality without each class belong beside it. All
numbers here are for the given test images and new networks.
"""

import numpy as np

from analysis.statistics.arithmetic import quotient
from analysis.statistics.proportion import UNDEFINED, on_these_images
from analysis.statistics.resampling import mean_interval, pseudo_values

FACTOR_COLUMNS, WITHOUT_COLUMNS = (
    tuple(f"{name}{end}" for end in ("", "_low", "_high")) for name in ("error_factor", "proportionality_without")
)


def error_factors(error_before: np.ndarray, error_after: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Compute the factor of each class, a ratio of sums over networks, with Tukey's jackknife interval over networks.

    In normal draws of 3 to 40 networks with the covariances of those of results/proportion, 95 % intervals cover .95 to
    .96 in the mean over classes and .92 in the least covered class.

    Parameters
    ----------
    error_before, error_after : (networks, classes)
        Errors of the controls and of the compressed networks, as shares. Row i of both belongs together.
    confidence : float
        Confidence of each interval.

    Returns
    -------
    (3, classes)
        Factors, and the ends of their intervals. NaN for a class of which no control misclassifies an image.

    Examples
    --------
    The networks have errors of 1, 3 and 2 % after, and the controls 1 % each. No control misclassifies the other class:

    >>> error_factors(np.array([[0.01, 0]] * 3), np.array([[0.01, 0], [0.03, 0], [0.02, 0]])).round(2).tolist()
    [[2.0, nan], [-0.48, nan], [4.48, nan]]
    """
    factors = quotient(error_after.sum(0), error_before.sum(0))
    ends = [
        mean_interval(pseudo_values(after, before), confidence)
        for before, after in zip(error_before.T, error_after.T, strict=True)
    ]
    return np.array([factors, *np.transpose(ends)])


def equal_factors_p(error_before: np.ndarray, error_after: np.ndarray, share: np.ndarray) -> float:
    """Test whether all classes have equal factors, by Hotelling's T-squared over networks.

    With k, the factor of all images, a network's value of a class is the class's error after minus k times its error
    before. Because k is itself estimated, each network's influence on k is subtracted (the delta method). The values of
    a network, weighted by shares of images, then sum to 0, so that classes - 1 are tested.

    If all factors are equal, the test at 5 % rejects .04 to .055 of the draws of `error_factors`, from 11 networks on.

    Parameters
    ----------
    error_before, error_after : (networks, classes)
        As for `error_factors`. Classes of which no control misclassifies an image are left out.
    share : (classes,)
        Each class's share of the test images.

    Returns
    -------
    float
        NaN for fewer than two classes, if there are not more networks than classes, or if the networks' values do not
        vary in every direction.

    Examples
    --------
    Three networks have two classes, as large, with errors of .1 in the controls, so k is 2. The values of the first
    class are .02, .01 and .03, whose mean is 3.46 standard errors above 0. The test of one value is the t test:

    >>> before, of_first = np.full((3, 2), 0.1), np.array([0.22, 0.21, 0.23])
    >>> p = equal_factors_p(before, np.transpose([of_first, 0.4 - of_first]), np.array([0.5, 0.5]))
    >>> from scipy.stats import ttest_1samp
    >>> round(p, 4), round(float(ttest_1samp([0.02, 0.01, 0.03], 0).pvalue), 4)
    (0.0742, 0.0742)
    """
    from scipy.special import fdtrc  # training imports this package and must not wait for scipy

    has_errors = error_before.sum(0) > 0
    before, after, share = error_before[:, has_errors], error_after[:, has_errors], share[has_errors]
    networks, tested = len(before), has_errors.sum() - 1
    if tested < 1 or networks < tested + 2:
        return np.nan
    of_all = before @ share
    beyond = after - (after @ share).sum() / of_all.sum() * before
    values = (beyond - np.outer(beyond @ share, before.mean(0) / of_all.mean()))[:, :tested]
    mean = values.mean(0)
    if np.linalg.matrix_rank(values - mean) < tested:
        return np.nan
    t_squared = networks * mean @ np.linalg.solve(np.cov(values.T).reshape(tested, tested), mean)
    free = networks - tested
    return float(fdtrc(tested, free, t_squared * free / (tested * (networks - 1))))


def proportionality_without_each(recall_before: np.ndarray, recall_after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute the proportionality of the other classes, as if a class had no images, for each class.

    Parameters
    ----------
    recall_before, recall_after, share
        As for `proportion.on_these_images`.

    Returns
    -------
    (3, classes)
        Proportionality and the ends of its interval; NaN with fewer than three classes.

    Examples
    --------
    The errors of the controls are .1, .2 and .3, and of the others .15, .3 and .33. Without the first class, the gap
    changes from .1 to .03, and the errors grow by the factor .63 / .5, so (s - 1) / (k - 1) is (.3 - 1) / (1.26 - 1):

    >>> before, after = (1 - np.array([errors] * 3) for errors in ([0.1, 0.2, 0.3], [0.15, 0.3, 0.33]))
    >>> proportionality_without_each(before, after, np.full(3, 1 / 3))[0].round(2).tolist()
    [-2.69, -0.5, 1.0]
    """
    without = []
    for place in range(len(share)):
        before, after = (np.delete(recall, place, axis=1) for recall in (recall_before, recall_after))
        others = np.delete(share, place)
        has_gaps = len(others) > 1
        without.append(
            on_these_images(before, after, others / others.sum()).proportionality() if has_gaps else UNDEFINED
        )
    return np.transpose(without)
