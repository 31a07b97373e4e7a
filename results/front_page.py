"""The tables of README.md, from the frames and the tables of the studies beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import cells, claims, files, frames, methods, published, report
from analysis.errors import StudyError

PAGE = "README.md"
# Its places: between these lines stands the table of the name.
_START, _END = "<!-- {} -->\n", "<!-- end of {} -->"
_DIFFERENCE = ("difference", "difference_low", "difference_high")


def write(results: Path) -> None:
    """Put the tables into the page of a folder of results, where its marks are."""
    page = (results / PAGE).read_text(encoding="utf-8")
    with files.aside(results) as folder:
        (folder / PAGE).write_text(filled(page, tables(results)), encoding="utf-8")


def filled(page: str, made: Mapping[str, pd.DataFrame]) -> str:
    """The page with the tables between their marks.

    Raises
    ------
    StudyError
        Where the page has no place for a table.
    """
    for name, table in made.items():
        start, end = _START.format(name), _END.format(name)
        before, opened, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise StudyError(f"{PAGE}: no place for a table: write {start.strip()} and {end} there, a line each")
        page = f"{before}{start}\n{report.markdown_table(table)}\n\n{end}{after}"
    return page


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """By name of their place: the answers to the questions, Tables 3, 7, 10 and 11 beside print, the claims."""
    compared = pd.read_csv(results / "lenet5" / "comparison.csv", dtype=str)
    return {
        "answers": pd.DataFrame(_answers(results)),
        **{f"table {number}": _beside_print(compared[compared["table"] == str(number)]) for number in (3, 10, 11)},
        "table 7": _table_7(results / "lenet5"),
        "claims": claims.shown(_claims(results)),
    }


def _answers(results: Path) -> Iterator[dict[str, str]]:
    lenet5, epsilons, gradual = (
        pd.read_csv(results / name / "methods.csv") for name in ("lenet5", "lenet5-up", "gradual")
    )
    planned = lenet5[lenet5["primary"]]
    yield from _differences("1", planned[planned["baseline"] == "mp"])
    yield from _differences("2", planned[planned["baseline"] == "none"])
    yield from _of_test_sets(results / "lenet5")
    yield from _differences("4", epsilons[epsilons["primary"]])
    against_mp = gradual["baseline"].eq("mp") & gradual["outcome"].eq(methods.ALPHA_NEW)
    yield from _differences("5", gradual[against_mp & gradual["ratio"].eq(20) & gradual["dataset"].eq("fashion-mnist")])


def _differences(question: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in rows.to_dict("records"):
        scale = methods.scale(row["outcome"])
        what = f"{methods.TITLES[row['outcome']]}: {row['method']} minus {row['baseline']}, ratio {row['ratio']:g}"
        values = [scale * row[name] for name in _DIFFERENCE]
        yield _answer(question, row["dataset"], what, values, row["n"], f"{row['p_holm']:.2g}")


def _of_test_sets(study: Path) -> Iterator[dict[str, str]]:
    """Of MP at ratio 2, alone, so that its intervals are at 95 %."""
    read, predictions = frames.read(sorted((study / "frames").iterdir()))
    lightest = read.runs[read.runs["pruner"].eq("mp") & read.runs["ratio"].eq(2)].reset_index(drop=True)
    of_cells = cells.cells(lightest, predictions).to_dict("records")
    slopes = {"2": ("alpha_shared",), "3": ("alpha", "alpha_new")}
    for question, names in slopes.items():
        for cell in of_cells:
            for name in names:
                values = [cell[column] for column in _SLOPE.get(name, (name, f"{name}_low", f"{name}_high"))]
                yield _answer(question, cell["dataset"], f"{name}: mp, ratio 2", values, cell["n"])
    for cell in of_cells:
        values = [cell["reliability"], np.nan, np.nan]
        yield _answer("3", cell["dataset"], "reliability of the balances", values, cell["n"])


_SLOPE = {"alpha": ("alpha_mean", "ci_low", "ci_high")}


def _answer(question: str, dataset: str, what: str, values: list[float], n: int, p: str = "") -> dict[str, str]:
    estimate, low, high = (f"{value:.3f}" for value in values)
    interval = "" if np.isnan(values[1]) else f"{low} to {high}"
    row = {"question": question, "data set": dataset, "what": what, "estimate": estimate, "95 % interval": interval}
    return row | {"n": str(n), "Holm p": p}


def _beside_print(compared: pd.DataFrame) -> pd.DataFrame:
    """A table in the layout of print, its cells `printed / ours`."""
    both = compared["published"] + " / " + compared["ours"]
    wide = compared.assign(both=both).pivot(index="row", columns="column", values="both")
    wide = wide.reindex(index=compared["row"].unique(), columns=compared["column"].unique())
    return wide.fillna("").rename_axis(index="printed / ours", columns=None).reset_index()


def _table_7(study: Path) -> pd.DataFrame:
    ours = pd.read_csv(study / "table_07.csv", dtype=str, index_col=0)
    ours = ours.rename(index=lambda row: row.replace("cifar10-jpeg", published.original("cifar10-jpeg")))
    printed = published.table(7)
    printed = printed.set_index(printed.columns[0]).reindex(ours.index)
    shared = [column for column in ours if column in printed]
    return (printed[shared] + " / " + ours[shared]).rename_axis(index="printed / ours").reset_index()


def _claims(results: Path) -> pd.DataFrame:
    there = [results / name / "claims.csv" for name in ("lenet5", "resnet20-short")]
    return pd.concat([pd.read_csv(path).fillna({"place": ""}) for path in there if path.is_file()], ignore_index=True)
