"""Compare networks before and after compression, class by class or group by group: table, bounds, slopes and gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import class_table, grouping
from analysis.statistics import groups as image_groups
from analysis.statistics import limits as class_limits
from analysis.statistics.class_costs import COST_COLUMNS, LOSS_COLUMNS
from analysis.statistics.guessing import ChanceLevelCounts, SoundPairs, chance_level
from analysis.statistics.limits import Gate, Limits
from analysis.statistics.network_losses import GROSS_LOSS, gross_losses
from analysis.statistics.pair_slopes import Slopes, slopes
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS, disproportionate_losses
from analysis.statistics.weak_dense import WeakDense, weak_from_answers

Right = Mapping[str, np.ndarray]
# Values of the column `reference`, by the side that losses are measured from and whether it is paired with `after`.
_REFERENCES = {
    ("control", True): "control",
    ("control", False): "control of other seeds",
    ("before", True): "dense",
    ("before", False): "dense networks of other seeds",
}


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

    Results are computed on first access and cached.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    label : (images,), integers
        Class of each image, from 0; each class has at least one image.
    right : mapping of str to (networks, images), bool
        Whether each network is right about each image. The keys, called sides, are `after` and at least one of `before`
        and `control`. Losses are measured from the control if there is one. Without `before`, the control replaces it
        everywhere.
    pairs : set of str
        Sides whose networks correspond to those of `after`, row by row. A single network of `before` is paired with all
        of them.
    groups : mapping of str to (images,) text
        Groups to compare instead of classes: the group of each image, by the name of the grouping. An empty string
        means no group.
    places : (networks,), integers, optional
        Index of each network of `after` among the networks that the user gave, from 0, if some were left out.
    from_control : bool
        Whether the control replaces `before` although `before` is known. Bounds and tests of a single network allow for
        the changes from `before` to the control, because retraining alone causes such changes.

    Examples
    --------
    After compression, nine of the ten images of dog are misclassified. Nothing was retrained, so the control is the
    network before compression:

    >>> label = np.repeat([0, 1], 10)
    >>> dense, after = np.ones((1, 20), bool), np.arange(20)[np.newaxis] < 11
    >>> found = Comparison(["cat", "dog"], label, {"before": dense, "after": after, "control": dense})
    >>> found.damaged, found.table["change"].tolist(), found.gate(Limits(class_loss=0.05)).state
    (['dog'], [0.0, -0.9], 'beyond')
    """

    names: Sequence[str]
    label: np.ndarray
    right: Right
    pairs: frozenset[str] = frozenset({"before", "control"})
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    places: np.ndarray | None = None
    from_control: bool = False

    @property
    def reference(self) -> Literal["control", "before"]:
        """The side that losses are measured from."""
        return "control" if "control" in self.right else "before"

    @property
    def basis(self) -> Literal["control", "networks", "pair"]:
        """What allows conclusions about causes: a control, several networks on each side, or nothing (`pair`)."""
        if self.reference == "control":
            return "control"
        return "networks" if min(map(len, self.right.values())) > 1 else "pair"

    @property
    def networks(self) -> int:
        """Number of networks after compression. Those at chance are included in all results except slopes."""
        return len(self.right["after"])

    @property
    def are_pairs(self) -> bool:
        """Whether the networks that losses are measured from correspond to those of `after`, row by row."""
        return self.reference in self.pairs

    @property
    def starts_at_control(self) -> bool:
        """Whether the control replaces the networks before compression in the table and the slopes."""
        return self.from_control or "before" not in self.right

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
        return float(self._right[side].mean())

    @cached_property
    def parts(self) -> list[Part]:
        """The groupings that are compared; the classes alone if there are no groups."""
        if not self.groups:
            return [Part("", list(map(str, self.names)), np.arange(len(self.label)), self.label, self._tested)]
        parts = []
        for name, group in self.groups.items():
            names, images, of_image = image_groups.members(group)
            answers = {side: each[:, images] for side, each in self._tested.items()}
            parts.append(Part(name, list(map(str, names)), images, of_image, answers))
        return parts

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each class, in order, or for each group of each grouping.

        The columns are those of `class_table.class_table`, p_holm and damaged from `class_table.marked`, and
        `proportion.DISPROPORTIONATE_COLUMNS`. If there are several groupings, a first column names the grouping.
        """
        tested = pd.concat(map(self._tested_table, self.parts), ignore_index=True)
        return class_table.marked(tested.join(self.disproportionate))

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The table with the losses and costs of each class, the class that lost most first.

        `reference` (what `recall_after` is compared with), `class_costs.LOSS_COLUMNS` and `class_costs.COST_COLUMNS`
        are inserted before `proportion.DISPROPORTIONATE_COLUMNS`.
        """
        table = self.table.drop(columns=[*DISPROPORTIONATE_COLUMNS])
        table = table.assign(reference=_REFERENCES[self.reference, self.are_pairs])
        return class_table.ranked(table.join(self.costs).join(self.disproportionate))

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Loss and cost of each class, with intervals and bounds, a row for each row of `table`."""
        return pd.concat([pd.DataFrame(each.columns) for each in self._costs], ignore_index=True)[
            [*LOSS_COLUMNS, *COST_COLUMNS]
        ]

    @cached_property
    def disproportionate(self) -> pd.DataFrame:
        """The disproportionate loss of each class, a row for each row of `table`; NaN if networks are not paired.

        The columns are `proportion.DISPROPORTIONATE_COLUMNS`.
        """
        return pd.concat(map(self._disproportionate, self.parts), ignore_index=True)

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of the classes that are shown to have lost recall, the one that lost most first."""
        return self.ranked[self.ranked["damaged"]]

    @property
    def damaged(self) -> list[str]:
        """Names of the classes in `damaged_rows`."""
        return list(row_names(class_table.ranked(self.table[self.table["damaged"]])))

    @cached_property
    def accuracy(self) -> pd.Series:
        """The row that `class_table.class_table` would have if all images were of one class.

        With `from_control`, the interval of a single network's change is that of `accuracy_loss`.
        """
        row = self._class_table(["accuracy"], np.zeros_like(self.label), self._right).iloc[0]
        if self.from_control and self.networks == 1:
            low, high = self.accuracy_loss.bounds[0, :, 0]
            row[["change_low", "change_high"]] = -high, -low
        return row

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
    def dense(self) -> WeakDense:
        """Weaknesses of the networks before compression: at chance, or with recall 0 in a class."""
        return weak_from_answers(list(map(str, self.names)), self.label, self._right["before"])

    @cached_property
    def losses(self) -> pd.DataFrame:
        """The loss of the accuracy and of each class or group, with its bounds, as `limits.losses` returns them."""
        parts = [class_limits.losses(list(map(str, self.names)), self.label, self._tested, self.are_pairs)]
        if self.groups:
            of_groups = (
                class_limits.losses(self._titles(part), part.label, part.right, self.are_pairs) for part in self.parts
            )
            parts = [parts[0][:1], *(losses[1:] for losses in of_groups)]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def accuracy_loss(self) -> class_table.Losses:
        """The loss of accuracy, with its bounds."""
        return class_table.accuracy_loss(self.label, *self._sides(self._tested), paired=self.are_pairs)

    @cached_property
    def gross_losses(self) -> pd.DataFrame:
        """The gross losses of classes or groups in single networks, as `network_losses.gross_losses` returns them."""
        tests = self.networks * sum(len(part.names) for part in self.parts)
        tables = [
            gross_losses(self._titles(part), part.label, part.right, paired=self.are_pairs, tests=tests)
            for part in self.parts
        ]
        table = pd.concat(tables).sort_values("loss", ascending=False, kind="stable", ignore_index=True)
        places = np.arange(self.networks) if self.places is None else self.places
        return table.assign(network=places[table["network"] - 1] + 1)

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The class, or the group of each grouping, that costs most, as `class_costs.worst_class` finds it.

        The columns are grouping, name, cost, cost_low, cost_high, is_shown. The class is chosen on other networks and
        images than those on which its cost is estimated. The frame is empty for single networks and for unpaired
        networks.
        """
        rows = [
            (part.grouping, part.names[costs.worst.place], *costs.worst[1:])
            for part, costs in zip(self.parts, self._costs, strict=True)
            if costs.worst.place >= 0
        ]
        return pd.DataFrame(rows, columns=["grouping", "name", "cost", "cost_low", "cost_high", "is_shown"])

    @cached_property
    def groupings(self) -> pd.DataFrame:
        """A row for each grouping as a whole, as `grouping.summary` returns it; empty for unpaired networks."""
        if not self.groups or not self._start_in_pairs:
            return pd.DataFrame()
        rows = [
            {
                "grouping": part.grouping,
                **grouping.summary(
                    np.array(part.names),
                    part.label,
                    self.label[part.images],
                    **part.right,
                    control_paired=self.are_pairs,
                ),
            }
            for part in self.parts
        ]
        return pd.DataFrame(rows)

    def gate(self, limits: Limits) -> Gate:
        """Compare the losses with limits. If `basis` is "pair", only gross losses count as beyond the limits."""
        return class_limits.gate(self.losses, limits, GROSS_LOSS if self.basis == "pair" else None)

    @cached_property
    def _right(self) -> Right:
        """`right`, or the control as `before` if the control replaces it."""
        if not self.starts_at_control:
            return self.right
        return {"before": self.right["control"], "after": self.right["after"]}

    @property
    def _tested(self) -> Right:
        """The sides of bounds and tests."""
        return self.right if self.from_control else self._right

    def _titles(self, part: Part) -> list[str]:
        return [f"{part.grouping}: {name}" for name in part.names] if len(self.groups) > 1 else part.names

    @staticmethod
    def _sides(right: Right) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        return right["before"], right["after"], right.get("control")

    def _tested_table(self, part: Part) -> pd.DataFrame:
        """Return the recalls of a grouping's groups with their changes and tests."""
        table = self._class_table(part.names, part.label, part.right).rename(columns={"class": self.one_kind})
        if len(self.groups) > 1:
            table.insert(0, "grouping", part.grouping)
        return table

    def _class_table(self, names: Sequence[str], label: np.ndarray, right: Right) -> pd.DataFrame:
        table = class_table.class_table(
            np.array(names, dtype=object),
            label,
            *self._sides(right),
            paired=self._start_in_pairs,
            control_paired="control" in self.pairs,
        )
        return class_table.from_control(table) if self.from_control and "control" in right else table

    @property
    def _start_in_pairs(self) -> bool:
        """Whether the networks before compression, or the control in their place, are paired with those of `after`."""
        return ("before" if "before" in self.right else "control") in self.pairs

    def _disproportionate(self, part: Part) -> pd.DataFrame:
        columns = [*DISPROPORTIONATE_COLUMNS]
        if not self.are_pairs:
            return pd.DataFrame(np.nan, range(len(part.names)), columns)
        before, after, control = self._sides(part.right)
        start, dense = (before, None) if control is None else (control, before)
        losses = disproportionate_losses(part.label, start, after, dense)
        return pd.DataFrame(dict(zip(columns, losses, strict=True)))

    @cached_property
    def _costs(self) -> list[class_table.Costs]:
        return [class_table.costs(part.label, *self._sides(part.right), paired=self.are_pairs) for part in self.parts]

    @cached_property
    def _chance(self) -> tuple[ChanceLevelCounts, SoundPairs]:
        in_pairs = "control" in self.pairs
        return chance_level(self.label, self._right, paired=self._start_in_pairs, control_paired=in_pairs)

    @cached_property
    def _slopes(self) -> tuple[Slopes, list[str]]:
        notes: list[str] = []
        return slopes(self.label, *self._chance[1], notes), notes


def row_names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each row: its class or its group, preceded by the grouping if there are several."""
    if "grouping" in table:
        return table["grouping"] + ": " + table["group"]
    return table[table.columns[0]]
