"""Figures of the first screen, each a function of a study's frames.

Methods are pruners with their settings. Colours and marks stand for the same method in all panels of a figure, and one
legend names each once. The control `none` has no ratio of its own and is a band.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.drawing import ABOVE, BELOW, NEUTRAL, page
from analysis.published import rank
from analysis.runs import schema
from analysis.runs.picture_text import name_in_legend, name_in_picture
from analysis.settings import CELL, CONTROL, method_label, setting_labels
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.resampling import mean_interval
from analysis.study import AnalyzedStudy
from analysis.verdict import beyond, class_rows, leading_ratio, mostly_sound, places

MOST_CLASSES = 30
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#9a6324")
_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":", "-.")
_PLACES_A_FIGURE = 4
_MOST_METHODS = 6
_PANEL = 4.2  # inches
_LETTER = 0.085  # inches, in a legend
_TITLE = 0.22  # inches
_LONGEST_NAME = 28
_READING = (
    "Grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict. A line that leaves its "
    "panel goes on outside."
)
_SLOPES = {
    "alpha": ("alpha_mean", "ci_low", "ci_high"),
    "raw slope": ("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
}


def accuracies(study: AnalyzedStudy) -> list[Figure]:
    """Draw mean accuracy against the ratio, a panel for each data set and model, at most four in a figure."""
    cells = _with_accuracy_intervals(study)
    title = "Accuracy against the pruning ratio"
    note = (
        "Mean test accuracy of networks that do not guess, with 95 % intervals over networks. Dashed: the dense "
        f"networks. {_READING} Cells most of whose networks guess are not drawn."
    )
    rows = {"accuracy": ("accuracy_after", "accuracy_low", "accuracy_high")}
    return [_against_ratio(group, rows, study, title, note) for group in _groups(cells)]


def slopes(study: AnalyzedStudy) -> list[Figure]:
    """Draw alpha above the raw slope, against the ratio, panels as in `accuracies`."""
    title = "Alpha and raw slope against the pruning ratio"
    note = (
        "Means over networks that do not guess, with their intervals. Dashed: no change from the dense networks. "
        f"{_READING} Where alpha rises and the raw slope does not, the accuracy fell."
    )
    return [_against_ratio(group, _SLOPES, study, title, note) for group in _groups(study.cells)]


def class_losses(study: AnalyzedStudy, cells: pd.DataFrame) -> Figure:
    """Draw what each class loses beyond the control, a panel for each of the first methods.

    The class that loses most by the first method is on top.

    Parameters
    ----------
    study : AnalyzedStudy
    cells : DataFrame
        Of one data set, model and ratio, as `verdict.by_accuracy` returns them.
    """
    random = cells[schema.PRUNER] == "rp"
    shown = cells if random.all() else cells[~random]
    drawn = [(cell, class_rows(study, cell).set_index("class")) for _, cell in shown.head(_MOST_METHODS).iterrows()]
    order = drawn[0][1][f"loss{beyond(drawn[0][0])}"].sort_values(ascending=False, kind="stable").index
    names = list(order[:MOST_CLASSES])
    first = cells.iloc[0]
    which = f"the worst {len(names)} of {len(order):,} classes lose" if len(names) < len(order) else "each class loses"
    methods = f", the {len(drawn)} most accurate of {len(shown)} methods" if len(drawn) < len(shown) else ""
    left_out = " Random pruning is left out, its scale would hide the others." if len(shown) < len(cells) else ""
    what = "the same fine-tuning without pruning" if first["n_none"] else "the dense networks; there is no control"
    figure, grid = page(
        (1, len(drawn)),
        (max(2.1 * len(drawn) + 1.5, 6.5), 0.27 * len(names) + 2.0),
        f"What {which} at ratio {first[schema.RATIO]:g}: {first[schema.DATASET]}, {first[schema.MODEL]}{methods}",
        f"Loss of recall beyond {what}, in points of 100, with 95 % intervals. Dotted: the loss of accuracy. Orange: "
        "the class loses more than the accuracy, blue: less, by Holm's p below .05 over the classes; grey: neither."
        f"{left_out}",
        sharey=True,
        sharex=True,
    )
    for axes, (cell, rows) in zip(grid[0], drawn, strict=True):
        _draw_losses(axes, rows.loc[names], beyond(cell))
        axes.set_title(_wrapped(name_in_picture(method_label(cell, study.shown))), fontsize=9, parse_math=False)
        axes.set_xlabel("loss, points", fontsize=9)
    labels = [name_in_picture(str(name), _LONGEST_NAME) for name in names]
    grid[0, 0].set_yticks(range(len(names)), labels, fontsize=9, parse_math=False)
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def _draw_losses(axes: Axes, rows: pd.DataFrame, ending: str) -> None:
    loss, low, high = (100 * rows[f"loss{ending}{end}"] for end in ("", "_low", "_high"))
    excess, holm = rows[f"excess{ending}"], rows[f"excess{ending}_p_holm"]
    colors = [NEUTRAL if not p < LEVEL else ABOVE if more > 0 else BELOW for more, p in zip(excess, holm, strict=True)]
    height = np.arange(len(rows))
    axes.hlines(height, low, high, colors=colors, linewidth=1.8)
    axes.scatter(loss, height, color=colors, s=18, zorder=3)
    axes.axvline(0, color="black", linewidth=0.8)
    # A class's loss minus its excess loss is the loss of accuracy.
    axes.axvline(float((loss - 100 * excess).mean()), color=NEUTRAL, linestyle=":", linewidth=1.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(alpha=0.3)


def _wrapped(label: str) -> str:
    """Return a label in two lines if it is long."""
    name, _, rest = label.partition(" ")
    return f"{name}\n{rest}" if len(label) > 16 else label


# Lines against the ratio.


class _Method(NamedTuple):
    pruner: str
    setting: str

    @property
    def label(self) -> str:
        return " ".join(filter(None, self))


def _groups(cells: pd.DataFrame) -> Iterator[list[tuple[tuple[str, str], pd.DataFrame]]]:
    found = [(place, rows) for place, rows in places(cells) if mostly_sound(rows).any()]
    for start in range(0, len(found), _PLACES_A_FIGURE):
        yield found[start : start + _PLACES_A_FIGURE]


def _with_accuracy_intervals(study: AnalyzedStudy) -> pd.DataFrame:
    sound = study.alphas[~study.alphas["at_chance"].astype(bool)]
    by_cell = sound.groupby([*CELL, *study.shown], dropna=False)["accuracy_after"]
    intervals = [(*key, *mean_interval(values)) for key, values in by_cell]
    frame = pd.DataFrame(intervals, columns=[*CELL, *study.shown, "accuracy_low", "accuracy_high"])
    return study.cells.merge(frame, on=[*CELL, *study.shown], how="left") if intervals else study.cells


def _against_ratio(
    group: Sequence[tuple[tuple[str, str], pd.DataFrame]],
    rows: dict[str, tuple[str, str, str]],
    study: AnalyzedStudy,
    title: str,
    note: str,
) -> Figure:
    lines = [_lines(cells, study) for _, cells in group]
    styles, handles = _styles(list(dict.fromkeys(method for found in lines for method in found)))
    width, height = max(_PANEL * len(group), 7.0), 3.2 * len(rows) + 1.6
    figure, grid = page((len(rows), len(group)), (width, height), title, note, sharex="col")
    for column, ((dataset, model), cells), found in zip(grid.T, group, lines, strict=True):
        column[0].set_title(name_in_picture(f"{dataset}, {model}"), fontsize=10, parse_math=False)
        pruned = cells[cells[schema.PRUNER] != CONTROL]
        leading = leading_ratio(pruned) if len(pruned) else np.inf
        for axes, (name, drawn) in zip(column, rows.items(), strict=True):
            _draw_lines(axes, found, styles, drawn)
            dense = cells["accuracy_before"].mean() if name == "accuracy" else 1.0
            axes.axhline(dense, color="black", linestyle="--", linewidth=1)
            axes.set_ylim(_limits(cells[mostly_sound(cells) & (cells[schema.RATIO] <= leading)], drawn, dense))
            if len(pruned):
                axes.axvline(leading, color=BELOW, alpha=0.12, linewidth=14)
        _set_ratios(column[-1], found)
    for axes, name in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(name)
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(len(handles), max(1, int(width / (_LETTER * longest + 0.6))))
    # Blank lines below the title make room for the legend.
    figure.suptitle(figure.get_suptitle() + "\n" * -(-len(handles) // columns), x=0.01, ha="left", fontsize=12)
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 1 - _TITLE / height),  # below the title
        ncols=columns,
        fontsize=9,
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _lines(cells: pd.DataFrame, study: AnalyzedStudy) -> dict[_Method, pd.DataFrame]:
    """Return the cells of each method that are drawn, by ratio; the control is last."""
    sound = cells[mostly_sound(cells)]
    found: dict[_Method, list[pd.Series]] = {}
    for _, cell in sound.sort_values(schema.RATIO).iterrows():
        how, others = setting_labels(cell, study.shown)
        found.setdefault(_Method(cell[schema.PRUNER], " ".join([*how, *others])), []).append(cell)
    order = sorted(found, key=lambda method: (method.pruner == CONTROL, rank(method.pruner), method.setting))
    return {method: pd.DataFrame(found[method]) for method in order}


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


def _draw_lines(
    axes: Axes, lines: dict[_Method, pd.DataFrame], styles: dict[_Method, dict[str, Any]], columns: tuple[str, str, str]
) -> None:
    for place, (method, cells) in enumerate(lines.items()):
        value, low, high = (cells[name].to_numpy(float) for name in columns)
        if method.pruner == CONTROL:
            axes.axhline(value[0], linewidth=1.5, **styles[method])
            if np.isfinite(low[0]):
                axes.axhspan(low[0], high[0], color=NEUTRAL, alpha=0.15, linewidth=0)
            continue
        # A hair apart, so that intervals do not hide one another.
        ratios = cells[schema.RATIO].to_numpy() * 1.012 ** (place - (len(lines) - 1) / 2)
        axes.plot(ratios, value, markersize=4.5, linewidth=1.4, **styles[method])
        axes.vlines(ratios, low, high, color=styles[method]["color"], linewidth=1.2)
    axes.grid(alpha=0.3)


def _limits(cells: pd.DataFrame, columns: Sequence[str], centre: float) -> tuple[float, float]:
    """Return the ends of an axis that shows most of the cells that people would ship, and some room for the others."""
    random = cells[schema.PRUNER] == "rp"
    shown = cells if cells.loc[~random, schema.PRUNER].eq(CONTROL).all() else cells[~random]
    values = [centre, *shown[list(columns)].stack()]
    pad = 0.35 * (max(values) - min(values)) or 0.01
    return min(values) - pad, max(values) + pad


def _set_ratios(axes: Axes, lines: dict[_Method, pd.DataFrame]) -> None:
    ratios = sorted({ratio for method, cells in lines.items() if method.pruner != CONTROL for ratio in cells["ratio"]})
    axes.set_xscale("log")
    if ratios:
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("pruning ratio")
