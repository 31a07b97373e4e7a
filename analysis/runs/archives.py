"""NumPy archives, .npz, read without pickle."""

import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.runs.errors import StudyError

# What NumPy and zipfile raise where a file is truncated, damaged or something else.
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
    """Arrays of an .npz file by name.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        Names of arrays.

    Raises
    ------
    StudyError
        Where the file is truncated or no .npz, holds pickled objects, or lacks a required array.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in required if name not in archive.files]
            arrays = {name: archive[name] for name in [*required, *optional] if name in archive.files}
    except _FAULTS as error:
        raise StudyError(f"{path}: not a complete .npz file ({type(error).__name__}: {error})") from error
    if missing:
        raise StudyError(f"{path}: no {', '.join(missing)} in it; it takes {', '.join(required)}")
    return arrays
