"""Which classes pruning cost, from predictions alone: no tracking server and no training is needed."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.drawing import ABOVE, BELOW, DPI, NEUTRAL
from analysis.formats import decimals, markdown_table, p_value, with_interval
from analysis.runs import csv_text, files, prediction_files
from analysis.runs.errors import StudyError
from analysis.runs.input_files import SizeLimit
from analysis.runs.markdown_text import markdown_line
from analysis.runs.picture_text import name_in_picture
from analysis.runs.printable import printable
from analysis.statistics.hypothesis_tests import LEVEL, change_interval, corrected, exact_mcnemar, wilson_interval
from analysis.statistics.intensification import (
    alpha,
    alpha_new_from_predictions,
    at_chance,
    recall_balance,
    spread_ratio,
    unbalanced,
    weighted_alpha,
)
from analysis.statistics.resampling import RESAMPLES, Interval, bootstrap_interval, draws, image_draws, mean_interval

MOST_DRAWN = 100
MOST_SHOWN = 25


class Slopes(NamedTuple):
    """Alpha of the pairs of a network before and after; NaN where it is undefined or not asked for.

    Attributes
    ----------
    n : int
        Pairs whose alpha is defined. All else is about these pairs.
    at_chance : int
        Pairs in which a network guesses, so that alpha may be any number.
    alpha, low, high : float
        Mean of alpha, and its interval over seeds.
    weighted : float
        Mean of `weighted_alpha`, if classes differ in size.
    spread_ratio : float
        Mean of `spread_ratio`.
    new : Interval, optional
        alpha_new: alpha for new images and, with several pairs, new networks.
    """

    n: int
    at_chance: int = 0
    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    weighted: float = np.nan
    spread_ratio: float = np.nan
    new: Interval | None = None


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
    exact one. With several networks, intervals come from a two-way bootstrap of the seeds and of the images of each
    class, the same images for all networks, and p from a t-test with the variance of seeds and of images.

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
    share = np.bincount(index) / len(index)
    recalls = [_recalls(index, right).mean(0) for right in (before, after)]
    change = recalls[1] - recalls[0]
    drawn = _bootstrap(index, before, after)
    changes = drawn[1] - drawn[0]
    excess = changes - (changes @ share)[:, np.newaxis]
    if len(before) == len(after) == 1:
        *bounds, p = _bounds_of_one_network(index, before[0], after[0])
    else:
        bounds = [bootstrap_interval(values, 1 - LEVEL) for values in (*drawn, changes)]
        p = _t_test_p(index, before, after)
    return {
        **_columns("recall_before", recalls[0], bounds[0]),
        **_columns("recall_after", recalls[1], bounds[1]),
        **_columns("change", change, bounds[2]),
        **_columns("excess", change - change @ share, bootstrap_interval(excess, 1 - LEVEL)),
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


def _t_test_p(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the two-sided p, (classes,), of the change of mean recall, with seeds and images varying (Satterthwaite).

    A class's variance between seeds is raised to the mean over all classes if it is smaller, because two or three
    networks often agree by chance. p is at least that of an exact test in which all changed images change in the same
    direction.
    """
    support, changes = np.bincount(index), after.mean(0) - before.mean(0)
    change = np.bincount(index, changes) / support
    sides = [_recalls(index, right) for right in (before, after)]
    if len(before) == len(after):
        sides = [sides[1] - sides[0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (np.bincount(index, changes**2) / support - change**2) / (support - 1)
        spent = variance**2 / (support - 1)
        for recalls in (side for side in sides if len(side) > 1):
            own = recalls.var(0, ddof=1) / len(recalls)
            seed_variance = np.maximum(own, own.mean())
            variance = variance + seed_variance
            spent = spent + seed_variance**2 / np.where(own < own.mean(), recalls.size - len(own), len(recalls) - 1)
        p = 2 * stats.t.sf(np.abs(change) / np.sqrt(variance), variance**2 / spent)
    changed_images = np.bincount(index, changes != 0)
    return np.fmax(p, np.minimum(2.0 ** (1 - changed_images), 1))


def _recalls(index: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the recall of each class, (seeds, classes), from whether each image is right, (seeds, images)."""
    return np.array([np.bincount(index, network) for network in right]) / np.bincount(index)


def _bootstrap(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return mean recalls before and after, (2, RESAMPLES, classes), of resampled networks and images.

    Seeds, and the images of each class, are drawn with replacement: the same images for all networks, and the same
    seeds before and after if they are pairs.
    """
    rng = np.random.default_rng(0)
    support = np.bincount(index)
    sides = [[right[:, index == c].T.astype(np.float32) for c in range(len(support))] for right in (before, after)]
    recalls = []
    for weights in image_draws(rng, support, RESAMPLES):
        seeds = [draws(rng, len(weights[0]), len(right)) for right in (before, after)]
        if len(before) == len(after):
            seeds[1] = seeds[0]
        recalls.append(
            [
                np.stack([(w @ z * drawn).sum(1) / z.size for w, z in zip(weights, side, strict=True)], axis=-1)
                for side, drawn in zip(sides, seeds, strict=True)
            ]
        )
    return np.concatenate(recalls, axis=1)


def _slopes(index: np.ndarray, before: np.ndarray, after: np.ndarray, notes: list[str]) -> Slopes:
    """Return alpha of the pairs of networks; `notes` gets a sentence on those that have none."""
    if len(before) == 1:
        before = np.repeat(before, len(after), axis=0)
    if len(before) != len(after):
        notes.append("Alpha is n/a: it is of a network before and the same network after.")
        return Slopes(0)
    kept = np.isfinite(alpha(*_balances(index, before, after)))
    if not kept.all():
        notes.append(
            f"Alpha is n/a for {(~kept).sum()} of {len(kept)} pairs of networks: all classes are equally right before, "
            "or nothing is right."
        )
    return _mean_slopes(index, before[kept], after[kept]) if kept.any() else Slopes(0)


def _mean_slopes(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> Slopes:
    support = np.bincount(index)
    b, b_t = _balances(index, before, after)
    alphas = alpha(b, b_t)
    low, high = mean_interval(alphas, 1 - LEVEL)
    guesses = at_chance([right.mean(1) for right in (before, after)], len(support)).any(axis=0)
    return Slopes(
        n=len(alphas),
        at_chance=int(guesses.sum()),
        alpha=float(alphas.mean()),
        low=low,
        high=high,
        weighted=float(weighted_alpha(b, b_t, support).mean()) if unbalanced(support) else np.nan,
        spread_ratio=float(spread_ratio(b, b_t).mean()),
        new=alpha_new_from_predictions(index, before, after, confidence=1 - LEVEL),
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
    if slopes.new is None:
        return "alpha is n/a"
    if slopes.at_chance:
        who = "the network guesses" if slopes.n == 1 else f"{slopes.at_chance} of {slopes.n} networks guess"
        return f"alpha is meaningless, since {who} (accuracy below 1.5 / classes)"
    alphas = f"alpha is {with_interval(slopes.alpha, slopes.low, slopes.high, decimals(2))}"
    if np.isfinite(slopes.weighted):
        alphas += f", {slopes.weighted:.2f} with classes weighted by their images"
    if not slopes.new.identified:
        return f"{alphas}, and on new images it could be anything: the classes differ too little for so few images"
    new = with_interval(slopes.new.estimate, slopes.new.low, slopes.new.high, decimals(2))
    return f"{alphas}, and on new images {new}: the differences between classes {_direction(slopes, slopes.new)}"


def _direction(slopes: Slopes, new: Interval) -> str:
    if new.low > 1:
        return "grew"
    if new.high < 1:
        return "shrank" if slopes.alpha < 1 and slopes.spread_ratio < 1 else "moved to other classes"
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
    "corrected for all classes (Holm), at most .05. Of one network before and after: intervals of recall by Wilson, "
    "of its change by Tango, p by McNemar's exact test. Of several networks: intervals by a bootstrap of networks "
    "and images, p by a t-test that has the variance of both. Alpha above 1: the differences between classes grew by "
    "more than the accuracy explains; its own interval is over networks, on these images. Where classes differ in size "
    "by more than 1 %, alpha with classes weighted by their images stands beside it. Where a network guesses, alpha is "
    "any number."
)
