"""Group test images, for example by a digit's writer, and measure tilt, brightness and distance from the class mean.

The measures are those of Paganini (2020, Appendix C).
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.common import archives
from analysis.common.errors import StudyError
from pruning_study.data.arrays import portions
from pruning_study.data.datasets import Dataset

INK = 127  # pixels above this value are ink
MEASURE = "measure:"
_DECIMALS = {"tilt": 3, "absolute_tilt": 3, "activation": 2, "distance": 1}
# Arrays of QMNIST's file: the grouping in each, and the prefix of its groups' names
_GROUPINGS = {"test_writer": ("writer", ""), "test_hsf": ("series", "hsf")}
_BYTES = 8  # per float64

log = logging.getLogger(__name__)


def groups(data: Dataset) -> pd.DataFrame:
    """Return the groups and the measures of each test image.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    DataFrame
        One row per test image, in order, with the columns

        - the image's groups: `writer` and `series` (the NIST series of handwriting forms, such as `hsf4`) if the data
          set's file has them, otherwise `class`;
        - `measure:tilt` and `measure:absolute_tilt`: see `tilts`; NaN for an image without two rows of ink;
        - `measure:activation`: mean pixel value;
        - `measure:distance`: see `distances`.

    Raises
    ------
    StudyError
        If the file's groups are not one whole number per test image.
    """
    slopes = tilts(data.test_images)
    measures = {
        "tilt": slopes,
        "absolute_tilt": np.abs(slopes),
        "activation": data.test_images.mean((1, 2, 3)),
        "distance": distances(data),
    }
    # Adding 0 turns the -0.0 of a rounded small negative number into 0.0.
    rounded = {f"{MEASURE}{name}": values.round(_DECIMALS[name]) + 0.0 for name, values in measures.items()}
    return pd.DataFrame({**_groupings(data), **rounded})


def tilts(images: np.ndarray) -> np.ndarray:
    """Fit a least-squares line, column on row, to the ink of each image, and return its slope.

    A pixel is ink if its mean over channels is above 127. An upright digit has slope 0. A digit leaning to the right
    has a negative slope, because rows are numbered from the top.

    Parameters
    ----------
    images : uint8 [N, C, H, W]

    Returns
    -------
    float64 [N]
        Slopes in columns per row; NaN if fewer than two rows have ink.
    """
    return ink_lines(images)[0]


def ink_lines(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a least-squares line to the ink of each image; return its slope (see `tilts`) and its column at row 0.

    Parameters
    ----------
    images : uint8 [N, C, H, W]

    Returns
    -------
    float64 [N], float64 [N] ; NaN if fewer than two rows have ink.
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
    """Return a mask of the ink pixels of images [N, C, H, W], bool [N, H, W]."""
    return np.asarray(images.mean(1) > INK)


def distances(data: Dataset) -> np.ndarray:
    """Return each test image's Euclidean distance from the mean training image of its class.

    Pixels range from 0 to 255. The mean includes the validation images.

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
    """Map each grouping to the group names of the test images, strings [N]."""
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
        log.warning("%s has no writers of the digits: delete it, and the next call downloads it again", path)
    return groupings or {"class": np.array(data.classes)[data.test_labels]}
