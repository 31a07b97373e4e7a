"""Take options from a run that the user names by its id."""

from collections.abc import Collection, Mapping
from dataclasses import Field, fields, replace
from typing import Any, TypeVar

from mlflow.entities import Run

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.models import checkpoints
from pruning_study.options.config import IterateConfig, PruneConfig, TrainConfig, of_command
from pruning_study.steps.context import Context
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import TrainPlan, plan_training
from pruning_study.tracking.store import Store
from pruning_study.training.recipe_values import given_kept_epoch, given_rates, logged_recipe

# Options that `--dense-run-id` takes from the params of the dense run.
FOLLOWED = {name for name, record in of_command("train").items() if record.param}
# Followed options that do not apply to a network whose weights were given.
_OF_TRAINING = {"decay", "average_epochs", schema.KEPT_EPOCH, schema.OPTIMIZER}
Config = TypeVar("Config", TrainConfig, PruneConfig, IterateConfig)


class Follower:
    """Plan the dense networks of runs; the data set read last is kept, because the next run often uses it too."""

    def __init__(self, store: Store, options: TrainConfig) -> None:
        self._store, self._options = store, options
        self._data: tuple[object, Dataset] | None = None

    def follow(self, run: Run) -> tuple[TrainPlan, Context]:
        """Plan the training of the dense run at the root of a run, load its data, and build its untrained network.

        Raises
        ------
        StudyError
            If the run names no dense run, or if the data or the model of its dense run cannot be loaded.
        """
        root = run
        if run.data.tags.get(schema.KIND) != schema.DENSE:
            if schema.DENSE_RUN_ID not in run.data.tags:
                raise StudyError(f"run {run.info.run_id} names no dense run")
            root = self._store.get(run.data.tags[schema.DENSE_RUN_ID])
        options = following(self._options, root, option=None)
        source = options.dataset, options.image_size, options.test_fraction
        context = load_context(options, self._data[1] if self._data and self._data[0] == source else None)
        self._data = source, context.data
        return plan_training(options, context), context


def finished_run(store: Store, run_id: str, kinds: Collection[str]) -> Run:
    """Return a run that the user names, after a check of its status and kind.

    Raises
    ------
    StudyError
        If the run is not finished, has a different kind, or is deleted.
    """
    run = store.get(run_id)
    check_finished(run, kinds)
    return run


def following(options: Config, dense: Run, option: str | None = "dense_run_id") -> Config:
    """Return options whose values for the dense model come from a dense run.

    Parameters
    ----------
    options : TrainConfig, PruneConfig or IterateConfig
    dense : mlflow.entities.Run
    option : str, optional
        The option that named the run, for error messages.

    Raises
    ------
    StudyError
        If the run is not a finished dense run, if an option contradicts the run, or if the run's model or data set is
        the user's own and the options do not name it.
    """
    where, params = f"dense run {dense.info.run_id}", _given(dense)
    check_finished(dense, [schema.DENSE], option)
    if options.weights:
        raise StudyError("the dense run already has weights: leave this option out", option="weights")
    is_given = schema.WEIGHTS_DIGEST in params
    needs_initial_weights = {
        "start": isinstance(options, PruneConfig) and options.starts_anew,
        "weight_treatment": isinstance(options, IterateConfig) and options.rewinds,
    }
    for name, needs in needs_initial_weights.items():
        if needs and is_given:
            raise StudyError(f"{where} was not trained here, so its initial weights are not known", option=name)
    followed: dict[str, Any] = {}
    for item in fields(options):
        if item.name not in FOLLOWED:
            continue
        has_default = item.name in schema.ABSENT and not (is_given and item.name in _OF_TRAINING)
        if item.name not in params and not has_default:
            continue
        dense_value: Any = item.default
        if item.name in params:
            dense_value = _followed(item, params[item.name], where, option)
        value = getattr(options, item.name)
        logged_value = datasets.dataset_name(value) if item.name == schema.DATASET else value
        if value != item.default:
            if logged_value not in (dense_value, dense.data.params.get(item.name)):
                has = "none" if dense_value is None else text(dense_value)
                raise StudyError(
                    f"{text(value)} contradicts {where}, which has {has}: leave this option out", option=item.name
                )
            continue
        if item.name == schema.MODEL:
            models.check_built_in(dense_value, where, lambda path: f"--model {path}", option=models.OPTION)
        if item.name == schema.DATASET and datasets.is_path(dense_value):
            raise StudyError(
                f"{where} names the path {shortened(dense_value)} as its data set: give this data set", option="dataset"
            )
        followed[item.name] = dense_value
    if schema.IMAGE_SHAPE in params:
        _, height, width = checkpoints.image_shape(params[schema.IMAGE_SHAPE], where, option=option)
        if options.image_size is None and height == width:
            followed["image_size"] = height
    return replace(options, **followed)


def with_followed(options: Mapping[str, str], named_run: Run | None) -> dict[str, str]:
    """Return the options as typed, with the values for the dense model taken from the run that they name, if any."""
    given = _given(named_run) if named_run else {}
    return {name: given.get(name, typed) if name in FOLLOWED else typed for name, typed in options.items()}


def _given(run: Run) -> dict[str, str]:
    """Return the params of a run, with learning rates and the kept epoch as options give them."""
    params = run.data.params
    recipe = logged_recipe(params)
    others = {name: value for name, value in params.items() if name != schema.KEPT_EPOCH}
    return {**others, **given_kept_epoch(params), **(given_rates(params, recipe) if recipe else {})}


def check_finished(run: Run, kinds: Collection[str], option: str | None = None) -> None:
    """Check that a run which the user names is a finished run of one of the kinds.

    Raises
    ------
    StudyError
        If the run is not finished, has a different kind, or is deleted.
    """
    run_id, kind = run.info.run_id, run.data.tags.get(schema.KIND, "unknown")
    if kind not in kinds or run.info.status != "FINISHED":
        root = run.data.tags.get(schema.DENSE_RUN_ID)
        is_known = root and kind not in kinds and schema.DENSE in kinds
        hint = f"its dense run is {shortened(str(root))[1:-1]}" if is_known else "name one that is"
        *first_kinds, last = kinds
        kind_names = f"{', '.join(first_kinds)} or {last}" if first_kinds else last
        raise StudyError(
            f"run {run_id} is not a finished {kind_names} run (kind {shortened(kind)[1:-1]}, {run.info.status}): "
            f"{hint}",
            option=option,
        )
    if run.info.lifecycle_stage != "active":
        raise StudyError(f"run {run_id} is deleted: mlflow runs restore --run-id {run_id}", option=option)


def _followed(item: Field[Any], param: str, where: str, option: str | None) -> Any:
    """Return an option's value from a dense run's param."""
    try:
        return item.metadata["option"].check(param)
    except ValueError as error:
        raise StudyError(f"{where}: its param {item.name}: {error}", option=option) from None
