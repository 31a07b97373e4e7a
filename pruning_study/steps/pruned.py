"""Pruned runs: found in the tracking store, or made from any run that left a checkpoint."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from mlflow.entities import Run
from torch import nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.statistics.class_metrics import class_metrics
from pruning_study.data.examples import Examples, number_of_batches
from pruning_study.models import checkpoints
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.pruning.schedules import Ramp
from pruning_study.pruning.scores import magnitude
from pruning_study.pruning.sparse_training import Exchange
from pruning_study.steps import selection
from pruning_study.steps.compared import write_comparison
from pruning_study.steps.measured import (
    fit_setting,
    log_fit,
    run_tags,
    write_evaluation,
)
from pruning_study.steps.prune_plan import PrunePlan
from pruning_study.steps.runs import FinishedRun, LoadedRun, find_or_make, finished
from pruning_study.steps.settings import PruneSetting
from pruning_study.tracking.store import Store
from pruning_study.training.distillation import Distillation
from pruning_study.training.evaluation import Predictions, from_logits, predict
from pruning_study.training.loop import Fit, OnEpoch, ignore
from pruning_study.training.mitigation import (
    class_offsets,
    class_weights,
    constraint_names,
    constraints,
    performance_weighted,
)
from pruning_study.training.weighting import Weighting

Setting = TypeVar("Setting", bound=PruneSetting)
Train: TypeAlias = Callable[[Setting, LoadedRun, Path, OnEpoch], tuple[nn.Module, Fit]]


def prune(
    store: Store,
    job_run_id: str,
    setting: PruneSetting,
    parent: LoadedRun,
    ratio: float,
    *,
    before_making: Callable[[], None] = lambda: None,
) -> FinishedRun:
    """Find the run that prunes a parent's model at a ratio and fine-tunes it, or make it.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for the run.
    setting : PruneSetting
    parent : LoadedRun
        A dense run, or a pruned run whose remaining weights are pruned further.
    ratio : float
        Parameters of the dense model / parameters that are left.
    before_making : callable
        Called if no such run exists.

    Returns
    -------
    FinishedRun ; a LoadedRun where the run was made now.

    Raises
    ------
    StudyError
        If scores are not finite, if fine-tuning diverges, or if the store does not take the run.
    """
    plan = planned(setting, parent, ratio)

    def train(
        as_trained: PruneSetting, parent: LoadedRun, saved_training: Path, on_epoch: OnEpoch
    ) -> tuple[nn.Module, Fit]:
        return _prune_and_fit(as_trained, parent, plan, saved_training, on_epoch)

    def make_run() -> FinishedRun:
        before_making()
        return make(store, job_run_id, setting, parent, plan, _note(setting, parent, plan), train)

    return find_or_make(
        store,
        schema.PRUNED,
        plan.hash,
        force=setting.config.force,
        read=lambda run: finished(store, run, setting, plan.hash),
        make=make_run,
        counts=lambda run: is_child(run, parent, setting),
    )


def planned(setting: PruneSetting, parent: LoadedRun, ratio: float) -> PrunePlan:
    """Work out what the run will be that prunes a parent's model at a ratio; errors as of `PruneSetting.plan`."""
    parent_masks = None if setting.pruning.pruner.unit == "filter" else weights_left(setting, parent)
    return setting.plan(
        ratio,
        parent.dense.params,
        parent.config_hash,
        iteration=parent.iteration + 1,
        remaining=_count(parent_masks) if parent_masks else None,
        images=len(_fine_tuning_indices(setting, parent)),
    )


def _note(setting: PruneSetting, parent: LoadedRun, plan: PrunePlan) -> str:
    """Return a sentence that says what a pruned run is."""
    how = " and fine-tuned" if setting.pruning.fine_tuning.epochs else ""
    if setting.config.starts_anew:
        how = " while it was trained again" if plan.steps else ""
    return f"Run {parent.run_id}, pruned by {setting.method} at ratio {plan.ratio:g}{how}"


def is_child(run: Run, parent: LoadedRun, setting: PruneSetting) -> bool:
    """Return whether a pruned run with the right hash may be taken for one that starts from the parent.

    Several dense runs may have the same settings. If `--dense-run-id` names one, only its pruned runs count.
    """
    starts_from = run.data.tags.get(schema.PARENT_RUN_ID) or run.data.tags.get(schema.DENSE_RUN_ID)
    return not setting.config.dense_run_id or starts_from == parent.run_id


