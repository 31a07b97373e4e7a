"""Forest plots of comparisons of methods: every difference with its interval."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.rendering.formats import short_ratio
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import interval_limits, intervals, name_rows
from analysis.rendering.picture_text import name_in_picture
from analysis.report.methods import compare as methods
from analysis.report.methods.tables import TITLES, at_chance, scale
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study.settings import ITERATION

_PANEL_WIDTH, _ROW_HEIGHT = 2.4, 0.3  # inches
_HIGHER_IS_BETTER = (methods.ACCURACY, methods.WEAKEST)
_LOWER_IS_BETTER = (methods.LOSS, methods.EXCESS)
_COMPARED = {
    methods.SCHEDULE: "gradual pruning minus one shot",
    methods.START: "pruning while training minus one shot",
    methods.DISTILLATION: "with a teacher minus without one",
    methods.MITIGATION: "each mitigation minus none",
    methods.PRUNER: "each pruner minus {baseline}",
    methods.EPSILON: f"each epsilon minus the paper's value, {schema.PAPERS_EPSILON}",
    methods.TREATMENT: "rewound weights minus fine-tuned ones",
    methods.REWIND_STEP: "rewound to an early step minus rewound to initial values",
    methods.NUMBER_FORMAT: "number format minus 32 bits",
    methods.WEIGHT_BITS: "weights of few bits minus 32 bits",
    methods.OTHER: "one method minus another",
}
COLORS_MEAN = (
    "Blue: better (more accuracy or recall, a smaller loss); orange: worse; black: alpha or another slope differs, "
    "which alone is neither better nor worse; grey: no difference is shown."
)
_NOTE = (
    "Differences on the same dense networks with their 95 % intervals. A triangle means that the value is outside the "
    f"panel. {COLORS_MEAN} Filled: p below .05 by Holm's correction"
)
_MOST_LEVELS = 4  # maximum number of levels of iterative pruning in a figure
# Every figure shows these outcomes, and those of its primary comparisons.
_SHOWN = (methods.ACCURACY, methods.EXCESS, methods.RAW_SLOPE, methods.ALPHA_NEW, methods.ALPHA_BEYOND)


def figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Draw a forest plot for each data set, model and kind of comparison, keyed by file name without extension.

    Comparisons with the control are left out: the first screen of a report draws them.

    Parameters
    ----------
    frame : DataFrame
        As `compare.compare` returns it.
    """
    return {
        f"methods_{number}_{comparison}": forest(rows)
        for number, (_, group) in enumerate(frame.groupby([schema.DATASET, schema.MODEL]), start=1)
        for comparison, rows in group.groupby("comparison", sort=False)
        if comparison != methods.AGAINST_CONTROL
    }


def forest(frame: pd.DataFrame) -> Figure:
    """Draw differences with their intervals: a panel for each outcome, with a row for each ratio and method.

    Parameters
    ----------
    frame : DataFrame
        Rows of `compare.compare` for one data set, model and kind of comparison.
    """
    frame = _with_few_levels(frame).sort_values(schema.RATIO, kind="stable")
    one_outcome = frame[frame["outcome"] == methods.ALPHA]
    first, baselines = frame.iloc[0], frame["baseline"].unique()
    comparison = _COMPARED[first["comparison"]].format(baseline=baselines[0] if len(baselines) == 1 else "the baseline")
    title = f"Differences, {comparison}: {first[schema.DATASET]}, {first[schema.MODEL]}"
    headings = [f"ratio {short_ratio(ratio)}" for ratio in one_outcome[schema.RATIO]]
    return _draw(frame, headings, _names(one_outcome), title, f"{_NOTE}; diamond: primary comparison.")


def forest_at_same_accuracy(frame: pd.DataFrame, accuracy: str) -> Figure:
    """Draw differences at the same accuracy: a panel for each outcome, with a row for each data set and method.

    Parameters
    ----------
    frame : DataFrame
        Rows of `same_accuracy.same_accuracy` for one number of points below the control.
    accuracy : str
        The accuracy in words, for the title.
    """
    frame = frame.assign(primary=False).sort_values([schema.DATASET, schema.MODEL], kind="stable")
    one_outcome = frame[frame["outcome"] == methods.ALPHA_NEW]
    headings = list(one_outcome[schema.DATASET] + ", " + one_outcome[schema.MODEL])
    names = list(_against(one_outcome) + one_outcome["is_equal"].map({True: "", False: " †"}))
    title = f"Differences at the same accuracy, {accuracy}"
    return _draw(frame, headings, names, title, f"{_NOTE}. †: the accuracies are not shown to be equal.")


