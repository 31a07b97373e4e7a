"""Draw figures of a search for epsilon."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure

from analysis.rendering.drawing import BELOW, NEUTRAL, axis_limits
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import SHADES, color_bar, mark_beyond
from analysis.runs.tunings import LAMBDA, Tuning

_WON = "#009e73"
_SHAPES = "osD^vPX"
_ANCHORS = {
    LAMBDA: "#e69f00",
    "MP": "#cc79a7",
    "GP": "#56b4e9",
    f"{LAMBDA} cubic": "#8a5f00",
    "MP cubic": "#7d3c60",
    "GP cubic": "#1f6a94",
}
_ENDS = {"MP", "GP", "MP cubic", "GP cubic"}  # anchors whose epsilons lie beyond the range that is searched
_SCHEDULES = {
    "ramp": "ramp: share of the fine-tuning (0: one shot)",
    "distill": "weight of distillation (0: labels only)",
}
_STRENGTH = {"strength": "strength of the mitigation: value of its option"}
_LABELS = {"accuracy": "mean validation accuracy", "distortion": "distortion (0: none)"}
_CHANGES = _LABELS | {"accuracy": "accuracy minus that with lambda, points"}
_PANELS = {
    "accuracy": ["accuracy", "distortion"],
    "alpha": ["distortion", "accuracy"],
    "both": ["accuracy", "distortion"],
}
_MARKS = "Hollow: stopped after some dense models; pale: accuracy more than a point below that of the best anchor. "
_ERRORS = "Bars: one standard error over the dense models (jackknife). "
_NOTE = (
    f"{_ERRORS}Small dots: single dense models. {_MARKS}Accuracy: in points, minus that with the anchor lambda "
    "(epsilon is the weight decay) on the same dense models. Distortion: max(alpha on new images - 1, 0) + max(1 - r, "
    "0), where r is the correlation of the classes' balances before and after pruning."
)
_BEYOND = 1.2  # decades between the range that is searched and an anchor beyond it, as drawn


def figures(result: Tuning) -> dict[str, Figure]:
    """Draw the figures for which a search has data, by file name without ending."""
    drawn = {"epsilon": epsilon(result)}
    if result.trials[list(_SCHEDULES)].nunique().gt(1).any():
        drawn["schedule"] = against(result, _SCHEDULES, "schedule and distillation do")
    if result.trials["strength"].nunique() > 1:
        drawn["mitigation"] = against(result, _STRENGTH, "the strength of the mitigation does")
    if result.objective == "both":
        drawn["pareto_front"] = pareto_front(result)
    return drawn


def epsilon(result: Tuning) -> Figure:
    """Draw accuracy and distortion on validation images against epsilon, with their uncertainty over dense models.

    The accuracy is drawn relative to that of the anchor lambda on the same dense models, so that the bars show the
    uncertainty of the difference and not the variation between dense models.
    """
    trials, names = _placed(result.trials), _PANELS[result.objective]
    across = "epsilon (at 0, UP is GP; at the largest, UP ranks weights as MP does)"
    panels = [Panel(partial(_draw_over_epsilon, name=name), trials, "", across, _CHANGES[name]) for name in names]
    title = f"What epsilon does on validation images: {result.name}"
    return _with_ramps(draw(panels, size=(8.4, 3.5), title=title, note=_NOTE, sharex=True), trials)


def against(result: Tuning, labels: Mapping[str, str], what: str) -> Figure:
    """Draw accuracy and distortion against some params as in `epsilon`, a column for each param with its label."""
    panels = [
        Panel(partial(_draw_panel, x=x, name=name), result.trials, "", label, _CHANGES[name])
        for name in _PANELS[result.objective]
        for x, label in labels.items()
    ]
    title = f"What {what} on validation images: {result.name}"
    figure = draw(panels, len(labels), size=(5.5, 3.5), title=title, note=_NOTE, sharex="col", sharey="row")
    return _with_ramps(figure, result.trials)


def pareto_front(result: Tuning) -> Figure:
    """Draw distortion against accuracy for each complete trial, and the Pareto front."""
    trials = result.trials[result.trials["complete"]]
    figure = draw(
        [Panel(_draw_front, trials, "", _LABELS["accuracy"], _LABELS["distortion"])],
        size=(8.4, 5.8),
        title=f"Accuracy against distortion on validation images: {result.name}",
        note=f"The Pareto front is that of the complete trials. {_ERRORS}{_MARKS}",
    )
    return _with_ramps(figure, trials)


def _draw_front(axes: Axes, trials: pd.DataFrame) -> None:
    front = trials[trials["front"]].sort_values("accuracy")
    axes.step(front["accuracy"], front["distortion"], where="pre", color=NEUTRAL, linewidth=1.2, label="Pareto front")
    _draw_errors(axes, trials, "accuracy", yerr="distortion")
    _draw_trials(axes, trials, "accuracy", "distortion", _with_errors(trials, "distortion"))
    axes.set_xlim(axis_limits(_with_errors(trials, "accuracy"), trials["accuracy"].max()))


# Positions of trials.


def _placed(trials: pd.DataFrame) -> pd.DataFrame:
    """Add the column place: log10 of epsilon, where anchors beyond the searched range are moved close to its ends."""
    inside = trials.loc[~trials["anchor"].isin(_ENDS), "epsilon"]
    low, high = np.log10([inside.min(), inside.max()])
    place = np.log10(trials["epsilon"].clip(lower=np.finfo(float).tiny))
    return trials.assign(place=place.clip(np.floor(low) - _BEYOND, np.ceil(high) + _BEYOND))


def _epsilon_axis(axes: Axes, trials: pd.DataFrame) -> None:
    low, high = trials["place"].min(), trials["place"].max()
    ends = {low: "0\n(GP)", high: f"$10^{{{np.log10(trials['epsilon'].max()):.0f}}}$\n(MP)"}
    decades = np.arange(np.ceil(low + 0.5), np.floor(high - 0.5) + 1, max(1, (high - low) // 12))
    labels = [f"$10^{{{decade:g}}}$" for decade in decades]
    axes.set_xticks([*ends, *decades], [*ends.values(), *labels])


def _seed_columns(trials: pd.DataFrame, name: str) -> list[str]:
    return [column for column in trials.columns if column.startswith(f"{name}/")]


def _with_errors(trials: pd.DataFrame, name: str) -> pd.Series:
    """Return the values minus one standard error, followed by the values plus one standard error."""
    errors = trials[f"{name}_error"].fillna(0)
    return pd.concat([trials[name] - errors, trials[name] + errors])


def _against_lambda(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with accuracies in points, minus those of anchor lambda at the same ratio and dense model."""
    columns = _seed_columns(trials, "accuracy")
    reference = trials[(trials["anchor"] == LAMBDA) & trials["complete"]].set_index("ratio")[columns]
    change = 100 * (trials[columns].to_numpy(float) - reference.loc[trials["ratio"]].to_numpy(float))
    frame = trials.assign(**dict(zip(columns, change.T, strict=True)))
    return frame.assign(accuracy=frame[columns].mean(axis=1), accuracy_error=frame[columns].sem(axis=1))


