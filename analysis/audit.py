"""Which classes pruning cost, from predictions alone: no tracking server, no training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from analysis.formats import p_value
from analysis.runs import files, prediction_files
from analysis.runs.errors import StudyError
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

LOST, KEPT = "#d55e00", "#0072b2"
MOST_DRAWN = 100
MOST_SHOWN = 25


class Slopes(NamedTuple):
    """Alpha of the pairs of a network before and after; NaN where undefined or not asked for.

    Attributes
    ----------
    n : int
        Pairs whose alpha is defined; all else is of these.
    at_chance : int
        Pairs of which a network guesses, so that alpha is any number.
    alpha, low, high : float
        Mean, and its interval over seeds.
    weighted : float
        Mean of `weighted_alpha`, where classes differ in size.
    spread_ratio : float
        Mean of `spread_ratio`.
    new : Interval, optional
        alpha_new, for new images and, with several pairs, new networks.
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
        class, support, recall_before, recall_before_low, recall_before_high, the same of recall_after, of
        change and of excess (change of recall minus change of accuracy), p, p_holm, damaged.
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
        """One sentence."""
        return (
            f"{_losses(self.classes)}; accuracy went from {self.accuracy_before:.3f} to {self.accuracy_after:.3f}; "
            f"{_meaning(self.slopes)}."
        )


def audit(before: Sequence[str], after: Sequence[str]) -> Audit:
    """Compare files of predictions before and after pruning.

    Parameters
    ----------
    before, after : sequence of str
        Files or globs, a file for each seed: .npz with arrays `label` and `predicted`, or CSV with columns of
        these names. As many of both are pairs in the order given, those of a glob by name.

    Raises
    ------
    StudyError
        Where a file is missing, given twice or damaged, or does not hold the images of the first one; as
        `from_predictions`.
    """
    files = prediction_files.find(before, "--before"), prediction_files.find(after, "--after")
    label, predicted = prediction_files.read([*files[0], *files[1]])
    result = from_predictions(label, predicted[: len(files[0])], predicted[len(files[0]) :])
    names = [_some(map(str, side)) for side in files]
    return result._replace(notes=[f"Before: {names[0]}. After: {names[1]}.", *result.notes])


