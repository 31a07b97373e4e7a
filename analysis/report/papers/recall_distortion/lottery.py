"""Lottery tickets: networks that are pruned level by level, and at each level trained again from their initial weights.

Good et al. 2022, Supplement H and Table 12, after Frankle and Carbin 2019. A level is an iteration of `iterate` with
`--weight-treatment rewind`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rendering.formats import decimals, short_ratio, three_decimals, with_interval
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.page import Block, Caption, Items, Section, numbered
from analysis.report.papers.recall_distortion import beside_print
from analysis.report.papers.recall_distortion.beside_print import LEVEL, Printed, minus_control
from analysis.report.ratio_plot import (
    Drawn,
    Lines,
    PlottedWorkload,
    Styles,
    draw_lines,
    groups,
    panel_width,
    styles_of,
)
from analysis.runs import frames, schema
from analysis.study.settings import CONTROL, ITERATION, is_by_layer, is_iterated
from analysis.study.study import StudyData

RATIO = schema.RATIO_PRUNABLE
_KEEP, _TREATMENT = frames.column(schema.KEEP), frames.column(schema.WEIGHT_TREATMENT)
_PRINTED_KEEP = "0.8"
PRUNERS = ("mp", "global-unstructured")  # two names of global magnitude pruning
_TABLE = Printed(
    12,
    networks=10,
    pruners=PRUNERS,
    params={
        schema.RECIPE: "lottery",
        schema.EPOCHS: "80",
        schema.FINE_TUNE_EPOCHS: "80",
        schema.BATCH_SIZE: "128",
        schema.PRECISION: schema.FLOAT32,
    },
    left_open=(schema.VALIDATION_FRACTION, schema.PRUNE_OUTPUT_LAYER, schema.REWIND_STEP),
)
_OF_LEVELS = [
    *("n", "n_at_chance", "accuracy_before", "accuracy_after", "alpha_mean", "ci_low", "ci_high"),
    *("raw_slope_mean", "raw_slope_low", "raw_slope_high", "largest_excess", "largest_excess_none", "n_none"),
    *("largest_excess_floor", "largest_excess_floor_none"),
    *("alpha_minus_none", "alpha_minus_none_low", "alpha_minus_none_high"),
    *("raw_slope_minus_none", "raw_slope_minus_none_low", "raw_slope_minus_none_high"),
    *("largest_excess_minus_none", "largest_excess_minus_none_low", "largest_excess_minus_none_high"),
]

_COLUMNS = (
    *("Level", "Ratio", "Ratio of all parameters", "Accuracy", "in print", "Alpha", "in print "),
    *("Alpha minus control", "Raw slope minus control"),
)

_READING = (
    "Each level prunes a fifth of the remaining weights, rewinds the others to their initial values, and trains them "
    "again. The ratio is the paper's: prunable weights before / after. Alpha compares each level with level 0 of the "
    "same seed. The control is rewound and trained equally often, but never pruned: an alpha below 1 is an effect of "
    "pruning only if it is also below the control's. A lower accuracy alone raises alpha, but not the raw slope. "
    "Intervals hold jointly for all levels."
)
_PRINT = (
    "The paper has ten ResNet-56 networks on CIFAR-10, pruned by magnitude, with 30,000 training steps per level in "
    "batches of 128. It does not state when the learning rate changes, which epoch's network is kept, how many images "
    "are held out, whether the output layer is pruned, or whether weights are rewound to step 0. It has no control."
)


def section(study: StudyData) -> Section | None:
    """Return the section on lottery tickets (Table 12); None for a study without networks that are rewound."""
    all_levels = levels(study)
    pruned = all_levels[all_levels[schema.PRUNER] != CONTROL]
    if pruned.empty:
        return None
    methods = beside_print.by_method(pruned)
    blocks: list[Block] = [
        Items([*(_sentence(rows, study) for rows in methods), _in_print()]),
        _READING,
        *numbered("lottery_tickets", figures(all_levels, study)),
        _PRINT,
    ]
    for rows in methods:
        blocks += [Caption("Table 12.", beside_print.title(rows, study, _TABLE)), level_table(rows)]
    return Section("Lottery tickets", blocks, {"lottery_tickets.csv": all_levels.drop(columns=ITERATION)})


def levels(study: StudyData) -> pd.DataFrame:
    """Return the levels of lottery tickets and of their controls, beside the values of Table 12.

    Parameters
    ----------
    study : StudyData

    Returns
    -------
    DataFrame, one row per cell; the levels of a method are in order
        - dataset, model, pruner, ratio (all parameters before / after), the shown settings, level (int, from 1);
        - ratio_prunable: prunable weights before / after;
        - the columns of `cells.cells` on alpha, raw slope and largest excess, on their differences from the control,
          and on the floor of the largest excess;
        - printed_ratio, printed_accuracy, printed_alpha: at the same level;
        - accuracy_difference, alpha_difference: ours minus published, NaN except for the paper's data set, model and
          pruner.
    """
    cells = study.cells.assign(**{RATIO: _of_cells(study, _ratios(study.runs))})
    rows = cells[_of_cells(study, are_tickets(study.runs)).astype(bool)]
    rows = rows.assign(**{LEVEL: rows.get(ITERATION, pd.Series(dtype=str)).astype(int)})
    rows = rows[[*study.cell_key, LEVEL, RATIO, *_OF_LEVELS]].merge(_TABLE.values, on=LEVEL, how="left")
    rows = beside_print.with_differences(rows, _TABLE)
    return rows.sort_values([*beside_print.method_columns(rows), LEVEL], kind="stable", ignore_index=True)


def are_tickets(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run is a level of lottery tickets or their control, and keeps the paper's share of weights.

    Methods that prune each layer separately are not included, because lottery tickets rank the weights of all layers
    together.
    """
    treatment, keep, iteration = (runs.reindex(columns=[name])[name] for name in (_TREATMENT, _KEEP, ITERATION))
    is_level = is_iterated(runs) & (pd.to_numeric(iteration, errors="coerce") >= 1)
    return is_level & (treatment == schema.REWIND) & (keep == _PRINTED_KEEP) & ~is_by_layer(runs)


