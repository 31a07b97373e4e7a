"""Read tables that assign test images to groups other than classes, and find the images of each group."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import pandas as pd

from analysis.common import csv_text, image_names
from analysis.common.class_arrays import as_array, check_floats, check_names, decoded
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.common.text_tables import decimal_hint, opened_table
from analysis.statistics import over_indexing
from analysis.statistics.hypothesis_tests import wilson_interval

INDEX, MEASURE = "index", "measure:"
_INDEX_VALUE = re.compile("[0-9]{1,18}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
_LARGEST = SizeLimit(1.0)
_FEWEST_NAMES = 10  # at least this many cells are taken for names of images if all of them differ


class ImageGroups(NamedTuple):
    """Groups and measures of each test image.

    Attributes
    ----------
    groupings : dict of str to (images,) text
        The group of each image, by the name of the grouping. An empty string means no group.
    measures : dict of str to (images,) float
        A number for each image, NaN if unknown, by the name of the measure.
    """

    groupings: dict[str, np.ndarray]
    measures: dict[str, np.ndarray]

    @property
    def images(self) -> int:
        """Number of test images."""
        return len(next(iter(self.groupings.values())))


def read(path: Path, images: int, names: Sequence[str] | None = None, *, needs_names: bool = False) -> ImageGroups:
    """Read a table of groups.

    Parameters
    ----------
    path : Path
        A table with a row for each test image, in test order. Each column is a grouping with the group of each image,
        and an empty cell means no group. A column whose name begins with `measure:` has a number for each image. Rows
        may be missing or in another order if the first column is `index` (the position of the image in test order, from
        0), or if a column has the images' names.
    images : int
        Number of test images.
    names : sequence of str, optional
        Names of the images, in test order.
    needs_names : bool
        Whether the table must name the images, because files of predictions list them in different orders.

    Raises
    ------
    StudyError
        If the file cannot be read, if rows or groupings are missing, if a measure is not a number, if an image is
        unknown or occurs twice, if a column of file names has no name of an image, or if a column that should be a
        grouping has measurements, or numbers or names of the images.
    """
    header, rows = _rows(path)
    names = None if names is None else [normalize("NFC", name) for name in names]
    naming = _naming_column(path, header, rows, names)
    if names and naming is None and needs_names:
        raise StudyError(
            f"{path}: the files of predictions list the images in different orders, so the table must name its images: "
            f"give it a column filename with names such as {shortened(names[0])}",
            option="groups",
        )
    indices = (
        _image_indices(path, header, rows, images)
        if names is None or naming is None
        else _named_indices(path, header[naming], [(line, cells[naming]) for line, cells in rows], names)
    )
    columns = dict(zip(header, zip(*(cells for _, cells in rows), strict=True), strict=True))
    groupings, measures = {}, {}
    for name, cells in columns.items():
        if name.startswith(MEASURE):
            measures[name.removeprefix(MEASURE)] = _numbers(path, name, rows, cells, indices, images)
        elif name != INDEX and (naming is None or name != header[naming]):
            if number_images(cells):
                index_hint = (
                    "" if header[0] == INDEX else f", or make it the first column, count from 0, and call it {INDEX}"
                )
                raise StudyError(
                    f"{path}: column {shortened(name)} has numbers or names of the images: drop it{index_hint}"
                    f"{_measure_hint(name, cells)}"
                )
            if len(set(cells)) >= _FEWEST_NAMES and any("." in cell for cell in cells) and _are_numbers(cells):
                raise StudyError(
                    f"{path}: column {shortened(name)} has {len(set(cells)):,} different numbers with decimals, "
                    f"which are not groups: give names of ranges instead{_measure_hint(name, cells)}"
                )
            group = np.full(images, "", dtype=object)
            group[indices] = cells
            groupings[name] = group.astype(str)
    if empty := [name for name, group in groupings.items() if not (group != "").any()]:
        raise StudyError(f"{path}: column {empty[0]} names no group: fill it in or leave it out")
    return ImageGroups(groupings, measures)


def of_arrays(arrays: object, images: int) -> ImageGroups:
    """Read the groups of each test image from arrays, as `read` does from a file.

    Parameters
    ----------
    arrays : (images,) text, or mapping or DataFrame of str to (images,)
        The group of each image, or several groupings by name. None, NaN and empty strings mean no group. An array whose
        name begins with `measure:` has a number for each image.
    images : int
        Number of test images.

    Raises
    ------
    StudyError
        If an array does not have a value for each image, if its values are not groups or numbers, or if two arrays have
        the same name.

    Examples
    --------
    >>> of_arrays({"light": ["day", None], "measure:angle": [0.5, 1]}, 2).groupings["light"].tolist()
    ['day', '']
    """
    columns = list(arrays.items()) if isinstance(arrays, Mapping | pd.DataFrame) else [("group", arrays)]
    names = [str(name).strip() for name, _ in columns]
    if {"", MEASURE} & set(names) or len(set(names)) < len(names):
        raise StudyError("groups: give each grouping a name of its own")
    if INDEX in names:
        raise StudyError(
            f"groups: {INDEX} is not a grouping: leave it out, and give the group of each image in test order"
        )
    groupings, measures = {}, {}
    for name, (_, values) in zip(names, columns, strict=True):
        where = f"groups: {name}"
        array = as_array(where, values)
        if array.shape != (images,):
            raise StudyError(f"{where} has shape {array.shape} for {images:,} images: give (images,)")
        if name.startswith(MEASURE):
            measures[name.removeprefix(MEASURE).strip()] = _measure(where, array)
        else:
            groupings[name] = _group(where, array)
    if not groupings:
        raise StudyError("groups: no grouping: give the group of each image")
    return ImageGroups(groupings, measures)


def _group(where: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biufUSOmM":
        raise StudyError(f"{where} holds {array.dtype}: give the group of each image, as text or whole numbers")
    missing = pd.isna(array)
    if array.dtype.kind == "f":
        check_floats(where, array[~missing], whole=False)
    check_names("groups", [where], "a grouping")
    texts = [
        "" if gap else normalize("NFC", str(value).strip())
        for value, gap in zip(decoded(where, array), missing, strict=True)
    ]
    check_names(where, set(texts), "a group")
    if not any(texts):
        raise StudyError(f"{where} names no group: fill it in or leave it out")
    if number_images(texts):
        raise StudyError(f"{where} has numbers or names of the images: leave it out")
    return np.array(texts)


def _measure(where: str, array: np.ndarray) -> np.ndarray:
    try:
        numbers = np.where(pd.isna(array), np.nan, array).astype(float)
    except (TypeError, ValueError) as error:
        raise StudyError(f"{where} is not a number for each image ({error}); give NaN for an unknown number") from error
    if np.isinf(numbers).any():
        raise StudyError(f"{where} holds {numbers[np.isinf(numbers)][0]}, not finite; give NaN for an unknown number")
    return numbers


def members(group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the groups, the images that have a group, and the group of each of these images.

    Parameters
    ----------
    group : (images,), text
        The group of each image; an empty string means no group.

    Returns
    -------
    names : (groups,)
    images : (images in a group,), integers
    place : (images in a group,), integers
        Indices into `names`.

    Examples
    --------
    >>> names, images, place = members(np.array(["new", "", "old", "new"]))
    >>> names.tolist(), images.tolist(), place.tolist()
    (['new', 'old'], [0, 2, 3], [0, 1, 0])
    """
    images = np.flatnonzero(group != "")
    names, group_index = np.unique(group[images], return_inverse=True)
    return names, images, group_index


