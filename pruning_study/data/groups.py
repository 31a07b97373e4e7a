"""Groups and measures of test images: who wrote a digit, and how tilted, bright and unusual it is.

The measures are those of Paganini (2020, Appendix C).
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.common import archives
from analysis.common.errors import StudyError
from pruning_study.data.datasets import Dataset
from pruning_study.data.portions import portions

INK = 127  # a brighter pixel is ink
MEASURE = "measure:"
_DECIMALS = {"tilt": 3, "absolute_tilt": 3, "activation": 2, "distance": 1}
# Arrays of QMNIST's file, the grouping that each is, and what the names of its groups begin with
_GROUPINGS = {"test_writer": ("writer", ""), "test_hsf": ("series", "hsf")}
_BYTES = 8  # of a number

log = logging.getLogger(__name__)


def groups(data: Dataset) -> pd.DataFrame:
    """Return the groups that each test image is in, and its measures.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    DataFrame
        A row for each test image, in their order. The groupings are `writer` and `series` (of forms that were filled
        in, such as `hsf4`), if the data set's file has them; otherwise `class`. Each measure is a column whose name
        begins with `measure:`: tilt and absolute_tilt (NaN for an image without two rows of ink), activation, the mean
        pixel, and distance, as `distances` returns it.

    Raises
    ------
    StudyError
        If the file names no group for each test image.
    """
    slopes = tilts(data.test_images)
    measures = {
        "tilt": slopes,
        "absolute_tilt": np.abs(slopes),
        "activation": data.test_images.mean((1, 2, 3)),
        "distance": distances(data),
    }
    # Rounding turns a small negative number into -0.0, and adding 0 turns that into 0.0.
    rounded = {f"{MEASURE}{name}": values.round(_DECIMALS[name]) + 0.0 for name, values in measures.items()}
    return pd.DataFrame({**_groupings(data), **rounded})


def tilts(images: np.ndarray) -> np.ndarray:
    """Return the slope of the least-squares line through the ink of each image, column on row.

    A pixel is ink if its mean over channels is above 127. Rows count downwards, so that the slope of an upright digit
    is 0, and that of a digit which leans to the right is negative.

    Parameters
    ----------
    images : uint8 [N, C, H, W]

    Returns
    -------
    float64 [N]
        Columns per row; NaN where less than two rows have ink.
    """
    return ink_lines(images)[0]


def ink_lines(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares line through the ink of each image: its slope, as in `tilts`, and its column in row 0.

    Parameters
    ----------
    images : uint8 [N, C, H, W]

    Returns
    -------
    float64 [N], float64 [N] ; NaN where less than two rows have ink.
    """
    rows, columns = (np.arange(side, dtype=float) for side in images.shape[2:])
    lines = []
    for part in portions(images, _BYTES * images[:1].size):
        ink = ink_of(part).astype(float)
        in_row, column_sum = ink.sum(2), ink @ columns
        count, row_sum, square_sum = in_row.sum(1), in_row @ rows, in_row @ rows**2
        covariance = count * (column_sum @ rows) - row_sum * column_sum.sum(1)
        variance = count * square_sum - row_sum**2
        slope = np.divide(covariance, variance, out=np.full(len(part), np.nan), where=variance > 0)
        lines.append([slope, (column_sum.sum(1) - slope * row_sum) / np.maximum(count, 1)])
    slopes, first_columns = np.concatenate(lines, axis=1)
    return slopes, first_columns


def ink_of(images: np.ndarray) -> np.ndarray:
    """Find the pixels of images [N, C, H, W] that are ink, bool [N, H, W]."""
    return np.asarray(images.mean(1) > INK)


def distances(data: Dataset) -> np.ndarray:
    """Return the Euclidean distance of each test image from the mean training image of its class, pixels from 0 to 255.

    The mean is over all training images of the class, those for validation included.

    Returns
    -------
    float64 [N]
    """
    means = np.array([_mean_image(data.train_images, data.train_labels == c) for c in range(len(data.classes))])
    parts = []
    for indices in portions(np.arange(len(data.test_labels)), _BYTES * means[0].size):
        from_mean = data.test_images[indices] - means[data.test_labels[indices]]
        parts.append(np.linalg.norm(from_mean.reshape(len(indices), -1), axis=1))
    return np.concatenate(parts)


def _mean_image(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    indices = np.flatnonzero(chosen)
    sums = (images[part].sum(0, dtype=float) for part in portions(indices, images[:1].nbytes))
    return np.sum(list(sums), axis=0) / len(indices)


def _groupings(data: Dataset) -> dict[str, np.ndarray]:
    """Return the names of groups, text [N], by grouping."""
    path, groupings = Path(data.source), {}
    arrays = archives.read(path, [], optional=list(_GROUPINGS)) if path.suffix == ".npz" else {}
    for name, array in arrays.items():
        if array.shape != data.test_labels.shape or array.dtype.kind not in "iu":
            raise StudyError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; it must hold a whole number for each of the "
                f"{len(data.test_labels):,} test images"
            )
        grouping, start = _GROUPINGS[name]
        groupings[grouping] = np.char.add(start, array.astype(str))
    if data.name == "qmnist" and "writer" not in groupings:
        log.warning("%s does not say who wrote the digits: delete it, and the next call downloads it anew", path)
    return groupings or {"class": np.array(data.classes)[data.test_labels]}
