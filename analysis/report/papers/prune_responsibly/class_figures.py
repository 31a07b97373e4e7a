"""Figures of classes: their recall at each sparsity, and the images they are trained on (Figures 3a, 5, 6 and 7)."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import BboxTransformTo, ScaledTranslation, blended_transform_factory

from analysis.rendering.drawing import NEUTRAL, page
from analysis.rendering.picture_text import fitted_name, width_in_picture
from analysis.report.papers.prune_responsibly.choice_figures import NAMES, set_sparsities
from analysis.report.papers.prune_responsibly.levels import ACCURACY_0, CLASS, IMAGES
from analysis.report.published import rank
from analysis.runs import schema
from analysis.study import arrays
from analysis.study.operating_points import SPARSITY, sparsity
from analysis.study.study import StudyData

_COLORS = colormaps["viridis"]
_PANELS_A_ROW = 4
_BAR, _WIDEST = 0.4, 14  # inches: a bar with the room beside it, and a figure
_GAP = 0.15  # inches, between a panel and its colour bar, and the bar's width
_LETTERS = 9  # points, of the names of classes


def class_curves(runs: pd.DataFrame, study: StudyData, *, narrow: bool = False) -> Figure:
    """Draw the mean recall of each class against sparsity, a panel for each method (Figures 3a, 5 and 7).

    Parameters
    ----------
    runs : DataFrame
        Pruned runs of one data set and model.
    study : StudyData
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    _, before, after = arrays.recalls(runs)
    has = ~np.isnan(before).all(axis=0)
    recall = pd.DataFrame(after[:, has], index=runs.index).assign(**{SPARSITY: sparsity(runs)})
    ratio = runs[schema.RATIO]
    labels = pd.Series([study.method(run) for run in runs.to_dict("records")], index=runs.index)
    methods = sorted(labels.unique(), key=lambda label: (rank(label.split()[0]), label))
    dense = np.nanmean(before[~runs.duplicated(schema.DENSE_RUN_ID).to_numpy()][:, has], axis=0)
    colors = Normalize(float(dense.min()), float(dense.max()))
    across = 1 if narrow else min(len(methods), _PANELS_A_ROW)
    down = -(-len(methods) // across)
    first = runs.iloc[0]
    figure, grid = page(
        (down, across),
        (max(3.1 * across + 1.2, 6.4), 2.6 * down + 1.5),
        f"Recall of each class, by sparsity: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "As Figures 3a, 5 and 7 in print. "
        f"Means of test images over networks, a line for each of {int(has.sum()):,} classes; dark: low recall before "
        "pruning. Dashed: the mean of the classes.",
        narrow=narrow,
        sharex=True,
        sharey=True,
    )
    for axes, method in zip(grid.flat, methods, strict=False):
        levels = recall[labels == method].groupby(ratio).mean().sort_values(SPARSITY)
        _draw_classes(axes, levels.set_index(SPARSITY), dense, colors)
        set_sparsities(axes, recall[SPARSITY].max())
        axes.set_title(fitted_name(method, 200, 9), fontsize=9, parse_math=False)
    for axes in list(grid.flat)[len(methods) :]:
        figure.delaxes(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("recall")
    for index in range(across):
        lowest = grid[(len(methods) - 1 - index) // across, index]
        lowest.set_xlabel(NAMES[SPARSITY])
        lowest.tick_params(labelbottom=True)
    _add_color_bar(grid[0, -1], colors)
    return figure


def _draw_classes(axes: Axes, levels: pd.DataFrame, dense: np.ndarray, colors: Normalize) -> None:
    place = 1 / (1 - np.array([0.0, *levels.index]))
    recalls = np.vstack([dense, levels.to_numpy()])
    each = [np.column_stack([place, recall]) for recall in recalls.T]
    axes.add_collection(LineCollection(each, colors=_COLORS(colors(dense)), linewidths=1.3, alpha=0.9))
    axes.plot(place, recalls.mean(axis=1), color="black", linestyle="--", linewidth=1.2)
    axes.grid(alpha=0.3)


def training_images(classes: pd.DataFrame) -> Figure:
    """Draw how many images networks are trained on, a bar for each class coloured by its recall (Figure 6).

    Parameters
    ----------
    classes : DataFrame
        Of one data set and model, as `levels.trained_classes` returns it.
    """
    first, names = classes.iloc[0], classes[CLASS].astype(str)
    colors = Normalize(classes[ACCURACY_0].min(), classes[ACCURACY_0].max())
    width = float(np.clip(_BAR * len(classes) + 2, 7, _WIDEST))
    figure, grid = page(
        (1, 1),
        (width, 4.2),
        f"Training images of each class: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "As Figure 6 in print. Means over the dense networks; images for validation are not counted. Dashed: the mean "
        "of the classes.",
    )
    axes, positions = grid[0, 0], np.arange(len(classes))
    axes.bar(positions, classes[IMAGES], color=_COLORS(colors(classes[ACCURACY_0])), edgecolor=NEUTRAL, linewidth=0.5)
    axes.axhline(classes[IMAGES].mean(), color="black", linestyle="--", linewidth=1.2)
    _name_classes(axes, names, 72 * (width - 2) / len(classes))
    axes.set_xlim(-0.7, len(classes) - 0.3)
    axes.set_ylabel("training images")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _add_color_bar(axes, colors)
    return figure


def _name_classes(axes: Axes, names: pd.Series, room: float) -> None:
    """Write the names below bars with this room each, in points: across, else upright, else none but that of the axis.

    Parameters
    ----------
    axes : Axes
    names : (classes,)
    room : float
    """
    if room < _LETTERS + 2:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names):,} classes, in the order of their labels")
        return
    upright = max(width_in_picture(name, _LETTERS) for name in names) > room
    shown = [fitted_name(name, 90 if upright else room, _LETTERS) for name in names]
    axes.set_xticks(np.arange(len(names)), shown, rotation=90 if upright else 0, fontsize=_LETTERS, parse_math=False)
    axes.set_xlabel("class")


def _add_color_bar(axes: Axes, colors: Normalize) -> None:
    """Put a bar right of a panel, of a width in inches: the layout gives it room before panels have their width."""
    figure = axes.figure.figure  # of a part of a figure, the whole
    inches_beside = figure.dpi_scale_trans + ScaledTranslation(1, 0, BboxTransformTo(axes.bbox))
    across = blended_transform_factory(inches_beside, axes.transAxes)
    beside = axes.inset_axes((_GAP, 0, _GAP, 1), transform=across)
    ticks = MaxNLocator(5)  # as many in every height, so that the layout measures those that are drawn
    figure.colorbar(ScalarMappable(colors, _COLORS), cax=beside, label="recall before pruning", ticks=ticks)
