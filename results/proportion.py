"""Tables and picture of proportion/: test whether pruning multiplied the error of every class by the same factor."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import decay
import folders
import network_measures
import numpy as np
import pandas as pd
import pies
import quantized_training
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import diagonal, points
from analysis.report import published
from analysis.runs import frames, schema
from analysis.statistics import proportion
from analysis.statistics.proportion import Proportion
from analysis.statistics.resampling import mean_interval
from analysis.study import proportions
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.predictions import StudyPredictions
from analysis.study.proportions import CellProportion
from analysis.study.settings import CONTROL, is_mitigated

STUDY = "proportion"
# The studies of the plan, whose networks are new.
_PLANNED = ("proportion", "proportion-mlp", "width", "resnet20-full", "lottery-dip")
# The recipe whose learning rate decays in steps, to a thousandth of its largest value.
_DECAYING = "resnet-cifar"
NEW, THESE = "new images", "these images"
_FEWEST_SEEDS = 4
# At larger ratios, networks collapse.
LARGEST_RATIO = 20
# Below this growth of the error, all predictions of the slope agree closely.
_SMALLEST_GROWTH = 1.05
_QUANTIZED = {
    quantized_training.LENET5: ("fashion-mnist", "lenet5"),
    quantized_training.RESNET20: ("cifar10-jpeg", "resnet20"),
}
_GRADUAL = {schema.DATASET: "fashion-mnist", schema.MODEL: "lenet5", schema.PRUNER: "mp", schema.RATIO: 20.0}
COLORS = dict(zip(DATASETS.values(), (ABOVE, BELOW, DIFFERENT), strict=True))
IN_PRINT: dict[str, Any] = {"s": 20, "color": "black", "marker": "x", "linewidths": 0.8, "label": "in print"}


def write(results: Path) -> None:
    """Write the tables of stored networks and of the paper's networks, and the picture of both.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    tables = {
        "stored": stored(results),
        "explained": explained(results, _stored(results)),
        "relative_recall": relative_recall(results),
        "printed": printed(),
    }
    folders.write(results / STUDY, tables, {"stored": picture(tables["stored"], tables["printed"])})


def stored(results: Path) -> pd.DataFrame:
    """Return two rows for each cell with stable controls in the studies that existed before the plan.

    A control counts as stable if its learning rate decays, because further training then hardly changes its recalls.

    Returns
    -------
    DataFrame
        study, dataset, model, pruner, ratio, `setting` (other settings that identify the cell), n (networks), `images`
        (`new images`, or `these images` for the test images themselves), accuracies of controls and pruned networks,
        odds_ratio; error_growth, raw_slope_on_none, proportionality and alpha_beyond, each with a 95 % interval; p of
        equal losses, of proportional errors, and of the equivalence test.
    """
    cells = [
        row
        for study in _stored(results)
        for arrays, predictions in _stable_runs(results, study)
        for rows in arrays.cells()
        if (cell := proportions.cell_proportion(arrays, rows, predictions)) and cell.n > 1
        for row in cell_rows({"study": study, **_key(arrays, rows)}, cell)
    ]
    for study in _QUANTIZED:
        if (results / study / quantized_training.ANSWERS).is_file():
            cells += _quantized(results / study)
    cells += _rare_classes(results / pies.STUDY) if (results / pies.STUDY / pies.ANSWERS).is_file() else []
    return pd.DataFrame([*cells, *_writers(results)])


def _stored(results: Path) -> list[str]:
    """Return the studies that existed before the plan."""
    studies = (path.name for path in sorted(results.iterdir()) if folders.has_frames(results, path.name))
    return [study for study in studies if study not in _PLANNED]


def _stable_runs(results: Path, study: str) -> Iterator[tuple[RunArrays, StudyPredictions]]:
    """Yield a study's runs whose learning rate decays after pruning, if there are any."""
    runs, read = folders.runs(results, study)
    falls = network_measures.param(runs, schema.FINE_TUNE_DECAY, "none").ne("none")
    falls |= network_measures.param(runs, schema.RECIPE, "").eq(_DECAYING)
    if falls.any():
        yield run_arrays(runs[falls].reset_index(drop=True)), StudyPredictions(read)


