"""Filled labelling sheets: what the tally says of them, and what it says of files that are no such sheets."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.commands.exemplars import tally
from pruning_study.commands.exemplars.sheet import QUESTIONS
from tests.damage import LONGEST_MESSAGE, read_damaged

COLUMNS = ["index", "label_1", "label_2", "label_3", *(question.column for question in QUESTIONS)]
LABELS = [("bag", "shirt", "coat"), ("shirt", "bag", "coat")] * 2
PIES = [1, 0, 1, 0]
PUBLISHED = Path(__file__).parents[4] / "analysis/report/published/compressed_networks_human_study.csv"


@pytest.fixture
def key(tmp_path):
    return write(tmp_path / "key.csv", [["index", "pie"], *enumerate(PIES, 11)])


def write(path, rows, delimiter=","):
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def filled(path, answers, **options):
    """Write a sheet; `answers` has six letters, one a question, for each of its first images."""
    given = zip(LABELS, answers, strict=False)
    rows = [[index, *labels, *each.replace(".", " ")] for index, (labels, each) in enumerate(given, start=11)]
    return write(path, [COLUMNS, *rows], **options)


def refusal(read, *arguments):
    with pytest.raises(StudyError) as caught:
        read(*arguments)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return str(caught.value)


def test_mlflow_run_passes_several_sheets_between_commas(tmp_path, key, run_command):
    answers = ["011100", "110100", "001100", "100000"]
    first, second = (filled(tmp_path / name, answers) for name in ("anna.csv", "ben,jr.csv"))
    apart = run_command("tally", first, second, "--key", key)
    assert apart.exit_code == 0, apart.output
    second.rename(tmp_path / "ben.csv")
    together = run_command("tally", f"{first},{tmp_path / 'ben.csv'}", "--key", key, "--output", "auto")
    assert together.output == apart.output


def test_attributes_are_counted_for_pies_and_others(tmp_path, key):
    # Label 1 is wrong in both PIEs (0 counts), and PIEs need fine grained classification (1 counts).
    path = filled(tmp_path / "sheet.csv", ["011100", "110100", "001100", "1.0.00"])
    table = tally.tallied(*tally.read([path], key))
    rows = table.set_index("column")
    assert rows.loc["label_correct", ["non_pie", "pie", "difference"]].tolist() == [0, 1, 1]
    assert rows.loc["label_correct", "p"] == pytest.approx(1 / 3)  # 2 of 2 against 0 of 2
    assert rows.loc["single_object", ["n_non_pie", "non_pie", "pie"]].tolist() == [1, 0, 0.5]
    assert rows.loc["fine_grained", ["non_pie", "pie"]].tolist() == [0, 1]
    assert rows.loc["typical", "n_non_pie"] == 1
    assert rows["kappa"].isna().all()


def test_answers_of_several_annotators_are_averaged_by_image(tmp_path, key):
    paths = [filled(tmp_path / f"{name}.csv", [answer] * 4) for name, answer in (("a", "000000"), ("b", "001000"))]
    printed = tally.tally(paths, key, tmp_path / "tallied")
    assert printed.startswith("2 PIEs and 2 other images, 2 annotators\n")
    assert "fine grained classification 50.0 50.0" in " ".join(printed.split())
    with (tmp_path / "tallied" / "tally.csv").open() as file:
        rows = {row["column"]: row for row in csv.DictReader(file)}
    assert float(rows["fine_grained"]["pie"]) == 0.5
    assert rows["typical"]["published_pie"] == ""
    assert [len(rows), len(rows["typical"])] == [6, 14]


def test_an_image_that_one_annotator_left_out_has_the_answer_of_the_other():
    answers = np.zeros((2, len(QUESTIONS), 2))
    answers[:, :, 0] = np.array([[1.0], [np.nan]])
    rows = tally.tallied(answers, np.array([True, False])).set_index("column")
    assert rows.loc["fine_grained", ["n_pie", "pie", "non_pie"]].tolist() == [1, 1, 0]


def test_rows_may_stand_in_another_order_or_lack_and_columns_be_added(tmp_path, key):
    path = filled(tmp_path / "sheet.csv", ["000000", "111111", "......", "111111"])
    with path.open() as file:
        header, *rows = csv.reader(file)
    write(path, [[*header, "remark"], *([*row, "a remark"] for row in reversed(rows[:3])), [""] * 11])
    (answers,), _ = tally.read([path], key)
    assert answers[0, :2].tolist() == [0, 1]
    assert np.isnan(answers[:, 2:]).all()


def test_a_sheet_that_a_spreadsheet_wrote_with_semicolons_is_read(tmp_path, key):
    path = filled(tmp_path / "sheet.csv", ["011100"] * 4, delimiter=";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert tally.read([path], key)[0][0, :, 0].tolist() == [0, 1, 1, 1, 0, 0]


@pytest.mark.attack
@pytest.mark.parametrize("answer", ["2", "yes", "0.5", "-1", "nan", "=1", "1" * 5000, "\x1b[31m"])
def test_an_answer_that_is_neither_0_nor_1__is_refused_with_file_and_row(tmp_path, key, answer):
    path = filled(tmp_path / "sheet.csv", ["000000"] * 4)
    with path.open() as file:
        rows = list(csv.reader(file))
    rows[3][6] = answer
    said = refusal(tally.read, [write(path, rows)], key)
    assert said.startswith(f"{path}, line 4: fine_grained is '")
    assert said.endswith("but must be 0, 1 or empty")


@pytest.mark.attack
def test_a_sheet_of_another_key__is_refused(tmp_path, key):
    path = filled(tmp_path / "sheet.csv", ["000000"] * 4)
    key.write_text(key.read_text().replace("14,", "9,"))
    assert refusal(tally.read, [path], key) == f"{path}: index '14' is not in the key: give the key of this sheet"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no column index"),
        ("index,typical\n", "no column label_correct"),
        ("\x00", "no column index"),
        (",".join([*COLUMNS, "typical"]), "two columns typical"),
        (",".join(COLUMNS) + "\n1,bag,shirt,coat,0\n", "line 2: 5 values for 10 columns"),
        (",".join(COLUMNS) + "\n" + "1,bag,shirt,coat,0,0,0,0,0,0\n" * 2, "line 3: index '1' occurs twice"),
        (",".join(COLUMNS) + "\n1,bag,shirt,coat,,,,,,\n", "it has no answers, so fill it in first"),
        (",".join(COLUMNS) + '\n"1', "cannot be read as CSV"),
        (",".join(COLUMNS) + "\n\udcff", "save it in UTF-8"),
    ],
)
def test_a_file_that_is_no_filled_labelling_sheet__is_refused_in_one_line(tmp_path, key, content, said):
    path = tmp_path / "sheet.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert said in refusal(tally.read, [path], key)


@pytest.mark.attack
def test_a_labelling_sheet_that_is_a_pipe_a_folder_or_gigabytes__is_refused_at_once(tmp_path, key):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**32)
    for name, said in (("pipe", "a pipe or a device"), (".", "Is a directory"), ("large", "GiB"), ("none", "No such")):
        assert said in refusal(tally.read, [tmp_path / name], key)


@pytest.mark.attack
def test_a_labelling_sheet_given_twice_or_a_key_that_is_none__is_refused(tmp_path, key):
    path = filled(tmp_path / "sheet.csv", ["000000"] * 4)
    assert "is given twice" in refusal(tally.tally, [path, tmp_path / "." / "sheet.csv"], key)
    assert "no column pie" in refusal(tally.tally, [path], path)
    key.write_text(key.read_text().replace("12,0", "12,2"))
    assert "line 3: pie is '2', but must be 0, 1 or empty" in refusal(tally.tally, [path], key)
    key.write_text(key.read_text().replace(",2", ","))
    assert "pie must be 0 or 1 for every image" in refusal(tally.tally, [path], key)


@pytest.mark.attack
def test_500_labelling_sheets_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path, key):
    sound = filled(tmp_path / "sheet.csv", ["011100", "110100", "0011.0", "1.0.00"]).read_bytes()
    parts = [b",", b"\n", b'"', b";", b"1", b"2", b"\x00", b"\xff", b"index", b"'="]
    taken = read_damaged(lambda path: tally.read([path], key), tmp_path / "damaged.csv", [sound], parts, 500)
    assert 0 < taken < 500


def test_published_shares_are_those_of_the_table():
    with PUBLISHED.open() as file:
        printed = [(float(row["non_pie"]), float(row["pie"])) for row in csv.DictReader(file)]
    own = [(100 * each.non_pies, 100 * each.pies) for each in QUESTIONS if not math.isnan(each.pies)]
    assert np.array(sorted(own)) == pytest.approx(np.array(sorted(printed)))
    assert len(own) == 5