# Marks of trials.


def _draw_over_epsilon(axes: Axes, trials: pd.DataFrame, name: str) -> None:
    _draw_panel(axes, trials, "place", name)
    _epsilon_axis(axes, trials)


def _draw_panel(axes: Axes, trials: pd.DataFrame, x: str, name: str) -> None:
    drawn = _against_lambda(trials) if name == "accuracy" else trials
    for seed_column in _seed_columns(drawn, name):
        axes.scatter(drawn[x], drawn[seed_column], s=8, color=NEUTRAL, alpha=0.6, linewidth=0)
    _draw_errors(axes, drawn, x, yerr=name)
    _draw_trials(axes, drawn, x, name, _with_errors(drawn, name))


def _draw_trials(axes: Axes, trials: pd.DataFrame, x: str, y: str, held: pd.Series) -> None:
    """Draw the trials: winner and anchors in colours, others by their state, values off the axis at its edge.

    `held` has the values that the axis should include, except for a long tail.
    """
    low, high = axis_limits(held.dropna(), trials.loc[trials["winner"], y].iloc[0])
    ramps_differ = _has_ramps(trials)
    for index, (ratio, same_ratio) in enumerate(trials.groupby("ratio")):
        shape = _SHAPES[index % len(_SHAPES)]
        plain = same_ratio[same_ratio["anchor"] == ""]
        colors = SHADES(plain["ramp"]) if ramps_differ else np.tile(to_rgba(BELOW), (len(plain), 1))
        _draw_plain(axes, plain, x, y, marker=shape, colors=colors, label=f"ratio {ratio:g}")
        for anchor, same_anchor in same_ratio[same_ratio["anchor"] != ""].groupby("anchor", sort=False):
            label, color = anchor if index == 0 else "", _ANCHORS[anchor]
            across, up = same_anchor[[x, y]].to_numpy().T
            axes.scatter(across, up, s=110, marker=shape, facecolor=color, edgecolor="black", label=label, zorder=4)
    won = trials[trials["winner"]]
    axes.scatter(won[x], won[y], s=100, marker="*", color=_WON, edgecolor="black", zorder=5, label="winner")
    axes.set_ylim(low, high)
    colors = trials["anchor"].map(_ANCHORS).fillna(BELOW)
    mark_beyond(axes, pd.DataFrame({"place": trials[x], "value": trials[y], "color": colors}))
    axes.grid(alpha=0.3)


def _draw_plain(
    axes: Axes, trials: pd.DataFrame, x: str, y: str, *, marker: str, colors: np.ndarray, label: str
) -> None:
    """Draw trials other than anchors: filled if they may win, pale if they may not, hollow if they were stopped."""
    eligible, complete = trials["eligible"], trials["complete"]
    for which, faces, in_legend in (
        (eligible, colors, label),
        (complete & ~eligible, 0.44 * colors + 0.56, ""),
        (~complete, np.zeros_like(colors), ""),
    ):
        across, up = trials.loc[which, [x, y]].to_numpy().T
        look = {"facecolor": faces[which], "edgecolor": colors[which]}
        axes.scatter(across, up, s=30, marker=marker, label=in_legend, zorder=3, **look)


def _draw_errors(axes: Axes, trials: pd.DataFrame, x: str, *, yerr: str) -> None:
    errors = {"yerr": trials[f"{yerr}_error"].fillna(0)}
    if f"{x}_error" in trials:
        errors["xerr"] = trials[f"{x}_error"].fillna(0)
    axes.errorbar(trials[x], trials[yerr], **errors, fmt="none", color=BELOW, alpha=0.5, linewidth=1)


def _has_ramps(trials: pd.DataFrame) -> bool:
    return trials["ramp"].nunique() > 1


def _with_ramps(figure: Figure, trials: pd.DataFrame) -> Figure:
    """Add a colour bar if the trials' ramps differ, since their colours then show the ramp."""
    if _has_ramps(trials):
        color_bar(figure.axes[-1], ScalarMappable(Normalize(0, 1), SHADES), "ramp of a trial (0: one shot)")
    return figure
