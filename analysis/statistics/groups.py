"""Groups of test images other than classes: tables that assign images to groups, and statistics of a grouping."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
import pandas as pd

from analysis.common import csv_text, image_names
from analysis.common.class_arrays import as_array, check_floats, check_names, decoded
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.common.text_tables import decimal_hint, opened_table
from analysis.runs.checks import some
from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.hypothesis_tests import LEVEL, wilson_interval
from analysis.statistics.intensification import excess_loss, largest_excess_floor, raw_slope
from analysis.statistics.losses import WorstClass, worst_class
from analysis.statistics.pair_slopes import Slopes, slopes
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import UNDEFINED, mean_interval, with_ends
from analysis.statistics.weak_networks import chance_level

INDEX, MEASURE = "index", "measure:"
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
_LARGEST = SizeLimit(1.0)
_FEWEST_VALUES = 10  # fewer different values are taken for groups, whatever they are


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
    table = _table(path)
    names = None if names is None else [normalize("NFC", name) for name in names]
    naming = None if names is None else _naming_column(path, table, names)
    if names and naming is None and needs_names:
        raise StudyError(
            f"{path}: the files of predictions list the images in different orders, so the table must name its images: "
            f"give it a column filename with names such as {shortened(names[0])}",
            option="groups",
        )
    key = naming or (INDEX if table.columns[0] == INDEX else None)
    if key is None and len(table) != images:
        raise StudyError(
            f"{path}: {len(table):,} rows for {images:,} test images: give each test image a row, in test order"
        )
    places = (
        np.arange(images) if key is None else _places(path, table[key], names if names and naming else range(images))
    )
    found = {name: table[name] for name in table.columns if name not in (INDEX, naming)}
    return _read({name: (f"{path}: column {shortened(name)}", each) for name, each in found.items()}, places, images)


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
    arrays_of = {}
    for name, (_, values) in zip(names, columns, strict=True):
        where = f"groups: {name}"
        check_names("groups", [where], "a grouping")
        array = as_array(where, values)
        if array.shape != (images,):
            raise StudyError(f"{where} has shape {array.shape} for {images:,} images: give (images,)")
        arrays_of[f"{MEASURE}{name.removeprefix(MEASURE).strip()}" if name.startswith(MEASURE) else name] = where, array
    return _read(
        {
            name: (where, pd.Series(array if name.startswith(MEASURE) else _texts(where, array)))
            for name, (where, array) in arrays_of.items()
        },
        np.arange(images),
        images,
    )


def _texts(where: str, array: np.ndarray) -> list[str]:
    if array.dtype.kind not in "biufUSOmM":
        raise StudyError(f"{where} holds {array.dtype}: give the group of each image, as text or whole numbers")
    missing = pd.isna(array)
    if array.dtype.kind == "f":
        check_floats(where, array[~missing], whole=False)
    texts = [
        "" if gap else normalize("NFC", str(value).strip())
        for value, gap in zip(decoded(where, array), missing, strict=True)
    ]
    check_names(where, set(texts), "a group")
    return texts


def _read(columns: Mapping[str, tuple[str, pd.Series]], places: np.ndarray, images: int) -> ImageGroups:
    """Read groupings and measures, each with its name in errors, from cells of the images at some places."""
    groupings, measures = {}, {}
    for name, (where, cells) in columns.items():
        if name.startswith(MEASURE):
            measure = np.full(images, np.nan)
            measure[places] = _numbers(where, cells)
            measures[name.removeprefix(MEASURE)] = measure
        else:
            _check_groups(name, where, list(cells))
            group = np.full(images, "", dtype=object)
            group[places] = cells
            groupings[name] = group.astype(str)
    if not groupings:
        raise StudyError("groups: no grouping: give the group of each image")
    return ImageGroups(groupings, measures)


def _check_groups(name: str, where: str, cells: Sequence[str]) -> None:
    """Refuse cells that name no group, or that are names, numbers or measurements of the images."""
    values = set(cells)
    if not any(values):
        raise StudyError(f"{where} names no group: fill it in or leave it out")
    is_measured = any("." in cell for cell in values) and all(_NUMBER.fullmatch(cell) for cell in values if cell)
    if len(values) >= _FEWEST_VALUES and (is_measured or len(values) == len(cells)):
        raise StudyError(
            f"{where} has measurements, numbers or names of the images: drop it, or make it the first column and call "
            f"it {INDEX} if it counts the images from 0, or call it {MEASURE}{name} if it is a measurement"
        )


def _numbers(where: str, cells: pd.Series) -> np.ndarray:
    """Read a measure; the errors name the cell by the index of the series."""
    known = cells[cells.notna() & (cells != "")]
    numbers = pd.to_numeric(known, errors="coerce").astype(float)
    if len(wrong := known[~np.isfinite(numbers)]):
        cell = str(wrong.iloc[0])
        raise StudyError(
            f"{where}, {cells.index.name or 'image'} {wrong.index[0]:,}: {shortened(cell)} is not a "
            f"number{decimal_hint(cell)}; leave it empty or give NaN if the number is unknown"
        )
    return np.asarray(numbers.reindex(cells.index), dtype=float)


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
                "ratio": over_index(chosen[images], group_index),
                "ratio_low": low / share,
                "ratio_high": high / share,
            }
        )
    return table.sort_values("ratio", ascending=False, kind="stable", ignore_index=True)


def over_index(chosen: np.ndarray, group_index: np.ndarray) -> np.ndarray:
    """Compute each group's share of the chosen images divided by its share of all images.

    Parameters
    ----------
    chosen : (..., images)
        Frequency with which each image is chosen, from 0 to 1.
    group_index : (images,), integers
        The group of each image, from 0; every group has an image.

    Returns
    -------
    (..., groups)
        NaN if no image is chosen.

    Examples
    --------
    Half of all images are in the second group. In the first example it has two of the four chosen images, and in the
    second example three:

    >>> over_index(np.array([0, 0, 1, 1, 1, 1, 0, 0]), np.array([0] * 4 + [1] * 4)).tolist()
    [1.0, 1.0]
    >>> over_index(np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.array([0] * 4 + [1] * 4)).tolist()
    [0.5, 1.5]
    """
    share = np.bincount(group_index) / len(group_index)
    counts = np.apply_along_axis(lambda own: np.bincount(group_index, own), -1, chosen)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(-1, keepdims=True) / share)


def _naming_column(path: Path, table: pd.DataFrame, names: Sequence[str]) -> str | None:
    """Find a column of image names, some of which occur in the predictions; return its name, or None.

    Raises
    ------
    StudyError
        If there is no such column, but a column that should have file names.
    """
    candidates = [name for name in table.columns if image_names.column_key(name) is not None]
    naming = next((name for name in candidates if table[name].isin(names).any()), None)
    if naming is None and (of_files := [name for name in candidates if image_names.is_of_files(name)]):
        raise StudyError(
            f"{path}: column {shortened(of_files[0])} has no name of an image of the predictions: write names "
            f"such as {shortened(names[0])} in place of {shortened(table[of_files[0]].iloc[0])}, or rename the column "
            "if it is a grouping"
        )
    return naming


def _places(path: Path, cells: pd.Series, names: Iterable[object]) -> np.ndarray:
    """Find the place of each row's image in test order by its name or index."""
    place_of_name = {str(name): place for place, name in enumerate(names)}
    places = cells.map(place_of_name)
    for is_wrong, what in (
        (places.isna(), "is no image of the predictions"),
        (places.duplicated(), "occurs twice; give each image one line"),
    ):
        if is_wrong.any():
            line = is_wrong.idxmax()
            raise StudyError(f"{path}, line {line:,}: {cells.name} {shortened(cells[line])} {what}")
    return np.asarray(places, dtype=int)


