"""Figures 1-13, drawn by functions that take frames and return a Figure.

Figures are those of Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning
Algorithm". A function returns None if there is nothing to draw. A figure of one data set, model or pruner uses the
paper's (cifar10, resnet56, mp) if the study has it, else the one with most runs, and names it in the title. `settings`
are the columns of further settings, such as epsilon, as `shown_settings` returns them; they become part of the labels.
If all settings would need more than eight panels, only `main_setting` is drawn, and the title says so.
Networks at chance are marked, and are left out of boxes, means and slopes.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, PAPER, axis_limits
from analysis.rendering.formats import short_ratio
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import intervals as intervals_of
from analysis.rendering.panels import mark_beyond
from analysis.rendering.picture_text import name_in_legend, name_in_picture
from analysis.report.papers.recall_distortion.comparisons import DATASET, usual, usual_model
from analysis.report.published import rank, standing_for_up
from analysis.report.ratio_plot import ratio_labels
from analysis.runs import schema
from analysis.statistics.intensification import alpha, correlation
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import recalls, runs_at_chance
from analysis.study.joins import join
from analysis.study.labels import has_several_teachers, in_words, setting_labels
from analysis.study.settings import CELL, CONTROL, main_setting, share_dense_networks

By = Literal["pruner", "model", "dataset", "model under up"]
_SquareLimits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]  # across and up
GROUPINGS: tuple[By, ...] = get_args(By)
_LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_SHAPES = "osD^vPX"
_CONTROLS = (":", "-.")

_MEANINGS = {"mp": "magnitude", "gp": "gradient", "up": "undecayed", "rp": "random", CONTROL: "not pruned"}
_TRADEOFF_RATIOS = {2.0, 4.0, 6.0, 8.0, 10.0}

_PAGE_WIDTH = 12.0  # inches
_SLOT_WIDTH = 0.46  # inches for a ratio
_MOST_PANELS = 8
_MOST_TRADEOFFS = 4
_SEVERAL = "one of several settings"
_NO_RANDOM = "Random pruning is left out because its scale would hide the others. "


def boxplots(alphas: pd.DataFrame, cells: pd.DataFrame, by: By, settings: Sequence[str] = ()) -> Figure | None:
    """Draw box plots of alpha over seeds at each ratio, a panel for each pruner, model or data set (Figures 1-4).

    Parameters
    ----------
    alphas : DataFrame, one row per network
        dataset, model, pruner, ratio, alpha, at_chance, and the settings. Networks whose alpha is undefined are
        not drawn.
    cells : DataFrame, one row per dataset, model, pruner, ratio and settings
        These columns, and n, n_at_chance and mark as in `cells.cells`.
    by : {"pruner", "model", "dataset", "model under up"}
        What distinguishes the panels. "model" and "dataset" are for MP, "model under up" is for UP (`up-signed` if
        there is no `up`). Unless models are compared, each data set is drawn with the model of the paper's
        Tables 3 and 7 or, if the study lacks it, with the model that has most runs.
    settings : sequence of str

    Returns
    -------
    Figure ; None without two models or data sets to compare.
    """
    cells = cells.assign(cell=range(len(cells)))
    panels = _panels(cells, by, settings)
    if not panels.cells:
        return None
    networks = join(alphas, panels.all_cells[[*CELL, *settings, "cell"]], [*CELL, *settings])
    networks = networks[np.isfinite(networks["alpha"])]
    limits = axis_limits(_sound(networks["alpha"], networks["at_chance"]), 1)
    note = (
        "Box: quartiles and median of networks above chance; dots: the networks. Mark at a ratio: the interval of the "
        "mean alpha is below 1 (<), above 1 (>), or contains 1 (?). "
        f"{_crosses(networks['at_chance'])}{_beyond(_outside(networks['alpha'], limits), 'network')}"
    )
    title = f"Alpha of every network, by {_WORDS[by]}: {panels.title}"
    return _strip(panels, partial(_draw_networks, networks=networks), title, note, limits)


def intervals(cells: pd.DataFrame, by: By, settings: Sequence[str] = ()) -> Figure | None:
    """Draw the mean alpha with its confidence interval at each ratio, panels as in `boxplots` (Figures 9-12).

    Parameters
    ----------
    cells : DataFrame, one row per dataset, model, pruner, ratio and settings
        These columns, and n, n_at_chance, alpha_mean, ci_low, ci_high and mark as in `cells.cells`.
    by, settings
        As for `boxplots`.

    Returns
    -------
    Figure ; None without two models or data sets to compare.
    """
    panels = _panels(cells, by, settings)
    if not panels.cells:
        return None
    shown = panels.all_cells
    drawn = shown[["alpha_mean", "ci_low", "ci_high"]]
    limits = axis_limits(_sound(drawn, shown["n_at_chance"] > 0).stack().dropna(), 1)
    note = (
        "Dot: mean alpha over seeds; bar: its t-based interval, corrected for the number of ratios in a panel. "
        "Below 1: blue, <; above 1: orange, >; containing 1: grey, ?; hollow: one seed, no interval. "
        f"{_beyond(int(((drawn < limits[0]) | (drawn > limits[1])).any(axis=1).sum()), 'cell')}"
    )
    title = f"Confidence intervals of the mean alpha, by {_WORDS[by]}: {panels.title}"
    return _strip(panels, _draw_means, title, note, limits)


def scatter_matrix(runs: pd.DataFrame, by: By, settings: Sequence[str] = ()) -> Figure | None:
    """Draw normalised recall balance after pruning against before, a point per class and network (Figures 5-8).

    Parameters
    ----------
    runs : DataFrame, one row per pruned network, as `pull.pull_runs` returns it
        dataset, model, pruner, ratio, accuracy_before, accuracy_after, recall_before/<class>,
        recall_after/<class>, and the settings.
    by, settings
        As for `boxplots`; rows are ratios, columns pruners, models or data sets.

    Returns
    -------
    Figure ; None without two models or data sets to compare. Each panel gives one slope for all its points of networks
    above chance, their uncentred r^2, the mean accuracy after pruning, and networks x classes.
    """
    cells, runs = _cells(runs, settings)
    panels = _panels(cells, by, settings)
    if not panels.cells:
        return None
    shown = panels.all_cells
    points = _points(runs[runs["cell"].isin(shown["cell"])])
    limits = {dataset: _square_limits(rows) for dataset, rows in points.groupby(schema.DATASET)}
    outside = sum(_outside(rows["after"], limits[dataset][1]) for dataset, rows in points.groupby(schema.DATASET))
    ratios = sorted(set(shown.loc[shown[schema.PRUNER] != CONTROL, schema.RATIO])) or [1.0]
    by_place: dict[tuple[float, _PanelKey], Any] = {}
    for panel, rows in panels.cells.items():
        for cell in rows.itertuples():
            # The control has ratio 1, for which there is no row: it is drawn in the first row.
            by_place[ratios[0] if cell.pruner == CONTROL else cell.ratio, panel] = cell
    firsts = {panel: ratio for ratio, panel in sorted(by_place, key=lambda place: -place[0])}
    panels_of_page = [
        _scatter_panel(by_place[ratio, panel], panel if ratio == firsts[panel] else None, points, limits)
        if (ratio, panel) in by_place
        else None
        for ratio in ratios
        for panel in panels.cells
    ]
    shared: bool | str = "col" if by == "dataset" else True
    return draw(
        panels_of_page,
        len(panels.cells),
        size=(min(2.4, _PAGE_WIDTH / len(panels.cells)), 2.5),
        title=f"Normalised recall balance before and after pruning, by {_WORDS[by]}: {panels.title}",
        note="Each point is a class of a network: its (recall - accuracy) / accuracy. Line: slope alpha of the "
        "panel's points of networks above chance; dashed: no change; A: mean accuracy after pruning. "
        f"{_crosses(points['chance'])}{_beyond(outside, 'point')}",
        sharex=shared,
        sharey=shared,
    )


def _scatter_panel(
    cell: Any, column: "_PanelKey | None", points: pd.DataFrame, limits: Mapping[Hashable, _SquareLimits]
) -> Panel:
    """Return the panel of a cell, with the name of its column if it is at the top."""
    draw_panel = partial(_draw_points, networks=cell.n, limits=limits[cell.dataset])
    up = f"ratio {short_ratio(cell.ratio)}\nrecall balance after"
    title = column.label if column else ""
    return Panel(draw_panel, points[points["cell"] == cell.cell], title, "recall balance before", up)


def tradeoff(alphas: pd.DataFrame, settings: Sequence[str] = ()) -> Figure | None:
    """Draw mean accuracy and mean alpha with standard errors against the ratio, a line per pruner (Figure 13).

    There is a column for each data set, with the paper's model or, if the study lacks it, the model that has most runs.
    If there are more than four data sets, only one is drawn.

    Parameters
    ----------
    alphas : DataFrame, one row per network
        dataset, model, pruner, ratio, alpha, accuracy_before, accuracy_after, at_chance, dense_run_id, and
        the settings. Networks whose alpha is undefined are left out.
    settings : sequence of str

    Returns
    -------
    Figure ; None without a network. The ratios are 2, 4, 6, 8 and 10, as in the paper, if the study has them all, else
    the study's; ratio 1 is the dense network unless the pruner was run at it. The axes are centred on dense accuracy
    and on alpha 1. Random pruning is drawn only if it is alone, because its scale would hide the others.
    """
    cells, networks = _cells(alphas[np.isfinite(alphas["alpha"])], settings)
    by_dataset = [rows for _, rows in _by_dataset(cells)]
    if len(by_dataset) > _MOST_TRADEOFFS:
        by_dataset = [_usual(cells, schema.DATASET, DATASET)]
    shown = [_without_random(rows) for rows in by_dataset]
    panels = [_panels(rows, "pruner", settings) for rows in shown]
    by_panels = [_lines(networks, each) for each in panels]
    if not by_panels:
        return None
    without_random = sum(map(len, shown)) < sum(map(len, by_dataset))
    named = [each.fixed for each in panels]
    several = next((f", {each.which}" for each in panels if each.which), "")
    titles = named if len(named) > 1 else [""]
    chance_levels = [_describe_chance_level(lines, title) for title, (lines, _) in zip(titles, by_panels, strict=True)]
    styles = _styles([lines for lines, _ in by_panels])
    counts = [pd.concat([line["n"] for line in lines.values()]) for lines, _ in by_panels]
    upper = [
        Panel(
            partial(_draw_lines, name="accuracy", centre=dense, styles=styles),
            lines,
            f"{title}, n {_range(count)}",
            "pruning ratio",
            "mean test accuracy" + (f" (dense {dense:.3f})" if np.isfinite(dense) else ""),
        )
        for title, count, (lines, dense) in zip(named, counts, by_panels, strict=True)
    ]
    draw_alphas = partial(_draw_lines, name="alpha", centre=1.0, styles=styles)
    lower = [
        Panel(draw_alphas, lines, "", "pruning ratio", "mean alpha (above 1 intensifies)") for lines, _ in by_panels
    ]
    return draw(
        [*upper, *lower],
        len(by_panels),
        size=(8.0 if len(by_panels) == 1 else 5.5, 3.5),
        title=f"Accuracy and alpha against the pruning ratio: {'; '.join(named)}{several}",
        note="Means over those of n networks that are above chance, with their standard errors, as in print; ratio 1 "
        "is the dense network unless the pruner was run at it. "
        "Above the upper dashed line, a pruned network is more accurate than the dense one; below the lower dashed "
        "line, its classes differ less, or other classes are weak. "
        f"{_NO_RANDOM if without_random else ''}{' '.join(filter(None, chance_levels))}",
        legend=[handle(name, **style) for name, style in styles.items()],
        sharex="col",
    )


def _range(counts: pd.Series) -> str:
    return f"{counts.min():g}" if counts.nunique() == 1 else f"{counts.min():g} to {counts.max():g}"


# The cells of each panel.


def _by_dataset(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return every data set and its rows, in the paper's order."""
    return sorted(((str(name), rows) for name, rows in frame.groupby(schema.DATASET)), key=lambda of: rank(of[0]))


