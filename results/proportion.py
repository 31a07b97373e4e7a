"""Do errors grow in proportion? Tables and pictures of proportion/, proportion-mlp/ and width/.

In all tables, `error_growth` is k, the error of pruned networks divided by that of their controls; `raw_slope_on_none`
is s, the slope of the classes' gaps on those of the controls; `proportionality` is (s - 1) / (k - 1); `alpha` is the
slope of gaps that are divided by accuracies, and `alpha_beyond` is s / k, which is alpha divided by `odds_ratio`.
"""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pies
import quantized_training
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from of_analysis import (
    ABOVE,
    BELOW,
    CONTROL,
    DIFFERENT,
    NEUTRAL,
    Panel,
    Recalls,
    RunArrays,
    StudyPredictions,
    alpha,
    alphas,
    cell_costs,
    claims,
    diagonal,
    draw,
    frames,
    lines,
    mean_interval,
    paper_tests,
    param,
    points,
    proportion,
    proportions,
    run_arrays,
)
from of_analysis import published as print_
from published import Study, fits

NEW, THESE = "new images", "these images"
_COLORS = dict(zip(DATASETS.values(), (ABOVE, BELOW, DIFFERENT), strict=True))
# Below this growth of the error, all predictions of the slope agree closely.
_SMALLEST_GROWTH = 1.05
_SMALLEST = {"all cells": 0, "k from 1.05": _SMALLEST_GROWTH}
_FEWEST_SEEDS = 4
# At larger ratios, networks collapse.
_LARGEST_RATIO = 20
# Earlier studies that have stored answers in place of frames, with their data sets and models.
_ANSWERS = {
    "quantized-training": ("fashion-mnist", "lenet5"),
    "quantized-training-resnet20": ("cifar10-jpeg", "resnet20"),
    "pies": ("fashion-mnist", "lenet5"),
}


@cache
def cells(study: Study) -> pd.DataFrame:
    """Compare the networks of each pruned cell with their controls.

    Returns
    -------
    DataFrame
        Two rows for each cell, for `images`: `these images`, or `new images`, of which the test images are a sample.

        - dataset, model, pruner, schedule, ratio, training (empty, if study.yaml has no such axis), and all axes;
        - n (networks), accuracy_control, accuracy, odds_ratio, alpha;
        - error_growth, raw_slope_on_none, proportionality, alpha_beyond, each with a 95 % interval;
        - p_equal_losses, p_proportional and p_equivalence, that proportionality is 0, 1, and not within .8 to 1.2.
    """
    rows = [
        row
        for key, places in _pruned(study)
        if (cell := proportions.cell_proportion(study.arrays, places, study.predictions))
        for row in _cell_rows(key, cell)
    ]
    return pd.DataFrame(rows)


