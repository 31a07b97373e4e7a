"""The section on mitigations and its picture, on networks whose losses are known."""

import pytest
from matplotlib.collections import PathCollection

from analysis.report.mitigation import section
from analysis.report.report import report
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_mitigations as made_up
from tests import made_up_runs
from tests.text_boxes import hidden_texts


@pytest.fixture(scope="module")
def made():
    runs, counts = made_up.mitigated()
    return section.section(StudyData(runs, validation=counts))


def figures(section):
    return {block.name: block.figure for block in section.blocks if hasattr(block, "figure")}


def test_the_picture_has_both_gains_of_each_mitigation_and_the_share_that_is_left(made):
    picture = figures(made)["mitigation"]
    (axes,) = picture.axes
    assert axes.get_title() == "toy\nmp, ratio 20"
    gains = [float(marks.get_offsets()[0, 0]) for marks in axes.collections if isinstance(marks, PathCollection)]
    assert gains == pytest.approx([8.5, 5.0])
    # Two networks do not show a gain beyond doubt.
    assert [text.get_text() for text in axes.texts] == ["–"]
    assert not hidden_texts(picture)


def test_the_dashed_line_is_where_the_excess_would_be_that_of_the_control(made):
    (axes,) = figures(made)["mitigation"].axes
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert dashed.get_xdata()[0] == pytest.approx(8.5 - 2)


def test_the_table_has_the_smallest_excess_first(made):
    tables = [block for block in made.blocks if hasattr(block, "columns")]
    first = tables[0]
    assert first["mitigation"].tolist() == ["class offsets", "none"]
    assert first["chance movement"].tolist() == ["3.5", "8.5"]
    assert first["of the control"].tolist() == ["0.0", "2.0"]
    # 7 - 1 and 10 - 3, without offsets; t for one degree of freedom is 12.706.
    assert first["minus the control's"].tolist()[1] == "+6.5 (+0.1 to +12.9)"


@pytest.mark.parametrize("count", [3, 12])
def test_words_are_seen_with_few_mitigations_and_with_many(count):
    cells = [made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)])]
    for number in range(count):
        params = {"performance_weighted": f"0.{number},{number + 1}.5"}
        cells.append(made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=params))
    runs, counts = made_up.study(*cells)
    picture = figures(section.section(StudyData(runs, validation=counts)))["mitigation"]
    assert len(picture.axes[0].get_yticklabels()) == count
    assert not hidden_texts(picture)


def test_settings_of_equal_values_are_kinds_of_their_own():
    cells = []
    for setting in ({"fine_tune_epochs": "3"}, {"fine_tune_batch_size": "3"}, {"schedule": "cubic"}):
        cells.append(made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)], params=setting))
        cells.append(made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=setting | made_up.OFFSETS))
    runs, counts = made_up.study(*cells)
    made = section.section(StudyData(runs, validation=counts))
    assert len([block for block in made.blocks if hasattr(block, "columns")]) == 3
    picture = figures(made)["mitigation"]
    assert [axes.get_title() for axes in picture.axes] == [
        "toy\nmp cubic, ratio 20",
        "toy\nmp (fine_tune_epochs 3), ratio 20",
        "toy\nmp (fine_tune_batch_size 3), ratio 20",
    ]
    assert not hidden_texts(picture)


@pytest.mark.parametrize("narrow", [False, True])
def test_a_kind_of_pruning_that_a_data_set_has_no_mitigation_of_has_no_panel(narrow):
    cells = []
    for dataset, ratio in (("one", 20), ("other", 20), ("other", 50)):
        cells.append(made_up.cell("mp", ratio, [(78, 87, 90), (75, 90, 90)], dataset=dataset))
        cells.append(made_up.cell("mp", ratio, [(81, 87, 87), (82, 87, 86)], params=made_up.OFFSETS, dataset=dataset))
    runs, counts = made_up.study(*cells)
    made = section.section(StudyData(runs, validation=counts))
    (picture,) = [block for block in made.blocks if getattr(block, "name", "") == "mitigation"]
    figure = picture.narrow if narrow else picture.figure
    titles = [axes.get_title().replace("\nmp, ratio", "") for axes in figure.axes]
    assert titles == ["one 20", "other 20", "other 50"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert not hidden_texts(figure)


def test_reports_have_the_section_only_where_a_network_has_a_mitigation():
    runs, counts = made_up.mitigated()
    assert "mitigation.csv" in report(StudyData(runs, validation=counts), ReportOptions()).tables
    plain = made_up_runs.runs("toy", "net", "mp", 10, [1.0, 1.1])
    assert "mitigation.csv" not in report(StudyData(plain), ReportOptions()).tables