def number_images(cells: Sequence[str]) -> bool:
    """Return whether cells are numbers (from 0 or 1, in any order) or names of images, and not names of groups.

    At least ten cells that all differ count as names.

    Examples
    --------
    >>> number_images(["2", "0", "1"]), number_images(["1", "2", "3"]), number_images(["1", "2", "2"])
    (True, True, False)
    >>> number_images([f"img_{number}.png" for number in range(10)])
    True
    """
    if len(cells) >= _FEWEST_NAMES and len(set(cells)) == len(cells):
        return True
    return _are_consecutive(cells)


def _are_consecutive(cells: Sequence[str]) -> bool:
    """Return whether cells are the whole numbers from 0 or from 1, in any order."""
    if not all(map(_WHOLE_NUMBER.fullmatch, cells)):
        return False
    numbers = sorted(int(float(cell)) for cell in cells)
    return numbers in (list(range(len(cells))), list(range(1, len(cells) + 1)))


def _measure_hint(name: str, cells: Sequence[str]) -> str:
    is_measured = _are_numbers(cells) and not _are_consecutive(cells)
    return f", or call it {MEASURE}{name} if it is a measurement" if is_measured else ""


def _are_numbers(cells: Sequence[str]) -> bool:
    """Return whether all nonempty cells are numbers."""
    return all(_NUMBER.fullmatch(cell) for cell in cells if cell)


def over_represented(group: np.ndarray, chosen: np.ndarray) -> pd.DataFrame:
    """Compute each group's share of the chosen images, divided by its share of all images.

    Parameters
    ----------
    group : (images,), text
        The group of each image. Images with an empty string have no group and are ignored.
    chosen : (images,), bool
        Whether each image is chosen, for example as a PIE.

    Returns
    -------
    DataFrame, one row per group, the most over-represented first
        - group.
        - images: number of the group's images.
        - pies: number of its chosen images.
        - ratio: its share of the chosen images, divided by its share of all images; NaN if no image is chosen.
        - ratio_low, ratio_high: ends of Wilson's 95 % interval of its share of the chosen images, divided by its share
          of all images.

    Examples
    --------
    Half of all images are old, but of the four chosen images three are old:

    >>> group = np.repeat(["new", "old"], 10)
    >>> over_represented(group, np.isin(np.arange(20), [0, 10, 11, 12]))[["group", "ratio"]].to_numpy().tolist()
    [['old', 1.5], ['new', 0.5]]
    """
    names, images, group_index = members(group)
    every = np.bincount(group_index, minlength=len(names))
    counts = np.bincount(group_index, chosen[images], minlength=len(names)).astype(int)
    share, count = every / len(images), counts.sum()
    with np.errstate(invalid="ignore"):
        low, high = wilson_interval(counts, np.full(len(names), count)) if count else np.full((2, len(names)), np.nan)
        table = pd.DataFrame(
            {
                "group": names,
                "images": every,
                "pies": counts,
                "ratio": over_indexing.index(chosen[images], group_index),
                "ratio_low": low / share,
                "ratio_high": high / share,
            }
        )
    return table.sort_values("ratio", ascending=False, kind="stable", ignore_index=True)


