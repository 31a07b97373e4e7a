"""Metrics of an audit other than recall: precision, false positive rate and, if confidences are known, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.audit import confidences
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.points import points
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import interval
from analysis.statistics.metric_changes import Answers, metric_table
from analysis.statistics.risk_scores import CONFIDENCE


def table(
    comparison: Comparison,
    classes: np.ndarray,
    networks: Mapping[str, np.ndarray],
    confidences: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Return `metric_table` of the classes, or of the classes in the groups of each grouping.

    Parameters
    ----------
    comparison : Comparison
    classes : (classes,)
        The true classes, sorted, written as in the predictions.
    networks : mapping of str to (networks, images)
        Predictions, by side.
    confidences : mapping of str to (networks, images)
        The probability of each predicted class, by side; empty if unknown.
    """
    sides = {side: Answers(_places(classes, each), confidences.get(side)) for side, each in networks.items()}
    names, label, paired = list(comparison.names), comparison.label, comparison.are_pairs
    if not comparison.groups:
        return metric_table(names, label, sides, paired=paired)
    tables = []
    for part in comparison.parts:
        own = {side: answers.of_images(part.images) for side, answers in sides.items()}
        found = metric_table(names, label[part.images], own, (part.names, part.label), paired=paired)
        if len(comparison.groups) > 1:
            found.insert(1, "grouping", part.grouping)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def _places(names: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the index of each prediction among the sorted names, or -1 if it is not one of them."""
    places = np.minimum(np.searchsorted(names, predicted), len(names) - 1)
    return np.where(names[places] == predicted, places, -1)


def moved_most(metrics: pd.DataFrame) -> list[str]:
    """Return a sentence on the change whose corrected interval is farthest from 0; none if all intervals contain 0."""
    if metrics.empty:
        return []
    beyond = np.fmax(metrics["low_all"], -metrics["high_all"])
    if not beyond.max() > 0:
        return []
    row = metrics.loc[beyond.idxmax()]
    named = ", ".join(str(row[each]) for each in ("grouping", "group", "class") if row.get(each))
    sign, side = (1, "above") if row["change"] > 0 else (-1, "below")
    low, high = sorted((sign * row["low_all"], sign * row["high_all"]))
    bounds = interval(low, high, points)
    reference = "control" if "control" in row else "network before"
    return [
        f"The {row['metric']} of {named} is {points(sign * row['change'])} points {side} that of the {reference} "
        f"({bounds}, corrected for all metrics and classes); metrics.csv has all changes."
    ]


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
    if CONFIDENCE not in found.values:
        return {}, []
    ends = np.cumsum([len(own) for own in sides.values()])
    return dict(zip(sides, np.split(found.values[CONFIDENCE], ends[:-1]), strict=True)), found.notes
