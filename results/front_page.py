"""The tables of README.md, made from the frames and the tables of the studies beside it."""

from collections.abc import Mapping
from pathlib import Path

import answers
import beside_print
import experiments
import folders
import pandas as pd

from analysis.formats import markdown_table
from analysis.recall_distortion import claims
from analysis.runs import files
from analysis.runs.errors import StudyError

PAGE = "README.md"
# The table of a name stands between these two lines.
_START, _END = "<!-- {} -->\n", "<!-- end of {} -->"


def write(results: Path) -> None:
    """Put the tables into the page of a folder of results, between its marks.

    Raises
    ------
    StudyError
        A table of a study is missing, or the page has no place for a table.
    """
    page = filled((results / PAGE).read_text(encoding="utf-8"), tables(results))
    with files.aside(results) as folder:
        (folder / PAGE).write_text(page, encoding="utf-8")


def filled(page: str, made: Mapping[str, pd.DataFrame]) -> str:
    """Return the page with the tables between their marks.

    Raises
    ------
    StudyError
        The page has no place for a table.
    """
    for name, table in made.items():
        start, end = _START.format(name), _END.format(name)
        before, opened, rest = page.partition(start)
        inside, closed, after = rest.partition(end)
        if not opened or not closed or "<!--" in inside:
            raise StudyError(f"{PAGE}: no place for a table: write {start.strip()} and {end} there, a line each")
        page = f"{before}{start}\n{markdown_table(table)}\n\n{end}{after}"
    return page


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """Return the tables by the name of their place.

    They are the answers, what is beside print, the claims of the paper, and experiments on why ours differ from print.

    Raises
    ------
    StudyError
        A table of a study is missing, or a question has no answer.
    """
    lenet5, predictions = folders.runs(results, folders.TEXT)
    released, resnet, as_pruned = (
        folders.runs(results, name)[0] for name in (folders.RELEASED, folders.RESNET, folders.AS_PRUNED)
    )
    tested = [folders.table(results, name, "claims.csv") for name in (folders.TEXT, folders.RESNET)]
    compared = beside_print.compared(results)
    with_up = {folders.TEXT: (lenet5, ""), folders.RESNET: (resnet, ""), folders.RELEASED: (released, ", released")}
    return {
        "answers": answers.questions(results),
        "lightest": answers.lightest(lenet5, predictions),
        "alpha and accuracy": answers.alpha_and_accuracy(results, folders.TEXT, folders.RESNET),
        "up": answers.up_minus_others(results, with_up),
        "classes": answers.classes(results, folders.TEXT, folders.RESNET),
        "released": experiments.beside_released(results),
        "equal weights": experiments.at_equal_weights(results),
        **{f"table {number}": beside_print.table(compared, number) for number in (3, 10)},
        "table 7": beside_print.table_7(results),
        "table 11": beside_print.table_11(lenet5, released),
        "claims": claims.shown(pd.concat(tested, ignore_index=True)),
        "random": experiments.random_pruning({"fine-tuned": resnet, "as pruned": as_pruned}),
        "origin": experiments.origin(lenet5),
    }
