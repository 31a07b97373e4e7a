"""Tables of good-et-al/: answers to questions 2, 3 and 4, outcomes at the same ratio, and which classes pay."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import folders
import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.rendering import formats
from analysis.report.methods import compare as methods
from analysis.report.methods import tables
from analysis.report.papers.claims import AT_CHANCE
from analysis.report.papers.recall_distortion import claims
from analysis.runs import schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study import cells, labels
from analysis.study.arrays import run_arrays

NOT_COMPARABLE = "not comparable"
WITHOUT_INTERVAL = ("alpha of MP", "alpha of the control", "reliability")

_DIFFERENCE, _EQUAL_ACCURACY = "difference", "at_equal_accuracy"
_PAIR = [schema.DATASET, schema.MODEL, schema.RATIO, "method", "baseline"]
# The estimates of each answer, by title: an outcome, and the column of methods.csv with its value.
_SHOWN = {
    "2": {
        "alpha of MP": (methods.ALPHA, "of_method"),
        "alpha of the control": (methods.ALPHA, "of_baseline"),
        "difference": (methods.ALPHA, _DIFFERENCE),
    },
    "4": {
        "accuracy, points": (methods.ACCURACY, _DIFFERENCE),
        "alpha (new)": (methods.ALPHA_NEW, _DIFFERENCE),
        "alpha (new) at equal accuracy": (methods.ALPHA_NEW, _EQUAL_ACCURACY),
    },
}
_FURTHER = (methods.EXCESS, methods.RAW_SLOPE, methods.ALPHA, methods.ALPHA_NEW)
# Methods that question 5 compares with MP, and their names in its rows.
_LESS_DISTORTION = {"mp cubic": "gradual MP", "mp distill 0.5": "MP with a teacher", "gp": "GP", "up": "UP"}


class Estimate(NamedTuple):
    """A value, the ends of its interval (NaN without an interval), and whether its Holm-corrected p is below .05."""

    value: float
    low: float
    high: float
    is_significant: bool = False


class Answer(NamedTuple):
    """The estimates of an answer, by name of the row and title of the column, and the value that means no effect."""

    rows: Mapping[str, Mapping[str, Estimate]]
    no_effect: int


def answers(results: Path, lightest_cells: pd.DataFrame) -> dict[str, Answer]:
    """Return the answers to questions 2, 3 and 4, with the number of the question as key.

    Parameters
    ----------
    results : Path
        A folder of results.
    lightest_cells : DataFrame
        The cells that answer question 3, as the function `lightest_cells` returns them.

    Raises
    ------
    StudyError
        If a table of a study is missing, or a question has no answer.
    """
    by_question = {
        question: gather_differences(_comparisons(results, question), shown) for question, shown in _SHOWN.items()
    }
    if unanswered := [question for question, answer in by_question.items() if not answer.rows]:
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of good-et-al; rebuild all studies")
    return by_question | {"3": _of_noise(lightest_cells)}


def gather_differences(compared: Iterator[tuple[str, pd.DataFrame]], shown: Mapping[str, tuple[str, str]]) -> Answer:
    by_name = dict(compared)
    networks = {name: outcomes["n"].max() for name, outcomes in by_name.items()}
    rows = {}
    for name, outcomes in by_name.items():
        by_outcome = {row["outcome"]: row for row in outcomes.to_dict("records")}
        fewer = f", {networks[name]} networks" if networks[name] < max(networks.values()) else ""
        rows[name + fewer] = {
            title: estimate(by_outcome[outcome], column) for title, (outcome, column) in shown.items()
        }
    return Answer(rows, no_effect=0)


def estimate(row: Mapping[str, Any], column: str) -> Estimate:
    """Read `column` and its interval from a row of methods.csv or equal_accuracy.csv; convert shares to points."""
    scale = tables.scale(row["outcome"])
    value, low, high = (scale * row.get(f"{column}{end}", np.nan) for end in ("", "_low", "_high"))
    return Estimate(value, low, high, column == _DIFFERENCE and row["p_holm"] < LEVEL)


def _of_noise(lightest_cells: pd.DataFrame) -> Answer:
    by_dataset = lightest_cells.set_index(schema.DATASET).to_dict("index")
    rows = {
        dataset: {title: Estimate(*(cell[name] for name in columns)) for title, columns in _WITH_NOISE.items()}
        | {"reliability": Estimate(cell["reliability"], np.nan, np.nan)}
        for dataset, cell in by_dataset.items()
    }
    return Answer(rows, no_effect=1)


def table(answer: Answer) -> pd.DataFrame:
    """Format an answer as a table of texts, with a row for each row of the answer."""
    return pd.DataFrame(
        {"": name} | {title: write_estimate(title, of, sign=answer.no_effect == 0) for title, of in estimates.items()}
        for name, estimates in answer.rows.items()
    )


def write_estimate(title: str, estimate: Estimate, *, sign: bool = True) -> str:
    value, low, high, is_significant = estimate
    if np.isnan(value):
        return NOT_COMPARABLE
    write = formats.decimals(2 if "points" in title else 3, sign=sign and title not in WITHOUT_INTERVAL)
    return formats.with_interval(value, low, high, write) + (" *" if is_significant else "")


def further(results: Path) -> pd.DataFrame:
    """Return a row for each comparison of questions 1, 2, 4 and 5: further outcomes, and the tests of primary ones."""
    outcome_rows = []
    for question in ("1", "2", "4", "5"):
        for name, outcomes in _comparisons(results, question):
            rows = outcomes.to_dict("records")
            by_outcome = {row["outcome"]: row for row in rows}
            titles = {tables.TITLES[outcome]: by_outcome[outcome] for outcome in _FURTHER}
            outcome_rows.append(
                {"question": question, "": name, "compared": _compared(rows[0])}
                | {title: write_estimate(title, estimate(row, _DIFFERENCE)) for title, row in titles.items()}
                | {"primary": "; ".join(_tested(row) for row in rows if row["primary"])}
            )
    return pd.DataFrame(outcome_rows)


def _compared(row: Mapping[str, Any]) -> str:
    method, baseline = (labels.in_words(row[side], with_weight=False) for side in ("method", "baseline"))
    return f"{method} minus {baseline}"


def _tested(row: Mapping[str, Any]) -> str:
    detectable = formats.three_decimals(tables.scale(row["outcome"]) * row["detectable_difference"])
    return f"{tables.TITLES[row['outcome']]}: p {formats.p_value(row['p_holm'])}, detectable {detectable}"


def _comparisons(results: Path, question: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each comparison that a question makes at the same ratio: its name, and its rows of methods.csv."""
    if question == "5":
        yield from _of_less_distortion(results)
        return
    for study, kind, name in _OF_QUESTION[question]:
        for dataset, outcomes in _with_primary(results, study, kind).groupby(schema.DATASET, sort=False):
            yield name.format(dataset), outcomes


