"""Tables that compare methods: a row per primary test, and a row per method and baseline over all ratios."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, p_value, short_ratio, with_interval
from analysis.report.methods import systematic
from analysis.report.methods.compare import AGAINST_CONTROL, OVER_ACCURACY, SLOPES
from analysis.report.published import rank
from analysis.runs import schema
from analysis.runs.primaries import ACCURACY, ALPHA, ALPHA_BEYOND, ALPHA_NEW, EXCESS, LOSS, RAW_SLOPE, WEAKEST
from analysis.statistics.hypothesis_tests import LEVEL

TITLES = {
    ACCURACY: "accuracy, points",
    WEAKEST: "weakest recall, points",
    LOSS: "largest loss, points",
    EXCESS: "chance movement, points",
    ALPHA_NEW: "alpha (new)",
    ALPHA: "alpha",
    RAW_SLOPE: "raw slope",
    ALPHA_BEYOND: "alpha beyond proportion",
}
_NO_DIFFERENCE = "–"
_SHOWN = (ACCURACY, EXCESS, RAW_SLOPE, ALPHA_BEYOND)
_PLACE = [schema.DATASET, schema.MODEL]
# Maximum number of rows for each data set and model, and in total; methods.csv has the others.
_MOST_HERE, _MOST = 9, 30


def scale(outcome: str) -> float:
    """Return the factor that converts an outcome for display: 100 for shares, which are shown in points."""
    return 1.0 if outcome in SLOPES else 100.0


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Format a row for each comparison. Each outcome has a column with the difference and its interval.

    A `*` means that Holm's p is below .05.

    Parameters
    ----------
    frame : DataFrame
        As `compare` returns it, or all rows of some of its comparisons.
    """
    rows = []
    for _, outcomes in frame.groupby(frame.groupby("outcome").cumcount(), sort=False):
        row = outcomes.iloc[0][[*_PLACE, schema.RATIO, "method", "baseline"]].to_dict()
        row[schema.RATIO] = short_ratio(row[schema.RATIO])
        row |= {"primary": "yes" if outcomes["primary"].any() else "", "n": str(outcomes["n"].max())}
        row |= {TITLES[result["outcome"]]: _with_stars(result) for result in outcomes.to_dict("records")}
        rows.append(row)
    return pd.DataFrame(rows)


def _with_stars(row: Mapping[str, Any]) -> str:
    if np.isnan(row["difference"]):
        return f"n/a ({row['n_at_chance']} at chance)" if row["n_at_chance"] else "n/a"
    significant = " *" if row["p_holm"] < LEVEL else ""
    left_out = f", n {row['n']}" if row["n_at_chance"] else ""
    return f"{_difference(row)}{significant}{left_out}"


def _difference(row: Mapping[str, Any]) -> str:
    """Format a difference with its interval."""
    write = decimals(2 if scale(row["outcome"]) == 1 else 1, sign=True)
    value, low, high = (scale(row["outcome"]) * row[f"difference{end}"] for end in ("", "_low", "_high"))
    return with_interval(value, low, high, write)


def primary(frame: pd.DataFrame) -> pd.DataFrame:
    """Format a row for each test of a primary comparison.

    Parameters
    ----------
    frame : DataFrame
        As `compare` returns it.
    """
    pair = (*_PLACE, schema.RATIO, "method", "baseline")
    beyond = {
        tuple(row[name] for name in pair): row for row in frame[frame["outcome"] == ALPHA_BEYOND].to_dict("records")
    }
    rows = []
    for row in frame[frame["primary"]].to_dict("records"):
        side = "" if row["alternative"] == "two-sided" else ", one-sided"
        rows.append(
            {
                **{name: row[name] for name in _PLACE},
                "comparison": f"{_pair_name(row)}, ratio {short_ratio(row[schema.RATIO])}",
                "outcome": TITLES[row["outcome"]],
                "difference": _difference(row),
                "p (Holm)": "n/a" if np.isnan(row["p_holm"]) else p_value(row["p_holm"]) + side,
                "n": str(row["n"]),
                TITLES[ALPHA_BEYOND]: _difference(beyond[tuple(row[name] for name in pair)])
                if row["outcome"] in OVER_ACCURACY
                else "",
            }
        )
    return _by_place(pd.DataFrame(rows), frame)


