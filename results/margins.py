"""Tables and picture of the margins in proportion/: does noise on the margins of controls predict class losses?

The margin of an image is the logit of its class minus the largest other logit. If pruning adds normal noise to all
margins, the error of a class after pruning follows from the margins of its images in the control, and from the standard
deviation of the noise. This deviation follows from the error over all images after pruning.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import decay
import folders
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from scipy import optimize, stats

from analysis.common import archives
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import diagonal
from analysis.statistics.proportion import expected_losses
from analysis.statistics.risk_judgement import foresight_of_sizes

STUDY, MARGINS = "proportion", "margins.npz"
DATASETS = decay.DATASETS
LABEL, CONTROL, PRUNED = "label", "margin of the control", "right after pruning"
# Margins at which the picture compares classes, in standard deviations of the noise.
_STEPS = np.linspace(-1, 1, 41)


class Margins(NamedTuple):
    """Margins of the controls of a data set, and predictions of the pruned networks.

    Attributes
    ----------
    label : (images,), integers from 0
    margin : (networks, images)
        Margins of the controls.
    right : (networks, images), bool
        Whether the pruned network that belongs to each control predicts each image correctly.
    """

    label: np.ndarray
    margin: np.ndarray
    right: np.ndarray


def write(results: Path) -> None:
    """Write the tables and the picture, if margins are stored."""
    folder = results / STUDY
    if (folder / MARGINS).is_file():
        margins = read(folder)
        tables = {"margins": table(margins), "margins_explained": explained(margins)}
        folders.write(folder, tables, {"margins": picture(margins)})


def noise(margin: np.ndarray, error: float) -> float:
    """Return the standard deviation of the noise that leads to a certain error.

    Parameters
    ----------
    margin : (images,)
    error : float
        Share of images whose margin is negative after the noise is added.

    Returns
    -------
    float
        0 if at least this share of the margins is negative without noise.

    Examples
    --------
    Noise of the standard deviation 1 makes a margin of 1 negative with the probability .1587:

    >>> round(noise(np.ones(5), 0.15866), 3)
    1.0
    """
    if (margin < 0).mean() >= error:
        return 0.0
    largest = np.abs(margin).max() / stats.norm.ppf(0.5 - (0.5 - error) / 2)
    return float(optimize.brentq(lambda scale: _errors(margin, scale).mean() - error, 1e-9, abs(largest)))


def _errors(margin: np.ndarray, scale: float) -> np.ndarray:
    """Return the probability that noise of the standard deviation `scale` makes each margin negative."""
    return np.asarray(stats.norm.cdf(-margin / scale) if scale else margin < 0)


def expected_class_losses(margins: Margins) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (networks, classes): the class losses that the margins predict, and the observed losses."""
    expected, losses = [], []
    for margin, right in zip(margins.margin, margins.right, strict=True):
        after = _errors(margin, noise(margin, 1 - right.mean()))
        before = (margin < 0).astype(float)
        expected.append(_by_class(margins.label, after - before))
        losses.append(_by_class(margins.label, 1.0 - right - before))
    return np.array(expected), np.array(losses)


