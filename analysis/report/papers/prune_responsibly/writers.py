"""Accuracies of groups of test images, such as writers of digits, at one level of pruning (Paganini 2020, Section 4.1).

The smallest groups, such as writers, are the units. If another grouping has larger groups that never divide a unit,
such as series of writers, the group that contains a unit is the unit's cohort.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.report.papers.prune_responsibly import writers_statistics
from analysis.report.papers.prune_responsibly.writers_statistics import picked_and_judged
from analysis.runs import frames, schema
from analysis.statistics.groups import MEASURE, ImageGroups, members
from analysis.study.groups import GROUP, GROUPING, Answers, cell_answers
from analysis.study.joins import is_alike
from analysis.study.settings import network_columns
from analysis.study.study import StudyData

PAPERS_PRUNER, PAPERS_TREATMENT = "global-unstructured", "rewind"
ALL, COHORT = "all", "cohort"
SIDES = ("before", "after", "change")
_SHARE_PICKED = 0.05  # share of the units that are picked on each network


class Units(NamedTuple):
    """The units of one data set and model, and their accuracies under the networks of one cell.

    Attributes
    ----------
    cell : mapping
        The cell of the networks, a row of `study.cells`.
    unit : str
        Name of the grouping whose groups are the units.
    cohort : str
        Name of the grouping whose groups are the cohorts; empty if there is none.
    names, images : (units,)
        Names of the units, and their numbers of images.
    cohorts : (units,)
        Cohort of each unit; `ALL` if there is none.
    before, after : (networks, units)
        Accuracy on the images of each unit.
    measures : dict of str to (units,)
        Mean of each measure over the images of a unit.
    networks : DataFrame
        Seed of each network, and the digest of its weights if they were given (`settings.network_columns`).
    """

    cell: Mapping[str, Any]
    unit: str
    cohort: str
    names: np.ndarray
    images: np.ndarray
    cohorts: np.ndarray
    before: np.ndarray
    after: np.ndarray
    measures: dict[str, np.ndarray]
    networks: pd.DataFrame

    @property
    def side(self) -> dict[str, np.ndarray]:
        """Accuracy before and after, and the change, each (networks, units)."""
        return dict(zip(SIDES, (self.before, self.after, self.after - self.before), strict=True))

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Masks of the units in each cohort, and of all units, each (units,), bool."""
        own = {} if not self.cohort else {str(name): self.cohorts == name for name in np.unique(self.cohorts)}
        return own | {ALL: np.ones(len(self.names), dtype=bool)}


def level(cells: pd.DataFrame) -> pd.Series | None:
    """Return the cell to analyse in detail: the last iteration of the paper's method, or else the largest ratio.

    Parameters
    ----------
    cells : DataFrame
        Rows of `study.cells` of one data set and model, pruned, with most networks not at chance.

    Returns
    -------
    Series or None
        The most accurate cell if several methods have the largest ratio; None if there is no cell.
    """
    treatment = cells.reindex(columns=[frames.column(schema.WEIGHT_TREATMENT)]).iloc[:, 0]
    papers = cells[(cells[schema.PRUNER] == PAPERS_PRUNER) & (treatment == PAPERS_TREATMENT)]
    candidates = (papers if len(papers) else cells).sort_values([schema.RATIO, "accuracy_after"], kind="stable")
    return candidates.iloc[-1] if len(candidates) else None


def is_cell(table: pd.DataFrame, cell: pd.Series, study: StudyData) -> np.ndarray:
    """Return whether each row of a table belongs to the given cell of a study, (rows,)."""
    return is_alike(table, cell, study.cell_key)


def answers_of(study: StudyData, cell: pd.Series) -> tuple[Answers, pd.DataFrame] | None:
    """Return whether a cell's networks classify each image correctly, and the networks as in `Units`.

    None if predictions are missing, or are of other images than the table of groups.
    """
    arrays = study.arrays
    cells = arrays.cells
    rows = cells[int(is_cell(arrays.runs.iloc[[rows[0] for rows in cells]], cell, study).argmax())]
    answers = cell_answers(arrays, rows, study.predicted)
    if answers is None or len(answers.label) != study.image_groups[cell[schema.DATASET]].images:
        return None
    networks = arrays.runs.iloc[rows][network_columns(arrays.runs)].dropna(axis=1, how="all")
    return answers, networks


