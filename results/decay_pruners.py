"""Tables and picture of decay-pruners/: three findings of the paper with a learning rate that decays to zero."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import decay
import folders
import network_measures
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import BELOW, NEUTRAL, page
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import Row, corrected, paired
from analysis.study.settings import CONTROL

STUDY = "decay-pruners"
COSINE, CONSTANT = decay.COSINE, decay.CONSTANT
MP, UP = "mp", "up"
RATIOS = (2, 4, 10, 20, 50)
_DRAWN = RATIOS[:-1]  # at 50 most networks are at chance
DATASETS = decay.DATASETS
COMPARED = ((MP, CONTROL), (UP, MP))
OUTCOMES = ("alpha", "raw_slope", "beyond_floor", "accuracy")
PLAIN, OFFSETS, TEACHER = "plain", "class offsets", "teacher"
ONE_SHOT, GRADUAL = "one-shot", "cubic"
_MITIGATED_RATIO = 20
# Primary comparisons, each tested on the three data sets with Holm's correction.
PRIMARY = {("alpha", MP, 2), ("alpha", UP, 10), ("accuracy", UP, 10)}
_COLORS = {CONSTANT: NEUTRAL, COSINE: BELOW}
_TITLES = {MP: "MP minus control", UP: "UP minus MP"}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    studies = {COSINE: STUDY, CONSTANT: folders.TEXT}
    by_training = [
        measured(folders.runs(results, name)[0]).assign(training=training) for training, name in studies.items()
    ]
    networks = pd.concat(by_training)
    networks = networks[networks[schema.DATASET].isin(by_training[0][schema.DATASET])]
    tables = {
        "means": means(networks),
        "comparisons": comparisons(networks),
        "mitigations": mitigations(networks[networks["training"].eq(COSINE)]),
        "gradual": gradual(networks[networks["training"].eq(COSINE)]),
    }
    folders.write(results / STUDY, tables, {"findings": figure(tables["comparisons"])})


def measured(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `network_measures.measure`, with the schedule and the mitigation of each network."""
    mitigated = {
        OFFSETS: network_measures.param(runs, schema.CLASS_OFFSETS, "none").eq("dense"),
        TEACHER: network_measures.param(runs, schema.DISTILL, 0).astype(float).gt(0),
    }
    settings = pd.DataFrame(
        {
            schema.SCHEDULE: network_measures.param(runs, schema.SCHEDULE, ONE_SHOT),
            "mitigation": np.select(list(mitigated.values()), list(mitigated), PLAIN),
        }
    ).set_index(runs[frames.RUN_ID])
    return network_measures.measure(runs).join(settings, on=frames.RUN_ID)


def present(networks: pd.DataFrame) -> list[str]:
    """Return the data sets of networks, in the order of `DATASETS`."""
    return [dataset for dataset in DATASETS if dataset in set(networks[schema.DATASET])]


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each training, data set, pruner and ratio, with 95 % intervals over networks."""
    keys = ["training", schema.DATASET, schema.PRUNER, schema.RATIO]
    return network_measures.means(networks[_is_compared(networks)], keys, OUTCOMES)


def _is_compared(networks: pd.DataFrame) -> pd.Series:
    pruned = networks[schema.PRUNER].isin([MP, UP]) & networks[schema.RATIO].isin(RATIOS)
    pruned &= networks[schema.SCHEDULE].eq(ONE_SHOT)
    return (pruned | networks[schema.PRUNER].eq(CONTROL)) & networks["mitigation"].eq(PLAIN)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Return MP minus the control and UP minus MP, paired by seed, under both trainings at each ratio.

    Returns
    -------
    DataFrame, one row for each training, outcome, pair, data set and ratio
        training, outcome, pruner, minus, dataset, ratio, the row of `paired`, and p_holm of the primary outcomes under
        the cosine, over the data sets.
    """
    table = pd.DataFrame(_pairs(networks[_is_compared(networks)])).drop(columns="p_equivalence")
    keys = pd.MultiIndex.from_frame(table[["outcome", schema.PRUNER, schema.RATIO]])
    is_primary = table["training"].eq(COSINE) & keys.isin(list(PRIMARY))
    families = table[is_primary].groupby(["outcome", schema.PRUNER])["p"]
    return table.assign(p_holm=families.transform(lambda p: corrected(p, len(DATASETS))[1]))


def _pairs(networks: pd.DataFrame) -> Iterator[dict[str, object]]:
    key = ["training", schema.DATASET, schema.PRUNER, schema.RATIO]
    by_outcome = {outcome: networks.pivot_table(outcome, schema.SEED, key) for outcome in OUTCOMES}
    for training, outcome, (pruner, minus), dataset, ratio in product(
        (COSINE, CONSTANT), OUTCOMES, COMPARED, present(networks), RATIOS
    ):
        cells = [(training, dataset, pruner, ratio), (training, dataset, minus, 1 if minus == CONTROL else ratio)]
        yield {
            **{"training": training, "outcome": outcome, schema.PRUNER: pruner, "minus": minus},
            **{schema.DATASET: dataset, schema.RATIO: ratio},
            **_paired_cells(by_outcome[outcome], *cells, family=len(DATASETS)),
        }