_OF_QUESTION = {
    "1": [("lenet5", methods.PRUNER, "{}")],
    "2": [("lenet5", methods.AGAINST_CONTROL, "{}")],
    "4": [
        ("lenet5-up", methods.EPSILON, "{}"),
        ("lenet5-up-confirmation", methods.EPSILON, "{}, further networks"),
    ],
}


def _of_less_distortion(results: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    gradual, resnet = (folders.table(results, name, "methods.csv") for name in ("gradual", "resnet20-short-gradual"))
    of_ratio = gradual[
        gradual["ratio"].eq(20) & gradual[schema.DATASET].eq("fashion-mnist") & gradual["baseline"].eq("mp")
    ]
    by_method = dict(list(of_ratio.groupby("method")))
    for method, name in _LESS_DISTORTION.items():
        if method in by_method:
            yield f"{name}, fashion-mnist", by_method[method]
    for dataset, outcomes in _with_primary(results, "gradual-confirmation", methods.SCHEDULE).groupby(schema.DATASET):
        yield f"gradual MP, {dataset}, unseen networks", outcomes
    for dataset, outcomes in resnet[resnet["comparison"].eq(methods.SCHEDULE)].groupby(schema.DATASET):
        yield f"gradual MP, {dataset}, ResNet-20", outcomes


def _with_primary(results: Path, study: str, comparison: str) -> pd.DataFrame:
    """Return the rows of methods.csv of each comparison of the kind `comparison` that has a primary outcome."""
    compared = folders.table(results, study, "methods.csv")
    of_kind = compared[compared["comparison"] == comparison]
    return of_kind.merge(of_kind.loc[of_kind["primary"], _PAIR].drop_duplicates())


def lightest_cells(runs: pd.DataFrame, predictions: ReadPredictions) -> pd.DataFrame:
    """Return the cells of MP at ratio 2, analysed without other ratios, so that intervals are not joint over ratios."""
    chosen = runs[runs["pruner"].eq("mp") & runs["ratio"].eq(2)].reset_index(drop=True)
    return cells.cells(run_arrays(chosen), predictions)


# Columns of cells.csv: an estimate, and its interval.
_WITH_NOISE = {
    "alpha": ("alpha_mean", "ci_low", "ci_high"),
    "alpha (new)": ("alpha_new", "alpha_new_low", "alpha_new_high"),
}


def lightest(lightest_cells: pd.DataFrame) -> pd.DataFrame:
    """Format `alpha_shared` of each cell: alpha of the weaknesses that all seeds share."""
    return pd.DataFrame(
        {
            "data set": cell[schema.DATASET],
            "alpha_shared": formats.with_interval(
                cell["alpha_shared"], cell["alpha_shared_low"], cell["alpha_shared_high"], formats.three_decimals
            ),
        }
        for cell in lightest_cells.to_dict("records")
    )


def alpha_and_accuracy(results: Path, *studies: str) -> pd.DataFrame:
    """Return the outcomes of MP that `OF_MP` lists, by data set, model and outcome (rows) and ratio (columns)."""
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for study in studies:
        by_cell = folders.table(results, study, "cells.csv")
        for cell in by_cell[by_cell[schema.PRUNER].eq("mp")].to_dict("records"):
            for what, columns in OF_MP.items():
                of_place = texts.setdefault((f"{cell[schema.DATASET]}, {cell[schema.MODEL]}", what), {})
                of_place[f"t={cell[schema.RATIO]:g}"] = _of_cell(what, cell, columns)
    wide = pd.DataFrame.from_dict(texts, orient="index").fillna("").rename_axis(["data set, model", "outcome of MP"])
    return wide.reset_index()


# Columns of cells.csv: an estimate, and its interval if it has one. The accuracy is shown as a share of 1.
OF_MP = {
    "accuracy": ("accuracy_after",),
    "alpha": ("alpha_mean", "ci_low", "ci_high"),
    "raw slope": ("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
    "raw slope minus the control's": ("raw_slope_minus_none", "raw_slope_minus_none_low", "raw_slope_minus_none_high"),
    "size of the gaps, 1 before pruning": ("raw_spread_ratio",),
    "size of the gaps minus the control's": (
        "raw_spread_ratio_minus_none",
        "raw_spread_ratio_minus_none_low",
        "raw_spread_ratio_minus_none_high",
    ),
    "chance movement, points": ("largest_excess",),
    "chance movement of the control, points": ("largest_excess_none",),
    "chance movement minus the control's, points": (
        "largest_excess_minus_none",
        "largest_excess_minus_none_low",
        "largest_excess_minus_none_high",
    ),
}


def _of_cell(what: str, cell: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    if 2 * cell["n_at_chance"] > cell["n"]:
        return f"{cell['n_at_chance']} at chance"
    scale, digits = (100, 1) if "points" in what else (1, 3 if what == "accuracy" else 2)
    value, *ends = (scale * cell[name] for name in columns)
    write = formats.decimals(digits)
    if not ends:
        return write(value)
    low, high = ends
    return formats.with_interval(value, low, high, write)


def up_minus_others(results: Path, studies: Mapping[str, tuple[pd.DataFrame, str]]) -> pd.DataFrame:
    """Compare UP with MP and GP in alpha, and with MP in further outcomes, at each place and ratio.

    A place is a data set and a model, such as `mnist, lenet5`.

    Parameters
    ----------
    studies : mapping of str to (DataFrame, str)
        For each study, by its name: its runs, and a suffix that is added to the names of its places.
    """
    differences = [
        row for study, (runs, more) in studies.items() for row in (*_alphas(runs, more), *_beside(results, study, more))
    ]
    most: dict[str, int] = {}
    for row in differences:
        most[row.place] = max(most.get(row.place, 0), row.row["n"])
    texts: dict[tuple[str, str], dict[float, str]] = {}
    for row in differences:
        texts.setdefault((row.place, row.what), {})[row.ratio] = _written(row, most[row.place])
    wide = pd.DataFrame.from_dict(texts, orient="index").sort_index().sort_index(axis=1)
    wide = wide.rename(columns="t={:g}".format).fillna("").rename_axis(["data set, model", "what"])
    return wide.reset_index()


class _Difference(NamedTuple):
    """UP minus another pruner at a place and ratio: the value `row[column]`, or the text `otherwise` if it is NaN."""

    place: str
    what: str
    ratio: float
    row: Mapping[str, Any]
    column: str
    otherwise: str


def _alphas(runs: pd.DataFrame, more: str) -> Iterator[_Difference]:
    for place, check, holds in claims.checked(runs, ("up-below-mp", "up-below-gp")):
        first, second = check.arms
        what = f"alpha: {first.pruner} minus {second.pruner}"
        yield _Difference(place.name + more, what, first.ratio, check.row, "difference", holds)


def _beside(results: Path, study: str, more: str) -> Iterator[_Difference]:
    """Yield UP minus MP in three outcomes: alpha at equal accuracy, the raw slope, and the accuracy."""
    compared = folders.table(results, study, "methods.csv")
    is_up = compared["method"].isin(["up", "up-signed"]) & compared["baseline"].eq("mp")
    for row in compared[is_up].to_dict("records"):
        guess = 2 * row["n_at_chance"] > row["n"] + row["n_at_chance"]
        place = f"{row[schema.DATASET]}, {row[schema.MODEL]}{more}"
        for outcome, column, title in _BESIDE_ALPHA:
            if row["outcome"] == outcome:
                what = f"{title}: {row['method']} minus mp"
                scaled = {
                    f"{column}{end}": tables.scale(outcome) * row[f"{column}{end}"] for end in ("", "_low", "_high")
                }
                shown = row | scaled | ({column: np.nan} if guess else {})
                otherwise = AT_CHANCE if guess else NOT_COMPARABLE
                yield _Difference(place, what, row[schema.RATIO], shown, column, otherwise)


_BESIDE_ALPHA = (
    (methods.ALPHA, _EQUAL_ACCURACY, "alpha at equal accuracy"),
    (methods.RAW_SLOPE, "difference", "raw slope"),
    (methods.ACCURACY, "difference", tables.TITLES[methods.ACCURACY]),
)


def _written(difference: _Difference, most: int) -> str:
    value, low, high = (difference.row[difference.column + end] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return difference.otherwise
    text = formats.with_interval(value, low, high, formats.decimals(2, sign=True))
    return text + (f", n {difference.row['n']}" if difference.row["n"] < most else "")


def classes(results: Path, *studies: str) -> pd.DataFrame:
    """Return the costs of pruning, in points relative to the control, by data set, model, pruner and ratio.

    A cell of the table has the loss of accuracy, and then the costs of the three classes that pay most on average.
    """
    all_classes = pd.concat([folders.table(results, study, "classes.csv") for study in studies], ignore_index=True)
    chosen = all_classes[all_classes[schema.PRUNER].isin(["mp", "gp", "up"]) & all_classes[schema.RATIO].isin([10, 20])]
    texts = {}
    for (*place, ratio), rows in chosen.groupby([schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO]):
        accuracy = (rows["loss"] - rows["cost"]).iloc[0]
        texts[*place, f"t={ratio:g}"] = f"{100 * accuracy:.1f}; {_most_lost(rows)}"
    wide = pd.Series(texts).unstack().fillna("").rename_axis(["data set", "model", "pruner"])
    return wide.reset_index()


def _most_lost(rows: pd.DataFrame) -> str:
    costliest = rows.nlargest(3, "cost").to_dict("records")
    return ", ".join(f"{row['class']} {_cost(row)}" for row in costliest)


def _cost(row: Mapping[str, Any]) -> str:
    value, low, high = (100 * row[f"cost{end}"] for end in ("", "_low", "_high"))
    significant = " *" if row["cost_p"] < LEVEL else ""
    return formats.with_interval(value, low, high, formats.decimals(1, sign=True)) + significant


def harmed(results: Path, *studies: str) -> pd.DataFrame:
    """Return the classes that are shown to pay, and their costs in points. Tests are corrected for all classes."""
    all_classes = pd.concat([folders.table(results, study, "classes.csv") for study in studies], ignore_index=True)
    texts = {}
    chosen = all_classes[all_classes["cost_p"].lt(LEVEL)]
    for (*place, ratio), rows in chosen.groupby([schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO]):
        worst_first = rows.sort_values("cost", ascending=False).to_dict("records")
        texts[*place, ratio] = ", ".join(f"{row['class']} {_cost(row)}" for row in worst_first)
    if not texts:
        return pd.DataFrame(columns=["data set", "model", "pruner"])
    wide = pd.Series(texts).unstack().fillna("").rename(columns="t={:g}".format)
    return wide.rename_axis(["data set", "model", "pruner"]).reset_index()
