"""The smallest loss of a class that an audit detects with 80 % power, by number of networks."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from analysis.audit import copies
from analysis.audit.audit import read_sides
from analysis.audit.prediction_columns import USUAL, ColumnNames
from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import printable
from analysis.rendering.drawing import BELOW
from analysis.rendering.layout import Panel, draw
from analysis.statistics import class_losses, moderation, two_way
from analysis.statistics.arithmetic import quotient
from analysis.statistics.class_sums import each_class
from analysis.statistics.hypothesis_tests import LEVEL, POWER

NETWORKS = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30)
FILES = ("power.csv", "power.png")
# For each number of networks, about `_TESTS` tests of classes are simulated. An audit has one test for each class, so
# audits of fewer classes are repeated more often, from `_FEWEST_AUDITS` to `_MOST_AUDITS` times.
_TESTS, _FEWEST_AUDITS, _MOST_AUDITS = 4000, 100, 4000
# Bisection steps for the smallest loss, which is between 0 and 1.
_HALVINGS = 12
# Assumed recall of each class if no predictions are given.
_USUAL_RECALL = 0.9


class ChangeVariances(NamedTuple):
    """How much the change of each class's recall varies by chance; arrays are (classes,).

    Attributes
    ----------
    names : list of str
    over_networks : array
        Variance, over networks, of a single network's change of recall. It includes the noise of the network's
        predictions for the images.
    in_one : array
        The part of `over_networks` that is noise of the images.
    over_images : array
        Variance due to the choice of the test images, which all networks share.
    scale : array
        R (1 - R) for the recall R; the true variances are assumed to be proportional to it.
    notes : sequence of str
        Notes on networks that are copies.
    recall, images : array, optional
        Recall before the loss, and number of test images. Without them, variances do not depend on the loss.
    """

    names: list[str]
    over_networks: np.ndarray
    in_one: np.ndarray
    over_images: np.ndarray
    scale: np.ndarray
    notes: Sequence[str] = ()
    recall: np.ndarray | None = None
    images: np.ndarray | None = None

    def with_losses(self, loss: np.ndarray) -> "ChangeVariances":
        """Return the variances if each class loses the given recall, (classes,).

        A recall near 1 varies little, but more after a loss. The standard deviation is assumed to be proportional to R
        (1 - R) for the recall R before and after the loss, as if one random number shifted all logits of the class. The
        newly wrong images add a binomial variance. The larger the loss, the more of them are the same in all networks,
        so at least a share of this variance that is as large as the loss is over images.
        """
        if self.recall is None or self.images is None:
            return self
        left = np.maximum(self.recall - loss, 0)
        usual = self.recall * (1 - self.recall)
        growth = np.square(quotient(left * (1 - left), usual))
        own = np.maximum(self.over_networks - self.in_one, 0) * (1 + np.where(np.isnan(growth), 1, growth)) / 2
        added = np.clip(loss, 0, self.recall)
        shared = np.fmax(quotient(self.over_images, self.in_one + self.over_images), added)
        added = added * (1 - added) / self.images
        in_one = self.in_one + (1 - shared) * added
        middle = (self.recall + left) / 2
        return self._replace(
            over_networks=own + in_one,
            in_one=in_one,
            over_images=self.over_images + shared * added,
            scale=middle * (1 - middle),
        )


class Power(NamedTuple):
    """Smallest detectable losses by number of networks.

    Attributes
    ----------
    table : DataFrame
        networks (on each side), smallest_loss (the smallest detectable loss, median over classes), smallest_loss_least
        and smallest_loss_most (this loss in the class where it is least, and where it is most), class_least and
        class_most (names of these classes). Losses are shares, and NaN if no loss that the class can have is detected.
    classes : int
    notes : sequence of str
    """

    table: pd.DataFrame
    classes: int
    notes: Sequence[str] = ()


def power(
    before: Sequence[str],
    after: Sequence[str],
    control: Sequence[str] = (),
    *,
    max_data_gib: float = 1.0,
    pair_by_order: bool = False,
    columns: ColumnNames = USUAL,
) -> Power:
    """Estimate the smallest losses that audits of networks like the given ones detect.

    Parameters
    ----------
    before, after, control : sequence of str
        As for `audit.audit`. Variances are estimated from these networks, at least two pairs.
    max_data_gib, pair_by_order, columns
        As for `audit.audit`.

    Raises
    ------
    StudyError
        If there are fewer than two pairs of networks, if the change of recall does not vary, or for the reasons in
        `audit.audit`.
    """
    sides = {"before": before, "after": after, "control": control}
    with tempfile.TemporaryDirectory() as downloads:
        limit = SizeLimit(max_data_gib, "max_data_gib")
        _, label, networks, *_ = read_sides(sides, Path(downloads), limit, pair_by_order, columns)
    return simulated(of_networks(label, {side: each for side, each in networks.items() if len(each)}))


def of_networks(label: np.ndarray, networks: dict[str, np.ndarray]) -> ChangeVariances:
    """Estimate how much the change of each class's recall varies by chance.

    The change is from the control to the networks after or, without a control, from the networks before to those after.

    Parameters
    ----------
    label : (images,)
        True class of each image.
    networks : dict of str to (networks, images)
        Predicted classes before, after and, if there is one, in the control.

    Raises
    ------
    StudyError
        If there are fewer than two pairs of networks, or if the change of recall does not vary.
    """
    names, class_index = np.unique(label, return_inverse=True)
    pairs = len(networks["after"])
    if len(networks["before"]) == 1 and copies.is_unretrained(networks):
        networks = {side: each for side, each in networks.items() if side != "control"}
    if len(networks["before"]) not in (1, pairs) or len(networks.get("control", networks["after"])) != pairs:
        counts = ", ".join(f"{len(each)} {side}" for side, each in networks.items())
        raise StudyError(f"power needs pairs of networks, but has {counts}: give the same number of files on each side")
    networks, _, notes = copies.without_copies(label, networks)
    right = {side: each == label for side, each in networks.items()}
    after, start = right["after"], right.get("control", right["before"])
    start = np.broadcast_to(start, after.shape)
    n = len(after)
    if n < 2:
        raise StudyError(
            f"power needs two networks a side, but has {n}: give more, or --classes, --images and "
            f"--movement{''.join(f'. {note}' for note in notes)}"
        )
    recall = class_losses.from_answers(class_index, [(start.astype(float) + after) / 2]).groups[0].mean(0)
    changes = class_losses.moderated(class_losses.from_predictions(class_index, start, after), recall)
    ((variances, _),) = changes.variances(each_class(len(names))).networks
    over_images = np.maximum(changes.images - changes.in_both, 0)
    if not (variances + over_images).any():
        raise StudyError(
            "the change of recall does not vary between these networks: give different networks before and after"
        )
    in_one = n * np.minimum(changes.in_both, variances)
    return ChangeVariances(
        list(map(str, names)),
        n * np.asarray(variances),
        in_one,
        over_images,
        np.asarray(changes.scale),
        notes,
        class_losses.from_answers(class_index, [start.astype(float)]).groups[0].mean(0),
        np.bincount(class_index),
    )


def of_points(classes: int, images: int, movement: float) -> ChangeVariances:
    """Return the chance variances of classes that are all alike, from their number, images and movement.

    Parameters
    ----------
    classes, images : int
        Number of classes, and of test images per class.
    movement : float
        Standard deviation, in percentage points, of the change of a class's recall between two networks that are
        trained in the same way, excluding the noise of the test images.

    Raises
    ------
    StudyError
        If there are fewer than two classes, no images, or a movement that is not between 0 and 100.
    """
    if classes < 2:
        raise StudyError(f"{classes} is too few: give two classes or more", option="classes")
    if images < 1:
        raise StudyError(f"{images} is too few: give at least one image of each class", option="images")
    if not 0 < movement <= 100:
        raise StudyError(f"{movement:g} must be above 0 and at most 100 percentage points", option="movement")
    of_each = np.ones(classes)
    scale = _USUAL_RECALL * (1 - _USUAL_RECALL) * of_each
    noise = scale / images
    over_networks = (movement / 100) ** 2 + noise
    recall, each_images = _USUAL_RECALL * of_each, images * of_each
    return ChangeVariances([""] * classes, over_networks, noise, 0 * of_each, scale, (), recall, each_images)


def simulated(movement: ChangeVariances) -> Power:
    """Simulate audits and return the smallest losses that they detect with 80 % power.

    A class is detected if its loss is significant at `LEVEL` divided by the number of classes.
    """
    classes = len(movement.names)
    rng = np.random.default_rng(0)
    rows = []
    for networks in NETWORKS:
        loss = smallest_losses(movement, networks, rng)
        least, most = int(loss.argmin()), int(loss.argmax())
        rows.append(
            {
                "networks": networks,
                "smallest_loss": float(np.median(loss)),
                "smallest_loss_least": loss[least],
                "smallest_loss_most": loss[most],
                "class_least": movement.names[least],
                "class_most": movement.names[most],
            }
        )
    return Power(pd.DataFrame(rows).replace(np.inf, np.nan), classes, movement.notes)


def smallest_losses(movement: ChangeVariances, networks: int, rng: np.random.Generator) -> np.ndarray:
    """Return the smallest loss of each class, (classes,), that a share `POWER` of the audits detects.

    It is infinite if the class does not have so much recall.
    """
    from scipy.special import ndtr

    classes, dof = len(movement.names), networks - 1
    audits = int(np.clip(_TESTS // classes, _FEWEST_AUDITS, _MOST_AUDITS))
    chance = rng.chisquare(dof, (audits, classes)) / dof
    alike = len(set(movement.names)) == 1
    priors = moderation.priors_of(movement.over_networks / networks * chance, dof, movement.scale)
    low, high = np.zeros(classes), np.ones(classes)
    for _ in range(_HALVINGS):
        loss = (low + high) / 2
        moved = movement.with_losses(loss)
        error = np.sqrt(moved.over_networks / networks + moved.over_images)
        with np.errstate(divide="ignore"):
            power = ndtr((loss - _thresholds(movement, moved, networks, chance, priors)) / error).mean(0)
        power = power * _chance_of_enough_changes(movement, loss, networks)
        is_found = (power.mean() if alike else power) >= POWER
        low, high = np.where(is_found, low, loss), np.where(is_found, loss, high)
    recall = 1.0 if movement.recall is None else movement.recall
    return np.where((high < 1) & (high <= recall), high, np.inf)


def _chance_of_enough_changes(movement: ChangeVariances, loss: np.ndarray, networks: int) -> np.ndarray | float:
    """Return the probability, (classes,), that enough images change for a significant p.

    In an audit, p is at least 2^(1 - n) if the share of right networks changes for n images of the class. The share of
    pairs of networks in which an image changes by chance is assumed to have the distribution Beta(q, 1 - q) over
    images, where q is its mean, because most images change rarely or never. The less networks differ by chance, the
    more of the newly wrong images are the same in all of them.
    """
    from scipy.stats import binom

    if movement.recall is None or movement.images is None:
        return 1.0
    noise = movement.images * movement.in_one
    varying = np.nan_to_num(np.minimum(quotient(noise, movement.recall * (1 - movement.recall)), 1))
    of_one = np.minimum(noise + movement.images * movement.over_images + varying * loss, 1)
    unchanged = (1 - (1 - varying) * loss) * np.prod([1 - of_one / pair for pair in range(1, networks + 1)], axis=0)
    fewest = math.ceil(1 + math.log2(len(movement.names) / LEVEL))
    return np.asarray(binom.sf(fewest - 1, movement.images, 1 - unchanged))


def _thresholds(
    movement: ChangeVariances,
    moved: ChangeVariances,
    networks: int,
    chance: np.ndarray,
    priors: Sequence[moderation.Prior],
) -> np.ndarray:
    """Return, for each audit and class, the smallest loss that is detected if no other class loses recall.

    `moved` has the variances of the class that loses recall, `movement` those of the other classes. `chance`, (audits,
    classes), has the estimate of each variance over networks divided by its true value.
    """
    dof, classes = networks - 1, len(movement.names)
    variances, others = (each.over_networks / networks * chance for each in (moved, movement))
    in_both = moved.in_one / networks
    few_images = np.ones(classes) if moved.images is None else class_losses.few_images_factor(moved.images)
    moderated = moderation.moderated_alone(variances, others, dof, moved.scale, movement.scale, priors)
    share = class_losses.MODERATED_SHARE if (moderated.dof > dof).any() else 1.0

    def half_widths(variances: np.ndarray, dof: np.ndarray | float, level: float) -> np.ndarray:
        over_networks = np.maximum(variances, in_both if share < 1 else 0)
        over_images = few_images * (moved.over_images + in_both)
        return two_way.half_widths(two_way.Variances([(over_networks, dof)], over_images, in_both), level / classes)

    widths = half_widths(moderated.variances, moderated.dof, share * LEVEL)
    return np.minimum(widths, half_widths(variances, float(dof), (1 - share) * LEVEL)) if share < 1 else widths


def summary(result: Power) -> str:
    """Return the table in percentage points, formatted for a terminal."""
    table = result.table
    columns = pd.DataFrame({"networks a side": table["networks"], "smallest loss": _points(table["smallest_loss"])})
    if table["class_most"].any():
        for end, of_any in (("least", "smallest"), ("most", "largest")):
            class_column = table[f"class_{end}"].map(printable)
            columns[f"{of_any} of any class"] = _points(table[f"smallest_loss_{end}"]) + " (" + class_column + ")"
    title = (
        f"Loss of recall of a class, in percentage points, that an audit of {result.classes:,} classes detects with 80 "
        "% power:"
    )
    return "\n\n".join([title, columns.to_string(index=False), *result.notes])


def _points(shares: pd.Series) -> pd.Series:
    return shares.map(lambda share: "none" if np.isnan(share) else f"{100 * share:.1f}")


def figure(result: Power) -> Figure:
    """Plot the smallest loss against the number of networks on each side."""
    return draw(
        [Panel(_draw, result.table, "", "networks a side", "loss of recall, percentage points")],
        size=(6.4, 3.6),
        title=f"Smallest loss detected with 80 % power, {result.classes:,} classes",
    )


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    axes.plot(table["networks"], 100 * table["smallest_loss"], "o-", color=BELOW, label="median over classes")
    if table["class_most"].any():
        least, most = (100 * table[f"smallest_loss_{end}"] for end in ("least", "most"))
        label = "from the smallest to the largest of any class"
        axes.fill_between(table["networks"], least, most, color=BELOW, alpha=0.2, linewidth=0, label=label)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(table["networks"], map(str, table["networks"]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(ScalarFormatter())
    axes.grid(alpha=0.3, which="both")


def write(result: Power, output: Path) -> None:
    """Write power.csv and power.png into a folder.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        csv_text.write(result.table, folder / FILES[0])
        figure(result).savefig(folder / FILES[1])
