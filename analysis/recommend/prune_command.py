"""Write the command line that reproduces the networks of a cell."""

import json
import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from analysis.rendering.formats import exact
from analysis.runs import frames, retries, schema
from analysis.runs.options.commands import of_command
from analysis.runs.options.names import ADAM, SPARSE_SCHEDULES
from analysis.runs.options.recipes import RECIPES, RecipeValues, given_rates, recipe_of, trainings
from analysis.runs.options.record import Option
from analysis.runs.options.registry import PRUNERS
from analysis.runs.store_errors import STORE_ERRORS

EMBEDDED = "fashion-mnist-mini"
SIDES = {
    **dict.fromkeys((EMBEDDED, "mnist", "fashion-mnist", "kmnist", "qmnist", "emnist"), 28),
    **dict.fromkeys(("svhn", "cifar10", "cifar100"), 32),
}
# Values of `auto` options in runs of the protocol `paper`; other protocols have other values.
PAPER_DEFAULTS = {"gradient_objective": "regularized", "gradient_mode": "eval"}
_OF_OPTIMIZER = {schema.MOMENTUM, schema.LEARNING_RATE, schema.FINE_TUNE_LEARNING_RATE}
_ALWAYS = {schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO}
# Values that mean that an option was not given
_NOTHING = {"none", "all"}


def prune_command(cell: pd.DataFrame, experiment: str | None = None, *, tracking_uri: str | None = None) -> str:
    """Return the call of `pruning-study prune` or `iterate` that makes the runs of a cell.

    Parameters
    ----------
    cell : DataFrame
        Runs that differ only in the seed, as `pull.pull_runs` returns them.
    experiment : str, optional
        The experiment that contains the runs. By default, the command names none.
    tracking_uri : str, optional
        By default MLflow's current one.

    Returns
    -------
    str
        The call, with data set, model, pruner and ratio, and each other option whose value differs from the default. If
        the dense networks were given as files of weights, the call prunes the first of them. For a level of iterative
        pruning, that level is the call's last iteration. The string is empty if `prune` pruned the networks several
        times, because no single call makes them.
    """
    params = {frames.param(name): value for name, value in cell.iloc[0].items() if pd.notna(value)}
    is_level = params.get(schema.KEEP, "none") != "none"
    iteration = int(params.get(schema.ITERATION, 1))
    if iteration > 1 and not is_level:
        return ""
    own_options = _differing_options(params, is_level=is_level)
    if is_level:
        own_options["iterations"] = str(iteration + 1)  # the dense network counts as the first
    if (dataset := own_options.get(schema.DATASET)) and dataset != EMBEDDED:
        own_options[schema.DATASET] = _source(dataset, cell[frames.RUN_ID].iloc[0], tracking_uri)
    if schema.WEIGHTS_DIGEST in params:
        own_options["dense_run_id"] = str(params[schema.DENSE_RUN_ID])
    else:
        own_options[schema.SEED] = _seeds(sorted({int(seed) for seed in cell[schema.SEED]}))
    if experiment:
        own_options["experiment"] = experiment
    options = (f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in own_options.items())
    return " ".join([f"pruning-study {'iterate' if is_level else 'prune'}", *options])


def _differing_options(params: Mapping[str, Any], *, is_level: bool) -> dict[str, str]:
    """Return the options in `_ALWAYS` and those that differ from their defaults, as a user would type them."""
    records = _logged_options("iterate" if is_level else "prune")
    values = {name: _as_typed(name, params[name]) for name in records if name in params}
    recipe = RECIPES.get(values.get(schema.RECIPE, _own_recipe(records, values)))
    defaults = _defaults(records, values, recipe)
    if recipe:
        values |= given_rates(values, recipe)
    if values.get(schema.START) == schema.INITIALIZATION and values[schema.SCHEDULE] not in SPARSE_SCHEDULES:
        del values[schema.SCHEDULE]  # the start implies it
    options = {
        name: value
        for name, value in values.items()
        if name in _ALWAYS or (value != defaults.get(name) and (value not in _NOTHING or records[name].auto_follows))
    }
    height, _, width = str(params.get(schema.IMAGE_SHAPE, "")).partition("x")[2].partition("x")
    if height and height == width and str(SIDES.get(str(params[schema.DATASET]))) != height:
        options["image_size"] = height
    return options


