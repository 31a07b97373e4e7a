"""Figures of the recall and the loss of each class at the ratio of the verdict."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from analysis.rendering.drawing import ABOVE, NEUTRAL
from analysis.rendering.formats import short_ratio
from analysis.rendering.layout import DPI, Panel, draw
from analysis.rendering.panels import estimates, intervals, name_rows
from analysis.rendering.picture_text import fitted_name, name_in_picture, width_in_picture
from analysis.report.verdict import class_test
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study.decision import class_rows
from analysis.study.settings import in_number_format, is_random
from analysis.study.study import StudyData

MOST_CLASSES = 30
MOST_NAMED = 5
_MOST_METHODS = 6
_LONGEST_NAME = 28
_SIZE, _NARROW_SIZE = (7.2, 4.2), (4.6, 3.8)  # inches
_WIDEST_NAME, _WIDEST_NARROW_NAME = 150, 80  # points
_LETTERS = 9  # points
_STRONG = "#333333"
_RATIO = " The ratio is that of the verdict."
_PROPORTION = "Black ticks: the loss if the error of every class grew by the same factor. "


def class_recalls(study: StudyData, cell: pd.Series, *, narrow: bool = False) -> Figure:
    """Draw the mean recall of each class: dense, fine-tuned only (if there is a control), and pruned.

    The classes that lose most are named at the right ends of their lines.

    Parameters
    ----------
    study : StudyData
    cell : Series
        A row of `study.cells`.
    narrow : bool
        Draw for a narrow window.
    """
    rows, has_control = class_rows(study, cell), cell["n_none"] > 0
    stations = {"dense": "recall_before", **({"fine-tuned only": "recall_control"} if has_control else {})}
    stations |= {"pruned": "recall_after"}
    accuracy = [cell["accuracy_before"], cell["accuracy_after"]]
    if has_control:
        accuracy.insert(1, cell["accuracy_after"] - cell["accuracy_minus_none"])
    largest_losses = (
        rows[rows["loss"].round(9) > 0].sort_values("loss", ascending=False, kind="stable").head(MOST_NAMED)
    )
    room = _WIDEST_NARROW_NAME if narrow else _WIDEST_NAME
    named = largest_losses.assign(
        name=[fitted_name(str(name), room, _LETTERS) for name in largest_losses["class"]],
        is_shown=largest_losses["cost_p"] < LEVEL,
    )
    labels = [name.replace(" ", "\n") if narrow else name for name in stations]
    draw_recalls = partial(_draw_recalls, named=named, accuracy=accuracy, labels=labels)
    return draw(
        [Panel(draw_recalls, rows[list(stations.values())], up="recall")],
        size=_NARROW_SIZE if narrow else _SIZE,
        title=_recalls_title(study, cell),
        note=_recalls_note(cell, largest_losses, class_test(rows)),
        narrow=narrow,
    )


def _draw_recalls(
    axes: Axes, recalls: pd.DataFrame, named: pd.DataFrame, accuracy: Sequence[float], labels: Sequence[str]
) -> None:
    """Draw a line through each class's recalls, with the names of some classes, and one through the accuracies."""
    axes.plot(recalls.T.to_numpy(), color=NEUTRAL, alpha=0.45, linewidth=1)
    axes.plot(accuracy, color=_STRONG, linestyle="--", linewidth=1.6)
    ends = [("accuracy", accuracy[-1], _STRONG)]
    for place, (index, row) in enumerate(named.iterrows()):
        color = ABOVE if row["is_shown"] or not place else _STRONG
        look: dict[str, Any] = (
            {"linewidth": 2.2, "markersize": 5} if row["is_shown"] else {"linewidth": 1.2, "markersize": 3.5}
        )
        face = color if row["is_shown"] else "white"
        axes.plot(recalls.loc[index].to_numpy(), color=color, marker="o", markerfacecolor=face, **look)
        ends.append((f"{row['name']}  {-100 * row['loss']:+.1f}", row["recall_after"], color))
    _set_stations(axes, labels, np.array([*recalls.to_numpy().ravel(), *accuracy]))
    _write_ends(axes, len(labels) - 1, ends)


def _recalls_title(study: StudyData, cell: pd.Series) -> str:
    how = f"{study.method(cell)} at ratio {short_ratio(cell[schema.RATIO])}"
    return f"Recall of each class, {how}: {cell[schema.DATASET]}, {cell[schema.MODEL]}"


def _recalls_note(cell: pd.Series, largest_losses: pd.DataFrame, test: str) -> str:
    count = "One network" if cell["n"] == 1 else f"Means of {cell['n']} networks"
    control_count = (
        f", {cell['n_none']} of them with a control" if cell["n_none"] and cell["n_none"] < cell["n"] else ""
    )
    since = '"fine-tuned only"' if cell["n_none"] else '"dense"'
    control_note = '"Fine-tuned only" is the control.' if cell["n_none"] else "There is no control."
    if not len(largest_losses):
        return f'{count}{control_count}. {control_note} No class loses recall from {since} to "pruned".'
    subject = (
        "The class that loses most is"
        if len(largest_losses) == 1
        else f"The {len(largest_losses)} classes that lose most are"
    )
    return (
        f'{count}{control_count}. {control_note} {subject} named, with the change from {since} to "pruned" in points. '
        "Filled orange: shown to "
        f"lose more than the accuracy ({test}, p below .05 corrected over the classes); white marks: not shown, with "
        "an orange edge for the class that loses most. Grey: other classes."
    )