def _pruned(study: Study) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the key and the rows of each cell of pruned networks."""
    runs, arms = study.arrays.runs, study.arms.set_index("run_id").drop(columns="seed").astype(str)
    runs = runs.assign(schedule=param(runs, "schedule"))
    for rows in study.arrays.cells:
        run = runs.iloc[rows[0]]
        if run["pruner"] != CONTROL:
            key = run[["dataset", "model", "pruner", "schedule", "ratio"]].to_dict()
            yield key | {"training": ""} | arms.loc[run["run_id"]].to_dict(), rows


def _cell_rows(key: dict[str, Any], cell: proportions.CellProportion) -> Iterator[dict[str, Any]]:
    accuracies = {"accuracy_control": 100 * cell.accuracy_control, "accuracy": 100 * cell.accuracy}
    for images, found in ((NEW, cell.for_new_images), (THESE, cell.on_these_images)):
        columns = proportions.columns(found)
        p = (found.p_value(0), found.p_value(1), found.equivalence_p()) if found else (np.nan,) * 3
        names = ("p_equal_losses", "p_proportional", "p_equivalence")
        yield {
            **key,
            "n": cell.n,
            "images": images,
            **accuracies,
            "odds_ratio": cell.odds_ratio,
            "alpha": columns["alpha_beyond"] * cell.odds_ratio,
            **columns,
            **dict(zip(names, p, strict=True)),
        }


@cache
def factors(study: Study) -> pd.DataFrame:
    """Return by which factor pruning multiplies the error of each class, and each class's part in the slope.

    Returns
    -------
    DataFrame
        The key of the cell, class, n (networks); error_factor and proportionality_without, that of the other classes,
        with 95 % intervals over networks; first, whether it is the cell's first class; leverage, the class's share of
        the controls' squared gaps;
        p_equal_factors, of the test that all classes have the same factor; alpha_of_networks, the mean alpha of single
        networks since their own controls.
    """
    arrays, tables = study.arrays, []
    for key, rows in _pruned(study):
        rows = arrays.with_sloped_control(arrays.sloped(rows))
        if recalls := proportions.paired_recalls(arrays, rows):
            before, after, share = recalls
            errors, gaps = (1 - before, 1 - after), before.mean(0) - before.mean(0) @ share
            balances = (Recalls(recall, recall @ share).balance for recall in (before, after))
            values = proportion.error_factors(*errors), proportion.proportionality_without_each(*recalls)
            columns = [*proportion.FACTOR_COLUMNS, *proportion.WITHOUT_COLUMNS]
            table = pd.DataFrame(np.vstack(values).T, columns=columns).assign(
                leverage=np.square(gaps) / np.square(gaps).sum(),
                p_equal_factors=proportion.equal_factors_p(*errors, share),
                alpha_of_networks=alpha(*balances).mean(),
                first=np.arange(len(share)) == 0,
            )
            names = arrays.names[arrays.classes_of(rows)]
            tables.append(table.assign(**key, **{"class": names, "n": len(rows)}))
    return pd.concat(tables, ignore_index=True)


def classes(study: Study) -> pd.DataFrame:
    """Return what classes lose, in points, in the cells to which `where` of study.yaml confines lists.

    Returns
    -------
    DataFrame
        The key of the cell, class, n (networks), error_control, loss, and disproportionate, the loss beyond that under
        proportional errors, with interval (for new images), bound for all classes, and p.
    """
    wanted, tables = study.confined(study.arms, {}, [])["run_id"], []
    for key, rows in _pruned(study):
        if study.arrays.runs["run_id"].iloc[rows[0]] in set(wanted):
            costs, has = cell_costs(study.arrays, rows, study.predictions)
            assert costs
            names = [name for name in costs.table if name.startswith("disproportionate")]
            table = 100 * costs.table[["loss_from_control", *names]].rename(
                columns={"loss_from_control": "loss"}
            ).assign(error_control=1 - study.arrays.after[np.ix_(study.arrays.controls[rows], has)].mean(0))
            table["disproportionate_p"] /= 100
            tables.append(table.assign(**key, **{"class": study.arrays.names[has], "n": costs.n}))
    return pd.concat(tables, ignore_index=True)


def explained(study: Study) -> pd.DataFrame:
    """Return what share of the slopes' squared distances from 1 the growth of the error explains.

    Returns
    -------
    DataFrame
        dataset, cells (which ones are included), without (the class with most leverage, if it is left out), n (seeds),
        and the explained part with a 95 % interval by the jackknife over seeds, which leaves a seed out of all cells
        together.
    """
    arrays = _decaying(study.runs.drop(columns="study"))
    seeds, datasets = arrays.runs["seed"].to_numpy(), arrays.runs["dataset"]
    growths = [(rows, found[0][1]) for rows in arrays.cells if (found := _slopes(arrays, [rows]))]
    leverages = factors(study).groupby(["dataset", "class"])["leverage"].mean()
    rows = []
    for dataset, (cells, smallest) in product(datasets.unique(), _SMALLEST.items()):
        own = [rows for rows, growth in growths if datasets[rows[0]] == dataset and growth >= smallest]
        each = np.unique(seeds[np.concatenate(own)]) if len(own) > 1 else np.array([])
        if len(each) >= _FEWEST_SEEDS:
            for without in ("", leverages[dataset].idxmax()):
                whole = _explained(arrays, own, without)
                parts = [_explained(arrays, [rows[seeds[rows] != seed] for rows in own], without) for seed in each]
                low, high = mean_interval(len(each) * whole - (len(each) - 1) * np.array(parts))
                row = {"dataset": dataset, "cells": cells, "without": without, "explained": whole}
                rows.append(row | {"explained_low": low, "explained_high": high, "n": len(each)})
    return pd.DataFrame(rows)


def _explained(arrays: RunArrays, cells: list[np.ndarray], without: str) -> float:
    slopes, growths = np.array(_slopes(arrays, cells, without)).T
    return float(1 - np.square(slopes - growths).sum() / np.square(slopes - 1).sum())


def _slopes(arrays: RunArrays, cells: list[np.ndarray], without: str = "") -> list[tuple[float, float]]:
    """Return the slope and the growth of the error of each cell that has controls."""
    found = []
    for rows in cells:
        rows = arrays.with_sloped_control(arrays.sloped(rows))
        if recalls := proportions.paired_recalls(arrays, rows):
            kept = arrays.names[arrays.classes_of(rows)] != without
            before, after, share = (each[..., kept] for each in recalls)
            found.append(proportion.on_these_images(before, after, share / share.sum()))
    return [(each.slope, each.growth) for each in found]


# Networks of earlier studies, and of print.


@cache
def stored(study: Study) -> pd.DataFrame:
    """Compare cells of the studies under `reads` with their controls, if the learning rate of the controls decays.

    Further training then hardly changes the recalls of controls.

    Returns
    -------
    DataFrame
        Two rows for each cell: study, dataset, model, pruner, ratio, `setting` (other settings that identify the cell),
        and the columns of `cells` from n on.
    """
    rows = [
        row
        for name, arrays, predictions in _earlier(study)
        for places in arrays.cells
        if (cell := proportions.cell_proportion(arrays, places, predictions)) and cell.n > 1
        for row in _cell_rows({"study": name, **_key(arrays, places)}, cell)
    ]
    return pd.DataFrame([*rows, *_of_answers(study), *_writers(study)])


@cache
def _earlier(study: Study) -> list[tuple[str, RunArrays, StudyPredictions]]:
    read = [(name, study.frames(name)) for name in study.spec["reads"] if name not in _ANSWERS]
    return [(name, _decaying(found.runs), StudyPredictions(found.predictions)) for name, found in read]


def _decaying(runs: pd.DataFrame) -> RunArrays:
    """Return the runs whose learning rate decays after pruning."""
    decays = ~fits(runs, {"fine_tune_decay": "none"}) | fits(runs, {"recipe": "resnet-cifar"})
    return run_arrays(runs[decays].reset_index(drop=True))


def _key(arrays: RunArrays, rows: np.ndarray) -> dict[str, Any]:
    row = arrays.runs.iloc[rows[0]]
    setting = ", ".join(f"{frames.param(name)} {row[name]}" for name in arrays.shown)
    return row[["dataset", "model", "pruner", "ratio"]].to_dict() | {"setting": setting}


def _of_answers(study: Study) -> Iterator[dict[str, Any]]:
    """Yield the rows of networks with weights of few bits, and of networks trained on few images of three classes."""
    for name, (dataset, model) in _ANSWERS.items():
        folder = study.folder.parent / name
        key: dict[str, Any] = {"study": name, "dataset": dataset, "model": model}
        if name == "pies":
            label, populations = pies.read(folder)
            rare = populations[pies.RARE]
            key |= {"pruner": "mp", "ratio": 20.0, "setting": "rare classes"}
            yield from _cell_rows(key, _cell(label, rare.control == label, rare.pruned == label))
        else:
            label, answers = quantized_training.read(folder)
            for kind in quantized_training.QUANTIZED:
                own = key | {"pruner": CONTROL, "ratio": 1.0, "setting": f"bits {kind}"}
                yield from _cell_rows(own, _cell(label, answers[quantized_training.CONTROL], answers[kind]))


def _writers(study: Study) -> Iterator[dict[str, Any]]:
    """Yield the rows for the two series of writers of MNIST's digits, in place of classes."""
    table = pd.read_csv(study.folder.parent / "prune-responsibly" / "groups" / "mnist.csv")
    series = np.unique(table["series"], return_inverse=True)[1]
    for name, arrays, predictions in _earlier(study):
        if name in ("decay", "decay-confirmation"):
            for rows in arrays.cells:
                run_ids, controls, key = arrays.runs["run_id"].iloc, arrays.controls[rows], _key(arrays, rows)
                if key["dataset"] == "mnist" and (controls >= 0).all():
                    pairs = predictions.of_pairs(run_ids[controls], run_ids[rows])
                    assert pairs
                    key = {"study": name, **key, "setting": "series of writers"}
                    yield from _cell_rows(key, _cell(series, *pairs.right))


