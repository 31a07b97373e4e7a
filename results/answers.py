"""Answers to the questions of README.md: the five questions, UP ratio by ratio, and which classes pay."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import folders
import numpy as np
import pandas as pd

from analysis import cells, formats, settings
from analysis.arrays import recalls
from analysis.formats import p_value, three_decimals
from analysis.methods import compare as methods
from analysis.recall_distortion import claims
from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.runs.frames import ReadPredictions
from analysis.statistics.resampling import mean_interval

_DIFFERENCE = ("difference", "difference_low", "difference_high")


def questions(results: Path, runs: pd.DataFrame, predictions: ReadPredictions) -> pd.DataFrame:
    """Return the estimates that answer the five questions, a row each.

    Raises
    ------
    StudyError
        A table of a study is missing, or a question has no answer.
    """
    rows = pd.DataFrame(_answers(results, runs, predictions))
    if unanswered := sorted(set("12345") - set(rows["question"])):
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of README.md; rebuild all of them")
    return rows


def _answers(results: Path, runs: pd.DataFrame, predictions: ReadPredictions) -> Iterator[dict[str, str]]:
    lenet5, epsilons, again, gradual = (
        folders.table(results, name, "methods.csv")
        for name in (folders.TEXT, "lenet5-up", "lenet5-up-confirmation", "gradual")
    )
    planned = lenet5[lenet5["primary"]]
    yield from _differences("1", planned[planned["comparison"] == methods.PRUNER])
    yield from _differences("2", planned[planned["comparison"] == methods.AGAINST_CONTROL])
    yield from _test_sets(runs, predictions)
    yield from _differences("4", epsilons[epsilons["primary"]])
    yield from _differences("4, again", again[again["primary"]])
    as_in_the_papers = settings.method_label({schema.PRUNER: "mp"}, [])
    against_mp = gradual["baseline"].eq(as_in_the_papers) & gradual["outcome"].eq(methods.ALPHA_NEW)
    yield from _differences("5", gradual[against_mp & gradual["ratio"].eq(20) & gradual["dataset"].eq("fashion-mnist")])


def _differences(question: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in rows.to_dict("records"):
        scale = methods.scale(row["outcome"])
        what = f"{methods.TITLES[row['outcome']]}: {row['method']} minus {row['baseline']}, ratio {row['ratio']:g}"
        values = [scale * row[name] for name in _DIFFERENCE]
        detectable = scale * row["detectable_difference"]
        yield _answer(question, row["dataset"], what, values, row["n"], row["p_holm"], detectable)


def _test_sets(runs: pd.DataFrame, predictions: ReadPredictions) -> Iterator[dict[str, str]]:
    """Yield the answers on MP at ratio 2, which is analysed alone so that its intervals are at 95 %."""
    lightest = runs[runs["pruner"].eq("mp") & runs["ratio"].eq(2)].reset_index(drop=True)
    lightest_cells = cells.cells(lightest, predictions).to_dict("records")
    for question, shown in _TEST_SETS:
        for cell in lightest_cells:
            for what, columns in shown.items():
                yield _answer(question, cell["dataset"], what, [cell[name] for name in columns], cell["n"])


# Questions, and columns of cells.csv: an estimate, and its interval if it has one.
_TEST_SETS = (
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


def _answer(
    question: str,
    dataset: str,
    what: str,
    values: list[float],
    n: int,
    p: float = np.nan,
    detectable: float = np.nan,
) -> dict[str, str]:
    has_interval = len(values) == 3 and np.isfinite(values).all()
    return {
        "question": question,
        "data set": dataset,
        "what": what,
        "estimate": three_decimals(values[0]),
        "95 % interval": formats.interval(values[1], values[2], three_decimals) if has_interval else "",
        "n": str(n),
        "Holm p": "" if np.isnan(p) else p_value(p),
        "detectable": "" if np.isnan(detectable) else three_decimals(detectable),
    }


def up_minus_others(studies: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return alpha of UP minus that of MP and of GP by place and ratio, and n where it is less than at other ratios.

    Parameters
    ----------
    studies : mapping of str to DataFrame
        Runs by what is added to the names of their places.
    """
    rows: list[dict[str, Any]] = [
        {"place": place.name + more, "arms": check.arms, "row": check.row, "holds": holds}
        for more, runs in studies.items()
        for place, check, holds in claims.checked(runs, ("up-below-mp", "up-below-gp"))
    ]
    most: dict[str, int] = {}
    for row in rows:
        most[row["place"]] = max(most.get(row["place"], 0), row["row"]["n"])
    told: dict[tuple[str, str], dict[float, str]] = {}
    for row in sorted(rows, key=lambda row: row["arms"][0].ratio):
        first, second = row["arms"]
        of_pair = told.setdefault((row["place"], f"{first.pruner} minus {second.pruner}"), {})
        of_pair[first.ratio] = _difference(row["row"], row["holds"], most[row["place"]])
    wide = pd.DataFrame.from_dict(told, orient="index").sort_index().sort_index(axis=1)
    wide = wide.rename(columns="t={:g}".format).fillna("").rename_axis(["place", "alpha of"])
    return wide.reset_index()


def _difference(row: Mapping[str, float], holds: str, most: int) -> str:
    value, low, high = (row[name] for name in _DIFFERENCE)
    if not np.isfinite(value):
        return holds
    text = formats.with_interval(value, low, high, formats.decimals(2, sign=True))
    return text + (f", n {row['n']}" if row["n"] < most else "")


def classes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what pruners cost beyond the same fine-tuning without pruning, in points, by place, pruner and ratio."""
    told = {}
    for place, rows in runs.groupby([schema.DATASET, schema.MODEL]):
        networks = pd.MultiIndex.from_frame(rows[[schema.PRUNER, schema.RATIO, schema.SEED]])
        names, _, after = recalls(rows)
        accuracy = pd.Series(100 * rows["accuracy_after"].to_numpy(), networks)
        recall = pd.DataFrame(100 * after, networks, names).dropna(axis=1, how="all")
        for pruner, ratio in networks.droplevel(schema.SEED).unique():
            if pruner in ("mp", "gp", "up") and ratio in (10, 20):
                lost, changes = (
                    values.loc[pruner, ratio] - values.loc[settings.CONTROL, 1.0] for values in (accuracy, recall)
                )
                told[*place, pruner, f"t={ratio:g}"] = f"{lost.mean():+.1f}; {_most_lost(changes)}"
    wide = pd.Series(told).unstack().fillna("").rename_axis(["data set", "model", "pruner"])
    return wide.reset_index()


def _most_lost(changes: pd.DataFrame) -> str:
    """Return the three classes whose recall fell most."""
    worst = changes.mean().nsmallest(3)
    return ", ".join(
        f"{name} {formats.with_interval(mean, *mean_interval(changes[name]), formats.decimals(1, sign=True))}"
        for name, mean in worst.items()
    )
