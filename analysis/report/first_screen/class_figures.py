"""Figures of the recall and the loss of each class at the ratio of the verdict."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

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
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.recalls import Recalls
from analysis.study.costs import CONTROL_OF_NETWORK, DENSE, compared_rows
from analysis.study.decision import reference_rows, run_rows
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
_PROPORTION = "Black ticks: the loss in proportion to the class's error. "
_FINE_TUNED_ONLY = "fine-tuned only"


class _Reference(NamedTuple):
    """How three places name the networks that losses are measured from: two notes, and the title of a panel."""

    recalls_note: str
    relative_to: str
    above_panel: str


_REFERENCES = {
    CONTROL_OF_NETWORK: _Reference(
        '"Fine-tuned only" is the control.', "the same fine-tuning without pruning", "from the control"
    ),
    DENSE: _Reference("There is no control.", "the dense networks (there is no control)", "from the dense networks"),
}


def class_recalls(study: StudyData, cell: pd.Series, *, narrow: bool = False) -> Figure:
    """Draw the mean recall of each class: dense, fine-tuned only (if there is a control), and pruned.

    If only some networks have a control, the others are left out. The classes that lose most are named at the right
    ends of their lines.

    Parameters
    ----------
    study : StudyData
    cell : Series
        A row of `study.cells`.
    narrow : bool
        Draw for a narrow window.
    """
    rows = reference_rows(study, cell)
    reference, stations = _stations(study, cell)
    recalls = pd.DataFrame({name: each.recall.mean(0) for name, each in stations.items()}, index=rows.index)
    accuracy = [float(each.accuracy.mean()) for each in stations.values()]
    largest_losses = (
        rows[rows["loss"].round(9) > 0].sort_values("loss", ascending=False, kind="stable").head(MOST_NAMED)
    )
    room = _WIDEST_NARROW_NAME if narrow else _WIDEST_NAME
    named = largest_losses.assign(
        name=[fitted_name(str(name), room, _LETTERS) for name in largest_losses["class"]],
        is_shown=(largest_losses["cost_p"] <= LEVEL) & (largest_losses["cost"] > 0),
    )
    labels = [name.replace(" ", "\n") if narrow else name for name in stations]
    draw_recalls = partial(_draw_recalls, named=named, accuracy=accuracy, labels=labels)
    return draw(
        [Panel(draw_recalls, recalls, up="recall")],
        size=_NARROW_SIZE if narrow else _SIZE,
        title=_recalls_title(study, cell),
        note=_recalls_note(cell, reference, largest_losses),
        narrow=narrow,
    )


def _stations(study: StudyData, cell: pd.Series) -> tuple[str, dict[str, Recalls]]:
    """Return the kind of reference, and the recalls of the compared networks: dense, fine-tuned only, and pruned."""
    arrays = study.arrays
    reference, rows, controls = _compared_rows(study, cell)
    classes = arrays.classes_of(rows)
    before, after = arrays.measured(rows, classes)
    of_controls = {} if controls is None else {_FINE_TUNED_ONLY: arrays.measured(controls, classes)[1]}
    return reference, {"dense": before, **of_controls, "pruned": after}


def _compared_rows(study: StudyData, cell: pd.Series) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Return the kind of reference, and the rows of the compared networks and of their controls, as `compared_rows`."""
    return compared_rows(study.arrays, run_rows(cell, study))


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
        ends.append((f"{row['name']}  {-100 * row['loss']:+.1f}", recalls.loc[index].iloc[-1], color))
    _set_stations(axes, labels, np.array([*recalls.to_numpy().ravel(), *accuracy]))
    _write_ends(axes, len(labels) - 1, ends)


def _recalls_title(study: StudyData, cell: pd.Series) -> str:
    how = f"{study.method(cell)} at ratio {short_ratio(cell[schema.RATIO])}"
    return f"Recall of each class, {how}: {cell[schema.DATASET]}, {cell[schema.MODEL]}"


def _recalls_note(cell: pd.Series, reference: str, largest_losses: pd.DataFrame) -> str:
    networks = f"{_networks(cell)}. {_REFERENCES[reference].recalls_note}"
    since = '"dense"' if reference == DENSE else f'"{_FINE_TUNED_ONLY}"'
    if not len(largest_losses):
        return f'{networks} No class loses recall from {since} to "pruned".'
    subject = (
        "The class that loses most is"
        if len(largest_losses) == 1
        else f"The {len(largest_losses)} classes that lose most are"
    )
    return (
        f'{networks} {subject} named, with the change from {since} to "pruned" in points. Filled orange: shown to '
        "lose more than the accuracy (p at most .05, corrected over the classes); white marks: not shown, with "
        "an orange edge for the class that loses most. Grey: other classes."
    )


