"""The section on mitigations and its picture, on networks whose losses are known."""

import pytest

from analysis.report.mitigation import section
from analysis.report.report import report
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_mitigations as made_up
from tests import made_up_runs


@pytest.fixture(scope="module")
def made():
    runs, counts = made_up.mitigated()
    return section.section(StudyData(runs, validation=counts))


def test_the_table_has_the_smallest_excess_first(made):
    tables = [block for block in made.blocks if hasattr(block, "columns")]
    first = tables[0]
    assert first["mitigation"].tolist() == ["class offsets", "none"]
    assert first["chance movement"].tolist() == ["3.5", "8.5"]
    assert first["of the control"].tolist() == ["0.0", "2.0"]
    # 7 - 1 and 10 - 3, without offsets; t for one degree of freedom is 12.706.
    assert first["minus the control's"].tolist()[1] == "+6.5 (+0.1 to +12.9)"


def test_settings_of_equal_values_are_kinds_of_their_own():
    cells = []
    for setting in ({"fine_tune_epochs": "3"}, {"fine_tune_batch_size": "3"}, {"schedule": "cubic"}):
        cells.append(made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)], params=setting))
        cells.append(made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=setting | made_up.OFFSETS))
    runs, counts = made_up.study(*cells)
    made = section.section(StudyData(runs, validation=counts))
    assert len([block for block in made.blocks if hasattr(block, "columns")]) == 3


def test_reports_have_the_section_only_where_a_network_has_a_mitigation():
    runs, counts = made_up.mitigated()
    assert "mitigation.csv" in report(StudyData(runs, validation=counts), ReportOptions()).tables
    plain = made_up_runs.runs("toy", "net", "mp", 10, [1.0, 1.1])
    assert "mitigation.csv" not in report(StudyData(plain), ReportOptions()).tables
