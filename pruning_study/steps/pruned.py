"""Train and prune: each found in the tracking store, or made."""

import copy
import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from analysis.runs import schema
from analysis.statistics import class_metrics, intensification
from pruning_study.models import checkpoints
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.schedules import Ramp
from pruning_study.steps import pictures, selection
from pruning_study.steps.dense import Dense
from pruning_study.steps.identity import PRUNED_ARTIFACTS, pruned_hash
from pruning_study.steps.measured import (
    final_metrics,
    fit_setting,
    log_fit,
    per_class_table,
    run_tags,
    write_evaluation,
)
from pruning_study.steps.settings import PruneSetting
from pruning_study.tracking.store import Store
from pruning_study.training.distillation import Distillation
from pruning_study.training.evaluation import Predictions, both_right, predict
from pruning_study.training.loop import Fit, OnEpoch, ignore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruned:
    """A pruned run.

    Parameters
    ----------
    run_id : str
    found : bool
        Whether it was there already.
    ratio : float
    metrics : dict of float
        Final ones.
    """

    run_id: str
    found: bool
    ratio: float
    metrics: dict[str, float]


def prune(store: Store, job_run_id: str, setting: PruneSetting, dense: Dense, ratio: float) -> Pruned:
    """The dense model pruned at a ratio, and fine-tuned where it has epochs for it: found in the store, or made.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for it.
    setting : PruneSetting
    dense : Dense
    ratio : float
        One of the setting's.

    Raises
    ------
    StudyError
        Where scores are not finite, fine-tuning diverges, or the store does not take the run.
    """
    params = setting.pruned_params(dense.params, ratio)
    config_hash = pruned_hash(params, dense.config_hash)
    with store.making(config_hash):
        for run in [] if setting.config.force else store.find(config_hash):
            # The same settings may have made several dense runs: one that is asked for by its id is the one meant.
            if setting.config.dense_run_id and run.data.tags.get(schema.DENSE_RUN_ID) != dense.run_id:
                continue
            if missing := store.missing(run.info.run_id, PRUNED_ARTIFACTS):
                log.warning("pruned run %s lacks %s, and is made again", run.info.run_id, ", ".join(missing))
                continue
            return Pruned(run.info.run_id, True, ratio, final_metrics(run.data.metrics))
        return _prune(store, job_run_id, setting, dense, ratio, params, config_hash)


def _prune(
    store: Store,
    job_run_id: str,
    setting: PruneSetting,
    dense: Dense,
    ratio: float,
    params: dict[str, str],
    config_hash: str,
) -> Pruned:
    start = time.perf_counter()
    saved = store.saved_training(config_hash)
    name = setting.pruned_name(ratio)
    fine_tuned = " and fine-tuned" if setting.fine_tuning.epochs else ""
    with store.run(
        name,
        note=f"Dense run {dense.run_id}, pruned by {setting.method} at ratio {ratio:g}{fine_tuned}",
        tags=run_tags(schema.PRUNED, config_hash, setting) | {schema.DENSE_RUN_ID: dense.run_id},
        params=params,
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=True,
    ) as run:
        model, fitted = _pruned(setting, dense, ratio, saved, run.epoch)
        log_fit(run, fitted)
        predictions, val_predictions, metrics = write_evaluation(run, setting, model)
        checkpoints.save(run.folder / schema.MASK, fitted.masks)
        pruned = sum(int((~mask).sum()) for mask in fitted.masks.values())
        metrics[schema.REALIZED_RATIO] = setting.budget.total / (setting.budget.total - pruned)
        metrics |= _distortion(dense, predictions, val_predictions, setting.data.classes)
        pictures.recall_change(
            per_class_table(dense.predictions, setting.data.classes),
            per_class_table(predictions, setting.data.classes),
            accuracy=(dense.predictions.accuracy, predictions.accuracy),
            alpha=metrics.get(schema.ALPHA, np.nan),
            title=name,
        ).savefig(run.folder / schema.RECALL_PICTURE)
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return Pruned(run.run_id, False, ratio, metrics)


def trial(setting: PruneSetting, dense: Dense, ratio: float) -> Predictions:
    """What the model that `prune` makes predicts for the validation images; no run, and no test image.

    Parameters
    ----------
    setting : PruneSetting
    dense : Dense
    ratio : float

    Raises
    ------
    StudyError
        Where scores are not finite, or fine-tuning diverges.
    """
    model, _ = _pruned(setting, dense, ratio)
    return predict(model, setting.validation, setting.engine)[0]


def pruning_masks(setting: PruneSetting, dense: Dense, ratio: float) -> Masks:
    """Which weights are kept from the start: all that ever are, where pruning is not gradual.

    Parameters
    ----------
    setting : PruneSetting
    dense : Dense
    ratio : float

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight

    Raises
    ------
    StudyError
        Where a score is NaN or infinite.
    """
    theta = {name: dense.model.get_parameter(name).detach() for name in setting.prunable}
    return selection.select(setting, dense.model, theta, setting.kept_numbers(ratio)[0], gradient=dense.gradient)


def _pruned(
    setting: PruneSetting, dense: Dense, ratio: float, saved: Path | None = None, on_epoch: OnEpoch = ignore
) -> tuple[nn.Module, Fit]:
    """The dense model pruned, at once or gradually, and fine-tuned."""
    model = copy.deepcopy(dense.model)
    config = setting.config
    ramp = distillation = None
    if config.is_gradual:
        ramp = Ramp(config.ramp_steps, setting.kept_numbers(ratio), partial(selection.select, setting), config.regrow)
    if config.distill:
        distillation = Distillation(dense.model, config.distill, config.temperature)
    fitted = fit_setting(
        setting,
        model,
        setting.fine_tuning,
        "fine-tuning",
        saved,
        on_epoch,
        masks=pruning_masks(setting, dense, ratio),
        ramp=ramp,
        distillation=distillation,
    )
    return model, fitted


def _distortion(
    dense: Dense, predictions: Predictions, val_predictions: Predictions, classes: tuple[str, ...]
) -> dict[str, float]:
    """Alpha on test and validation images, where defined, and the share of each class right before and after."""
    shares = both_right(dense.predictions, predictions, len(classes))
    slopes = {
        schema.ALPHA: _alpha(dense.predictions, predictions, len(classes)),
        schema.VAL_ALPHA: _alpha(dense.val_predictions, val_predictions, len(classes)),
    }
    return {name: slope for name, slope in slopes.items() if np.isfinite(slope)} | {
        schema.BOTH_RIGHT + name: float(share) for name, share in zip(schema.metric_names(classes), shares, strict=True)
    }


def _alpha(before: Predictions, after: Predictions, classes: int) -> float:
    balances = (
        intensification.recall_balance(
            class_metrics.class_metrics(part.label, part.predicted, classes).recall, part.accuracy
        )
        for part in (before, after)
    )
    return float(intensification.alpha(*balances))
