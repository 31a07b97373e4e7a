"""The figure of what is gained on validation images and of what is left of it on test images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rendering.drawing import BELOW, NARROW, NEUTRAL, page
from analysis.rendering.formats import short_ratio
from analysis.rendering.picture_text import fitted_name, name_in_picture, width_in_picture
from analysis.report.mitigation.networks import NOTHING, family
from analysis.report.mitigation.outcomes import EXCESS, GAIN, MITIGATION, SURVIVES, VAL_GAIN
from analysis.runs import schema
from analysis.study.labels import method_label
from analysis.study.settings import CONTROL

_ROW, _PANEL, _ABOVE = 0.27, 2.5, 0.75  # inches
_WIDEST_NAME, _NARROW_LETTERS = 125, 7  # points, in a narrow window
_LETTERS, _TITLE = 8.5, 9.5  # points, of the names of mitigations and of the titles of panels
_FOR_SHARES = 0.16  # of the width of a panel
_APART = 0.13  # rows, between a mark on validation images and one on test images
_LONGEST = 46  # characters of a mitigation
_NOTE = (
    "How much smaller the largest excess loss of a class is than without the mitigation, in points: means over the "
    "same dense networks, with their 95 % intervals. White: on the validation images, to which a mitigation may be "
    "fitted; blue: on test images. On the right: the share of the gain on validation images that is left on test "
    "images; a dash where no gain on validation images is shown. Dashed: the gain that would bring the largest excess "
    "loss down to that of the same fine-tuning without pruning."
)


def survival(rows: pd.DataFrame, columns: list[str], *, narrow: bool = False) -> Figure:
    """Draw the gain of each mitigation on validation and on test images, a panel for each data set and kind of pruning.

    Kinds of pruning that a data set has no mitigation of have no panel.

    Parameters
    ----------
    rows : DataFrame
        Of one model, as `outcomes.outcomes` returns it.
    columns : list of str
        The settings that tell kinds of pruning apart, beside the data set.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    kind = kinds(rows, columns)
    gained = rows[(rows[schema.PRUNER] != CONTROL) & rows[GAIN].notna()]
    one_of_each = gained[~kind[gained.index].duplicated()]
    labels = {kind[index]: kind_label(row, columns) for index, row in one_of_each.iterrows()}
    ratios = dict(zip(kind[one_of_each.index], one_of_each[schema.RATIO], strict=True))
    kind_order = sorted(labels, key=lambda each: by_ratio((ratios[each], labels[each])))
    datasets = list(dict.fromkeys(gained[schema.DATASET]))
    order = gained.groupby(MITIGATION)[GAIN].mean().sort_values(ascending=False).index
    letters = _NARROW_LETTERS if narrow else _LETTERS
    names = [
        fitted_name(name, _WIDEST_NAME, letters, lines=2) if narrow else name_in_picture(name, _LONGEST)
        for name in order
    ]
    of_panel = {
        (row, column): gained[gained[schema.DATASET].eq(dataset) & kind[gained.index].eq(each)].to_dict("records")
        for row, dataset in enumerate(datasets)
        for column, each in enumerate(kind_order)
    }
    places = [place for place, in_panel in of_panel.items() if in_panel]
    shape = (len(places), 1) if narrow else (len(datasets), len(kind_order))
    panel_height = _ROW * (len(order) + 1) + _ABOVE
    if narrow:
        size = NARROW, len(places) * panel_height + 2.3
    else:
        beside = max(width_in_picture(name, letters) for name in names) / 72
        panel = max(_PANEL, *(width_in_picture(label, _TITLE) / 72 + 0.3 for label in labels.values()))
        size = max(panel * len(kind_order) + beside + 0.5, 6.5), len(datasets) * panel_height + 1.35
    figure, grid = page(
        shape,
        size,
        f"What is gained on validation images, and what is left of it on new ones: {rows[schema.MODEL].iloc[0]}",
        _NOTE,
        sharey=True,
        sharex=True,
    )
    panels = dict(zip(places, grid.flat, strict=True)) if narrow else {place: grid[place] for place in places}
    for axes in {*grid.flat} - {*panels.values()}:
        axes.remove()
    heights = {name: height for height, name in enumerate(order)}
    for (row, column), axes in panels.items():
        _draw_panel(axes, of_panel[row, column], heights)
        _draw_control(axes, rows[rows[schema.DATASET].eq(datasets[row]) & kind.eq(kind_order[column])])
        axes.set_title(f"{datasets[row]}\n{labels[kind_order[column]]}", fontsize=_TITLE, parse_math=False)
        axes.tick_params(axis="y", left=False)
    low, high = figure.axes[0].get_xlim()
    figure.axes[0].set_xlim(low, high + _FOR_SHARES * (high - low))
    for line in grid:
        first = next(axes for axes in line if axes in figure.axes)
        first.set_yticks(range(len(order)), names, fontsize=letters, parse_math=False)
        first.tick_params(axis="y", labelleft=True)
        first.set_ylim(len(order) - 0.4, -0.6)
    for line in grid.T:
        last = [axes for axes in line if axes in figure.axes][-1]
        last.set_xlabel("points gained", fontsize=9)
    return figure


def kinds(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Return a number for each kind of pruning, whatever the data set and the model.

    Two kinds may have the same label, where it shortens numbers.
    """
    of_family = rows.assign(**{schema.PRUNER: rows[schema.PRUNER].map(family)})
    return of_family.groupby(columns, sort=False, dropna=False).ngroup()


def by_ratio(kind: tuple[float, str]) -> tuple[float, int, str]:
    """Return the sort key of kinds of pruning, which are ratios and labels."""
    return kind[0], len(kind[1]), kind[1]


def kind_label(cell: Mapping[str, Any], columns: list[str]) -> str:
    """Return a kind of pruning in words, without what goes without saying: `mp cubic, ratio 20`."""
    settings = {name: cell[name] for name in columns if name not in (schema.PRUNER, schema.RATIO) and cell[name] != ""}
    method = method_label({**settings, schema.PRUNER: family(cell[schema.PRUNER])}, list(settings))
    return f"{method}, ratio {short_ratio(cell[schema.RATIO])}"


def _draw_panel(axes: Axes, rows: list[dict[Any, Any]], heights: Mapping[str, int]) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="x", labelsize=8, labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right", "left"]].set_visible(False)
    for row in rows:
        height = heights[row[MITIGATION]]
        ends = 100 * np.array([row[VAL_GAIN], row[GAIN]])
        axes.plot(ends, [height - _APART, height + _APART], color="#d0d0d0", linewidth=3, zorder=1)
        for name, color, face, at in ((VAL_GAIN, NEUTRAL, "white", -_APART), (GAIN, BELOW, BELOW, _APART)):
            value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
            axes.plot([low, high], [height + at] * 2, color=color, linewidth=1.3, zorder=2)
            axes.scatter([value], [height + at], s=30, facecolors=face, edgecolors=color, linewidths=1.1, zorder=3)
        is_shown = row[f"{VAL_GAIN}_low"] > 0
        share = axes.text(
            0.99, height, f"{100 * row[SURVIVES]:.0f} %" if is_shown else "–", va="center", ha="right", fontsize=8
        )
        share.set(transform=axes.get_yaxis_transform(), color=BELOW)


def _draw_control(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a line at the gain that would bring the largest excess loss down to that of the control."""
    plain = rows[rows[MITIGATION] == NOTHING]
    distance = (plain[EXCESS] - plain[f"{EXCESS}_of_control"]).dropna()
    if len(distance):
        axes.axvline(100 * distance.iloc[0], color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=1.1, zorder=0)
