"""Compare networks of this project by class, from their predictions."""

from collections.abc import Sequence

import numpy as np

from analysis.compare.comparison import Comparison
from pruning_study.training.evaluation import Predictions


def class_changes(
    classes: Sequence[str], start: Sequence[Predictions], after: Sequence[Predictions], *, side: str = "before"
) -> Comparison:
    """Compare compressed networks with the same networks before compression, or with their controls, on test images.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes, each of which has at least one test image.
    start, after : sequences of Predictions
        Predictions of each network; both sequences have the networks in the same order.
    side : {"before", "control"}
        Whether `start` has the predictions of the networks before compression or of their controls.
    """
    right = {name: np.array([each.right for each in own]) for name, own in ((side, start), ("after", after))}
    return Comparison(classes, after[0].label, right)