def from_predictions(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> Audit:
    """Compare predictions before and after pruning.

    One network before and one after: Wilson intervals of recalls, Tango's of their change, McNemar's exact
    test. Several: means over networks with a two-way bootstrap of seeds and of images within class, the same
    images for all networks; p of a t-test with the variance of seeds and of images.

    Parameters
    ----------
    label : (images,), text or numbers
        True class of each image; numbers are integers.
    before, after : (seeds, images)
        Predicted classes. As many of both are pairs; a single one before belongs to all after; other counts
        are independent networks, without alpha.

    Returns
    -------
    Audit

    Raises
    ------
    StudyError
        Where none of the predictions before or after is one of the labels' classes.
    """
    values, index = np.unique(label, return_inverse=True)
    untested = np.setdiff1d(np.append(before, after), values)
    for predicted in (before, after):
        if not np.isin(predicted, values).any():
            raise StudyError(
                f"no prediction is a class of the labels (labels: {_some(map(str, values))}; predicted: "
                f"{_some(map(str, untested))}): write labels and predictions alike"
            )
    notes = []
    if len(untested):
        notes.append(f"Predicted but without a test image, so never right: {_some(map(str, untested))}.")
    right = before == label, after == label
    if len(before) != len(after):
        kind = "the one before is taken for that of all after" if len(before) == 1 else "taken as independent"
        notes.append(f"Networks: {len(before)} before, {len(after)} after; {kind}.")
    slopes = _slopes(index, *right, notes)
    classes = pd.DataFrame({"class": list(map(str, values)), "support": np.bincount(index)})
    classes = classes.assign(**_measured(index, *right))
    classes["p_holm"] = corrected(classes["p"], len(classes))[1]
    classes["damaged"] = (classes["p_holm"] <= LEVEL) & (classes["change"] < 0)
    return Audit(
        classes.sort_values(["change", "p"], kind="stable", ignore_index=True),
        float(right[0].mean()),
        float(right[1].mean()),
        slopes,
        notes,
    )


def _measured(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of `Audit.classes`, in the order of the classes.

    Parameters
    ----------
    index : (images,), integers
    before, after : (seeds, images), bool
        Whether each network is right about each image.
    """
    share = np.bincount(index) / len(index)
    recalls = [_recalls(index, right).mean(0) for right in (before, after)]
    change = recalls[1] - recalls[0]
    drawn = _bootstrap(index, before, after)
    changes = drawn[1] - drawn[0]
    excess = changes - (changes @ share)[:, np.newaxis]
    if len(before) == len(after) == 1:
        *bounds, p = _of_one_network(index, before[0], after[0])
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


def _of_one_network(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    """Bounds, (2, classes), of recall before, after and their change; p."""
    sides = before, after, before & ~after, after & ~before
    counts = np.array([np.bincount(index, side) for side in (*sides, np.ones(len(index)))]).astype(int)
    *right, lost, won, support = counts
    return [
        *(np.array(wilson_interval(images, support)) for images in right),
        np.array([change_interval(*of_class) for of_class in counts[2:].T.tolist()]).T,
        np.array([exact_mcnemar(*of_class) for of_class in zip(lost.tolist(), won.tolist(), strict=True)]),
    ]


def _columns(name: str, value: np.ndarray, bounds: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def _t_test_p(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Two-sided p, (classes,), of the change of mean recall, with seeds and images varying (Satterthwaite).

    A class's variance between seeds counts as no less than the classes' mean, since two or three networks often
    agree by chance. Nor is p below that of an exact test of the images that change, were it all to one side.
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
            of_seeds = np.maximum(own, own.mean())
            variance = variance + of_seeds
            spent = spent + of_seeds**2 / np.where(own < own.mean(), recalls.size - len(own), len(recalls) - 1)
        p = 2 * stats.t.sf(np.abs(change) / np.sqrt(variance), variance**2 / spent)
    changed_images = np.bincount(index, changes != 0)
    return np.fmax(p, np.minimum(2.0 ** (1 - changed_images), 1))


def _recalls(index: np.ndarray, right: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Share of each class's images where `right` (..., images): (..., classes)."""
    return np.array([np.bincount(index, of_seed) for of_seed in right]) / np.bincount(index)


def _bootstrap(index: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean recalls before and after, (2, RESAMPLES, classes), of networks and images drawn anew.

    Seeds and images within class are drawn with replacement: the same images for all networks, and the same
    seeds before and after where they are pairs.
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
    if len(before) == 1:
        before = np.repeat(before, len(after), axis=0)
    if len(before) != len(after):
        notes.append("Alpha is n/a: it is of a network before and the same network after.")
        return Slopes(0)
    recalls = [_recalls(index, right) for right in (before, after)]
    accuracies = [right.mean(1) for right in (before, after)]
    balances = [recall_balance(*of_side) for of_side in zip(recalls, accuracies, strict=True)]
    slopes = alpha(*balances)
    kept = np.isfinite(slopes)
    if not kept.all():
        notes.append(
            f"Alpha is n/a for {(~kept).sum()} of {len(kept)} pairs of networks: all classes are equally right before, "
            "or nothing is right."
        )
    if not kept.any():
        return Slopes(0)
    b, b_t, support = balances[0][kept], balances[1][kept], np.bincount(index)
    low, high = mean_interval(slopes[kept], 1 - LEVEL)
    return Slopes(
        n=int(kept.sum()),
        at_chance=int(np.any(at_chance(accuracies, len(support)), axis=0)[kept].sum()),
        alpha=float(slopes[kept].mean()),
        low=low,
        high=high,
        weighted=float(weighted_alpha(b, b_t, support).mean()) if unbalanced(support) else np.nan,
        spread_ratio=float(spread_ratio(b, b_t).mean()),
        new=alpha_new_from_predictions(index, before[kept], after[kept], confidence=1 - LEVEL),
    )


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# Words and files out.


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
    said = f"alpha is {slopes.alpha:.2f}"
    if np.isfinite(slopes.low):
        said += f" ({slopes.low:.2f} to {slopes.high:.2f})"
    if np.isfinite(slopes.weighted):
        said += f", {slopes.weighted:.2f} with classes weighted by their images"
    if not slopes.new.identified:
        return f"{said}, and on new images it could be anything: the classes differ too little for so few images"
    said += f", and on new images {slopes.new.estimate:.2f} ({slopes.new.low:.2f} to {slopes.new.high:.2f})"
    if slopes.new.low > 1:
        return f"{said}: the differences between classes grew"
    if slopes.new.high < 1:
        shrank = slopes.alpha < 1 and slopes.spread_ratio < 1
        return f"{said}: the differences between classes {'shrank' if shrank else 'moved to other classes'}"
    return f"{said}: the differences between classes may be as they were"


def _with_interval(row: pd.Series, name: str) -> str:
    sign = "" if name.startswith("recall") else "+"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def shown(result: Audit) -> pd.DataFrame:
    """The classes as text for people, a column for each quantity with its interval."""
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
    """Verdict, the classes that lost most, and the notes, for a terminal."""
    table = shown(result)
    left = len(table) - MOST_SHOWN
    more = [f"and {left:,} more classes in audit.csv"] if left > 0 else []
    return "\n".join([result.verdict, "", table.head(MOST_SHOWN).to_string(index=False), *more, "", *result.notes])


def figure(result: Audit) -> Figure:
    """Change of recall of each class with its interval, at most `MOST_DRAWN` classes."""
    classes = result.classes.head(MOST_DRAWN)
    picture = Figure((8, max(3, 0.17 * len(classes) + 1.8)), dpi=120, layout="constrained")
    axes = picture.subplots()
    for damaged, color, shape, label in (
        (False, KEPT, "o", "no loss shown"),
        (True, LOST, "D", "lost recall (Holm-corrected p ≤ .05)"),
    ):
        rows = classes[classes["damaged"] == damaged]
        if rows.empty:
            continue
        errors = np.abs(rows[["change_low", "change_high"]].to_numpy().T - rows["change"].to_numpy())
        axes.errorbar(rows["change"], rows.index, xerr=errors, fmt=shape, color=color, label=label, markersize=4)
    axes.axvline(0, color="black", linewidth=1)
    accuracy = result.accuracy_after - result.accuracy_before
    axes.axvline(accuracy, color="#767676", linestyle="--", linewidth=1, label=f"change of accuracy, {accuracy:+.3f}")
    axes.set_yticks(range(len(classes)), classes["class"], fontsize=9 if len(classes) <= 30 else 6, parse_math=False)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    which = "each class" if len(result.classes) <= MOST_DRAWN else f"the worst {MOST_DRAWN} classes"
    images = f"{result.classes['support'].sum():,} images"
    axes.set(xlabel="recall after minus recall before, with 95 % interval", title=f"What {which} lost, {images}")
    axes.grid(axis="x", alpha=0.3)
    picture.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return picture


def write(result: Audit, output: Path) -> None:
    """Write audit.csv, audit.md and audit.png into a folder, each aside and then renamed.

    Raises
    ------
    StudyError
        Where the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        result.classes.to_csv(folder / "audit.csv", index=False)
        (folder / "audit.md").write_text(_markdown(result), encoding="utf-8")
        figure(result).savefig(folder / "audit.png")


def _markdown(result: Audit) -> str:
    table = shown(result)
    rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return (
        "\n\n".join(
            [
                "# Audit",
                f"**{result.verdict}**",
                "![Change of recall of each class](audit.png)",
                "\n".join(lines),
                *result.notes,
                _READING,
            ]
        )
        + "\n"
    )


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
