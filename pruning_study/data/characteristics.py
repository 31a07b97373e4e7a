"""What is known of each class before any training: its share of the training images, and how complex its images are."""

import numpy as np
import pandas as pd

from pruning_study.data.datasets import Dataset, portions


def class_characteristics(data: Dataset, indices: np.ndarray) -> pd.DataFrame:
    """Return the imbalance and the mean entropy of each class, over the images that a network is trained on.

    The imbalance of class c is n_c - 1/C, with n_c its share of the images and C the number of classes. The entropy is
    the mean of `entropies` over the images of the class (Paganini 2020, Section 3). The paper divides that sum by C in
    print, which is a slip for the number of images.

    Parameters
    ----------
    data : Dataset
    indices : int64 [n]
        The training images that a network is trained on.

    Returns
    -------
    DataFrame
        A row for each class: class, index, training_images, imbalance, entropy (bits; NaN for a class without images).
    """
    labels, count = data.train_labels[indices], len(data.classes)
    images = np.bincount(labels, minlength=count)
    bits = np.bincount(labels, entropies(data.train_images, indices), count)
    return pd.DataFrame(
        {
            "class": data.classes,
            "index": range(count),
            "training_images": images,
            "imbalance": images / images.sum() - 1 / count,
            "entropy": np.divide(bits, images, out=np.full(count, np.nan), where=images > 0),
        }
    )


def entropies(images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
    """Return the Shannon entropy of the pixel values of each image, in bits: -sum_v p_v log2(p_v).

    Parameters
    ----------
    images : uint8 [N, C, H, W]
        p_v is the share of an image's pixels, those of all channels together, that have the value v.
    indices : int64 [n], optional
        The images that are wanted; by default all.

    Returns
    -------
    float64 [n], from 0 to 8
    """
    indices = np.arange(len(images)) if indices is None else indices
    pixels = images[:1].size
    numbers = np.arange(1, pixels + 1)
    # An image with the counts k of its values has the entropy log2(P) - sum(k log2(k)) / P.
    terms = np.concatenate([[0.0], numbers * np.log2(numbers)])
    sums = [terms[_counts(images[part])].sum(1) for part in portions(indices, 8 * (pixels + 256))]
    return np.log2(pixels) - np.concatenate(sums) / pixels


def _counts(images: np.ndarray) -> np.ndarray:
    """Return how many pixels of each image have each of the 256 values, [n, 256]."""
    values = images.reshape(len(images), -1) + 256 * np.arange(len(images))[:, None]
    return np.bincount(values.ravel(), minlength=256 * len(images)).reshape(-1, 256)
