"""Estimate changes of precision, false positive rate and calibration error of each class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import class_losses
from analysis.statistics.arithmetic import quotient
from analysis.statistics.class_table import MeanChange, mean_change
from analysis.statistics.hypothesis_tests import LEVEL

PRECISION, FALSE_POSITIVE_RATE, CALIBRATION_ERROR = "precision", "false positive rate", "calibration error"
# Number of bins of confidence, as in Guo et al. (2017, Proceedings of ICML 70).
BINS = 15


# The names of groups, and the group of each image, from 0.
Groups = tuple[Sequence[str], np.ndarray]


class Answers(NamedTuple):
    """Predictions of the networks of one side: before compression, after it, or the control.

    Attributes
    ----------
    predicted : (networks, images), integers
        The predicted class from 0, or -1 if that class has no test images.
    confidence : (networks, images), optional
        The probability of the predicted class.
    """

    predicted: np.ndarray
    confidence: np.ndarray | None = None

    def of_images(self, images: np.ndarray) -> "Answers":
        """Select the answers to some images."""
        return Answers(self.predicted[:, images], None if self.confidence is None else self.confidence[:, images])


class _Metric(NamedTuple):
    """A metric of one side's networks, as a share in each cell (a class, a class in a group, or a group).

    Attributes
    ----------
    value : (networks, cells)
        NaN if undefined.
    cell : (networks, images), integers
        The cell to which each image contributes; -1 for none.
    part : (networks, images)
        Contribution of the image to the metric of its cell, up to a constant common to all images of the cell.
    images : (networks, cells)
        Number of images in the denominator of the share.
    """

    value: np.ndarray
    cell: np.ndarray
    part: np.ndarray
    images: np.ndarray


def metric_table(
    names: Sequence[str],
    label: np.ndarray,
    sides: Mapping[str, Answers],
    groups: Groups | None = None,
    *,
    paired: bool = True,
) -> pd.DataFrame:
    """Tabulate the metrics and their changes, by class or by group and class.

    Precision is the share of right predictions among the images predicted as a class; it is 0 if no image is, as in
    scikit-learn. The false positive rate is the share of the images of other classes that are predicted as this class.
    The calibration error is the mean distance of confidence from precision over bins of confidence, weighted by images.
    It is computed over the images predicted as a class (Gupta and Ramdas 2022, International Conference on Learning
    Representations) or, if there are groups, over all images of a group.

    Parameters
    ----------
    names : (classes,) text
    label : (images,), integers
        Class of each image, from 0.
    sides : mapping of str to Answers
        `before`, `after`, and optionally `control`.
    groups : ((groups,) text, (images,) integers), optional
        The names of groups, and the group of each image.
    paired : bool
        Whether the compressed networks are paired with their references: the control or, without one, the networks
        before compression. They are treated as independent if their numbers differ.

    Returns
    -------
    DataFrame
        - metric.
        - class, or group and class; for the calibration error of a group, class is empty.
        - before, control, after: the metric of each side that is given, a mean over its networks.
        - change: after minus control or, without a control, after minus before.
        - low, high: 95 % interval of the change. With one network per side, the interval accounts for images only.
        - low_all, high_all: the same for intervals that hold for all rows jointly.

    Examples
    --------
    The network predicts class 0 for one of ten images of class 1 after compression, and for none before:

    >>> label, after = np.repeat([0, 1], 10), np.repeat([0, 1], [11, 9])[np.newaxis]
    >>> found = metric_table(["cat", "dog"], label, {"before": Answers(label[np.newaxis]), "after": Answers(after)})
    >>> found[["metric", "class", "before", "after"]].round(3).values.tolist()[::2]
    [['precision', 'cat', 1.0, 0.909], ['false positive rate', 'cat', 0.0, 0.1]]
    """
    group = np.zeros(len(label), np.int64) if groups is None else groups[1]
    metrics = {side: _metrics(label, own, group, len(names), groups is not None) for side, own in sides.items()}
    start = "control" if "control" in sides else "before"
    shared = [name for name in metrics["after"] if all(name in own for own in metrics.values())]
    estimates = {name: _estimate(metrics[start][name], metrics["after"][name], name, paired) for name in shared}
    rows = sum(int(each.known.sum()) for each in estimates.values())
    tables = []
    for name, estimate in estimates.items():
        means = {side: metrics[side][name].value.mean(0) for side in ("before", "control", "after") if side in sides}
        named = _cell_names(names, groups, is_of_group=groups is not None and name == CALIBRATION_ERROR)
        ends = {
            f"{end}{suffix}": bound
            for suffix, level in (("", LEVEL), ("_all", LEVEL / max(rows, 1)))
            for end, bound in zip(("low", "high"), estimate.bounds(level), strict=True)
        }
        columns = {**named, **means, "change": means["after"] - means[start], **ends}
        tables.append(pd.DataFrame({"metric": np.full(len(estimate.known), name), **columns}))
    return pd.concat(tables, ignore_index=True)


def _cell_names(names: Sequence[str], groups: Groups | None, *, is_of_group: bool) -> dict[str, np.ndarray]:
    """Return the columns that identify each cell by class or group; cells of whole groups have an empty class."""
    if groups is None:
        return {"class": np.array(names)}
    if is_of_group:
        return {"group": np.array(groups[0]), "class": np.full(len(groups[0]), "")}
    return {"group": np.repeat(groups[0], len(names)), "class": np.tile(names, len(groups[0]))}


def _metrics(
    label: np.ndarray, answers: Answers, group: np.ndarray, classes: int, by_group: bool
) -> dict[str, _Metric]:
    predicted, confidence = answers
    right, is_known, groups = predicted == label, predicted >= 0, int(group.max()) + 1
    cells, cell = groups * classes, np.where(is_known, group * classes + predicted, -1)
    others = np.repeat(np.bincount(group), classes) - np.bincount(group * classes + label, minlength=cells)
    wrong = (~right & is_known).astype(float)
    found = {
        PRECISION: _share_of(cell, right.astype(float), cells, undefined=0.0),
        FALSE_POSITIVE_RATE: _Metric(
            quotient(_sums(cell, wrong, cells), others),
            cell,
            wrong / np.maximum(others, 1)[cell],
            np.tile(others, (len(cell), 1)),
        ),
    }
    if confidence is not None:
        own_cell, own_cells = (np.broadcast_to(group, cell.shape), groups) if by_group else (cell, cells)
        found[CALIBRATION_ERROR] = _calibration(own_cell, confidence, right, own_cells)
    return found


def _calibration(cell: np.ndarray, confidence: np.ndarray, right: np.ndarray, cells: int) -> _Metric:
    """Compute the calibration error and the contribution of each image.

    Whether the confidence in a bin is above or below the precision is treated as known, without error.
    """
    bin_ = np.where(cell < 0, -1, cell * BINS + np.minimum((confidence * BINS).astype(np.int64), BINS - 1))
    gap = confidence - right
    signs = np.sign(_sums(bin_, gap, cells * BINS))
    return _share_of(cell, np.take_along_axis(signs, np.maximum(bin_, 0), 1) * gap, cells, undefined=np.nan)


def _share_of(cell: np.ndarray, values: np.ndarray, cells: int, undefined: float) -> _Metric:
    """Average values over the images of each cell. A cell may have different images in each network."""
    images = _sums(cell, np.ones(cell.shape), cells)
    value = _sums(cell, values, cells) / np.maximum(images, 1)
    place = np.maximum(cell, 0)
    own_value, own_images = (np.take_along_axis(each, place, 1) for each in (value, np.maximum(images, 1)))
    return _Metric(np.where(images > 0, value, undefined), cell, (values - own_value) / own_images, images)


def _sums(cell: np.ndarray, values: np.ndarray, cells: int) -> np.ndarray:
    """Sum each cell's values, (networks, cells)."""
    return np.array([np.bincount(own + 1, each, cells + 1)[1:] for own, each in zip(cell, values, strict=True)])


