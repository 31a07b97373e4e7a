"""Measure over-indexing of PIEs on groups: a group's share of the PIEs divided by its share of all images.

Hooker et al. (2019, Section 3.2) announce a test whether PIEs of CelebA over-index on attributes that are rare in
training, and print no result of it. Because two dense populations also disagree more on such images, the index between
dense and compressed halves is compared with the index between two dense halves, the placebo.
"""

import numpy as np
import pandas as pd

from analysis.statistics.halves import jackknife_estimate


def index(chosen: np.ndarray, group_index: np.ndarray) -> np.ndarray:
    """Compute each group's share of the chosen images divided by its share of all images.

    Parameters
    ----------
    chosen : (..., images)
        Frequency with which each image is chosen, from 0 to 1.
    group_index : (images,), integers
        The group of each image, from 0; every group has an image.

    Returns
    -------
    (..., groups)
        NaN if no image is chosen.

    Examples
    --------
    Half of all images are in the second group. In the first example it has two of the four chosen images, and in the
    second example three:

    >>> index(np.array([0, 0, 1, 1, 1, 1, 0, 0]), np.array([0] * 4 + [1] * 4)).tolist()
    [1.0, 1.0]
    >>> index(np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.array([0] * 4 + [1] * 4)).tolist()
    [0.5, 1.5]
    """
    share = np.bincount(group_index) / len(group_index)
    counts = np.apply_along_axis(lambda own: np.bincount(group_index, own), -1, chosen)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(-1, keepdims=True) / share)


def over_indexing(pies: np.ndarray, placebo: np.ndarray, group_index: np.ndarray) -> pd.DataFrame:
    """Tabulate the index of each group for PIEs between halves, and for the placebo.

    Parameters
    ----------
    pies, placebo : (1 + groups of networks, images)
        `Halves.image_shares` against the compressed networks, and against the dense ones.
    group_index : (images,), integers
        The group of each image, from 0; every group has an image.

    Returns
    -------
    DataFrame, one row per group
        - images: number of the group's images.
        - pies, pies_placebo: number of PIEs in the group, a mean over splits.
        - index, index_placebo, index_minus_placebo: the indices and their difference, with 95 % intervals (`_low`,
          `_high`) by the jackknife over groups of networks. NaN without PIEs.
    """
    shares = {"": pies, "_placebo": placebo}
    indices = {ending: index(each, group_index) for ending, each in shares.items()}
    indices["_minus_placebo"] = indices[""] - indices["_placebo"]
    return pd.DataFrame(
        {
            "images": np.bincount(group_index),
            **{f"pies{ending}": np.bincount(group_index, each[0]) for ending, each in shares.items()},
            **{
                f"index{ending}{end}": values
                for ending, each in indices.items()
                for end, values in zip(
                    ("", "_low", "_high"), np.transpose(list(map(jackknife_estimate, each.T))), strict=True
                )
            },
        }
    )