def _cell(label: np.ndarray, control: np.ndarray, compressed: np.ndarray) -> proportions.CellProportion:
    """Compare networks with their controls, given whether each is right about each image, (networks, images) bool."""
    support = np.bincount(label)
    before, after = (np.array([np.bincount(label, row) for row in each]) / support for each in (control, compressed))
    return proportions.CellProportion(
        len(control),
        float(control.mean()),
        float(compressed.mean()),
        proportion.for_new_images(label, control, compressed),
        proportion.on_these_images(before, after, support / len(label)),
    )


def relative_recall(study: Study) -> pd.DataFrame:
    """Return the relative recall of Hooker et al. (2019, equation 3), beside the prediction of proportional errors.

    Relative recall is the recall of a class after pruning divided by that of the control. If all classes lost the same
    share of their recall, it would equal the relative accuracy.

    Returns
    -------
    DataFrame
        A row for each cell of the studies under `reads` whose error grows by at least 5 %: study, dataset, model,
        pruner, ratio, setting, n; the lowest relative recall of a class and the value expected for this class; and the
        explained part of the squared distances from the relative accuracy.
    """
    rows = [
        {"study": name, **_key(arrays, places), **row}
        for name, arrays, _ in _earlier(study)
        for places in arrays.cells
        if (row := _relative_recall(arrays, arrays.with_sloped_control(arrays.sloped(places))))
    ]
    return pd.DataFrame(rows)


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


