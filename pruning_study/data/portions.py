"""Take a large array a portion at a time, so that what is made of its entries fits into memory."""

from collections.abc import Iterator

import numpy as np

# Bytes that are copied or counted at once.
PORTION = 2**24


def portions(array: np.ndarray, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield consecutive parts of an array that take about `PORTION` bytes each, by `size` bytes for an entry."""
    size = size or array[:1].nbytes
    count = max(1, PORTION // max(size, 1))
    return (array[start : start + count] for start in range(0, len(array), count))
