"""How much networks differ by chance under each training, and what pruning costs if it is little: decay/ and others."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    BELOW,
    NEUTRAL,
    Panel,
    RunArrays,
    StudyPredictions,
    cell_costs,
    draw,
    points,
    run_arrays,
    side_by_side,
)
from outcomes import all_costs, class_costs, f1_costs
from published import Study, compare, fits, means

DATASETS = {"fashion-mnist": "Fashion-MNIST", "mnist": "MNIST", "cifar10-jpeg": "CIFAR-10"}
_BY = ["dataset", "training"]
_RESAMPLES = 4000
# Networks whose rate decays and which keep the last epoch's weights.
_STABLE = {"decay": "cosine", "fine_tune_decay": "cosine", "kept_epoch": "last", "class_offsets": "none", "distill": 0}
_CONTROL, _GRADUAL = {"pruner": "none"}, {"pruner": "mp", "schedule": "cubic", "ratio": 20}


def deviations(study: Study) -> pd.DataFrame:
    """Return the standard deviation over seeds under each training, in points.

    Returns
    -------
    DataFrame
        - of: `gaps`, the recall of each class minus the accuracy in dense networks, whose variance is averaged over the
          classes; `beyond_floor`, that of the pruned network minus that of its control; `cost`, of the named class;
        - dataset, training, n, deviation.
    """
    return pd.DataFrame(
        {**key, "n": len(own), "deviation": _variance(own) ** 0.5} for key, own, _ in _by_training(study)
    )


def variance_ratios(study: Study) -> pd.DataFrame:
    """Return the variance at the constant rate divided by that of each other training, with 95 % bootstrap intervals.

    This is the number of networks that the constant rate needs for one network of the other training, if intervals are
    to be equally wide.

    Returns
    -------
    DataFrame
        of, dataset, training, n: as in `deviations`; ratio, ratio_low, ratio_high.
    """
    rows = []
    for key, own, constant in _by_training(study):
        if own is not constant:
            resampled = np.random.default_rng(0).integers(0, len(own), (_RESAMPLES, 2, len(own)))
            ratios = _variance(constant[resampled[:, 0]]) / _variance(own[resampled[:, 1]])
            low, high = np.quantile(ratios, [0.025, 0.975])
            ratio = _variance(constant) / _variance(own)
            rows.append({**key, "n": len(own), "ratio": ratio, "ratio_low": low, "ratio_high": high})
    return pd.DataFrame(rows)


def _by_training(study: Study) -> Iterator[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """Yield the values of each training and of the constant rate, (seeds, classes), or (seeds, 1) without classes."""
    networks = study.confined(study.networks, {}, [])
    controls, pruned = (networks[networks["method"].eq(method)] for method in ("control", "pruned"))
    beyond = (rows.set_index([*_BY, "seed"])["beyond_floor"] for rows in (pruned, controls))
    values = {
        "gaps": controls.set_index(_BY)["gaps"],
        "beyond_floor": np.subtract(*beyond).dropna(),
        "cost": pruned.set_index(_BY)["named_cost"],
    }
    for of, column in values.items():
        arrays = {key: np.vstack([*own]) for key, own in column.groupby(_BY, observed=True)}
        for (dataset, training), own in arrays.items():
            yield {"of": of, "dataset": dataset, "training": training}, own, arrays[dataset, "constant"]


def _variance(values: np.ndarray) -> np.ndarray:
    """Compute the variance over seeds, averaged over classes, of (..., seeds, classes)."""
    return values.var(-2, ddof=1).mean(-1)


def pooled(study: Study) -> pd.DataFrame:
    """Return what pruning to ratio 20 costs in all networks with a stable control, with those of other studies.

    Returns
    -------
    DataFrame
        dataset; the columns of `outcomes.class_costs`; f1_cost, and worst_in, as in `published.costs`.
    """
    parts = [
        (arrays.runs["dataset"].iloc[rows[0]], _of_cell(arrays, rows, StudyPredictions(predictions)))
        for runs, predictions, _ in map(study.frames, (study.folder.name, *study.spec["reads"]))
        for wanted in [fits(runs, _STABLE) & (fits(runs, _CONTROL) | fits(runs, _GRADUAL))]
        for arrays in [run_arrays(runs[wanted].reset_index(drop=True))]
        for rows in map(arrays.with_control, arrays.cells)
        if len(rows)
    ]
    datasets = {dataset: [part for name, part in parts if name == dataset] for dataset, _ in parts}
    return pd.concat(_together(own).assign(dataset=dataset) for dataset, own in datasets.items())


class _Cell(NamedTuple):
    label: np.ndarray  # (images,), the same in all studies of a data set
    control: np.ndarray  # (networks, images), whether each network is right
    pruned: np.ndarray
    costs: pd.DataFrame  # (networks, classes)
    f1: np.ndarray | float  # (classes,)


def _of_cell(arrays: RunArrays, rows: np.ndarray, predictions: StudyPredictions) -> _Cell:
    found, has = cell_costs(arrays, rows, predictions)
    assert found
    assert found.own.right
    assert found.own.label is not None
    f1 = f1_costs(arrays, rows, arrays.controls[rows], found.own.label, predictions)
    return _Cell(found.own.label, *found.own.right, all_costs(arrays, rows, arrays.names[has]), f1)


def _together(cells: list[_Cell]) -> pd.DataFrame:
    """Pool the networks of cells with the same test images."""
    label, controls, pruned, costs, f1 = zip(*cells, strict=True)
    of_networks = pd.concat(costs)
    table = class_costs(label[0], np.vstack(controls), np.vstack(pruned), [*of_networks])
    worst_in = table["class"].map(of_networks.idxmax(axis=1).value_counts()).fillna(0)
    return table.assign(f1_cost=np.average(f1, axis=0, weights=[*map(len, costs)]), worst_in=worst_in)


def offsets_from_plain(study: Study) -> pd.DataFrame:
    """Return what gradual pruning with class offsets costs, compared with controls that have no offsets.

    Returns
    -------
    DataFrame
        dataset, class, and cost with the columns of `losses.columns`, as shares.
    """
    arrays = study.arrays
    arms = study.arms.set_index("run_id").loc[arrays.runs["run_id"]].reset_index()
    is_control = arms["method"].eq("control") & arms["mitigation"].eq("plain")
    by_network = pd.Series(arms.index[is_control], arrays.runs.loc[is_control, "dense_run_id"])
    with_offsets = arms[arms["method"].eq("gradual MP") & arms["ratio"].eq("20") & arms["mitigation"].eq("offsets")]
    tables = []
    for dataset, own in with_offsets.groupby("dataset", observed=True):
        rows, controls = own.index.to_numpy(), np.full(len(arms), -1)
        controls[rows] = by_network[arrays.runs.loc[rows, "dense_run_id"]]
        found, has = cell_costs(arrays, rows, study.predictions, controls)
        assert found
        tables.append(found.table.assign(**{"class": arrays.names[has], "dataset": dataset, "n": found.n}))
    return pd.concat(tables)


def draw_gaps(study: Study) -> Figure:
    """Draw each class's recall minus accuracy, a dot for each dense network, constant and cosine side by side."""
    controls = study.confined(study.networks, {"where": {"method": "control"}}, [])
    by_dataset = controls.groupby("dataset", observed=True)
    return draw(
        [Panel(_draw_panel, rows, DATASETS[name], "", "points") for name, rows in by_dataset],
        size=(3.6, 2.9),
        title="Each class's recall minus the accuracy, before pruning",
        note="A dot is a network. Classes are sorted by their mean.",
    )


