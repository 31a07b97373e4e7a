"""Change of each class's recall, and tests of whether it exceeds the sampling noise of the test images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.rendering.cost_text import gain
from analysis.rendering.proportion_text import beyond_proportion, growth
from analysis.statistics import class_table, gap_changes
from analysis.statistics.guessing import ChanceLevelCounts, chance_level
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.pair_slopes import Slopes, slopes
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS, disproportionate_losses
from analysis.statistics.weak_dense import WeakDense, weak_from_answers
from pruning_study.training.evaluation import Predictions


class ClassChanges(NamedTuple):
    """Changes of recall and accuracy from some networks to the networks made from them.

    Attributes
    ----------
    table : DataFrame, a row for each class, in the order of the classes
        class, support, recall_before, recall_after, change, change_low, change_high; damaged, whether the loss exceeds
        the noise of the test images, corrected for the number of classes (Holm); and the columns of
        `proportion.disproportionate_losses`.
    accuracy : Series
        The same columns for all test images together.
    slopes : Slopes
        Alpha and raw slope, on new images too.
    networks : int
        Number of pairs of networks. Pairs with a network at chance count everywhere except in the slopes.
    chance_level : ChanceLevelCounts
        Networks at chance.
    dense : WeakDense
        Why the networks before are weak, if they are.
    """

    table: pd.DataFrame
    accuracy: pd.Series
    slopes: Slopes
    networks: int
    chance_level: ChanceLevelCounts
    dense: WeakDense

    @property
    def at_chance(self) -> bool:
        """Whether a network of every pair is at chance, so that slopes mean nothing."""
        return self.chance_level.are_all_at_chance

    @property
    def damaged_classes(self) -> list[str]:
        """Names of the classes that are shown to have lost recall, largest loss first."""
        table = self.table[self.table["damaged"]]
        return list(table.sort_values("change", kind="stable")["class"])

    def gains(self, reference: str = "network before") -> str:
        """Say which classes are shown to gain recall; return an empty string if none is, or at chance.

        Parameters
        ----------
        reference : str
            Name of the networks that the changes start from.
        """
        if self.at_chance:
            return ""
        table = self.table[(self.table["p_holm"] <= LEVEL) & (self.table["change"] > 0)]
        if table.empty:
            return ""
        most = table.loc[table["change"].idxmax()]
        return gain(str(most["class"]), most["change"], len(table), reference)

    @property
    def identified(self) -> bool:
        """Whether recalls differ by more than the noise of the test images, so that slopes mean something."""
        return self.slopes.raw_new is not None and self.slopes.raw_new.identified

    def outcome(self) -> str:
        """Describe the change of the accuracy, and the class whose recall fell most beyond the accuracy."""
        before, after = (f"{100 * self.accuracy[f'recall_{side}']:.1f}" for side in ("before", "after"))
        excess = 100 * (self.accuracy["change"] - self.table["change"])
        worst = self.table["class"][excess.idxmax()]
        return f"accuracy {before} -> {after} %, largest excess: {worst} {excess.max():.1f} points"

    def losses(self) -> str:
        """Say how many classes are shown to have lost recall."""
        if not self.damaged_classes:
            return "no class is shown to have lost recall"
        verb = "is" if len(self.damaged_classes) == 1 else "are"
        return f"{len(self.damaged_classes)} of {len(self.table)} classes {verb} shown to have lost recall"

    def chance(self) -> str:
        """Say how many networks are at chance after pruning; return an empty string if none is."""
        guess, networks = self.chance_level.counts["after"]
        if not guess:
            return ""
        return "the network is at chance" if networks == 1 else f"{guess} of {networks} networks at chance"

    def differences(self) -> str:
        """Say whether the differences between classes grew or shrank, by slope and spread on new images."""
        raw, spread = self.slopes.raw_new, self.slopes.spread_new
        if self.at_chance:
            return "slopes mean nothing at chance"
        if not self.identified or raw is None or spread is None:
            sample = f"{self.accuracy['support']:,} test images" + (
                f" and {self.networks} networks" if self.networks > 1 else ""
            )
            return f"the differences between classes are too small for {sample} to say what became of them"
        return gap_changes.sentence(gap_changes.gap_change(raw, spread, self.slopes.unchanged))

    def beside(self, from_dense: "ClassChanges") -> str:
        """Describe the change of the accuracy from the dense network; `self` holds the changes from the control."""
        before, control, after = (
            f"{100 * accuracy:.1f}"
            for accuracy in (
                from_dense.accuracy["recall_before"],
                self.accuracy["recall_before"],
                self.accuracy["recall_after"],
            )
        )
        return f"accuracy {before} -> {after} %; the control has {control} %"

    def proportion(self) -> str:
        """Describe the growth factor of the error, and the classes shown to lose more than it explains."""
        before, after = (1 - self.accuracy[f"recall_{side}"] for side in ("before", "after"))
        if not before:
            return ""
        beyond = beyond_proportion(self.table[self.table["disproportionate_p"] < LEVEL], self.table["class"])
        return f"{growth(after / before, 'control')}. {beyond}"


def class_changes(classes: Sequence[str], before: Sequence[Predictions], after: Sequence[Predictions]) -> ClassChanges:
    """Compare networks with the networks made from them, on the same test images.

    Pairs with a network at chance have no slopes and count in all else.

    Parameters
    ----------
    classes : sequence of str
        Each has a test image.
    before, after : sequences of Predictions
        One of each network, in the same order: the first of `after` was made from the first of `before`.
    """
    label = before[0].label
    sides = {name: np.array([each.right for each in side]) for name, side in (("before", before), ("after", after))}
    chance_counts, sound_pairs = chance_level(label, sides, paired=True)
    right_before, right_after = sides["before"], sides["after"]
    table = class_table.class_table(np.array(classes, dtype=object), label, right_before, right_after).assign(
        place=range(len(classes))
    )
    beyond = disproportionate_losses(label, right_before, right_after)
    together = class_table.class_table(np.array(["accuracy"]), np.zeros_like(label), right_before, right_after)
    return ClassChanges(
        class_table.with_losses(table)
        .sort_values("place", ignore_index=True)
        .drop(columns="place")
        .assign(**dict(zip(DISPROPORTIONATE_COLUMNS, beyond, strict=True))),
        together.iloc[0],
        slopes(label, *sound_pairs, notes=[]),
        len(right_after),
        chance_counts,
        weak_from_answers(classes, label, right_before),
    )
