"""Answers to the questions of README.md: the five questions, what alpha adds to accuracy, and which classes pay."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import folders
import numpy as np
import pandas as pd

from analysis import cells, formats
from analysis.methods import compare as methods
from analysis.methods import tables
from analysis.recall_distortion import claims
from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.runs.frames import ReadPredictions
from analysis.statistics.hypothesis_tests import LEVEL

_PAIR = [schema.DATASET, schema.MODEL, schema.RATIO, "method", "baseline"]
_SHOWN = (methods.ACCURACY, methods.EXCESS, methods.RAW_SLOPE, methods.ALPHA, methods.ALPHA_NEW)


def questions(results: Path) -> pd.DataFrame:
    """Return the comparisons that answer questions 1, 2, 4 and 5, a row each.

    Raises
    ------
    StudyError
        A table of a study is missing, or a question has no answer.
    """
    rows = pd.DataFrame(_answers(results))
    if unanswered := sorted(set("1245") - set(rows.get("question", []))):
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of README.md; rebuild all of them")
    return rows


def _answers(results: Path) -> Iterator[dict[str, str]]:
    lenet5, epsilons, epsilons_again, gradual, gradual_again, resnet = (
        folders.table(results, name, "methods.csv")
        for name in (
            folders.TEXT,
            "lenet5-up",
            "lenet5-up-confirmation",
            "gradual",
            "gradual-confirmation",
            "resnet20-short-gradual",
        )
    )
    yield from _differences("1", _with_primary(lenet5, methods.PRUNER))
    yield from _differences("2", _with_primary(lenet5, methods.AGAINST_CONTROL))
    yield from _differences("4", _with_primary(epsilons, methods.EPSILON))
    yield from _differences("4, again", _with_primary(epsilons_again, methods.EPSILON))
    against_mp = gradual["baseline"].eq("mp") & gradual["comparison"].ne(methods.AGAINST_CONTROL)
    yield from _differences("5", gradual[against_mp & gradual["ratio"].eq(20) & gradual["dataset"].eq("fashion-mnist")])
    yield from _differences("5, again", _with_primary(gradual_again, methods.SCHEDULE))
    yield from _differences("5, ResNet-20", resnet[resnet["comparison"].eq(methods.SCHEDULE)])


def _with_primary(table: pd.DataFrame, comparison: str) -> pd.DataFrame:
    """Return all outcomes of the comparisons of a kind that have a primary outcome."""
    of_kind = table[table["comparison"] == comparison]
    return of_kind.merge(of_kind.loc[of_kind["primary"], _PAIR].drop_duplicates())


def _differences(question: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for _, outcomes in rows.groupby(_PAIR, sort=False):
        by_outcome = {row["outcome"]: row for row in outcomes.to_dict("records")}
        first = outcomes.iloc[0]
        yield {
            "question": question,
            "data set": first[schema.DATASET],
            "compared": f"{first['method']} minus {first['baseline']}, ratio {first[schema.RATIO]:g}",
            "n": str(outcomes["n"].max()),
            **{tables.TITLES[name]: _difference(by_outcome[name], "difference") for name in _SHOWN},
            tables.AT_EQUAL_ACCURACY: _difference(by_outcome[methods.ALPHA_NEW], tables.EQUAL_ACCURACY),
            "primary": "; ".join(_tested(row) for row in by_outcome.values() if row["primary"]),
        }


def _difference(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (tables.scale(row["outcome"]) * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if np.isnan(value):
        return "not comparable" if name == tables.EQUAL_ACCURACY else formats.NOT_AVAILABLE
    significant = " *" if name == "difference" and row["p_holm"] < LEVEL else ""
    write = formats.decimals(3 if row["outcome"] in methods.SLOPES else 2, sign=True)
    return (write(value) if np.isnan(low) else formats.with_interval(value, low, high, write)) + significant


def _tested(row: Mapping[str, Any]) -> str:
    detectable = formats.three_decimals(tables.scale(row["outcome"]) * row["detectable_difference"])
    return f"{tables.TITLES[row['outcome']]}: p {formats.p_value(row['p_holm'])}, detectable {detectable}"


def lightest(runs: pd.DataFrame, predictions: ReadPredictions) -> pd.DataFrame:
    """Return the slopes of MP at ratio 2, which is analysed alone so that its intervals are at 95 %."""
    chosen = runs[runs["pruner"].eq("mp") & runs["ratio"].eq(2)].reset_index(drop=True)
    return pd.DataFrame(
        {"data set": cell[schema.DATASET]}
        | {title: _estimate(*(cell[name] for name in columns)) for title, columns in _LIGHTEST.items()}
        | {"reliability": formats.three_decimals(cell["reliability"]), "n": str(cell["n"])}
        for cell in cells.cells(chosen, predictions).to_dict("records")
    )


# Columns of cells.csv: an estimate, and its interval.
_LIGHTEST = {
    "alpha": ("alpha_mean", "ci_low", "ci_high"),
    "alpha (new)": ("alpha_new", "alpha_new_low", "alpha_new_high"),
    "alpha_shared": ("alpha_shared", "alpha_shared_low", "alpha_shared_high"),
}


def _estimate(value: float, low: float, high: float) -> str:
    return formats.with_interval(value, low, high, formats.three_decimals)


def alpha_and_accuracy(results: Path, *studies: str) -> pd.DataFrame:
    """Return alpha, raw slope and largest excess loss of MP, ratio by ratio, beside those of the control."""
    told: dict[tuple[str, str], dict[str, str]] = {}
    for study in studies:
        by_cell = folders.table(results, study, "cells.csv")
        for cell in by_cell[by_cell[schema.PRUNER].eq("mp")].to_dict("records"):
            for what, columns in _OF_MP.items():
                of_place = told.setdefault((f"{cell[schema.DATASET]}, {cell[schema.MODEL]}", what), {})
                of_place[f"t={cell[schema.RATIO]:g}"] = _of_cell(cell, columns)
    wide = pd.DataFrame.from_dict(told, orient="index").fillna("").rename_axis(["place", "of mp"])
    return wide.reset_index()


# Columns of cells.csv: an estimate, and its interval if it has one; a share is shown in points.
_OF_MP = {
    "accuracy": ("accuracy_after",),
    "alpha": ("alpha_mean", "ci_low", "ci_high"),
    "raw slope": ("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
    "raw slope minus the control's": ("raw_slope_minus_none", "raw_slope_minus_none_low", "raw_slope_minus_none_high"),
    "largest excess loss, points": ("largest_excess",),
    "the control's": ("largest_excess_none",),
}


def _of_cell(cell: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    if 2 * cell["n_at_chance"] > cell["n"] + cell["n_at_chance"]:
        return f"{cell['n_at_chance']} guess"
    value, *ends = (cell[name] for name in columns)
    if not ends:
        return f"{value:.3f}" if columns == _OF_MP["accuracy"] else f"{100 * value:.1f}"
    low, high = ends
    return formats.with_interval(value, low, high, formats.decimals(2))


def up_minus_others(results: Path, studies: Mapping[str, tuple[pd.DataFrame, str]]) -> pd.DataFrame:
    """Return alpha of UP minus that of MP and of GP by place and ratio, and beside MP the raw slope.

    Parameters
    ----------
    studies : mapping of str to (DataFrame, str)
        Runs by the name of their study, and what is added to the names of their places.
    """
    found = [
        row for study, (runs, more) in studies.items() for row in (*_alphas(runs, more), *_beside(results, study, more))
    ]
    most: dict[str, int] = {}
    for row in found:
        most[row.place] = max(most.get(row.place, 0), row.row["n"])
    told: dict[tuple[str, str], dict[float, str]] = {}
    for row in found:
        told.setdefault((row.place, row.what), {})[row.ratio] = _written(row, most[row.place])
    wide = pd.DataFrame.from_dict(told, orient="index").sort_index().sort_index(axis=1)
    wide = wide.rename(columns="t={:g}".format).fillna("").rename_axis(["place", "what"])
    return wide.reset_index()


class _Difference(NamedTuple):
    """UP minus another pruner at a place and ratio: a row of which a column has the difference, or what to say."""

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
    """Yield alpha at equal accuracy and the raw slope of UP minus those of MP."""
    compared = folders.table(results, study, "methods.csv")
    is_up = compared["method"].isin(["up", "up-signed"]) & compared["baseline"].eq("mp")
    for row in compared[is_up].to_dict("records"):
        guess = 2 * row["n_at_chance"] > row["n"] + row["n_at_chance"]
        place = f"{row[schema.DATASET]}, {row[schema.MODEL]}{more}"
        for outcome, column, title in _BESIDE_ALPHA:
            if row["outcome"] == outcome:
                what = f"{title}: {row['method']} minus mp"
                shown = {**row, column: np.nan} if guess else row
                otherwise = claims.AT_CHANCE if guess else "not comparable"
                yield _Difference(place, what, row[schema.RATIO], shown, column, otherwise)


_BESIDE_ALPHA = (
    (methods.ALPHA, tables.EQUAL_ACCURACY, "alpha at equal accuracy"),
    (methods.RAW_SLOPE, "difference", "raw slope"),
)


def _written(found: _Difference, most: int) -> str:
    value, low, high = (found.row[found.column + end] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return found.otherwise
    text = formats.with_interval(value, low, high, formats.decimals(2, sign=True))
    return text + (f", n {found.row['n']}" if found.row["n"] < most else "")


def classes(results: Path, *studies: str) -> pd.DataFrame:
    """Return what pruners cost beyond the same fine-tuning without pruning, in points, by place, pruner and ratio.

    The accuracy comes first, then the three classes that lose most beyond it.
    """
    found = pd.concat([folders.table(results, study, "classes.csv") for study in studies], ignore_index=True)
    chosen = found[found[schema.PRUNER].isin(["mp", "gp", "up"]) & found[schema.RATIO].isin([10, 20])]
    told = {}
    for (*place, ratio), rows in chosen.groupby([schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO]):
        accuracy = (rows["loss_beyond_control"] - rows["excess_beyond_control"]).iloc[0]
        told[*place, f"t={ratio:g}"] = f"{100 * accuracy:.1f}; {_most_lost(rows)}"
    wide = pd.Series(told).unstack().fillna("").rename_axis(["data set", "model", "pruner"])
    return wide.reset_index()


def _most_lost(rows: pd.DataFrame) -> str:
    worst = rows.nlargest(3, "excess_beyond_control").to_dict("records")
    return ", ".join(f"{row['class']} {_excess(row)}" for row in worst)


def _excess(row: Mapping[str, Any]) -> str:
    value, low, high = (100 * row[f"excess_beyond_control{end}"] for end in ("", "_low", "_high"))
    significant = " *" if row["excess_beyond_control_p_holm"] < LEVEL else ""
    return formats.with_interval(value, low, high, formats.decimals(1, sign=True)) + significant
