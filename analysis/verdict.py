"""A study in two sentences: what pruning cost, and what it did to the differences between classes."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.runs import frames, schema
from analysis.settings import CELL, CONTROL, main_setting
from analysis.study import AnalyzedStudy

# A param, one of its values, and what a reader has to know of runs with it.
_TO_KNOW = (
    (
        schema.PROTOCOL,
        "released",
        "Runs of protocol `released` do as the paper's released code does: their epochs are chosen by the test loss, "
        "so their accuracies and recalls on test images flatter. They are for comparison only.",
    ),
    (
        schema.PRUNER,
        "up-signed",
        "`up-signed` prunes fewer weights than asked: its ratio is the one asked for, realized_ratio the one reached.",
    ),
)


def verdict(study: AnalyzedStudy) -> str:
    """Return two sentences on the data set and model with most pruned networks, in the setting with most of them."""
    main = _main_runs(study.runs, study.shown)
    if main.empty:
        return (
            f"No network of this experiment was pruned: its only pruner is {CONTROL}. "
            "Prune at some ratios, in the same experiment, to see what it costs."
        )
    columns = [*CELL, *study.shown]
    cells = study.cells.merge(main[columns].drop_duplicates(), on=columns)
    return f"{_cost(main, telling_ratio(cells))} {_distortion(cells)}"


def to_know(runs: pd.DataFrame) -> list[str]:
    """Return what a reader has to know of a study's runs before any number."""
    return [
        sentence
        for name, value, sentence in _TO_KNOW
        if frames.column(name) in runs and (runs[frames.column(name)] == value).any()
    ]


def telling_ratio(cells: pd.DataFrame) -> float:
    """Return the largest ratio at which most networks are above chance, or the largest of all if there is none."""
    totals = cells.groupby(schema.RATIO)[["n", "n_at_chance"]].sum()
    alive = totals[totals["n_at_chance"] < totals["n"] / 2]
    return float((alive if len(alive) else totals).index.max())


def _main_runs(runs: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """Return the pruned runs that the verdict is about; none if nothing was pruned."""
    pruned = main_setting(runs[runs[schema.PRUNER] != CONTROL], shown)
    if pruned.empty:
        return pruned
    place = [schema.DATASET, schema.MODEL]
    most = pruned.groupby(place).size().idxmax()
    return pruned[(pruned[place] == list(most)).all(axis=1)]


def _cost(main: pd.DataFrame, ratio: float) -> str:
    """Say what the pruner that keeps most accuracy costs, and which class loses most by it."""
    by_pruner = main[main[schema.RATIO] == ratio].groupby(schema.PRUNER)
    means = by_pruner[[frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER]].mean()
    best = means[frames.ACCURACY_AFTER].idxmax()
    before, after = means.loc[best]
    runs = by_pruner.get_group(best)
    change = _mean_change(runs)
    networks = "one network" if len(runs) == 1 else f"mean of {len(runs)} networks"
    first = runs.iloc[0]
    cost, loss = _points(after - before, "costs"), _points(change.min(), "loses")
    return (
        f"On {first[schema.DATASET]} with {first[schema.MODEL]}, at ratio {ratio:g} the pruner that keeps most "
        f"accuracy, {best}, {cost} of it ({networks}), and the class {change.idxmin()} {loss}."
    )


def _points(change: float, lost: str) -> str:
    points = round(100 * change, 1)
    return f"{lost if points <= 0 else 'gains'} {abs(points):.1f} points"


def _mean_change(runs: pd.DataFrame) -> pd.Series:
    """Return the mean change of recall of each class."""
    before, after = (
        runs.filter(regex=f"^{prefix}").rename(columns=lambda name, prefix=prefix: name.removeprefix(prefix))
        for prefix in (frames.RECALL_BEFORE, frames.RECALL_AFTER)
    )
    return (after - before).mean().dropna()


def _distortion(cells: pd.DataFrame) -> str:
    by_pruner = cells.groupby(schema.PRUNER, sort=False)
    phrases = (f"{pruner}: {'; '.join(_phrases(rows))}" for pruner, rows in by_pruner)
    return f"Differences between classes, by pruner and ratio - {' | '.join(phrases)}."


def _phrases(cells: pd.DataFrame) -> Iterator[str]:
    """Yield the phrases that hold for cells of one pruner; each ratio is in the first that does."""
    mark = cells["mark"]
    left = pd.Series(True, index=cells.index)
    for phrase, holds in (
        ("alpha undefined at", cells["alpha_mean"].isna()),
        ("networks at chance, alpha meaningless, at", cells["n_at_chance"] >= cells["n"] / 2),
        ("too few networks for an interval at", mark == ""),
        ("intensified at", mark == ">"),
        ("de-intensified at", (mark == "<") & (cells["spread_ratio"] < 1)),
        ("alpha below 1 without less spread at", mark == "<"),
        ("neither, surely, at", mark == "?"),
    ):
        ratios = cells.loc[holds & left, schema.RATIO]
        left &= ~holds
        if len(ratios):
            yield f"{phrase} {', '.join(f'{ratio:g}' for ratio in ratios)}"