def _table(path: Path) -> pd.DataFrame:
    """Read the cells of a table as text; the index has the numbers of the lines."""
    with opened_table(path, _LARGEST) as opened:
        header = opened.header
        rows = {line: [normalize("NFC", csv_text.unquoted(cell.strip())) for cell in row] for line, row in opened.rows}
    header = [f"{MEASURE}{name.removeprefix(MEASURE).strip()}" if name.startswith(MEASURE) else name for name in header]
    if header[:1] == [""] and [row[0] for row in rows.values()] == [str(place) for place in range(len(rows))]:
        header, rows = header[1:], {line: row[1:] for line, row in rows.items()}  # pandas' index
    if {"", MEASURE} & set(header) or len(set(header)) < len(header):
        raise StudyError(f"{path}: give each column a name of its own")
    if not any(name != INDEX and not name.startswith(MEASURE) for name in header):
        raise StudyError(f"{path}: it has no grouping; give a column that names the group of each test image")
    if INDEX in header[1:]:
        raise StudyError(f"{path}: {INDEX} must be the first column")
    if not rows:
        raise StudyError(f"{path} has no image: give each test image a row")
    for line, row in rows.items():
        check_names(f"{path}, line {line:,}", row, "a group")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype=object)
    return table.rename_axis("line")