def _paired_cells(values: pd.DataFrame, *cells: tuple[object, ...], family: int = 1) -> Row:
    """Compare two columns of a table with a row for each seed; a column is missing if its networks are at chance."""
    return paired(*values.reindex(columns=pd.MultiIndex.from_tuples(cells)).to_numpy().T, family=family)


def mitigations(networks: pd.DataFrame) -> pd.DataFrame:
    """Return each mitigation minus none, paired by seed, of gradual MP at ratio 20 and of the control."""
    is_gradual = networks[schema.SCHEDULE].eq(GRADUAL) & networks[schema.RATIO].eq(_MITIGATED_RATIO)
    own = networks[is_gradual | networks[schema.PRUNER].eq(CONTROL)]
    values = own.set_index([schema.DATASET, schema.PRUNER, "mitigation", schema.SEED]).sort_index()
    rows: list[dict[str, object]] = []
    for dataset, pruner, mitigation in product(present(networks), (MP, CONTROL), (OFFSETS, TEACHER)):
        for outcome in ("largest_excess", "accuracy"):
            spared, plain = (values.loc[dataset, pruner, name][outcome] for name in (mitigation, PLAIN))
            both = pd.concat([spared, plain], axis=1).to_numpy().T
            key = {schema.DATASET: dataset, schema.PRUNER: pruner, "mitigation": mitigation, "outcome": outcome}
            rows.append({**key, "with": both[0].mean(), "without": both[1].mean(), **paired(*both)})
    return pd.DataFrame(rows).drop(columns="p_equivalence")


def gradual(networks: pd.DataFrame) -> pd.DataFrame:
    """Return gradual MP minus the control, and minus one-shot MP, paired by seed, at each of its ratios."""
    plain = networks[networks["mitigation"].eq(PLAIN) & networks[schema.PRUNER].isin([MP, CONTROL])]
    schedule = plain[schema.SCHEDULE].mask(plain[schema.PRUNER].eq(CONTROL), CONTROL)
    own = plain.assign(**{schema.SCHEDULE: schedule})
    key = [schema.DATASET, schema.SCHEDULE, schema.RATIO]
    by_outcome = {outcome: own.pivot_table(outcome, schema.SEED, key) for outcome in OUTCOMES}
    rows: list[dict[str, object]] = []
    for outcome, minus, dataset, ratio in product(OUTCOMES, (CONTROL, ONE_SHOT), present(networks), RATIOS[1:]):
        cells = [(dataset, GRADUAL, ratio), (dataset, minus, 1 if minus == CONTROL else ratio)]
        row = {"outcome": outcome, "minus": minus, schema.DATASET: dataset, schema.RATIO: ratio}
        rows.append({**row, **_paired_cells(by_outcome[outcome], *cells)})
    return pd.DataFrame(rows).drop(columns="p_equivalence")


def figure(compared: pd.DataFrame) -> Figure:
    """Draw differences of alpha against the ratio: a row for each pair, a column for each data set."""
    datasets = present(compared)
    drawn, grid = page(
        (len(COMPARED), len(datasets)),
        (3.0 * len(datasets) + 0.6, 5.6),
        "Differences of alpha, with a constant learning rate and with one that decays to zero",
        "Means of networks with 95 % intervals. Grey: constant, 30 networks. Blue: it decays to zero, 20 other "
        "networks.",
        sharex=True,
    )
    of_alpha = compared[compared["outcome"].eq("alpha") & compared[schema.RATIO].isin(_DRAWN)]
    for line, (pruner, _) in zip(grid, COMPARED, strict=True):
        for axes, dataset in zip(line, datasets, strict=True):
            _draw(axes, of_alpha[of_alpha[schema.PRUNER].eq(pruner) & of_alpha[schema.DATASET].eq(dataset)])
            axes.set_title(DATASETS[dataset], fontsize=10)
        line[0].set_ylabel(f"alpha, {_TITLES[pruner]}")
    for axes in grid[-1]:
        axes.set_xticks(range(len(_DRAWN)), [str(ratio) for ratio in _DRAWN])
        axes.set_xlabel("ratio")
    return drawn


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    for shift, (training, color) in zip((-0.12, 0.12), _COLORS.items(), strict=True):
        own = rows[rows["training"].eq(training)]
        places = np.arange(len(own)) + shift
        axes.vlines(places, own["difference_low"], own["difference_high"], color=color, linewidth=1.5)
        axes.scatter(places, own["difference"], s=16, color=color, zorder=3)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.grid(axis="y", alpha=0.3)