def _set_stations(axes: Axes, stations: Sequence[str], values: np.ndarray) -> None:
    axes.set_xticks(range(len(stations)), stations, fontsize=10)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = 0.05 * (high - low) or 0.01
    axes.set_ylim(low - pad, high + pad)
    axes.grid(axis="x", color=NEUTRAL, alpha=0.5)
    axes.grid(axis="y", alpha=0.2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _write_ends(axes: Axes, last: int, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write labels beside the right ends of lines, moved apart if they would overlap."""
    width, height = 72 * np.array(axes.bbox.size) / DPI
    room = max(width_in_picture(text, _LETTERS) for text, _, _ in ends) + 24
    left_margin = 0.1
    axes.set_xlim(-left_margin, last + (last + left_margin) * room / (width - room))
    point = (last + left_margin) / (width - room)
    low, high = axes.get_ylim()
    heights = spread([value for _, value, _ in ends], 1.35 * _LETTERS * (high - low) / height, low, high)
    for (text, value, color), position in zip(ends, heights, strict=True):
        line = [last + 4 * point, last + 16 * point], [value, position]
        axes.plot(*line, color=color, linewidth=0.6, alpha=0.6)
        axes.text(last + 19 * point, position, text, va="center", fontsize=_LETTERS, color=color, parse_math=False)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Move values, by least squares, to positions that are at least a gap apart and between two ends.

    The positions keep the order of the values. If the gaps do not fit between the ends, positions exceed the upper end.
    """
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(order))
    near = isotonic_regression(np.asarray(values, dtype=float)[order] - steps).x
    positions = np.empty(len(order))
    positions[order] = np.clip(near, low, max(high - gap * (len(order) - 1), low)) + steps
    return positions


def class_losses(study: StudyData, cells: pd.DataFrame, order: Sequence[str], *, narrow: bool = False) -> Figure:
    """Draw the loss of each class relative to the control, in a panel for each of the first few methods in `cells`.

    If there are more than `MOST_CLASSES` classes, only those with the largest losses under the first method are
    drawn. Random pruning is left out if there are other methods.

    Parameters
    ----------
    study : StudyData
    cells : DataFrame
        Cells of one data set, model and ratio, as `decision.by_accuracy` returns them: all pruned, or all number
        formats.
    order : sequence of str
        All classes, from top to bottom.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    shown_cells = _without_random(cells)
    panels = _losses_of(study, cells)
    names = _names(panels[0][1], order)
    first = cells.iloc[0]
    subject = (
        f"the worst {len(names)} of {len(panels[0][1]):,} classes lose"
        if len(names) < len(panels[0][1])
        else "each class loses"
    )
    methods = (
        f", the {len(panels)} most accurate of {len(shown_cells)} methods" if len(panels) < len(shown_cells) else ""
    )
    left_out = (
        " Random pruning is left out because the scale of its losses would hide the others."
        if len(shown_cells) < len(cells)
        else ""
    )
    in_formats = in_number_format(cells).all()
    by = "by number format" if in_formats else f"at ratio {short_ratio(first[schema.RATIO])}"
    dense = "the dense networks" if in_formats else "the dense networks (there is no control)"
    choice_note = "" if in_formats else _RATIO
    reference = "the same fine-tuning without pruning" if first["n_none"] else dense
    labels = [name_in_picture(str(name), _LONGEST_NAME) for name in names]
    return draw(
        [
            Panel(partial(_draw_losses, labels=labels), rows.loc[names], study.method(cell), "loss, points")
            for cell, rows in panels
        ],
        size=(2.1, (0.2 if narrow else 0.27) * len(names) + 0.9),
        title=f"What {subject} {by}: {first[schema.DATASET]}, {first[schema.MODEL]}{methods}",
        note=f"Loss of recall relative to {reference}, in points, with 95 % intervals. Dotted: the loss of accuracy. "
        f"{_PROPORTION if any(rows['disproportionate'].notna().any() for _, rows in panels) else ''}Filled orange: "
        f"the class is shown to lose more than the accuracy, by a {class_test(panels[0][1])} with p below .05 "
        "corrected over the classes. Grey: this is not shown. White with an orange edge: the class that loses most, "
        f"if this is not shown for it.{left_out}{choice_note}",
        narrow=narrow,
        sharex=True,
        sharey=True,
    )


def _without_random(cells: pd.DataFrame) -> pd.DataFrame:
    random = is_random(cells)
    return cells if random.all() else cells[~random]


def _losses_of(study: StudyData, cells: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Return each cell that has a panel, with its rows of `study.classes`."""
    shown_cells = _without_random(cells).head(_MOST_METHODS)
    return [(cell, class_rows(study, cell).set_index("class")) for _, cell in shown_cells.iterrows()]


def _names(rows: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """Return the classes with the largest losses, at most `MOST_CLASSES`, in the given order."""
    most = set(rows["loss"].sort_values(ascending=False, kind="stable").index[:MOST_CLASSES])
    return [name for name in order if name in most]


def _draw_losses(axes: Axes, rows: pd.DataFrame, labels: Sequence[str]) -> None:
    rows = estimates(rows, "loss", scale=100).reset_index(drop=True)
    is_shown = rows["cost_p"] < LEVEL
    loses_most = (rows["loss"] == rows["loss"].max()) & (rows["loss"] > 0)
    color = np.where(is_shown | loses_most, ABOVE, NEUTRAL)
    intervals(axes, rows.assign(color=color, face=np.where(loses_most & ~is_shown, "white", color)))
    # A class's loss minus its loss beyond proportion is its loss if errors grew in proportion.
    in_proportion = rows["value"] - 100 * rows["disproportionate"]
    axes.scatter(in_proportion, rows.index, color="black", marker="|", s=60, linewidths=1, zorder=4)
    # A class's loss minus its cost is the loss of accuracy.
    axes.axvline(float((rows["value"] - 100 * rows["cost"]).mean()), color=NEUTRAL, linestyle=":", linewidth=1.6)
    name_rows(axes, labels)