def grouping_summary(
    names: np.ndarray,
    place: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    control_paired: bool = True,
) -> dict[str, Any]:
    """Compute slopes over groups, the largest excess loss of a group, and the spread of the groups' changes.

    Parameters
    ----------
    names : (groups,)
    place : (images,), integers
        Group of each image, from 0; every group has an image.
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        Whether each network is right about each image; row i of both is of the same network.
    control : (networks, images), bool, optional
        The same for networks that were retrained without compression.
    control_paired : bool
        Whether row i of the control is of the same network too. If not, the values for the control and the worst group
        are NaN or empty.

    Returns
    -------
    dict
        Values marked * have a 95 % interval (`_low`, `_high`). Values that cannot be computed are NaN.

        - n: number of networks.
        - groups: number of groups.
        - fewest_images, most_images: number of images of the smallest and of the largest group.
        - alpha*, raw_slope*: means over the networks that are not at chance.
        - alpha_new*, raw_slope_new*: alpha and raw slope for new networks and new images of the same groups, over
          groups with at least two images.
        - alpha_new_identified: whether the groups differ enough before compression to estimate alpha_new.
        - alpha_weighted: mean alpha with groups weighted by their numbers of images.
        - largest_excess*: the largest loss of accuracy of a group beyond that of all images, a mean over networks. This
          loss is chance movement, because the group may differ between networks. Groups of one image are left out of
          largest_excess, largest_excess_floor and largest_excess_group.
        - largest_excess_floor: expected largest_excess if only image noise moved groups.
        - largest_excess_group: the group with the largest mean excess loss; `none` if all groups have one image.
        - single_image_groups: names of up to three groups of one image, and the number of further ones.
        - worst_group: the group with the largest cost, relative to the control if there is one, chosen on every other
          image of each group. Empty for one network.
        - worst_group_cost*: its cost on the other images, as in `losses.worst_class`.
        - worst_group_shown: whether this cost is shown to be above 0, by its p corrected for all groups.
        - alpha_control, raw_slope_control, largest_excess_control, largest_excess_floor_control: the same for the
          change from the networks before compression to the control. These slopes include networks at chance.
        - spread_change: standard deviation of the groups' changes of accuracy, weighted by the groups' numbers of
          images.
        - spread_change_chance: expected spread_change of groups if images are reassigned at random within classes.

    Examples
    --------
    Group day loses nothing, and group night loses two of the three images that were right before:

    >>> place, label = np.repeat([0, 1], 4), np.zeros(8, int)
    >>> before = np.array([[1, 1, 1, 1, 1, 1, 1, 0]], bool)
    >>> after = np.array([[1, 1, 1, 1, 1, 0, 0, 0]], bool)
    >>> found = grouping_summary(np.array(["day", "night"]), place, label, before, after)
    >>> found["largest_excess"], found["largest_excess_group"], found["raw_slope"], found["spread_change"]
    (0.25, 'night', 3.0, 0.25)
    """
    support = np.bincount(place)
    excess = _excess(place, before, after)
    largest = excess.max(1)
    change = after.mean(0) - before.mean(0)
    reference = before if control is None else control
    columns: dict[str, Any] = {
        "n": len(after),
        "groups": len(names),
        "fewest_images": int(support.min()),
        "most_images": int(support.max()),
        **_slopes(place, *chance_level(label, {"before": before, "after": after}, paired=True)[1]),
        **with_ends("largest_excess", (largest.mean(), *mean_interval(largest, 1 - LEVEL))),
        "largest_excess_floor": _floor(place, before, after),
        "largest_excess_group": str(names[excess.mean(0).argmax()]) if np.isfinite(largest).all() else "none",
        "single_image_groups": some(names[support == 1].astype(str).tolist()) if (support == 1).any() else "",
        **_worst_group(names, place, reference if control_paired else None, after),
    }
    return columns | {
        **_of_control(place, before, control if control_paired else None),
        "spread_change": spread(change, place),
        "spread_change_chance": spread_by_chance(change, place, label),
    }


def _worst_group(
    names: np.ndarray, place: np.ndarray, reference: np.ndarray | None, after: np.ndarray
) -> dict[str, Any]:
    worst = WorstClass()
    if reference is not None and len(after) > 1:
        worst = worst_class(place, np.subtract(reference, after, dtype=np.int8), 1)
    return {
        "worst_group": str(names[worst.place]) if worst.place >= 0 else "",
        **with_ends("worst_group_cost", worst[1:4]),
        "worst_group_shown": worst.value > 0 and worst.p <= LEVEL,
    }


