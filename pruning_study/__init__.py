"""Train and prune image classifiers, and log to MLflow what pruning did to each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruning_study import analysis_package

if TYPE_CHECKING:
    import pandas as pd

    from pruning_study.commands.notebook_results import Compression, Iterating, Pruning, Training
    from pruning_study.models.checkpoints import Classifier

__version__ = "0.2.0"

analysis_package.check()


def train(**options: Any) -> "Training":
    """Train a network, or find the run of an earlier training with the same options.

    Parameters
    ----------
    **options
        The options of `pruning-study train`, with underscores: `dataset`, `model`, `seed` (a number, several, or a
        string such as `0-4`), `epochs`, `batch_size`, ... Others have the command's defaults; None means auto.

    Returns
    -------
    Training
        `.table`, the recall of each class with its interval; `.accuracy`; `.runs`, a row for each seed; `.run_id`, if
        there is one seed. A notebook shows the tables and the picture.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import train
    >>> trained = train(seed=0, epochs=1)
    >>> list(trained.table), len(trained.runs)
    (['class', 'recall', 'recall_low', 'recall_high', 'support'], 1)
    """
    from pruning_study.commands import notebook_results

    return notebook_results.train(options)


def prune(**options: Any) -> "Pruning":
    """Prune a network and fine-tune it. The network is trained first, unless a run with its options exists.

    Parameters
    ----------
    **options
        The options of `pruning-study prune`, with underscores: those of `train`, `pruner`, `ratio` (a number or
        several), `dense_run_id`, `fine_tune_epochs`, `schedule`, ... Others have the command's defaults; None means
        auto.

    Returns
    -------
    Pruning
        `.table`, the loss of each class at each ratio, with intervals; `.summary`, accuracy, alpha and raw slope at
        each ratio, with intervals; `.verdict`, what the intervals show, in sentences; `.runs`, a row for each seed and
        ratio; `.run_ids`, a run for each ratio, if there is one seed. A notebook shows the table, the verdict and the
        pictures; `.plot()` draws the recalls of classes as a Matplotlib figure.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import prune
    >>> pruned = prune(pruner="up", ratio=10, seed=0, epochs=1, fine_tune_epochs=1)
    >>> list(pruned.table)  # doctest: +NORMALIZE_WHITESPACE
    ['ratio', 'class', 'recall_before', 'recall_after', 'change', 'change_low', 'change_high', 'support', 'damaged']

    With several seeds, recalls are means over networks, and intervals are over networks and images:

    >>> pruned = prune(pruner="up", ratio=10, seed="0-1", epochs=1, fine_tune_epochs=1)
    >>> len(pruned.table), pruned.runs[["seed", "ratio"]].to_numpy().tolist()
    (10, [[0.0, 10.0], [1.0, 10.0]])
    """
    from pruning_study.commands import notebook_results

    return notebook_results.prune(options)


def iterate(**options: Any) -> "Iterating":
    """Prune a network repeatedly, and train it after each pruning.

    Parameters
    ----------
    **options
        The options of `pruning-study iterate`, with underscores: those of `train`, `pruner`, `iterations`, `keep`,
        `weight_treatment`, `dense_run_id`, ... Others have the command's defaults; None means auto.

    Returns
    -------
    Iterating
        `.runs`, a row for each seed and iteration, which a notebook shows.

    Raises
    ------
    StudyError
        If an option or its value is invalid, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import iterate
    >>> iterated = iterate(pruner="global-unstructured", iterations=3, seed=0, epochs=1)
    >>> iterated.runs[["iteration", "sparsity"]].round(2).to_numpy().tolist()
    [[1.0, 0.2], [2.0, 0.36]]
    """
    from pruning_study.commands import notebook_results

    return notebook_results.iterate(options)


def compress(**options: Any) -> "Compression":
    """Search for the smallest or fastest network in which no class loses more than is allowed.

    Parameters
    ----------
    **options
        The options of `pruning-study compress`, with underscores: `dataset`, `model` or `dense_run_id`,
        `max_class_loss`, `max_accuracy_loss`, `minimize`, `n_trials`, `budget`, ... Others have the command's defaults;
        None means auto.

    Returns
    -------
    Compression
        `.verdict`, the choice and its result on test images; `.state`, whether test images confirm the choice;
        `.table`, the recalls and losses of each class; `.chains`, a row for each chain that was tried; `.run_id` and
        `.job_run_id`, whose artifacts include the network as ONNX and its model card. A notebook shows the tables.

    Raises
    ------
    StudyError
        If an option or its value is invalid, if a package of the extras onnx and structured is missing, if the
        validation images are too few for the limits, or if the data or the tracking store cannot be used.

    Examples
    --------
    >>> from pruning_study import compress
    >>> quick = {"epochs": 3, "fine_tune_epochs": 1, "n_trials": 4}
    >>> found = compress(seed=0, max_class_loss=60, max_accuracy_loss=20, **quick)
    >>> len(found.chains), found.state in ("within", "beyond", "undecided", "none")
    (4, True)
    """
    from pruning_study.commands import notebook_results

    return notebook_results.compress(options)


def run_study(file: str | Path, **options: Any) -> "pd.DataFrame":
    """Make all runs of a grid on all cores, except those that exist.

    A script must call this function below `if __name__ == "__main__":`, because it starts further Python processes.

    Parameters
    ----------
    file : str or Path
        YAML file that lists the values of the options, such as `studies/quick.yaml`.
    **options
        The options of `pruning-study study`, with underscores: `workers`, `experiment`, `data_dir`, ...

    Returns
    -------
    DataFrame
        A row for each run: kind, run (its name), state, run_id, error, config_hash.

    Raises
    ------
    StudyError
        If the file has a fault, before any run is made; or if steps failed, after all others have ended.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pruning_study import run_study
    >>> rows = ["pruners: [none, mp]", "ratios: [10]", "seeds: [0]", "overrides: {epochs: 1, fine_tune_epochs: 1}"]
    >>> _ = Path("small.yaml").write_text("\\n".join(rows), encoding="utf-8")
    >>> runs = run_study("small.yaml", workers=1, experiment="small")  # doctest: +ELLIPSIS
    3 runs: ...
    >>> runs["kind"].value_counts().to_dict()
    {'pruned': 2, 'dense': 1}
    """
    from pruning_study.commands import notebook_results

    return notebook_results.run_study(file, options)


def load_model(run_id: str, *, model: str | None = None) -> "Classifier":
    """Return the trained or pruned model of a run, ready to predict.

    Parameters
    ----------
    run_id : str
        A dense or pruned run of the current tracking store, or a job with a single result.
    model : str, optional
        `package.module:factory`, as for `--model`, if the run has a model of your own. The module is imported, also
        from the current folder. By default, only this project's models are loaded: code that a run names is not
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
    from pruning_study.models import checkpoints
    from pruning_study.tracking import connect

    with connect.checkpoint(run_id) as (path, params):
        return checkpoints.classifier(path, run_id, model, params)
