"""The margins in proportion/: does noise on the margins of controls predict class losses?

The margin of an image is the logit of its class minus the largest other logit. If pruning adds normal noise to all
margins, the error of a class after pruning follows from the margins of its images in the control, and from the standard
deviation of the noise. This deviation follows from the error over all images after pruning.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import risk_judgement
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from of_analysis import ABOVE, BELOW, NEUTRAL, Panel, archives, diagonal, draw, proportion
from published import Study
from scipy import optimize, stats

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

    @property
    def noise(self) -> np.ndarray:
        """The standard deviation of the noise that leads to each pruned network's error, (networks,)."""
        return np.array([noise(*each) for each in zip(self.margin, 1 - self.right.mean(1), strict=True)])

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Return means over the images of each class, (networks, classes), of values (networks, images)."""
        return np.array([np.bincount(self.label, each) for each in values]) / np.bincount(self.label)

    @property
    def losses(self) -> np.ndarray:
        """Observed losses, (networks, classes)."""
        return self.by_class(1.0 * (self.margin >= 0) - self.right)

    @property
    def expected_from_margins(self) -> np.ndarray:
        """Losses under noise on the margins, (networks, classes)."""
        after = np.array([_errors(*each) for each in zip(self.margin, self.noise, strict=True)])
        return self.by_class(after - (self.margin < 0))

    @property
    def expected_in_proportion(self) -> np.ndarray:
        """Losses under proportional errors, (networks, classes)."""
        right = self.margin >= 0
        return proportion.expected_losses(self.by_class(right), right.mean(1), right.mean(1) - self.right.mean(1))


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


@cache
def read(study: Study) -> dict[str, Margins]:
    """Read the margins that the study stores of each data set."""
    names = ("label", "margin of the control", "right after pruning")
    arrays = archives.read(study.folder / "margins.npz", [f"{each} {name}" for each in DATASETS for name in names])
    found = {}
    for dataset in DATASETS:
        label, margin, right = (arrays[f"{dataset} {name}"] for name in names)
        found[dataset] = Margins(label.astype(int), margin.astype(float), right)
    return found


def classes(study: Study) -> pd.DataFrame:
    """Return the loss of each class in points, and what margins and proportional errors predict for it.

    Returns
    -------
    DataFrame
        dataset, class (its index), n (networks), and means over networks: loss, from_margins, in_proportion.
    """
    rows = []
    for dataset, own in read(study).items():
        means = {
            "loss": own.losses.mean(0),
            "from_margins": own.expected_from_margins.mean(0),
            "in_proportion": own.expected_in_proportion.mean(0),
        }
        rows.append((100 * pd.DataFrame(means)).assign(dataset=dataset, n=len(own.right)))
    return pd.concat(rows).rename_axis("class").reset_index()


def explained(study: Study) -> pd.DataFrame:
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
    for dataset, own in read(study).items():
        accuracy_loss = (own.margin >= 0).mean(1, keepdims=True) - own.right.mean(1, keepdims=True)
        expectations = {"margins": own.expected_from_margins, "proportion": own.expected_in_proportion}
        for name, expected in expectations.items():
            estimate = risk_judgement.foresight_of_sizes(expected - accuracy_loss, own.losses - accuracy_loss)
            of_dataset = {"noise": own.noise.mean(), "median_margin": np.median(own.margin)}
            rows.append({"dataset": dataset, "expectation": name, **estimate._asdict(), **of_dataset})
    return pd.DataFrame(rows)


def figure(study: Study) -> Figure:
    """Draw each class's share of images below each margin and, underneath, its loss against its expected loss."""
    margins, axes = read(study), ("margin, standard deviations of the noise", "images below, per error")
    return draw(
        [
            *(Panel(_draw_margins, own, DATASETS[dataset], *axes) for dataset, own in margins.items()),
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
    scaled = margins.margin / margins.noise[:, np.newaxis]
    below = [margins.by_class(scaled < step).mean(0) for step in (*_STEPS, 0)]
    return np.array(below[:-1]).T / below[-1][:, np.newaxis]


def _draw_losses(axes: Axes, margins: Margins) -> None:
    losses, expected, in_proportion = (
        100 * each.mean(0) for each in (margins.losses, margins.expected_from_margins, margins.expected_in_proportion)
    )
    axes.scatter(expected, losses, color=ABOVE, s=18, label="from margins")
    axes.scatter(in_proportion, losses, color=BELOW, s=18, marker="s", label="in proportion")
    diagonal(axes, [*losses, expected.min(), in_proportion.max()])
