"""Which classes pruning cost, from predictions alone: no tracking server and no training is needed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import ABOVE, BELOW, DPI, NEUTRAL
from analysis.formats import decimals, markdown_table, p_value, with_interval
from analysis.runs import csv_text, files, prediction_files
from analysis.runs.errors import StudyError
from analysis.runs.input_files import SizeLimit
from analysis.runs.markdown_text import markdown_line
from analysis.runs.picture_text import name_in_picture
from analysis.runs.printable import printable
from analysis.statistics import class_losses
from analysis.statistics.hypothesis_tests import (
    LEVEL,
    MARGIN,
    change_interval,
    corrected,
    exact_mcnemar,
    wilson_interval,
)
from analysis.statistics.intensification import (
    alpha,
    at_chance,
    raw_slope,
    recall_balance,
    spread_ratio,
    unbalanced,
    weighted_alpha,
)
from analysis.statistics.new_images import alpha_new_from_predictions, pooled_slope, slope_parts
from analysis.statistics.resampling import Interval, mean_interval

MOST_DRAWN = 100
MOST_SHOWN = 25


class Slopes(NamedTuple):
    """Slopes of the pairs of a network before and after; NaN where they are undefined or not asked for.

    Attributes
    ----------
    n : int
        Pairs whose alpha is defined and in which no network guesses. All else is about these pairs.
    at_chance : int
        Pairs that are left out because a network guesses.
    alpha, low, high : float
        Mean of alpha, and its interval over networks.
    raw_slope, raw_slope_low, raw_slope_high : float
        Mean of `raw_slope`, and its interval over networks.
    weighted : float
        Mean of `weighted_alpha`, if classes differ in size.
    spread_ratio, raw_spread_ratio : float
        Means of `spread_ratio`, of balances that are divided by the accuracy and of those that are not.
    new, raw_new : Interval, optional
        Alpha and raw slope for new images and, with several pairs, new networks.
    unchanged : bool
        Whether an equivalence test shows the raw slope on new images to be within `MARGIN` of 1.
    """

    n: int
    at_chance: int = 0
    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    raw_slope: float = np.nan
    raw_slope_low: float = np.nan
    raw_slope_high: float = np.nan
    weighted: float = np.nan
    spread_ratio: float = np.nan
    raw_spread_ratio: float = np.nan
    new: Interval | None = None
    raw_new: Interval | None = None
    unchanged: bool = False


class Audit(NamedTuple):
    """What pruning did to each class.

    Attributes
    ----------
    classes : DataFrame, the class that lost most first
        class, support; recall_before, recall_after, change, and excess (change of recall minus change of accuracy),
        each with the ends of its interval (`_low`, `_high`); p, p_holm, damaged.
    accuracy_before, accuracy_after : float
    slopes : Slopes
    notes : list of str
        Sentences on what was compared, what was left out and what cannot be said.
    """

    classes: pd.DataFrame
    accuracy_before: float
    accuracy_after: float
    slopes: Slopes
    notes: list[str]

    @property
    def damaged(self) -> bool:
        """Whether pruning cost any class recall."""
        return bool(self.classes["damaged"].any())

    @property
    def verdict(self) -> str:
        """What pruning cost, in one sentence."""
        return (
            f"{_losses(self.classes)}; accuracy went from {self.accuracy_before:.3f} to {self.accuracy_after:.3f}; "
            f"{_meaning(self.slopes)}."
        )


def audit(before: Sequence[str], after: Sequence[str], *, max_data_gib: float = 1.0) -> Audit:
    """Compare files of predictions before and after pruning.

    Parameters
    ----------
    before, after : sequence of str
        Paths or globs, a file for each seed: .npz with arrays `label` and `predicted`, or CSV with columns of these
        names. Equal numbers of files before and after are paired in the order given; a glob's files are sorted by name.
    max_data_gib : float
        Most memory, in GiB, that the classes in one file may take.

    Raises
    ------
    StudyError
        If a file is missing, given twice, damaged or too large, or does not hold the same images as the first one; and
        as `from_predictions` says.
    """
    files = prediction_files.find(before, "--before"), prediction_files.find(after, "--after")
    limit = SizeLimit(max_data_gib, "--max-data-gib")
    label, predicted = prediction_files.read([*files[0], *files[1]], limit)
    result = from_predictions(label, predicted[: len(files[0])], predicted[len(files[0]) :])
    names = [_some(map(str, side)) for side in files]
    return result._replace(notes=[f"Before: {names[0]}. After: {names[1]}.", *result.notes])


def from_predictions(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> Audit:
    """Compare predictions before and after pruning.

    With one network before and one after, recalls have Wilson's intervals, their changes Tango's, and p is McNemar's
    exact one. With several networks, intervals and p are over networks and images (`two_way.half_width`). They cover at
    least as often as stated, for any number of networks.

    Parameters
    ----------
    label : (images,), text or integers
        True class of each image.
    before, after : (seeds, images)
        Predicted classes. Equal numbers of networks before and after are taken as pairs. A single network before is
        compared with all after. With other numbers the networks are independent, and alpha is undefined.

    Returns
    -------
    Audit

    Raises
    ------
    StudyError
        If none of the predictions before, or none after, is one of the labels' classes.
    """
    names, index = np.unique(label, return_inverse=True)
    notes = _notes_on_predictions(names, before, after)
    right = before == label, after == label
    slopes = _slopes(index, *right, notes)
    return Audit(_class_table(names, index, *right), float(right[0].mean()), float(right[1].mean()), slopes, notes)


def _notes_on_predictions(names: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[str]:
    untested = np.setdiff1d(np.append(before, after), names)
    for predicted in (before, after):
        if not np.isin(predicted, names).any():
            raise StudyError(
                f"no prediction is a class of the labels (labels: {_some(map(str, names))}; predicted: "
                f"{_some(map(str, untested))}): write labels and predictions alike"
            )
    notes = []
    if len(untested):
        notes.append(f"Predicted but without a test image, so never right: {_some(map(str, untested))}.")
    if len(before) != len(after):
        kind = "the one before is taken for that of all after" if len(before) == 1 else "taken as independent"
        notes.append(f"Networks: {len(before)} before, {len(after)} after; {kind}.")
    return notes


def _class_table(names: np.ndarray, index: np.ndarray, before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    """Return `Audit.classes`.

    Parameters
    ----------
    names : (classes,)
    index : (images,), integers
        Class of each image.
    before, after : (seeds, images), bool
        Whether each network is right about each image.
    """
    classes = pd.DataFrame({"class": list(map(str, names)), "support": np.bincount(index)})
    classes = classes.assign(**_measured(index, before, after))
    classes["p_holm"] = corrected(classes["p"], len(classes))[1]
    classes["damaged"] = (classes["p_holm"] <= LEVEL) & (classes["change"] < 0)
    return classes.sort_values(["change", "p"], kind="stable", ignore_index=True)


def _measured(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Return the measured columns of `_class_table`, in the order of the classes."""
    support = np.bincount(index)
    changes = class_losses.from_predictions(index, before, after, paired=len(before) == len(after))
    each_class = np.eye(len(support))
    change = class_losses.estimates(changes, each_class)
    recalls = [
        class_losses.estimates(class_losses.from_answers(index, [right.astype(float)]), each_class)
        for right in (before, after)
    ]
    excess = class_losses.estimates(changes, class_losses.excess_weights(support / len(index)))
    if len(before) == len(after) == 1:
        *bounds, p = _bounds_of_one_network(index, before[0], after[0])
    else:
        bounds = [
            np.clip([found["low"], found["high"]], least, 1)
            for found, least in zip((*recalls, change), (0, 0, -1), strict=True)
        ]
        for side, right in zip(bounds, (before, after), strict=False):
            _widen_recall(side, index, right)
        _widen_change(bounds[2], index, before, after)
        p = _at_least_exact(change["p"], index, before, after)
    excess_bounds = np.array([excess["low"], excess["high"]])
    # Without any variance, as where no image changed at all, the excess is known as well as the change.
    known = bounds[2] - change["value"] + excess["value"]
    return {
        **_columns("recall_before", recalls[0]["value"], bounds[0]),
        **_columns("recall_after", recalls[1]["value"], bounds[1]),
        **_columns("change", change["value"], bounds[2]),
        **_columns("excess", excess["value"], np.where(np.isnan(excess_bounds), known, excess_bounds)),
        "p": p,
    }


