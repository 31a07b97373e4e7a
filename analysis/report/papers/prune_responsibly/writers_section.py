"""The report's sections on groups of test images, such as the writers of digits (Paganini 2020, Section 4.1)."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, interval, p_value, rounded, values_with_intervals, with_interval
from analysis.rendering.page import Block, Caption, Picture, Section, picture_name
from analysis.report import published
from analysis.report.papers.prune_responsibly import writers, writers_figures
from analysis.report.papers.prune_responsibly.writers import ALL, Units
from analysis.report.verdict import places
from analysis.runs import frames, schema
from analysis.study.decision import PLACE, mostly_sound
from analysis.study.groups import GROUP, GROUPING
from analysis.study.labels import level_label
from analysis.study.settings import ITERATION, is_iterated, is_pruned, level, network_columns, networks
from analysis.study.study import StudyData

_READING = (
    "A table of groups gives the group of each test image; neither training nor pruning uses the groups. The accuracy "
    "of a group is the accuracy on its images, and its loss is measured since the dense networks. Its cost is its loss "
    "minus that of all images, measured from the control if there is one. Losses and costs have intervals over "
    "networks and images, and p of Holm is corrected for all groups of the grouping. Systematic cost is the cost of "
    "the group that pays most on average over the networks. This group is chosen on every other image of each group, "
    "its cost is measured on the other images, and it is named if its cost is shown to be above 0. Chance movement is "
    "the largest loss of a group beyond that of all images in one network; the group with this loss differs between "
    "networks. With many small groups, chance movement is large even if the grouping is meaningless, so compare it "
    "with that of the control. Likewise, compare the spread of the groups' changes with the spread in a placebo, which "
    "reassigns the images to the groups at random, within each class. groups.csv has every group of every cell, with "
    "intervals; groupings.csv has alpha, raw slope, systematic cost and chance movement of every cell."
)
_WORST = (
    "The group that loses most is chosen on each network in turn, and measured on the others. The group's loss in the "
    "network on which it is chosen is partly chance. Its loss in the other networks is what to expect in a new "
    "network."
)
_PRINTED = (
    "The table has least-squares lines of the writers' accuracy on the mean absolute tilt of their digits, before and "
    "after pruning. The paper uses 60,000 test images and prunes six networks, but does not say whether the table has "
    "their mean; here accuracies are means over networks. Intervals are over writers and networks."
)
_MOST_ROWS = 10
_FEWEST = 3  # fewest groups for a picture
_TILT, _ABSOLUTE_TILT = "tilt", "absolute_tilt"
_COLOURED = {8: "distance", 9: "activation", 12: _ABSOLUTE_TILT}
_PRINTED_UNIT, _PRINTED_ALL = "writer", "full"
_SAME_IMAGES = ("qmnist", "mnist")  # data sets with the paper's test images


class UnitTables(NamedTuple):
    """The detailed analysis of one data set and model.

    The units are the groups of one grouping, such as the writers (`Units.unit`). `groupings` and `groups` have the rows
    of the analysed cell.
    """

    place: tuple[str, str]
    networks: str
    units: Units
    worst: pd.DataFrame
    placebos: pd.DataFrame
    groupings: pd.DataFrame
    groups: pd.DataFrame

    @property
    def named(self) -> tuple[str, str]:
        """Data set and model, and the networks, in words for pictures."""
        return ", ".join(self.place), self.networks

    @property
    def key(self) -> dict[str, str]:
        """Data set and model, as columns of a table."""
        return dict(zip(PLACE, self.place, strict=True))


@lru_cache(2)
def found_units(study: StudyData) -> list[UnitTables]:
    """Return the units of each data set and model with a table of groups and suitable networks, computed once."""
    return list(_each_of_units(study)) if study.image_groups else []


def _each_of_units(study: StudyData) -> Iterator[UnitTables]:
    cells = study.cells[study.cells[schema.DATASET].isin(study.image_groups) & is_pruned(study.cells)]
    for workload, rows in places(cells[mostly_sound(cells)]):
        cell = writers.level(rows)
        answers = None if cell is None else writers.answers_of(study, cell)
        if cell is None or answers is None:
            continue
        groups = study.image_groups[workload[0]]
        units = writers.units(groups, *answers, cell.to_dict())
        yield UnitTables(
            workload,
            f"{study.method(cell)} {_level(cell)}",
            units,
            writers.worst(units),
            writers.placebos(groups, answers[0]),
            *(table[writers.is_cell(table, cell, study)] for table in (study.groups.groupings, study.groups.groups)),
        )


def _level(cell: pd.Series) -> str:
    reached = level_label(cell.to_dict(), level(cell.to_dict()))
    return f"iteration {cell[ITERATION]} ({reached})" if is_iterated(cell.to_frame().T).all() else reached


def section(study: StudyData) -> Section | None:
    """Return the section on groups of test images; None without a table of groups."""
    if not study.image_groups:
        return None
    all_tables = found_units(study)
    blocks: list[Block] = [_READING] if all_tables else []
    for number, each in enumerate(all_tables):
        blocks += _blocks(each, number)
    tables = {
        "groups.csv": study.groups.groups,
        "groupings.csv": study.groups.groupings,
        "group_placebo.csv": _joined(all_tables, [each.placebos for each in all_tables]),
        "group_profiles.csv": _joined(all_tables, [writers.profiles(each.units) for each in all_tables]),
        "group_lines.csv": _joined(all_tables, [writers.lines(each.units) for each in all_tables]),
        "worst_groups.csv": _joined(all_tables, [each.worst for each in all_tables]),
    }
    tables = {name: table for name, table in tables.items() if len(table)}
    return Section("Groups of test images", blocks, tables, study.groups.notes)


def figures_in_print(study: StudyData) -> Section | None:
    """Return the section with the paper's figures and, for writers, its Table 1; None if no figure can be drawn."""
    blocks: list[Block] = []
    compared = []
    for number, each in enumerate(found_units(study)):
        blocks += _numbered_figures(each, number)
        compared.append(_beside_print(each))
    table = pd.concat(compared, ignore_index=True) if compared else pd.DataFrame()
    if not blocks:
        return None
    tables = {}
    if len(table):
        blocks += [Caption("Table 1.", _PRINTED), rounded(table)]
        tables = {"writers_table_01.csv": table}
    return Section("Groups of test images, in print", blocks, tables)


