"""Trains and prunes image classifiers, and logs to MLflow what pruning did to each class."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruning_study.checkpoints import Classifier

__version__ = "0.1.0"


def load_model(run_id: str) -> "Classifier":
    """The trained or pruned model of a run, ready to predict.

    Parameters
    ----------
    run_id : str
        A dense or pruned run, or a job that made or found exactly one, in the current tracking store.

    Returns
    -------
    Classifier, in eval mode
        Takes images as uint8 or as floats in [0, 1], shape [N, C, H, W], and returns logits [N, classes];
        the normalisation is inside. `.classes` are the class names, `.network` is the bare network.

    Raises
    ------
    StudyError
        Where the run, its checkpoint or the model's factory cannot be had.
    """
    from pruning_study.tracking import load_model

    return load_model(run_id)
