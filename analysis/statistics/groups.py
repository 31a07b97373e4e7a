"""Groups of test images that are not classes: how a table of them is read, and how the images of each are found."""

import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs.errors import StudyError
from analysis.runs.input_files import SizeLimit, opened
from analysis.runs.printable import LONGEST_NAME, shortened
from analysis.statistics.hypothesis_tests import wilson_interval

INDEX = "index"
_INDEX_VALUE = re.compile("[0-9]{1,18}")
_LARGEST = SizeLimit(1.0)


def read(path: Path, images: int) -> dict[str, np.ndarray]:
    """Read a CSV file of groups.

    Parameters
    ----------
    path : Path
        Its first column is `index`, the place of an image among the test images, from 0. Every further column is a
        grouping: it names the group of each image. An image without a line, or with an empty cell, is in no group.
    images : int
        Number of test images.

    Returns
    -------
    dict of str to (images,) text
        The groups of each grouping; an empty text stands for no group.

    Raises
    ------
    StudyError
        If the file cannot be read, has no grouping, or names an image that does not exist or that it named before.
    """
    groupings, rows = _rows(path)
    found = {name: np.full(images, "", dtype=object) for name in groupings}
    seen: set[int] = set()
    for line, (given, *named) in rows:
        if not _INDEX_VALUE.fullmatch(given):
            raise StudyError(f"{path}, line {line:,}: {INDEX} {shortened(given)} is no whole number from 0")
        if (image := int(given)) >= images:
            raise StudyError(f"{path}, line {line:,}: {INDEX} {image} is beyond the last test image, {images - 1}")
        if image in seen:
            raise StudyError(f"{path}, line {line:,}: {INDEX} {image} is there twice; give each image one line")
        seen.add(image)
        for name, group in zip(groupings, named, strict=True):
            found[name][image] = group
    if empty := [name for name, group in found.items() if not (group != "").any()]:
        raise StudyError(f"{path}: column {empty[0]} names no group: fill it in or leave it out")
    return {name: group.astype(str) for name, group in found.items()}


def members(group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the groups, the images that are in one, and the group of each of these images.

    Parameters
    ----------
    group : (images,), text
        The group of each image; an empty text stands for no group.

    Returns
    -------
    names : (groups,)
    images : (images in a group,), integers
    place : (images in a group,), integers
        Places in `names`.

    Examples
    --------
    >>> names, images, place = members(np.array(["new", "", "old", "new"]))
    >>> names.tolist(), images.tolist(), place.tolist()
    (['new', 'old'], [0, 2, 3], [0, 1, 0])
    """
    images = np.flatnonzero(group != "")
    names, place = np.unique(group[images], return_inverse=True)
    return names, images, place


def over_represented(group: np.ndarray, chosen: np.ndarray) -> pd.DataFrame:
    """Return how much larger each group's share is among chosen images than among all.

    Parameters
    ----------
    group : (images,), text
        The group of each image; an empty text stands for no group, and such images do not count.
    chosen : (images,), bool

    Returns
    -------
    DataFrame, one row per group, the most over-represented first
        group, images, pies (chosen images), ratio: share of the chosen over share of all images, and the ends of its
        95 % interval, ratio_low and ratio_high. It is Wilson's of the share among the chosen, over the share of all
        images, which is known. NaN if no image is chosen.

    Examples
    --------
    Half of the images are old, and three of four chosen ones:

    >>> group = np.repeat(["new", "old"], 10)
    >>> over_represented(group, np.isin(np.arange(20), [0, 10, 11, 12]))[["group", "ratio"]].to_numpy().tolist()
    [['old', 1.5], ['new', 0.5]]
    """
    names, images, place = members(group)
    every = np.bincount(place, minlength=len(names))
    found = np.bincount(place, chosen[images], minlength=len(names)).astype(int)
    share, count = every / len(images), found.sum()
    with np.errstate(invalid="ignore"):
        low, high = wilson_interval(found, np.full(len(names), count)) if count else np.full((2, len(names)), np.nan)
        table = pd.DataFrame(
            {
                "group": names,
                "images": every,
                "pies": found,
                "ratio": found / count / share if count else np.nan,
                "ratio_low": low / share,
                "ratio_high": high / share,
            }
        )
    return table.sort_values("ratio", ascending=False, kind="stable", ignore_index=True)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the groupings, and each line's number and cells."""
    with opened(path) as file:
        _LARGEST.check(path, os.fstat(file.fileno()).st_size)
        try:
            with io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
                reader = csv.reader(lines, strict=True)
                header = [name.strip() for name in next(reader, [])]
                rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StudyError(f"{path}: cannot be read as CSV ({error})") from error
    if not header or header[0] != INDEX:
        first = shortened(header[0]) if header else "missing"
        raise StudyError(f"{path}: the first column is {first} and should be {INDEX}, the place of a test image from 0")
    if len(header) == 1 or "" in header or len(set(header)) < len(header):
        raise StudyError(f"{path}: give each grouping a column with a name of its own, after the column {INDEX}")
    if not rows:
        raise StudyError(f"{path}: no image in it")
    for line, row in rows:
        if len(row) != len(header):
            raise StudyError(f"{path}, line {line:,}: {len(row)} values for {len(header)} columns")
        if long := next((cell for cell in row if len(cell) > LONGEST_NAME), None):
            raise StudyError(
                f"{path}, line {line:,}: a group has {len(long):,} characters, and the most is {LONGEST_NAME}"
            )
    return header[1:], rows
