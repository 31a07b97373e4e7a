"""What comparisons of several networks say on the growth of errors."""

import numpy as np

from analysis.compare.blocks import blocks
from analysis.compare.comparison import Comparison

LABEL = np.repeat([0, 1, 2], 100)


def right(*wrong):
    """Networks that have so many images of each class wrong."""
    return np.array([np.tile(np.arange(100), 3) >= np.repeat(each, 100) for each in wrong])


CONTROL = right([10, 20, 0], [11, 22, 0], [9, 19, 0], [10, 21, 0])


def said(after, control=CONTROL, **how):
    """Return the answer to the second question."""
    sides = {"before": control, "after": after, "control": control}
    sides["before"] = np.ones_like(control)
    return " ".join(blocks(Comparison(["cat", "dog", "owl"], LABEL, sides, **how))[1].lines)


def test_factors_of_classes_and_their_test_are_said():
    found = said(right([10, 40, 0], [11, 45, 0], [9, 39, 0], [11, 41, 0]))
    assert "The error is 1.69 times that of the control, and by class 1.03 (" in found
    assert "; cat) to 2.01 (" in found
    assert "; these factors differ (p <0.001)." in found
    assert "Without a factor, because no control misclassifies an image of it: owl." in found


def test_too_few_networks_cannot_test_and_two_say_nothing():
    sides = right([10, 40, 10], [11, 45, 9], [9, 39, 12]), right([10, 20, 5], [11, 22, 4], [9, 19, 5])
    assert "; too few networks to test whether these factors differ, which takes 4." in said(*sides)
    assert "The error is" not in said(*(side[:2] for side in sides))
    assert "The error is" not in said(*sides, pairs=frozenset({"before"}))
