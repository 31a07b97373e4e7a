"""Tables and pictures of pies/: does pruning mostly change predictions for rare classes, and does abstention help?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import folders
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import analysis
from analysis.common import files
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, lines, name_rows
from analysis.report.papers.compressed_networks.exemplars import exemplars
from analysis.runs import frames, pull, schema
from analysis.statistics import over_indexing
from analysis.statistics.abstention import disputes, retained_accuracy
from analysis.statistics.halves import Halves, jackknife_estimate, jackknife_values
from analysis.statistics.hypothesis_tests import corrected, paired
from analysis.statistics.resampling import mean_interval
from analysis.study.groups import GROUP, GROUPING
from analysis.study.settings import CONTROL
from analysis.study.study import ReportOptions, StudyData

STUDY, ANSWERS = "pies", "answers.npz"
RARE, BALANCED = "rare", "balanced"
_TITLES = {RARE: "Three classes are rare", BALANCED: "All training images"}
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
RARE_CLASSES = ("Trouser", "Pullover", "Sneaker")
_DENSE, _PRUNED, _CONTROL, _DOUBT = "dense", "pruned", "control", "doubt"
# Criteria by which a pruned network abstains. `OWN` is the one with which the others are compared.
DISPUTE, OWN, MEAN, DENSE_ALONE = "dispute", "own confidence", "mean confidence", "dispute of dense networks"
_DOUBTS = (DISPUTE, OWN, MEAN, DENSE_ALONE)
_COVERAGES = np.linspace(0.5, 1, 51)
_PRIMARY_COVERAGE = 0.9
_LEAST_DOUBT = 1e-7  # for a confidence of 1, because the logarithm of a doubt of 0 is infinite


class Population(NamedTuple):
    """Predictions of all networks trained with rare classes, or of all networks trained with all training images.

    All arrays are (networks, images), and row i of every array belongs to the same seed. `dense`, `pruned` and
    `control` are predicted classes. `doubt` is the decimal logarithm of 1 minus the confidence of the pruned networks.
    """

    dense: np.ndarray
    pruned: np.ndarray
    control: np.ndarray
    doubt: np.ndarray


def write(results: Path) -> None:
    """Write the tables and pictures of the study, if the predictions of its networks are stored."""
    folder = results / STUDY
    if not (folder / ANSWERS).is_file():
        return
    label, populations = read(folder)
    indices, abstentions = over_indices(label, populations), abstention(label, populations)
    tables = {
        "indices": indices,
        "abstention": abstentions,
        "primary_tests": primary_tests(label, populations),
        "writers": writers(results),
    }
    pictures = {"indices": indices_figure(indices), "abstention": abstention_figure(abstentions)}
    folders.write(folder, tables, pictures)


def collect(folder: Path, experiment: str, tracking_uri: str) -> None:
    """Write the file of the networks' predictions from the runs of the tracking store."""
    runs = analysis.pull_runs(experiment, tracking_uri=tracking_uri)
    is_rare = runs[frames.column("class_fractions")].fillna("").str.contains("=")
    names = (schema.LABEL, schema.PREDICTED, schema.CONFIDENCE)
    arrays: dict[str, Any] = {}
    for name, of_training in {RARE: runs[is_rare], BALANCED: runs[~is_rare]}.items():
        by_seed = of_training.pivot_table("run_id", schema.SEED, "pruner", aggfunc="first")
        dense = of_training.groupby(schema.SEED)["dense_run_id"].first()
        for side, run_ids in {_DENSE: dense, _PRUNED: by_seed["mp"], _CONTROL: by_seed[CONTROL]}.items():
            predictions = pull.predictions(list(run_ids), names=names, tracking_uri=tracking_uri)
            label, predicted, confidence = (np.stack([predictions[run_id][key] for run_id in run_ids]) for key in names)
            arrays[f"{name}_{side}"] = predicted.astype(np.uint8)
            if side == _PRUNED:
                doubt = np.maximum(1 - confidence.astype(float), _LEAST_DOUBT)
                arrays[f"{name}_{_DOUBT}"] = np.log10(doubt).astype(np.float16)
    with files.one_aside(folder / ANSWERS, in_git=True) as path:
        np.savez_compressed(path, **{schema.LABEL: label[0].astype(np.uint8)}, **arrays)


