"""Figure of the gains of mitigations on validation images, and of the share that is left on test images."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import BELOW, NEUTRAL
from analysis.rendering.formats import short_ratio
from analysis.rendering.layout import TITLE_SIZE, Panel, draw
from analysis.rendering.panels import estimates, intervals, name_rows
from analysis.rendering.picture_text import fitted_name, name_in_picture, width_in_picture
from analysis.report.mitigation.networks import NOTHING, family
from analysis.report.mitigation.outcomes import EXCESS, GAIN, MITIGATION, SURVIVES, VAL_GAIN
from analysis.runs import schema
from analysis.study.labels import method_label
from analysis.study.settings import CONTROL

_ROW, _PANEL, _ABOVE = 0.27, 2.5, 0.75  # inches
_WIDEST_NAME, _NARROW_LETTERS = 125, 7  # points, in a narrow window
_LETTERS = 8.5  # points, of the names of mitigations
_FOR_SHARES = 0.16  # share of a panel's width for the shares on its right
_APART = 0.13  # rows, from the middle of a row to its mark on validation images, and to that on test images
_LONGEST = 46  # characters of a mitigation's name
_NOTE = (
    "The gain is the largest excess loss of a class without the mitigation minus that with it, in points. Marks are "
    "means over the same dense networks, with their 95 % intervals. White: on the validation images, to which a "
    "mitigation may be fitted; blue: on test images. On the right: the share of the gain on validation images that is "
    "left on test images; a dash if no gain on validation images is shown. Dashed line: the gain that would bring the "
    "largest excess loss down to that of the same fine-tuning without pruning."
)


def survival(rows: pd.DataFrame, columns: list[str], *, narrow: bool = False) -> Figure:
    """Draw the gain of each mitigation on validation and on test images, a panel for each data set and kind of pruning.

    A kind of pruning without a mitigation on a data set has no panel.

    Parameters
    ----------
    rows : DataFrame
        Rows of one model, as `outcomes.outcomes` returns them.
    columns : list of str
        Names of the settings that distinguish kinds of pruning.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    rows = rows.assign(kind=kinds(rows, columns))
    gained = _gained(rows)
    one_of_each = gained.drop_duplicates("kind").sort_values("kind")
    labels = {row["kind"]: kind_label(row, columns) for row in one_of_each.to_dict("records")}
    ratios = dict(zip(one_of_each["kind"], one_of_each[schema.RATIO], strict=True))
    kind_order = sorted(labels, key=lambda each: by_ratio((ratios[each], labels[each])))
    datasets = list(dict.fromkeys(gained[schema.DATASET]))
    order = list(gained.groupby(MITIGATION)[GAIN].mean().sort_values(ascending=False).index)
    letters = _NARROW_LETTERS if narrow else _LETTERS
    names = [
        fitted_name(name, _WIDEST_NAME, letters, lines=2) if narrow else name_in_picture(name, _LONGEST)
        for name in order
    ]
    draw_panel = partial(_draw_panel, order=order, names=names, letters=letters)
    of_panels = {
        (dataset, each): rows[rows[schema.DATASET].eq(dataset) & rows["kind"].eq(each)]
        for dataset in datasets
        for each in kind_order
    }
    figure = draw(
        [
            Panel(draw_panel, own, f"{dataset}\n{labels[each]}", "points gained") if len(_gained(own)) else None
            for (dataset, each), own in of_panels.items()
        ],
        len(kind_order),
        size=(
            max(_PANEL, *(width_in_picture(label, TITLE_SIZE) / 72 + 0.6 for label in labels.values())),
            _ROW * (len(order) + 1) + _ABOVE,
        ),
        title=f"Gains on validation images, and what is left of them on test images: {rows[schema.MODEL].iloc[0]}",
        note=_NOTE,
        narrow=narrow,
        sharex=True,
        sharey=True,
    )
    low, high = figure.axes[0].get_xlim()
    figure.axes[0].set_xlim(low, high + _FOR_SHARES * (high - low))
    return figure


def _gained(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows[schema.PRUNER] != CONTROL) & rows[GAIN].notna()]


def kinds(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Number the kinds of pruning; a kind has the same number on all data sets and models.

    Two kinds may have the same label, because labels shorten numbers.
    """
    of_family = rows.assign(**{schema.PRUNER: rows[schema.PRUNER].map(family)})
    return of_family.groupby(columns, sort=False, dropna=False).ngroup()


def by_ratio(kind: tuple[float, str]) -> tuple[float, int, str]:
    """Return the sort key of a kind of pruning, given as ratio and label."""
    return kind[0], len(kind[1]), kind[1]


def kind_label(cell: Mapping[str, Any], columns: list[str]) -> str:
    """Return a kind of pruning in words, without default settings: `mp cubic, ratio 20`."""
    settings = {name: cell[name] for name in columns if name not in (schema.PRUNER, schema.RATIO) and cell[name] != ""}
    method = method_label({**settings, schema.PRUNER: family(cell[schema.PRUNER])}, list(settings))
    return f"{method}, ratio {short_ratio(cell[schema.RATIO])}"


def _draw_panel(axes: Axes, rows: pd.DataFrame, order: Sequence[str], names: Sequence[str], letters: float) -> None:
    gained = _gained(rows)
    places = gained[MITIGATION].map(order.index).to_numpy(float)
    sides = {VAL_GAIN: (-_APART, NEUTRAL, "white"), GAIN: (_APART, BELOW, BELOW)}
    heights = np.array([places + shift for shift, *_ in sides.values()])
    axes.plot(100 * gained[list(sides)].T.to_numpy(), heights, color="#d0d0d0", linewidth=3, zorder=1)
    for (name, (_, color, face)), place in zip(sides.items(), heights, strict=True):
        intervals(axes, estimates(gained, name, scale=100).assign(place=place, color=color, face=face))
    for place, row in zip(places, gained.to_dict("records"), strict=True):
        share = f"{100 * row[SURVIVES]:.0f} %" if row[f"{VAL_GAIN}_low"] > 0 else "–"
        text = axes.text(0.99, place, share, va="center", ha="right", fontsize=8, color=BELOW)
        text.set_transform(axes.get_yaxis_transform())
    # The gain that would bring the largest excess loss down to that of the control.
    plain = rows[rows[MITIGATION] == NOTHING]
    for distance in (plain[EXCESS] - plain[f"{EXCESS}_of_control"]).dropna().head(1):
        axes.axvline(100 * distance, color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=1.1, zorder=0)
    name_rows(axes, names, size=letters)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", left=False)