def _networks(cell: pd.Series) -> str:
    """Say how many networks are drawn, without a full stop."""
    if not 0 < cell["n_none"] < cell["n"]:
        return "One network" if cell["n"] == 1 else f"Means of {cell['n']} networks"
    if cell["n_none"] == 1:
        return f"The only one of {cell['n']} networks that has a control"
    return f"Means of the {cell['n_none']} of {cell['n']} networks that have a control"


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

    Without a control, losses are relative to the dense networks. If panels differ in what losses are relative to, each
    panel's title says it.

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
    choice_note = "" if in_formats else _RATIO
    titles, reference = _name_references(study, [cell for cell, _ in panels])
    relative_to = "the dense networks" if in_formats else reference
    labels = [name_in_picture(str(name), _LONGEST_NAME) for name in names]
    return draw(
        [
            Panel(partial(_draw_losses, labels=labels), rows.loc[names], panel_title, "loss, points")
            for panel_title, (_, rows) in zip(titles, panels, strict=True)
        ],
        size=(2.1, (0.2 if narrow else 0.27) * len(names) + 0.9),
        title=f"What {subject} {by}: {first[schema.DATASET]}, {first[schema.MODEL]}{methods}",
        note=f"Loss of recall relative to {relative_to}, in points, with 95 % intervals. Dotted: the loss of accuracy. "
        f"{_PROPORTION if any(rows['disproportionate'].notna().any() for _, rows in panels) else ''}Filled orange: "
        "the class is shown to lose more than the accuracy (p at most .05, corrected over the classes). Grey: this is "
        "not shown. White with an orange edge: the class that loses most, "
        f"if this is not shown for it.{left_out}{choice_note}",
        narrow=narrow,
        sharex=True,
        sharey=True,
    )


def _name_references(study: StudyData, cells: Sequence[pd.Series]) -> tuple[list[str], str]:
    """Return the titles of panels of losses, and the networks that the losses are relative to, for the note.

    If the panels differ in these networks, their titles name them.
    """
    references = [_REFERENCES[_compared_rows(study, cell)[0]] for cell in cells]
    methods = [study.method(cell) for cell in cells]
    if len(set(references)) == 1:
        return methods, references[0].relative_to
    titles = [f"{method}\n{each.above_panel}" for method, each in zip(methods, references, strict=True)]
    return titles, "the networks named above each panel"


def _without_random(cells: pd.DataFrame) -> pd.DataFrame:
    random = is_random(cells)
    return cells if random.all() else cells[~random]


def _losses_of(study: StudyData, cells: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Return each cell that has a panel, with its rows of `study.classes`."""
    shown_cells = _without_random(cells).head(_MOST_METHODS)
    return [(cell, reference_rows(study, cell).set_index("class")) for _, cell in shown_cells.iterrows()]


def _names(rows: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """Return the classes with the largest losses, at most `MOST_CLASSES`, in the given order."""
    most = set(rows["loss"].sort_values(ascending=False, kind="stable").index[:MOST_CLASSES])
    return [name for name in order if name in most]


def _draw_losses(axes: Axes, rows: pd.DataFrame, labels: Sequence[str]) -> None:
    rows = estimates(rows, "loss", scale=100).reset_index(drop=True)
    is_shown = (rows["cost_p"] <= LEVEL) & (rows["cost"] > 0)
    loses_most = (rows["loss"] == rows["loss"].max()) & (rows["loss"] > 0)
    color = np.where(is_shown | loses_most, ABOVE, NEUTRAL)
    intervals(axes, rows.assign(color=color, face=np.where(loses_most & ~is_shown, "white", color)))
    # A class's loss minus its loss beyond proportion is its loss if errors grew in proportion.
    in_proportion = rows["value"] - 100 * rows["disproportionate"]
    axes.scatter(in_proportion, rows.index, color="black", marker="|", s=60, linewidths=1, zorder=4)
    # A class's loss minus its cost is the loss of accuracy.
    axes.axvline(float((rows["value"] - 100 * rows["cost"]).mean()), color=NEUTRAL, linestyle=":", linewidth=1.6)
    name_rows(axes, labels)
