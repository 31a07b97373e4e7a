"""Measure the complexity of an image by the entropy of its pixels."""

import numpy as np

from pruning_study.data.portions import portions


def entropies(images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
    """Return the Shannon entropy of each image's pixel values, in bits.

    It is -sum_v p_v log2(p_v), with p_v the share of an image's pixels, over all channels, that have the value v.

    Parameters
    ----------
    images : uint8 [N, C, H, W] or [N, H, W, C]
    indices : int64 [n], optional
        Images to measure; all by default.

    Returns
    -------
    float64 [n], from 0 to 8
    """
    indices = np.arange(len(images)) if indices is None else indices
    pixels = images[:1].size
    # If value v occurs k_v times among the P values of an image, the entropy is log2(P) - sum_v k_v log2(k_v) / P.
    counts = (_counts(images[part]) for part in portions(indices, 8 * (pixels + 256)))
    sums = [(count * np.log2(np.maximum(count, 1))).sum(1) for count in counts]
    return np.log2(pixels) - np.concatenate(sums) / pixels


def _counts(images: np.ndarray) -> np.ndarray:
    """Count the pixels of each image that have each of the 256 values, [n, 256]."""
    values = images.reshape(len(images), -1) + 256 * np.arange(len(images))[:, None]
    return np.bincount(values.ravel(), minlength=256 * len(images)).reshape(-1, 256)
