"""Iterate over a large array in parts, so that intermediate results fit into memory."""

from collections.abc import Iterator

import numpy as np

# Bytes to process at a time.
PORTION = 2**24


def portions(array: np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield consecutive parts of an array, of about `PORTION` bytes each if an entry takes `size` bytes."""
    size = size or array[:1].nbytes
    count = max(1, PORTION // max(size, 1))
    return (array[start : start + count] for start in range(0, len(array), count))
