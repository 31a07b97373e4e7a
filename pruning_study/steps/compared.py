"""Compare a compressed network with the dense network that it comes from, and write pictures and a table."""

from collections.abc import Sequence

import numpy as np

from analysis.common import csv_text
from analysis.compare.logged import loss_metrics, loss_tags
from analysis.rendering.formats import markdown_line
from analysis.runs import schema
from analysis.statistics import intensification
from analysis.statistics.intensification import largest_excess_floor
from pruning_study.steps.class_changes import class_changes, description
from pruning_study.steps.context import Context
from pruning_study.steps.measured import confusion_table
from pruning_study.steps.runs import DenseRun
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions, both_right


def write_comparison(
    run: Writer,
    context: Context,
    dense: DenseRun,
    predictions: Predictions,
    val_predictions: Predictions,
    name: str,
    note: str,
    control: Sequence[Predictions] = (),
) -> dict[str, float]:
    """Write what compares a run with its dense run, and return the metrics of the comparison.

    Pictures, a table, the run's description and the tags on its losses are written.

    Parameters
    ----------
    run : Writer
    context : Context
    dense : DenseRun
    predictions, val_predictions : Predictions
        Predictions of the compressed network for the test images and for the validation images.
    name : str
        The run's name, used as the title of the pictures.
    note : str
        Description of the run; the comparison is written before it.
    control : sequence of Predictions, optional
        As for `class_changes`.
    """
    from pruning_study.steps import pictures  # matplotlib takes a second to import, and found runs need no pictures
    from pruning_study.steps.flipped import flipped

    metrics = _distortion(dense, predictions, val_predictions, context.data.classes)
    changes = class_changes(context.data.classes, [dense.predictions], [predictions], control)
    run.note(f"{description({name: changes})}\n\n{markdown_line(note)}")
    run.tags(loss_tags(changes))
    pictures.recall_change(changes, name).savefig(run.folder / schema.RECALL_PICTURE)
    sheet = flipped(context.data.test_images, dense.predictions, predictions, changes, name)
    sheet.savefig(run.folder / schema.FLIPPED_PICTURE)
    before, after = (confusion_table(each, context.data.classes) for each in (dense.predictions, predictions))
    csv_text.write(after - before, run.folder / schema.CONFUSION_CHANGE, index=True)
    pictures.pruned_confusion(after, after - before, name).savefig(run.folder / schema.CONFUSION_PICTURE)
    return metrics | loss_metrics(changes)


def _distortion(
    dense: DenseRun, predictions: Predictions, val_predictions: Predictions, classes: tuple[str, ...]
) -> dict[str, float]:
    """Return the slopes that are defined, the largest excess loss with its floor, and one share of images per class.

    This share is the number of test images of the class that both networks predict right, divided by the number of
    all its test images.
    """
    shares = both_right(dense.predictions, predictions, len(classes))
    on_test = _slopes(dense.predictions, predictions, len(classes))
    on_validation = _slopes(dense.val_predictions, val_predictions, len(classes))
    names = (schema.ALPHA, schema.RAW_SLOPE, schema.VAL_ALPHA, schema.VAL_RAW_SLOPE)
    slopes = dict(zip(names, (*on_test, *on_validation), strict=True))
    before, after = (each.recalls(len(classes)) for each in (dense.predictions, predictions))
    support = np.bincount(predictions.label, minlength=len(classes))
    return {name: slope for name, slope in slopes.items() if np.isfinite(slope)} | {
        schema.LARGEST_EXCESS: float(np.nanmax(intensification.excess_loss(before, after))),
        schema.LARGEST_EXCESS_FLOOR: float(largest_excess_floor(before.recall, after.recall, shares, support)),
        **{
            schema.BOTH_RIGHT + name: float(share)
            for name, share in zip(schema.metric_names(classes), shares, strict=True)
        },
    }


def _slopes(before: Predictions, after: Predictions, classes: int) -> tuple[float, float]:
    """Return alpha and the raw slope."""
    recalls = before.recalls(classes), after.recalls(classes)
    alpha = intensification.alpha(*(side.balance for side in recalls))
    return float(alpha), float(intensification.raw_slope(*recalls))
