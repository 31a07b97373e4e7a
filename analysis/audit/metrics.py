"""Metrics of an audit other than recall: precision, false positive rate and, if confidences are known, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.audit import confidences
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.compare.comparison import Comparison
from analysis.statistics.arithmetic import quotient

PRECISION, FALSE_POSITIVE_RATE, CALIBRATION_ERROR = "precision", "false positive rate", "calibration error"
BINS = 15  # of confidence, as in Guo et al. (2017, Proceedings of ICML 70)


def table(comparison: Comparison, confidences: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return `metric_table` of the classes, or of the classes in the groups of each grouping.

    Parameters
    ----------
    comparison : Comparison
    confidences : mapping of str to (networks, images)
        The probability of each predicted class, by side; empty if unknown.
    """
    names, label, predicted = list(comparison.names), comparison.label, comparison.predicted
    if not comparison.groups:
        return metric_table(names, label, predicted, confidences)
    tables = []
    for part in comparison.parts:
        own, sureness = ({side: of[:, part.images] for side, of in each.items()} for each in (predicted, confidences))
        found = metric_table(names, label[part.images], own, sureness, (part.names, part.label))
        if len(comparison.groups) > 1:
            found.insert(1, "grouping", part.grouping)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def metric_table(
    names: Sequence[str],
    label: np.ndarray,
    predicted: Mapping[str, np.ndarray],
    confidences: Mapping[str, np.ndarray],
    groups: tuple[Sequence[str], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Tabulate the metrics of each side, by class or by group and class.

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
    predicted : mapping of str to (networks, images), integers
        The predicted class from 0, or -1 if that class has no test images, by side: `before`, `after`, and optionally
        `control`.
    confidences : mapping of str to (networks, images)
        The probability of the predicted class, by side; empty if unknown.
    groups : ((groups,) text, (images,) integers), optional
        The names of groups, and the group of each image.

    Returns
    -------
    DataFrame
        - metric.
        - class, or group and class; for the calibration error of a group, class is empty.
        - before, control, after: the metric of each side that is given, a mean over its networks; NaN if undefined.

    Examples
    --------
    The network predicts class 0 for one of ten images of class 1 after compression, and for none before:

    >>> label, after = np.repeat([0, 1], 10), np.repeat([0, 1], [11, 9])
    >>> found = metric_table(["cat", "dog"], label, {"before": label[np.newaxis], "after": after[np.newaxis]}, {})
    >>> found[["metric", "class", "before", "after"]].round(3).values.tolist()[::2]
    [['precision', 'cat', 1.0, 0.909], ['false positive rate', 'cat', 0.0, 0.1]]
    """
    group_names, group = ([""], np.zeros_like(label)) if groups is None else groups
    sides = {
        side: _means(label, predicted[side], confidences.get(side), group, len(names), by_group=groups is not None)
        for side in ("before", "control", "after")
        if side in predicted
    }
    cells = pd.DataFrame({"group": np.repeat(group_names, len(names)), "class": np.tile(names, len(group_names))})
    whole_groups = pd.DataFrame({"group": group_names, "class": ""})
    tables = [
        (whole_groups if groups is not None and metric == CALIBRATION_ERROR else cells).assign(
            metric=metric, **{side: means[metric] for side, means in sides.items()}
        )
        for metric in sides["after"]
    ]
    named = ["class"] if groups is None else ["group", "class"]
    return pd.concat(tables, ignore_index=True)[["metric", *named, *sides]]


def _means(
    label: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray | None,
    group: np.ndarray,
    classes: int,
    *,
    by_group: bool,
) -> dict[str, np.ndarray]:
    """Return the metrics of one side in each class of each group, or the calibration error in each group."""
    groups, right = int(group.max()) + 1, predicted == label
    cells, cell = groups * classes, np.where(predicted < 0, -1, group * classes + predicted)
    hits, images = _sums(cell, right, cells), _sums(cell, np.ones(cell.shape), cells)
    others = np.repeat(np.bincount(group), classes) - np.bincount(group * classes + label, minlength=cells)
    found = {PRECISION: hits / np.maximum(images, 1), FALSE_POSITIVE_RATE: quotient(images - hits, others)}
    if confidence is not None:
        if by_group:
            cells, cell = groups, np.broadcast_to(group, cell.shape)
        bins = np.where(cell < 0, -1, cell * BINS + np.minimum((confidence * BINS).astype(int), BINS - 1))
        gaps = np.abs(_sums(bins, confidence - right, cells * BINS)).reshape(-1, cells, BINS).sum(axis=2)
        found[CALIBRATION_ERROR] = quotient(gaps, _sums(cell, np.ones(cell.shape), cells))
    return {metric: each.mean(axis=0) for metric, each in found.items()}


def _sums(cell: np.ndarray, values: np.ndarray, cells: int) -> np.ndarray:
    """Sum each cell's values in each network, (networks, cells), without those of cell -1."""
    return np.array([np.bincount(own + 1, each, cells + 1)[1:] for own, each in zip(cell, values, strict=True)])


def checked_confidences(
    values_by_side: Mapping[str, ArrayLike], networks: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return confidences as (networks, images), by side.

    Raises
    ------
    StudyError
        If a side is missing or unknown, has another shape than its predictions, or has values that are not
        probabilities.
    """
    if values_by_side and {*values_by_side} != {*networks}:
        raise StudyError(f"confidences has {', '.join(values_by_side)}: give them for {', '.join(networks)}")
    found = {}
    for side, values in values_by_side.items():
        try:
            own = np.atleast_2d(np.asarray(values, dtype=float))
        except (TypeError, ValueError) as error:
            raise StudyError(f"confidences of {side} are not numbers ({error})") from error
        if own.shape != networks[side].shape:
            raise StudyError(
                f"confidences of {side} have shape {own.shape}, but the predictions {networks[side].shape}: give a "
                "confidence for each prediction"
            )
        if not ((own >= 0) & (own <= 1)).all():
            raise StudyError(f"confidences of {side} are not from 0 to 1: give the probability of the predicted class")
        found[side] = own
    return found


def confidences_of_files(
    paths: Mapping[str, Sequence[Path]],
    networks: Mapping[str, np.ndarray],
    limit: SizeLimit,
    orders: Mapping[Path, np.ndarray],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the confidences of each side; if they are missing in some files or invalid, return a note instead.

    Parameters
    ----------
    paths : mapping of str to sequence of Path
        Files of predictions, by side.
    networks : mapping of str to (networks, images)
        The predictions in these files.
    limit : SizeLimit
        Largest memory for the arrays of a file.
    orders : mapping of Path to (images,)
        For each file that lists the images in another order than the first file: the row of each image.
    """
    sides = {side: own for side, own in paths.items() if own}
    all_paths = [path for own in sides.values() for path in own]
    if not all_paths:
        return {}, []
    try:
        found = confidences.read(all_paths, np.concatenate([networks[side] for side in sides]), limit, orders)
    except StudyError as error:
        return {}, [f"The calibration error is left out: {error}."]
    if found.values is None:
        return {}, []
    ends = np.cumsum([len(own) for own in sides.values()])
    return dict(zip(sides, np.split(found.values, ends[:-1]), strict=True)), found.notes
