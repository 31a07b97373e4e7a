"""Gates: decide whether losses of classes and of accuracy are shown to be within limits, or beyond them.

Upper bounds decide, so that few networks or few images never make it easier to pass.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.points import limit_in_points, points
from analysis.runs.checks import some
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.losses import Spread

State = Literal["within", "beyond", "undecided"]
ACCURACY, ALPHA = "accuracy", "alpha on new images"
EXIT_CODES: Mapping[State, int] = {"within": 0, "beyond": 3, "undecided": 4}


# A limit below this many points was probably meant as a share.
_SMALLEST = 0.05


class Limits(NamedTuple):
    """Largest accepted losses, as shares, and largest accepted alpha; infinity means no limit."""

    class_loss: float = math.inf
    accuracy_loss: float = math.inf
    alpha: float = math.inf

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


def exit_code(gates: Mapping[str, Gate]) -> int:
    """Return the exit code of several gates: that of a loss beyond its limit takes precedence over undecided ones.

    Examples
    --------
    >>> exit_code({"--max-class-loss": Gate("undecided", ""), "--fail-on-damage": Gate("beyond", "")}), exit_code({})
    (3, 0)
    """
    return EXIT_CODES[merged(list(gates.values())).state]


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


class Losses(NamedTuple):
    """Losses of classes or groups, or of the accuracy, which one limit is for.

    Attributes
    ----------
    names : (classes,)
    images : (classes,)
        Number of test images.
    mean : Spread
        Losses of the pair of networks, or their means over several pairs.
    singles : sequence of Spread
        Losses of each of several pairs alone; empty if there is one pair, or if networks are not paired.
    networks : sequence of str
        Names that the user knows the networks of `singles` by.
    alone : sequence of str
        What to type to compare each of these networks alone with the one that it replaces; empty if unknown.
    doubts : sequence of str
        Sentences on what keeps losses from being shown to be within any limit, such as a network at chance.
    advice : str
        What to do if classes have too few images, after a space.
    recalls : (classes,), optional
        Recall of each class that losses are measured from, in the network in which it is largest.
    """

    names: Sequence[str]
    images: np.ndarray
    mean: Spread
    singles: Sequence[Spread] = ()
    networks: Sequence[str] = ()
    alone: Sequence[str] = ()
    doubts: Sequence[str] = ()
    advice: str = ""
    recalls: np.ndarray | None = None

    def of(self, is_kept: np.ndarray) -> "Losses":
        """Return the losses of some classes; `is_kept` is a mask."""
        names = [name for name, kept in zip(self.names, is_kept, strict=True) if kept]
        singles = [each.of(is_kept) for each in self.singles]
        recalls = None if self.recalls is None else self.recalls[is_kept]
        mean, images = self.mean.of(is_kept), self.images[is_kept]
        return self._replace(names=names, images=images, mean=mean, singles=singles, recalls=recalls)

    @property
    def level(self) -> float:
        """Two-sided level of the lower bound that shows one of these losses to be beyond a limit."""
        return LEVEL / max(len(self.names), 1)

    def without_recall(self, limit: float = 0.0) -> str:
        """Name the classes with too little recall to lose more than the limit, if a guess recognises as much; or ""."""
        least = min(limit, 1 / len(self.names)) if self.names else 0.0
        recalls = () if self.recalls is None else self.recalls
        names = [name for name, recall in zip(self.names, recalls, strict=False) if recall <= least]
        return f" Not counted as kept, for want of recall to lose: {some(names)}." if names else ""

    def in_every_network(self) -> np.ndarray:
        """Return the largest lower bound that the losses of every single network exceed; -1 without several pairs."""
        if len(self.singles) < 2:
            return np.full(len(self.names), -1.0)
        return np.asarray(np.min([each.lower(self.level / 2) for each in self.singles], axis=0))

    def in_single_networks(self, limit: float = 0.0, among: np.ndarray | bool = True) -> "list[SingleLoss]":
        """Return what single networks are shown to have lost, and more than the limit, the largest loss first.

        The level is corrected for classes and networks. `among` is a mask of the classes that are considered.
        """
        found = []
        for network, each in enumerate(self.singles):
            is_shown = (each.lower(self.level / len(self.singles)) > 0) & (each.value > limit) & among
            found += [(each.value[place], network, self.names[int(place)]) for place in np.flatnonzero(is_shown)]
        return [
            SingleLoss(
                f"{self.networks[network]} lost {points(loss)} points of {name}",
                self.alone[network] if self.alone else "audit such a network, with one file a side",
            )
            for loss, network, name in sorted(found, key=lambda loss: -loss[0])
        ]


class SingleLoss(NamedTuple):
    """What a single network lost, in words, and how to compare this network alone."""

    words: str
    own_pair: str


def decide(losses: Losses, limit: float) -> Gate:
    """Decide whether losses are shown to be within a limit, or beyond it.

    They are beyond the limit if a lower bound of the mean, or of every single network in one class, is above the limit.
    They are within it if the upper bound of every class is below it: each bound has 95 % confidence, because all must
    hold (an intersection-union test). A single network that is shown to have lost, and more than the limit, keeps the
    gate undecided.

    Parameters
    ----------
    losses : Losses
    limit : float
        As a share.

    Examples
    --------
    Ten, three or none of a hundred images are lost:

    >>> from analysis.statistics.losses import spread
    >>> label = np.zeros(100, int)
    >>> of = [spread(label, (np.arange(100) < lost)[np.newaxis]) for lost in (10, 3, 0)]
    >>> [decide(Losses(["cat"], np.array([100]), each), 0.04).state for each in of]
    ['beyond', 'undecided', 'within']
    """
    if fault := _beyond(losses, limit):
        return Gate("beyond", fault)
    upper = losses.mean.upper()
    alone = losses.in_single_networks(limit)
    exceeding = [f"Alone, {some(each.words for each in alone)}: {alone[0].own_pair}."] if alone else []
    lasting = [*losses.doubts, *exceeding]  # more networks or images do not remove them
    doubts = [*lasting, *_too_small(losses, limit)]
    if not len(upper):
        return Gate("undecided", "No class has enough images.")
    if (upper < limit).all() and not doubts:
        return Gate("within", f"No loss is above {rounded_up(upper.max())} points.{losses.without_recall(limit)}")
    most = losses.mean.may_lose_most()
    if np.isnan(upper[most]):
        return Gate("undecided", f"How much of {losses.names[most]} may be lost is unknown without predictions.")
    bound = rounded_up(upper[most])
    may_be = [f"The loss of {losses.names[most]} may be up to {bound} points."] if upper[most] >= limit else []
    kept = [] if lasting or upper[most] >= 1 else [f"The smallest limit shown to be kept is {bound} points."]
    remedy = [] if lasting and (losses.mean.value < limit).all() else _remedy(losses, limit)
    return Gate("undecided", " ".join([*doubts, *may_be, *kept, *remedy]))


def damage(losses: Losses, damaged: Sequence[str]) -> Gate:
    """Decide `--fail-on-damage`: `beyond` if classes are damaged, `undecided` if a single network may be.

    Parameters
    ----------
    losses : Losses
    damaged : sequence of str
        Classes that are shown to have lost recall.
    """
    if damaged:
        return Gate("beyond", f"Damaged: {some(damaged)}.")
    alone = losses.in_single_networks()
    said = [
        *losses.doubts,
        *([f"On average nothing is shown, but alone {some(each.words for each in alone)}."] if alone else []),
    ]
    if said:
        return Gate("undecided", " ".join(said))
    return Gate("within", f"Nothing is shown to be worse.{losses.without_recall()}")


def merged(gates: Sequence[Gate]) -> Gate:
    """Return one gate for several: its state is the worst of theirs, and its reason all their reasons."""
    states: Sequence[State] = "beyond", "undecided"
    state: State = next((each for each in states if each in [gate.state for gate in gates]), "within")
    return Gate(state, " ".join(gate.reason for gate in gates))


def smallest_limit(images: np.ndarray) -> np.ndarray:
    """Return the limits that even unchanged networks are not shown to keep with so many images, (classes,).

    Examples
    --------
    >>> smallest_limit(np.array([50, 1000])).round(4).tolist()
    [0.0513, 0.0027]
    """
    return np.asarray(_SQUARED_QUANTILE / (images + _SQUARED_QUANTILE))


def rounded_up(share: float) -> str:
    """Return a bound in points, rounded up, so that it never looks smaller than it is."""
    return f"{np.ceil(round(1000 * share, 6)) / 10 + 0.0:.1f}"  # no -0.0


_SQUARED_QUANTILE = 1.6448536269514722**2  # of one-sided 95 % confidence
_MOST_NAMED = 5
_TIMES = np.geomspace(1, 1000, 140)  # numbers of networks and images that are considered, as multiples


def _beyond(losses: Losses, limit: float) -> str:
    """Say which loss is shown to be beyond the limit; empty if none is."""
    for where, low in (("", losses.mean.lower(losses.level / 2)), (" in every network", losses.in_every_network())):
        if (low > limit).any():
            most = int(np.nanargmax(low))
            return f"The loss of {losses.names[most]} is above {points(low[most])} points{where}."
    return ""


def _too_small(losses: Losses, limit: float) -> list[str]:
    """Say which classes have too few images to show that they keep the limit, even if nothing changes."""
    least = smallest_limit(losses.images)
    if not (places := np.flatnonzero(least >= limit)).size:
        return []
    names = [losses.names[place] for place in places[np.argsort(losses.images[places], kind="stable")][:_MOST_NAMED]]
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    possible = f"even unchanged networks could not be shown to keep a limit below {rounded_up(least.max())} points"
    return [f"With so few images, {possible} ({', '.join(names)}{more}).{losses.advice}"]


def _remedy(losses: Losses, limit: float) -> list[str]:
    """Say how many networks or images would decide, if losses stay as they are."""
    counts = []
    if times := _needed(losses, limit, "images"):
        total = int(losses.images.sum() * times)
        counts.append(f"{_two_digits(total):,} test images in all")
    if losses.mean.counts is None and (times := _needed(losses, limit, "networks")):
        counts.append(f"{math.ceil(times * losses.mean.n):,} networks")
    return [f"{' or '.join(counts)} would decide, if losses stay as they are."] if counts else []


def _needed(losses: Losses, limit: float, what: Literal["networks", "images"]) -> float | None:
    """Return by how much networks or images must be multiplied for a decision; None if that is unknown."""
    value = losses.mean.value

    def decides(times: float) -> bool:
        more = losses.mean.projected(images=times) if what == "images" else losses.mean.projected(networks=times)
        if (value >= limit).any():
            return bool(more.lower(losses.level / 2)[np.nanargmax(value)] > limit)
        return bool((more.upper() < limit).all())

    if not decides(_TIMES[-1]) or decides(1.0):
        return None
    low, high = 0, len(_TIMES) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(_TIMES[middle]) else (middle, high)
    return float(_TIMES[high])


def _two_digits(number: int) -> int:
    """Round up to two significant digits."""
    unit: int = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.ceil(number / unit) * unit
