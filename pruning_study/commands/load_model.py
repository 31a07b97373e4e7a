"""Load the network of a run, ready to predict."""

from pruning_study.models import checkpoints
from pruning_study.tracking import connect


def load_model(run_id: str, *, model: str | None = None) -> checkpoints.Classifier:
    """Return the trained or pruned model of a run, ready to predict.

    Parameters
    ----------
    run_id : str
        A dense or pruned run of the current tracking store, or a job with a single result.
    model : str, optional
        `package.module:factory`, as for `--model`, if the run has a model of your own. The module may be in the current
        folder. By default, only models of this project, torchvision and timm are loaded: code that a run names is not
        imported.

    Returns
    -------
    Classifier, in eval mode
        Takes images [N, C, H, W], uint8 or floats in [0, 1], normalises them, and returns logits [N, classes].
        `.classes` are the class names; `.network` is the network without the normalisation.

    Raises
    ------
    StudyError
        If the run, its checkpoint or its model's factory cannot be loaded, or if the weights do not fit the model.

    Examples
    --------
    >>> import torch
    >>> from pruning_study import load_model, train
    >>> classifier = load_model(train(seed=0, epochs=1).run_id)
    >>> classifier(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 10])
    """
    with connect.checkpoint(run_id) as (path, params):
        return checkpoints.classifier(path, run_id, model, params)
