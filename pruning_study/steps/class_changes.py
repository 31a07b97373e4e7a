"""Compare networks of this project by class, from their predictions, and describe the losses in MLflow."""

from collections.abc import Sequence

import numpy as np

from analysis.compare import blocks
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import markdown_table
from analysis.rendering.markdown_text import markdown_line
from analysis.runs import schema
from pruning_study.training.evaluation import Predictions


def class_changes(
    classes: Sequence[str],
    before: Sequence[Predictions],
    after: Sequence[Predictions],
    control: Sequence[Predictions] = (),
) -> Comparison:
    """Compare compressed networks with the same networks before compression, on test images.

    Parameters
    ----------
    classes : sequence of str
        Names of the classes, each of which has at least one test image.
    before, after : sequences of Predictions
        Predictions of each network before and after compression; both sequences have the networks in the same order.
    control : sequence of Predictions, optional
        Predictions of their controls, or `before` again if nothing was trained after compression.
    """
    sides = {"before": before, "after": after} | ({"control": control} if control else {})
    right = {side: np.array([each.right for each in own]) for side, own in sides.items()}
    predicted = {side: np.array([each.predicted for each in own]) for side, own in sides.items()}
    return Comparison(classes, after[0].label, right, predicted=predicted)


def loss_metrics(comparison: Comparison) -> dict[str, float]:
    """Return the metrics of a run on what its network lost since the dense network."""
    return {
        schema.WORST_CLASS_LOSS: float(comparison.ranked["loss"].iloc[0]),
        schema.WORST_CLASS_LOSS_UPPER: float(comparison.losses().mean.upper().max()),
        schema.ACCURACY_LOSS_UPPER: float(comparison.accuracy_losses().mean.upper()[0]),
    }


def loss_tags(comparison: Comparison) -> dict[str, str]:
    """Return the tags of a run that name the class that lost most, and say in a phrase which classes are worse."""
    return {
        schema.WORST_CLASS: str(comparison.ranked["class"].iloc[0]),
        schema.OUTCOME: blocks.outcome(comparison),
    }


def description(comparison: Comparison) -> str:
    """Answer both questions in Markdown, followed by the table of the classes."""
    rows = markdown_table(blocks.table(comparison).head(blocks.MOST_SHOWN))
    return "\n\n".join([blocks.markdown_text(blocks.blocks(comparison)), rows, markdown_line(blocks.READING)])
