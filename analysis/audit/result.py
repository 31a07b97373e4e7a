"""The result of an audit: a comparison of classes or groups, and further measures of the same predictions."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.audit.populations import NOTHING, TABLES, Populations
from analysis.common import csv_text, files
from analysis.common.printable import folded
from analysis.compare import blocks, picture, sentences
from analysis.compare.blocks import Block
from analysis.compare.comparison import Comparison, Side
from analysis.rendering.drawing import with_legend
from analysis.rendering.formats import markdown_line, markdown_table
from analysis.statistics.limits import Gate, Limits
from analysis.statistics.pair_slopes import Slopes
from analysis.statistics.weak_networks import ChanceLevelCounts, WeakDense


class Audit(NamedTuple):
    """Effect of compression on each class or group of images.

    Attributes
    ----------
    comparison : Comparison
        The losses of classes or groups. Most properties of the audit are taken from it.
    notes : list of str
        Sentences on what was compared, what was left out and what remains unknown.
    populations : Populations
        The images whose modal prediction changed, and how over-represented each group is among them. Empty with fewer
        than five networks before or after.
    metrics : DataFrame
        Precision, false positive rate and, if confidences are known, calibration error of each class, as
        `metrics.metric_table` returns them. Empty for an audit of class counts.
    """

    comparison: Comparison
    notes: list[str]
    populations: Populations = NOTHING
    metrics: pd.DataFrame = pd.DataFrame()

    @property
    def table(self) -> pd.DataFrame:
        """A row for each class or group, the one that lost most first, with the columns of `Comparison.table`."""
        return self.comparison.ranked

    @property
    def damaged(self) -> list[str]:
        """Names of the classes, or groups, that are shown to have lost recall, the one that lost most first."""
        return self.comparison.damaged

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of `damaged`."""
        return self.comparison.damaged_rows

    @property
    def worst(self) -> pd.DataFrame:
        """The class, or the group of each grouping, that costs most (see `Comparison.worst`)."""
        return self.comparison.worst

    @property
    def groupings(self) -> pd.DataFrame:
        """A row for each grouping: slopes over its groups, largest excess loss, and spread of the groups' changes."""
        return self.comparison.groupings

    @property
    def accuracy_before(self) -> float:
        """Mean accuracy of the networks before compression."""
        return self.comparison.accuracy_of("before")

    @property
    def accuracy_after(self) -> float:
        """Mean accuracy of the networks after compression."""
        return self.comparison.accuracy_of("after")

    @property
    def accuracy_control(self) -> float | None:
        """Mean accuracy of the control; None without one."""
        return self.comparison.accuracy_of("control") if self.comparison.has_control else None

    @property
    def slopes(self) -> Slopes:
        """Alpha, raw slope and spread, with their intervals."""
        return self.comparison.slopes

    @property
    def chance_level(self) -> ChanceLevelCounts:
        """Counts of networks at chance."""
        return self.comparison.chance_level

    @property
    def dense(self) -> WeakDense:
        """Weaknesses of the networks before compression: at chance, or with recall 0 in a class."""
        return self.comparison.dense

    @property
    def damage_gate(self) -> Gate:
        """The decision of `--fail-on-damage`."""
        return self.comparison.damage_gate()

    @property
    def fails(self) -> bool:
        """Whether the audit fails under `--fail-on-damage`."""
        return self.damage_gate.state == "beyond"

    def gate(self, limits: Limits, *, limit_from: Side = "before", min_images: int = 0) -> Gate:
        """Compare losses with limits; parameters and errors are as in `Comparison.gate`."""
        return self.comparison.gate(limits, limit_from=limit_from, min_images=min_images)

    @property
    def verdict(self) -> str:
        """The answers to both questions, as the command `audit` prints them."""
        return blocks.text(blocks.blocks(self.comparison))

    def __str__(self) -> str:
        """Return the text that the command `audit` prints."""
        return summary(self, rest="the table")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the loss of each class, or group, with its interval.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw, with a legend below; by default in a figure of its own.

        Returns
        -------
        Figure
            The figure of `ax` if it is given, else a new one.
        """
        if ax is None:
            return picture.figure(self.comparison)
        picture.draw(ax, self.comparison)
        return with_legend(ax)

    def _repr_html_(self) -> str:
        """Return both answers, the table and the picture, for a notebook."""
        png = io.BytesIO()
        picture.figure(self.comparison).savefig(png, format="png")
        data = base64.b64encode(png.getvalue()).decode()
        image = f'<img alt="Loss of each class" src="data:image/png;base64,{data}">'
        answers = blocks.html_text(blocks.blocks(self.comparison))
        return f"{answers}{blocks.html_table(self.comparison)}<p>{blocks.READING}</p>{image}"


def summary(result: Audit, asked: Sequence[Block] | None = None, rest: str = "audit.csv") -> str:
    """Format an audit for a terminal.

    Parameters
    ----------
    result : Audit
    asked : sequence of Block, optional
        Both questions and their answers, with gates if there are any.
    rest : str
        Name of what holds the classes that do not fit.
    """
    answers = blocks.text(asked or blocks.blocks(result.comparison))
    below = [blocks.READING, sentences.on_slopes(result.comparison), *result.notes]
    return "\n\n".join([answers, blocks.table_text(result.comparison, rest), folded(*filter(None, below))])


_METRICS, _GROUPINGS = "metrics.csv", "groupings.csv"
FILES = ("audit.md", "audit.csv", "audit.png", _METRICS)


def write(result: Audit, output: Path, asked: Sequence[Block] | None = None) -> list[str]:
    """Write the audit and the tables of the populations into a folder.

    Files are moved to `output` one by one after all are written, so an error while writing leaves the old ones. Tables
    of an earlier audit that this audit does not have are deleted.

    Parameters
    ----------
    result : Audit
    output : Path
    asked : sequence of Block, optional
        As for `summary`.

    Returns
    -------
    list of str
        The names in `FILES` that were written; an audit of class counts has no metrics.csv.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output, obsolete=[_METRICS, _GROUPINGS, *TABLES]) as folder:
        groupings = {_GROUPINGS: result.groupings} if len(result.groupings) else {}
        metrics = {_METRICS: result.metrics} if len(result.metrics) else {}
        for name, table in {"audit.csv": result.table, **metrics, **groupings, **result.populations.tables}.items():
            csv_text.write(table, folder / name)
        (folder / "audit.md").write_text(markdown(result, asked), encoding="utf-8")
        picture.figure(result.comparison).savefig(folder / "audit.png")
    return [name for name in FILES if name != _METRICS or metrics]


