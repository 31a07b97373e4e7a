"""Data quotas: fine-tune on more images of classes with low recall in the dense network (Vysogorets et al. 2025)."""

import math
from collections.abc import Sequence

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from pruning_study.data import labels

OPTION = "data_quotas"


def densities(sizes: np.ndarray, recall: np.ndarray, density: float) -> np.ndarray:
    """Return the share of each class's images that DRoP keeps (Vysogorets, Ahuja and Kempe 2025, Algorithm 1).

    Shares are proportional to 1 - recall, and together keep the share `density` of all images. If a class's share would
    exceed 1, the class keeps all its images, and the excess is distributed over the other classes in the same
    proportions.

    Parameters
    ----------
    sizes : (classes,), integers
        Number of training images of each class.
    recall : (classes,), in [0, 1]
        Recall of each class on validation images.
    density : float in (0, 1]

    Returns
    -------
    (classes,), in [0, 1] ; 0 if the recall is 1.

    Examples
    --------
    15 of 30 images are kept, in proportion 4 : 1 : 1 at recalls of 0.6, 0.9 and 0.9, so the first class keeps all of
    its ten images, and each of the others 2.5:

    >>> densities(np.array([10, 10, 10]), np.array([0.6, 0.9, 0.9]), 0.5).round(6).tolist()
    [1.0, 0.25, 0.25]
    """
    error, shares = 1 - recall, np.zeros(len(sizes))
    unsaturated, missing = error > 0, density * int(sizes.sum())
    while missing > 0 and unsaturated.any():
        shares[unsaturated] += missing * error[unsaturated] / math.fsum((sizes * error)[unsaturated])
        full = unsaturated & (shares > 1)
        missing = math.fsum((sizes * (shares - 1))[full])
        shares[full] = 1
        unsaturated &= ~full
    return shares


def chosen(
    train_labels: np.ndarray,
    indices: np.ndarray,
    recall: np.ndarray,
    density: float,
    *,
    seed: int,
    classes: Sequence[str],
    remedy: str,
) -> np.ndarray:
    """Choose training images by the quotas, at random within each class, and return their indices.

    Parameters
    ----------
    train_labels : int64 [N]
    indices : int64 [n]
        Indices of the training images.
    recall : (classes,)
        Recall of each class on validation images, not NaN.
    density : float in (0, 1]
        Share of the training images to keep.
    seed : int
    classes : sequence of str
    remedy : str
        What an error asks the user to do if the dense network makes no error in a class, whose quota is then 0.

    Raises
    ------
    StudyError
        If the quota of a class is 0 images.
    """
    sizes = np.bincount(train_labels[indices], minlength=len(classes))
    shares = densities(sizes, recall, density)
    indices_chosen = labels.thinned(train_labels, indices, dict(enumerate(shares.tolist())), seed)
    for label, number in enumerate(np.bincount(train_labels[indices_chosen], minlength=len(classes))):
        if not number:
            raise StudyError(
                f"the quota of class {shortened(classes[label])} is 0 training images, because the dense network gets "
                f"{recall[label]:.2%} of the class's validation images right: {remedy}",
                option=OPTION,
            )
    return indices_chosen