def _image_indices(path: Path, header: list[str], rows: list[tuple[int, list[str]]], images: int) -> list[int]:
    """Return the position of each row's image in test order."""
    if header[0] != INDEX:
        if len(rows) != images:
            raise StudyError(
                f"{path}: {len(rows):,} rows for {images:,} test images: give each test image a row, in test order"
            )
        return list(range(images))
    line_of_image: dict[int, int] = {}
    for line, (index_text, *_) in rows:
        if not _INDEX_VALUE.fullmatch(index_text):
            raise StudyError(f"{path}, line {line:,}: {INDEX} {shortened(index_text)} is not a whole number from 0")
        if (image := int(index_text)) >= images:
            raise StudyError(f"{path}, line {line:,}: {INDEX} {image} is beyond the last test image, {images - 1}")
        if line_of_image.setdefault(image, line) != line:
            raise StudyError(f"{path}, line {line:,}: {INDEX} {image} occurs twice; give each image one line")
    return list(line_of_image)


def _naming_column(
    path: Path, header: list[str], rows: list[tuple[int, list[str]]], names: Sequence[str] | None
) -> int | None:
    """Find a column of image names, some of which occur in the predictions; return its index, or None.

    Raises
    ------
    StudyError
        If there is no such column, but a column that should have file names.
    """
    if names is None:
        return None
    places = [place for place, name in enumerate(header) if image_names.column_key(name) is not None]
    known = frozenset(names)
    naming = next((place for place in places if any(cells[place] in known for _, cells in rows)), None)
    if naming is None and (of_files := [place for place in places if image_names.is_of_files(header[place])]):
        raise StudyError(
            f"{path}: column {shortened(header[of_files[0]])} has no name of an image of the predictions: write names "
            f"such as {shortened(names[0])} in place of {shortened(rows[0][1][of_files[0]])}, or rename the column if "
            "it is a grouping"
        )
    return naming


def _named_indices(path: Path, column: str, cells: list[tuple[int, str]], names: Sequence[str]) -> list[int]:
    """Find, by name, the position of each row's image in test order."""
    place_of_name = {name: place for place, name in enumerate(names)}
    line_of_image: dict[int, int] = {}
    for line, name in cells:
        if name not in place_of_name:
            raise StudyError(
                f"{path}, line {line:,}: the predictions have no image with the {column} {shortened(name)}"
            )
        if line_of_image.setdefault(place_of_name[name], line) != line:
            raise StudyError(
                f"{path}, line {line:,}: {column} {shortened(name)} occurs twice; give each image one line"
            )
    return list(line_of_image)


def _numbers(
    path: Path, name: str, rows: list[tuple[int, list[str]]], cells: tuple[str, ...], indices: list[int], images: int
) -> np.ndarray:
    """Read a measure for each image."""
    numbers = np.full(images, np.nan)
    for (line, _), cell, index in zip(rows, cells, indices, strict=True):
        try:
            value = float(cell or "nan")
        except ValueError:
            value = math.inf
        if math.isinf(value) or (cell and math.isnan(value)):
            raise StudyError(
                f"{path}, line {line:,}: {shortened(cell)} in {name} is not a number{decimal_hint(cell)}; leave the "
                "cell empty if the number is unknown"
            )
        numbers[index] = value
    return numbers


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the names of the columns, and each line's number and cells."""
    with opened_table(path, _LARGEST) as table:
        header = table.header
        rows = [(line, [normalize("NFC", csv_text.unquoted(cell.strip())) for cell in row]) for line, row in table.rows]
    if header[:1] == [""] and [row[0] for _, row in rows] == [str(place) for place in range(len(rows))]:
        header, rows = header[1:], [(line, row[1:]) for line, row in rows]  # pandas' index
    header = [f"{MEASURE}{name.removeprefix(MEASURE).strip()}" if name.startswith(MEASURE) else name for name in header]
    if {"", MEASURE} & set(header) or len(set(header)) < len(header):
        raise StudyError(f"{path}: give each column a name of its own")
    if not any(name != INDEX and not name.startswith(MEASURE) for name in header):
        raise StudyError(f"{path}: it has no grouping; give a column that names the group of each test image")
    if INDEX in header[1:]:
        raise StudyError(f"{path}: {INDEX} must be the first column")
    if not rows:
        raise StudyError(f"{path} has no image: give each test image a row")
    for line, row in rows:
        check_names(f"{path}, line {line:,}", row, "a group")
    return header, rows