def units(groups: ImageGroups, answers: Answers, networks: pd.DataFrame, cell: Mapping[str, Any]) -> Units:
    """Return the units of a table of groups, with their accuracies under the networks of a cell."""
    unit = max(groups.groupings, key=lambda name: len(np.unique(groups.groupings[name])))
    names, images, place = members(groups.groupings[unit])
    support = np.bincount(place)
    before, after = (
        np.array([np.bincount(place, network[images], len(names)) for network in side]) / support
        for side in (answers.before, answers.after)
    )
    measures = {name: _means(values[images], place, len(names)) for name, values in groups.measures.items()}
    cohort, cohorts = _cohort(groups, unit, images, place, len(names))
    return Units(cell, unit, cohort, names, support, cohorts, before, after, measures, networks)


def _means(values: np.ndarray, group_index: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of the known values of each unit; NaN for a unit without one."""
    is_number = ~np.isnan(values)
    sums, number = (np.bincount(group_index[is_number], weights, count) for weights in (values[is_number], None))
    return np.divide(sums, number, out=np.full(count, np.nan), where=number > 0)


def _cohort(
    groups: ImageGroups, unit: str, images: np.ndarray, group_index: np.ndarray, count: int
) -> tuple[str, np.ndarray]:
    """Return the name of the first grouping whose groups contain whole units, and each unit's group, (units,)."""
    first = np.unique(group_index, return_index=True)[1]
    for name, group in groups.groupings.items():
        of_image = group[images]
        of_unit = of_image[first]
        if name != unit and (of_image == of_unit[group_index]).all() and 1 < len(np.unique(of_unit)) < count:
            return name, np.where(of_unit == "", "none", of_unit)
    return "", np.full(count, ALL)


def profiles(units: Units) -> pd.DataFrame:
    """Return a row for each unit: cohort, images, means over the networks, and measures (`group_profiles.csv`).

    A user's own measures are in columns `measure:NAME`, as in the table of groups, so that no names collide.
    """
    means = {f"accuracy_{name}" if name != "change" else name: values.mean(0) for name, values in units.side.items()}
    measures = {f"{MEASURE}{name}": values for name, values in units.measures.items()}
    return pd.DataFrame({GROUP: units.names, COHORT: units.cohorts, "images": units.images, **means, **measures})


def lines(units: Units) -> pd.DataFrame:
    """Return the least-squares lines of the accuracy on each measure, by cohort (`group_lines.csv`).

    Returns
    -------
    DataFrame, one row per measure, cohort and side
        measure, cohort (`all` for all units), side (before, after or change), units, and intercept and slope, each
        with its 95 % interval over units and networks (`_low`, `_high`) and p (`_p`).
    """
    rows = []
    for measure, values in units.measures.items():
        for cohort, inside in units.parts.items():
            has_value = inside & ~np.isnan(values)
            for side, accuracy in units.side.items():
                fitted = writers_statistics.line(values[has_value], accuracy[:, has_value])
                row = {"measure": measure, COHORT: cohort, "side": side, "units": int(has_value.sum())}
                for name, coefficient in fitted._asdict().items():
                    row |= {name: coefficient.value, f"{name}_low": coefficient.low, f"{name}_high": coefficient.high}
                    row |= {f"{name}_p": coefficient.p}
                rows.append(row)
    return pd.DataFrame(rows)


def worst(units: Units) -> pd.DataFrame:
    """Return the 5 % of units, rounded up, that lose most in each network, and their losses in the other networks.

    These are the rows of `worst_groups.csv`.
    """
    picked = picked_and_judged(units.names, units.before, units.after, ceil(_SHARE_PICKED * len(units.names)))
    picked.insert(2, "images", picked[GROUP].map(dict(zip(units.names, units.images, strict=True))))
    networks = units.networks.iloc[picked.pop("network")].reset_index(drop=True)
    return pd.concat([networks, picked], axis=1)


def placebos(groups: ImageGroups, answers: Answers) -> pd.DataFrame:
    """Tabulate how far the means of groups differ, really and if images are reassigned at random (`group_placebo.csv`).

    Returns
    -------
    DataFrame, one row per grouping and side
        grouping, side, and the fields of `writers_statistics.Placebo`.
    """
    rows = []
    before, after = answers.before.mean(0), answers.after.mean(0)
    for name, group in groups.groupings.items():
        _, images, group_index = members(group)
        sides = np.array([before, after, after - before])[:, images]
        spreads = writers_statistics.placebos(sides, group_index, answers.label[images])
        rows += [{GROUPING: name, "side": side, **each._asdict()} for side, each in zip(SIDES, spreads, strict=True)]
    return pd.DataFrame(rows)
