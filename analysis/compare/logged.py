"""What is logged of a comparison: its losses since the networks before as metrics and tags of a run."""

from analysis.compare import blocks
from analysis.compare.comparison import Comparison, row_names
from analysis.runs import schema


def loss_metrics(comparison: Comparison) -> dict[str, float]:
    """Return the largest loss, the largest bound of a loss, and the bound of the loss of accuracy, by metric.

    Bounds are 1 if a network is at chance, or if no network works.
    """
    upper = [float(each.mean.upper().max()) for each in (comparison.losses(), comparison.accuracy_losses())]
    if comparison.information_doubts:
        upper = [1.0, 1.0]
    return {
        schema.WORST_CLASS_LOSS: float(comparison.ranked["loss"].iloc[0]),
        schema.WORST_CLASS_LOSS_UPPER: upper[0],
        schema.ACCURACY_LOSS_UPPER: upper[1],
    }


def loss_tags(comparison: Comparison) -> dict[str, str]:
    """Return the class that lost most, and a phrase that says which classes are worse, by tag."""
    return {
        schema.WORST_CLASS: str(row_names(comparison.ranked).iloc[0]),
        schema.OUTCOME: blocks.outcome(comparison),
    }
