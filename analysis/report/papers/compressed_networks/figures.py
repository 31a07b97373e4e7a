"""Pictures of what compressed networks forget: PIEs and significant classes by ratio, and changes of recall."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, PAPER
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import intervals, name_rows
from analysis.rendering.picture_text import fitted_name, name_in_picture
from analysis.report.class_order import class_orders
from analysis.report.papers.compressed_networks.naming import LEVEL
from analysis.report.published import rank
from analysis.report.ratio_plot import (
    Column,
    Drawn,
    PlottedWorkload,
    against_ratio,
    draw_lines,
    groups,
)
from analysis.report.verdict import places
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL as SIGNIFICANT
from analysis.statistics.votes import FEWEST
from analysis.study.decision import PLACE, at_the_ratio, mostly_sound
from analysis.study.joins import join
from analysis.study.labels import level_label
from analysis.study.settings import CONTROL, ITERATION, in_number_format, is_iterated, is_pruned
from analysis.study.study import StudyData

MOST_CLASSES = 30
MOST_NAMED = 5
_MOST_LEVELS = 6
_MOST_TICKS = 8
_LONGEST_NAME = 28
_PANEL = 2.3  # inches
_LETTERS = 8  # font size of names in a panel
_WIDE_PANEL = 2.7  # inches
_MOST_COLUMNS = 5
_FAR = 5  # a cell that loses this many times more accuracy than the next is given as a number


def counts(study: StudyData, summary: pd.DataFrame, tested: pd.DataFrame | None = None) -> list[Figure]:
    """Draw PIEs of halves, and perhaps significant classes, against the ratio, with at most four columns in a figure.

    Parameters
    ----------
    study : StudyData
    summary : DataFrame
        As `exemplars.exemplars` returns it.
    tested : DataFrame, optional
        As `populations.significant_classes` returns it. If not given, classes are not drawn.
    """
    key = study.cell_key
    counts_of_cells = summary[[*key, *_OF_SUMMARY]]
    if tested is not None:
        counts_of_cells = join(counts_of_cells, tested[[*key, *_OF_TESTS]], key)
    # Cells without PIEs are kept, because one of them may have the ratio of the verdict.
    cells = _with_ends(join(study.cells[[*key, *_OF_CELLS]], counts_of_cells, key, how="left"))
    n_with_pies = cells["n_pie"].where(mostly_sound(cells)).groupby([cells[name] for name in PLACE]).transform("count")
    rows: dict[str, Callable[[Axes, Column], None]] = {"PIEs of halves": partial(_draw_exemplars, study=study)}
    handles = [handle("placebo", color="black", linestyle="--", linewidth=1)]
    by, counted, note = "pruning ratio" if is_pruned(summary).any() else "number format", "PIEs", _NOTE
    if tested is not None:
        rows |= {
            "significant classes, paired": _draw_paired,
            "significant classes, as in print": partial(_draw_significant, study=study),
        }
        handles.append(handle("5 % of the classes", color="black", linestyle=":", linewidth=1))
        counted, note = "PIEs and significant classes", f"{_NOTE} {_NOTE_ON_TESTS}"
    title = f"{counted}, by {by}"
    return [
        against_ratio(group, rows, study, title, f"{note}{_of_same_networks(group, study)}", handles)
        for group in groups(cells[n_with_pies > 0], study)
    ]


_OF_CELLS = ("n", "n_at_chance", "accuracy_minus_none", "accuracy_before", "accuracy_after")
_OF_SUMMARY = (
    *("n_dense", "n_pie", "n_pie_halves", "n_pie_placebo", "n_pie_placebo_low", "n_pie_placebo_high"),
    *("n_pie_minus_placebo_low", "n_pie_minus_placebo_high"),
)
_OF_TESTS = ("classes", "significant", "significant_paired", "placebo", "placebo_low", "placebo_high")
_NOTE = (
    "Dashed: the placebo, which is the number that chance gives between two halves of the dense networks. Hatched: the "
    "range of 90 % of the random splits of these networks into halves. Bars, and the grey band of the control: the 95 "
    "% interval, over networks and for these test images, of the difference from the placebo. It is drawn around "
    "the number of PIEs, for comparison with the dashed line. Halves consist of different networks, so their PIEs are "
    "mostly an effect of the seeds. Grey line: the same fine-tuning without pruning. Blue stripe: the ratio of the "
    "verdict. Cells with most networks at chance are not drawn."
)
_NOTE_ON_TESTS = (
    "Classes are tested at the 5 % level, not corrected for their number. One test is the paired t-test of networks "
    "and their own dense networks; by chance alone it finds 5 % of the classes (dotted). The other is the paper's "
    "unpaired test. Counts of classes have no interval."
)


def _with_ends(cells: pd.DataFrame) -> pd.DataFrame:
    """Add the ends of the bars: the placebo plus the interval of the difference from it."""
    ends = {end: np.maximum(cells["n_pie_placebo"] + cells[f"n_pie_minus_placebo_{end}"], 0) for end in ("low", "high")}
    return cells.assign(**{f"n_pie_halves_{end}": values for end, values in ends.items()})


def _of_same_networks(group: Sequence[PlottedWorkload], study: StudyData) -> str:
    """Return a sentence on the PIEs of each number format and of the control; empty without number formats."""
    parts = []
    # A data set and model with many methods have several columns, each with all cells.
    for workload, rows in {column.name[:2]: column.cells for column in group}.items():
        shown_cells = rows[in_number_format(rows) | rows[schema.PRUNER].eq(CONTROL)].dropna(subset="n_pie")
        if in_number_format(shown_cells).any():
            numbers = [f"{study.method(cell)} {cell['n_pie']:,.0f}" for cell in shown_cells.to_dict("records")]
            parts.append(f"{', '.join(workload)}: {', '.join(numbers)}")
    return f" PIEs of all dense networks compared with all compressed ones: {'; '.join(parts)}." if parts else ""


def _draw_exemplars(axes: Axes, column: Column, study: StudyData) -> None:
    drawn = Drawn("n_pie_halves", "n_pie_halves_low", "n_pie_halves_high")
    draw_lines(axes, column.lines, column.styles, drawn)
    _draw_placebo(axes, column, "n_pie_placebo", study)
    names = [drawn.value, drawn.low, drawn.high, "n_pie_placebo", "n_pie_placebo_low", "n_pie_placebo_high"]
    values = pd.concat(column.lines.values())[names].stack().dropna()
    if len(values):
        _set_decades(axes, float(values.min()), float(values.max()))
        return
    note = f"Too few networks: each half needs {FEWEST} different ones"
    axes.text(0.5, 0.5, note, ha="center", fontsize=_LETTERS, transform=axes.transAxes)
    axes.set_yticks([])


def _draw_significant(axes: Axes, column: Column, study: StudyData) -> None:
    draw_lines(axes, column.lines, column.styles, Drawn("significant"))
    _draw_placebo(axes, column, "placebo", study)
    _set_counts(axes, pd.concat(column.lines.values())[["significant", "placebo_high"]])


def _draw_paired(axes: Axes, column: Column) -> None:
    draw_lines(axes, column.lines, column.styles, Drawn("significant_paired"))
    cells = pd.concat(column.lines.values())
    axes.axhline(SIGNIFICANT * cells["classes"].max(), color="black", linestyle=":", linewidth=1)
    _set_counts(axes, cells[["significant_paired"]])


def _set_counts(axes: Axes, counts: pd.DataFrame) -> None:
    top = max(1.0, counts.stack().max())
    axes.set_ylim(-0.05 * top, 1.08 * top)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _draw_placebo(axes: Axes, column: Column, name: str, study: StudyData) -> None:
    """Draw the placebo, with its range, of the cell with most dense networks.

    If methods share no dense networks, draw one placebo for each method.
    """
    lines = column.lines.items()
    populations = {column.styles[method]["color"]: cells for method, cells in lines}
    if study.share_dense_networks(column.cells):
        populations = {"black": pd.concat(column.lines.values())}
    for color, cells in populations.items():
        largest = cells.dropna(subset=name).sort_values("n_dense", kind="stable").tail(1)
        for placebo in largest.to_dict("records"):
            axes.axhline(placebo[name], color=color, linestyle="--", linewidth=1)
            band = axes.axhspan(placebo[f"{name}_low"], placebo[f"{name}_high"], facecolor="none", linewidth=0)
            band.set(hatch="///", edgecolor=color, alpha=0.15, zorder=0)


def _set_decades(axes: Axes, low: float, high: float) -> None:
    """Make an axis logarithmic above 1, with round ticks and with limits that contain the counts from low to high."""
    steps = [0.0, *(step * 10.0**power for power in range(10) for step in (1, 2, 5))]
    index = bisect_right(steps, low) - 1
    ends = steps[index] or -0.1, max(1.15 * high, steps[index + 1])
    ticks = [step for step in steps if ends[0] <= step <= ends[1]]
    if len(ticks) > _MOST_TICKS:
        ticks = [tick for tick in ticks if np.log10(max(tick, 1)) % 1 == 0]
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(ends)
    axes.set_yticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def normalised_recall(study: StudyData, cells: pd.DataFrame, significance: pd.DataFrame) -> Figure | None:
    """Draw the normalised change of each class's recall, a panel for each ratio of the method of the verdict.

    At most six ratios are drawn: the smallest, the largest, and others evenly spaced between them. If there are more
    than `MOST_CLASSES` classes, they are sorted by their change, and the worst are named; otherwise they are in the
    report's order.

    Parameters
    ----------
    study : StudyData
    cells : DataFrame
        Pruned cells of one data set and model or, if there are none, all but the control.
    significance : DataFrame
        As `populations.class_significance` returns it.

    Returns
    -------
    Figure or None
        None if the method has no test.
    """
    levels = _levels(study, cells, significance)
    if not levels:
        return None
    cell, rows = levels[0]
    has_few = len(rows) <= MOST_CLASSES
    order = [name for name in class_orders(study)[cell[schema.DATASET]] if has_few and name in set(rows["class"])]
    naming_note = "" if has_few else f" Classes are sorted; the {MOST_NAMED} that lose most are named."
    draw_panel = partial(_draw_changes, order=order)
    return draw(
        [Panel(draw_panel, of_level, _level_title(of_level[1]), "change, %") for of_level in levels],
        size=(_PANEL, 0.24 * len(rows) + 0.7 if has_few else 3.4),
        title=f"Normalised change of recall, {study.method(cell)}: {cell[schema.DATASET]}, {cell[schema.MODEL]}",
        note="Change of a class's mean recall from the dense to the compressed networks, in % of the recall before. "
        "Each panel has its own scale. Dotted: the change of the accuracy, also in %. Coloured classes are significant "
        "at 5 %, not corrected: recall minus accuracy fell (orange) or rose (blue). Chance alone gives at most about "
        f"one class in twenty.{naming_note}",
        sharey=True,
    )


def _level_title(classes: pd.DataFrame) -> str:
    level = level_label(classes.iloc[0], classes[LEVEL].iloc[0])
    return f"{level}: {int(classes['significant'].sum()):,} significant"


def _draw_changes(axes: Axes, of_level: tuple[pd.Series, pd.DataFrame], order: Sequence[str]) -> None:
    """Draw the change of each class in the given order or, if the order is empty, sorted by the change."""
    cell, classes = of_level
    falls, significant = classes["statistic"] < 0, classes["significant"].astype(bool)
    rows = classes.assign(
        value=100 * classes["normalised_difference"],
        color=np.where(~significant, NEUTRAL, np.where(falls, ABOVE, BELOW)),
    )
    axes.axvline(100 * (cell["accuracy_after"] / cell["accuracy_before"] - 1), color=NEUTRAL, linestyle=":")
    if order:
        rows = rows.set_index("class").loc[order]
        intervals(axes, rows.assign(low=0.0, high=rows["value"]))
        name_rows(axes, [name_in_picture(str(name), _LONGEST_NAME) for name in order])
    else:
        _draw_many_classes(axes, rows.sort_values("value", kind="stable", ignore_index=True))
    axes.xaxis.set_major_locator(MaxNLocator(3))


def _draw_many_classes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a line through all classes, marks on the significant ones, and the names of the worst."""
    axes.plot(rows["value"], rows.index, color=NEUTRAL, linewidth=1.6)
    marked = rows[rows["significant"].astype(bool)]
    intervals(axes, marked.assign(place=marked.index, low=np.nan, high=np.nan))
    worst = [fitted_name(str(name), 72 * (_PANEL - 0.8), _LETTERS) for name in rows["class"].head(MOST_NAMED)]
    names_text = axes.text(0.04, 0.03, "\n".join(["Worst:", *worst]), fontsize=_LETTERS, parse_math=False, zorder=4)
    names_text.set(transform=axes.transAxes, bbox=PAPER, linespacing=1.3)
    room = 0.02 * len(rows)
    axes.set(yticks=[], ylabel=f"{len(rows):,} classes, the worst on top", ylim=(len(rows) - 1 + room, -room))


