"""Removed channels beside Table 13: made-up networks of which alpha is known."""

import pytest

from analysis.report.papers.recall_distortion import channel_pruning
from analysis.report.report import report
from analysis.runs.frames import with_absent_values
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_runs

RATIOS = {1.75: 0.5, 3.33: 0.7, 8.27: 1.0, 19.11: 1.5}


def study(model="resnet56", dataset="cifar10"):
    """Three seeds of each ratio with alphas a, a + .01 and a + .02, and a control with .9, .91 and .92."""
    made = [made_up_runs.runs(dataset, model, "none", 1, [0.9, 0.91, 0.92])]
    for ratio, alpha in RATIOS.items():
        cell = made_up_runs.runs(dataset, model, "chip", ratio, [alpha, alpha + 0.01, alpha + 0.02])
        made.append(cell.assign(realized_ratio=ratio + 0.01, accuracy_after=0.8))
    return StudyData(with_absent_values(made_up_runs.study(*made)))


def test_cells_stand_beside_those_of_print_and_minus_the_control():
    found = channel_pruning.cells(study())
    assert found["ratio"].tolist() == list(RATIOS)
    assert found["printed_accuracy"].tolist() == [0.934, 0.920, 0.882, 0.824]
    assert found["printed_alpha"].tolist() == [0.516, 0.650, 0.985, 1.494]
    assert found["alpha_mean"].tolist() == pytest.approx([0.51, 0.71, 1.01, 1.51])
    assert found["alpha_minus_none"].tolist() == pytest.approx([-0.4, -0.2, 0.1, 0.6])
    assert found["alpha_difference"].tolist() == pytest.approx([-0.006, 0.06, 0.025, 0.016])


def test_the_table_by_hand():
    table = channel_pruning.ratio_table(channel_pruning.cells(study()))
    assert table.iloc[0].tolist() == ["1.00", "1.00", "0.800", "0.886", "n/a", "n/a", "n/a", "n/a"]
    first = table.iloc[1].tolist()
    assert first[:4] == ["1.75", "1.76", "0.800", "0.934"]
    assert first[5].startswith("0.510 (")
    assert first[6:] == ["0.516", first[7]]
    assert first[7].startswith("-0.400")


def test_other_networks_stand_beside_print_without_a_difference():
    found = channel_pruning.cells(study(model="resnet20"))
    assert found["printed_alpha"].notna().all()
    assert found["alpha_difference"].isna().all()
    text = str(channel_pruning.section(study(model="resnet20")).blocks)
    changed = "ResNet-20 instead of ResNet-56, 3 networks instead of 15"
    assert f"Not as in print: {changed}. Not known: recipe, epochs, " in text


def test_settings_that_are_not_those_of_print_are_named():
    params = {"recipe": "resnet-cifar", "epochs": "6", "fine_tune_epochs": "6", "batch_size": "128"}
    made = StudyData(study().runs.assign(**{f"params.{name}": value for name, value in params.items()}))
    text = str(channel_pruning.section(made).blocks)
    assert (
        "Not as in print: 3 networks instead of 15, epochs 6 instead of 60, fine_tune_epochs 6 instead of 400." in text
    )


@pytest.mark.slow
def test_the_table_is_in_a_report_once():
    written = report(StudyData(study().runs), ReportOptions(paper=True)).tables
    assert "removed_channels.csv" in written
    assert "table_13.csv" not in written
    assert 13 not in set(written["comparison.csv"]["table"])


def test_a_study_without_chip_has_no_section():
    runs = made_up_runs.runs("cifar10", "resnet56", "mp", 2, [1.0, 1.1, 1.2])
    assert channel_pruning.section(StudyData(with_absent_values(runs))) is None