def printed_threshold() -> int:
    """Return the first level from which alpha stays above 1 in Table 12."""
    level = _in_table_12().above_from
    assert level
    return level


def _ratios(runs: pd.DataFrame) -> pd.Series:
    """Return each run's prunable weights before pruning divided by those after; NaN if not logged."""
    column = frames.column(RATIO)
    return pd.to_numeric(runs.reindex(columns=[column])[column], errors="coerce")


def _of_cells(study: StudyData, values: pd.Series) -> np.ndarray:
    """Return the value of the first run of each cell, (cells,)."""
    keys = study.cell_key
    first = values.groupby([study.runs[key].fillna("") for key in keys]).first()
    return first.reindex(pd.MultiIndex.from_frame(study.cells[keys].fillna(""))).to_numpy()


def level_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Format Table 12 with our values beside the printed ones.

    Parameters
    ----------
    rows : DataFrame
        The rows of one method, as `levels` returns them.
    """
    return beside_print.as_text(rows, _TABLE, _COLUMNS, ("0", "1.00", "1"), _line)


def _line(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return (
        str(row[LEVEL]),
        decimals(2)(row[RATIO]),
        short_ratio(row[schema.RATIO]),
        three_decimals(row["accuracy_after"]),
        three_decimals(row["printed_accuracy"]),
        with_interval(row["alpha_mean"], row["ci_low"], row["ci_high"], three_decimals),
        three_decimals(row["printed_alpha"]),
        minus_control(row, "alpha"),
        minus_control(row, "raw_slope"),
    )


class _Dip(NamedTuple):
    """The lowest alpha with its level, and the first level from which the intervals stay above 1, or None."""

    level: int
    alpha: float
    above_from: int | None

    @classmethod
    def of(cls, levels: pd.Series, alphas: pd.Series, lower_ends: pd.Series) -> "_Dip":
        lowest = alphas.idxmin()
        not_above = levels[~(lower_ends > 1)]
        after = levels[levels > not_above.max()] if len(not_above) else levels
        return cls(int(levels[lowest]), float(alphas[lowest]), int(after.min()) if len(after) else None)

    @property
    def rise(self) -> str:
        """A phrase on the level from which the intervals stay above 1."""
        return f"lies above 1 from level {self.above_from} on" if self.above_from else "does not stay above 1"


def _sentence(rows: pd.DataFrame, study: StudyData) -> str:
    name = beside_print.name(rows, study)
    sound = rows[rows["alpha_mean"].notna()]
    if sound.empty:
        return f"{name}: all networks are at chance."
    dip = _Dip.of(sound[LEVEL], sound["alpha_mean"], sound["ci_low"])
    lowest = sound[sound[LEVEL] == dip.level].iloc[0]
    has_control = lowest["n_none"] > 0
    beyond = f"; the difference from the control is {minus_control(lowest.to_dict(), 'alpha')}" if has_control else ""
    rise = f" Alpha's interval {dip.rise}." if sound["ci_low"].notna().any() else ""
    return f"{name}: alpha is lowest at level {dip.level}, {dip.alpha:.3f}{beyond}.{rise}"


def _in_table_12() -> _Dip:
    printed = _TABLE.values.iloc[1:]
    return _Dip.of(printed[LEVEL], printed["printed_alpha"], printed["printed_alpha"])


def _in_print() -> str:
    dip = _in_table_12()
    return f"In print, alpha is lowest at level {dip.level}, {dip.alpha:.3f}, and {dip.rise}."


def figures(rows: pd.DataFrame, study: StudyData) -> list[Figure]:
    """Draw alpha at every level, ours and the paper's, with at most four panels in a figure.

    Parameters
    ----------
    rows : DataFrame
        As `levels` returns it.
    study : StudyData
    """
    return [_figure(group) for group in groups(rows, study)]


_IN_PRINT: dict[str, Any] = {"color": "black", "linestyle": ":"}


def _figure(group: Sequence[PlottedWorkload]) -> Figure:
    styles, named = styles_of([workload.lines for workload in group])
    draw_panel = partial(_draw, styles=styles)
    return draw(
        [Panel(draw_panel, workload.lines, ", ".join(workload.name), "level", "alpha") for workload in group],
        size=(panel_width(group), 3.4),
        title="Lottery tickets: alpha at each level (Table 12)",
        note="Mean alpha over networks with intervals that hold jointly for all levels; grey: the control, which is "
        "rewound and trained equally often. Dotted: in print, ten ResNet-56 networks on CIFAR-10 without a control. "
        "Each level keeps 0.8 of the weights.",
        legend=[*named, handle("in print", **_IN_PRINT)],
    )


def _draw(axes: Axes, lines: Lines, styles: Styles) -> None:
    printed = _TABLE.values.iloc[1:]
    axes.axhline(1, color="black", linewidth=0.8)
    draw_lines(axes, lines, styles, Drawn("alpha_mean", "ci_low", "ci_high"), _places)
    axes.plot(printed[LEVEL], printed["printed_alpha"], linewidth=1.4, **_IN_PRINT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _places(cells: pd.DataFrame) -> np.ndarray:
    return cells[LEVEL].to_numpy(float)
