"""Compare networks before and after compression, class by class or group by group: losses, slopes and gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.statistics import groups as image_groups
from analysis.statistics import limits as class_limits
from analysis.statistics import losses
from analysis.statistics.arithmetic import quotient
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.limits import Gate, Limits, Losses
from analysis.statistics.losses import Spread, WorstClass, between, from_counts, holm, joined, worst_class
from analysis.statistics.pair_slopes import Slopes, slopes
from analysis.statistics.recalls import Recalls
from analysis.statistics.weak_networks import (
    ChanceLevelCounts,
    SoundPairs,
    WeakDense,
    barely_works,
    chance_level,
    weak_from_answers,
)

Right = Mapping[str, np.ndarray]
Side = Literal["before", "control"]
LOSS_FROM_CONTROL = "loss_from_control"


class Part(NamedTuple):
    """One grouping: its name, the names of its groups, and the images that have a group.

    `images` are the indices of these images, `label` their groups, and `right` whether each network is right about each
    of them. The classes are also a grouping, with an empty name and all images.
    """

    grouping: str
    names: list[str]
    images: np.ndarray
    label: np.ndarray
    right: Right


@dataclass(frozen=True, eq=False)
class Comparison:
    """Networks before and after compression, and perhaps their controls, class by class or group by group.

    It answers two questions. What these networks, or networks like these, lost since the networks that they replace;
    and, with a control, what compression rather than retraining cost them. One pair of networks answers only the first.
    Results are computed on first access and cached.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    label : (images,), integers
        Class of each image, from 0; each class has at least one image.
    right : mapping of str to (networks, images), bool
        Whether each network is right about each image. The keys, called sides, are `before`, `after` and perhaps
        `control`.
    pairs : set of str
        Sides whose networks correspond to those of `after`, row by row. A single network is paired with all networks of
        `after`.
    groups : mapping of str to (images,) text
        Groups to compare instead of classes: the group of each image, by the name of the grouping. An empty string
        means no group.
    network_names : sequence of str
        Names that the user knows the networks of `after` by; by default `network 1` and so on.
    alone : sequence of str
        What to type to compare each of these networks alone with the one that it replaces; empty if unknown.
    predicted : mapping of str to (networks, images), integers
        The class that each network predicts, by side; -1 if it is none of `names`. Empty if unknown.
    are_counts : bool
        Whether only the numbers of right images of each class are real, as in a confusion matrix.

    Examples
    --------
    After compression, nine of the ten images of dog are misclassified:

    >>> label = np.repeat([0, 1], 10)
    >>> dense, after = np.ones((1, 20), bool), np.arange(20)[np.newaxis] < 11
    >>> found = Comparison(["cat", "dog"], label, {"before": dense, "after": after})
    >>> found.damaged, found.table["loss"].tolist(), found.gate(Limits(class_loss=0.05)).state
    (['dog'], [0.0, 0.9], 'beyond')
    """

    names: Sequence[str]
    label: np.ndarray
    right: Right
    pairs: frozenset[str] = frozenset({"before", "control"})
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    network_names: Sequence[str] = ()
    alone: Sequence[str] = ()
    predicted: Mapping[str, np.ndarray] = field(default_factory=dict)
    are_counts: bool = False

    @property
    def networks(self) -> int:
        """Number of networks after compression. Those at chance are included in all results except slopes."""
        return len(self.right["after"])

    @property
    def is_single(self) -> bool:
        """Whether there is one network before and one after, so that losses are those of these two networks."""
        return len(self.right["before"]) == self.networks == 1

    @property
    def has_control(self) -> bool:
        """Whether there is a control."""
        return "control" in self.right

    @property
    def is_unretrained(self) -> bool:
        """Whether the control is the network before compression, because nothing was retrained."""
        return self.has_control and self.are_alike("control")

    def are_alike(self, side: str) -> bool:
        """Return whether the networks of a side recognise the same images as those before compression."""
        before, other = self.right["before"], self.right[side]
        return len(before) in (1, len(other)) and bool((before == other).all())

    @property
    def kind(self) -> Literal["classes", "groups"]:
        """Whether classes or groups are compared."""
        return "groups" if self.groups else "classes"

    @property
    def one_kind(self) -> Literal["class", "group"]:
        """The singular of `kind`."""
        return "group" if self.groups else "class"

    def accuracy_of(self, side: str) -> float:
        """Return the mean accuracy of the networks of a side."""
        return float(self.right[side].mean())

    def mean_recall_of(self, side: str) -> float:
        """Return the mean recall of the networks of a side over classes."""
        return float(Recalls.from_answers(self.label, self.right[side]).recall.mean())

    @cached_property
    def parts(self) -> list[Part]:
        """The groupings that are compared; the classes alone if there are no groups."""
        if not self.groups:
            return [Part("", list(map(str, self.names)), np.arange(len(self.label)), self.label, self.right)]
        parts = []
        for name, group in self.groups.items():
            names, images, of_image = image_groups.members(group)
            answers = {side: each[:, images] for side, each in self.right.items()}
            parts.append(Part(name, list(map(str, names)), images, of_image, answers))
        return parts

    @cached_property
    def titles(self) -> list[str]:
        """The name of each row of `table`, preceded by the grouping if there are several."""
        return [
            f"{part.grouping}: {name}" if len(self.groups) > 1 else name for part in self.parts for name in part.names
        ]

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each class, in order, or for each group of each grouping. Recalls and losses are shares.

        - class, or group; if there are several groupings, the column `grouping` comes first
        - images: number of test images
        - recall_before, recall_after, and with a control recall_control: means over networks
        - loss: recall before minus recall after, with its 95 % interval (`loss_low`, `loss_high`) and the upper bound
          that holds for all rows together (`loss_upper_all`)
        - p, p_holm: p of the loss, and p corrected for all rows
        - damaged: whether the loss is shown, on average or in every single network
        - precision_before, precision_after, f1_loss: of classes whose predictions are known
        - loss_from_control, with a control: recall of the control minus recall after
        - cost, with a control and several pairs: this loss minus that of the accuracy

        With several pairs, loss_from_control and cost also have `_low`, `_high`, `_upper_all`, and `_p`, which is
        corrected for all rows.
        """
        spread = self._spreads["before"]
        columns = self._names() | self._recalls() | loss_columns(spread, self._singles) | self._precision()
        if self.has_control:
            columns |= self._control_columns()
        return pd.DataFrame(columns)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The table, with the class that lost most first."""
        return self.table.sort_values("loss", ascending=False, kind="stable", ignore_index=True)

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of the classes that are shown to have lost recall, the one that lost most first."""
        return self.ranked[self.ranked["damaged"]]

    @property
    def damaged(self) -> list[str]:
        """Names of the classes in `damaged_rows`."""
        return list(row_names(self.damaged_rows))

    @cached_property
    def accuracy(self) -> pd.Series:
        """The accuracy: images, before, after, perhaps control, loss, loss_low, loss_high, p.

        With a control, also loss_from_control, and with several pairs its interval.
        """
        spread = self._accuracy("before")
        low, high = spread.interval()[:, 0]
        row = {"images": len(self.label)} | {side: self.accuracy_of(side) for side in self.right}
        row |= {"loss": spread.value[0], "loss_low": low, "loss_high": high, "p": spread.p()[0]}
        if self.has_control:
            own = self._accuracy("control")
            row[LOSS_FROM_CONTROL] = own.value[0]
            if not self.is_single:
                ends = (f"{LOSS_FROM_CONTROL}_{end}" for end in ("low", "high"))
                row |= dict(zip(ends, own.interval()[:, 0], strict=True))
        return pd.Series(row, dtype=object)

    @property
    def only_accuracy_is_worse(self) -> bool:
        """Whether the accuracy is shown to have fallen although no class, or group, is shown to be worse."""
        return not self.damaged and self.accuracy["loss"] > 0 and self.accuracy["p"] <= LEVEL

    def losses(self, since: Side = "before", *, min_images: int = 0) -> Losses:
        """Return the losses of classes, or groups, for gates.

        Parameters
        ----------
        since : {"before", "control"}
            The side that losses are measured from.
        min_images : int
            Classes with fewer images are left out.
        """
        images = np.concatenate([np.bincount(part.label) for part in self.parts])
        right = np.concatenate([right_by_class(part.label, part.right[since]).max(0) for part in self.parts])
        singles = self._singles if since == "before" else []
        found = Losses(
            self.titles,
            images,
            self._spreads[since],
            singles,
            self._called[: len(singles)],
            self.alone,
            doubts=[*self.information_doubts, *self._lost_classes(min_images)],
            advice=f" --min-images leaves such {self.kind} out.",
            recalls=right / images,
        )
        return found.of(images >= min_images)

    def accuracy_losses(self, since: Side = "before") -> Losses:
        """Return the loss of accuracy for gates."""
        images = np.array([len(self.label)])
        return Losses(["the accuracy"], images, self._accuracy(since), doubts=self.information_doubts)

    def gates(self, limits: Limits, *, limit_from: Side = "before", min_images: int = 0) -> dict[str, Gate]:
        """Compare losses with limits: a gate for each limit, by the name of its option.

        Raises
        ------
        StudyError
            If losses from the control are asked for and there is none, or only one pair of networks.
        """
        if limit_from == "control" and (not self.has_control or self.is_single):
            needed = "several networks a side" if self.has_control else "a control"
            raise StudyError(f"limits of losses from the control need {needed}", option="limit_from")
        gates = {}
        if np.isfinite(limits.class_loss):
            losses = self.losses(limit_from, min_images=min_images)
            gates["--max-class-loss"] = class_limits.decide(losses, limits.class_loss)
        if np.isfinite(limits.accuracy_loss):
            gates["--max-accuracy-loss"] = class_limits.decide(self.accuracy_losses(limit_from), limits.accuracy_loss)
        return gates

    def gate(self, limits: Limits, *, limit_from: Side = "before", min_images: int = 0) -> Gate:
        """Compare losses with limits; parameters and errors are as in `gates`, which are merged."""
        return class_limits.merged(list(self.gates(limits, limit_from=limit_from, min_images=min_images).values()))

    def damage_gate(self, min_images: int = 0) -> Gate:
        """Decide whether a class, or group, is shown to be worse than before."""
        losses = self.losses(min_images=min_images)
        places = np.flatnonzero(_are_damaged(losses.mean, losses.singles))
        order = places[np.argsort(-losses.mean.value[places], kind="stable")]
        return class_limits.damage(losses, [losses.names[place] for place in order])

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The class, or the group of each grouping, that costs most: grouping, name, cost, cost_low, cost_high, p.

        It is named on one half of the images of each class and read on the other (`losses.worst_class`). Costs are
        measured from the control or, without one, from the networks before. The frame is empty for single networks and
        for unpaired networks.
        """
        start = "control" if self.has_control else "before"
        found = []
        if not self.is_single and start in self.pairs and self.networks > 1:
            found = [(part, worst_class(part.label, _differences(part.right, start), 1)) for part in self.parts]
        rows = [(part.grouping, part.names[each.place], *each[1:]) for part, each in found if each.place >= 0]
        return pd.DataFrame(
            rows, columns=["grouping", "name", "cost", *[f"cost_{end}" for end in WorstClass._fields[2:]]]
        )

    def called(self, place: int) -> tuple[str, int, int] | None:
        """Return what most lost images of a class are called after compression, their number, and that of all lost.

        None if predictions are unknown, if groups are compared, or if no image is lost.
        """
        if not self.predicted or self.groups or not self._has_own_start:
            return None
        lost = _start(self.right) & ~self.right["after"] & (self.label == place)
        calls = np.bincount(self.predicted["after"][lost] + 1, minlength=len(self.names) + 1)[1:]
        most = int(calls.argmax())
        return (str(self.names[most]), int(calls[most]), int(lost.sum())) if calls[most] else None

    @cached_property
    def groupings(self) -> pd.DataFrame:
        """A row for each grouping as a whole, as `groups.grouping_summary` returns it; empty for unpaired networks."""
        if not self.groups or "before" not in self.pairs:
            return pd.DataFrame()
        in_pairs = not self.has_control or "control" in self.pairs
        rows = [
            {
                "grouping": part.grouping,
                **image_groups.grouping_summary(
                    np.array(part.names),
                    part.label,
                    self.label[part.images],
                    **part.right,
                    control_paired=in_pairs,
                ),
            }
            for part in self.parts
        ]
        return pd.DataFrame(rows)

    @property
    def slopes(self) -> Slopes:
        """Alpha and raw slope from the networks before compression to those after it, also for new images."""
        return self._slopes[0]

    @property
    def slope_notes(self) -> list[str]:
        """Sentences on pairs of networks without a slope."""
        return self._slopes[1]

    @property
    def identified(self) -> bool:
        """Whether the classes differ enough for a meaningful slope, given the numbers of test images and networks."""
        return self.slopes.raw_new is not None and self.slopes.raw_new.identified

    @property
    def chance_level(self) -> ChanceLevelCounts:
        """How many networks of each side are at chance."""
        return self._chance[0]

    @property
    def at_chance(self) -> bool:
        """Whether every pair has a network at chance, so that slopes are meaningless."""
        return self.chance_level.are_all_at_chance

    @cached_property
    def neither_works(self) -> bool:
        """Whether networks before and after are, on average, at most barely better than guessing."""
        return all(barely_works(self.mean_recall_of(side), len(self.names)) for side in ("before", "after"))

    @property
    def information_doubts(self) -> list[str]:
        """Say that networks are at chance or do not work, so that their losses decide nothing; empty if all work."""
        sides = [side for side, (guessing, _) in self.chance_level.counts.items() if guessing]
        where = {"before": "before compression", "after": "after compression", "control": "in the control"}
        if sides:
            return [f"A network is at chance {' and '.join(where[side] for side in sides)}."]
        return ["Neither network works."] if self.neither_works else []

    @cached_property
    def dense(self) -> WeakDense:
        """Weaknesses of the networks before compression: at chance, or with recall 0 in a class."""
        return weak_from_answers(list(map(str, self.names)), self.label, self.right["before"])

    @property
    def _called(self) -> Sequence[str]:
        return self.network_names or [f"network {number}" for number in range(1, self.networks + 1)]

    @cached_property
    def _spreads(self) -> dict[str, Spread]:
        """The losses of all rows, by the side that they are measured from."""
        starts = ["before", *(["control"] if self.has_control else [])]
        return {
            start: joined([self._between(part.label, part.right, start) for part in self.parts]) for start in starts
        }

    @cached_property
    def costs(self) -> Spread:
        """Losses beyond that of the accuracy, from the control or, without one, from the networks before.

        There must be several pairs of networks.
        """
        start = "control" if self.has_control else "before"
        return joined([self._between(part.label, part.right, start, expected=1) for part in self.parts])

    def _between(self, label: np.ndarray, right: Right, start: str, expected: float = 0) -> Spread:
        if self.are_counts:
            before, after = (np.bincount(label, right[side][0]) for side in (start, "after"))
            return from_counts(before, after, np.bincount(label))
        return between(label, right[start], right["after"], expected, paired=start in self.pairs)

    def _accuracy(self, start: Side) -> Spread:
        return self._between(np.zeros_like(self.label), self.right, start)

    @cached_property
    def _singles(self) -> list[Spread]:
        """The losses of each of several pairs alone, since the network before."""
        if self.networks == 1 or not self._has_own_start:
            return []
        return [
            joined(
                [
                    between(part.label, _start(part.right)[network : network + 1], part.right["after"][[network]])
                    for part in self.parts
                ]
            )
            for network in range(self.networks)
        ]

    @property
    def _has_own_start(self) -> bool:
        """Whether the network before is known for each network after."""
        starts = len(self.right["before"])
        return starts == 1 or ("before" in self.pairs and starts == self.networks)

    def _names(self) -> dict[str, list[str]]:
        several = [part.grouping for part in self.parts for _ in part.names] if len(self.groups) > 1 else []
        names = [name for part in self.parts for name in part.names]
        return ({"grouping": several} if several else {}) | {self.one_kind: names}

    def _recalls(self) -> dict[str, np.ndarray]:
        supports = [np.bincount(part.label) for part in self.parts]
        recalls = {
            f"recall_{side}": np.concatenate(
                [
                    np.bincount(part.label, part.right[side].mean(0)) / support
                    for part, support in zip(self.parts, supports, strict=True)
                ]
            )
            for side in ("before", "control", "after")
            if side in self.right
        }
        return {"images": np.concatenate(supports), **recalls}

    def _precision(self) -> dict[str, np.ndarray]:
        """Return precisions and the loss of F1, as means over networks; empty without predictions, and for groups."""
        if not self.predicted or self.groups or self.are_counts:
            return {}
        support = np.bincount(self.label)
        found = {}
        for side in ("before", "after"):
            rows = zip(self.right[side], self.predicted[side], strict=True)
            counts = [
                (np.bincount(self.label, right, len(support)), np.bincount(guess + 1, minlength=len(support) + 1)[1:])
                for right, guess in rows
            ]
            found[side] = (
                np.mean([right / np.maximum(guesses, 1) for right, guesses in counts], axis=0),
                np.mean([quotient(2 * right, support + guesses) for right, guesses in counts], axis=0),
            )
        precision = {f"precision_{side}": values[0] for side, values in found.items()}
        return precision | {"f1_loss": found["before"][1] - found["after"][1]}

    def _control_columns(self) -> dict[str, np.ndarray]:
        spread = self._spreads["control"]
        if self.is_single:
            return {LOSS_FROM_CONTROL: spread.value}
        found = losses.columns(LOSS_FROM_CONTROL, spread)
        return found | (losses.columns("cost", self.costs) if self._has_costs else {})

    @property
    def _has_costs(self) -> bool:
        return not self.is_single and not self.are_counts

    def _lost_classes(self, min_images: int) -> list[str]:
        """Name a class that a network recognises no image of, although the network before did; empty if none is."""
        for part in self.parts if self._has_own_start else ():
            counts = {side: right_by_class(part.label, part.right[side]) for side in ("before", "after")}
            is_lost = (counts["after"] == 0) & (counts["before"] > 0) & (np.bincount(part.label) >= min_images)
            if is_lost.any():
                network, place = np.argwhere(is_lost)[0]
                who = "the network" if self.networks == 1 else self._called[network]
                return [f"No image of {part.names[place]} is recognised by {who}."]
        return []

    @cached_property
    def _chance(self) -> tuple[ChanceLevelCounts, SoundPairs]:
        paired = ("before" in self.pairs, "control" in self.pairs)
        return chance_level(self.label, self.right, paired=paired[0], control_paired=paired[1])

    @cached_property
    def _slopes(self) -> tuple[Slopes, list[str]]:
        notes: list[str] = []
        return slopes(self.label, *self._chance[1], notes), notes


def loss_columns(spread: Spread, singles: Sequence[Spread] = ()) -> dict[str, np.ndarray]:
    """Return columns of losses: `losses.columns` with p also uncorrected, and whether losses are shown (damaged).

    Parameters
    ----------
    spread : Spread
    singles : sequence of Spread
        Losses of each of several networks alone. A loss is also shown if it is shown in every single one.
    """
    columns = losses.columns("loss", spread)
    p_holm = columns.pop("loss_p")
    return columns | {"p": spread.p(), "p_holm": p_holm, "damaged": _are_damaged(spread, singles)}


def row_names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each row: its class or its group, preceded by the grouping if there are several."""
    if "grouping" in table:
        return table["grouping"] + ": " + table["group"]
    return table[table.columns[0]]


def _are_damaged(spread: Spread, singles: Sequence[Spread]) -> np.ndarray:
    """Return whether each loss is shown, on average or in every single one of several networks."""
    is_shown = (holm(spread.p()) <= LEVEL) & (spread.value > 0)
    if len(singles) > 1:
        p = np.max([np.where(each.value > 0, each.p(), 1.0) for each in singles], axis=0)
        is_shown |= holm(p) <= LEVEL
    return np.asarray(is_shown)


def _start(right: Right) -> np.ndarray:
    """Return the answers of the network before each network after; a single one is before all."""
    return np.broadcast_to(right["before"], right["after"].shape)


def _differences(right: Right, start: str) -> np.ndarray:
    return np.asarray(np.subtract(right[start], right["after"], dtype=np.int8))


def right_by_class(label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Count the right images of each class, (networks, classes)."""
    return np.array([np.bincount(label, row) for row in right])
