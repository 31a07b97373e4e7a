"""What a published study's numbers.csv and pages say is what its frames give."""

import shutil

import pictures
import pytest
import rebuild
from click.testing import CliRunner
from published import Study, numbers

from analysis.runs import study_archives
from tests import made_up_runs

SPEC = """
published:
  axes:
    pruner: {MP: {pruner: mp}, control: {pruner: none}}
    ratio: {2: {ratio: 2}}
  means: [{by: [pruner, ratio], outcomes: [alpha]}]
  compare: [{axis: pruner, pairs: [[MP, control]], by: [ratio], outcomes: [alpha], holm: {planned: 2}}]
"""
# The differences are .3, .5 and .4: their mean is .4, with the standard error .1 / sqrt(3).
NUMBERS = {
    "alpha/MP/2": (1.5, 1.2516, 1.7484),
    "alpha/control": (1.1, 0.8516, 1.3484),
    "alpha/2/MP minus control": (0.4, 0.1516, 0.6484),
}


def run(*arguments):
    return CliRunner().invoke(rebuild.main, [str(argument) for argument in arguments])


@pytest.fixture
def study(tmp_path):
    """A study whose numbers and page are right."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "study.yaml").write_text(SPEC)
    made_up_runs.export(
        folder,
        made_up_runs.runs("mnist", "lenet5", "mp", 2, [1.4, 1.5, 1.6]),
        made_up_runs.runs("mnist", "lenet5", "none", 1, [1.1, 1.0, 1.2]),
    )
    result = run(folder)
    assert result.exit_code == 0, result.output
    (folder / "README.md").write_text("Alpha is **1.50 (1.25 to 1.75)** <!-- n: alpha/MP/2 -->.")
    return folder


def faults(*arguments):
    result = run("--check", *arguments)
    assert result.exit_code == bool(result.output)
    return result.output.splitlines()


def test_numbers_are_those_of_the_frames(study):
    found = rebuild.read_numbers(study)
    found = found.set_index(rebuild.names(found))[["estimate", "low", "high", "p", "p_holm", "n"]].astype(float)
    assert found.index.tolist() == list(NUMBERS)
    for name, expected in NUMBERS.items():
        assert found.loc[name, ["estimate", "low", "high"]].tolist() == pytest.approx(expected, abs=5e-5)
        assert found.loc[name, "n"] == 3
    # t is 4 sqrt(3) with two degrees of freedom. Of two planned tests one was run.
    assert found.loc["alpha/2/MP minus control", ["p", "p_holm"]].tolist() == pytest.approx(
        [0.020204, 0.040408], abs=1e-6
    )
    assert faults(study) == []


def test_at_equal_accuracy_the_second_arm_is_interpolated_between_its_ratios_and_its_control(tmp_path):
    """MP has alpha 2 at accuracy .76, and its control 1 at .8: at .78, where UP has 1.6, they give 1.5."""
    part = "{axis: pruner, pairs: [[UP, MP]], by: [], between: ratio, outcomes: [alpha]}"
    axes = "{pruner: {MP: {pruner: mp}, UP: {pruner: up}}, ratio: {4: {ratio: 4}}}"
    (tmp_path / "study.yaml").write_text(f"published: {{axes: {axes}, at_equal_accuracy: [{part}]}}")
    cells = []
    for pruner, ratio, alpha, accuracy in (("up", 4, 1.6, 0.78), ("mp", 4, 2.0, 0.76), ("none", 1, 1.0, 0.8)):
        cell = made_up_runs.runs("mnist", "lenet5", pruner, ratio, [alpha * accuracy / 0.8] * 3)
        cell[["recall_after/a", "recall_after/b", "accuracy_after"]] += accuracy - 0.8
        cells.append(cell)
    made_up_runs.export(tmp_path, *cells)
    made = numbers(Study(tmp_path))
    assert rebuild.names(made).tolist() == ["alpha_at_equal_accuracy/4/UP minus MP"]
    assert made["estimate"].tolist() == pytest.approx([0.1])


def test_a_changed_number_is_found_with_its_row(study):
    file = study / "numbers.csv"
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split(",")[4], "1.50001")
    file.write_text("\n".join(lines))
    (line,) = faults(study)  # 1.50001 is also the printed 1.50
    assert line.startswith("one: alpha/MP/2: estimate is 1.50001 in numbers.csv, but 1.4999999")


@pytest.mark.parametrize(("factor", "expected"), [(1 + 1e-12, 0), (1 + 1e-8, 1)])
def test_nine_digits_are_compared(study, factor, expected):
    stored = rebuild.read_numbers(study)
    made = stored.assign(estimate=stored["estimate"].astype(float) * [factor, 1, 1])
    assert len([*rebuild.differences(stored, made)]) == expected


def test_rows_of_one_side_only_are_found(study):
    stored = rebuild.read_numbers(study)
    assert [*rebuild.differences(stored, stored[1:])] == ["alpha/MP/2: is in numbers.csv, but is not made"]
    assert [*rebuild.differences(stored[1:], stored)] == ["alpha/MP/2: numbers.csv lacks it"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.6 <!-- n: alpha/MP/2 -->", "alpha/MP/2: 1.6 is printed, but it is 1.5"),
        ("1.5 (1.2 to 1.7) <!-- n: alpha/MP/2 -->", "alpha/MP/2: 1.2 is printed, but it is 1.25159"),
        ("2 <!-- n: alpha/UP/2 -->", "alpha/UP/2: no such number"),
        ("1.6 % <!-- n: alpha/MP/2 -->", "alpha/MP/2: 1.6 is printed, but it is 1.5"),
        ("one <!-- n: alpha/MP/2 -->", "<!-- n: alpha/MP/2 -->: no number is before this mark"),
        (
            "<.02 <!-- n: alpha/2/MP minus control:p -->",
            "alpha/2/MP minus control: <.02 is printed, but it is 0.0202041",
        ),
        ("| 1.5 | .04 <!-- n: alpha/2/MP minus control:p_holm --> |", None),
        ("[1.5 <!-- n: ../one/alpha/MP/2 --> to 1.1 <!-- n: alpha/control -->](numbers.csv)", None),
    ],
)
def test_marked_numbers_are_those_of_numbers_csv(study, text, expected):
    (study / "README.md").write_text(text)
    assert faults(study) == [f"one: README.md: {fault}" for fault in [expected] if fault]


def test_a_page_above_names_the_study(study):
    page = study.parent / "README.md"
    page.write_text("1.5 <!-- n: one/alpha/MP/2 --> and 2 <!-- n: two/alpha -->")
    assert [*rebuild.wrong_marks(page)] == ["two/alpha: no such number"]


def test_a_negative_difference_may_be_printed_as_a_loss(study):
    table = rebuild.read_numbers(study).assign(estimate="-1.5", low="-2", high="-1")
    table.to_csv(study / "numbers.csv", index=False)
    page = study / "README.md"
    page.write_text("loses 1.5 (1.0 to 2.0) <!-- n: alpha/MP/2 --> and -1.5 (-2.0 to -1.0) <!-- n: alpha/control -->")
    assert [*rebuild.wrong_marks(page)] == []


def test_a_column_that_is_not_there(study):
    (study / "study.yaml").write_text(SPEC.replace("{pruner: mp}", "{prunner: mp}"))
    assert faults(study) == ["prunner: neither a column of the frames nor an option; did you mean pruner?"]


def test_an_arm_that_is_not_there(study):
    (study / "study.yaml").write_text(
        SPEC.replace("outcomes: [alpha]}]\n  c", "outcomes: [alpha], where: {ratio: 3}}]\n  c")
    )
    (line,) = faults(study)
    assert line.endswith("one/study.yaml: published: ratio has no arm 3")


def test_an_outcome_that_is_not_there(study):
    (study / "study.yaml").write_text(SPEC.replace("[alpha]", "[alhpa]"))
    (line,) = faults(study)
    assert line.endswith("one/study.yaml: published: no axis or outcome alhpa")


def test_a_function_that_is_not_there(study):
    (study / "study.yaml").write_text(SPEC + "  tables: [{make: tickets.leevls, keys: [], values: {}}]")
    (line,) = faults(study)
    assert line.startswith("published: tickets.leevls is no function of results: ")


def test_two_numbers_of_one_name(study):
    (study / "study.yaml").write_text(SPEC.replace("means: [{", "means: [{by: [pruner], outcomes: [alpha]}, {"))
    (line,) = faults(study)
    assert line.endswith("published: several numbers are called alpha/control")


def test_a_primary_number_that_is_not_there(study):
    (study / "study.yaml").write_text(SPEC + "  primary: [alpha/contorl]")
    (line,) = faults(study)
    assert line.endswith("published: primary: no number is called alpha/contorl")


def test_frames_that_are_cut(study):
    study = study.rename(study.parent / "two")  # what was read from the folder `one` is kept
    archive = study / "frames.zip"
    with study_archives.packed(archive) as folder:
        shutil.copytree(study / "frames" / "mnist", folder, dirs_exist_ok=True)
    shutil.rmtree(study / "frames")
    archive.write_bytes(archive.read_bytes()[:-100])
    (line,) = faults(study)
    assert "frames.zip: " in line


def test_no_numbers_yet(study):
    (study / "numbers.csv").unlink()
    (line,) = faults(study)
    assert "numbers.csv: missing; python results/rebuild.py" in line


def test_a_stored_table_gives_numbers(study):
    (study / "table.csv").write_text(
        "who,gain,gain_low,gain_high,gain_p,n\nUP,0.01,-0.02,0.04,0.5,7\nMP,0.03,0.01,0.05,0.01,7\n"
    )
    part = "{stored: table.csv, where: gain_p < .1, keys: [who], values: {gain: gain}, times: 100}"
    (study / "study.yaml").write_text(f"published: {{tables: [{part}]}}")
    assert run(study).exit_code == 0
    (row,) = rebuild.read_numbers(study).to_dict("records")
    assert (row["quantity"], row["who"]) == ("gain", "MP")
    assert [float(row[name]) for name in ("estimate", "low", "high", "p", "n")] == [3, 1, 5, 0.01, 7]


FIGURE = """
  figures:
    alpha:
      {where: quantity == "alpha" and pruner == "MP", rows: pruner, by: ratio, colors: {'2': blue}, size: [3, 2],
       panels: {the title: n == 3}}
"""


def test_a_picture_has_the_numbers(study):
    (study / "study.yaml").write_text(SPEC + FIGURE)
    (panel,) = pictures.study_figure(Study(study), Study(study).spec["figures"]["alpha"]).axes
    (span,) = [drawn.get_segments()[0][:, 0] for drawn in panel.collections if hasattr(drawn, "get_segments")]
    assert span.tolist() == pytest.approx([1.2516, 1.7484], abs=5e-5)
    assert panel.get_title() == "the title"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["MP"]
