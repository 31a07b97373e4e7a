"""Figures of classes: their recall at each sparsity, and their training images (Figures 3a, 5, 6 and 7)."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import SHADES, color_bar
from analysis.rendering.picture_text import fitted_name, width_in_picture
from analysis.report.papers.prune_responsibly.choice_figures import NAMES, set_sparsities
from analysis.report.papers.prune_responsibly.levels import ACCURACY_0, CLASS, FEWEST_IMAGES, IMAGES, MOST_IMAGES
from analysis.report.published import rank
from analysis.runs import schema
from analysis.study import arrays
from analysis.study.operating_points import SPARSITY, sparsity
from analysis.study.study import StudyData

_PANELS_A_ROW = 4
_BAR, _WIDEST = 0.4, 14  # inches: a bar with the room beside it, and the widest figure
_LETTERS = 9  # points, of the names of classes
_RANGE = "#d55e00"  # visible on every shade


def class_curves(runs: pd.DataFrame, study: StudyData) -> Figure:
    """Draw the mean recall of each class against sparsity, a panel for each method (Figures 3a, 5 and 7).

    Parameters
    ----------
    runs : DataFrame
        Pruned runs of one data set and model.
    study : StudyData
    """
    _, before, after = arrays.recalls(runs)
    has = ~np.isnan(before).all(axis=0)
    recall = pd.DataFrame(after[:, has], index=runs.index).assign(**{SPARSITY: sparsity(runs)})
    ratio = runs[schema.RATIO]
    labels = pd.Series([study.method(run) for run in runs.to_dict("records")], index=runs.index)
    methods = sorted(labels.unique(), key=lambda label: (rank(label.split()[0]), label))
    is_first = ~pd.concat([labels, runs[schema.DENSE_RUN_ID]], axis=1).duplicated()
    dense = pd.DataFrame(before[:, has], index=runs.index)[is_first].groupby(labels).mean()
    colors = Normalize(float(dense.min(axis=None)), float(dense.max(axis=None)))
    draw_panel = partial(_draw_classes, colors=colors, greatest=recall[SPARSITY].max())
    by_method = {method: recall[labels == method].groupby(ratio).mean().sort_values(SPARSITY) for method in methods}
    first, across = runs.iloc[0], min(len(methods), _PANELS_A_ROW)
    figure = draw(
        [
            Panel(
                partial(draw_panel, dense=dense.loc[method].to_numpy()),
                levels.set_index(SPARSITY),
                method,
                NAMES[SPARSITY],
                "recall",
            )
            for method, levels in by_method.items()
        ],
        across,
        size=(max(3.1, 5.2 / across), 2.6),
        title=f"Recall of each class, by sparsity: {first[schema.DATASET]}, {first[schema.MODEL]}",
        note="As Figures 3a, 5 and 7 in print. "
        f"Means over networks, on test images, a line for each of {int(has.sum()):,} classes; dark: low recall before "
        "pruning. Dashed: the mean of the classes.",
        sharex=True,
        sharey=True,
    )
    color_bar(figure.axes[across - 1], ScalarMappable(colors, SHADES), "recall before pruning")
    return figure


def _draw_classes(axes: Axes, levels: pd.DataFrame, dense: np.ndarray, colors: Normalize, greatest: float) -> None:
    place = 1 / (1 - np.array([0.0, *levels.index]))
    recalls = np.vstack([dense, levels.to_numpy()])
    each = [np.column_stack([place, recall]) for recall in recalls.T]
    axes.add_collection(LineCollection(each, colors=SHADES(colors(dense)), linewidths=1.3, alpha=0.9))
    axes.plot(place, recalls.mean(axis=1), color="black", linestyle="--", linewidth=1.2)
    axes.grid(alpha=0.3)
    set_sparsities(axes, greatest)


def training_images(classes: pd.DataFrame) -> Figure:
    """Draw the training images of each class as a bar, coloured by the recall before pruning (Figure 6).

    Parameters
    ----------
    classes : DataFrame
        Classes of one data set and model, as `levels.trained_classes` returns them.
    """
    first = classes.iloc[0]
    ranges = " Vertical lines: from the network with fewest to that with most." if _differ(classes).any() else ""
    width = float(np.clip(_BAR * len(classes) + 1.4, 6.4, _WIDEST))
    return draw(
        [Panel(partial(_draw_images, room=72 * (width - 1.4) / len(classes)), classes, up="training images")],
        size=(width, 3.2),
        title=f"Training images of each class: {first[schema.DATASET]}, {first[schema.MODEL]}",
        note="As Figure 6 in print. Means over the dense networks; images for validation are not counted. Dashed: the "
        f"mean of the classes.{ranges}",
    )


def _differ(classes: pd.DataFrame) -> pd.Series:
    """Return whether networks differ in the number of training images of each class."""
    return classes[FEWEST_IMAGES] < classes[MOST_IMAGES]


def _draw_images(axes: Axes, classes: pd.DataFrame, room: float) -> None:
    colors = Normalize(classes[ACCURACY_0].min(), classes[ACCURACY_0].max())
    shades = SHADES(colors(classes[ACCURACY_0]))
    axes.bar(np.arange(len(classes)), classes[IMAGES], color=shades, edgecolor=NEUTRAL, linewidth=0.5)
    differ = _differ(classes).to_numpy()
    if differ.any():
        axes.vlines(np.flatnonzero(differ), classes[FEWEST_IMAGES][differ], classes[MOST_IMAGES][differ], color=_RANGE)
    axes.axhline(classes[IMAGES].mean(), color="black", linestyle="--", linewidth=1.2)
    _name_classes(axes, classes[CLASS].astype(str), room)
    axes.set_xlim(-0.7, len(classes) - 0.3)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    color_bar(axes, ScalarMappable(colors, SHADES), "recall before pruning")


def _name_classes(axes: Axes, names: pd.Series, room: float) -> None:
    """Write class names below bars, vertically if they are long; if bars are too narrow, label only the axis.

    Parameters
    ----------
    axes : Axes
    names : (classes,)
    room : float
        Room for each name, in typographic points (1/72 inch).
    """
    if room < _LETTERS + 2:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names):,} classes, in the order of their labels")
        return
    upright = max(width_in_picture(name, _LETTERS) for name in names) > room
    shown = [fitted_name(name, 90 if upright else room, _LETTERS) for name in names]
    axes.set_xticks(np.arange(len(names)), shown, rotation=90 if upright else 0, fontsize=_LETTERS, parse_math=False)
    axes.set_xlabel("class")