def _draw_panel(axes: Axes, controls: pd.DataFrame) -> None:
    gaps = pd.DataFrame(np.stack(list(controls["gaps"])), columns=controls["classes"].iloc[0])
    gaps = gaps[gaps.mean().sort_values(kind="stable").index]
    places = np.arange(gaps.shape[1])
    dots = gaps.set_axis(places, axis=1).melt(var_name="place", value_name="gap")
    colors = {"constant learning rate": NEUTRAL, "decaying learning rate": BELOW}
    named = controls["training"].map(dict(zip(("constant", "cosine"), colors, strict=True)))
    dots = dots.assign(training=np.tile(named, len(places)))
    points(axes, side_by_side(dots, "training", colors, apart=0.36), "place", "gap", by="training", colors=colors, s=9)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, gaps.columns, fontsize=7, rotation=60, ha="right", rotation_mode="anchor")


def at_constant_rate(study: Study) -> pd.DataFrame:
    """Return the means and differences that a study lists, of the networks of lenet5, whose learning rate is constant.

    Returns
    -------
    DataFrame
        rate, quantity, the keys of the lists, estimate, low, high, p, n.
    """
    lenet5 = Study(study.folder.parent / "lenet5")
    lenet5.spec = study.spec
    rows = [row for make in (means, compare) for part in study.spec[make.__name__] for row in make(lenet5, part)]
    return pd.DataFrame(rows).assign(rate="constant")