def _excess(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Compute excess losses, (networks, groups): -inf for groups of one image, or NaN if all groups have one image."""
    excess = excess_loss(*(Recalls.from_answers(group, right) for right in (before, after)))
    is_single = np.bincount(group) == 1
    return np.where(is_single, np.nan if is_single.all() else -np.inf, excess)


def _floor(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Compute the floor of the largest excess loss, averaged over networks."""
    first, second, both = (Recalls.from_answers(group, right).recall for right in (before, after, before & after))
    support = np.bincount(group)
    return mean(largest_excess_floor(first, second, both, np.where(support > 1, support, 0)))


def _of_control(group: np.ndarray, before: np.ndarray, control: np.ndarray | None) -> dict[str, float]:
    names = ("alpha_control", "raw_slope_control", "largest_excess_control", "largest_excess_floor_control")
    if control is None:
        return dict.fromkeys(names, np.nan)
    recalls = Recalls.from_answers(group, before), Recalls.from_answers(group, control)
    raw = raw_slope(*recalls)
    alphas = raw * quotient(recalls[0].accuracy, recalls[1].accuracy)
    excess = _excess(group, before, control).max(1)
    return dict(zip(names, (*map(mean, (alphas, raw, excess)), _floor(group, before, control)), strict=True))


def _slopes(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Compute the slopes; for new images, use only groups with at least two images, whose noise can be estimated."""
    all_slopes = slopes(group, before, after, [])
    images = np.flatnonzero(np.bincount(group)[group] > 1)
    testable_slopes = all_slopes
    if len(images) < len(group):
        group_number = np.unique(group[images], return_inverse=True)[1]
        testable_slopes = slopes(group_number, before[:, images], after[:, images], []) if len(images) else Slopes(0)
    new = testable_slopes.new or UNDEFINED
    return {
        **with_ends("alpha", (all_slopes.alpha, all_slopes.low, all_slopes.high)),
        "alpha_weighted": all_slopes.alpha if all_slopes.n and np.isnan(all_slopes.weighted) else all_slopes.weighted,
        **with_ends("raw_slope", (all_slopes.raw_slope, all_slopes.raw_slope_low, all_slopes.raw_slope_high)),
        **with_ends("alpha_new", new[:3]),
        **with_ends("raw_slope_new", (testable_slopes.raw_new or UNDEFINED)[:3]),
        "alpha_new_identified": new.identified,
    }


def spread(values: np.ndarray, place: np.ndarray) -> float:
    """Compute the standard deviation of group means, weighted by the groups' numbers of images.

    Parameters
    ----------
    values : (images,)
        A number for each image, such as the share of networks that are right.
    place : (images,), integers
        Group of each image, from 0; every group has an image.

    Examples
    --------
    Each group has two images, and their means are 0 and 1:

    >>> spread(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    0.5
    """
    support, sums = np.bincount(place), np.bincount(place, values)
    return float(np.sqrt(_mean_square(sums, support, values.mean())))


def spread_by_chance(values: np.ndarray, place: np.ndarray, label: np.ndarray) -> float:
    """Compute the root mean square of the placebo's spread over all possible assignments of images to groups.

    Parameters
    ----------
    values, place : (images,)
        As for `spread`.
    label : (images,), integers
        Class of each image, from 0.

    Examples
    --------
    Two of four images of one class are recognised. In two of the six ways to choose the first pair, the means of the
    pairs are 0 and 1, and in the other four both are .5:

    >>> values, place = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    >>> round(spread_by_chance(values, place, np.zeros(4, int)) ** 2, 6) == round(0.25 * 2 / 6, 6)
    True
    """
    support, of_class = np.bincount(place), np.bincount(label)
    counts = np.zeros((len(support), len(of_class)))
    np.add.at(counts, (place, label), 1)
    class_images = np.maximum(of_class, 1)
    mean = np.bincount(label, values) / class_images
    # The sum of n of N images, drawn without replacement, has a variance of n (N - n) / N times that of the images.
    variance = np.bincount(label, np.square(values - mean[label])) / np.maximum(of_class - 1, 1)
    square = np.square(counts @ mean) + (counts * (1 - counts / class_images)) @ variance
    return float(np.sqrt(max((square / support).sum() / len(values) - values.mean() ** 2, 0.0)))


def _mean_square(sums: np.ndarray, support: np.ndarray, mean: float) -> float:
    """Compute the variance of group means, weighted by numbers of images, from sums over images (groups,)."""
    return max(float((np.square(sums) / support).sum() / support.sum() - mean**2), 0.0)
