"""Tables and picture of decay-pruners/: three findings of Good et al., tested at a rate that decays to zero."""

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

from analysis.rendering.drawing import BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import estimates, intervals, side_by_side
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import Row, corrected, paired
from analysis.study.settings import CONTROL

STUDY = "decay-pruners"
COSINE, CONSTANT = decay.COSINE, decay.CONSTANT
MP, UP = "mp", "up"
RATIOS = (2, 4, 10, 20, 50)
_DRAWN = RATIOS[:-1]  # at 50 most networks of two data sets are at chance
DATASETS = decay.DATASETS
COMPARED = ((MP, CONTROL), (UP, MP))
OUTCOMES = ("alpha", "raw_slope", "beyond_floor", "accuracy")
PLAIN, OFFSETS, TEACHER = "plain", "class offsets", "teacher"
ONE_SHOT, GRADUAL = "one-shot", "cubic"
_MITIGATED_RATIO = 20
# Primary comparisons, each tested on the three data sets with Holm's correction.
PRIMARY = {("alpha", MP, 2), ("alpha", UP, 10), ("accuracy", UP, 10)}
_COLORS = {CONSTANT: NEUTRAL, COSINE: BELOW}
_LEGEND = ("constant learning rate", "decaying learning rate")
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
    """Return the data sets of `networks`, in the order of `DATASETS`."""
    return [dataset for dataset in DATASETS if dataset in set(networks[schema.DATASET])]


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean outcomes by training, data set, pruner and ratio, with 95 % intervals over networks."""
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
    DataFrame, one row for each training, outcome, comparison, data set and ratio
        training, outcome, pruner, `minus` (the pruner or control whose value is subtracted), dataset, ratio, the
        columns of `paired`, and p_holm. Only the primary comparisons at the decaying rate have p_holm, corrected over
        the data sets.
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
    """Compare two columns of a table that has a row for each seed; a column whose networks are all at chance is NaN."""
    return paired(*values.reindex(columns=pd.MultiIndex.from_tuples(cells)).to_numpy().T, family=family)


def mitigations(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare networks with and without each mitigation, paired by seed: gradual MP at ratio 20, and the control."""
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
    """Return gradual MP minus the control, and gradual minus one-shot MP, paired by seed, at each gradual ratio."""
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
    """Draw differences of alpha against the ratio: a row for each comparison, a column for each data set."""
    datasets = present(compared)
    rows = compared[compared["outcome"].eq("alpha") & compared[schema.RATIO].isin(_DRAWN)]
    panels = [
        Panel(
            _draw,
            rows[rows[schema.PRUNER].eq(pruner) & rows[schema.DATASET].eq(dataset)],
            DATASETS[dataset],
            "ratio",
            f"alpha, {_TITLES[pruner]}",
        )
        for pruner, _ in COMPARED
        for dataset in datasets
    ]
    return draw(
        panels,
        len(datasets),
        size=(3.0, 2.3),
        title="Differences of alpha, with a constant learning rate and with one that decays to zero",
        note="Means of networks with 95 % intervals: 30 networks, and 20 others whose learning rate decays.",
        legend=[handle(name, color=color, marker="o") for name, color in zip(_LEGEND, _COLORS.values(), strict=True)],
        sharex=True,
    )


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    rows = estimates(rows, "difference").assign(place=rows[schema.RATIO].map(_DRAWN.index))
    intervals(axes, side_by_side(rows, "training", _COLORS, apart=0.24), upright=True)
    axes.set_xticks(range(len(_DRAWN)), [str(ratio) for ratio in _DRAWN])
