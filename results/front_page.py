"""Make the table of results/README.md, and the tables and pictures of good-et-al/, from frames and tables."""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import answers
import beside_print
import equal_accuracy
import experiments
import folders
import headline
import pandas as pd
from forest import forest
from matplotlib.figure import Figure

from analysis.common import files
from analysis.common.errors import StudyError
from analysis.rendering import figure_files
from analysis.rendering.formats import markdown_table
from analysis.report.methods.figures import COLORS_MEAN
from analysis.report.papers.claims import shown as shown_claims

# The folder of the pages about the paper, and of their pictures.
GOOD_ET_AL = "good-et-al"
# The pages, and the names of their tables.
PAGES = {
    "README.md": ["gradual"],
    f"{GOOD_ET_AL}/details.md": ["explained", *(f"answer_{question}" for question in range(1, 6)), "mitigations"],
    f"{GOOD_ET_AL}/tables.md": [
        "further",
        "lightest",
        "alpha and accuracy",
        "up",
        "classes",
        "harmed",
        "released",
        "equal weights",
    ],
    f"{GOOD_ET_AL}/paper.md": [*(f"table {number}" for number in (3, 7, 10, 11)), "claims", "random", "origin"],
}
FIGURES = f"{GOOD_ET_AL}/figures"
# Each table is between two such lines, which have its name.
_START, _END = "<!-- {} -->\n", "<!-- end of {} -->"
_TITLES = {
    "1": "UP minus MP, both a point less accurate than the control",
    "2": "Alpha of MP at ratio 2 minus alpha of the control",
    "3": "MP at ratio 2",
    "4": "UP with the tuned epsilon minus UP with epsilon 0.0005, at ratio 10",
    "5": "Each way of pruning minus MP in one shot, both a point less accurate than the control",
}
_NOTE = "Means with 95 % intervals. Triangle: the value is outside the panel."
_TESTED = f"{_NOTE} {COLORS_MEAN} Filled: p below .05 by Holm's correction."
_OF_NOISE = f"{_NOTE} Black: the interval leaves out alpha 1."
_NOT_EQUAL = f"{_TESTED}{equal_accuracy.NOT_EQUAL}: the accuracies are not shown to be equal."
_NOTES = {"1": _NOT_EQUAL, "2": _TESTED, "3": _OF_NOISE, "4": _TESTED, "5": _NOT_EQUAL}


def write(results: Path) -> None:
    """Put each table between its two marks in the pages of a folder of results, and write the pictures.

    Raises
    ------
    StudyError
        If a table of a study is missing, or a page has no place for a table.
    """
    lightest = answers.lightest_cells(*folders.runs(results, folders.TEXT))
    all_answers = answered(results, lightest)
    all_tables = tables(results, all_answers, lightest)
    pages = {
        page: filled(page, (results / page).read_text(encoding="utf-8"), {name: all_tables[name] for name in names})
        for page, names in PAGES.items()
    }
    with files.aside(results, in_git=True) as folder:
        (folder / FIGURES).mkdir(parents=True)
        for page, text in pages.items():
            (folder / page).write_text(text, encoding="utf-8")
        figure_files.write(pictures(all_answers), folder / FIGURES, [figure_files.PNG], processes=1)


def answered(results: Path, lightest: pd.DataFrame) -> dict[str, answers.Answer]:
    """Return the five answers, with the number of the question as key.

    `lightest` is the result of `answers.lightest_cells`.

    Raises
    ------
    StudyError
        If a table of a study is missing, or a question has no answer.
    """
    all_answers = answers.answers(results, lightest) | equal_accuracy.answers(results)
    return dict(sorted(all_answers.items()))


def pictures(all_answers: Mapping[str, answers.Answer]) -> dict[str, Figure]:
    """Return a picture of each answer; its key is the name of its file without ending."""
    return {
        f"answer_{question}": forest(answer, _TITLES[question], _NOTES[question])
        for question, answer in all_answers.items()
    }


def filled(name_of_page: str, page: str, all_tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the text of a page with each table between its two marks.

    Raises
    ------
    StudyError
        If the page has no place for a table.
    """
    for name, table in all_tables.items():
        start, end = _START.format(name), _END.format(name)
        before, opened, rest = page.partition(start)
        inside, closed, after = rest.partition(end)
        if not opened or not closed or "<!--" in inside:
            raise StudyError(
                f"{name_of_page}: no place for a table: write {start.strip()} and {end} where it belongs, "
                "each on its own line"
            )
        page = f"{before}{start}\n{markdown_table(table)}\n\n{end}{after}"
    return page


def tables(results: Path, all_answers: Mapping[str, answers.Answer], lightest: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables; the key of each is the name in its marks on the page.

    Parameters
    ----------
    results : Path
        A folder of results.
    all_answers : mapping of str to Answer
        The result of `answered`.
    lightest : DataFrame
        The result of `answers.lightest_cells`.

    Raises
    ------
    StudyError
        If a table of a study is missing.
    """
    # The slowest table is computed in another process, in parallel with the others.
    with ProcessPoolExecutor(1, get_context("fork" if figure_files.can_fork() else "spawn")) as other:
        at_equal_weights = other.submit(experiments.at_equal_weights, results)
        other_tables = _other_tables(results, all_answers, lightest)
        return other_tables | {"equal weights": at_equal_weights.result()}


def _other_tables(
    results: Path, all_answers: Mapping[str, answers.Answer], lightest: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return all tables of `tables` except `equal weights`, which `tables` computes in another process."""
    lenet5, released, resnet, as_pruned = (
        folders.runs(results, name)[0] for name in (folders.TEXT, folders.RELEASED, folders.RESNET, folders.AS_PRUNED)
    )
    tested = [folders.table(results, name, "claims.csv") for name in (folders.TEXT, folders.RESNET)]
    compared = beside_print.compared(results)
    with_up = {folders.TEXT: (lenet5, ""), folders.RESNET: (resnet, ""), folders.RELEASED: (released, ", released")}
    return {
        **{f"answer_{question}": answers.table(answer) for question, answer in all_answers.items()},
        "gradual": headline.gradual(results),
        "explained": headline.explained(results, folders.TEXT),
        "mitigations": headline.mitigations(results),
        "further": answers.further(results),
        "lightest": answers.lightest(lightest),
        "alpha and accuracy": answers.alpha_and_accuracy(results, folders.TEXT, folders.RESNET),
        "up": answers.up_minus_others(results, with_up),
        "classes": answers.classes(results, folders.TEXT, folders.RESNET),
        "harmed": answers.harmed(results, folders.TEXT, folders.RESNET),
        "released": experiments.beside_released(results),
        **{f"table {number}": beside_print.table(compared, number) for number in (3, 10)},
        "table 7": beside_print.table_7(results),
        "table 11": beside_print.table_11(lenet5, released),
        "claims": shown_claims(pd.concat(tested, ignore_index=True)),
        "random": experiments.random_pruning({"fine-tuned": resnet, "as pruned": as_pruned}),
        "origin": experiments.origin(lenet5),
    }
