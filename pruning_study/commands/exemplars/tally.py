"""Compare annotators' answers on PIEs and on other images, beside the results of Hooker et al."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.common.text_tables import opened_table
from analysis.statistics.hypothesis_tests import corrected
from analysis.statistics.ratings import agreement, share_difference
from pruning_study.commands.exemplars.sheet import INDEX, PIE, QUESTIONS
from pruning_study.steps.text_tables import text_table

TALLY = "tally.csv"
_ANSWERS = {"0": 0.0, "1": 1.0, "": np.nan}
_LARGEST = SizeLimit(1 / 64)
_COMPARED = ("n_non_pie", "n_pie", "non_pie", "pie", "difference", "low", "high", "p")  # as in `ShareDifference`


def tally(sheets: Sequence[Path], key_path: Path, output: Path | None = None) -> str:
    """Read filled-in labelling sheets, write `tally.csv` if a folder is given, and return the table to print.

    Parameters
    ----------
    sheets : sequence of Path
        One for each annotator.
    key_path : Path
    output : Path, optional

    Raises
    ------
    StudyError
        If a file cannot be used.
    """
    if twice := [path for index, path in enumerate(sheets) if path.resolve() in map(Path.resolve, sheets[:index])]:
        raise StudyError(f"{twice[0]} is given twice: give one sheet for each annotator")
    if output is not None:
        files.check_inputs(output, [*sheets, key_path], "answers", names=[TALLY])
    answers, is_pie = read(sheets, key_path)
    table = tallied(answers, is_pie)
    blank = int(np.isnan(answers).sum())
    lines = [
        f"{is_pie.sum():,} PIEs and {(~is_pie).sum():,} other images, "
        f"{len(answers)} annotator{'s' if len(answers) > 1 else ''}"
        + (f"; {blank:,} of {answers.size:,} answers are blank" if blank else ""),
        *("", _table(table), "", _NOTE),
    ]
    if output is not None:
        with files.aside(output) as scratch:
            csv_text.write(table, scratch / TALLY)
        lines.append(f"In {output.absolute()}: {TALLY}")
    return "\n".join(lines)


_NOTE = (
    "Each share is the percentage of annotators who see the attribute, averaged over images. p is two-sided;\n"
    '"p, Holm" is p corrected for the number of questions. Kappa is the agreement beyond chance, averaged over\n'
    "pairs of annotators. The paper, Hooker et al. (2019), used ImageNet."
)


def read(sheets: Sequence[Path], key_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the answers of annotators, and which images are PIEs.

    Returns
    -------
    answers : (annotators, questions, images)
        0, 1, or NaN for no answer; images in the order of the key.
    is_pie : (images,), bool

    Raises
    ------
    StudyError
        If the key or a sheet has no column or an answer that it needs, or if a sheet belongs to another key.
    """
    key = _marks(key_path, [PIE], option="key")
    if key.isna().any(axis=None):
        raise StudyError(f"{key_path}: {PIE} must be 0 or 1 for every image", option="key")
    answers = []
    for path in sheets:
        answered = _marks(path, [question.column for question in QUESTIONS])
        if answered.isna().all(axis=None):
            raise StudyError(f"{path}: it has no answers, so fill it in first")
        if len(foreign := answered.index.difference(key.index)):
            raise StudyError(f"{path}: {INDEX} {shortened(foreign[0])} is not in the key: give the key of this sheet")
        answers.append(answered.reindex(key.index).to_numpy().T)
    return np.array(answers), key[PIE].to_numpy() == 1


def _marks(path: Path, columns: Sequence[str], option: str | None = None) -> pd.DataFrame:
    """Read columns of zeros, ones and empty cells, as a frame with a row for each image."""
    rows: dict[str, list[float]] = {}
    with opened_table(path, _LARGEST, option=option) as (header, lines):
        if wrong := [name for name in (INDEX, *columns) if header.count(name) != 1]:
            count = "two columns" if wrong[0] in header else "no column"
            raise StudyError(f"{path}: {count} {wrong[0]}, but it needs one", option=option)
        for line, cells in lines:
            row = dict(zip(header, map(str.strip, cells), strict=True))
            if not any(row.values()):
                continue
            if wrong := [name for name in columns if row[name] not in _ANSWERS]:
                fault = f"{wrong[0]} is {shortened(row[wrong[0]])}, but must be 0, 1 or empty"
                raise StudyError(f"{path}, line {line:,}: {fault}", option=option)
            if row[INDEX] in rows:
                raise StudyError(f"{path}, line {line:,}: {INDEX} {shortened(row[INDEX])} occurs twice", option=option)
            rows[row[INDEX]] = [_ANSWERS[row[name]] for name in columns]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def tallied(answers: np.ndarray, is_pie: np.ndarray) -> pd.DataFrame:
    """Compare PIEs and other images in a table with a row for each question.

    Parameters
    ----------
    answers : (annotators, questions, images)
        0, 1, or NaN for no answer.
    is_pie : (images,), bool

    Returns
    -------
    DataFrame
        attribute, column (of the sheet), n_non_pie, n_pie (images with an answer), non_pie, pie (shares with the
        attribute), difference (pie minus non_pie) with its 95 % interval low, high; p and p_holm of the difference;
        kappa of the annotators; and published_non_pie, published_pie (shares in the paper).
    """
    rows = []
    for question, answer in zip(QUESTIONS, np.moveaxis(answers, 1, 0), strict=True):
        seen = pd.DataFrame(answer if question.counted else 1 - answer).mean().to_numpy()
        rows.append(
            {
                "attribute": question.attribute,
                "column": question.column,
                **dict(zip(_COMPARED, share_difference(seen[~is_pie], seen[is_pie]), strict=True)),
                "kappa": agreement(answer),
                "published_non_pie": question.non_pies,
                "published_pie": question.pies,
            }
        )
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", corrected(table["p"], len(table))[1])
    return table


def _table(table: pd.DataFrame) -> str:
    header = ["attribute", "others", "PIEs", "difference", "95 % interval", "p", "p, Holm", "kappa"]
    rows = [
        [
            row["attribute"],
            _shown("{:.1f}", 100 * row["non_pie"]),
            _shown("{:.1f}", 100 * row["pie"]),
            _shown("{:+.1f}", 100 * row["difference"]),
            _shown("{:+.1f} to {:+.1f}", 100 * row["low"], 100 * row["high"]),
            *("<0.001" if row[name] < 0.001 else _shown("{:.3f}", row[name]) for name in ("p", "p_holm")),
            _shown("{:.2f}", row["kappa"]),
            _shown("{:.1f}, {:.1f}", 100 * row["published_non_pie"], 100 * row["published_pie"]),
        ]
        for row in table.to_dict("records")
    ]
    return text_table([*header, "paper: others, PIEs"], rows)


def _shown(form: str, *values: float) -> str:
    return "n/a" if any(map(np.isnan, values)) else form.format(*values)