def _logged_options(command: str) -> dict[str, Option]:
    """Return a command's options that runs log as settings, which excludes the seed."""
    records = of_command(command)
    return {name: record for name, record in records.items() if record.param and record.param.role == "setting"}


def _own_recipe(records: Mapping[str, Option], values: Mapping[str, str]) -> str:
    """Return the recipe that applies if no option gives one."""
    record = records[schema.RECIPE]
    return recipe_of(values.get(schema.MODEL, "")) if record.is_auto else record.default


def _defaults(records: Mapping[str, Option], values: Mapping[str, str], recipe: RecipeValues | None) -> dict[str, str]:
    """Return the values that runs log for options that are not given, as far as known."""
    defaults = {name: schema.text(record.value) for name, record in records.items() if not record.is_auto}
    autos = {name: record.param.legacy_default for name, record in records.items() if record.is_auto and record.param}
    defaults |= {name: value for name, value in autos.items() if value is not None}
    weight_decay, batch_size, momentum = (
        (recipe.weight_decay, recipe.batch_size, recipe.momentum) if recipe else (0.0, 128, 0.9)
    )
    pruner = values.get(schema.PRUNER, "")
    defaults |= {
        schema.RECIPE: _own_recipe(records, values),
        schema.BATCH_SIZE: schema.text(batch_size),
        schema.MOMENTUM: schema.text(momentum),
        schema.SCOPE: PRUNERS[pruner].scope if pruner in PRUNERS else "",  # a user's own pruner may have any scope
        "regrow": schema.text(values.get(schema.START) == schema.INITIALIZATION),
    }
    source_of = {name: record.auto_follows for name, record in records.items() if record.auto_follows}
    defaults |= {name: values.get(source, defaults[source]) for name, source in source_of.items()}
    if values.get(schema.PROTOCOL, "paper") == "paper":
        own_decay = values.get(schema.WEIGHT_DECAY, schema.text(weight_decay))
        own_epsilon = own_decay if own_decay != "0.0" else str(schema.PAPERS_EPSILON)
        defaults |= PAPER_DEFAULTS | {schema.WEIGHT_DECAY: schema.text(weight_decay), schema.EPSILON: own_epsilon}
    if recipe:
        for training in trainings(recipe):
            defaults |= {training.epochs: str(sum(training.lengths)), training.learning_rate: training.rates[0]}
    if values.get(schema.OPTIMIZER) == ADAM:  # Adam does not use the recipe's values
        defaults = {name: value for name, value in defaults.items() if name not in _OF_OPTIMIZER}
    return defaults


def _as_typed(name: str, value: Any) -> str:
    return exact(value) if name == schema.RATIO else schema.canonical(name, str(value))


def _seeds(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _source(dataset: str, run_id: str, tracking_uri: str | None) -> str:
    """Return the file or folder that a run's data set was read from, or the data set's name if that suffices."""
    folder = Path(os.environ.get("PRUNING_STUDY_DATA") or "data")
    own, usual = (folder / f"{name}.npz" for name in (dataset, dataset.replace("-", "_")))
    named = usual if usual.exists() else own
    with suppress(*STORE_ERRORS, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError):
        run = retries.client(tracking_uri or mlflow.get_tracking_uri()).get_run(run_id)
        inputs = run.inputs.dataset_inputs if run.inputs else []
        uri = json.loads(inputs[0].dataset.source)["uri"]
        if Path(uri).exists() and Path(uri).resolve() != named.resolve():
            return str(uri)
    return dataset
