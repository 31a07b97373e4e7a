"""Arrays of images: iterate over them in parts, share them between processes, and measure their entropy."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

# Bytes to process at a time.
PORTION = 2**24


def portions(array: np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield consecutive parts of an array, of about `PORTION` bytes each if an entry takes `size` bytes."""
    size = size or array[:1].nbytes
    count = max(1, PORTION // max(size, 1))
    return (array[start : start + count] for start in range(0, len(array), count))


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


class MappedArray:
    """Location of an array in a memory-mapped file.

    Parameters
    ----------
    array : np.memmap of uint8
        A whole memory-mapped file, or a view of one.
    """

    def __init__(self, array: np.memmap) -> None:
        root = array
        while isinstance(root.base, np.memmap):
            root = root.base
        assert array.filename is not None
        self._file = array.filename
        self._offset = root.offset + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
        self._shape, self._strides = array.shape, array.strides

    def numpy(self) -> np.ndarray:
        """Return the array, mapped into this process."""
        content = np.memmap(self._file, np.uint8, "r")[self._offset :]
        return as_strided(content, self._shape, self._strides, subok=True, writeable=False)