def _bounds_of_one_network(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Return the bounds, (2, classes), of recall before, recall after and their change, and p, (classes,)."""
    sides = before, after, before & ~after, after & ~before
    counts = np.array([np.bincount(index, side) for side in (*sides, np.ones(len(index)))]).astype(int)
    *right, lost, won, support = counts
    return [
        *(np.array(wilson_interval(images, support)) for images in right),
        np.array([change_interval(*images) for images in counts[2:].T.tolist()]).T,
        np.array([exact_mcnemar(*images) for images in zip(lost.tolist(), won.tolist(), strict=True)]),
    ]


def _columns(name: str, value: np.ndarray, bounds: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def _at_least_exact(p: np.ndarray, index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return p, at least that of an exact test in which all changed images of a class change in the same direction."""
    return np.fmax(p, np.minimum(2.0 ** (1 - _changed_images(index, before, after)), 1))


def _widen_recall(bounds: np.ndarray, index: np.ndarray, right: np.ndarray) -> None:
    """Put Wilson's interval of one network into bounds, (2, classes), where all networks answer all images alike."""
    support = np.bincount(index)
    answers = np.bincount(index, right.mean(0))
    alike = (answers == 0) | (answers == support)
    bounds[:, alike] = np.array(wilson_interval(answers, support))[:, alike]


def _widen_change(bounds: np.ndarray, index: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    """Put Tango's interval of one network into bounds, (2, classes), where no image of a class changed."""
    unchanged = _changed_images(index, before, after) == 0
    for place in np.flatnonzero(unchanged):
        bounds[:, place] = change_interval(0, 0, int(np.sum(index == place)))


def _changed_images(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.bincount(index, before.mean(0) != after.mean(0))


def _recalls(index: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the recall of each class, (seeds, classes), from whether each image is right, (seeds, images)."""
    return np.array([np.bincount(index, network) for network in right]) / np.bincount(index)


def _slopes(index: np.ndarray, before: np.ndarray, after: np.ndarray, notes: list[str]) -> Slopes:
    """Return alpha of the pairs of networks; `notes` gets a sentence on those that have none."""
    if len(before) == 1:
        before = np.repeat(before, len(after), axis=0)
    if len(before) != len(after):
        notes.append("Alpha is n/a: it is of a network before and the same network after.")
        return Slopes(0)
    support = np.bincount(index)
    defined = np.isfinite(alpha(*_balances(index, before, after)))
    if not defined.all():
        notes.append(
            f"Alpha is n/a for {(~defined).sum()} of {len(defined)} pairs of networks: all classes are equally right "
            "before, or nothing is right."
        )
    guesses = at_chance([right.mean(1) for right in (before, after)], len(support), support).any(axis=0) & defined
    kept = defined & ~guesses
    if not kept.any():
        return Slopes(0, at_chance=int(guesses.sum()))
    return _mean_slopes(index, before[kept], after[kept])._replace(at_chance=int(guesses.sum()))


def _mean_slopes(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> Slopes:
    support = np.bincount(index)
    b, b_t = _balances(index, before, after)
    alphas = alpha(b, b_t)
    low, high = mean_interval(alphas, 1 - LEVEL)
    recalls = _recalls(index, before), _recalls(index, after)
    raw_slopes = raw_slope(*recalls, before.mean(1), after.mean(1))
    accuracies = [right.mean(1, keepdims=True) for right in (before, after)]
    raw_low, raw_high = mean_interval(raw_slopes, 1 - LEVEL)
    raw_new = pooled_slope(slope_parts(index, before, after, raw=True))
    # Two one-sided tests at LEVEL are an interval at 1 - 2 LEVEL.
    narrower = raw_new.interval(1 - 2 * LEVEL)
    return Slopes(
        n=len(alphas),
        alpha=float(alphas.mean()),
        low=low,
        high=high,
        raw_slope=float(raw_slopes.mean()),
        raw_slope_low=raw_low,
        raw_slope_high=raw_high,
        weighted=float(weighted_alpha(b, b_t, support).mean()) if unbalanced(support) else np.nan,
        spread_ratio=float(spread_ratio(b, b_t).mean()),
        raw_spread_ratio=float(spread_ratio(b * accuracies[0], b_t * accuracies[1]).mean()),
        new=alpha_new_from_predictions(index, before, after, confidence=1 - LEVEL),
        raw_new=raw_new.interval(1 - LEVEL),
        unchanged=bool(narrower.identified and narrower.low > 1 - MARGIN and narrower.high < 1 + MARGIN),
    )


def _balances(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    return [recall_balance(_recalls(index, right), right.mean(1)) for right in (before, after)]


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# Output: words and files.


def _losses(classes: pd.DataFrame) -> str:
    lost = classes[classes["damaged"]]
    if lost.empty:
        worst = classes.loc[classes["change_low"].idxmin()]
        return (
            f"Pruning cost none of {len(classes)} classes recall that {classes['support'].sum():,} images can show "
            f"(not excluded: {max(-worst['change_low'], 0):.3f} of {worst['class']})"
        )
    named = _some(f"{row['class']} {_with_interval(row, 'change')}" for _, row in lost.iterrows())
    return f"Pruning cost {len(lost)} of {len(classes)} classes recall: {named}"


def _meaning(slopes: Slopes) -> str:
    """Say what happened to the differences between classes, by the raw slope, and what alpha is."""
    if slopes.at_chance and not slopes.n:
        return "nothing can be said of the differences between classes, since every network guesses"
    if slopes.new is None or slopes.raw_new is None:
        return "alpha is n/a"
    write = decimals(2)
    alphas = f"alpha is {with_interval(slopes.alpha, slopes.low, slopes.high, write)}"
    if np.isfinite(slopes.weighted):
        alphas += f", {slopes.weighted:.2f} with classes weighted by their images"
    if not slopes.raw_new.identified:
        return (
            f"{alphas}, and nothing can be said of new images: the classes differ too little for so few images and "
            "networks"
        )
    raw = with_interval(slopes.raw_new.estimate, slopes.raw_new.low, slopes.raw_new.high, write)
    new = with_interval(slopes.new.estimate, slopes.new.low, slopes.new.high, write)
    left_out = f"; left out, since a network guesses: {slopes.at_chance} of {slopes.at_chance + slopes.n} pairs"
    return (
        f"the differences between classes {_direction(slopes, slopes.raw_new)} (raw slope on new images {raw}); "
        f"{alphas}, and on new images {new}{left_out if slopes.at_chance else ''}"
    )


def _direction(slopes: Slopes, raw: Interval) -> str:
    if slopes.unchanged:
        return f"are the same within {MARGIN:g}"
    if raw.low > 1:
        return "grew"
    if raw.high < 1:
        return "shrank" if slopes.raw_spread_ratio < 1 else "moved to other classes"
    return "may be as they were"


def _with_interval(row: pd.Series, name: str) -> str:
    write = decimals(3, sign=not name.startswith("recall"))
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], write)


def shown(result: Audit) -> pd.DataFrame:
    """Return the classes as text, a column for each quantity with its interval."""
    classes = result.classes
    intervals = {"before": "recall_before", "after": "recall_after", "change": "change", "excess": "excess"}
    cells = {title: [_with_interval(row, name) for _, row in classes.iterrows()] for title, name in intervals.items()}
    return pd.DataFrame(
        {
            "class": classes["class"],
            "images": classes["support"],
            **cells,
            "p (Holm)": classes["p_holm"].map(p_value),
            "lost": np.where(classes["damaged"], "yes", ""),
        }
    )


def summary(result: Audit) -> str:
    """Return the verdict, the classes that lost most, and the notes, for a terminal."""
    table = shown(result)
    table["class"] = table["class"].map(printable)
    left = len(table) - MOST_SHOWN
    more = [f"and {left:,} more classes in audit.csv"] if left > 0 else []
    with pd.option_context("display.unicode.east_asian_width", True):
        text = table.head(MOST_SHOWN).to_string(index=False)
    return "\n".join([printable(result.verdict), "", text, *more, "", *map(printable, result.notes)])


def figure(result: Audit) -> Figure:
    """Draw the change of recall of each class with its interval, of at most `MOST_DRAWN` classes."""
    classes = result.classes.head(MOST_DRAWN)
    picture = Figure((8, max(3, 0.17 * len(classes) + 1.8)), dpi=DPI, layout="constrained")
    axes = picture.subplots()
    _draw_changes(axes, classes[~classes["damaged"]], fmt="o", color=BELOW, label="no loss shown")
    lost = classes[classes["damaged"]]
    _draw_changes(axes, lost, fmt="D", color=ABOVE, label="lost recall (Holm-corrected p ≤ .05)")
    axes.axvline(0, color="black", linewidth=1)
    accuracy = result.accuracy_after - result.accuracy_before
    axes.axvline(accuracy, color=NEUTRAL, linestyle="--", linewidth=1, label=f"change of accuracy, {accuracy:+.3f}")
    names = classes["class"].map(name_in_picture)
    axes.set_yticks(range(len(classes)), names, fontsize=9 if len(classes) <= 30 else 6, parse_math=False)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    which = "each class" if len(result.classes) <= MOST_DRAWN else f"the worst {MOST_DRAWN} classes"
    images = f"{result.classes['support'].sum():,} images"
    axes.set(xlabel="recall after minus recall before, with 95 % interval", title=f"What {which} lost, {images}")
    axes.grid(axis="x", alpha=0.3)
    picture.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return picture


def _draw_changes(axes: Axes, classes: pd.DataFrame, **look: Any) -> None:
    if len(classes):
        errors = np.abs(classes[["change_low", "change_high"]].to_numpy().T - classes["change"].to_numpy())
        axes.errorbar(classes["change"], classes.index, xerr=errors, markersize=4, **look)


def write(result: Audit, output: Path) -> None:
    """Write audit.csv, audit.md and audit.png into a folder.

    All files are first written to a scratch folder and then moved, so that `output` never holds half an audit.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        csv_text.write(result.classes, folder / "audit.csv")
        (folder / "audit.md").write_text(_markdown(result), encoding="utf-8")
        figure(result).savefig(folder / "audit.png")


def _markdown(result: Audit) -> str:
    picture = "![Change of recall of each class](audit.png)"
    table = markdown_table(shown(result))
    notes = map(markdown_line, result.notes)
    parts = ["# Audit", f"**{markdown_line(result.verdict)}**", picture, table, *notes, _READING]
    return "\n\n".join(parts) + "\n"


_READING = (
    "Change is recall after minus recall before; excess is what remains of it when the change of accuracy is taken "
    "off. Intervals are of 95 %, each class for itself. A class lost recall where its change is below 0 and its p, "
    "corrected for all classes (Holm), at most .05. For one network before and after, intervals of recall are "
    "Wilson's, those of its change Tango's, and p is that of McNemar's exact test. For several networks, intervals and "
    "p are over networks and images; they cover at least as often as stated. The raw slope says what became of the "
    "differences between recalls: above 1 they grew, below 1 they shrank. Alpha is the raw slope times accuracy "
    "before over accuracy after, so that it rises whenever accuracy falls. The interval beside alpha is over networks, "
    "on these images. Where classes differ in size by more than 1 %, alpha with classes weighted by their images "
    "stands beside it. Pairs in which a network guesses are left out of every slope."
)
