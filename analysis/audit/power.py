"""Losses of a class that audits find, and limits that they can show to be kept, by numbers of networks or images."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.special import betaincinv, ndtri, stdtrit

from analysis.audit import copies
from analysis.audit.audit import read_sides
from analysis.audit.prediction_columns import USUAL, ColumnNames
from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.points import points
from analysis.common.printable import printable
from analysis.rendering.drawing import BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.statistics import losses
from analysis.statistics.hypothesis_tests import LEVEL, POWER
from analysis.statistics.losses import Pair, Spread

NETWORKS = (2, 3, 5, 10, 20, 30)
TIMES_THE_IMAGES = (1, 2, 5, 10, 20, 50)
FILES = ("power.csv", "power.png")
_RECALL = 0.9  # of each class, if no predictions are given
_ITERATIONS = 30
# At the 20 % quantile of the lost images and the 64 % quantile of the won ones, four of five audits find a loss.
_MORE_WON = 0.35  # standard deviations


class Power(NamedTuple):
    """Losses that four of five audits find, by the number of networks or images.

    Attributes
    ----------
    table : DataFrame
        networks (on each side) or, for a single pair of networks, images (of a class; the median over classes).
        loss_found, the loss of a class that four of five audits find: the median over classes. loss_found_least,
        class_least, loss_found_most and class_most: the same for the classes in which it is smallest and largest; the
        names are empty if all classes are alike. smallest_limit: the limit of class losses that unchanged networks
        could keep. Losses and limits are shares. A loss is NaN if it is larger than the recall of the class.
    classes : int
    notes : sequence of str
        Notes on networks that are copies.
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
    """Compute the losses that audits of networks like the given ones find.

    Parameters
    ----------
    before, after, control : sequence of str
        As for `audit.audit`. Losses of several pairs are measured from the control if there is one.
    max_data_gib, pair_by_order, columns
        As for `audit.audit`.

    Raises
    ------
    StudyError
        For the reasons in `audit.audit`.
    """
    sides = {"before": before, "after": after, "control": control}
    with tempfile.TemporaryDirectory() as downloads:
        limit = SizeLimit(max_data_gib, "max_data_gib")
        _, label, networks, *_ = read_sides(sides, Path(downloads), limit, pair_by_order, columns)
    return of_networks(label, {side: each for side, each in networks.items() if len(each)})


def of_networks(label: np.ndarray, networks: dict[str, np.ndarray]) -> Power:
    """Compute the losses that audits of networks like the given ones find.

    Parameters
    ----------
    label : (images,)
        True class of each image.
    networks : dict of str to (networks, images)
        Predicted classes before, after and, if there is one, in the control.
    """
    names, place = np.unique(label, return_inverse=True)
    networks, _, notes = copies.without_copies(label, networks)
    after = networks["after"] == label
    start = networks["control" if "control" in networks and len(after) > 1 else "before"] == label
    changed = (start[: len(after)] != after[: len(start)]).mean(axis=0)
    recall, changed = (np.bincount(place, each) / np.bincount(place) for each in (start.mean(axis=0), changed))
    table = _table(losses.between(place, start, after), len(names), names, np.bincount(place), recall, changed)
    return Power(table, len(names), notes)


def of_numbers(classes: int, images: int, movement: float | None = None) -> Power:
    """Compute the losses that audits find if all classes are alike.

    Parameters
    ----------
    classes, images : int
        Number of classes, and of test images per class.
    movement : float, optional
        Standard deviation, in percentage points, of the change of a class's recall between two networks that are
        trained in the same way, excluding the noise of the test images. If not given, there is a single network on each
        side, which only loses images.

    Raises
    ------
    StudyError
        If there are fewer than two classes, no images, or a movement that is not between 0 and 100.
    """
    if classes < 2:
        raise StudyError(f"{classes} is too few: give two classes or more", option="classes")
    if images < 1:
        raise StudyError(f"{images} is too few: give at least one image of each class", option="images")
    changed, none = _RECALL * (1 - _RECALL), np.zeros(1)
    if movement is None:
        found = Spread(none, 1, 0, none, none, none, none, Pair(none, none, np.array([images])))
    elif 0 < movement <= 100:
        noise, dof = np.full(1, changed / images), min(losses.PRIOR_DOF, classes - 1)
        found = Spread(none, 1, dof, (movement / 100) ** 2 + noise, none, noise, none)
    else:
        raise StudyError(f"{movement:g} must be above 0 and at most 100 percentage points", option="movement")
    one_class = (np.array([each]) for each in ("", images, _RECALL, changed))
    return Power(_table(found, classes, *one_class), classes)