class _Estimate(NamedTuple):
    """The mean change of a metric in the cells where it is defined.

    `known` is a mask of these cells among all cells. `images` has the number of images of each of these cells.
    """

    known: np.ndarray
    images: np.ndarray
    change: MeanChange

    def bounds(self, level: float) -> np.ndarray:
        """Compute the bounds of all cells, (2, cells), NaN where the metric is undefined."""
        bounds = np.full((2, len(self.known)), np.nan)
        bounds[:, self.known] = self.change.bounds(np.maximum(self.images, 1), level)
        return bounds


def _estimate(start: _Metric, after: _Metric, name: str, paired: bool) -> _Estimate:
    known = np.isfinite(start.value).all(0) & np.isfinite(after.value).all(0)
    first, second = (each.value[:, known] for each in (start, after))
    images = np.minimum(*(each.images.mean(0)[known] for each in (start, after)))
    if paired and len(first) == len(second):
        groups = [_pairs(start, after)]
        changes = class_losses.from_recalls(first, second)
    else:
        groups = [_alone(start, -1.0), _alone(after, 1.0)]
        changes = class_losses.from_recalls(first, second, paired=False)
    parts = [(factor / len(group), cell, part) for group in groups for own in group for factor, cell, part in own]
    changes = changes._replace(
        images=_image_variances(parts, images, known),
        in_both=np.sum([_in_both(group, images, known) for group in groups], axis=0),
    )
    changes = class_losses.of_few_images(changes, images)
    if name != CALIBRATION_ERROR:  # because the calibration error is not a share of images
        changes = class_losses.moderated(changes, (first.mean(0) + second.mean(0)) / 2)
    return _Estimate(known, images, mean_change(changes))


