"""pies/: are the images that pruning changes (PIEs) those of rare classes, and should a classifier abstain on them?"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from abstention import disputes, retained_accuracy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from of_analysis import (
    ABOVE,
    BELOW,
    GROUP,
    GROUPING,
    NEUTRAL,
    Halves,
    Panel,
    StudyPredictions,
    corrected,
    draw,
    exemplars,
    jackknife_estimate,
    jackknife_values,
    lines,
    mean_interval,
    over_index,
    over_indexing,
    paired,
    read_groups,
    run_arrays,
)
from published import Study, fits
from scipy import stats

RARE, BALANCED = "rare", "balanced"
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
RARE_CLASSES = ("Trouser", "Pullover", "Sneaker")
# Criteria by which a pruned network abstains. `OWN` is the one with which the others are compared.
DISPUTE, OWN, MEAN, DENSE_ALONE = "dispute", "own confidence", "mean confidence", "dispute of dense networks"
_LEFT = np.arange(50, 101)  # images left, in per cent


class Population(NamedTuple):
    """Predictions of all networks trained with rare classes, or of all networks trained with all training images.

    All arrays are (networks, images), and row i of every array belongs to the same seed. `dense`, `pruned` and
    `control` are predicted classes. `doubt` is the decimal logarithm of 1 minus the confidence of the pruned networks.
    """

    dense: np.ndarray
    pruned: np.ndarray
    control: np.ndarray
    doubt: np.ndarray


def read(folder: Path) -> tuple[np.ndarray, dict[str, Population]]:
    """Return the labels, (images,), and the predictions of the networks by training, `RARE` or `BALANCED`."""
    with np.load(folder / "answers.npz") as arrays:
        return arrays["label"].astype(int), {
            name: Population(*(arrays[f"{name}_{side}"] for side in Population._fields)) for name in (RARE, BALANCED)
        }


def indices(study: Study) -> pd.DataFrame:
    """Return by how much each class, and the rare classes together, are over-represented among PIEs.

    PIEs are counted between half of the dense networks and the networks made from the other half.

    Returns
    -------
    DataFrame
        networks (`RARE` or `BALANCED`), compared (pruned or control), group, the columns of `over_indexing`, and share
        and share_placebo: of all PIEs, in per cent.
    """
    label, populations = read(study.folder)
    tables = []
    for name, population in populations.items():
        halves = Halves(population.dense, label)
        for compared in ("pruned", "control"):
            shares = halves.image_shares(getattr(population, compared)), halves.placebo_shares
            for groups, group_index in _groupings(label):
                table = over_indexing(*shares, group_index)
                of_all = {end: 100 * table[f"pies{end}"] / table[f"pies{end}"].sum() for end in ("", "_placebo")}
                table = table.assign(**{f"share{end}": share for end, share in of_all.items()})
                tables.append(table.assign(networks=name, compared=compared, group=groups))
    return pd.concat(tables, ignore_index=True).query("group != 'others'")


def _groupings(label: np.ndarray) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    """Yield the names of groups, and the index of each image's group."""
    yield ["all images"], np.zeros_like(label)
    yield ["others", "rare classes"], _is_rare(label).astype(int)
    yield CLASSES, label


def _is_rare(label: np.ndarray) -> np.ndarray:
    return np.isin(label, [CLASSES.index(name) for name in RARE_CLASSES])


def abstention(study: Study) -> pd.DataFrame:
    """Return how accurate pruned networks are on the images on which they do not abstain, for each criterion.

    Returns
    -------
    DataFrame
        networks (`RARE` or `BALANCED`), by (the criterion), left (images left, in per cent), accuracy with its interval
        over networks, and minus_own with its interval: the accuracy minus that of the same networks if they abstain by
        their own confidence. Accuracies are in points.
    """
    label, populations = read(study.folder)
    rows = []
    for name, population in populations.items():
        accuracies = _accuracies(label, population)
        for by, values in accuracies.items():
            for left, own, accuracy in zip(_LEFT, accuracies[OWN].T, values.T, strict=True):
                row = {"networks": name, "by": by, "left": left}
                for column, each in (("accuracy", accuracy), ("minus_own", accuracy - own)):
                    low, high = mean_interval(each)
                    row |= {column: each.mean(), f"{column}_low": low, f"{column}_high": high}
                rows.append(row)
    return pd.DataFrame(rows)