def _table(
    found: Spread, tests: int, names: np.ndarray, images: np.ndarray, recall: np.ndarray, changed: np.ndarray
) -> pd.DataFrame:
    """Tabulate `Power.table`; `changed` is the share of images that change in one network, and all are (classes,)."""
    level, nothing = LEVEL / tests, np.zeros(len(names))  # the level is that of the first step of Holm's method
    pair, rows = found.counts, []
    unchanged = found._replace(value=nothing, counts=pair and Pair(nothing, nothing, images))
    for number in TIMES_THE_IMAGES if pair else NETWORKS:
        if isinstance(pair, Pair):
            size = {"images": round(number * np.median(images))}
            networks, loss = unchanged.projected(images=number), _found_in_pair(pair.times(number), level)
        else:
            size, networks = {"networks": number}, unchanged.projected(networks=number / found.n)
            loss = _found_in_several(networks, images, changed, level)
        loss = np.where(loss <= recall, loss, np.inf)
        ends = {"least": int(loss.argmin()), "most": int(loss.argmax())}
        rows.append(
            {
                **size,
                "loss_found": np.median(loss),
                **{f"loss_found_{end}": loss[place] for end, place in ends.items()},
                **{f"class_{end}": str(names[place]) for end, place in ends.items()},
                "smallest_limit": networks.upper().max(),
            }
        )
    return pd.DataFrame(rows).replace(np.inf, np.nan)


def _found_in_pair(pair: Pair, level: float) -> np.ndarray:
    """Return the loss of each class that four of five audits of one pair find; infinite if there is none."""
    traded = np.minimum(pair.lost, pair.won)
    won = np.round(traded + _MORE_WON * np.sqrt(traded))
    low, needed = won, np.round(pair.images)
    while (needed - low > 1).any():
        middle = np.floor((low + needed) / 2)
        is_found = Pair(middle, won, pair.images).p() <= level
        low, needed = np.where(is_found, low, middle), np.where(is_found, middle, needed)
    # With this share of lost images, as many as are needed are lost in four of five binomial draws.
    share = betaincinv(needed, pair.images - needed + 1, POWER)
    return np.where(Pair(needed, won, pair.images).p() <= level, share - traded / pair.images, np.inf)


def _found_in_several(unchanged: Spread, images: np.ndarray, changed: np.ndarray, level: float) -> np.ndarray:
    """Return the loss of each class that four of five audits find if all networks lose the same images."""
    dof, loss = unchanged.dof, np.ones(len(images))
    prior = 1 - (unchanged.n - 1) / dof
    of_half_widths = np.square(stdtrit(dof, level / 2)) * unchanged.networks / (2 * dof)  # their variance
    for _ in range(_ITERATIONS):
        lost = loss * (1 - loss) / images
        losing = unchanged._replace(
            # The usual variance over networks, which the prior lends, is in proportion to the share of changed images.
            networks=unchanged.networks * (1 + prior * loss / (changed + 1 / images)),
            beyond=unchanged.beyond + lost,
            images=unchanged.images + lost,
            rare=1 / np.square(images),
        )
        variance = np.maximum(unchanged.networks + losing.beyond, losing.images) + of_half_widths
        loss = np.minimum(losing.interval(level)[1] + ndtri(POWER) * np.sqrt(variance), 1)
    return loss


def summary(result: Power) -> str:
    """Return the table in percentage points, formatted for a terminal."""
    table, by = result.table, result.table.columns[0]
    columns = {_TITLES[by]: table[by].map("{:,}".format), "loss found": _points(table["loss_found"])}
    if table["class_most"].any():
        for end, of_any in (("least", "smallest"), ("most", "largest")):
            of_class = table[f"class_{end}"].map(printable)
            columns[f"{of_any} of any class"] = _points(table[f"loss_found_{end}"]) + " (" + of_class + ")"
    columns["smallest limit"] = _points(table["smallest_limit"])
    title = (
        f"Loss of a class, in points, that four of five audits of {result.classes:,} classes find, and the\n"
        "smallest limit that unchanged networks could keep:"
    )
    return "\n\n".join([title, pd.DataFrame(columns).to_string(index=False), *result.notes])


_TITLES = {"networks": "networks a side", "images": "images of a class"}


def _points(shares: pd.Series) -> pd.Series:
    return shares.map(lambda share: "none" if np.isnan(share) else points(share))


def figure(result: Power) -> Figure:
    """Plot the loss found and the smallest limit against the number of networks on each side, or of images."""
    return draw(
        [Panel(_draw, result.table, "", _TITLES[result.table.columns[0]], "percentage points")],
        size=(6.4, 3.6),
        title=f"Loss found by four of five audits of {result.classes:,} classes",
    )


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    numbers = table.iloc[:, 0]
    axes.plot(numbers, 100 * table["loss_found"], "o-", color=BELOW, label="loss found")
    if table["class_most"].any():
        least, most = (100 * table[f"loss_found_{end}"] for end in ("least", "most"))
        label = "from the smallest to the largest of any class"
        axes.fill_between(numbers, least, most, color=BELOW, alpha=0.2, linewidth=0, label=label)
    axes.plot(numbers, 100 * table["smallest_limit"], "s--", color=NEUTRAL, label="smallest limit")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(numbers, map("{:,}".format, numbers))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
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
