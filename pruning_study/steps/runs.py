"""Find finished runs, and load one so that another step can start from it."""

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.common.command_line import as_typed
from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.statistics.intensification import at_chance
from analysis.statistics.recalls import Recalls
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.pruning.masks import Masks
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.identity import ARTIFACTS
from pruning_study.steps.plan import Plan, TrainPlan
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions

_OF_TRAINING = {
    *(schema.TRAIN_LOSS, schema.VAL_LOSS, schema.VAL_ACCURACY),
    *(schema.DURATION, schema.IMAGES_PER_SECOND, schema.BEST_EPOCH),
}

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class FinishedRun:
    """A run that a step has made or found.

    Parameters
    ----------
    run_id, config_hash : str
    is_reused : bool
        Whether the run was found in the tracking store, instead of being made, or of being named by the user.
    metrics : dict of float
        Final metrics.
    """

    run_id: str
    config_hash: str
    is_reused: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class DenseRun:
    """The dense run from which later runs start; each later run is compared with this dense run.

    Parameters
    ----------
    run_id : str
    params : dict of str
    predictions, val_predictions : Predictions
        For the test images and for the validation images.
    """

    run_id: str
    params: dict[str, str]
    predictions: Predictions
    val_predictions: Predictions

    @property
    def is_given(self) -> bool:
        """Whether the network's weights were given, so that it is the same network for every seed."""
        return schema.WEIGHTS_DIGEST in self.params


@dataclass(frozen=True)
class LoadedRun(FinishedRun):
    """A finished run with its model in memory, so that a step can start from it.

    Parameters
    ----------
    model : nn.Module, on the context's device
        Steps copy it and never change it.
    normalization : Normalization
        The normalisation with which the model was trained.
    masks : dict of state-dict names to bool Tensors
        False where a weight is pruned already; empty for a dense run.
    gradient : dict of state-dict names to Tensors, optional
        Gradient of the data loss over the whole training set in eval mode, if the run has stored it.
    iteration : int
        Number of prunings since the dense run, including this run's.
    dense : DenseRun
    """

    model: nn.Module
    normalization: Normalization
    masks: Masks
    gradient: dict[str, Tensor] | None
    iteration: int
    dense: DenseRun


def find_or_make(plan: Plan, context: JobContext, read: Callable[[Run], Result], make: Callable[[], Result]) -> Result:
    """Under a lock, find the newest usable run of a plan, or make one; no other process makes this run meanwhile.

    Parameters
    ----------
    plan : Plan
    context : JobContext
    read : function
        Reads a run that was found. If it raises a StudyError, the error is shown, and the next run is tried.
    make : function
        Makes the run.
    """
    store = context.store
    with store.making(plan.hash):
        for run in [] if plan.force else store.find(plan.hash):
            # A run without a parent tag starts from its dense run.
            starts_from = {schema.PARENT_RUN_ID: run.data.tags.get(schema.DENSE_RUN_ID)} | run.data.tags
            if plan.lineage.items() <= starts_from.items():
                try:
                    if missing := store.missing(run.info.run_id, ARTIFACTS[plan.kind]):
                        raise StudyError(f"it lacks {', '.join(missing)}")
                    return read(run)
                except StudyError as error:
                    log.warning(
                        "%s run %s cannot be used, so an older run is used or a new run is made: %s",
                        *(plan.kind, run.info.run_id, error),
                    )
        return make()


def ids_of_found(runs: Iterable[FinishedRun]) -> list[str]:
    """Return the ids of the runs that were found instead of made."""
    return [run.run_id for run in runs if run.is_reused]


def with_origin(run: FinishedRun) -> str:
    """Return the id of a run; if the run was found, add that it was already made, and which option makes it again."""
    return run.run_id + (f" (already made; {as_typed('force')} makes it again)" if run.is_reused else "")


def lines_on_found(runs: Sequence[FinishedRun]) -> list[str]:
    """Return a line on how many of the runs were already made; no line if none was."""
    count = len(ids_of_found(runs))
    return [f"{count} of {len(runs)} runs were already made; {as_typed('force')} makes them again"] if count else []


def found_tag(results: Iterable[FinishedRun]) -> dict[str, str]:
    """Return a job's tag that names the runs that the job found; no tag if it made all runs."""
    run_ids = ids_of_found(results)
    return {schema.FOUND_RUN_ID: ",".join(run_ids)} if run_ids else {}


def finished(run: Run, plan: Plan, context: JobContext) -> FinishedRun:
    """Return a pruned or quantized run that was found, without loading its network."""
    return FinishedRun(run.info.run_id, plan.hash, is_reused=True, metrics=final_metrics(run.data.metrics))