def read(folder: Path) -> tuple[np.ndarray, dict[str, Population]]:
    """Return the labels, (images,), and the predictions of the networks by training, `RARE` or `BALANCED`."""
    with np.load(folder / ANSWERS) as arrays:
        return arrays[schema.LABEL].astype(int), {
            name: Population(*(arrays[f"{name}_{side}"] for side in Population._fields)) for name in (RARE, BALANCED)
        }


def over_indices(label: np.ndarray, populations: Mapping[str, Population]) -> pd.DataFrame:
    """Return by how much each class, and the rare classes together, are over-represented among PIEs.

    PIEs are counted between half of the dense networks and the networks made from the other half.

    Returns
    -------
    DataFrame
        networks (`RARE` or `BALANCED`), compared (pruned or control), group, and the columns of `over_indexing`.
    """
    tables = []
    for name, population in populations.items():
        halves = Halves(population.dense, label)
        for side in (_PRUNED, _CONTROL):
            shares = halves.image_shares(getattr(population, side)), halves.placebo_shares
            for groups, group_index in _groupings(label):
                table = over_indexing.over_indexing(*shares, group_index)
                table.insert(0, "group", groups)
                tables.append(table.assign(networks=name, compared=side))
    indices = pd.concat(tables, ignore_index=True)
    indices = indices[indices["group"].ne("others")]
    return indices[["networks", "compared", *indices.columns.drop(["networks", "compared"])]]


def _groupings(label: np.ndarray) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Yield the names of groups, and the index of each image's group: first rare or not, then the classes."""
    yield ("others", "rare classes"), _is_rare(label).astype(int)
    yield CLASSES, label


def _is_rare(label: np.ndarray) -> np.ndarray:
    return np.isin(label, [CLASSES.index(name) for name in RARE_CLASSES])


def abstention(label: np.ndarray, populations: Mapping[str, Population]) -> pd.DataFrame:
    """Return how accurate pruned networks are on the images on which they do not abstain, for each criterion.

    Returns
    -------
    DataFrame
        networks (`RARE` or `BALANCED`), by (the criterion, one of `_DOUBTS`), coverage (share of images left), accuracy
        with its interval over networks, and minus_own with its interval: the accuracy minus that of the same networks
        if they abstain by their own confidence. Accuracies are in points.
    """
    rows = []
    for name, population in populations.items():
        accuracies = _accuracies(label, population)
        for by, values in accuracies.items():
            for coverage, own, accuracy in zip(_COVERAGES, accuracies[OWN].T, values.T, strict=True):
                row = {"networks": name, "by": by, "coverage": coverage}
                for column, each in (("accuracy", accuracy), ("minus_own", accuracy - own)):
                    low, high = mean_interval(each)
                    row |= {column: each.mean(), f"{column}_low": low, f"{column}_high": high}
                rows.append(row)
    return pd.DataFrame(rows)


def _accuracies(label: np.ndarray, population: Population) -> dict[str, np.ndarray]:
    """Return accuracies in points by criterion of abstention, each (networks, coverages)."""
    doubt = population.doubt.astype(float)
    mean_doubt = np.broadcast_to((10**doubt).mean(0), doubt.shape)
    doubts = disputes(population.dense, population.pruned), doubt, mean_doubt, disputes(population.dense)
    right = population.pruned == label
    return {
        by: 100
        * np.array([retained_accuracy(own, each, _COVERAGES) for own, each in zip(right, doubts_by, strict=True)])
        for by, doubts_by in zip(_DOUBTS, doubts, strict=True)
    }


def primary_tests(label: np.ndarray, populations: Mapping[str, Population]) -> pd.DataFrame:
    """Return the two primary tests of the plan, on networks trained with rare classes, with Holm's correction.

    Returns
    -------
    DataFrame
        outcome, difference with its interval, p, p_holm.
    """
    population = populations[RARE]
    halves = Halves(population.dense, label)
    shares = halves.image_shares(population.pruned), halves.placebo_shares
    is_rare = _is_rare(label)
    one, other = (over_indexing.index(each, is_rare.astype(int))[:, 1] for each in shares)
    ends = ("difference", "difference_low", "difference_high")
    index = dict(zip(ends, jackknife_estimate(one - other), strict=True))
    index["p"] = stats.ttest_1samp(jackknife_values(one - other), 0).pvalue
    place = int(np.argmin(abs(_COVERAGES - _PRIMARY_COVERAGE)))
    accuracies = _accuracies(label, population)
    test = paired(accuracies[DISPUTE][:, place], accuracies[OWN][:, place], family=2)
    rows = [
        {"outcome": "index of the rare classes minus the placebo's", **index},
        {"outcome": "points of accuracy, dispute minus own confidence", **{name: test[name] for name in index}},
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=corrected(table["p"], 2)[1])


