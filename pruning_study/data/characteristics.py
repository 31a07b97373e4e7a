"""Class characteristics known before training: a class's share of the images, and the complexity of its images."""

import numpy as np
import pandas as pd

from pruning_study.data.datasets import Dataset
from pruning_study.data.entropy import entropies


def class_characteristics(data: Dataset, indices: np.ndarray) -> pd.DataFrame:
    """Return the imbalance and the mean entropy of each class in a network's training images.

    The imbalance of class c is n_c - 1/C, with n_c its share of the images and C the number of classes. The entropy of
    a class is the mean of `entropies` over its images before resizing (Paganini 2020, Section 3). The paper prints C as
    the divisor of this mean, but the divisor must be the number of images.

    Parameters
    ----------
    data : Dataset
    indices : int64 [n]
        Indices of the training images that the network is trained on.

    Returns
    -------
    DataFrame
        One row per class: class, index, training_images, imbalance, entropy (bits; NaN for a class without images).
    """
    labels, count = data.train_labels[indices], len(data.classes)
    stored_entropies = data.train_entropies
    of_images = entropies(data.train_images, indices) if stored_entropies is None else stored_entropies[indices]
    images = np.bincount(labels, minlength=count)
    bits = np.bincount(labels, of_images, count)
    return pd.DataFrame(
        {
            "class": data.classes,
            "index": range(count),
            "training_images": images,
            "imbalance": images / images.sum() - 1 / count,
            "entropy": np.divide(bits, images, out=np.full(count, np.nan), where=images > 0),
        }
    )