def printed(study: Study) -> pd.DataFrame:
    """Compare tables of Good et al. with proportional errors, relative to dense networks and without intervals.

    Returns
    -------
    DataFrame
        table, networks, pruner, ratio, accuracy_before, accuracy, alpha (as printed), odds_ratio, error_growth,
        raw_slope, proportionality. Table 11 has recall variances but no accuracies: its `raw_slope` is the quotient of
        the standard deviations after and before pruning, and its `accuracy` assumes that errors grow by this factor.
    """
    return pd.DataFrame([*_of_accuracies(12, "lottery tickets"), *_of_accuracies(13, "CHIP"), *_of_variances()])


def _of_accuracies(number: int, networks: str) -> Iterator[dict[str, Any]]:
    table = print_.table(number).apply(pd.to_numeric)
    before = table["Accuracy"].iloc[0]
    for _, row in table.iloc[1:].iterrows():
        after, alpha = row["Accuracy"], row["Intensification"]
        growth, slope = (1 - after) / (1 - before), alpha * after / before
        yield {
            "table": f"Table {number}",
            "networks": networks,
            "ratio": row["Pruning ratio"],
            "accuracy_before": 100 * before,
            "accuracy": 100 * after,
            "alpha": alpha,
            "odds_ratio": float(proportion.odds_ratio(before, after)),
            "error_growth": growth,
            "raw_slope": slope,
            "proportionality": (slope - 1) / (growth - 1),
        }


def _of_variances() -> Iterator[dict[str, Any]]:
    accuracies = print_.table(10).set_index(["Dataset", "Model", "Pruning Algorithm"])["Accuracy"].astype(float)
    for _, row in print_.table(11).iterrows():
        network, pruner = row["Model"].split(" -> ")
        if (key := (*network.split(" @ "), pruner)) in accuracies:
            before = accuracies[key]
            for name in row.index[2:]:
                slope = (float(row[name]) / float(row["Before"])) ** 0.5
                yield {
                    "table": "Table 11",
                    "networks": row["Model"],
                    "ratio": float(name.removeprefix("Ratio ")),
                    "accuracy_before": 100 * before,
                    "accuracy": 100 * (1 - slope * (1 - before)),
                    "raw_slope": slope,
                }


def figure(study: Study) -> Figure:
    """Draw alpha against the odds ratio of the error, for new networks, earlier ones, and those of the paper."""
    earlier, new = stored(study if "reads" in study.spec else Study(study.folder.parent / "proportion")), cells(study)
    old = earlier[earlier["images"].eq(THESE) & earlier["ratio"].le(_LARGEST_RATIO)]
    new = new[new["images"].eq(THESE) & ~new["training"].str.startswith("constant")]
    return draw(
        [Panel(_draw, (old, new, printed(study)), "", "odds ratio of the error", "alpha")],
        size=(5.0, 4.4),
        title="Alpha, and the odds ratio of the error",
        note="On the line errors are proportional. A dot is a set of new networks against their controls, at decaying "
        "learning rates. Rings are sets of earlier networks, at ratios up to 20. Crosses: the paper's Tables 12 and "
        "13, relative to dense networks.",
    )


