"""Trains and prunes image classifiers, and logs to MLflow what pruning did to each class."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruning_study.models.checkpoints import Classifier

__version__ = "0.1.0"


def load_model(run_id: str, *, model: str | None = None) -> "Classifier":
    """The trained or pruned model of a run, ready to predict.

    Parameters
    ----------
    run_id : str
        A dense or pruned run of the current tracking store, or a job with a single result.
    model : str, optional
        `package.module:factory`, as `--model` takes it, for a run of a model of your own. Its module is imported, from
        the current folder too. By default only this project's models are loaded: code that a run names is not imported.

    Returns
    -------
    Classifier, in eval mode
        Takes images [N, C, H, W], uint8 or floats in [0, 1], and returns logits [N, classes]; the
        normalisation is inside. `.classes` are the class names, `.network` is the bare network.

    Raises
    ------
    StudyError
        Where the run, its checkpoint or its model's factory cannot be had, or the weights do not fit the model.

    Examples
    --------
    >>> load_model("RUN_ID", model="my_package.my_models:my_net")  # doctest: +SKIP
    """
    from pruning_study.models import checkpoints
    from pruning_study.tracking import connect

    with connect.checkpoint(run_id) as (path, params):
        return checkpoints.classifier(path, run_id, model, params)
