"""Figure of the loss of each class at the ratio of the verdict."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, NEUTRAL
from analysis.rendering.formats import short_ratio
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, name_rows
from analysis.rendering.picture_text import name_in_picture
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study.costs import CONTROL_OF_NETWORK, DENSE, compared_rows
from analysis.study.decision import reference_rows, run_rows
from analysis.study.settings import in_number_format, is_random
from analysis.study.study import StudyData

MOST_CLASSES = 30
_MOST_METHODS = 6
_LONGEST_NAME = 28
_RATIO = " The ratio is that of the verdict."
_PROPORTION = "Black ticks: the loss in proportion to the class's error. "


class _Reference(NamedTuple):
    """How two places name the networks that losses are measured from: a note, and the title of a panel."""

    relative_to: str
    above_panel: str


_REFERENCES = {
    CONTROL_OF_NETWORK: _Reference("the same fine-tuning without pruning", "from the control"),
    DENSE: _Reference("the dense networks (there is no control)", "from the dense networks"),
}


def _compared_rows(study: StudyData, cell: pd.Series) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Return the kind of reference, and the rows of the compared networks and of their controls, as `compared_rows`."""
    return compared_rows(study.arrays, run_rows(cell, study))


def class_losses(study: StudyData, cells: pd.DataFrame, order: Sequence[str]) -> Figure:
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
        size=(2.1, 0.27 * len(names) + 0.9),
        title=f"What {subject} {by}: {first[schema.DATASET]}, {first[schema.MODEL]}{methods}",
        note=f"Loss of recall relative to {relative_to}, in points, with 95 % intervals. Dotted: the loss of accuracy. "
        f"{_PROPORTION if any(rows['disproportionate'].notna().any() for _, rows in panels) else ''}Filled orange: "
        "the class is shown to lose more than the accuracy (p at most .05, corrected over the classes). Grey: this is "
        "not shown. White with an orange edge: the class that loses most, "
        f"if this is not shown for it.{left_out}{choice_note}",
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