def make(
    store: Store,
    job_run_id: str,
    setting: Setting,
    parent: LoadedRun,
    plan: PrunePlan,
    note: str,
    train: Train[Setting],
) -> LoadedRun:
    """Make a pruned run.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for the run.
    setting : PruneSetting
    parent : LoadedRun
    plan : PrunePlan
    note : str
        A sentence that says what the run is.
    train : callable
        Prunes and trains a copy of the parent's model, given the setting with the parent's normalisation.
    """
    start = time.perf_counter()
    setting = setting.normalized_as(parent.normalization)
    saved_training = store.saved_training(plan.hash)
    lineage = {schema.DENSE_RUN_ID: parent.dense.run_id, schema.PARENT_RUN_ID: parent.run_id}
    with store.run(
        plan.name,
        note=note,
        tags=run_tags(schema.PRUNED, plan.hash, setting, setting.pruning.fine_tuning) | lineage,
        params=dict(plan.params),
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=True,
    ) as run:
        model, fitted = train(setting, parent, saved_training, run.epoch)
        log_fit(run, fitted)
        if setting.config.dual_step:
            table = constraints.multipliers(fitted.weighting, setting.data.classes)
            csv_text.write(table, run.folder / schema.MULTIPLIERS)
        if setting.config.class_weights != "none":
            csv_text.write(_class_weights(setting, parent), run.folder / schema.WEIGHTS)
        if setting.config.class_offsets != "none":
            csv_text.write(_fold_offsets(setting, parent, model), run.folder / schema.OFFSETS)
        predictions, val_predictions, metrics = write_evaluation(run, setting, model)
        checkpoints.save(run.folder / schema.MASK, fitted.masks)
        metrics[schema.REALIZED_RATIO] = _realized_ratio(setting, fitted.masks)
        metrics |= write_comparison(run, setting, parent.dense, predictions, val_predictions, plan.name, note)
        if len(plan.kept_numbers) == 1 and "grad" in setting.pruning.pruner.needs:
            metrics[schema.MP_OVERLAP] = _mp_overlap(setting, parent, fitted.masks)
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved_training.unlink(missing_ok=True)
    return LoadedRun(
        run_id=run.run_id,
        config_hash=plan.hash,
        is_reused=False,
        metrics=metrics,
        model=model,
        normalization=setting.normalization,
        masks=fitted.masks,
        gradient=None,
        iteration=parent.iteration + 1,
        dense=parent.dense,
    )


def trial(setting: PruneSetting, parent: LoadedRun, ratio: float) -> Predictions:
    """Predict the validation images with the model that `prune` would make; no run, and no test image.

    Each image has class offsets that were fitted without it.

    Parameters
    ----------
    setting : PruneSetting
    parent : LoadedRun
    ratio : float

    Raises
    ------
    StudyError
        If scores are not finite, or if fine-tuning diverges.
    """
    setting = setting.normalized_as(parent.normalization)
    model, _ = _prune_and_fit(setting, parent, planned(setting, parent, ratio))
    if setting.config.class_offsets == "none":
        return predict(model, setting.validation, setting.engine)[0]
    logits = class_offsets.held_out_logits(
        model, parent.model, setting.validation, setting.engine, setting.config.offset_shrinkage
    )
    return from_logits(logits, setting.validation.labels.cpu())[0]


def pruning_masks(setting: PruneSetting, parent: LoadedRun, plan: PrunePlan) -> Masks:
    """Return the masks that fine-tuning starts with: the final ones, where pruning is not gradual.

    Parameters
    ----------
    setting : PruneSetting
    parent : LoadedRun
    plan : PrunePlan

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight
        Where filters are pruned, biases and BatchNorm parameters are among them.

    Raises
    ------
    StudyError
        If a score is NaN or infinite.
    """
    theta = {name: parent.model.get_parameter(name).detach() for name in setting.prunable}
    if setting.pruning.pruner.unit == "filter":
        return selection.select_filters(setting, parent.model, theta, plan.ratio)
    parent_masks = weights_left(setting, parent)
    n_kept = plan.kept_numbers[0]
    if parent_masks and n_kept == _count(parent_masks):
        return parent_masks
    return selection.select(setting, parent.model, theta, n_kept, parent_masks, gradient=parent.gradient)


def _prune_and_fit(
    setting: PruneSetting,
    parent: LoadedRun,
    plan: PrunePlan,
    saved_training: Path | None = None,
    on_epoch: OnEpoch = ignore,
) -> tuple[nn.Module, Fit]:
    """Prune a copy of the parent's model, at once or gradually, and fine-tune it."""
    config = setting.config
    if config.starts_anew:
        return _prune_while_training(setting, parent, plan, saved_training, on_epoch)
    model = copy.deepcopy(parent.model)
    ramp = distillation = None
    if config.is_gradual:
        parent_masks = weights_left(setting, parent)
        ramp = Ramp(plan.kept_numbers, partial(selection.select, setting), config.regrows, parent_masks)
    if config.distill:
        # The teacher is the network that is pruned: the dense one, unless this is a later level of a chain.
        distillation = Distillation(parent.model, config.distill, config.temperature)
    if config.performance_weighted != "none":
        theta, gamma = map(float, config.performance_weighted.split(","))
        distillation = performance_weighted.distillation(parent.model, theta, gamma)
    fitted = fit_setting(
        setting,
        model,
        setting.pruning.fine_tuning,
        "fine-tuning",
        saved_training,
        on_epoch,
        train=_fine_tuning_images(setting, parent),
        masks=pruning_masks(setting, parent, plan),
        ramp=ramp,
        distillation=distillation,
        weighting=_weighting(setting, parent, ramp),
    )
    return model, fitted


