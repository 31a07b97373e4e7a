"""Tables and pictures of quantized networks whose accuracies, sizes and latencies are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.page import Picture
from analysis.report.first_screen import costs, number_formats, section
from analysis.study.study import StudyData
from tests import made_up_runs

SPREAD = np.linspace(-0.1, 0.1, 8)


def runs(pruner, ratio, *, after=0.8, measured=(), **params):
    made = made_up_runs.runs("mnist", "lenet5", pruner, ratio, 1 + SPREAD, **params)
    return made_up_runs.with_images(made.assign(accuracy_after=after, **dict(measured)))


SMALL = {"model_bytes": 61_234.0, "latency_ms/one": 0.25, "latency_ms/one_low": 0.24, "latency_ms/one_high": 0.27}
LARGE = {"model_bytes": 25_600_000.0, "latency_ms/one": 12.5}
PRUNED = runs("mp", 10, after=0.7, number_format="float32")
CONTROL = runs("none", 1, number_format="float32")
FORMATS = (
    runs("float16", 1, measured=LARGE, number_format="float16"),
    runs("fixed-int8", 1, after=0.797, measured=SMALL, number_format="fixed-int8"),
)
BOTH = runs("mp", 4, after=0.75, measured=SMALL, number_format="fixed-int8")


def study(*cells):
    return StudyData(made_up_runs.study(*cells))


def shown(made):
    return {block.name: block.figure for block in made.blocks if isinstance(block, Picture)}


def test_accuracy_size_and_latency_of_every_quantized_cell():
    found = number_formats.number_formats(study(PRUNED, CONTROL, *FORMATS, BOTH)).set_index("method")
    assert found["level"].to_dict() == {"fixed-int8": 8.0, "float16": 16.0, "mp fixed-int8": 4.0}
    assert found["n"].tolist() == [8, 8, 8]
    assert found["model_bytes"].to_dict() == {"fixed-int8": 61_234.0, "float16": 25.6e6, "mp fixed-int8": 61_234.0}
    assert found["accuracy_change"].tolist() == pytest.approx([-0.003, 0, -0.05])
    assert found.loc["fixed-int8", "latency_ms/one_high"] == 0.27


def test_the_table_says_what_a_format_costs_and_saves_in_few_digits():
    made = section.number_formats(study(PRUNED, CONTROL, *FORMATS, BOTH))
    (table,) = (block for block in made.blocks if isinstance(block, pd.DataFrame))
    rows = table.set_index("method")
    assert rows["change"].to_dict() == {
        "fixed-int8": "-0.30",
        "float16": "+0.00",
        "mp fixed-int8, ratio 4": "-5.00",
    }
    assert rows["size"].tolist() == ["61.2 kB", "25.6 MB", "61.2 kB"]
    assert rows["one image, ms"].tolist() == ["0.250 (0.240 to 0.270)", "12.5", "0.250 (0.240 to 0.270)"]
    assert "batch, ms" not in rows
    assert list(made.tables) == ["number_formats.csv"]


def test_a_study_without_number_formats_has_no_such_section_and_one_without_sizes_no_such_columns():
    assert section.number_formats(study(PRUNED, CONTROL)) is None
    made = section.number_formats(study(runs("float16", 1, number_format="float16")))
    (table,) = (block for block in made.blocks if isinstance(block, pd.DataFrame))
    costs = ["costs most", "largest cost", "chance movement", "by noise alone", "costly classes"]
    assert list(table) == ["method", "networks", "accuracy", "change", *costs]


def test_classes_that_cost_are_counted():
    """Recalls of a fall by 4, 5 and 6 points in all, and those of b rise by as much."""
    lost = np.array([0.04, 0.05, 0.06])
    made = made_up_runs.runs("mnist", "lenet5", "fixed-int8", 1, [1.0] * 3, number_format="fixed-int8")
    seeds = np.array([-0.1, 0.02, 0.1])
    recalls = {"recall_before/a": 0.8 + seeds, "recall_after/a": 0.8 + seeds - lost}
    recalls |= {"recall_before/b": 0.8 - seeds, "recall_after/b": 0.8 - seeds + lost}
    made = made.assign(accuracy_before=0.8, accuracy_after=0.8, **recalls)
    (row,) = number_formats.number_formats(study(made)).to_dict("records")
    assert row["costly_classes"] == 1
    (alone,) = number_formats.number_formats(study(made.iloc[:1])).to_dict("records")
    assert np.isnan(alone["costly_classes"])


def test_losses_by_format_are_from_the_dense_networks():
    of_control = runs("none fixed-int8", 1, number_format="fixed-int8")
    (figure,) = shown(section.number_formats(study(PRUNED, CONTROL, *FORMATS, of_control))).values()
    assert [axes.get_title() for axes in figure.axes] == ["float16", "fixed-int8"]
    assert "by number format" in figure.get_suptitle()


def test_number_formats_are_not_among_ratios():
    made = study(PRUNED, CONTROL, *FORMATS, BOTH)
    (by_ratio,) = costs.costs(made)
    assert [tick.get_text() for tick in by_ratio.axes[-1].get_xticklabels()] == ["4", "10"]


def test_of_number_formats_alone_nothing_is_drawn_against_ratios_and_classes_are_written():
    made = study(*FORMATS)
    assert costs.costs(made) == []
    assert section.slopes(made) is None
    assert list(section.class_losses(made).tables) == ["classes.csv"]
    assert section.class_losses(made).blocks == []


@pytest.mark.parametrize(("number", "text"), [(0.0, "0 B"), (999.0, "999 B"), (1000.0, "1.00 kB"), (2.5e12, "2500 GB")])
def test_sizes_have_three_digits(number, text):
    assert number_formats.format_bytes(number) == text
