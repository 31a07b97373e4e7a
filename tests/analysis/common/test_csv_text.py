"""CSV for spreadsheets: no text is a formula, and every table is read back as it was."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.common import csv_text

PIECES = [*"=+-@'\"\\,;:\t\r\n1a ＝\x00\ufeff", "=cmd|' /C calc'!A0", "HYPERLINK(", "NA", "nan", "é", "猫"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.attack
@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-", "-1+1", "+1 "])
def test_a_cell_that_a_spreadsheet_takes_for_a_formula__gets_a_quote_in_front(text, tmp_path):
    csv_text.write(pd.DataFrame({text: [text]}), tmp_path / "a.csv")
    assert rows(tmp_path / "a.csv") == [[f"'{text}"], [f"'{text}"]]


@pytest.mark.parametrize("text", ["-1", "+0.5", "-.5", "1e-3", "-1.5E+10", "T-shirt/top", "a=b", "'x", "n/a", ""])
def test_numbers_and_ordinary_texts_stay_as_they_are(text):
    assert csv_text.quoted(text) == text


def test_numbers_are_written_as_pandas_writes_them(tmp_path):
    frame = pd.DataFrame({"a": [-0.1, np.nan], "b": [-1, 2], "c": [True, False], "d": ["x", None], "e": ["-0.25", "1"]})
    csv_text.write(frame, tmp_path / "a.csv", missing="n/a")
    assert (tmp_path / "a.csv").read_text() == frame.to_csv(index=False, na_rep="n/a")


@pytest.mark.slow
@pytest.mark.attack
@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8, unique=True))
def test_names_with_quotes_commas_and_line_ends_in_a_csv__are_the_same_when_read_back(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.csv"
    csv_text.write(pd.DataFrame({"class": names, "recall": 0.5}), path)
    assert rows(path) == [["class", "recall"], *([csv_text.quoted(name), "0.5"] for name in names)]
    assert not any(csv_text.is_formula(row[0]) for row in rows(path) if not row[0].startswith("'"))
    assert csv_text.read(path, dtype={"class": str}, keep_default_na=False)["class"].tolist() == names


@pytest.mark.attack
def test_a_class_truly_named_with_a_quote_and_an_equals_sign__is_not_taken_for_the_class_without_the_quote(tmp_path):
    csv_text.write(pd.DataFrame({"class": ["=x", "'=x", "''=x"]}), tmp_path / "a.csv")
    assert rows(tmp_path / "a.csv") == [["class"], ["'=x"], ["''=x"], ["'''=x"]]
    assert csv_text.read(tmp_path / "a.csv")["class"].tolist() == ["=x", "'=x", "''=x"]


@pytest.mark.attack
def test_a_class_named_as_the_column_of_a_confusion_matrix__has_a_row_and_a_column(tmp_path):
    names = pd.Index(["class", "=b"], name="class")
    csv_text.write(pd.DataFrame([[1, 2], [3, 4]], names, list(names)), tmp_path / "a.csv", index=True)
    assert rows(tmp_path / "a.csv") == [["class", "class", "'=b"], ["class", "1", "2"], ["'=b", "3", "4"]]