def _by_class(label: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(label, values) / np.bincount(label)


def table(margins: Mapping[str, Margins]) -> pd.DataFrame:
    """Return a row for each data set and class.

    Returns
    -------
    DataFrame
        Means over networks.

        - dataset, class (its index);
        - error_control: the class's error in the control;
        - loss: its observed loss;
        - expected_from_margins, expected_in_proportion: the loss that margins, or proportional errors, predict for it.
    """
    rows = []
    for dataset, own in margins.items():
        expected, losses = expected_class_losses(own)
        error = _by_class(own.label, (own.margin < 0).mean(0))
        columns = {
            "error_control": error,
            "loss": losses.mean(0),
            "expected_from_margins": expected.mean(0),
            "expected_in_proportion": _in_proportion(own).mean(0),
        }
        rows.append(pd.DataFrame({"dataset": dataset, "class": np.arange(len(error)), **columns}))
    return pd.concat(rows, ignore_index=True)


def _in_proportion(margins: Margins) -> np.ndarray:
    """Return the losses of classes under proportional errors, (networks, classes)."""
    right = margins.margin >= 0
    recall = np.array([_by_class(margins.label, each) for each in right])
    return expected_losses(recall, right.mean(1), right.mean(1) - margins.right.mean(1))


def explained(margins: Mapping[str, Margins]) -> pd.DataFrame:
    """Return how much of the differences between class losses is explained by margins, or by proportional errors.

    Returns
    -------
    DataFrame
        - dataset;
        - expectation: `margins` or `proportion`;
        - the fields of the result of `risk_judgement.foresight_of_sizes`;
        - noise: the standard deviation of the noise, as the mean over networks;
        - median_margin.
    """
    rows = []
    for dataset, own in margins.items():
        from_margins, losses = expected_class_losses(own)
        scale = np.mean([noise(margin, 1 - right.mean()) for margin, right in zip(own.margin, own.right, strict=True)])
        for name, expected in (("margins", from_margins), ("proportion", _in_proportion(own))):
            mean_loss = (own.margin >= 0).mean(1, keepdims=True) - own.right.mean(1, keepdims=True)
            estimate = foresight_of_sizes(expected - mean_loss, losses - mean_loss)
            of_dataset = {"noise": scale, "median_margin": np.median(own.margin)}
            rows.append({"dataset": dataset, "expectation": name, **estimate._asdict(), **of_dataset})
    return pd.DataFrame(rows)


def picture(margins: Mapping[str, Margins]) -> Figure:
    """Draw each class's share of images below each margin and, underneath, its loss against its expected loss."""
    near, above = "margin, standard deviations of the noise", "images below, per error"
    return draw(
        [
            *(Panel(_draw_margins, own, DATASETS[dataset], near, above) for dataset, own in margins.items()),
            *(Panel(_draw_losses, own, "", "expected loss", "loss") for own in margins.values()),
        ],
        len(margins),
        size=(3.6, 2.9),
        title="Margins of the controls, and what pruning costs each class",
        note="Above: the share of a class's images with a margin below so many standard deviations of the noise, "
        "divided by the class's error; a line is a class. Where the lines agree, the model expects proportional "
        "errors. Below: losses, in points; on the line they are as expected.",
    )


def _draw_margins(axes: Axes, margins: Margins) -> None:
    axes.plot(_STEPS, shares_below(margins).T, color=NEUTRAL, linewidth=0.9)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.xaxis.set_major_locator(MultipleLocator(0.5))


def shares_below(margins: Margins) -> np.ndarray:
    """Return (classes, steps): a class's share of images with a margin below a step, divided by the class's error."""
    pairs = zip(margins.margin, margins.right, strict=True)
    scaled = np.array([margin / noise(margin, 1 - right.mean()) for margin, right in pairs])
    below = np.array([_by_class(margins.label, (scaled < step).mean(0)) for step in _STEPS])
    return np.asarray((below / _by_class(margins.label, (scaled < 0).mean(0))).T)


def _draw_losses(axes: Axes, margins: Margins) -> None:
    expected, losses = (100 * each.mean(0) for each in expected_class_losses(margins))
    in_proportion = 100 * _in_proportion(margins).mean(0)
    axes.scatter(expected, losses, color=ABOVE, s=18, label="from margins")
    axes.scatter(in_proportion, losses, color=BELOW, s=18, marker="s", label="in proportion")
    diagonal(axes, [*losses, expected.min(), in_proportion.max()])


# Files.


def save(folder: Path, margins: Mapping[str, Margins]) -> None:
    """Write the margins of each data set, as 16-bit numbers."""
    arrays: dict[str, np.ndarray] = {}
    for dataset, own in sorted(margins.items()):
        arrays[f"{dataset} {LABEL}"] = own.label.astype(np.uint8)
        arrays[f"{dataset} {CONTROL}"] = own.margin.astype(np.float16)
        arrays[f"{dataset} {PRUNED}"] = own.right
    np.savez_compressed(folder / MARGINS, allow_pickle=False, **arrays)


def read(folder: Path) -> dict[str, Margins]:
    """Read the margins of each data set, as `save` wrote them.

    Raises
    ------
    StudyError
        If the file is missing or damaged.
    """
    names = [f"{dataset} {name}" for dataset in DATASETS for name in (LABEL, CONTROL, PRUNED)]
    return dict(_datasets(archives.read(folder / MARGINS, [], names)))


def _datasets(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Margins]]:
    for dataset in DATASETS:
        if f"{dataset} {LABEL}" in arrays:
            label, margin, right = (arrays[f"{dataset} {name}"] for name in (LABEL, CONTROL, PRUNED))
            yield dataset, Margins(label.astype(int), margin.astype(float), right.astype(bool))
