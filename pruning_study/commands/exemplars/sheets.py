"""Read labelling sheets that annotators have filled in, and the key that tells which images are PIEs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.common.text_tables import opened_table
from pruning_study.commands.exemplars.questions import ITEM, LABELS, PIE, QUESTIONS

_ANSWERS = {"": np.nan, "0": 0.0, "1": 1.0}
_LARGEST = SizeLimit(1 / 64)


class Key(NamedTuple):
    """The key of a labelling sheet, which tells which images are PIEs.

    Attributes
    ----------
    labels : dict of str
        Item (an image's number on the sheet) -> label_1, label_2 and label_3, which name classes.
    is_pie : (images,), bool
        In the order of `labels`.
    """

    labels: dict[str, tuple[str, ...]]
    is_pie: np.ndarray


class _Row(NamedTuple):
    """A row of a table: its file and line, and its values by column."""

    where: str
    values: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.values[column] for column in LABELS)


def read_key(path: Path) -> Key:
    """Read the key of a labelling sheet.

    Raises
    ------
    StudyError
        If the file is not the key of a labelling sheet.
    """
    rows = _by_item(_table(path, (ITEM, *LABELS, PIE), option="key"), option="key")
    for row in rows.values():
        if row.values[PIE] not in ("0", "1"):
            raise StudyError(f"{row.where}: {PIE} is {shortened(row.values[PIE])}, but must be 0 or 1", option="key")
    if not rows:
        raise StudyError(f"{path} lists no image: give the key that was written with the sheet", option="key")
    is_pie = np.array([row.values[PIE] == "1" for row in rows.values()])
    return Key({item: row.labels for item, row in rows.items()}, is_pie)


def read_answers(path: Path, key: Key) -> np.ndarray:
    """Read the answers of one annotator.

    Parameters
    ----------
    path : Path
    key : Key

    Returns
    -------
    (questions, images)
        0, 1, or NaN for no answer; images in the order of the key.

    Raises
    ------
    StudyError
        If the file is not a labelling sheet or has no answer, if it belongs to another key, or if an answer is neither
        0, 1 nor empty.
    """
    rows = _by_item(_table(path, (ITEM, *LABELS, *(question.column for question in QUESTIONS))))
    for item, row in rows.items():
        if item not in key.labels:
            raise StudyError(f"{row.where}: {ITEM} {shortened(item)} is not in the key: give the key of this sheet")
        if row.labels != key.labels[item]:
            raise StudyError(
                f"{row.where}: the labels are {_joined(row.labels)}, but {_joined(key.labels[item])} in the key: give "
                "the key of this sheet"
            )
    empty = [np.nan] * len(QUESTIONS)
    answers = np.array([_answers(rows[item]) if item in rows else empty for item in key.labels])
    if np.isnan(answers).all():
        raise StudyError(f"{path}: it has no answers, so fill it in first")
    return answers.T


def _joined(labels: Sequence[str]) -> str:
    return shortened(", ".join(labels))


def _answers(row: _Row) -> list[float]:
    for question in QUESTIONS:
        if (answer := row.values[question.column]) not in _ANSWERS:
            raise StudyError(f"{row.where}: {question.column} is {shortened(answer)}, but must be 0, 1 or empty")
    return [_ANSWERS[row.values[question.column]] for question in QUESTIONS]


def _by_item(rows: Sequence[_Row], option: str | None = None) -> dict[str, _Row]:
    by_item: dict[str, _Row] = {}
    for row in rows:
        item = row.values[ITEM]
        if item in by_item:
            raise StudyError(f"{row.where}: {ITEM} {shortened(item)} occurs twice", option=option)
        by_item[item] = row
    return by_item


def _table(path: Path, columns: Sequence[str], option: str | None = None) -> list[_Row]:
    """Return the nonempty rows of a table."""
    with opened_table(path, _LARGEST, option=option) as (header, lines):
        if missing := [name for name in columns if header.count(name) != 1]:
            fault = "two columns" if missing[0] in header else "no column"
            raise StudyError(
                f"{path}: {fault} {missing[0]}; it needs one column for each of {', '.join(columns)}", option=option
            )
        rows = []
        for line, cells in lines:
            values = [csv_text.unquoted(cell.strip()) for cell in cells]
            if any(values):
                rows.append(_Row(f"{path}, line {line:,}", dict(zip(header, values, strict=True))))
    return rows
