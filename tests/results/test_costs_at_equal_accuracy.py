"""Costs of classes at the same accuracy, on networks whose losses are known by hand."""

import costs_at_equal_accuracy
import pytest

from analysis.runs.validation_counts import ValidationRecalls
from tests import made_up_mitigations as made_up

RATIOS = (2, 4, 8, 16)


def method(losses, weak=0, **params):
    """A cell for each ratio: two networks that lose so many images of each class, the first class of one more."""
    return [
        made_up.cell("mp", ratio, [(90 - lost - weak, 90 - lost, 90 - lost + weak), (90 - lost,) * 3], params=params)
        for ratio, lost in zip(RATIOS, losses, strict=True)
    ]


def test_networks_that_lose_a_point_are_compared_with_their_controls_and_with_mp():
    control = made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90)])
    runs, counts = made_up.study(control, *method((0, 1, 3, 9)), *method((0, 0, 1, 3), weak=2, schedule="cubic"))
    table = costs_at_equal_accuracy.table(runs, ValidationRecalls(counts)).set_index(["method", "minus", "class"])
    assert (table["n"] == 2).all()
    # MP loses one image of a hundred in every class, and its cubic schedule as many, but for two of a single network.
    assert table.loc[("mp", "control"), "loss"].tolist() == pytest.approx([0.01] * 3)
    assert table.loc[("mp", "control"), "cost"].tolist() == pytest.approx([0] * 3)
    assert table.loc[("mp cubic", "control"), "loss"].tolist() == pytest.approx([0.02, 0.01, 0])
    assert table.loc[("mp cubic", "mp"), "cost"].tolist() == pytest.approx([0.01, 0, -0.01])
    assert table.loc[("mp cubic", "mp"), "accuracy_loss"].tolist() == pytest.approx([0] * 3)


def test_a_folder_without_both_halves_is_left_alone(tmp_path):
    costs_at_equal_accuracy.write(tmp_path)
    assert not list(tmp_path.iterdir())