def figure_of_factors(study: Study) -> Figure:
    """Draw the factor of each class's error against this error in the controls, a panel for each data set."""
    keys = ["dataset", "pruning", "training"]
    of_all = cells(study).query(f"images == '{THESE}'")[[*keys, "error_growth"]]
    shown = factors(study).merge(classes(study)[[*keys, "class", "error_control"]]).merge(of_all, on=keys)
    return draw(
        [
            Panel(_draw_factors, own, DATASETS[name], "error of the control, %", "factor")
            for name, own in shown.groupby("dataset", sort=False)
        ],
        size=(3.6, 2.9),
        title="Pruning multiplies the errors of classes by different factors",
        note="A class's error after pruning divided by that in the control, with 95 % intervals over networks. Dashed: "
        "the error of all images.",
    )


def _draw_factors(axes: Axes, rows: pd.DataFrame) -> None:
    factor, at = rows["error_factor"], rows["error_control"]
    ends = [factor - rows["error_factor_low"], rows["error_factor_high"] - factor]
    axes.errorbar(at, factor, ends, fmt="o", color=BELOW, markersize=3, linewidth=0.9)
    for name, x, y in zip(rows["class"], at, factor, strict=True):
        axes.annotate(name, (x, y), (3, 3), textcoords="offset points", fontsize=6)
    axes.axhline(rows["error_growth"].iloc[0], color="black", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.margins(x=0.14)
    axes.xaxis.set_major_locator(FixedLocator([0.4, 0.6, 1, 2, 5, 10, 20, 30, 50]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _draw(axes: Axes, tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    old, new, known = tables
    for sets, look in ((old, {"facecolors": "none", "alpha": 1, "linewidths": 0.7}), (new, {"s": 26, "alpha": 1})):
        named = sets.assign(name=sets["dataset"].map(DATASETS))
        points(axes, named, "odds_ratio", "alpha", by="name", colors=_COLORS, **look)
    known = known[known["odds_ratio"].notna()]
    where = known["odds_ratio"], known["alpha"]
    axes.scatter(*where, s=20, color="black", marker="x", linewidths=0.8, label="in print")
    diagonal(axes, [known["odds_ratio"].min(), old["odds_ratio"].max()], color=NEUTRAL)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


# Networks of several widths.


def smaller_models(study: Study) -> pd.DataFrame:
    """Judge sentences 23 and 24 of Good et al., on smaller models, by alpha relative to the dense network.

    MP is pruned in one step at ratio 10, and gradually at 20.
    """
    judged = pd.concat([claims(own) for own in _without_schedule(study)])
    return judged[judged["slug"].str.startswith("smaller-models") & judged["where"].ne("")]


def tests_of_sizes(study: Study) -> pd.DataFrame:
    """Return the tests of Good et al. of ratios of one model (Tables 1, 2) and of model sizes (5, 6), as there."""
    tests = pd.concat([paper_tests(alphas(run_arrays(own))) for own in _without_schedule(study)])
    return tests[tests["table"].isin([1, 2, 5, 6])]


def _without_schedule(study: Study) -> Iterator[pd.DataFrame]:
    """Yield the pruned networks of each data set without their schedule, so that all are compared together."""
    hidden = {"study", *map(frames.column, ("schedule", "ramp", "ramp_steps", "regrow"))}
    pruned = study.chosen[study.chosen["pruner"].ne(CONTROL)].drop(columns=hidden)
    yield from (own.reset_index(drop=True) for _, own in pruned.groupby("dataset"))


def widths(study: Study) -> Figure:
    """Draw alpha (solid) and the odds ratio of the error (dashed) against the width, a panel for each data set."""
    shown = cells(study).query(f"images == '{THESE}'")
    shown = shown.assign(times=shown["width"].map({"half": 0.5, "single": 1, "double": 2})).sort_values("times")
    colors = dict(zip(("gradual MP 20", "MP 10", "UP 10"), (ABOVE, BELOW, DIFFERENT), strict=True))
    drawn = partial(_draw_widths, colors=colors)
    panels = [Panel(drawn, own, DATASETS[name], "width", "alpha") for name, own in shown.groupby("dataset")]
    return draw(
        panels,
        2,
        size=(3.9, 3.0),
        title="Alpha by the width of LeNet5",
        note="Solid: alpha from the controls to the pruned networks. Dashed: the odds ratio of the error, which alpha "
        "would equal if pruning multiplied every class's error by one factor.",
    )


def _draw_widths(axes: Axes, rows: pd.DataFrame, colors: dict[str, str]) -> None:
    lines(axes, rows, "times", "alpha", by="pruning", colors=colors, marker="o", markersize=4)
    for name, own in rows.groupby("pruning"):
        axes.plot(own["times"], own["odds_ratio"], color=colors[name], linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.5, 1, 2], ["1/2", "1", "2"])
