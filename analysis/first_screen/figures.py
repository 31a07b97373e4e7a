"""Figures of methods against ratio and size, each a function of a study's frames.

Methods are pruners with their settings. Colours and marks stand for the same method in all panels of a figure, and one
legend names each once. The control `none` has no ratio of its own and is a band.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.drawing import BELOW, NEUTRAL, page
from analysis.first_screen.weakest import WEAKEST, WEAKEST_BEFORE
from analysis.published import rank
from analysis.runs import schema
from analysis.runs.picture_text import fitted_name, name_in_legend, width_in_picture
from analysis.settings import CONTROL
from analysis.study import AnalyzedStudy
from analysis.verdict import by_accuracy, leading_ratio, mostly_sound, places

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#9a6324")
_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":", "-.")
_PLACES_A_FIGURE = 4
_MOST_RATIOS = 6  # that find room below an axis
_PANEL = 4.2  # inches
_LETTER = 0.085  # inches, in a legend
_TITLE = 0.22  # inches
_USEFUL = 0.8  # of the weakest recall of the dense networks; panels on size leave out lower ones
_READING = (
    "Grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict. A line that leaves its "
    "panel goes on outside."
)
_MINIMUM = (
    "The weakest class is chosen in each network by noisy recalls, so that its mean is too low. That of the control is "
    "too low as well: compare with the grey band."
)


class _Drawn(NamedTuple):
    """Columns of what is drawn: a value, the ends of its interval, and the value of the dense networks."""

    value: str
    low: str
    high: str
    dense: str | None = None  # 1 is drawn where there is none


_ACCURACY = _Drawn("accuracy_after", "accuracy_low", "accuracy_high", "accuracy_before")
_WEAKEST = _Drawn(WEAKEST, "weakest_low", "weakest_high", WEAKEST_BEFORE)
_SLOPES = {
    "alpha": _Drawn("alpha_mean", "ci_low", "ci_high"),
    "raw slope": _Drawn("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
}


def accuracies(study: AnalyzedStudy, cells: pd.DataFrame) -> list[Figure]:
    """Draw accuracy and weakest recall against the ratio, a column for each data set and model, at most four a figure.

    Parameters
    ----------
    study : AnalyzedStudy
    cells : DataFrame
        As `weakest.with_weakest` returns them.
    """
    title = "Accuracy and the recall of the weakest class, by pruning ratio"
    note = (
        "Means of test images over networks that do not guess, with 95 % intervals over networks. Dashed: the dense "
        f"networks. {_READING} Cells most of whose networks guess are not drawn. {_MINIMUM}"
    )
    rows = {"accuracy": _ACCURACY, "weakest class's recall": _WEAKEST}
    return [_against_ratio(group, rows, study, title, note) for group in _groups(cells)]


def sizes(study: AnalyzedStudy, cells: pd.DataFrame) -> list[Figure]:
    """Draw the recall of the weakest class against the size of the model, a panel for each data set and model.

    Dense networks and the control are at 100 % of the parameters. Parameters are as for `accuracies`.
    """
    return [_against_size(group, study) for group in _groups(cells) if any(map(_has_pruned, group))]


def slopes(study: AnalyzedStudy) -> list[Figure]:
    """Draw alpha above the raw slope, against the ratio, panels as in `accuracies`."""
    title = "Alpha and raw slope against the pruning ratio"
    note = (
        "Means over networks that do not guess, with their intervals. Dashed: no change from the dense networks. "
        f"{_READING} Where alpha rises and the raw slope does not, the accuracy fell."
    )
    return [_against_ratio(group, _SLOPES, study, title, note) for group in _groups(study.cells)]


_Place: TypeAlias = tuple[tuple[str, str], pd.DataFrame]  # a data set and model, and its cells


class _Method(NamedTuple):
    pruner: str
    setting: str

    @property
    def label(self) -> str:
        return " ".join(filter(None, self))


def _groups(cells: pd.DataFrame) -> Iterator[list[_Place]]:
    found = [(place, rows) for place, rows in places(cells) if mostly_sound(rows).any()]
    for start in range(0, len(found), _PLACES_A_FIGURE):
        yield found[start : start + _PLACES_A_FIGURE]


def _has_pruned(place: _Place) -> bool:
    return bool((place[1][schema.PRUNER] != CONTROL).any())


def _against_ratio(
    group: Sequence[_Place], rows: dict[str, _Drawn], study: AnalyzedStudy, title: str, note: str
) -> Figure:
    lines = [_lines(cells, study) for _, cells in group]
    styles, handles = _styles(list(dict.fromkeys(method for found in lines for method in found)))
    size = max(_PANEL * len(group), 7.0), 2.9 * len(rows) + 1.6
    figure, grid = page((len(rows), len(group)), size, title, note, sharex="col")
    for column, ((name, cells), found) in zip(grid.T, zip(group, lines, strict=True), strict=True):
        _name_panel(column[0], name, size[0] / len(group))
        pruned = cells[cells[schema.PRUNER] != CONTROL]
        leading = leading_ratio(pruned) if len(pruned) else np.inf
        for axes, drawn in zip(column, rows.values(), strict=True):
            _draw_lines(axes, found, styles, drawn)
            dense = _draw_dense(axes, cells, drawn, study)
            axes.set_ylim(_limits(cells[mostly_sound(cells) & (cells[schema.RATIO] <= leading)], drawn, dense))
            if len(pruned):
                axes.axvline(leading, color=BELOW, alpha=0.12, linewidth=14)
        _set_ratios(column[-1], found)
    for axes, label in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(label)
    _add_legend(figure, handles, size)
    return figure


def _against_size(group: Sequence[_Place], study: AnalyzedStudy) -> Figure:
    lines = [_lines(cells, study) for _, cells in group]
    styles, handles = _styles(list(dict.fromkeys(method for found in lines for method in found)))
    size = max(_PANEL * len(group), 7.0), 4.9
    note = (
        "Mean recall of each network's weakest class, with 95 % intervals over networks. Star: the dense networks. "
        "Diamond and grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict; above it, "
        f"the class that is then weakest in most networks. A line that leaves its panel goes on outside. {_MINIMUM}"
    )
    figure, grid = page((1, len(group)), size, "Model size against the recall of the weakest class", note)
    for axes, ((name, cells), found) in zip(grid[0], zip(group, lines, strict=True), strict=True):
        pruned = cells[cells[schema.PRUNER] != CONTROL]
        best = by_accuracy(pruned, leading_ratio(pruned)).head(1) if len(pruned) else pruned
        _name_panel(axes, name, size[0] / len(group), best)
        _draw_sizes(axes, cells, found, styles, study)
        for share in _shares(best):
            axes.axvline(share, color=BELOW, alpha=0.12, linewidth=14)
        _set_shares(axes, found)
    grid[0, 0].set_ylabel("weakest class's recall")
    _add_legend(figure, [*handles, _handle("dense", color="black", marker="*", linestyle="--")], size)
    return figure


def _draw_sizes(
    axes: Axes,
    cells: pd.DataFrame,
    lines: dict[_Method, pd.DataFrame],
    styles: dict[_Method, dict[str, Any]],
    study: AnalyzedStudy,
) -> None:
    _draw_lines(axes, lines, styles, _WEAKEST, _shares)
    dense = _draw_dense(axes, cells, _WEAKEST, study)
    # A hair below and above 100 %, so that neither hides the other.
    axes.plot(94, dense, color="black", marker="*", markersize=11, zorder=4)
    for method, control in lines.items():
        if method.pruner == CONTROL:
            axes.plot(106, control[WEAKEST].iloc[0], color=NEUTRAL, marker="D", markersize=6, zorder=3)
    useful = mostly_sound(cells) & (cells[WEAKEST] >= _USEFUL * cells[WEAKEST_BEFORE])
    axes.set_ylim(_limits(cells[useful], _WEAKEST, dense, pad=0.1))


def _name_panel(axes: Axes, name: tuple[str, str], width: float, cells: pd.DataFrame | None = None) -> None:
    """Write the data set and model above a panel of this width, and which class is weakest in the first of cells."""
    room = 72 * (width - 1.0)  # above the panel, without its labels
    lines = [fitted_name(", ".join(name), room, 10)]
    for _, cell in () if cells is None else cells.iterrows():
        is_weakest = " is the weakest class"
        if cell["n"] > 1:
            is_weakest = f" is weakest in {cell['weakest_count']:g} of {cell['n']} networks"
        lines.append(fitted_name(cell["weakest_class"], room - width_in_picture(is_weakest, 10), 10) + is_weakest)
    axes.set_title("\n".join(lines), fontsize=10, parse_math=False)


def _draw_dense(axes: Axes, cells: pd.DataFrame, drawn: _Drawn, study: AnalyzedStudy) -> float:
    """Draw a line at the mean of the dense networks and return it; NaN and no line if two cells share none."""
    dense = float(cells[drawn.dense].mean()) if drawn.dense else 1.0
    if drawn.dense and not study.share_dense_networks(cells):
        return float("nan")
    axes.axhline(dense, color="black", linestyle="--", linewidth=1)
    return dense


def _add_legend(figure: Figure, handles: Sequence[Line2D], size: tuple[float, float]) -> None:
    """Put a legend below the title."""
    width, height = size
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(len(handles), max(1, int(width / (_LETTER * longest + 0.6))))
    # Blank lines below the title make room for the legend.
    figure.suptitle(figure.get_suptitle() + "\n" * -(-len(handles) // columns), x=0.01, ha="left", fontsize=12)
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 1 - _TITLE / height),
        ncols=columns,
        fontsize=9,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _lines(cells: pd.DataFrame, study: AnalyzedStudy) -> dict[_Method, pd.DataFrame]:
    """Return the cells of each method that are drawn, by ratio; the control is last."""
    sound = cells[mostly_sound(cells)].sort_values(schema.RATIO)
    methods = [_Method(cell[schema.PRUNER], study.setting(cell)) for cell in sound.to_dict("records")]
    order = sorted(set(methods), key=lambda method: (method.pruner == CONTROL, rank(method.pruner), method.setting))
    return {each: sound[[method == each for method in methods]] for each in order}


def _styles(methods: Sequence[_Method]) -> tuple[dict[_Method, dict[str, Any]], list[Line2D]]:
    """Return how each method is drawn, and a legend: of the methods, or of pruners and settings where they are many."""
    pruned = [method for method in methods if method.pruner != CONTROL]
    controls = [method for method in methods if method.pruner == CONTROL]
    styles = {
        method: {"color": NEUTRAL, "linestyle": _DASHES[place % len(_DASHES)]} for place, method in enumerate(controls)
    }
    pruners, settings = (list(dict.fromkeys(values)) for values in zip(*pruned, strict=True)) if pruned else ([], [])
    few = len(pruned) <= len(_COLORS)
    for place, method in enumerate(pruned):
        color = place if few else pruners.index(method.pruner)
        shape = place if few else settings.index(method.setting)
        styles[method] = {
            "color": _COLORS[color % len(_COLORS)],
            "marker": _MARKERS[shape % len(_MARKERS)],
            "linestyle": "-" if few else _DASHES[shape % len(_DASHES)],
        }
    if few:
        handles = [_handle(method.label, **styles[method]) for method in pruned]
    else:
        handles = [_handle(name, color=_COLORS[place % len(_COLORS)]) for place, name in enumerate(pruners)]
        handles += [
            _handle(
                name or "as in print",
                color="black",
                marker=_MARKERS[place % len(_MARKERS)],
                linestyle=_DASHES[place % len(_DASHES)],
            )
            for place, name in enumerate(settings)
        ]
    return styles, [*handles, *(_handle(f"{method.label} (control)", **styles[method]) for method in controls)]


def _handle(label: str, **style: Any) -> Line2D:
    return Line2D([], [], label=name_in_legend(label), markersize=5, **style)


def _ratios(cells: pd.DataFrame) -> np.ndarray:
    return cells[schema.RATIO].to_numpy(float)


def _shares(cells: pd.DataFrame) -> np.ndarray:
    """Return the share of parameters that each cell keeps, in percent."""
    realized = cells.get(schema.REALIZED_RATIO, cells[schema.RATIO]).fillna(cells[schema.RATIO])
    return 100 / realized.to_numpy(float)


def _draw_lines(
    axes: Axes,
    lines: dict[_Method, pd.DataFrame],
    styles: dict[_Method, dict[str, Any]],
    drawn: _Drawn,
    places_of: Callable[[pd.DataFrame], np.ndarray] = _ratios,
) -> None:
    for index, (method, cells) in enumerate(lines.items()):
        value, low, high = (cells[name].to_numpy(float) for name in drawn[:3])
        if method.pruner == CONTROL:
            axes.axhline(value[0], linewidth=1.5, **styles[method])
            if np.isfinite(low[0]):
                axes.axhspan(low[0], high[0], color=NEUTRAL, alpha=0.15, linewidth=0)
            continue
        # A hair apart, so that intervals do not hide one another.
        across = places_of(cells) * 1.012 ** (index - (len(lines) - 1) / 2)
        axes.plot(across, value, markersize=4.5, linewidth=1.4, **styles[method])
        intervals = [[(place, bottom), (place, top)] for place, bottom, top in zip(across, low, high, strict=True)]
        axes.add_collection(LineCollection(intervals, colors=styles[method]["color"], linewidths=1.2), autolim=False)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(alpha=0.3)


def _limits(cells: pd.DataFrame, drawn: _Drawn, dense: float, *, pad: float = 0.35) -> tuple[float, float]:
    """Return the ends of an axis that shows most of the cells that people would ship, and some room for the others."""
    random = cells[schema.PRUNER] == "rp"
    shown = cells if cells.loc[~random, schema.PRUNER].eq(CONTROL).all() else cells[~random]
    values = [value for value in (dense, *shown[list(drawn[:3])].stack()) if np.isfinite(value)]
    room = pad * (max(values) - min(values)) or 0.01
    return min(values) - room, max(values) + room


def _set_ratios(axes: Axes, lines: dict[_Method, pd.DataFrame]) -> None:
    ratios = sorted({ratio for method, cells in lines.items() if method.pruner != CONTROL for ratio in cells["ratio"]})
    axes.set_xscale("log")
    if ratios:
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("pruning ratio")


def _set_shares(axes: Axes, lines: dict[_Method, pd.DataFrame]) -> None:
    """Write shares of parameters and the ratios they stand for below an axis."""
    least = min((_shares(cells).min() for cells in lines.values()), default=50.0)
    axes.set_xscale("log")
    decades = (step * 10.0**power for power in range(-4, 3) for step in (1, 2, 5))
    ticks = [share for share in decades if 0.9 * least <= share <= 100]
    ratios = [f"\nratio {100 / share:g}" if len(ticks) <= _MOST_RATIOS else "" for share in ticks]
    labels = [f"{share:g} %{ratio}" for share, ratio in zip(ticks, ratios, strict=True)]
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.85 * least, 130)
    axes.set_xlabel("share of the parameters that is kept")