def accuracies(study: StudyData, populations: pd.DataFrame) -> list[Figure]:
    """Draw the distribution of accuracies at each level, a figure for each data set and model (Table 1 in print).

    Parameters
    ----------
    study : StudyData
    populations : DataFrame
        As `populations.accuracies` returns it.
    """
    return [_draw_accuracies(study, name, rows) for name, rows in places(populations)]


def _draw_accuracies(study: StudyData, name: tuple[str, str], rows: pd.DataFrame) -> Figure:
    labels = [study.method(cell) for cell in rows.to_dict("records")]
    methods = list(dict.fromkeys(sorted(labels, key=lambda label: (label.startswith(CONTROL), rank(label)))))
    of_method = [rows[[label == method for label in labels]].sort_values(LEVEL, kind="stable") for method in methods]
    most = max(map(len, of_method))
    columns = min(len(methods), _MOST_COLUMNS)
    return draw(
        [
            Panel(
                partial(_draw_boxes, most=most),
                cells,
                "\n".join(method.split(" ", 1) if is_iterated(cells).all() else [method]),
                "accuracy, %",
            )
            for method, cells in zip(methods, of_method, strict=True)
        ],
        columns,
        size=(max(_WIDE_PANEL, 6.5 / columns), 0.27 * (most + 1) + 0.75),
        title=f"Accuracy of each network: {', '.join(name)}",
        note="Box: the middle half of a cell's networks; line: their median; whiskers: their range. Networks at chance "
        "are included. Grey: the dense networks of the first cell. Each panel has its own scale; a level far below the "
        "others is given as a number.",
    )


