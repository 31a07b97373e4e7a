"""Gates: decide whether losses of classes and of accuracy are shown to be within limits.

Upper bounds decide, so that few networks or few images never make it easier to pass.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.common.errors import StudyError
from analysis.common.points import limit_in_points, points
from analysis.statistics import class_table, two_way
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.image_bounds import ImageBounds
from analysis.statistics.network_losses import GROSS_LOSS
from analysis.statistics.sample_size import Spread, images_needed, networks_needed

State = Literal["within", "beyond", "undecided"]
ACCURACY, ALPHA = "accuracy", "alpha on new images"
EXIT_CODES: Mapping[State, int] = {"within": 0, "beyond": 3, "undecided": 4}


# A limit below this many points was probably meant as a share.
_SMALLEST = 0.05


class Limits(NamedTuple):
    """Largest accepted losses beyond the control, as shares, and largest accepted alpha; infinity means no limit."""

    class_loss: float = math.inf
    accuracy_loss: float = math.inf
    alpha: float = math.inf

    @property
    def any_given(self) -> bool:
        """Whether there is a limit."""
        return self != Limits()

    def __str__(self) -> str:
        """Return the limits in words.

        Examples
        --------
        >>> str(Limits(0.05, 0.01))
        'Limits to check: no class may lose more than 5 points of recall, the accuracy no more than 1.'
        >>> str(Limits(accuracy_loss=0.01))
        'Limits to check: the accuracy may lose no more than 1 point.'
        """
        words = []
        if np.isfinite(self.class_loss):
            words.append(f"no class may lose more than {limit_in_points(self.class_loss)} of recall")
        if np.isfinite(self.accuracy_loss):
            words.append(
                f"the accuracy no more than {100 * self.accuracy_loss:g}"
                if words
                else f"the accuracy may lose no more than {limit_in_points(self.accuracy_loss)}"
            )
        if np.isfinite(self.alpha):
            words.append(f"{ALPHA} may be at most {self.alpha:g}")
        return f"Limits to check: {', '.join(words) or 'none'}."


# Default limits of a study's verdict: networks are safe if all losses are shown to be within these limits.
LIMITS = Limits(class_loss=0.05, accuracy_loss=0.01)


class Gate(NamedTuple):
    """Whether losses are within limits, and a sentence with the reason."""

    state: State
    reason: str


def exit_code(gates: Mapping[str, Gate]) -> tuple[int, list[str]]:
    """Return the exit code of several gates, and the names of those that decide it (empty for code 0).

    Gates with a loss beyond its limit take precedence over undecided gates.

    Examples
    --------
    >>> exit_code({"--max-class-loss": Gate("undecided", ""), "--fail-on-damage": Gate("beyond", "")})
    (3, ['--fail-on-damage'])
    >>> exit_code({"--fail-on-damage": Gate("within", "")})
    (0, [])
    """
    states: Sequence[State] = "beyond", "undecided"
    for state in states:
        if deciding := [name for name, gate in gates.items() if gate.state == state]:
            return EXIT_CODES[state], deciding
    return 0, []


def exit_reason(code: int, deciding: Sequence[str]) -> str:
    """Explain an exit code, and name the options that decided it.

    Examples
    --------
    >>> exit_reason(3, ["--max-class-loss", "--fail-on-damage"])
    'Exit code 3: the networks fail --max-class-loss and --fail-on-damage.'
    """
    options = " and ".join(deciding)
    if code == EXIT_CODES["beyond"]:
        return f"Exit code {code}: the networks fail {options}."
    return f"Exit code {code}: there are too few networks or images to decide {options}."


def in_points(class_loss: float | None, accuracy_loss: float | None, alpha: float | None = None) -> Limits:
    """Convert limits of losses from percentage points to shares, and check them and a limit of alpha.

    Raises
    ------
    StudyError
        If a limit of losses is not between 0 and 100, or is so small that it may be meant as a share; or if the limit
        of alpha is not a finite number above 0.
    """
    for name, limit in (("max_class_loss", class_loss), ("max_accuracy_loss", accuracy_loss)):
        if limit is not None and not 0 <= limit <= 100:
            raise StudyError(f"{limit:g} is not a limit: give percentage points from 0 to 100", option=name)
        if limit is not None and 0 < limit < _SMALLEST:
            raise StudyError(
                f"{limit:g} would be {limit:g} points, or {100 * limit:g} points if it is meant as a share: give "
                f"{100 * limit:g} if it is a share, else at least {_SMALLEST:g} points",
                option=name,
            )
    if alpha is not None and not 0 < alpha < math.inf:
        raise StudyError(f"{alpha} must be a number above 0", option="max_alpha")
    of_class, of_accuracy = (math.inf if limit is None else limit / 100 for limit in (class_loss, accuracy_loss))
    return Limits(of_class, of_accuracy, math.inf if alpha is None else alpha)


def losses(names: list[str], label: np.ndarray, right: Mapping[str, np.ndarray], paired: bool) -> pd.DataFrame:
    """Tabulate the losses of accuracy and of each class, relative to the control if there is one, with bounds.

    Parameters
    ----------
    names : list of str
        Names of the classes.
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network is right, by side: before, after and optionally control.
    paired : bool
        As for `class_table.costs`.

    Returns
    -------
    DataFrame, the accuracy first
        - name, support, loss.
        - upper: one-sided 95 % upper bound; for classes, it holds for all classes jointly.
        - level: 1 minus the confidence of upper for this row alone.
        - low: lower end of the 95 % interval; for classes, of intervals that hold jointly.
        - high: upper end of the 95 % interval of this row alone.
        - moved, moved_square, image_level, usual_size: as in `image_bounds.ImageBounds`; NaN for single networks.
        - the fields of the loss's `sample_size.Spread`.
    """
    sides = right["before"], right["after"], right.get("control")
    accuracy = class_table.accuracy_loss(label, *sides, paired=paired)
    of_class = class_table.losses(label, *sides, paired=paired, levels=(LEVEL, LEVEL / len(names)))
    table = _bounds(names, label, accuracy, of_class)
    if accuracy.variances is None or of_class.variances is None:
        return table.assign(**_spread_of_one(table, sides)._asdict())
    reference, after = right.get("control", right["before"]), right["after"]
    networks = min(len(side) for side in (reference, after) if len(side) > 1)
    return _with_spreads(table, (accuracy, of_class), networks)


def losses_on_own_images(names: list[str], label: np.ndarray, control: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    """Tabulate the losses, as `losses` does, of networks that were each tested on their own images.

    Parameters
    ----------
    names : list of str
        Names of the classes.
    label, control, after
        As for `class_table.losses_on_own_images`.
    """
    accuracy = class_table.losses_on_own_images(np.zeros_like(label), control, after)
    of_class = class_table.losses_on_own_images(label, control, after, levels=(LEVEL, LEVEL / len(names)))
    table = _bounds(names, label, accuracy, of_class)
    return _with_spreads(table, (accuracy, of_class), len(after))


def _bounds(
    names: list[str], label: np.ndarray, accuracy: class_table.Losses, of_class: class_table.Losses
) -> pd.DataFrame:
    """Tabulate the losses with the bounds that `losses` describes."""
    return pd.DataFrame(
        {
            "name": [ACCURACY, *names],
            "support": [len(label), *np.bincount(label)],
            "loss": [*accuracy.value, *of_class.value],
            "upper": [*accuracy.upper, *of_class.upper],
            "level": [LEVEL, *[LEVEL / len(names)] * len(names)],
            "low": [*accuracy.bounds[0, 0], *of_class.bounds[1, 0]],
            "high": [*accuracy.bounds[0, 1], *of_class.bounds[0, 1]],
        }
    )


def _with_spreads(table: pd.DataFrame, losses: Sequence[class_table.Losses], networks: int) -> pd.DataFrame:
    """Add the spread of each loss that has variances, and what its bound from the images depends on."""
    spreads = [
        _spreads(each.variances, networks).assign(
            moved=each.of_images.moved,
            moved_square=each.of_images.moved_square,
            image_level=each.of_images.level,
            usual_size=each.of_images.usual_size,
        )
        for each in losses
        if each.variances and each.of_images
    ]
    return table.assign(**pd.concat(spreads, ignore_index=True))


def _spreads(variances: two_way.Variances, networks: int) -> pd.DataFrame:
    """Tabulate the spread of each loss."""
    over_networks = np.sum([np.asarray(variance) for variance, _ in variances.networks], axis=0)
    dof = np.min([np.broadcast_to(dof, np.shape(over_networks)) for _, dof in variances.networks], axis=0)
    images = {"over_images": variances.images, "in_both": variances.in_both}
    return pd.DataFrame({"networks": networks, "over_networks": over_networks, "dof": dof, **images})


def _spread_of_one(table: pd.DataFrame, sides: tuple[np.ndarray, np.ndarray, np.ndarray | None]) -> Spread:
    """Return the spread for single networks: the spread over images, or NaN if retraining adds an unknown spread.

    No interval reaches above 1, so the spread of a loss of more than a half is taken from the lower end.
    """
    before, _, control = sides
    retrained = control is None or not np.array_equal(before, control)
    one = two_way.Variances(images=1.0)
    above = (table["high"] - table["loss"]) / two_way.half_width(one)
    below = (table["loss"] - table["low"]) / two_way.half_widths(one, table["level"].to_numpy())
    over_images = np.square(np.where(table["loss"] > 0.5, below, above))
    return Spread(1, 0.0, np.inf, np.nan if retrained else over_images, 0.0)


def damage_gate(names: Sequence[str], recall: ArrayLike, loss_upper: ArrayLike) -> Gate:
    """Decide whether a class may have lost its whole recall although no loss is shown.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    recall : (classes,)
        Recall in the reference, before the loss. Classes with a recall of at most `GROSS_LOSS` are ignored.
    loss_upper : (classes,)
        Upper ends of the intervals of the losses.

    Examples
    --------
    >>> damage_gate(["bag", "shirt"], [0.9, 0.7], [0.1, 0.75]).reason
    'Undecided: shirt may have lost everything, 70.0 points. Give more networks or images.'
    """
    recall, loss_upper = np.asarray(recall), np.asarray(loss_upper)
    open_places = np.flatnonzero((loss_upper >= recall) & (recall > GROSS_LOSS))
    if not len(open_places):
        return Gate("within", "No damage is shown, so --fail-on-damage passes.")
    worst = open_places[recall[open_places].argmax()]
    others = f", and so may {len(open_places) - 1:,} more classes" if len(open_places) > 1 else ""
    loss = f"{names[worst]} may have lost everything, {points(recall[worst])} points{others}"
    return Gate("undecided", f"Undecided: {loss}. Give more networks or images.")


def gate(table: pd.DataFrame, limits: Limits, least_certain: float | None = None) -> Gate:
    """Compare losses with limits.

    Parameters
    ----------
    table : DataFrame
        As `losses` returns it.
    limits : Limits
    least_certain : float, optional
        Must be given if it is unknown how far retraining alone moves classes. Then no loss is within its limit, and a
        loss is beyond its limit only if it is also shown to be above this number.

    Returns
    -------
    Gate
    """
    decided = decide(table, limits, least_certain)
    return Gate(decided.state, _reason(decided, sum(decided.table["name"] != ACCURACY)))


class Decided(NamedTuple):
    """The comparison of losses with their limits.

    Attributes
    ----------
    state : {"within", "beyond", "undecided"}
    worst : Series, optional
        The loss that decides: the one furthest beyond its limit or, if none is beyond, the one for which the upper
        bound minus the limit is largest.
    table : DataFrame
        The losses that have a `limit`.
    open_rows : DataFrame
        The rows of `table` that are not shown to be within their limits.
    """

    state: State
    worst: pd.Series | None
    table: pd.DataFrame
    open_rows: pd.DataFrame


def decide(table: pd.DataFrame, limits: Limits, least_certain: float | None = None) -> Decided:
    """Decide whether losses are shown to be within limits, for audits, `compress`, reports and `recommend`.

    Parameters
    ----------
    table : DataFrame
        name, loss, low, upper: a row for the accuracy, then one for each class, and perhaps one for alpha. A loss whose
        upper bound is NaN may have any size.
    limits : Limits
    least_certain : float, optional
        As for `gate`.

    Examples
    --------
    >>> table = pd.DataFrame({"name": ["accuracy", "cat"], "loss": [0, 0.02], "low": [0, 0.01], "upper": [0, 0.03]})
    >>> [decide(table, Limits(class_loss)).state for class_loss in (0.05, 0.02, 0.005)]
    ['within', 'undecided', 'beyond']
    """
    of_rows = [limits.alpha if name == ALPHA else limits.class_loss for name in table["name"][1:]]
    table = table.assign(limit=[limits.accuracy_loss, *of_rows])
    table = table[np.isfinite(table["limit"])]
    beyond = table[table["low"] > np.maximum(table["limit"], least_certain or 0)]
    open_rows = table[~(table["upper"] < table["limit"])]
    if len(beyond):
        return Decided("beyond", beyond.loc[(beyond["loss"] - beyond["limit"]).idxmax()], table, open_rows)
    if least_certain is not None or table.empty:
        return Decided("within" if table.empty else "undecided", None, table, open_rows)
    worst = table.loc[(table["upper"] - table["limit"]).fillna(np.inf).idxmax()]
    return Decided("within" if open_rows.empty else "undecided", worst, table, open_rows)


def _reason(decided: Decided, classes: int) -> str:
    """Explain why losses are within limits, beyond them, or undecided, and what would decide."""
    state, worst, _, open_rows = decided
    if worst is None:
        return (
            "Undecided: with one network before or after, and no control, nothing shows how far retraining alone moves "
            "classes. Give --control (the files of --before, if nothing was retrained), or several networks a side."
        )
    if state == "beyond":
        return f"Beyond the limit: {_loss(worst)} is surely more than {_bound(worst, 'low')}."
    if state == "within" and worst["upper"] < 0:
        gain, limit = points(-worst["loss"]), 100 * worst["limit"]
        return f"Within the limits: {worst['name']} surely gains ({gain} points; limit: a loss of {limit:g})."
    if state == "within":
        return f"Within the limits: {_loss(worst)} is surely less than {_bound(worst, 'upper')}."
    remedy = _describe(_remedy(open_rows, classes))
    most = ", the furthest above its limit" if len(open_rows) > 1 else ""
    return f"Undecided: {_loss(worst)} may be up to {_bound(worst, 'upper', most)}. {remedy}"


class _Remedy(NamedTuple):
    """Networks per side, or images (per class if `of_classes`), that would decide; None if no number would."""

    networks: int | None
    images: int | None
    of_classes: bool


def _remedy(open_rows: pd.DataFrame, classes: int) -> _Remedy | None:
    """Estimate how many networks or images would decide, if the estimated losses stay the same.

    Return None if a variance over images is unknown.
    """
    beyond = open_rows[open_rows["loss"] >= open_rows["limit"]]
    if len(beyond):
        # One loss shown to be above its limit decides. The level is corrected for all classes.
        first = beyond.loc[(beyond["loss"] - beyond["limit"]).idxmax()]
        margins = [(first, first["loss"] - first["limit"], LEVEL if first["name"] == ACCURACY else LEVEL / classes)]
    else:
        margins = [(row, row["limit"] - row["loss"], 2 * row["level"]) for _, row in open_rows.iterrows()]
    if any(np.isnan(row["over_images"]) for row, *_ in margins):
        return None
    spreads = [
        (Spread(*(row[name] for name in Spread._fields)), *margin_and_level) for row, *margin_and_level in margins
    ]
    bounds = [_of_images(row) if beyond.empty else None for row, *_ in margins]
    pairs = list(zip(spreads, bounds, strict=True))
    networks = [count for each, bound in pairs if (count := networks_needed(*each, of_images=bound)) is not None]
    times = [share for each, bound in pairs if (share := images_needed(*each, of_images=bound)) is not None]
    of_classes, images = any(row["name"] != ACCURACY for row, *_ in margins), None
    if len(times) == len(margins):
        given = [row["support"] / (classes if of_classes and row["name"] == ACCURACY else 1) for row, *_ in margins]
        images = max(_rounded_up(each * share) for each, share in zip(given, times, strict=True))
    return _Remedy(max(networks) if len(networks) == len(margins) else None, images, of_classes)


def _of_images(row: pd.Series) -> ImageBounds | None:
    if "moved" not in row:
        return None
    names = ("loss", "moved", "moved_square", "support", "image_level", "in_both", "usual_size")
    return ImageBounds(*(row[name] for name in names))


def _describe(remedy: _Remedy | None) -> str:
    if remedy is None:
        return "Give several networks a side, each with its control, to narrow the bounds."
    numbers = [] if remedy.networks is None else [f"{remedy.networks:,} networks a side"]
    if remedy.images is not None:
        numbers.append(f"{remedy.images:,} images{' of each class' if remedy.of_classes else ''}")
    if not numbers:
        return "The loss is too near its limit for more networks or images alone to decide."
    return f"If the losses stay as they are, {' or '.join(numbers)} would show whether the limits are met."


def _rounded_up(images: float) -> int:
    """Round up to two significant digits."""
    unit: int = 10 ** max(math.floor(math.log10(images)) - 1, 0)
    return math.ceil(images / unit) * unit


def _loss(row: pd.Series) -> str:
    return f"the loss of {row['name']}, {points(row['loss'])} points (limit {100 * row['limit']:g}),"


def _bound(row: pd.Series, end: str, more: str = "") -> str:
    """Write a bound, and note if it holds for all classes jointly."""
    together = "" if row["name"] == ACCURACY else " (such bounds hold for all classes at once)"
    return f"{points(row[end])} points{more}{together}"
