"""Check that the network of a found run still gives the predictions stored with the run."""

import math

import numpy as np
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.examples import to_device
from pruning_study.steps.context import Context
from pruning_study.training.engines import TORCH
from pruning_study.training.evaluation import Predictions, predict

COMPARED = 256  # maximum number of test images to compare, spread evenly over all
# Largest share of images whose prediction may differ. Engines and devices round differently, which matters if two
# classes are almost tied. Changing the logits of LeNet5 by 1e-3 of their size, the rounding error of a GPU's TF32,
# changed 0.2 % of the predictions; changing them by 1e-2 changed 1.8 %.
ALMOST_TIED = 0.02


class OtherNetworkError(StudyError):
    """With a run's weights, the current code gives other predictions than those stored with the run."""


def check_predictions(
    run_id: str, name: str, model: nn.Module, context: Context, stored_predictions: Predictions
) -> None:
    """Check that a run's model gives the stored predictions for a sample of test images.

    Parameters
    ----------
    run_id : str
    name : str
        Value of `--model`.
    model : nn.Module, on the context's device
        The model of the current code, with the weights of the run.
    context : Context
        Context with the run's data, and the normalisation with which the model was trained.
    stored_predictions : Predictions
        The run's predictions for all test images.

    Raises
    ------
    OtherNetworkError
        If more predictions differ than rounding explains.
    """
    data = context.data
    sample = np.arange(0, len(data.test_labels), math.ceil(len(data.test_labels) / COMPARED))
    images = to_device(
        data.test_images, data.test_labels, context.normalization, context.device, context.memory_format, sample
    )
    predictions, _ = predict(model, images, TORCH)
    differing = int((predictions.predicted != stored_predictions.predicted[sample]).sum())
    if differing > math.ceil(ALMOST_TIED * len(sample)):
        raise OtherNetworkError(
            f"run {run_id}: {name} with the weights of {schema.CHECKPOINT} differs from {schema.PREDICTIONS} on "
            f"{differing} of {len(sample)} test images, so the model's code, a library or a file of the run has "
            "changed: undo the change, or train anew with --force and without --dense-run-id"
        )