_WORDS = {"pruner": "pruner", "model": "model", "dataset": "data set", "model under up": "model"}


class _PanelKey(NamedTuple):
    """What the cells of a panel have in common.

    Attributes
    ----------
    names : tuple of str
        Pruner or model, or data set and model.
    settings : tuple of (str, str)
        Further settings by column.
    with_weight : bool
        Whether the label includes the weight of distillation.
    """

    names: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    with_weight: bool

    @property
    def label(self) -> str:
        """The label, with one part per line."""
        return "\n".join(self._parts)

    @property
    def inline(self) -> str:
        """The label, in one line."""
        return ", ".join(self._parts)

    @property
    def _parts(self) -> list[str]:
        values = dict(self.settings)
        how, others = setting_labels(values, list(values))
        named = [f"{name} ({_MEANINGS[name]})" if name in _MEANINGS else name for name in self.names]
        parts = [", ".join(named), *([in_words(" ".join(how), with_weight=self.with_weight)] if how else []), *others]
        return [name_in_picture(part) for part in parts]


class _Panels(NamedTuple):
    """The cells of each panel by ratio, the values that all panels share, and a note if settings are left out."""

    cells: dict[_PanelKey, pd.DataFrame]
    fixed: str
    which: str

    @property
    def title(self) -> str:
        return ", ".join(filter(None, [self.fixed, self.which]))

    @property
    def all_cells(self) -> pd.DataFrame:
        return pd.concat(self.cells.values())