# For one network: the factor of its contributions in the change, the cell of each image as in `_Metric`, and the
# contribution of each image.
_Part = tuple[float, np.ndarray, np.ndarray]


def _pairs(start: _Metric, after: _Metric) -> list[list[_Part]]:
    """Combine each network's parts after compression with the negated parts of its reference."""
    return [[*first, *second] for first, second in zip(_alone(start, -1.0), _alone(after, 1.0), strict=True)]


def _alone(metric: _Metric, sign: float) -> list[list[_Part]]:
    return [[(sign, cell, part)] for cell, part in zip(metric.cell, metric.part, strict=True)]


def _in_both(group: Sequence[Sequence[_Part]], images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Estimate how much variance over images the variance over a group's networks already contains, (cells,)."""
    networks = len(group)
    if networks == 1:
        return np.zeros(len(images))
    each = sum(_image_variances(own, images, known) for own in group)
    together = _image_variances([part for own in group for part in own], images, known) / networks
    return np.maximum(each - together, 0) / (networks * (networks - 1))


def _image_variances(parts: Sequence[_Part], images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Estimate the variance over images of a sum of parts, (known cells,)."""
    from scipy import sparse  # training imports this package and must not wait for scipy

    own = [(np.flatnonzero((cell >= 0) & (part != 0)), factor, cell, part) for factor, cell, part in parts]
    rows = np.concatenate([places for places, *_ in own])
    columns = np.concatenate([cell[places] for places, _, cell, _ in own])
    values = np.concatenate([factor * part[places] for places, factor, _, part in own])
    table = sparse.coo_array((values, (rows, columns)), shape=(len(own[0][2]), len(known))).tocsr()  # adds the parts
    squares, total = (np.asarray(each.sum(axis=0))[known] for each in (table.power(2), table))
    several = np.maximum(images, 2)
    centred = np.maximum(squares - np.square(total) / several, 0) * several / (several - 1)
    return np.asarray(np.where(images > 1, centred, squares))
