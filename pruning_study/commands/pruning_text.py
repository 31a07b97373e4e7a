"""What `prune` prints: the answers to both questions and a table of the classes at each ratio, and the slopes."""

from collections.abc import Mapping

import pandas as pd

from analysis.common.printable import folded, printable
from analysis.compare import blocks, sentences
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import decimals, with_interval
from pruning_study.steps.class_changes import answers

SAME_NETWORK = (
    "All seeds prune the same given network, so the result holds for this network and new fine-tunings of it, not for "
    "newly trained networks."
)
UNPRUNED = "Nothing was pruned."


def text(
    changes: Mapping[float, Comparison], realized_ratios: Mapping[float, float], *, details: bool, remarks: list[str]
) -> str:
    """Format the comparisons with the dense networks for a terminal.

    Parameters
    ----------
    changes : mapping of float to Comparison
        By requested ratio.
    realized_ratios : mapping of float to float
    details : bool
        Whether slopes on new images are given too.
    remarks : list of str
        Sentences that follow the tables.
    """
    slopes = [_slopes(ratio, realized_ratios[ratio], comparison) for ratio, comparison in changes.items()]
    new = [f"ratio {ratio:g}: {sentences.on_slopes(each)}" for ratio, each in changes.items()] if details else []
    return "\n\n".join([answers(named(changes)), folded(*slopes), folded(*new, blocks.READING, *remarks)])


def named(changes: Mapping[float, Comparison]) -> dict[str, Comparison]:
    """Return comparisons by the name of their ratio."""
    return {f"ratio {ratio:g}": comparison for ratio, comparison in changes.items()}


def _slopes(ratio: float, realized_ratio: float, comparison: Comparison) -> str:
    slopes, write = comparison.slopes, decimals(3)
    alpha = with_interval(slopes.alpha, slopes.low, slopes.high, write)
    raw_slope = with_interval(slopes.raw_slope, slopes.raw_slope_low, slopes.raw_slope_high, write)
    return f"ratio {ratio:g}: realised ratio {realized_ratio:.2f}, alpha {alpha}, raw slope {raw_slope}"


def offset_lines(offsets: Mapping[float, pd.DataFrame]) -> list[str]:
    """Return a line for each ratio on the classes with the highest and lowest offset.

    Parameters
    ----------
    offsets : mapping of float to DataFrame
        Tables of `class_offsets.csv`, by ratio.
    """
    return [f"ratio {ratio:g}: {printable(_describe_offsets(table))}" for ratio, table in offsets.items()]


def _describe_offsets(table: pd.DataFrame) -> str:
    raised, lowered = (table.loc[place] for place in (table["offset"].idxmax(), table["offset"].idxmin()))
    if not raised["offset"] > 0:
        return "class offsets are 0, because on validation images none makes the losses of classes more equal"
    return (
        f"class offsets, fitted on validation images, raise the logit of {raised['class']} most, by "
        f"{raised['offset']:.2f}, and lower that of {lowered['class']} most, by {-lowered['offset']:.2f}"
    )
