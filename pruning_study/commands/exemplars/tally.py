"""Compare annotators' answers on PIEs and on other images, beside the results of Hooker et al."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.statistics.hypothesis_tests import corrected
from analysis.statistics.ratings import agreement, share_difference
from pruning_study.commands.exemplars.questions import QUESTIONS
from pruning_study.commands.exemplars.sheets import read_answers, read_key
from pruning_study.steps.text_tables import text_table

TALLY = "tally.csv"


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
    key = read_key(key_path)
    answers = np.array([read_answers(path, key) for path in sheets])
    table = tallied(answers, key.is_pie)
    lines = [_counts(answers, key.is_pie), "", _table(table), "", _NOTE]
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
        has = answer if question.counted else 1 - answer
        answered = ~np.isnan(has)
        seen = np.where(answered.any(0), np.where(answered, has, 0).sum(0) / np.maximum(answered.sum(0), 1), np.nan)
        difference = share_difference(seen[~is_pie], seen[is_pie])
        rows.append(
            {
                "attribute": question.attribute,
                "column": question.column,
                "n_non_pie": difference.n_first,
                "n_pie": difference.n_second,
                "non_pie": difference.first,
                "pie": difference.second,
                "difference": difference.difference,
                "low": difference.low,
                "high": difference.high,
                "p": difference.p,
                "kappa": agreement(answer),
                "published_non_pie": question.non_pies,
                "published_pie": question.pies,
            }
        )
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", corrected(table["p"], len(table))[1])
    return table


def _counts(answers: np.ndarray, is_pie: np.ndarray) -> str:
    annotators = f"{len(answers)} annotator{'s' if len(answers) > 1 else ''}"
    blank = int(np.isnan(answers).sum())
    missing = f"; {blank:,} of {answers.size:,} answers are blank" if blank else ""
    return f"{is_pie.sum():,} PIEs and {(~is_pie).sum():,} other images, {annotators}{missing}"


def _table(table: pd.DataFrame) -> str:
    header = [
        "attribute",
        "others",
        "PIEs",
        "difference",
        "95 % interval",
        "p",
        "p, Holm",
        "kappa",
        "paper: others, PIEs",
    ]
    rows = [
        [
            row["attribute"],
            _percent(row["non_pie"]),
            _percent(row["pie"]),
            _percent(row["difference"], "+"),
            f"{_percent(row['low'], '+')} to {_percent(row['high'], '+')}" if pd.notna(row["low"]) else "n/a",
            _p(row["p"]),
            _p(row["p_holm"]),
            "n/a" if pd.isna(row["kappa"]) else f"{row['kappa']:.2f}",
            "n/a"
            if pd.isna(row["published_pie"])
            else f"{_percent(row['published_non_pie'])}, {_percent(row['published_pie'])}",
        ]
        for row in table.to_dict("records")
    ]
    return text_table(header, rows)


def _percent(share: float, sign: str = "") -> str:
    return "n/a" if pd.isna(share) else f"{100 * share:{sign}.1f}"


def _p(p: float) -> str:
    if pd.isna(p):
        return "n/a"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