def _panels(cells: pd.DataFrame, by: By, settings: Sequence[str]) -> _Panels:
    varied = schema.MODEL if by == "model under up" else by
    pruners = cells[schema.PRUNER]
    if by == "model under up":
        cells = cells[pruners == standing_for_up(set(pruners))]
    elif varied != schema.PRUNER:
        cells = _usual(cells[pruners != CONTROL], schema.PRUNER, "MP")
    if varied != schema.DATASET:
        cells = _usual(cells, schema.DATASET, DATASET)
    if varied != schema.MODEL and len(cells):
        by_dataset = cells.groupby(schema.DATASET)
        cells = pd.concat(_usual(rows, schema.MODEL, usual_model(name)) for name, rows in by_dataset)
    columns = [schema.DATASET, schema.MODEL] if varied == schema.DATASET else [varied]
    cells, which = _few(cells, [*columns, *settings], settings)
    grouped = list(cells.sort_values(schema.RATIO).groupby([*columns, *settings], dropna=False))
    if len(grouped) < (1 if varied == schema.PRUNER else 2):
        return _Panels({}, "", "")
    grouped.sort(key=lambda group: [_place(value) for value in group[0]])
    fixed = [c for c in (schema.DATASET, schema.MODEL, schema.PRUNER) if c != varied and cells[c].nunique() == 1]
    with_weight = has_several_teachers(cells)
    panels = {}
    for key, rows in grouped:
        values = zip(settings, key[len(columns) :], strict=True)
        own = tuple((name, value) for name, value in values if pd.notna(value))
        panels[_PanelKey(key[: len(columns)], own, with_weight)] = rows
    return _Panels(panels, ", ".join(name_in_picture(cells[column].iloc[0]) for column in fixed), which)