def _joined(all_tables: list[UnitTables], parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of several data sets and models, with columns that name these."""
    named = [part.assign(**each.key)[[*PLACE, *part.columns]] for each, part in zip(all_tables, parts, strict=True)]
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


def _blocks(tables: UnitTables, number: int) -> list[Block]:
    units = tables.units
    blocks: list[Block] = [
        Caption(f"{', '.join(tables.place)}.", f"Networks: {tables.networks}, {len(units.after)} in all."),
        _groupings_table(tables),
    ]
    few = tables.groupings.loc[tables.groupings["groups"] <= _MOST_ROWS, GROUPING]
    blocks += [_groups_table(tables.groups[tables.groups[GROUPING] == name]) for name in few]
    if len(units.names) < _FEWEST:
        return blocks
    blocks += [Picture(picture_name("groups", number), writers_figures.accuracies(units, *tables.named))]
    if units.measures:
        blocks += [Picture(picture_name("group_measures", number), writers_figures.changes(units, *tables.named))]
    losses = worst_losses(tables.worst, units.before, units.after)
    return [*blocks, _WORST, _describe_worst(losses, units.unit), _worst_table(tables)]


def _groupings_table(tables: UnitTables) -> pd.DataFrame:
    spreads = tables.placebos[tables.placebos["side"] == "change"].drop(columns="side")
    rows = tables.groupings.merge(spreads, on=GROUPING)
    largest = 100 * rows[["largest_excess", "largest_excess_low", "largest_excess_high"]]
    control = 100 * rows["largest_excess_control"]
    one, sizes = decimals(1), zip(rows["fewest_images"], rows["most_images"], strict=True)
    columns = {
        GROUPING: rows[GROUPING],
        "groups": rows["groups"].map("{:,}".format),
        "images": [f"{fewest:,} to {most:,}" for fewest, most in sizes],
        "alpha": values_with_intervals(rows, "alpha", "alpha"),
        "raw slope": values_with_intervals(rows, "raw_slope", "raw_slope"),
        "systematic cost": [_systematic(row) for _, row in rows.iterrows()],
        "chance movement": [with_interval(value, low, high, one) for value, low, high in largest.to_numpy()],
        **({"of the control": control.map(one)} if control.notna().any() else {}),
        "spread of changes": (100 * rows["spread"]).map(one),
        "of the placebo (95 %)": [
            interval(100 * low, 100 * high, one) for low, high in zip(rows["low"], rows["high"], strict=True)
        ],
        "p": rows["p"].map(p_value),
    }
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _systematic(row: pd.Series) -> str:
    """Return the group that costs most on average (or `none shown`) and the cost in points; empty without a cost."""
    if not row["worst_group"]:
        return ""
    value, low, high = (100 * row[f"worst_group_cost{end}"] for end in ("", "_low", "_high"))
    name = row["worst_group"] if row["worst_group_shown"] else "none shown"
    return f"{name}: {with_interval(value, low, high, decimals(1))}"


def _groups_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Format the groups of one grouping as a text table."""
    accuracies = [name for name in ("accuracy_before", "accuracy_after", "accuracy_control") if name in rows]
    losses = [name for name in ("loss", "loss_from_control", "cost") if f"{name}_low" in rows]
    columns = {
        _of(rows[GROUPING].iloc[0]): rows[GROUP],
        "images": rows["images"].map("{:,}".format),
        **{name.replace("_", " "): rows[name].map(decimals(3)) for name in accuracies},
        **{name.replace("_", " "): values_with_intervals(rows, name, name) for name in losses},
        "p of loss (Holm)": rows["p_holm"].map(p_value),
        **({"p of cost (Holm)": rows["cost_p"].map(p_value)} if "cost" in losses else {}),
    }
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _of(grouping: str) -> str:
    """Return the column title for a grouping's groups, which cannot collide with the name of another column."""
    return f"{GROUP} ({grouping})"


class WorstLosses(NamedTuple):
    """Losses of the worst units, in points, in the network on which they are picked and in others (NaN without others).

    Attributes
    ----------
    worst, several : (float, float)
        Losses of each network's worst unit, and of its `number` worst units.
    number, share : int, float
        How many units `several` covers in each network, and their share of all units.
    mean : float
        Mean loss of all units.
    """

    worst: tuple[float, float]
    several: tuple[float, float]
    number: int
    share: float
    mean: float


def worst_losses(table: pd.DataFrame, before: np.ndarray, after: np.ndarray) -> WorstLosses:
    """Return the losses of the worst units; `table` as `writers.worst` returns it, accuracies as in `Units`."""
    first = _worst_of_each(table)
    worst, several = ((100 * rows["loss"].mean(), 100 * rows["loss_elsewhere"].mean()) for rows in (first, table))
    number = len(table) // len(first)
    return WorstLosses(worst, several, number, number / after.shape[1], 100 * float((before - after).mean()))


def _worst_of_each(table: pd.DataFrame) -> pd.DataFrame:
    """Return the unit that loses most in each network."""
    return table[~networks(table).duplicated()]


def _describe_worst(losses: WorstLosses, unit: str) -> str:
    """Describe the losses of the worst units in the network on which they are picked, and in others."""
    own, elsewhere = losses.worst
    if np.isnan(elsewhere):
        return f"The {unit} that loses most loses {own:.1f} points; there is no other network to measure it on."
    several = (
        f"The {losses.number} worst of each network ({100 * losses.share:.0f} % of all) lose "
        f"{losses.several[0]:.1f} points in it, and {losses.several[1]:.1f} points in the others. "
    )
    return (
        f"The {unit} that loses most in a network loses {own:.1f} points in it, and {elsewhere:.1f} points in "
        f"the other networks. {several if losses.number > 1 else ''}The mean loss of all groups is {losses.mean:.1f} "
        "points."
    )


def _worst_table(tables: UnitTables) -> pd.DataFrame:
    """Format the unit that loses most in each network."""
    first = _worst_of_each(tables.worst).head(_MOST_ROWS)
    digests = [name for name in network_columns(first) if name != schema.SEED]
    percent = decimals(1)

    def from_to(start: str) -> list[str]:
        sides = zip(first[f"before{start}"], first[f"after{start}"], strict=True)
        return [f"{percent(100 * before)} to {percent(100 * after)}" for before, after in sides]

    return pd.DataFrame(
        {
            "picked on seed": first[schema.SEED].map(str).to_list(),
            **{frames.param(name).replace("_", " "): first[name].fillna("").to_list() for name in digests},
            _of(tables.units.unit): first[GROUP].to_list(),
            "images": first["images"].map("{:,}".format).to_list(),
            "accuracy there, %": from_to(""),
            "in the other networks, %": from_to("_elsewhere"),
        }
    )


def _numbered_figures(tables: UnitTables, number: int) -> list[Block]:
    """Return the paper's figures for which the table of groups has the measures."""
    units, drawings = tables.units, {}
    if len(units.names) < _FEWEST:
        return []
    for figure, measure in _COLOURED.items():
        if measure in units.measures:
            text = f"Accuracy after against before, coloured by {measure}, and the distribution of the {measure}."
            drawings[figure] = text, writers_figures.coloured(units, measure, *tables.named)
    tilts = [measure for measure in (_TILT, _ABSOLUTE_TILT) if measure in units.measures]
    if tilts:
        text = f"Distribution of the mean tilt of each {units.unit}."
        drawings[11] = text, writers_figures.distributions(units, tilts, tables.named[0])
    if _ABSOLUTE_TILT in units.measures:
        text = "Accuracy before and after pruning, against the mean absolute tilt."
        drawings[13] = text, writers_figures.against(units, _ABSOLUTE_TILT, *tables.named)
    blocks: list[Block] = []
    for figure, (text, drawn) in sorted(drawings.items()):
        name = picture_name(f"writers_figure_{figure:02}", number)
        blocks += [Caption(f"Figure {figure}.", text), Picture(name, drawn)]
    return blocks


def _beside_print(tables: UnitTables) -> pd.DataFrame:
    """Return Table 1: the lines of the writers' accuracy on absolute tilt; empty if the units are not writers.

    A cohort with the name of a printed series has the printed line beside its own.
    """
    lines = writers.lines(tables.units) if tables.units.unit == _PRINTED_UNIT else pd.DataFrame()
    if lines.empty:
        return lines
    lines = lines[lines["measure"].eq(_ABSOLUTE_TILT) & lines["side"].ne("change")]
    printed = published.figures("prune_responsibly_table_01").set_index("series")
    printed = printed if tables.place[0].lower() in _SAME_IMAGES else printed.head(0)
    rows = []
    for line in lines.to_dict("records"):
        series = _PRINTED_ALL if line["cohort"] == ALL else line["cohort"]
        for name in ("intercept", "slope"):
            column = f"{name}_{line['side']}"
            published_value = printed.at[series, column] if series in printed.index else np.nan
            value = line[name]
            rows.append(
                {
                    **tables.key,
                    "series": line["cohort"],
                    "pruning": line["side"],
                    "coefficient": name,
                    "writers": line["units"],
                    "ours": value,
                    "ours_low": line[f"{name}_low"],
                    "ours_high": line[f"{name}_high"],
                    "published": published_value,
                    "difference": value - published_value,
                }
            )
    return pd.DataFrame(rows)
