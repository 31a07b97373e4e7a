"""Check that the network of a run that was found still predicts what the run has stored."""

import math

import numpy as np
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.examples import to_device
from pruning_study.steps.context import Context
from pruning_study.training.engines import TORCH
from pruning_study.training.evaluation import Predictions, predict

COMPARED = 256  # test images at most, spread evenly over all
# Share of the images whose prediction may be another one. Engines and devices round differently, which matters where
# two classes are almost tied. Logits of LeNet5 that were moved by 1e-3 of their size, as far as a GPU's TF32 rounds,
# changed 0.2 % of the predictions; those moved by 1e-2 changed 1.8 %.
ALMOST_TIED = 0.02


class OtherNetworkError(StudyError):
    """A run's weights make another network here than they made when the run was stored."""


def check_predictions(
    run_id: str, name: str, model: nn.Module, context: Context, stored_predictions: Predictions
) -> None:
    """Check that a run's model predicts some test images as the run has stored it.

    Parameters
    ----------
    run_id : str
    name : str
        The model's name.
    model : nn.Module, on the context's device
        The code of now with the weights of the run.
    context : Context
        With the run's data, and the normalisation that the model was trained with.
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
            f"run {run_id}: {name} with the weights of {schema.CHECKPOINT} predicts {differing} of "
            f"{len(sample)} test images otherwise than {schema.PREDICTIONS}, so the model's code, a library or a file "
            "of the run has changed: undo that, or train anew with --force and without --dense-run-id"
        )