def _few(cells: pd.DataFrame, columns: list[str], settings: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Return all cells or, if they need too many panels, those of one setting; and a note on this for the title."""
    if cells.groupby(columns, dropna=False).ngroups <= _MOST_PANELS:
        return cells, ""
    main = main_setting(cells, settings)
    return main, _SEVERAL if len(main) < len(cells) else ""


def _usual(cells: pd.DataFrame, column: str, printed: str) -> pd.DataFrame:
    """Return the cells whose value of a column is the paper's or, if there are none, the one with most runs."""
    return cells[cells[column] == usual(cells.groupby(column)["n"].sum(), printed)]


def _place(value: Any) -> tuple[Any, ...]:
    """Return a sort key: a setting's numbers by size, names as in print, the control last."""
    number = pd.to_numeric(value, errors="coerce")
    return (value == CONTROL, 0, number) if pd.notna(number) else (value == CONTROL, 1, rank(str(value)))


def _cells(frame: pd.DataFrame, settings: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells of a frame of networks, with n, and the frame with a column of cell numbers."""
    keys = [*CELL, *settings]
    frame = frame.assign(cell=frame.groupby(keys, dropna=False).ngroup())
    cells = frame.drop_duplicates("cell")[[*keys, "cell"]]
    return cells.assign(n=cells["cell"].map(frame["cell"].value_counts())), frame


def _points(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per class and network: dataset, cell, accuracy_after, chance, and the balances before, after."""
    _, before, after = recalls(runs)
    before = Recalls(before, runs["accuracy_before"]).balance
    after = Recalls(after, runs["accuracy_after"]).balance
    each = np.repeat(np.arange(len(runs)), before.shape[1])
    network = runs[[schema.DATASET, "cell", "accuracy_after"]].assign(chance=runs_at_chance(runs)).iloc[each]
    return network.assign(before=before.ravel(), after=after.ravel()).dropna(subset=["before", "after"])


def _without_random(cells: pd.DataFrame) -> pd.DataFrame:
    random = cells[schema.PRUNER] == "rp"
    return cells if cells.loc[~random, schema.PRUNER].isin([CONTROL]).all() else cells[~random]


def _lines(networks: pd.DataFrame, panels: _Panels) -> tuple[dict[_PanelKey, pd.DataFrame], float]:
    """Return the line of each panel, over the paper's ratios if all are there, and the accuracy of dense networks.

    The accuracy is NaN if two cells share no dense network.
    """
    cells = panels.all_cells
    ratios = set(cells[schema.RATIO])
    ratios = {1.0, *(_TRADEOFF_RATIOS if ratios >= _TRADEOFF_RATIOS else ratios)}
    networks = networks[networks[schema.RATIO].isin(ratios) & networks["cell"].isin(cells["cell"])]
    by_panel = {panel: networks[networks["cell"].isin(rows["cell"])] for panel, rows in panels.cells.items()}
    is_one = share_dense_networks(networks, ["cell"])
    dense = networks.drop_duplicates("dense_run_id")["accuracy_before"].mean() if is_one else np.nan
    return {panel: _line(rows) for panel, rows in by_panel.items() if len(rows)}, dense


def _line(networks: pd.DataFrame) -> pd.DataFrame:
    """Tabulate accuracy and alpha of networks above chance by ratio, with standard errors, n and the number at chance.

    If a pruner was not run at ratio 1, the dense networks are used there.
    """
    guess = networks["at_chance"].astype(bool)
    by_ratio = networks[~guess].groupby(schema.RATIO)
    line = pd.DataFrame(
        {
            "accuracy": by_ratio["accuracy_after"].mean(),
            "accuracy_error": by_ratio["accuracy_after"].sem(),
            "alpha": by_ratio["alpha"].mean(),
            "alpha_error": by_ratio["alpha"].sem(),
            "n": networks.groupby(schema.RATIO).size(),
            "chance": guess.groupby(networks[schema.RATIO]).sum(),
        }
    )
    control = (networks[schema.PRUNER] == CONTROL).all()
    if not control and 1.0 not in line.index:
        dense = networks.drop_duplicates("dense_run_id")["accuracy_before"]
        line.loc[1.0] = [dense.mean(), dense.sem(), 1.0, 0.0, line["n"].max(), 0]
    return line.sort_index().assign(control=control)


# The limits of an axis.


def _sound(values: Any, chance: pd.Series) -> Any:
    """Return the values of networks above chance, or all values if every network is at chance."""
    return values if chance.all() else values[~chance.astype(bool)]


def _square_limits(points: pd.DataFrame) -> _SquareLimits:
    reach = 1.05 * points["before"].abs().max() or 0.01
    return (-reach, reach), axis_limits(_sound(points["after"], points["chance"]), 0)


def _outside(values: pd.Series, limits: tuple[float, float]) -> int:
    return int((~values.between(*limits)).sum())


def _strip(
    panels: _Panels,
    draw_cells: Callable[[Axes, pd.DataFrame], None],
    title: str,
    note: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw a row of panels, or several if one is too wide, with a slot for each ratio and a line at 1."""
    slots = [max(len(cells), 3) for cells in panels.cells.values()]
    widths = [_SLOT_WIDTH * count + 0.25 for count in slots]
    one_row = sum(widths) <= _PAGE_WIDTH
    down = 1 if one_row else -(-len(panels.cells) // max(int(_PAGE_WIDTH // max(widths)), 1))
    return draw(
        [
            Panel(
                partial(_draw_slots, slots=count, draw_cells=draw_cells, limits=limits),
                cells,
                panel.label,
                "",
                "alpha (above 1 intensifies)",
            )
            for (panel, cells), count in zip(panels.cells.items(), slots, strict=True)
        ],
        -(-len(panels.cells) // down),
        size=(float(np.mean(widths)) if one_row else max(widths), 3.8),
        title=title,
        note=note,
        sharey=True,
        widths=slots if one_row else (),
    )


def _draw_slots(
    axes: Axes,
    cells: pd.DataFrame,
    slots: int,
    draw_cells: Callable[[Axes, pd.DataFrame], None],
    limits: tuple[float, float],
) -> None:
    axes.axhline(1, color=NEUTRAL, linestyle="--", linewidth=1)
    middle = (len(cells) - 1) / 2
    axes.set(xlim=(middle - slots / 2, middle + slots / 2), ylim=limits)
    draw_cells(axes, cells)
    axes.set_xticks(range(len(cells)), [_tick(cell) for cell in cells.itertuples()], fontsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.yaxis.set_major_locator(MaxNLocator(7))


def _tick(cell: Any) -> str:
    mark = f" {cell.mark}" if cell.mark in ("<", ">", "?") else ""
    chance = f"\n{cell.n_at_chance} at\nchance" if cell.n_at_chance else ""
    return f"{short_ratio(cell.ratio)}{mark}\nn {cell.n}{chance}"


def _draw_networks(axes: Axes, cells: pd.DataFrame, networks: pd.DataFrame) -> None:
    """Draw a box of the networks of each cell that are above chance, and a mark for each network."""
    by_place = [networks[networks["cell"] == cell] for cell in cells["cell"]]
    style = {"color": NEUTRAL}
    axes.boxplot(
        [own.loc[~own["at_chance"].astype(bool), "alpha"] for own in by_place],
        positions=range(len(by_place)),
        widths=0.75,
        showfliers=False,
        boxprops=style,
        whiskerprops=style,
        capprops=style,
        medianprops={"color": BELOW, "linewidth": 2},
        manage_ticks=False,
    )
    for place, own in enumerate(by_place):
        positions = place + np.linspace(-0.28, 0.28, len(own) + 2)[1:-1]
        chance, values = own["at_chance"].to_numpy(bool), own["alpha"].to_numpy()
        axes.scatter(positions[~chance], values[~chance], s=9, color="black", alpha=0.55, linewidth=0, zorder=3)
        axes.scatter(positions[chance], values[chance], s=16, color=ABOVE, marker="x", linewidth=1, zorder=3)
        mark_beyond(axes, pd.DataFrame({"place": place, "value": values}), text=lambda beyond: str(len(beyond)))


def _draw_means(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw the mean of each cell with its interval."""
    colors = [{"<": BELOW, ">": ABOVE}.get(mark, NEUTRAL) for mark in cells["mark"]]
    faces = np.where(cells["ci_low"].notna(), colors, "white")
    look = {"color": colors, "face": faces}
    rows = pd.DataFrame({"value": cells["alpha_mean"], "low": cells["ci_low"], "high": cells["ci_high"], **look})
    intervals_of(axes, rows, no_effect=None, upright=True, limits=axes.get_ylim())


def _draw_points(axes: Axes, points: pd.DataFrame, networks: int, limits: _SquareLimits) -> None:
    before, after, chance = points["before"].to_numpy(), points["after"].to_numpy(), points["chance"].to_numpy(bool)
    size = float(np.clip(150 / np.sqrt(len(before)), 2, 12))
    # Rasterised, because tens of thousands of points would swell the SVG to many megabytes.
    axes.scatter(before[~chance], after[~chance], s=size, color=BELOW, alpha=0.5, linewidth=0, rasterized=True)
    axes.scatter(before[chance], after[chance], s=size, color=ABOVE, marker="x", linewidth=0.7, rasterized=True)
    ends, slope, r_squared = np.array(limits[0]), np.nan, np.nan
    if not chance.all():
        sound = before[~chance], after[~chance]
        slope, r_squared = float(alpha(*sound)), float(correlation(*sound)) ** 2
    axes.plot(ends, ends, color=NEUTRAL, linestyle="--", linewidth=1)
    axes.plot(ends, slope * ends, color="black", linewidth=1.5)
    accuracy = points.loc[~points["chance"], "accuracy_after"].mean()
    text = (
        f"alpha {_number(slope)}   r² {_number(r_squared)}\n"
        f"A {_number(accuracy, 3)}   n {networks} x {len(before) / networks:g}"
    )
    if outside := _outside(points["after"], limits[1]):
        text += f"\n{outside} outside"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=7.5, bbox=PAPER)
    if (axes.get_xlim(), axes.get_ylim()) != limits:  # unless a panel that shares the axes has set them
        axes.set(xlim=limits[0], ylim=limits[1])
    for draw_zero, axis in ((axes.axvline, axes.xaxis), (axes.axhline, axes.yaxis)):
        draw_zero(0, color=NEUTRAL, alpha=0.3, linewidth=0.8, zorder=0)
        axis.set_major_locator(MaxNLocator(4))


def _styles(by_panels: Sequence[dict[_PanelKey, pd.DataFrame]]) -> dict[str, dict[str, Any]]:
    """Return the style of each pruner, by its name, for all columns; controls are last."""
    is_control = {panel.inline: bool(line["control"].all()) for lines in by_panels for panel, line in lines.items()}
    pruned = [name for name, control in is_control.items() if not control]
    controls = [name for name, control in is_control.items() if control]
    return {
        name: {"color": _LINES[index % len(_LINES)], "marker": _SHAPES[index % len(_SHAPES)]}
        for index, name in enumerate(pruned)
    } | {
        name: {"color": NEUTRAL, "linestyle": _CONTROLS[index % len(_CONTROLS)]} for index, name in enumerate(controls)
    }


def _draw_lines(
    axes: Axes,
    lines: dict[_PanelKey, pd.DataFrame],
    name: str,
    centre: float,
    styles: dict[str, dict[str, Any]],
) -> None:
    """Draw a line for each pruner, on an axis around the centre; the control, always at ratio 1, is a band."""
    reach = 0.0
    for index, (panel, line) in enumerate(lines.items()):
        style = {**styles[panel.inline], "label": name_in_legend(panel.inline)}
        drawn = line[2 * line["chance"] <= line["n"]]
        values, errors = drawn[name], drawn[f"{name}_error"].fillna(0)
        reach = max([reach, *((values - centre).abs() + errors)])
        if line["control"].all():
            for value, error in zip(values, errors, strict=True):
                axes.axhline(value, linewidth=1.5, **style)
                axes.axhspan(value - error, value + error, color=NEUTRAL, alpha=0.15, linewidth=0)
        else:
            # Lines are shifted a little, so that error bars do not hide one another.
            positions = drawn.index.to_numpy() * 1.012 ** (index - (len(lines) - 1) / 2)
            axes.errorbar(positions, values, yerr=errors, capsize=2.5, markersize=5, **style)
    if np.isfinite(centre):
        axes.axhline(centre, color="black", linestyle="--", linewidth=1)
        room = 1.1 * reach or 0.01
        axes.set_ylim(centre - room, centre + room)
    axes.grid(alpha=0.3)
    ratios = sorted({1.0, *(ratio for line in lines.values() for ratio in line.index)})
    axes.set_xscale("log")
    axes.set_xticks(ratios, ratio_labels(ratios))
    axes.xaxis.set_minor_locator(NullLocator())


def _crosses(chance: pd.Series) -> str:
    return "Orange crosses: networks at chance, whose alpha is arbitrary. " if chance.any() else ""


def _beyond(count: int, what: str) -> str:
    return f"Beyond the axis: {count} {what}{'s' if count > 1 else ''}." if count else ""


def _describe_chance_level(lines: dict[_PanelKey, pd.DataFrame], title: str) -> str:
    at = []
    for panel, line in lines.items():
        at_chance = line[line["chance"] > 0]
        if counts := [f"{short_ratio(row.Index)} ({row.chance:g} of {row.n:g})" for row in at_chance.itertuples()]:
            at.append(f"{panel.inline} at ratio {', '.join(counts)}")
    where = f", {title}" if title else ""
    return (
        f"Networks at chance{where}: {'; '.join(at)}; ratios at which most are at chance are not drawn." if at else ""
    )


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "n/a"
