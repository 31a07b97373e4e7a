"""Find finished runs, and load one so that another step can start from it."""

import copy
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.statistics.intensification import at_chance
from analysis.statistics.recalls import Recalls
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.pruning import budget
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.pruners import own_unit
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.identity import ARTIFACTS
from pruning_study.steps.measured import final_metrics
from pruning_study.steps.plan import Plan, TrainPlan
from pruning_study.steps.stored_network import OtherNetworkError, check_predictions
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions

# Largest difference between two accuracies that are equal except for rounding
SAME_ACCURACY = 1e-6

verified: set[str] = set()  # ids of runs whose stored predictions this process has compared with their network's

log = logging.getLogger(__name__)


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


RunPlan = TypeVar("RunPlan", bound=Plan)
Parent = TypeVar("Parent")
Result = TypeVar("Result", bound=FinishedRun)
Read: TypeAlias = Callable[[Run, RunPlan, JobContext], Result]
Make: TypeAlias = Callable[[RunPlan, JobContext, Parent], Result]


def find_or_make(
    plan: RunPlan,
    context: JobContext,
    parent: Parent,
    *,
    read: Read[RunPlan, Result],
    make: Make[RunPlan, Parent, Result],
    announce: Callable[[], None] | None = None,
) -> Result:
    """Under a lock, find the newest usable run of a plan, or make one; no other process makes this run meanwhile.

    Parameters
    ----------
    plan : Plan
    context : JobContext
    parent : LoadedRun, or another object that the step starts from
    read : function
        Reads an existing run, as in `find`.
    make : function
        Makes the run.
    announce : function, optional
        Called before the run is made; not called if the run is found.
    """
    with context.store.making(plan.hash):
        if found := find(plan, context, read=read):
            return found
        if announce:
            announce()
        return make(plan, context, parent)


def find(plan: RunPlan, context: JobContext, *, read: Read[RunPlan, Result]) -> Result | None:
    """Find the newest usable run of a plan; return None if there is none or the plan forces a new run.

    Parameters
    ----------
    plan : Plan
    context : JobContext
    read : function
        Reads an existing run. It raises a StudyError if the run cannot be used; the error is shown, and the next run is
        tried. An OtherNetworkError is not caught, because a new run would store another network under the
        same hash.
    """
    for run in [] if plan.force else context.store.find(plan.hash):
        if not _descends(run, plan.lineage):
            continue
        try:
            return read(run, plan, context)
        except OtherNetworkError:
            raise
        except StudyError as error:
            log.warning(
                "%s run %s cannot be used, so an older run is used or a new run is made: %s",
                plan.kind,
                run.info.run_id,
                error,
            )
    return None


def _descends(run: Run, lineage: Mapping[str, str]) -> bool:
    """Return whether a run starts from the runs of a lineage; a run without a parent tag starts from its dense run."""
    starts_from = {schema.PARENT_RUN_ID: run.data.tags.get(schema.DENSE_RUN_ID)} | run.data.tags
    return all(starts_from.get(name) == run_id for name, run_id in lineage.items())


def found_tag(results: Iterable[FinishedRun]) -> dict[str, str]:
    """Return a job's tag that names the runs that the job found; no tag if it made all runs."""
    run_ids = [run.run_id for run in results if run.is_reused]
    return {schema.FOUND_RUN_ID: ",".join(run_ids)} if run_ids else {}


