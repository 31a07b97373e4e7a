"""Compare networks of this project by class, from their predictions."""

from collections.abc import Sequence

import numpy as np

from analysis.compare.comparison import Comparison
from pruning_study.training.evaluation import Predictions


def class_changes(
    classes: Sequence[str],
    before: Sequence[Predictions],
    after: Sequence[Predictions],
    control: Sequence[Predictions] = (),
) -> Comparison:
    """Compare compressed networks with the same networks before compression, or with their controls, on test images.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes, each of which has at least one test image.
    before, after : sequences of Predictions
        Predictions of each network before and after compression; both sequences have the networks in the same order.
    control : sequence of Predictions, optional
        Predictions of their controls. If given, changes start at the controls.
    """
    sides = {"before": before, "after": after} | ({"control": control} if control else {})
    right = {side: np.array([each.right for each in own]) for side, own in sides.items()}
    return Comparison(classes, after[0].label, right, from_control=bool(control))
