"""Compare networks of this project by class, from their predictions, and describe the losses in MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from analysis.compare import blocks
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import markdown_line, markdown_table
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


def together(
    comparisons: Sequence[Comparison], network_names: Sequence[str] = (), alone: Sequence[str] = ()
) -> Comparison:
    """Join the comparisons of several networks, which have the same images, classes and sides."""
    first = comparisons[0]
    right = {side: np.concatenate([each.right[side] for each in comparisons]) for side in first.right}
    predicted = {side: np.concatenate([each.predicted[side] for each in comparisons]) for side in first.predicted}
    return replace(first, right=right, predicted=predicted, network_names=network_names, alone=alone)


def answers(changes: Mapping[str, Comparison]) -> str:
    """Answer both questions for a terminal, each time followed by the table of the classes.

    Parameters
    ----------
    changes : mapping of str to Comparison
        If there are several comparisons, each stands below its name.
    """
    parts = []
    for name, comparison in changes.items():
        parts += [name] if len(changes) > 1 else []
        parts += [blocks.text(blocks.blocks(comparison)), blocks.table_text(comparison, schema.PER_CLASS)]
    return "\n\n".join(parts)


def description(changes: Mapping[str, Comparison]) -> str:
    """Answer both questions in Markdown; a single comparison is followed by the table of the classes."""
    if len(changes) > 1:
        return "\n\n".join(
            f"# {name}\n\n{blocks.markdown_text(blocks.blocks(comparison))}" for name, comparison in changes.items()
        )
    (comparison,) = changes.values()
    rows = markdown_table(blocks.table(comparison).head(blocks.MOST_SHOWN))
    return "\n\n".join([blocks.markdown_text(blocks.blocks(comparison)), rows, markdown_line(blocks.READING)])
