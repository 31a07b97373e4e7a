"""Costs of classes at the same accuracy, on networks whose losses are known by hand."""

import equal_accuracy
import pandas as pd
import pytest
import report_tables

from analysis.report.methods.same_accuracy import choose_networks
from analysis.runs.validation_counts import ValidationRecalls
from analysis.study.arrays import run_arrays
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
    chosen = choose_networks(runs, ValidationRecalls(counts), 1.0)
    table = equal_accuracy.class_costs(run_arrays(runs), chosen).set_index(["of", "class"])
    assert (table["n"] == 2).all()
    # MP loses one image of a hundred in every class, and its cubic schedule as many, but for two of a single network.
    assert table.loc["mp minus control", "loss_from_control"].tolist() == pytest.approx([0.01] * 3)
    assert table.loc["mp minus control", "cost"].tolist() == pytest.approx([0] * 3)
    assert table.loc["mp cubic minus control", "loss_from_control"].tolist() == pytest.approx([0.02, 0.01, 0])
    assert table.loc["mp cubic minus mp", "cost"].tolist() == pytest.approx([0.01, 0, -0.01])
    assert table.loc["mp cubic minus mp", "costliest"].tolist() == [True, False, False]
    assert table.loc["mp cubic minus mp", "accuracy_loss"].tolist() == pytest.approx([0] * 3)


def test_accuracies_and_costs_are_in_points_but_slopes_are_not():
    row = {"method": "up", "baseline": "mp", "p": 0.5, "p_holm": 1.0}
    shares = ["of_method", "of_baseline", "difference", "difference_low", "difference_high"]
    of_classes = ["cost", "cost_low", "cost_high", "spared", "spared_low", "spared_high"]
    table = pd.DataFrame(
        [row | {"outcome": name} | dict.fromkeys(shares + of_classes, 0.02) for name in ("accuracy", "alpha")]
    )
    found = report_tables.in_points(table)
    assert found["of"].tolist() == ["up minus mp"] * 2
    assert found["difference_low"].tolist() == [2, 0.02]
    assert found["cost"].tolist() == [2, 2]
    assert found["difference_p"].tolist() == [0.5, 0.5]
