"""Pass a memory-mapped array to another process on the same machine without copying it."""

import numpy as np
from numpy.lib.stride_tricks import as_strided


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