def writers(results: Path) -> pd.DataFrame:
    """Return by how much writers of MNIST's digits are over-represented among PIEs of decay/'s networks.

    The learning rate of these networks decays.

    Returns
    -------
    DataFrame, a row for each series of writers and one for all writers
        group, images, pies, pies_placebo, index and index_placebo; for a series also the other columns of
        `over_indexing`. In the row of all writers, the indices are standard deviations over writers, weighted by their
        numbers of images.
    """
    study = StudyData.from_frames(folders.exported(results, "decay"))
    runs = study.runs
    is_wanted = runs[schema.DATASET].eq("mnist") & runs[frames.column(schema.DECAY)].eq("cosine")
    is_wanted &= runs[schema.PRUNER].eq("mp") & runs[frames.column(schema.SCHEDULE)].eq("cubic") & runs["ratio"].eq(20)
    options = ReportOptions(groups={"mnist": results / "prune-responsibly" / "groups" / "mnist.csv"})
    study = replace(study, runs=runs[is_wanted].reset_index(drop=True), options=options)
    table = exemplars(study.arrays, study.predicted, study.image_groups).groups
    by_writer = table[table[GROUPING].eq("writer")]
    series = table[table[GROUPING].ne("writer")]
    spread = {name: _spread(by_writer[name], by_writer["images"]) for name in ("index", "index_placebo")}
    counts = by_writer[["images", "pies", "pies_placebo"]].sum()
    columns = [GROUP, *table.columns[table.columns.get_loc("images") :]]
    return pd.concat(
        [series[columns], pd.DataFrame([{GROUP: f"{len(by_writer)} writers", **counts, **spread}])], ignore_index=True
    )


def _spread(values: pd.Series, images: pd.Series) -> float:
    return float(np.sqrt(np.average((values - np.average(values, weights=images)) ** 2, weights=images)))


def indices_figure(indices: pd.DataFrame) -> Figure:
    """Draw the index of each class and its index in the placebo, a panel for `RARE` and one for `BALANCED`."""
    rows = indices[indices["compared"].eq(_PRUNED) & indices["group"].isin(CLASSES)]
    return draw(
        [
            Panel(_draw_indices, rows[rows["networks"].eq(name)], title, "share of PIEs / share of images")
            for name, title in _TITLES.items()
        ],
        size=(3.7, 2.9),
        title="Which classes have more than their share of the images that pruning changes",
        note="Orange: pruned networks. Grey: two halves of the dense networks (placebo). Bars: 95 % intervals over "
        "networks. Bold: the classes with a twentieth of their training images in the left panel.",
        sharex=True,
        sharey=True,
    )


def _draw_indices(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows.set_index("group").loc[list(CLASSES)]
    for column, color, shift in (("index", ABOVE, -0.15), ("index_placebo", NEUTRAL, 0.15)):
        places = np.arange(len(rows)) + shift
        intervals(axes, estimates(rows, column).assign(place=places, color=color), no_effect=1)
    name_rows(axes, CLASSES, bold=RARE_CLASSES)


def abstention_figure(abstentions: pd.DataFrame) -> Figure:
    """Draw the column minus_own of `abstention` against the share of images left, a line for each criterion."""
    rows = abstentions.assign(coverage=100 * abstentions["coverage"])
    return draw(
        [
            Panel(_draw_abstention, rows[rows["networks"].eq(name)], title, "images left, %", "points")
            for name, title in _TITLES.items()
        ],
        size=(3.9, 2.6),
        title="Accuracy on the images that are left, minus that of a network that abstains by its own confidence",
        note="Means of twenty pruned networks. Bands: 95 % intervals over networks.",
        sharey=True,
    )


def _draw_abstention(axes: Axes, rows: pd.DataFrame) -> None:
    colors, band = {DISPUTE: ABOVE, MEAN: BELOW, DENSE_ALONE: NEUTRAL}, ("minus_own_low", "minus_own_high")
    lines(axes, rows, "coverage", "minus_own", by="by", colors=colors, band=band)
    axes.axhline(0, color="black", linewidth=0.8)
