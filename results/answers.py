"""The answers to the questions of README.md: five, UP ratio by ratio, and which classes pay."""

from collections.abc import Iterator
from pathlib import Path

import folders
import numpy as np
import pandas as pd

from analysis import cells, formats, settings
from analysis.formats import p_value, three_decimals
from analysis.methods import compare as methods
from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.statistics.resampling import mean_interval

_DIFFERENCE = ("difference", "difference_low", "difference_high")


def of_questions(results: Path, runs: pd.DataFrame, predictions: cells.Predictions) -> pd.DataFrame:
    """The five questions' estimates, a row each.

    Raises
    ------
    StudyError
        Where a table of a study is missing, or a question has no answer.
    """
    rows = pd.DataFrame(_answers(results, runs, predictions))
    if unanswered := sorted(set("12345") - set(rows["question"])):
        raise StudyError(f"{results}: no study answers question {unanswered[0]} of README.md; rebuild all of them")
    return rows


def _answers(results: Path, runs: pd.DataFrame, predictions: cells.Predictions) -> Iterator[dict[str, str]]:
    lenet5, epsilons, again, gradual = (
        folders.table(results, name, "methods.csv")
        for name in (folders.TEXT, "lenet5-up", "lenet5-up-confirmation", "gradual")
    )
    planned = lenet5[lenet5["primary"]]
    yield from _differences("1", planned[planned["baseline"] == "mp"])
    yield from _differences("2", planned[planned["baseline"] == "none"])
    yield from _of_test_sets(runs, predictions)
    yield from _differences("4", epsilons[epsilons["primary"]])
    yield from _differences("4, again", again[again["primary"]])
    against_mp = gradual["baseline"].eq("mp") & gradual["outcome"].eq(methods.ALPHA_NEW)
    yield from _differences("5", gradual[against_mp & gradual["ratio"].eq(20) & gradual["dataset"].eq("fashion-mnist")])


def _differences(question: str, rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    for row in rows.to_dict("records"):
        scale = methods.scale(row["outcome"])
        what = f"{methods.TITLES[row['outcome']]}: {row['method']} minus {row['baseline']}, ratio {row['ratio']:g}"
        values = [scale * row[name] for name in _DIFFERENCE]
        detectable = scale * row["detectable_difference"]
        yield _answer(question, row["dataset"], what, values, row["n"], row["p_holm"], detectable)


def _of_test_sets(runs: pd.DataFrame, predictions: cells.Predictions) -> Iterator[dict[str, str]]:
    """Of MP at ratio 2, alone, so that its intervals are at 95 %."""
    lightest = runs[runs["pruner"].eq("mp") & runs["ratio"].eq(2)].reset_index(drop=True)
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


def _answer(
    question: str,
    dataset: str,
    what: str,
    values: list[float],
    n: int,
    p: float = np.nan,
    detectable: float = np.nan,
) -> dict[str, str]:
    estimate, *interval = map(three_decimals, values)
    return {
        "question": question,
        "data set": dataset,
        "what": what,
        "estimate": estimate,
        "95 % interval": " to ".join(interval) if np.isfinite(values).all() else "",
        "n": str(n),
        "Holm p": "" if np.isnan(p) else p_value(p),
        "detectable": "" if np.isnan(detectable) else three_decimals(detectable),
    }


def up_minus_others(said: pd.DataFrame) -> pd.DataFrame:
    """Alpha of UP minus that of MP and of GP by place and ratio, as the claims have it, and n where it is less."""
    compared = said[said["looked_at"].isin(_UP_MINUS) & said["where"].ne("")]
    compared[["pair", "ratio"]] = compared["where"].str.split(", ", expand=True)
    most = compared.groupby("place")["n"].transform("max")
    text = [
        formats.with_interval(row.estimate, row.low, row.high, formats.decimals(2, sign=True))
        + (f", n {row.n}" if row.n < n else "")
        if np.isfinite(row.estimate)
        else row.holds
        for row, n in zip(compared.itertuples(), most, strict=True)
    ]
    wide = compared.assign(text=text).pivot(index=["place", "pair"], columns="ratio", values="text")
    wide = wide.reindex(columns=sorted(wide.columns, key=lambda ratio: int(ratio[2:])))
    return wide.fillna("").rename_axis(columns=None).reset_index().rename(columns={"pair": "alpha of"})


_UP_MINUS = ("alpha of UP minus that of MP", "alpha of UP minus that of GP")


def classes(runs: pd.DataFrame) -> pd.DataFrame:
    """What pruners cost beyond the same fine-tuning without pruning, in points, by place, pruner and ratio."""
    told = {}
    for place, of_place in runs.groupby([schema.DATASET, schema.MODEL]):
        networks = pd.MultiIndex.from_frame(of_place[[schema.PRUNER, schema.RATIO, schema.SEED]])
        names, _, recalls = cells.recalls(of_place)
        accuracy = pd.Series(100 * of_place["accuracy_after"].to_numpy(), networks)
        recall = pd.DataFrame(100 * recalls, networks, names).dropna(axis=1, how="all")
        for pruner, ratio in networks.droplevel(schema.SEED).unique():
            if pruner in ("mp", "gp", "up") and ratio in (10, 20):
                lost, changes = (of.loc[pruner, ratio] - of.loc[settings.CONTROL, 1.0] for of in (accuracy, recall))
                told[*place, pruner, f"t={ratio:g}"] = f"{lost.mean():+.1f}; {_most_lost(changes)}"
    wide = pd.Series(told).unstack().fillna("").rename_axis(["data set", "model", "pruner"])
    return wide.reset_index()


def _most_lost(changes: pd.DataFrame) -> str:
    """The three classes whose recall fell most."""
    worst = changes.mean().nsmallest(3)
    return ", ".join(
        f"{name} {formats.with_interval(mean, *mean_interval(changes[name]), formats.decimals(1, sign=True))}"
        for name, mean in worst.items()
    )
