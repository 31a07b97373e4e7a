"""The picture of a search of chains."""

import pandas as pd
import pytest

from analysis.rendering import chain_front
from analysis.runs.chain_searches import ChainTrials


def drawn(costs, minimize="size"):
    row = {"chain": "x", "pruner": "none", "number_format": "float32", "worst_class": "hat", "number": 0.0}
    row |= {"accuracy_loss": 0.0, "accuracy_loss_upper": 0.0, "class_loss": 0.0, "class_loss_upper": 0.1}
    trials = pd.DataFrame([row | {"cost": cost} for cost in costs])
    figure = chain_front.front(ChainTrials("hats", minimize, 0.03, 0.01, trials), trials["cost"] > 0, 0, None)
    figure.draw_without_rendering()
    return figure.axes[0]


def labels(axes):
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    return [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


@pytest.mark.parametrize(
    ("costs", "minimize", "written"),
    [
        ([29_000, 243_000], "size", ["50", "100", "200"]),
        ([3_000, 80_000_000], "size", ["10", "100", "1,000", "10,000"]),
        ([0.2, 1.0], "latency", ["0.2", "0.5", "1"]),
    ],
)
def test_costs_are_written_at_round_numbers(costs, minimize, written):
    found = [label.get_text() for label in labels(drawn(costs, minimize))]
    assert found[: len(written)] == written


@pytest.mark.parametrize("costs", [[29_000, 243_000], [3_000, 80_000_000], [970_000, 1_010_000], [5_000]])
def test_the_numbers_at_the_axis_are_two_or_more_and_do_not_touch(costs):
    boxes = [label.get_window_extent() for label in labels(drawn(costs))]
    assert len(boxes) >= 2
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