def load(store: Store, run: Run, plan: TrainPlan, context: Context) -> LoadedRun:
    """Load a dense or pruned run as the parent of another step. No argument is changed.

    Parameters
    ----------
    store : Store
    run : mlflow.entities.Run
    plan : TrainPlan
        A plan with the run's data set, model and seed.
    context : Context

    Raises
    ------
    StudyError
        If an artifact is missing, does not load, or does not fit the model or the data.
    """
    run_id, tags = run.info.run_id, run.data.tags
    check_fits(run, plan, context.data)
    root = run
    if is_pruned := tags.get(schema.KIND, schema.DENSE) != schema.DENSE:
        root = store.get(tags[schema.DENSE_RUN_ID])
        check_fits(root, plan, context.data)
    model, normalization = _model(store, run_id, context)
    return LoadedRun(
        run_id=run_id,
        config_hash=tags.get(schema.CONFIG_HASH, run_id),
        is_reused=True,
        metrics=final_metrics(run.data.metrics),
        model=model.to(context.device),
        normalization=normalization,
        masks=_tensors(store, run_id, schema.MASK, model) if is_pruned else {},
        gradient=None if is_pruned else _tensors(store, run_id, schema.GRADIENT, model),
        iteration=int(run.data.params.get(schema.ITERATION, 1)) if is_pruned else 0,
        dense=DenseRun(
            root.info.run_id,
            dict(root.data.params),
            test_predictions(store, root.info.run_id),
            val_predictions(store, root.info.run_id),
        ),
    )


def load_named(store: Store, run: Run, plan: TrainPlan, context: Context) -> LoadedRun:
    """Load a run that the user names, as `load` does. It is not counted as found, because `--force` keeps it."""
    return replace(load(store, run, plan, context), is_reused=False)


def check_fits(run: Run, plan: TrainPlan, data: Dataset) -> None:
    """Check that a run was made with the data set, the model and the seed of a plan.

    Raises
    ------
    StudyError
        If one of them differs, or if the model's source has changed.
    """
    run_id = run.info.run_id
    if run.data.params.get(schema.DATASET_DIGEST) != data.digest:
        raise StudyError(
            f"{data.source} does not hold the images of run {run_id}: give --dataset, --data-dir and "
            "--image-size as for that run"
        )
    for param in (schema.MODEL, schema.SEED):
        here = plan.params[param]
        if run.data.params.get(param, here) != here:
            raise StudyError(f"run {run_id} has the {param} {shortened(run.data.params[param])}, not {here}")
    if run.data.params.get(schema.MODEL_DIGEST) != plan.params.get(schema.MODEL_DIGEST):
        raise StudyError(f"the source of {plan.options.model} has changed since run {run_id}")


def test_predictions(store: Store, run_id: str) -> Predictions:
    """Return a run's predictions for the test images."""
    with store.artifact(run_id, schema.PREDICTIONS) as path:
        return Predictions.load(path)


def val_predictions(store: Store, run_id: str) -> Predictions:
    """Return a run's predictions for the validation images."""
    with store.artifact(run_id, schema.VAL_PREDICTIONS) as path:
        return Predictions.load(path)


def is_at_chance(metrics: Mapping[str, float], data: Dataset) -> bool:
    """Return whether a network is at chance, given the metrics of its run."""
    support = np.bincount(data.test_labels, minlength=len(data.classes))
    return bool(at_chance(logged_recalls(metrics, data.classes), support))


def logged_recalls(metrics: Mapping[str, float], classes: Sequence[str]) -> Recalls:
    """Return the recalls and the accuracy of a network on test images, given the metrics of its run."""
    recall = [metrics[schema.RECALL + name] for name in schema.metric_names(classes)]
    return Recalls(recall, metrics[schema.TEST_ACCURACY])


def final_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a run's metrics, except those of single epochs and those of the training itself, such as its speed."""
    return {name: value for name, value in metrics.items() if name not in _OF_TRAINING}


def _model(store: Store, run_id: str, context: Context) -> tuple[nn.Module, Normalization]:
    where = f"run {run_id}: {schema.CHECKPOINT}"
    model = copy.deepcopy(context.model)
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        weights, metadata = checkpoints.load(path, where)
        checkpoints.load_weights(model, weights, where)
    return model, checkpoints.own_normalization(metadata)


def _tensors(store: Store, run_id: str, name: str, model: nn.Module) -> dict[str, Tensor]:
    """Read the gradient or the masks of a network's parameters."""
    with store.artifact(run_id, name) as path:
        tensors, _ = checkpoints.load(path, f"run {run_id}: {name}")
    return {parameter: tensor.to(model.get_parameter(parameter).device) for parameter, tensor in tensors.items()}
