"""Tables and pictures of decay/ and decay-confirmation/: how far single classes move under each training."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import points, side_by_side
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import corrected, paired
from analysis.study.settings import CONTROL, is_mitigated

STUDIES = ("decay", "decay-confirmation")
CONSTANT, COSINE, AVERAGE = "constant", "cosine", "average"
# Trainings whose rate decays only before pruning.
THEN_CONSTANT, THEN_AVERAGE = "cosine, then constant", "cosine, then average"
_TRAININGS = (CONSTANT, COSINE, AVERAGE, THEN_CONSTANT, THEN_AVERAGE)
_COMPARED = (
    (COSINE, CONSTANT),
    (AVERAGE, CONSTANT),
    (AVERAGE, COSINE),
    (THEN_CONSTANT, COSINE),
    (THEN_AVERAGE, COSINE),
)
_CONTROL, _PRUNED = "control", "pruned"
DATASETS = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10-jpeg": "CIFAR-10"}
_PRIMARY_RATIO = 20
_OUTCOME = "beyond_floor"
_BY_TRAINING = [schema.DATASET, "training"]
_SECONDARY = ("accuracy_before", "accuracy", "alpha", "raw_slope")
_RESAMPLES = 4000
_FEWEST = 10


def write(results: Path) -> None:
    """Write the tables and the picture of each of `STUDIES` that has frames.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    for study in STUDIES:
        if folders.has_frames(results, study):
            runs = folders.runs(results, study)[0]
            networks = primary_networks(runs)
            tables = {name: make(networks) for name, make in _TABLES.items()}
            if _has_offsets(runs).any():
                tables["class_offsets"] = offsets(runs, networks)
            folders.write(results / study, tables, {"recalls": recalls(networks)})


def primary_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each control and each network of gradual MP at ratio 20, without mitigations.

    Returns
    -------
    DataFrame
        dataset, training, method, seed; accuracy_before, accuracy, largest_excess, floor and beyond_floor, all in
        points; alpha and raw_slope; `gaps`, the recall of each of the `classes` minus the accuracy in the dense
        network, in points.
    """
    return _measured(primary_runs(runs))


def primary_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of each control and each network of gradual MP at ratio 20, without mitigations."""
    return runs[_is_primary(runs) & ~is_mitigated(runs)].reset_index(drop=True)


def _measured(runs: pd.DataFrame) -> pd.DataFrame:
    networks = network_measures.measure(runs)
    order = [list(DATASETS), list(_TRAININGS), [_CONTROL, _PRUNED]]
    keys = [schema.DATASET, "training", "method"]
    table = networks.drop(columns=[frames.RUN_ID, schema.PRUNER, schema.RATIO]).assign(
        training=networks[frames.RUN_ID].map(dict(zip(runs[frames.RUN_ID], trainings(runs), strict=True))),
        method=np.where(networks[schema.PRUNER].eq(CONTROL), _CONTROL, _PRUNED),
    )
    for key, values in zip(keys, order, strict=True):
        table[key] = pd.Categorical(table[key], values)
    return table.sort_values([*keys, schema.SEED], ignore_index=True)


def _is_primary(runs: pd.DataFrame) -> pd.Series:
    gradual = runs[schema.PRUNER].eq("mp") & runs[schema.RATIO].eq(_PRIMARY_RATIO)
    gradual &= runs[frames.column(schema.SCHEDULE)].eq("cubic")
    by_labels = network_measures.param(runs, schema.DISTILL, 0).astype(float).eq(0)
    return (gradual | runs[schema.PRUNER].eq(CONTROL)) & by_labels


def _has_offsets(runs: pd.DataFrame) -> pd.Series:
    return _is_primary(runs) & network_measures.param(runs, schema.CLASS_OFFSETS, "none").eq("dense")


def trainings(runs: pd.DataFrame) -> np.ndarray:
    """Return the name that plan.md gives to each run's training before and after pruning."""
    decayed = network_measures.param(runs, schema.DECAY, "none").eq(COSINE)
    then_decayed = network_measures.param(runs, schema.FINE_TUNE_DECAY, "none").eq(COSINE)
    averaged = network_measures.param(runs, f"fine_tune_{schema.AVERAGE_EPOCHS}", 0).astype(float).gt(1)
    is_training = {
        COSINE: decayed & then_decayed,
        THEN_AVERAGE: decayed & averaged,
        THEN_CONSTANT: decayed,
        AVERAGE: averaged,
    }
    return np.select(list(is_training.values()), list(is_training), CONSTANT)


