"""Tables and picture of resnet20/: compare UP with MP, at the same requested ratio or the same number of weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import folders
import network_measures
import pandas as pd
from answers import Answer, Estimate
from forest import forest
from matplotlib.figure import Figure

from analysis.report.methods import compare as methods
from analysis.report.methods.figures import COLORS_MEAN
from analysis.report.methods.tables import TITLES
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import paired
from analysis.study.arrays import run_arrays

STUDY = "resnet20"
AS_ASKED, BY_WEIGHTS, BY_TEXT = "released, same ratio asked", "released, as many weights", "text"
OUTCOMES = (methods.ALPHA, methods.RAW_SLOPE, methods.EXCESS, methods.ACCURACY)
TEXT, RELEASED = "paper", "released"  # the values of `schema.PROTOCOL`
# Ratio requested of the released UP -> ratio at which MP keeps as many weights.
_AS_MANY = {50.0: 32.0, 10.0: 5.4}
_PRIMARY_RATIO, _PRIMARY = 50.0, (AS_ASKED, BY_WEIGHTS)
_ALL = "all"
_DRAWN = (methods.ALPHA, methods.ACCURACY)
_NOTE = f"Means with 95 % intervals, paired by the dense network. The number is the ratio asked for. {COLORS_MEAN}"
_EQUAL = {
    "at_equal_accuracy": "difference",
    "at_equal_accuracy_low": "difference_low",
    "at_equal_accuracy_high": "difference_high",
}
_ON_GPU = 3  # seeds up to this one were trained on a GPU


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    runs = folders.runs(results, STUDY)[0]
    networks = network_measures.measure(runs)
    protocols = network_measures.param(runs, schema.PROTOCOL, TEXT).set_axis(runs["run_id"]).rename("protocol")
    networks = networks.join(protocols, on="run_id")
    compared = comparisons(networks)
    tables = {"comparisons": compared, "at_equal_accuracy": at_equal_accuracy(runs)}
    folders.write(results / STUDY, tables, {"undecayed": picture(compared)})


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare UP with MP by each protocol, paired by seed: over all seeds, and over the seeds trained on a CPU.

    `p_holm` is corrected over the two primary tests. Both compare alpha of the released UP, asked for ratio 50, with
    alpha of MP: one with MP at ratio 50, the other with MP that keeps as many weights.
    """
    table = pd.DataFrame(_pairs(networks)).drop(columns="p_equivalence")  # its margin, .05, does not fit points
    is_primary = (
        table["outcome"].eq(methods.ALPHA)
        & table["compared"].isin(_PRIMARY)
        & table["ratio"].eq(_PRIMARY_RATIO)
        & table["seeds"].eq(_ALL)
    )
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def _pairs(networks: pd.DataFrame) -> Iterator[dict[str, object]]:
    for outcome in OUTCOMES:
        values = networks.pivot_table(outcome, schema.SEED, ["protocol", schema.PRUNER, schema.RATIO])
        for seeds, chosen in ((_ALL, values), ("on a CPU", values[values.index > _ON_GPU])):
            for ratio, as_many in _AS_MANY.items():
                for compared, up, mp in (
                    (AS_ASKED, (RELEASED, "up-signed", ratio), (RELEASED, "mp", ratio)),
                    (BY_WEIGHTS, (RELEASED, "up-signed", ratio), (RELEASED, "mp", as_many)),
                    (BY_TEXT, (TEXT, "up", ratio), (TEXT, "mp", ratio)),
                ):
                    key = {"outcome": outcome, "compared": compared, "ratio": ratio, "ratio_of_mp": mp[-1]}
                    yield {**key, "seeds": seeds, **paired(chosen[up], chosen[mp], family=len(_PRIMARY))}


def at_equal_accuracy(runs: pd.DataFrame) -> pd.DataFrame:
    """Return alpha of the released UP, at each requested ratio, minus alpha of MP at the same accuracy.

    Alpha of MP is interpolated between its four ratios. Only networks trained on a CPU are compared.
    """
    released = network_measures.param(runs, schema.PROTOCOL, TEXT).eq(RELEASED) & runs[schema.SEED].gt(_ON_GPU)
    table = methods.compare(run_arrays(runs[released]))
    of_alpha = table[table["outcome"].eq(methods.ALPHA)]
    return of_alpha[[schema.RATIO, "n", *_EQUAL]].rename(columns=_EQUAL)


def picture(compared: pd.DataFrame) -> Figure:
    """Draw UP minus MP over all seeds: a row for each comparison and requested ratio, a panel for each outcome."""
    rows = {}
    for (ratio, name), own in compared[compared["seeds"].eq(_ALL)].groupby(["ratio", "compared"], sort=False):
        by_outcome = own.set_index("outcome").to_dict("index")
        rows[f"{name}, {ratio:g}"] = {TITLES[outcome]: _estimate(by_outcome[outcome]) for outcome in _DRAWN}
    return forest(Answer(rows, 0), "UP minus MP on ResNet-20", _NOTE)


def _estimate(row: Mapping[str, Any]) -> Estimate:
    return Estimate(row["difference"], row["difference_low"], row["difference_high"])
