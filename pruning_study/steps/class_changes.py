"""What became of the recall of each class, and how much of it the number of test images cannot explain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import class_table, gap_changes
from analysis.statistics.pair_slopes import Slopes, slopes
from pruning_study.training.evaluation import Predictions


class ClassChanges(NamedTuple):
    """Changes of recall between networks and what was made of them, in the same order.

    Attributes
    ----------
    table : DataFrame, a row for each class, in the order of the classes
        class, support, recall_before, recall_after, change, change_low, change_high, and damaged: whether the loss is
        beyond the noise of the test images, corrected for the number of classes (Holm).
    accuracy : Series
        The same columns for all test images together.
    slopes : Slopes
        Alpha and raw slope, on new images too.
    networks : int
    """

    table: pd.DataFrame
    accuracy: pd.Series
    slopes: Slopes
    networks: int

    @property
    def lost(self) -> list[str]:
        """Names of the classes that are shown to have lost recall, the one that lost most first."""
        table = self.table[self.table["damaged"]]
        return list(table.sort_values("change", kind="stable")["class"])

    @property
    def identified(self) -> bool:
        """Whether the classes differ enough, for so many test images, to speak of a slope."""
        return self.slopes.raw_new is not None and self.slopes.raw_new.identified

    def losses(self) -> str:
        """Say which classes lost recall."""
        if not self.lost:
            return "no class is shown to have lost recall"
        return f"{len(self.lost)} of {len(self.table)} classes lost more recall than the choice of test images explains"

    def differences(self) -> str:
        """Say what became of the differences between the classes, by slope and spread on new images."""
        raw, spread = self.slopes.raw_new, self.slopes.spread_new
        if not self.identified or raw is None or spread is None:
            few = f"{self.accuracy['support']:,} test images" + (
                f" and {self.networks} networks" if self.networks > 1 else ""
            )
            return f"the differences between classes are too small for {few} to say what became of them"
        return gap_changes.sentence(gap_changes.gap_change(raw, spread, self.slopes.unchanged))


def class_changes(classes: Sequence[str], before: Sequence[Predictions], after: Sequence[Predictions]) -> ClassChanges:
    """Compare networks with what was made of them, on the same test images.

    Parameters
    ----------
    classes : sequence of str
        Each has a test image.
    before, after : sequences of Predictions
        One of each network; the first after was made of the first before.
    """
    label = before[0].label
    right_before, right_after = (np.array([each.right for each in side]) for side in (before, after))
    table = class_table.class_table(np.array(classes, dtype=object), label, right_before, right_after).assign(
        place=range(len(classes))
    )
    together = class_table.class_table(np.array(["accuracy"]), np.zeros_like(label), right_before, right_after)
    return ClassChanges(
        class_table.with_losses(table).sort_values("place", ignore_index=True).drop(columns="place"),
        together.iloc[0],
        slopes(label, right_before, right_after, notes=[]),
        len(after),
    )