def _weighting(setting: PruneSetting, parent: LoadedRun, ramp: Ramp | None) -> Weighting | None:
    """Return the rule that multiplies losses of images by factors, if the options ask for one."""
    config = setting.config
    if config.class_weights != "none" and config.class_weight_power:
        return class_weights.weighting(_class_weights(setting, parent))
    if not config.dual_step:
        return None
    each_step, classes = config.constraint_images == constraint_names.TRAIN, len(setting.data.classes)
    images = setting.train if each_step else setting.validation
    return constraints.Constrained(
        constraints.measured(config.constraint, parent.model, images, setting.engine, classes),
        classes,
        images.labels.device,
        config.dual_step,
        epoch_steps=number_of_batches(len(setting.train), setting.pruning.fine_tuning.batch_size),
        each_step=each_step,
        first=ramp.last if ramp else 0,
    )


def _class_weights(setting: PruneSetting, parent: LoadedRun) -> pd.DataFrame:
    dense, power = parent.dense.val_predictions, setting.config.class_weight_power
    return class_weights.from_dense(dense, setting.train.labels, setting.data.classes, power)


def _fold_offsets(setting: PruneSetting, parent: LoadedRun, model: nn.Module) -> pd.DataFrame:
    return class_offsets.fold(
        model,
        parent.model,
        setting.validation,
        setting.engine,
        setting.data.classes,
        setting.config.offset_shrinkage,
    )


def _fine_tuning_images(setting: PruneSetting, parent: LoadedRun) -> Examples:
    """Return the images that the parent's model is fine-tuned on. Scores are of all training images, all the same."""
    if setting.config.data_quotas == "none":
        return setting.train
    return setting.images.training(_fine_tuning_indices(setting, parent))


def _fine_tuning_indices(setting: PruneSetting, parent: LoadedRun) -> np.ndarray:
    dense = parent.dense.val_predictions
    recall = class_metrics(dense.label, dense.predicted, len(setting.data.classes)).recall
    return setting.fine_tuning_indices(recall)


def _prune_while_training(
    setting: PruneSetting, parent: LoadedRun, plan: PrunePlan, saved_training: Path | None, on_epoch: OnEpoch
) -> tuple[nn.Module, Fit]:
    """Train the network of the parent's initial weights as the parent was trained, and prune it meanwhile.

    A pruner that prunes nothing leaves the parent's model as it is, for the same training gives the same model.
    """
    if not plan.steps:
        return copy.deepcopy(parent.model), Fit(0, math.nan, pruning_masks(setting, parent, plan))
    model = copy.deepcopy(setting.model).to(setting.device)
    kept_numbers, regrows = plan.kept_numbers, setting.config.regrows
    theta = {name: model.get_parameter(name).detach() for name in setting.prunable}
    ramp: Ramp | Exchange
    if setting.config.is_sparse_from_start:
        numbers = cast(Mapping[int, int], kept_numbers)
        masks = selection.random_masks(setting, theta, numbers[0])
        ramp = selection.exchange(setting, numbers)
    else:
        masks = selection.select(setting, model, theta, kept_numbers[0])
        ramp = Ramp(kept_numbers, partial(selection.select, setting), regrows, trains_pruned=regrows)
    # The same stream as the parent's: batches come in the same order.
    fitted = fit_setting(
        setting, model, setting.pruning.fine_tuning, "dense", saved_training, on_epoch, masks=masks, ramp=ramp
    )
    return model, fitted


def weights_left(setting: PruneSetting, parent: LoadedRun) -> Masks | None:
    """Masks of the prunable weights that the parent has left; None where nothing is pruned yet."""
    if not parent.masks:
        return None
    if foreign := sorted(parent.masks.keys() - set(setting.prunable)):
        if setting.config.keep_layers:
            raise StudyError(
                f"run {parent.run_id} has pruned {foreign[0]}, which these options keep", option="keep_layers"
            )
        raise StudyError(
            f"run {parent.run_id} has pruned the output layer, {foreign[0]}, which these options leave alone: set it",
            option="prune_output_layer",
        )
    return {
        name: parent.masks.get(name, torch.ones_like(parent.model.get_parameter(name), dtype=torch.bool))
        for name in setting.prunable
    }


def _mp_overlap(setting: PruneSetting, parent: LoadedRun, masks: Masks) -> float:
    """Return the share of the kept weights that magnitude pruning keeps too, if it keeps as many of the parent's."""
    own_masks = [masks[name] for name in setting.prunable]
    numbers = [int(mask.sum()) for mask in own_masks]
    scores = [magnitude(parent.model.get_parameter(name).detach()) for name in setting.prunable]
    remaining = weights_left(setting, parent)
    candidates = [remaining[name] for name in setting.prunable] if remaining else None
    kept_weights: int | list[int] = numbers if setting.pruning.scope == "layer" else sum(numbers)
    theirs = PRUNERS["mp"].masks(scores, kept_weights, candidates)
    return sum(int((own & their).sum()) for own, their in zip(own_masks, theirs, strict=True)) / sum(numbers)


def _count(masks: Masks) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def _realized_ratio(setting: PruneSetting, masks: Masks) -> float:
    n_pruned = sum(int((~mask).sum()) for mask in masks.values())
    return setting.budget.total / (setting.budget.total - n_pruned)
