"""The answer of the plan in results/proportion/plan.md to tables whose p and intervals are given."""

import pandas as pd
import proportion_planned
import pytest

CELL = {"pruner": "mp", "schedule": "cubic", "ratio": 20.0, "training": "falling, last", "n": 20}
GIVEN = dict.fromkeys(
    [
        f"{name}{end}"
        for name in ("error_growth", "raw_slope_on_none", "proportionality")
        for end in ("", "_low", "_high")
    ],
    1.0,
)


def row(dataset, p, low, high, **other):
    intervals = {"proportionality_low": low, "proportionality_high": high, "p_equal_losses": 0.001, "p_equivalence": p}
    return {**CELL, **GIVEN, "dataset": dataset, "images": "these images", **intervals, **other}


def answers(*rows):
    table = proportion_planned.primary(pd.DataFrame(rows))
    return table.set_index("dataset")[["p_equivalence_holm", "answer"]]


def test_an_equivalence_passes_after_holms_correction_over_both_data_sets():
    table = answers(row("fashion-mnist", 0.03, 0.85, 1.15), row("mnist", 0.02, 0.9, 1.1))
    assert table["p_equivalence_holm"].tolist() == pytest.approx([0.04, 0.04])
    assert table["answer"].tolist() == ["passed", "passed"]


def test_a_data_set_without_networks_counts_in_the_correction():
    table = answers(row("fashion-mnist", 0.03, 0.85, 1.15))
    assert table.loc["fashion-mnist"].tolist() == [pytest.approx(0.06), "open"]


def test_an_interval_outside_a_fifth_refutes():
    table = answers(row("fashion-mnist", 0.9, 0.5, 0.79), row("mnist", 0.9, 1.21, 1.4))
    assert table["answer"].tolist() == ["refuted", "refuted"]
    assert answers(row("mnist", 0.9, 0.5, 0.81)).loc["mnist", "answer"] == "open"


def test_other_cells_and_data_sets_are_no_primary_outcome():
    others = (
        row("cifar10_jpeg", 0.001, 0.9, 1.1),
        row("mnist", 0.001, 0.9, 1.1, training="falling, best"),
        row("mnist", 0.001, 0.9, 1.1, ratio=10.0),
        row("mnist", 0.001, 0.9, 1.1, schedule="one-shot"),
    )
    assert answers(*others, row("mnist", 0.04, 0.9, 1.1)).loc["mnist"].tolist() == [pytest.approx(0.08), "open"]
