"""Compare networks of this project by class, from their predictions."""

from collections.abc import Sequence

import numpy as np

from analysis.compare.comparison import Comparison
from pruning_study.training.evaluation import Predictions


def class_changes(
    classes: Sequence[str], start: Sequence[Predictions], after: Sequence[Predictions], *, side: str = "before"
) -> Comparison:
    """Compare networks with what was made of them, or with their controls, on the same test images.

    Parameters
    ----------
    classes : sequence of str
        Each has a test image.
    start, after : sequences of Predictions
        One of each network, in the same order.
    side : {"before", "control"}
        What `start` is.
    """
    right = {name: np.array([each.right for each in own]) for name, own in ((side, start), ("after", after))}
    return Comparison(classes, after[0].label, right)