def by_ratio(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return a row for each method and baseline, with the ratios at which they differ, and the number of rows left out.

    Comparisons whose names have the fewest words come first, because their methods differ least from the papers'
    settings; comparisons with the control come last.

    Parameters
    ----------
    frame : DataFrame
        As `compare` returns it.
    """
    rows = []
    for of_pair in _group(frame.to_dict("records"), (*_PLACE, "method", "baseline")):
        by_outcome = {results[0]["outcome"]: results for results in _group(of_pair, ("outcome",))}
        ratios = sorted({row[schema.RATIO] for row in of_pair})
        rows.append(
            {
                **{name: of_pair[0][name] for name in _PLACE},
                "comparison": _pair_name(of_pair[0]),
                **{
                    TITLES[outcome].split(",")[0]: _over_ratios(by_outcome[outcome], _by_holm, ratios)
                    for outcome in _SHOWN
                },
                "systematic cost": _costs_over_ratios(by_outcome[EXCESS], ratios),
                "at chance": _ranges([row[schema.RATIO] for row in by_outcome[ALPHA_NEW] if at_chance(row)], ratios),
                "control": all(row["comparison"] == AGAINST_CONTROL for row in of_pair),
            }
        )
    table = pd.DataFrame(rows).assign(words=lambda rows: rows["comparison"].str.split().str.len())
    table = table.sort_values(["control", "words"], kind="stable").groupby(_PLACE, sort=False).head(_MOST_HERE)[:_MOST]
    unsaid = [] if table["at chance"].any() else ["at chance"]
    return _by_place(table.drop(columns=["control", "words", *unsaid]), frame), len(rows) - len(table)


def _group(rows: Sequence[dict[Any, Any]], names: Sequence[str]) -> list[list[dict[Any, Any]]]:
    """Group rows by the values of some columns, in the order of each group's first row."""
    groups: dict[tuple[Any, ...], list[dict[Any, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(groups.values())


def _pair_name(row: Mapping[str, Any]) -> str:
    return f"{row['method']} − {row['baseline']}"


def _by_place(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by data set and model, in the papers' order, and drop each of these columns that has one value."""
    order = sorted(range(len(table)), key=lambda row: [rank(name) for name in table[_PLACE].iloc[row]])
    return table.iloc[order].drop(columns=[name for name in _PLACE if frame[name].nunique() == 1])


def _by_holm(row: Mapping[str, Any]) -> str:
    if np.isnan(row["difference"]):
        return "n/a"
    if not row["p_holm"] < LEVEL:
        return _NO_DIFFERENCE
    return "higher" if row["difference"] > 0 else "lower"


def _over_ratios(
    results: Sequence[Mapping[str, Any]], describe: Callable[[Mapping[str, Any]], str], ratios: Sequence[float]
) -> str:
    """Join descriptions with the ratios for which they hold, such as `lower: 2; higher: 10–50`."""
    at: dict[str, list[float]] = {}
    for row in results:
        if not at_chance(row):
            at.setdefault(describe(row), []).append(row[schema.RATIO])
    at.pop(_NO_DIFFERENCE, None)
    return "; ".join(f"{kind}: {_ranges(own_ratios, ratios)}" for kind, own_ratios in at.items()) or _NO_DIFFERENCE


def _costs_over_ratios(results: Sequence[Mapping[str, Any]], ratios: Sequence[float]) -> str:
    """Name the classes shown to lose more or less than with the baseline, such as `Shirt higher: 10, 20`."""
    sides = [{**row, "side": side} for row in results for side in systematic.SIDES]
    return _over_ratios(sides, _by_cost, ratios)


def _by_cost(row: Mapping[str, Any]) -> str:
    side = row["side"]
    if not (row[side] > 0 and row[f"{side}_p"] <= LEVEL):
        return _NO_DIFFERENCE
    return f"{row[f'{side}_class']} {'higher' if side == 'cost' else 'lower'}"


def at_chance(row: Mapping[str, Any]) -> bool:
    """Return whether most pairs are left out because of a network at chance; the others are then unrepresentative."""
    return bool(row["n_at_chance"] > row["n"])


def _ranges(own_ratios: Sequence[float], ratios: Sequence[float]) -> str:
    """Format ratios; three or more that are consecutive among all ratios become a range."""
    if len(own_ratios) == len(ratios) > 1:
        return "all"
    runs: list[list[float]] = []
    for ratio in sorted(own_ratios):
        if runs and ratios.index(ratio) == ratios.index(runs[-1][-1]) + 1:
            runs[-1].append(ratio)
        else:
            runs.append([ratio])
    return ", ".join(
        f"{short_ratio(run[0])}–{short_ratio(run[-1])}" if len(run) > 2 else ", ".join(map(short_ratio, run))
        for run in runs
    )