def color_of(outcome: str, low: float, high: float, no_effect: float = 0) -> str:
    """Return the colour of an interval: grey if it contains `no_effect`; else blue for better, orange for worse.

    Parameters
    ----------
    outcome : str
        One of `compare.OUTCOMES`, or another quantity. If neither direction is better, black replaces blue and orange.
    low, high : float
        The ends of the interval; NaN if there is none.
    no_effect : float
    """
    if not (low > no_effect or high < no_effect):
        return NEUTRAL
    if outcome not in (*_HIGHER_IS_BETTER, *_LOWER_IS_BETTER):
        return DIFFERENT
    return BELOW if (low > no_effect) == (outcome in _HIGHER_IS_BETTER) else ABOVE


def _draw(frame: pd.DataFrame, headings: Sequence[str], names: Sequence[str], title: str, note: str) -> Figure:
    """Draw a panel for each outcome. Consecutive equal headings are written once, above their rows."""
    starts = [index for index, heading in enumerate(headings) if index == 0 or heading != headings[index - 1]]
    heights = np.arange(len(names)) + np.searchsorted(starts, np.arange(len(names)), side="right")
    labels = np.full(heights[-1] + 1, "", dtype=object)
    labels[heights], labels[heights[starts] - 1] = names, [headings[index] for index in starts]
    by_outcome = dict(list(frame.groupby("outcome")))
    panels = [
        Panel(
            partial(_draw_forest, labels=labels.tolist(), headings=headings),
            pd.DataFrame([_interval(row) for row in by_outcome[outcome].to_dict("records")]).assign(place=heights),
            TITLES[outcome].replace(" beyond ", "\nbeyond "),
        )
        for outcome in _outcomes(frame)
    ]
    size = _PANEL_WIDTH, _ROW_HEIGHT * len(labels) + 0.6
    return draw(panels, size=size, title=title, note=note, sharey=True)


def _draw_forest(axes: Axes, rows: pd.DataFrame, labels: Sequence[str], headings: Sequence[str]) -> None:
    intervals(axes, rows, limits=interval_limits(rows, 0))
    name_rows(axes, labels, size=8, bold=headings)


def _with_few_levels(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep a few evenly spaced levels of iterative pruning, and replace the ratios of an iteration by their median."""
    if ITERATION not in frame or frame[ITERATION].isna().all():
        return frame
    iteration = pd.to_numeric(frame[ITERATION], errors="coerce")
    all_levels = np.sort(iteration.dropna().unique())
    levels = all_levels[np.unique(np.linspace(0, len(all_levels) - 1, _MOST_LEVELS).round().astype(int))]
    ratio = frame.groupby(iteration)[schema.RATIO].transform("median").fillna(frame[schema.RATIO])
    return frame.assign(**{schema.RATIO: ratio})[iteration.isna() | iteration.isin(levels)]


def _outcomes(frame: pd.DataFrame) -> list[str]:
    requested = {*_SHOWN, *frame.loc[frame["primary"], "outcome"]}
    # If all networks are at chance, the panels show that.
    available = set(frame.loc[frame["difference"].notna(), "outcome"]) or requested
    return [outcome for outcome in methods.OUTCOMES if outcome in requested & available]


def _names(rows: pd.DataFrame) -> list[str]:
    """Return the names of the methods, each with its baseline if the comparison is `OTHER`."""
    if rows["comparison"].iloc[0] == methods.OTHER:
        return list(_against(rows))
    return list(rows["method"].map(name_in_picture))


def _against(rows: pd.DataFrame) -> pd.Series:
    """Return the names of each method and its baseline, joined by a minus sign."""
    return rows["method"].map(name_in_picture) + " − " + rows["baseline"].map(name_in_picture)


def _interval(row: Mapping[str, Any]) -> dict[str, Any]:
    value, low, high = (scale(row["outcome"]) * row[f"difference{end}"] for end in ("", "_low", "_high"))
    words = "n/a"
    if at_chance(row):
        value, words = np.nan, f"{row['n_at_chance']} of {row['n'] + row['n_at_chance']} at chance"
    color = color_of(row["outcome"], low, high)
    look = {"color": color, "face": color if row["p_holm"] < LEVEL else "white", "mark": "D" if row["primary"] else "o"}
    return {"value": value, "low": low, "high": high, **look, "words": words}