def _accuracies(label: np.ndarray, population: Population) -> dict[str, np.ndarray]:
    """Return accuracies in points by criterion of abstention, each (networks, `_LEFT`)."""
    doubt = population.doubt.astype(float)
    doubts = {
        DISPUTE: disputes(population.dense, population.pruned),
        OWN: doubt,
        MEAN: np.broadcast_to((10**doubt).mean(0), doubt.shape),
        DENSE_ALONE: disputes(population.dense),
    }
    right = population.pruned == label
    return {
        by: 100 * np.array([retained_accuracy(*each, _LEFT / 100) for each in zip(right, own, strict=True)])
        for by, own in doubts.items()
    }


def primary(study: Study) -> pd.DataFrame:
    """Return the two primary tests of the plan, on networks trained with rare classes, with Holm's correction.

    Returns
    -------
    DataFrame
        outcome, difference with its interval, difference_p and difference_p_holm. The outcomes are the index of the
        rare classes minus the placebo's; and the accuracy on 90 % of the images, in points, of networks that abstain by
        dispute, minus that by own confidence.
    """
    label, populations = read(study.folder)
    population, is_rare = populations[RARE], _is_rare(label).astype(int)
    halves = Halves(population.dense, label)
    index, placebo = (
        over_index(shares, is_rare)[:, 1] for shares in (halves.image_shares(population.pruned), halves.placebo_shares)
    )
    accuracies = _accuracies(label, population)
    by_dispute, by_own = (accuracies[by][:, _LEFT == 90].ravel() for by in (DISPUTE, OWN))
    test, ends = paired(by_dispute, by_own), ("difference", "difference_low", "difference_high")
    p = [stats.ttest_1samp(jackknife_values(index - placebo), 0).pvalue, test["p"]]
    estimates = [jackknife_estimate(index - placebo), [test[end] for end in ends]]
    table = pd.DataFrame(estimates, columns=ends)
    return table.assign(outcome=["index", "accuracy"], difference_p=p, difference_p_holm=corrected(p, 2)[1])


def writers(study: Study) -> pd.DataFrame:
    """Return by how much writers of MNIST's digits are over-represented among PIEs of decay/'s networks.

    The learning rate of these networks decays.

    Returns
    -------
    DataFrame, a row for each series of writers and one for all writers
        group, and the columns of `over_indexing`. In the row of all writers, the indices are standard deviations over
        writers, weighted by their numbers of images.
    """
    runs, predictions, _ = study.frames("decay")
    wanted = {"dataset": "mnist", "decay": "cosine", "pruner": "mp", "schedule": "cubic", "ratio": 20}
    runs = runs[fits(runs, wanted)].reset_index(drop=True)
    shared = StudyPredictions(predictions)
    groups = read_groups({"mnist": study.folder.parent / "prune-responsibly" / "groups" / "mnist.csv"}, runs, shared)
    table = exemplars(run_arrays(runs), shared, groups).groups
    is_writer = table[GROUPING].eq("writer")
    by_writer = table[is_writer]
    counts = by_writer[["images", "pies", "pies_placebo"]].sum()
    spreads = {name: _spread(by_writer[name], by_writer["images"]) for name in ("index", "index_placebo")}
    all_writers = pd.DataFrame([{GROUP: f"{len(by_writer)} writers", **counts, **spreads}])
    return pd.concat([table[~is_writer], all_writers], ignore_index=True)


def _spread(values: pd.Series, images: pd.Series) -> float:
    return float(np.sqrt(np.average((values - np.average(values, weights=images)) ** 2, weights=images)))


def abstention_figure(study: Study) -> Figure:
    """Draw the column minus_own of `abstention` against the share of images left, a line for each criterion."""
    rows = abstention(study)
    titles = {RARE: "Three classes are rare", BALANCED: "All training images"}
    return draw(
        [
            Panel(_draw_abstention, rows[rows["networks"].eq(name)], title, "images left, %", "points")
            for name, title in titles.items()
        ],
        size=(3.9, 2.6),
        title="Accuracy on the images that are left, minus that of a network that abstains by its own confidence",
        note="Means of twenty pruned networks. Bands: 95 % intervals over networks.",
        sharey=True,
    )


def _draw_abstention(axes: Axes, rows: pd.DataFrame) -> None:
    colors = {DISPUTE: ABOVE, MEAN: BELOW, DENSE_ALONE: NEUTRAL}
    lines(axes, rows, "left", "minus_own", by="by", colors=colors, band=("minus_own_low", "minus_own_high"))
    axes.axhline(0, color="black", linewidth=0.8)
