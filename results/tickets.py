"""Lottery tickets by level, compared with a control: lottery-tickets/ and lottery-dip/."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import ABOVE, BELOW, DIFFERENT, NEUTRAL, Panel, cell_costs, draw, intervals, lines, published
from outcomes import class_costs
from published import Study, compare
from scipy import stats

_LEVELS = 20
_COLORS = {"control": NEUTRAL, "MP": ABOVE, "UP": DIFFERENT}


def simultaneous(study: Study) -> pd.DataFrame:
    """Return the differences between methods at each level, with intervals that hold together over the 20 levels.

    Returns
    -------
    DataFrame
        quantity, dataset, level, of, estimate, low, high, p (Bonferroni-corrected for the levels) and n.
    """
    slopes = ["alpha", "raw_slope", "alpha_without", "raw_slope_without"]
    of_pairs = {("MP", "control"): slopes, ("UP", "MP"): ["alpha", "accuracy"]}
    rows = pd.DataFrame(
        row
        for pair, outcomes in of_pairs.items()
        for row in compare(study, {"axis": "method", "pairs": [pair], "by": ["dataset", "level"], "outcomes": outcomes})
    )
    alone, together = (stats.t.ppf(1 - 0.025 / tests, rows["n"] - 1) for tests in (1, _LEVELS))
    half = (rows["high"] - rows["estimate"]) * together / alone
    ends = {"low": rows["estimate"] - half, "high": rows["estimate"] + half}
    return rows.assign(p=(_LEVELS * rows["p"]).clip(upper=1), **ends)


def classes(study: Study) -> pd.DataFrame:
    """Return what lottery tickets lose of each class compared with the control, as the mean over levels.

    Returns
    -------
    DataFrame
        As `outcomes.class_costs` returns it.
    """
    arrays, right = study.arrays, []
    for rows in map(arrays.with_control, arrays.cells):
        if len(rows):
            costs, has = cell_costs(arrays, rows, study.predictions)
            assert costs
            assert costs.own.label is not None
            assert costs.own.right
            label, names = costs.own.label, arrays.names[has]
            right.append(costs.own.right)
    controls, tickets = np.mean(right, axis=0)
    return class_costs(label, controls, tickets, names)


def draw_levels(study: Study) -> Figure:
    """Draw alpha at each level of each data set, the paper's alpha, and MP minus the control in alpha and raw slope."""
    numbers = pd.read_csv(study.folder / "numbers.csv")
    ticks = {level: str(level) for level in range(0, _LEVELS + 1, 5)}
    panels = []
    for dataset, own in numbers.groupby("dataset", sort=False):
        panels.append(Panel(_draw_alpha, own, "alpha", "level", DATASETS[dataset]))
        panels += _differences(own, {"alpha_simultaneous": "alpha", "raw_slope_simultaneous": "raw slope"}, ticks)
    return draw(
        panels,
        3,
        size=(3.7, 2.7),
        title="Heavy pruning of lottery tickets widens the gaps between classes beyond those of a control",
        note="Left: means. Middle and right: 95 % intervals that hold together over the levels; orange where above 0. "
        "Scales differ.",
        sharex=True,
    )


def draw_dip(study: Study) -> Figure:
    """Draw alpha and the odds ratio at each level, and MP minus the control in alpha with and without Shirt."""
    numbers = pd.read_csv(study.folder / "numbers.csv")
    titles = {"alpha": "alpha", "alpha_without": "alpha without Shirt"}
    differences = _differences(numbers, titles, {1: "1", 2: "2", 3: "3", 4: "4", 5: "mean"})
    return draw(
        [Panel(_draw_means, numbers, "alpha and odds ratio of the error", "level"), *differences],
        3,
        size=(3.7, 2.7),
        title="Light pruning of lottery tickets lowers alpha below that of the control, chiefly because Shirt improves",
        note="Left: means; dashed: what the accuracy alone predicts. Middle and right: 95 % intervals.",
    )


def _differences(numbers: pd.DataFrame, titles: Mapping[str, str], ticks: Mapping[int, str]) -> list[Panel]:
    rows = numbers[numbers["of"].eq("MP minus control")]
    drawn = partial(_draw_differences, ticks=ticks)
    return [
        Panel(drawn, rows[rows["quantity"].eq(quantity)], f"{title}, MP minus control", "level")
        for quantity, title in titles.items()
    ]


def _draw_alpha(axes: Axes, numbers: pd.DataFrame) -> None:
    name = "the paper (ResNet-56, CIFAR-10)"
    printed = published.table(12).apply(pd.to_numeric).assign(name=name)
    lines(axes, numbers[numbers["quantity"].eq("alpha")], "level", "estimate", by="method", colors=_COLORS)
    lines(axes, printed, "Level", "Intensification", by="name", colors={name: "black"}, linestyle=":")
    axes.axhline(1, color=NEUTRAL, linewidth=0.8)


def _draw_means(axes: Axes, numbers: pd.DataFrame) -> None:
    means = numbers[numbers["method"].notna()]
    lines(axes, means[means["quantity"].eq("alpha")], "level", "estimate", by="method", colors=_COLORS)
    predicted = means[means["quantity"].eq("odds_ratio")].assign(name="odds ratio, " + means["method"])
    colors = {f"odds ratio, {name}": color for name, color in _COLORS.items()}
    lines(axes, predicted, "level", "estimate", by="name", colors=colors, linestyle="--")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(sorted(means["level"].unique()))


def _draw_differences(axes: Axes, rows: pd.DataFrame, ticks: Mapping[int, str]) -> None:
    color = np.select([rows["low"] > 0, rows["high"] < 0], [ABOVE, BELOW], NEUTRAL)
    places = range(1, len(rows) + 1)
    intervals(axes, rows.assign(value=rows["estimate"], place=places, color=color), upright=True)
    axes.set_xticks([*ticks], [*ticks.values()])