def finished(run: Run, plan: Plan, context: JobContext) -> FinishedRun:
    """Check a pruned or quantized run that was found, and return it without loading its network.

    Parameters
    ----------
    run : mlflow.entities.Run
    plan : Plan
    context : JobContext

    Raises
    ------
    StudyError
        If the run lacks an artifact or a metric, or if its predictions are damaged or belong to other images.
    """
    if missing := context.store.missing(run.info.run_id, ARTIFACTS[plan.kind]):
        raise StudyError(f"it lacks {', '.join(missing)}")
    test_predictions(context.store, run.info.run_id, context.data)
    metrics = _metrics(run, context.data)
    if not metrics.get(schema.REALIZED_RATIO, 0) >= 1:
        raise StudyError(f"it has no metric {schema.REALIZED_RATIO} of 1 or more")
    return FinishedRun(run.info.run_id, plan.hash, is_reused=True, metrics=metrics)


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
    OtherNetworkError
        If the network's predictions differ from those stored with the run.
    """
    run_id = run.info.run_id
    is_dense = run.data.tags.get(schema.KIND, schema.DENSE) == schema.DENSE
    check_fits(run, plan, context.data)
    model, normalization = _model(store, run_id, context)
    root = run if is_dense else _root(store, run, plan, context.data)
    loaded = LoadedRun(
        run_id=run_id,
        config_hash=run.data.tags.get(schema.CONFIG_HASH, run_id),
        is_reused=True,
        metrics=_metrics(run, context.data),
        model=model.to(context.device),
        normalization=normalization,
        masks={} if is_dense else _masks(store, run, model, context.unused),
        gradient=_gradient(store, run_id, model) if is_dense else None,
        iteration=0 if is_dense else _iteration(run),
        dense=_dense_run(store, root, context),
    )
    if run_id not in verified:
        stored = loaded.dense.predictions if is_dense else test_predictions(store, run_id, context.data)
        check_predictions(run_id, plan.options.model, loaded.model, context.normalized_as(normalization), stored)
        verified.add(run_id)
    return loaded


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


def test_predictions(store: Store, run_id: str, data: Dataset) -> Predictions:
    """Return a run's predictions for the test images.

    Raises
    ------
    StudyError
        If the predictions are damaged or belong to other images.
    """
    return _predictions(store, run_id, schema.PREDICTIONS, data.test_labels, len(data.classes))


def val_predictions(store: Store, run_id: str, context: Context) -> Predictions:
    """Return a run's predictions for the validation images.

    Raises
    ------
    StudyError
        If the predictions are damaged or belong to other images.
    """
    labels = context.data.train_labels[context.validation_indices]
    return _predictions(store, run_id, schema.VAL_PREDICTIONS, labels, len(context.data.classes))


def is_at_chance(metrics: Mapping[str, float], data: Dataset) -> bool:
    """Return whether a network is at chance, given the metrics of its run."""
    support = np.bincount(data.test_labels, minlength=len(data.classes))
    return bool(at_chance(logged_recalls(metrics, data.classes), support))


def logged_recalls(metrics: Mapping[str, float], classes: Sequence[str]) -> Recalls:
    """Return the recalls and the accuracy of a network on test images, given the metrics of its run."""
    recall = [metrics[schema.RECALL + name] for name in schema.metric_names(classes)]
    return Recalls(recall, metrics[schema.TEST_ACCURACY])


def _root(store: Store, run: Run, plan: TrainPlan, data: Dataset) -> Run:
    """Return the dense run that a pruned run names."""
    run_id = run.data.tags.get(schema.DENSE_RUN_ID)
    if not run_id:
        raise StudyError(f"pruned run {run.info.run_id} names no dense run")
    root = store.get(run_id)
    if root.data.tags.get(schema.KIND) != schema.DENSE:
        raise StudyError(f"run {run_id}, which run {run.info.run_id} names as its dense run, is not a dense run")
    check_fits(root, plan, data)
    return root


def _iteration(run: Run) -> int:
    iteration = run.data.params.get(schema.ITERATION, schema.ABSENT[schema.ITERATION])
    if not re.fullmatch("[1-9][0-9]{0,5}", iteration):
        raise StudyError(f"run {run.info.run_id}: its param {schema.ITERATION} is {shortened(iteration)}")
    return int(iteration)


def _metrics(run: Run, data: Dataset) -> dict[str, float]:
    metrics = final_metrics(run.data.metrics)
    for name in (schema.TEST_ACCURACY, *(schema.RECALL + name for name in schema.metric_names(data.classes))):
        if name not in metrics or metrics[name] < 0 or metrics[name] > 1:
            raise StudyError(f"run {run.info.run_id} has no metric {name} between 0 and 1")
    return metrics


def _model(store: Store, run_id: str, context: Context) -> tuple[nn.Module, Normalization]:
    where = f"run {run_id}: {schema.CHECKPOINT}"
    model = copy.deepcopy(context.model)
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        weights, metadata = checkpoints.load(path, where)
        checkpoints.load_weights(model, weights, where)
    return model, checkpoints.own_normalization(metadata)


def _gradient(store: Store, run_id: str, model: nn.Module) -> dict[str, Tensor] | None:
    """Read the gradient of every parameter; if it has NaN or infinite numbers, log a warning and return None."""
    where = f"run {run_id}: {schema.GRADIENT}"
    parameters = dict(model.named_parameters())
    with store.artifact(run_id, schema.GRADIENT) as path:
        gradient, _ = checkpoints.load(path, where)
    gradient = {name: tensor.to(parameters[name]) for name, tensor in gradient.items()}
    if name := checkpoints.not_finite(gradient):
        log.warning("%s: %s holds NaN or infinite numbers, so the gradient is computed again", where, name)
        return None
    return gradient


def _masks(store: Store, run: Run, model: nn.Module, unused: Sequence[str]) -> Masks:
    """Read the masks of a pruned run for all prunable weights, including the output layer if it was pruned.

    If filters were pruned, masks of biases and BatchNorm parameters are included too.
    """
    run_id, has_filters = run.info.run_id, own_unit(run.data.params.get(schema.PRUNER, "")) == "filter"
    where = f"run {run_id}: {schema.MASK}"
    keep = [name for name in run.data.params.get(schema.KEEP_LAYERS, "").split(",") if name]
    with store.artifact(run_id, schema.MASK) as path:
        masks, _ = checkpoints.load(path, where)
    prunable = budget.prunable(model, output_layer=True, keep=keep, unused=unused)
    parameters = dict(model.named_parameters())
    wanted = prunable if masks.keys() >= set(prunable) else budget.prunable(model, keep=keep, unused=unused)
    others = [name for name in masks if name in parameters and name not in prunable] if has_filters else []
    weights = {name: parameters[name].detach() for name in (*wanted, *others)}
    masks = {name: mask.to(weights[name].device) for name, mask in masks.items()}
    for name, mask in masks.items():
        if number_unmasked := int(weights[name][~mask].count_nonzero()):
            raise StudyError(
                f"{where} prunes {number_unmasked:,} weights of {name} that are not 0 in {schema.CHECKPOINT}"
            )
    return masks


def _dense_run(store: Store, run: Run, context: Context) -> DenseRun:
    test, val = (
        _predictions(store, run.info.run_id, name, labels, len(context.data.classes))
        for name, labels in (
            (schema.PREDICTIONS, context.data.test_labels),
            (schema.VAL_PREDICTIONS, context.data.train_labels[context.validation_indices]),
        )
    )
    logged = run.data.metrics.get(schema.TEST_ACCURACY, np.nan)
    if not abs(test.accuracy - logged) < SAME_ACCURACY:
        raise StudyError(
            f"dense run {run.info.run_id}: {schema.PREDICTIONS} has the accuracy {test.accuracy:g}, but the metric "
            f"{schema.TEST_ACCURACY} is {logged:g}"
        )
    return DenseRun(run.info.run_id, dict(run.data.params), test, val)


def _predictions(store: Store, run_id: str, name: str, labels: np.ndarray, classes: int) -> Predictions:
    where = f"run {run_id}: {name}"
    with store.artifact(run_id, name) as path:
        try:
            predictions = Predictions.load(path)
        except StudyError as error:
            raise StudyError(f"{where}: {error}") from error
    if not np.array_equal(predictions.label, labels):
        raise StudyError(f"{where} was made with other labels")
    if not np.isin(predictions.predicted, np.arange(classes)).all():
        raise StudyError(f"{where} predicts something that is not one of {classes} classes")
    return predictions
