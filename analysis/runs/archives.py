"""Read NumPy archives (.npz) without pickle."""

import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.runs.errors import StudyError

# NumPy and zipfile raise these for a file that is truncated, damaged or of another kind.
_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    AttributeError,
    TypeError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def read(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file by their names.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        Names of arrays. Other arrays of the file are not read.

    Returns
    -------
    dict of array
        The required arrays, and those of the optional ones that the file holds.

    Raises
    ------
    StudyError
        If the file is truncated or not an .npz file, holds pickled objects, or lacks a required array.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in required if name not in archive.files]
            arrays = {name: archive[name] for name in [*required, *optional] if name in archive.files}
    except _FAULTS as error:
        raise StudyError(f"{path}: not a complete .npz file ({type(error).__name__}: {error})") from error
    if missing:
        raise StudyError(f"{path}: no {', '.join(missing)} in it; the file needs {', '.join(required)}")
    return arrays
