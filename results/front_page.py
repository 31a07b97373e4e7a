"""The tables of README.md, from the frames and the tables of the studies beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, claims, files, frames, methods, published, report
from analysis.errors import StudyError
from analysis.tables import NOT_AVAILABLE

PAGE = "README.md"
# Its places: between these lines stands the table of the name.
_START, _END = "<!-- {} -->\n", "<!-- end of {} -->"
_DIFFERENCE = ("difference", "difference_low", "difference_high")


def write(results: Path) -> None:
    """Put the tables into the page of a folder of results, where its marks are.

    Raises
    ------
    StudyError
        Where a study, or the page, lacks what the other has.
    """
    page = filled((results / PAGE).read_text(encoding="utf-8"), tables(results))
    with files.aside(results) as folder:
        (folder / PAGE).write_text(page, encoding="utf-8")


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
        inside, closed, after = rest.partition(end)
        if not opened or not closed or "<!--" in inside:
            raise StudyError(f"{PAGE}: no place for a table: write {start.strip()} and {end} there, a line each")
        page = f"{before}{start}\n{report.markdown_table(table)}\n\n{end}{after}"
    return page


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """By name of their place: the answers, UP minus the others, Tables 3, 7, 10 and 11 beside print, the claims.

    Raises
    ------
    StudyError
        Where a table of a study is missing, or a question has no answer.
    """
    answers = pd.DataFrame(_answers(results))
    if unanswered := sorted(set("12345") - set(answers["question"])):
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of {PAGE}; rebuild all of them")
    compared = _read(results / "lenet5" / "comparison.csv", dtype=str)
    said = _read(results / "lenet5" / "claims.csv")
    return {
        "answers": answers,
        "up": _up_minus_others(said),
        **{f"table {number}": _beside_print(compared[compared["table"] == str(number)]) for number in (3, 10, 11)},
        "table 7": _table_7(results / "lenet5"),
        "claims": claims.shown(pd.concat([said, *_of_resnet(results)], ignore_index=True)),
    }


def _read(path: Path, **how: Any) -> pd.DataFrame:
    if not path.is_file():
        raise StudyError(f"{path}: missing; python results/rebuild.py {path.parent} makes it of the study's frames")
    return pd.read_csv(path, **{"keep_default_na": False, "na_values": [NOT_AVAILABLE], **how})


def _answers(results: Path) -> Iterator[dict[str, str]]:
    lenet5, epsilons, gradual = (_read(results / name / "methods.csv") for name in ("lenet5", "lenet5-up", "gradual"))
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
        yield _answer(question, row["dataset"], what, values, row["n"], row["p_holm"])


def _of_test_sets(study: Path) -> Iterator[dict[str, str]]:
    """Of MP at ratio 2, alone, so that its intervals are at 95 %."""
    read, predictions = frames.read(frames.below(study / "frames"))
    lightest = read.runs[read.runs["pruner"].eq("mp") & read.runs["ratio"].eq(2)].reset_index(drop=True)
    of_cells = cells.cells(lightest, predictions).to_dict("records")
    for question, shown in _OF_TEST_SETS:
        for cell in of_cells:
            for what, columns in shown.items():
                yield _answer(question, cell["dataset"], what, [cell[name] for name in columns], cell["n"])


# Question, and columns of cells.csv: an estimate, and its interval where it has one.
_OF_TEST_SETS = (
    ("2", {"alpha_shared: mp, ratio 2": ("alpha_shared", "alpha_shared_low", "alpha_shared_high")}),
    (
        "3",
        {
            "alpha: mp, ratio 2": ("alpha_mean", "ci_low", "ci_high"),
            "alpha_new: mp, ratio 2": ("alpha_new", "alpha_new_low", "alpha_new_high"),
        },
    ),
    ("3", {"reliability of the balances": ("reliability",)}),
)


def _answer(question: str, dataset: str, what: str, values: list[float], n: int, p: float = np.nan) -> dict[str, str]:
    estimate, *interval = map(_number, values)
    return {
        "question": question,
        "data set": dataset,
        "what": what,
        "estimate": estimate,
        "95 % interval": " to ".join(interval) if np.isfinite(values).all() else "",
        "n": str(n),
        "Holm p": "" if np.isnan(p) else f"{p:.2g}" if p >= 0.001 else "<0.001",
    }


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else NOT_AVAILABLE


def _up_minus_others(said: pd.DataFrame) -> pd.DataFrame:
    """Alpha of UP minus that of MP and of GP by ratio, as the claims have looked at it."""
    compared = said[said["looked_at"].isin(_UP_MINUS) & said["where"].ne("")]
    compared[["pair", "ratio"]] = compared["where"].str.split(", ", expand=True)
    text = [
        f"{row.estimate:+.2f} ({row.low:+.2f} to {row.high:+.2f})" if np.isfinite(row.estimate) else row.holds
        for row in compared.itertuples()
    ]
    wide = compared.assign(text=text).pivot(index=["place", "pair"], columns="ratio", values="text")
    wide = wide.reindex(columns=sorted(wide.columns, key=lambda ratio: int(ratio[2:])))
    return wide.rename_axis(columns=None).reset_index().rename(columns={"pair": "alpha of"})


_UP_MINUS = ("alpha of UP minus that of MP", "alpha of UP minus that of GP")


def _beside_print(compared: pd.DataFrame) -> pd.DataFrame:
    """A table in the layout of print, its cells `printed / ours`."""
    both = compared["published"] + " / " + compared["ours"]
    wide = compared.assign(both=both).pivot(index="row", columns="column", values="both")
    wide = wide.reindex(index=compared["row"].unique(), columns=compared["column"].unique())
    return wide.fillna("").rename_axis(index="printed / ours", columns=None).reset_index()


def _table_7(study: Path) -> pd.DataFrame:
    ours = _read(study / "table_07.csv", dtype=str, na_values=[]).set_index("Datasets")
    ours = ours.rename(index=lambda row: row.replace("cifar10-jpeg", published.original("cifar10-jpeg")))
    printed = published.table(7).set_index("Datasets").reindex(ours.index)
    shared = [column for column in ours if column in printed]
    return (printed[shared] + " / " + ours[shared]).rename_axis(index="printed / ours").reset_index()


def _of_resnet(results: Path) -> list[pd.DataFrame]:
    path = results / "resnet20-short" / "claims.csv"
    return [_read(path)] if path.is_file() else []
