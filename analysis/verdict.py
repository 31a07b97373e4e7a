"""A study in two sentences: what pruning cost, and what it did to the differences between classes."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.runs import schema
from analysis.settings import CELL, CONTROL, main_setting

# A param, its value, and what a reader has to know of such runs.
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


def verdict(of_cells: pd.DataFrame, runs: pd.DataFrame, settings: Sequence[str]) -> str:
    """Two sentences on the data set and model with most pruned networks, in the setting with most of them.

    Parameters
    ----------
    of_cells, runs : DataFrame
        As `cells.cells` and `pull.runs` return them.
    settings : sequence of str
        `cells.settings(runs)`.
    """
    main = _main_runs(runs, settings)
    if main.empty:
        return (
            f"No network of this experiment was pruned: its only pruner is {CONTROL}. "
            "Prune at some ratios, in the same experiment, to see what it costs."
        )
    names = [*CELL, *settings]
    found = of_cells.merge(main[names].drop_duplicates(), on=names)
    return f"{_cost(main, telling_ratio(found))} {_distortion(found)}"


def _main_runs(runs: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """The pruned runs that a verdict is about; none where nothing was pruned."""
    pruned = main_setting(runs[runs[schema.PRUNER] != CONTROL], settings)
    if pruned.empty:
        return pruned
    group = [schema.DATASET, schema.MODEL]
    most = pruned.groupby(group).size().idxmax()
    return pruned[(pruned[group] == list(most)).all(axis=1)]


def telling_ratio(of_cells: pd.DataFrame) -> float:
    """The largest ratio at which most networks are still above chance; the largest of all where none is."""
    totals = of_cells.groupby(schema.RATIO)[["n", "n_at_chance"]].sum()
    alive = totals[totals["n_at_chance"] < totals["n"] / 2]
    return float((alive if len(alive) else totals).index.max())


def to_know(runs: pd.DataFrame) -> list[str]:
    """What a reader has to know of a study's runs before any number of theirs."""
    return [said for name, value, said in _TO_KNOW if name in runs and (runs[name] == value).any()]


def _cost(main: pd.DataFrame, ratio: float) -> str:
    of_pruners = main[main[schema.RATIO] == ratio].groupby(schema.PRUNER)
    means = of_pruners[["accuracy_before", "accuracy_after"]].mean()
    best = means["accuracy_after"].idxmax()
    of_best = of_pruners.get_group(best)
    change = _mean_change(of_best)
    before, after = means.loc[best]
    networks = "one network" if len(of_best) == 1 else f"mean of {len(of_best)} networks"
    first = of_best.iloc[0]
    where = f"On {first[schema.DATASET]} with {first[schema.MODEL]}, at ratio {ratio:g}"
    cost, loss = _change(after - before, "costs"), _change(change.min(), "loses")
    return (
        f"{where} the pruner that keeps most accuracy, {first[schema.PRUNER]}, {cost} of it ({networks}), and the "
        f"class {change.idxmin()} {loss}."
    )


def _change(change: float, lost: str) -> str:
    points = round(100 * change, 1)
    return f"{lost if points <= 0 else 'gains'} {abs(points):.1f} points"


def _mean_change(runs: pd.DataFrame) -> pd.Series:
    before, after = (
        runs.filter(regex=f"^{prefix}").rename(columns=lambda name, prefix=prefix: name.removeprefix(prefix))
        for prefix in ("recall_before/", "recall_after/")
    )
    return (after - before).mean().dropna()


def _distortion(found: pd.DataFrame) -> str:
    said = [
        f"{pruner}: {'; '.join(_phrases(of_pruner))}" for pruner, of_pruner in found.groupby(schema.PRUNER, sort=False)
    ]
    return f"Differences between classes, by pruner and ratio - {' | '.join(said)}."


def _phrases(of_pruner: pd.DataFrame) -> Iterator[str]:
    """Every ratio in one phrase: what is said first counts."""
    mark = of_pruner["mark"]
    left = pd.Series(True, index=of_pruner.index)
    for phrase, which in (
        ("alpha undefined at", of_pruner["alpha_mean"].isna()),
        ("networks at chance, alpha meaningless, at", of_pruner["n_at_chance"] >= of_pruner["n"] / 2),
        ("too few networks for an interval at", mark == ""),
        ("intensified at", mark == ">"),
        ("de-intensified at", (mark == "<") & (of_pruner["spread_ratio"] < 1)),
        ("alpha below 1 without less spread at", mark == "<"),
        ("neither, surely, at", mark == "?"),
    ):
        ratios = of_pruner.loc[which & left, schema.RATIO]
        left &= ~which
        if len(ratios):
            yield f"{phrase} {', '.join(f'{ratio:g}' for ratio in ratios)}"