def levels(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean outcomes of each training's controls and pruned networks, with 95 % intervals over networks."""
    outcomes = ("accuracy_before", "accuracy", "largest_excess", "floor", _OUTCOME, "alpha", "raw_slope")
    return network_measures.means(networks, [schema.DATASET, "training", "method"], outcomes)


def paired_tests(networks: pd.DataFrame, outcome: str = _OUTCOME) -> pd.DataFrame:
    """Return the paired tests of the families in plan.md, with Holm's correction within each family.

    Parameters
    ----------
    networks : DataFrame
        As `primary_networks` returns them.
    outcome : str
        The column to compare.

    Returns
    -------
    DataFrame, one row per comparison
        family, dataset, `of`, the columns of `paired`, and p_holm. `of` says which networks are compared: `control` or
        `pruned` if the family compares two trainings, and a training if the family compares pruned networks with
        controls.
    """
    outcomes = networks.pivot_table(
        outcome, schema.SEED, [schema.DATASET, "training", "method"], observed=True, aggfunc="first"
    )
    compared = pd.DataFrame(_comparisons(outcomes))
    compared["p_holm"] = compared.groupby("family", sort=False)["p"].transform(lambda p: corrected(p, len(p))[1])
    return compared


def _comparisons(outcomes: pd.DataFrame) -> Iterator[dict[str, object]]:
    for first, second in _COMPARED:
        for dataset, method in product(DATASETS, (_CONTROL, _PRUNED)):
            one, other = (dataset, first, method), (dataset, second, method)
            if one in outcomes and other in outcomes:
                yield {
                    "family": f"{first} minus {second}",
                    schema.DATASET: dataset,
                    "of": method,
                    **paired(outcomes[one], outcomes[other], family=6),
                }
    for dataset, training in product(DATASETS, _TRAININGS):
        one, other = (dataset, training, _PRUNED), (dataset, training, _CONTROL)
        if one in outcomes and other in outcomes:
            family = "pruned minus control" + ("" if training in (CONSTANT, COSINE) else f", {training}")
            row = paired(outcomes[one], outcomes[other], family=6)
            yield {"family": family, schema.DATASET: dataset, "of": training, **row}


def secondary_tests(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of each secondary outcome, named in the column `outcome`.

    The accuracy before pruning is tested only for controls, because pruned networks come from the same dense networks.
    """
    rows = pd.concat([paired_tests(networks, name).assign(outcome=name) for name in _SECONDARY], ignore_index=True)
    return rows[rows["outcome"].ne("accuracy_before") | rows["of"].eq(_CONTROL)]


def offsets(runs: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """Compare the primary networks with and without class offsets, seed by seed.

    Parameters
    ----------
    runs : DataFrame
        All runs of the study.
    without : DataFrame
        As `primary_networks` returns them.

    Returns
    -------
    DataFrame, one row per outcome, data set, training and method
        outcome, dataset, training, method, the means `with_offsets` and `without`, and the columns of `paired`.
    """
    spared = _measured(runs[_has_offsets(runs)].reset_index(drop=True))
    keys = [schema.DATASET, "training", "method", schema.SEED]
    both = spared.merge(without, on=keys, suffixes=("", "_without"))
    rows = []
    for outcome in ("accuracy", "largest_excess", _OUTCOME, "alpha"):
        for key, cell in both.groupby(keys[:-1], observed=True):
            one, other = cell[outcome], cell[f"{outcome}_without"]
            row = {"outcome": outcome, **dict(zip(keys, key, strict=False))}
            rows.append(row | {"with_offsets": one.mean(), "without": other.mean(), **paired(one, other)})
    return pd.DataFrame(rows)


def spread(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the standard deviation over seeds of a class's gap, for each training with dense networks of its own.

    Returns
    -------
    DataFrame, one row per data set and training
        dataset, training, n; `deviation`, in points, the square root of the mean over classes of the variance over
        seeds; `variance_ratio`, the variance at the constant rate divided by the variance of this training, with a
        95 % bootstrap interval over seeds.
    """
    has_own = networks["training"].isin([CONSTANT, COSINE, AVERAGE])
    controls = networks[networks["method"].eq(_CONTROL) & has_own]
    return _deviations(
        {key: np.stack(list(cell["gaps"])) for key, cell in controls.groupby(_BY_TRAINING, observed=True)}
    )


def needed(networks: pd.DataFrame) -> pd.DataFrame:
    """Return how many networks the constant rate needs for one network of another training, at equally wide intervals.

    The intervals are those of pruned minus control in `beyond_floor`.

    Returns
    -------
    DataFrame, one row per data set and training
        dataset, training, n; `deviation`, in points, the standard deviation over seeds of pruned minus control;
        `variance_ratio`, the variance at the constant rate divided by the variance of this training, with a 95 %
        bootstrap interval over seeds. `variance_ratio` is the wanted number, because the width of an interval is
        proportional to the root of (variance / number of networks).
    """
    outcomes = networks.pivot_table(_OUTCOME, [*_BY_TRAINING, schema.SEED], "method", observed=True, aggfunc="first")
    differences = (outcomes[_PRUNED] - outcomes[_CONTROL]).dropna()
    return _deviations(
        {key: cell.to_numpy()[:, np.newaxis] for key, cell in differences.groupby(_BY_TRAINING, observed=True)}
    )


def _deviations(values: Mapping[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """Return the deviation of each (seeds, columns) array, and the constant rate's variance divided by the array's."""
    rows = []
    for (dataset, training), own in values.items():
        row = {schema.DATASET: dataset, "training": training, "n": len(own), "deviation": _variance(own) ** 0.5}
        rows.append(row | _ratio(values.get((dataset, CONSTANT)), own))
    return pd.DataFrame(rows)


def _variance(values: np.ndarray) -> float:
    """Return the variance over seeds (rows), averaged over columns."""
    return float(values.var(0, ddof=1).mean())


def _ratio(constant: np.ndarray | None, other: np.ndarray) -> dict[str, float]:
    """Return the ratio of two trainings' variances, with an interval if both have at least `_FEWEST` networks."""
    if constant is None or other is constant:
        return dict.fromkeys(("variance_ratio", "variance_ratio_low", "variance_ratio_high"), np.nan)
    low = high = np.nan
    if min(len(constant), len(other)) >= _FEWEST:
        random = np.random.default_rng(0)
        resampled = [
            [_variance(random.choice(gaps, len(gaps))) for gaps in (constant, other)] for _ in range(_RESAMPLES)
        ]
        low, high = np.quantile(np.divide(*np.transpose(resampled)), [0.025, 0.975])
    ratio = _variance(constant) / _variance(other)
    return {"variance_ratio": ratio, "variance_ratio_low": float(low), "variance_ratio_high": float(high)}


def recalls(networks: pd.DataFrame) -> Figure:
    """Draw each class's recall minus accuracy, a dot for each dense network, constant and cosine side by side."""
    controls = networks[networks["method"].eq(_CONTROL)]
    by_dataset = {name: rows for name, rows in controls.groupby(schema.DATASET, observed=True) if len(rows)}
    return draw(
        [Panel(_draw_gaps, rows, DATASETS[name], "", "points") for name, rows in by_dataset.items()],
        size=(3.6, 2.9),
        title="Each class's recall minus the accuracy, before pruning",
        note="A dot is a network. Classes are sorted by their mean.",
    )


def _draw_gaps(axes: Axes, controls: pd.DataFrame) -> None:
    gaps = pd.DataFrame(np.stack(list(controls["gaps"])), columns=controls["classes"].iloc[0])
    gaps = gaps[gaps.mean().sort_values(kind="stable").index]
    places = np.arange(gaps.shape[1])
    dots = gaps.set_axis(places, axis=1).melt(var_name="place", value_name="gap")
    colors = {"constant learning rate": NEUTRAL, "decaying learning rate": BELOW}
    named = controls["training"].map(dict(zip((CONSTANT, COSINE), colors, strict=True)))
    dots = dots.assign(training=np.tile(named, len(places)))
    points(axes, side_by_side(dots, "training", colors, apart=0.36), "place", "gap", by="training", colors=colors, s=9)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, gaps.columns, fontsize=7, rotation=60, ha="right", rotation_mode="anchor")


_TABLES = {
    "trainings": levels,
    "training_tests": paired_tests,
    "secondary_tests": secondary_tests,
    "spread": spread,
    "networks_needed": needed,
}