def markdown(result: Audit, asked: Sequence[Block] | None = None) -> str:
    """Return the audit as Markdown; parameters are as in `summary`."""
    answers = blocks.markdown_text(asked or blocks.blocks(result.comparison))
    image, table = "![Loss of recall of each class](audit.png)", markdown_table(blocks.table(result.comparison))
    notes = map(markdown_line, filter(None, (sentences.on_slopes(result.comparison), *result.notes)))
    return "\n\n".join(["# Audit", answers, image, table, blocks.READING, *notes, _READING, _MADE_BY]) + "\n"


_MADE_BY = (
    "Made by `pruning-analysis audit`. docs/reference/files.md of pruning-study describes the columns of the tables."
)
WHAT_IS_CHANCE = (
    "A network is at chance if a one-sided test at 1 % does not show that its mean recall over classes is above 1 / "
    "(number of classes). For classes of equal size (within 1 %), the test is whether its accuracy is above the share "
    "of the largest class. A network at chance has no alpha, but is included in all other numbers."
)
_READING = (
    "The first answer compares the networks with those that they replace. For one pair it holds for these two networks "
    "on new images: intervals are Tango's, and p is McNemar's. For several pairs it holds for new networks and images, "
    "and losses are means over networks. The second answer needs a control, which was trained further like the "
    "compressed network without being compressed, and several pairs. A limit is kept if every class's upper bound, "
    "which has 95 % confidence, is below it.\n\n"
    "The raw slope shows how the differences between recalls changed: above 1 they grew, below 1 they shrank or moved "
    "to other classes, and below 0 the order of the classes reversed. Alpha is the raw slope times accuracy before / "
    "accuracy after, so with the same raw slope it rises if accuracy falls. The spread is the root mean square of the "
    "gaps (recall minus accuracy) after compression, divided by the root mean square of the gaps before. The interval "
    "of alpha is over networks, for these images. If class sizes differ by more than 1 %, alpha with classes weighted "
    "by their images is given too."
)