def _draw_boxes(axes: Axes, cells: pd.DataFrame, most: int) -> None:
    """Draw the dense networks on top and a method's cells below, by level; `most` is the maximum number of levels."""
    rows = [("dense", "dense", cells.iloc[0])]
    rows += [("accuracy", level_label(cell, cell[LEVEL]), cell) for _, cell in cells.iterrows()]
    for height, (side, _, cell) in enumerate(rows):
        if height and _is_far(cell, cells):
            words = f"median {100 * cell['accuracy_median']:.1f} %"
            number = axes.text(0.03, height, words, va="center", fontsize=8, color=BELOW)
            number.set(transform=axes.get_yaxis_transform(), bbox=PAPER)
            continue
        low, lower, median, upper, high = (100 * cell[f"{side}_{end}"] for end in ("min", "q1", "median", "q3", "max"))
        line: dict[str, Any] = {"color": BELOW if height else NEUTRAL, "linewidth": 1.4}
        axes.plot([lower, lower, upper, upper, lower], height + 0.3 * np.array([-1, 1, 1, -1, -1]), **line)
        axes.hlines([height] * 2, [low, upper], [lower, high], **line)
        halves = np.array([0.15, 0.3, 0.15])
        axes.vlines([low, median, high], height - halves, height + halves, **line)
    name_rows(axes, [label for _, label, _ in rows], size=8)
    axes.set_ylim(most + 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x", alpha=0.3)


def _is_far(cell: Mapping[str, float], cells: pd.DataFrame) -> bool:
    """Return whether a cell loses so much more accuracy than the method's other cells that these would be squeezed."""
    losses = np.maximum(cells["dense_median"] - cells["accuracy_median"], cells["dense_max"] - cells["dense_min"])
    loss = cell["dense_median"] - cell["accuracy_median"]
    smaller = losses[losses < loss]
    return len(smaller) > 0 and bool(loss > _FAR * smaller.max())


def _levels(study: StudyData, cells: pd.DataFrame, significance: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Return the cells of the method of the verdict, by ratio, each with its classes."""
    leading = at_the_ratio(study, cells).head(1)
    axis = [ITERATION] if is_iterated(leading).any() else []
    key = [name for name in (schema.DATASET, schema.MODEL, schema.PRUNER, *study.shown) if name not in axis]
    method_cells = join(cells[mostly_sound(cells)], leading[key], key).sort_values(schema.RATIO)
    rows = join(significance, leading[key], key)
    levels = [(cell, rows[rows[schema.RATIO] == cell[schema.RATIO]]) for _, cell in method_cells.iterrows()]
    levels = [(cell, classes) for cell, classes in levels if len(classes)]
    indices = np.unique(np.linspace(0, len(levels) - 1, _MOST_LEVELS).round())
    return [levels[int(index)] for index in indices] if levels else []