def _key(arrays: RunArrays, rows: np.ndarray) -> dict[str, Any]:
    row = arrays.runs.iloc[rows[0]]
    shown = [f"{frames.param(name)} {row[name]}" for name in arrays.shown]
    return {name: row[name] for name in arrays.cell_key[: -len(shown) or None]} | {"setting": ", ".join(shown)}


def _quantized(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of networks with weights of few bits."""
    label, answers = quantized_training.read(folder)
    dataset, model = _QUANTIZED[folder.name]
    key = {schema.DATASET: dataset, schema.MODEL: model, schema.PRUNER: CONTROL, schema.RATIO: 1.0}
    for name in quantized_training.QUANTIZED:
        cell = _of_answers(label, answers[quantized_training.CONTROL], answers[name])
        yield from cell_rows({"study": folder.name, **key, "setting": f"bits {name}"}, cell)


def _rare_classes(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of networks that were trained on few images of three classes."""
    label, populations = pies.read(folder)
    rare = populations[pies.RARE]
    cell = _of_answers(label, rare.control == label, rare.pruned == label)
    yield from cell_rows({"study": folder.name, **_GRADUAL, "setting": "rare classes"}, cell)


def _writers(results: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows for the two series of writers of MNIST's digits, in place of classes."""
    table = pd.read_csv(results / "prune-responsibly" / "groups" / "mnist.csv")
    series = np.unique(table["series"], return_inverse=True)[1]
    for study in decay.STUDIES if folders.has_frames(results, decay.STUDIES[0]) else ():
        for arrays, predictions in _stable_runs(results, study):
            for rows in arrays.cells():
                row = arrays.runs.iloc[rows[0]]
                run_ids, controls = arrays.runs[frames.RUN_ID].iloc, arrays.controls[rows]
                if row[schema.DATASET] != "mnist" or row[schema.PRUNER] == CONTROL or (controls < 0).any():
                    continue
                if pairs := predictions.of_pairs(run_ids[controls], run_ids[rows]):
                    key = {**_key(arrays, rows), "setting": "series of writers"}
                    yield from cell_rows({"study": study, **key}, _of_answers(series, *pairs.right))


def _of_answers(label: np.ndarray, control: np.ndarray, compressed: np.ndarray) -> CellProportion:
    """Compare networks with their controls, given whether each is right about each image, (networks, images) bool."""
    recalls = [
        np.array([np.bincount(label, row) for row in each]) / np.bincount(label) for each in (control, compressed)
    ]
    return CellProportion(
        len(control),
        float(control.mean()),
        float(compressed.mean()),
        proportion.for_new_images(label, control, compressed),
        proportion.on_these_images(recalls[0], recalls[1], np.bincount(label) / len(label)),
    )


def cell_rows(key: dict[str, Any], cell: CellProportion) -> Iterator[dict[str, Any]]:
    for images, found in ((NEW, cell.for_new_images), (THESE, cell.on_these_images)):
        yield {
            **key,
            "n": cell.n,
            "images": images,
            "accuracy_control": cell.accuracy_control,
            "accuracy": cell.accuracy,
            "odds_ratio": cell.odds_ratio,
            **proportions.columns(found),
            **_tests(found),
        }


def _tests(found: Proportion | None) -> dict[str, float]:
    names = ("p_equal_losses", "p_proportional", "p_equivalence")
    values = (found.p_value(0), found.p_value(1), found.equivalence_p()) if found else (np.nan,) * 3
    return dict(zip(names, values, strict=True))


def explained(results: Path, studies: Iterable[str]) -> pd.DataFrame:
    """Return, for each study, what share of the slopes' squared distances from 1 the growth of the error explains.

    Returns
    -------
    DataFrame
        study, dataset, model, smallest_growth (of the error in the included cells), cells (number of cells with
        ratios up to 20, without mitigations), n (seeds), and the explained part with a 95 % interval by the jackknife
        over seeds, which leaves a seed out of all cells together.
    """
    return pd.DataFrame(
        [
            {"study": study, schema.DATASET: dataset, schema.MODEL: model, "smallest_growth": smallest, **row}
            for study in studies
            for arrays, _ in _stable_runs(results, study)
            for (dataset, model), cells in _plain_cells(arrays)
            for smallest in (0.0, _SMALLEST_GROWTH)
            if (row := _explained(arrays, cells, smallest))
        ]
    )


def _plain_cells(arrays: RunArrays) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """Yield the rows of cells that `explained` includes, for each data set and model with several of them."""
    spared = is_mitigated(arrays.runs).to_numpy()
    cells: dict[Any, list[np.ndarray]] = {}
    for rows in arrays.cells():
        row = arrays.runs.iloc[rows[0]]
        if (arrays.controls[rows] >= 0).all() and row[schema.RATIO] <= LARGEST_RATIO and not spared[rows].any():
            cells.setdefault((row[schema.DATASET], row[schema.MODEL]), []).append(rows)
    yield from ((key, several) for key, several in cells.items() if len(several) > 1)


def _explained(arrays: RunArrays, cells: list[np.ndarray], smallest: float) -> dict[str, Any] | None:
    """Compute a row of `explained` from the cells whose error growth is at least `smallest`; 0 includes all cells.

    Return None if too few cells remain, or if they have too few seeds.
    """
    found = [proportions.cell_proportion(arrays, rows) for rows in cells]
    cells = [
        rows
        for rows, cell in zip(cells, found, strict=True)
        if cell and cell.on_these_images and cell.on_these_images.growth >= smallest
    ]
    seeds = arrays.runs[schema.SEED].to_numpy()
    every = sorted({int(seed) for rows in cells for seed in seeds[rows]})
    if len(cells) < 2 or len(every) < _FEWEST_SEEDS:
        return None
    whole = _part(arrays, cells)
    without_one = [_part(arrays, [rows[seeds[rows] != seed] for rows in cells]) for seed in every]
    low, high = mean_interval(len(every) * whole - (len(every) - 1) * np.array(without_one))
    return {"cells": len(cells), "n": len(every), "explained": whole, "explained_low": low, "explained_high": high}


def _part(arrays: RunArrays, cells: list[np.ndarray]) -> float:
    found = [cell.on_these_images for rows in cells if (cell := proportions.cell_proportion(arrays, rows))]
    slopes, growths = np.array([(each.slope, each.growth) for each in found if each]).T
    return float(1 - np.square(slopes - growths).sum() / np.square(slopes - 1).sum())


def relative_recall(results: Path) -> pd.DataFrame:
    """Return the relative recall of Hooker et al. (2019, equation 3), beside the prediction of proportional errors.

    Relative recall is the recall of a class after pruning divided by that of the control. If all classes lost the same
    share of their recall, it would equal the relative accuracy.

    Returns
    -------
    DataFrame
        A row for each cell of the stored studies whose error grows by at least 5 %: study, dataset, model, pruner,
        ratio, setting, n; the lowest relative recall of a class and the value expected for this class; and the
        explained part of the squared distances from the relative accuracy.
    """
    return pd.DataFrame(
        [
            {"study": study, **_key(arrays, rows), **row}
            for study in _stored(results)
            for arrays, _ in _stable_runs(results, study)
            for rows in arrays.cells()
            if (row := _relative_recall(arrays, arrays.with_sloped_control(arrays.sloped(rows))))
        ]
    )


def _relative_recall(arrays: RunArrays, rows: np.ndarray) -> dict[str, Any] | None:
    """Return the row of a cell; None if its error hardly grows, or fewer than four networks have a control."""
    if len(rows) < _FEWEST_SEEDS:
        return None
    has, controls = arrays.classes_of(rows), arrays.controls[rows]
    before, after = (arrays.after[np.ix_(each, has)].mean(0) for each in (controls, rows))
    accuracy, accuracy_after = (float(arrays.accuracy_after[each].mean()) for each in (controls, rows))
    if not 1 - accuracy_after >= _SMALLEST_GROWTH * (1 - accuracy):
        return None
    expected = 1 - proportion.expected_losses(before, accuracy, accuracy - accuracy_after) / before
    relative, common = after / before, accuracy_after / accuracy
    lowest = relative.argmin()
    return {
        "n": len(rows),
        "class": str(arrays.names[has][lowest]),
        "relative_recall": relative[lowest],
        "expected": expected[lowest],
        "explained": 1 - np.square(relative - expected).sum() / np.square(relative - common).sum(),
    }


def printed() -> pd.DataFrame:
    """Compare the paper's tables with proportional errors, relative to dense networks and without intervals.

    Returns
    -------
    DataFrame
        table, networks, ratio, accuracy_before, accuracy (as printed), alpha (as printed), odds_ratio, error_growth,
        raw_slope, proportionality. Table 11 has recall variances but no accuracies: its `raw_slope` is the quotient of
        the standard deviations after and before pruning, and its `accuracy` assumes that errors grow by this factor.
    """
    return pd.DataFrame([*_of_accuracies(12, "lottery tickets"), *_of_accuracies(13, "CHIP"), *_of_variances()])


def _of_accuracies(number: int, networks: str) -> Iterator[dict[str, Any]]:
    table = published.table(number).apply(pd.to_numeric)
    before = table["Accuracy"].iloc[0]
    for _, row in table.iloc[1:].iterrows():
        after, alpha = row["Accuracy"], row["Intensification"]
        growth, slope = (1 - after) / (1 - before), alpha * after / before
        yield {
            "table": number,
            "networks": networks,
            schema.RATIO: row["Pruning ratio"],
            "accuracy_before": before,
            "accuracy": after,
            "alpha": alpha,
            "odds_ratio": float(proportion.odds_ratio(before, after)),
            "error_growth": growth,
            "raw_slope": slope,
            "proportionality": (slope - 1) / (growth - 1),
        }


def _of_variances() -> Iterator[dict[str, Any]]:
    accuracies = published.table(10).set_index(["Dataset", "Model", "Pruning Algorithm"])["Accuracy"].astype(float)
    for _, row in published.table(11).iterrows():
        network, pruner = row["Model"].split(" -> ")
        if (key := (*network.split(" @ "), pruner)) not in accuracies:
            continue
        before = accuracies[key]
        for name in row.index[2:]:
            slope = (float(row[name]) / float(row["Before"])) ** 0.5
            yield {
                "table": 11,
                "networks": row["Model"],
                schema.RATIO: float(name.removeprefix("Ratio ")),
                "accuracy_before": before,
                "accuracy": 1 - slope * (1 - before),
                "raw_slope": slope,
            }


def picture(networks: pd.DataFrame, in_print: pd.DataFrame) -> Figure:
    """Draw the slope against the growth of the error: a dot for each cell, a cross for each cell of the paper."""
    cells = networks[networks["images"].eq(THESE) & networks[schema.RATIO].le(LARGEST_RATIO)]
    known = in_print[in_print["error_growth"].notna()]
    return draw(
        [
            Panel(
                _draw,
                (cells, known),
                "",
                "k: error after pruning / error of the control",
                "s: raw slope on the control",
            )
        ],
        size=(5.0, 4.4),
        title="Growth of the gaps between classes, and of the error",
        note="A dot is a set of networks against their controls, at ratios up to 20. On the line errors are "
        "proportional. Crosses: the paper's Tables 12 and 13, relative to dense networks.",
    )


def _draw(axes: Axes, cells_and_print: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    cells, known = cells_and_print
    named = cells.assign(name=cells[schema.DATASET].map(DATASETS))
    points(axes, named, "error_growth", "raw_slope_on_none", by="name", colors=COLORS)
    axes.scatter(known["error_growth"], known["raw_slope"], **IN_PRINT)
    diagonal(axes, [known["error_growth"].min(), cells["raw_slope_on_none"].max()])
    axes.axhline(1, color=NEUTRAL, linewidth=0.8)
