"""The command line that makes the networks of a cell."""

import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from analysis.rendering.formats import exact
from analysis.runs import frames, retries, schema
from analysis.runs.store_errors import STORE_ERRORS

IMAGE_SIZE = "image_size"
EMBEDDED = "fashion-mnist-mini"
# What `prune` does unless an option says otherwise; tests hold these to the options, the recipes and the data sets.
DEFAULTS = {
    schema.PROTOCOL: "paper",
    schema.VALIDATION_FRACTION: "0.1",
    schema.TEST_FRACTION: "none",
    schema.CLASS_FRACTIONS: "none",
    schema.DECAY: "none",
    schema.AVERAGE_EPOCHS: "0",
    schema.PRECISION: schema.FLOAT32,
    schema.PRUNE_OUTPUT_LAYER: "false",
    schema.SCOPE: "global",
    schema.START: "dense",
    schema.SCHEDULE: "one-shot",
    schema.RAMP: "0.5",
    schema.RAMP_STEPS: "1",
    schema.REGROW: "false",
    schema.DISTILL: "0.0",
    schema.TEMPERATURE: "2.0",
    schema.DATA_QUOTAS: "none",
    schema.DATA_DENSITY: "0.5",
    schema.PERFORMANCE_WEIGHTED: "none",
    schema.CONSTRAINT: "none",
    schema.CONSTRAINT_IMAGES: "train",
    schema.CLASS_WEIGHTS: "none",
    schema.CLASS_WEIGHT_POWER: "1.0",
    schema.CLASS_OFFSETS: "none",
    schema.OFFSET_SHRINKAGE: "1.0",
}
# What `iterate` does where `prune` has another default, or no such option
ITERATE_DEFAULTS = {
    schema.RECIPE: "prune-responsibly",
    schema.VALIDATION_FRACTION: "0.2",
    schema.KEEP: "0.8",
    schema.WEIGHT_TREATMENT: schema.FINETUNE,
    schema.REWIND_STEP: "0",
}
# What else it does by the protocol `paper`. Another protocol has further defaults of its own.
PAPER = {schema.GRADIENT_OBJECTIVE: "regularized", schema.GRADIENT_MODE: "eval"}
# Of each recipe, epochs and learning rates of the phases of training and of fine-tuning, weight decay, batch size and
# momentum.
RECIPES = {
    "lenet5": ("30x0.01", "15x0.01", "0.0", "128", "0.9"),
    "resnet-cifar": (
        *("10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001", "10x0.1 5x0.01 5x0.001 5x0.0001"),
        *("0.0005", "128", "0.9"),
    ),
    "wide-resnet": ("77x0.1 77x0.02 51x0.004", "20x0.02 20x0.004", "0.0005", "128", "0.9"),
    "imagenet": ("5x0.2 25x0.4 30x0.04 20x0.004 10x0.0004", "5x0.04 5x0.004", "0.0001", "1024", "0.9"),
    "celeba": ("5x0.1 6x0.01 3x0.001 2x0.0001", "2x0.01 2x0.001", "0.0001", "256", "0.9"),
    "prune-responsibly": ("30x0.01", "30x0.01", "0.0", "32", "0.0"),
    "lottery": (
        *("13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001"),
        *("0.0005", "128", "0.9"),
    ),
}
_PHASES = (
    (schema.EPOCHS, schema.LEARNING_RATE),
    (schema.FINE_TUNE_EPOCHS, schema.FINE_TUNE_LEARNING_RATE),
)
SIDES = {
    **dict.fromkeys((EMBEDDED, "mnist", "fashion-mnist", "kmnist", "qmnist", "emnist"), 28),
    **dict.fromkeys(("svhn", "cifar10", "cifar100"), 32),
}
# The recipe of a model of this project, where it is not that of LeNet5.
OWN_RECIPES = {
    **{f"resnet{depth}": "resnet-cifar" for depth in (18, 20, 32, 44, 56, 110)},
    **dict.fromkeys(("wrn16-4", "wrn22-8", "wrn28-10"), "wide-resnet"),
}
# Options of `prune` that runs log, in the order of the command.
OPTIONS = (
    schema.DATASET,
    schema.MODEL,
    schema.RECIPE,
    schema.PROTOCOL,
    schema.EPOCHS,
    schema.BATCH_SIZE,
    schema.LEARNING_RATE,
    schema.MOMENTUM,
    schema.WEIGHT_DECAY,
    schema.DECAY,
    schema.KEPT_EPOCH,
    schema.AVERAGE_EPOCHS,
    schema.VALIDATION_FRACTION,
    schema.TEST_FRACTION,
    schema.CLASS_FRACTIONS,
    schema.PRECISION,
    schema.PRUNER,
    schema.RATIO,
    schema.SCOPE,
    schema.EPSILON,
    schema.GRADIENT_OBJECTIVE,
    schema.GRADIENT_BATCHES,
    schema.GRADIENT_MODE,
    schema.FINE_TUNE_EPOCHS,
    schema.FINE_TUNE_LEARNING_RATE,
    schema.FINE_TUNE_DECAY,
    schema.FINE_TUNE_AVERAGE_EPOCHS,
    schema.PRUNE_OUTPUT_LAYER,
    schema.START,
    schema.BEGIN,
    schema.END,
    schema.FREQUENCY,
    schema.SCHEDULE,
    schema.RAMP,
    schema.RAMP_STEPS,
    schema.REGROW,
    schema.DISTILL,
    schema.TEMPERATURE,
    schema.DATA_QUOTAS,
    schema.DATA_DENSITY,
    schema.PERFORMANCE_WEIGHTED,
    schema.CONSTRAINT,
    schema.CONSTRAINT_IMAGES,
    schema.CONSTRAINT_STEP,
    schema.CLASS_WEIGHTS,
    schema.CLASS_WEIGHT_POWER,
    schema.CLASS_OFFSETS,
    schema.OFFSET_SHRINKAGE,
)
# Options of `iterate` that levels of iterative pruning log, in the order of the command.
ITERATE_OPTIONS = (
    *OPTIONS[: OPTIONS.index(schema.RATIO)],
    schema.KEEP,
    schema.WEIGHT_TREATMENT,
    schema.REWIND_STEP,
    schema.SCOPE,
    schema.EPSILON,
    schema.GRADIENT_OBJECTIVE,
    schema.GRADIENT_BATCHES,
    schema.GRADIENT_MODE,
    schema.PRUNE_OUTPUT_LAYER,
)
_ALWAYS = {schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO}
# What runs log for a value that no option asks for.
_NOTHING = {"none", "all"}


def prune_command(cell: pd.DataFrame, experiment: str | None = None, *, tracking_uri: str | None = None) -> str:
    """Return the call of `pruning-study prune` or `iterate` that makes the runs of a cell, or finds them.

    Parameters
    ----------
    cell : DataFrame
        Runs that differ in the seed alone, as `pull.runs` returns them.
    experiment : str, optional
        The experiment that holds the runs; MLflow's current one needs no option.
    tracking_uri : str, optional
        By default MLflow's current one.

    Returns
    -------
    str
        It names each option whose value differs from the default. If the networks were given as files of weights, it
        prunes the first of them. It is empty for networks that `prune` pruned several times: no single call makes
        them. A level of iterative pruning is the last iteration of its call.
    """
    params = {frames.param(name): value for name, value in cell.iloc[0].items() if pd.notna(value)}
    is_level = params.get(schema.KEEP, "none") != "none"
    iteration = int(params.get(schema.ITERATION, 1))
    if iteration > 1 and not is_level:
        return ""
    given = _given(params, is_level=is_level)
    if is_level:
        given["iterations"] = str(iteration + 1)  # the dense network is the first
    if given.get(schema.DATASET) != EMBEDDED and (source := _source(cell[frames.RUN_ID].iloc[0], tracking_uri)):
        given[schema.DATASET] = source
    if schema.WEIGHTS_DIGEST in params:
        given["dense_run_id"] = str(params[schema.DENSE_RUN_ID])
    else:
        given[schema.SEED] = _seeds(sorted({int(seed) for seed in cell[schema.SEED]}))
    if experiment:
        given["experiment"] = experiment
    options = (f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given.items())
    return " ".join([f"pruning-study {'iterate' if is_level else 'prune'}", *options])


def _given(params: Mapping[str, Any], *, is_level: bool) -> dict[str, str]:
    """Return the options that differ from the defaults, as typed."""
    own_recipe = OWN_RECIPES.get(str(params.get(schema.MODEL)), "lenet5")
    if is_level:
        own_recipe = ITERATE_DEFAULTS[schema.RECIPE]
    unknown = ("", "", "0.0", "128", "0.9")
    *recipe, decay, batch_size, momentum = RECIPES.get(str(params.get(schema.RECIPE, own_recipe)), unknown)
    values = {name: _typed(name, params[name]) for name in (ITERATE_OPTIONS if is_level else OPTIONS) if name in params}
    of_recipe = {schema.WEIGHT_DECAY: decay, schema.BATCH_SIZE: batch_size, schema.MOMENTUM: momentum}
    defaults = {schema.RECIPE: own_recipe, **of_recipe, **DEFAULTS, **(ITERATE_DEFAULTS if is_level else {})}
    if values.get(schema.PROTOCOL, "paper") == "paper":
        own_decay = values.get(schema.WEIGHT_DECAY, decay)
        defaults |= {**PAPER, schema.EPSILON: own_decay if own_decay != "0.0" else str(schema.PAPERS_EPSILON)}
    else:
        del defaults[schema.WEIGHT_DECAY]
    if ":" in str(params.get(schema.PRUNER)):
        del defaults[schema.SCOPE]  # a pruner from elsewhere may have another
    if params.get(schema.PRUNER) in schema.BY_LAYER:
        defaults[schema.SCOPE] = "layer"
    if values.get(schema.START) == schema.INITIALIZATION:
        del values[schema.SCHEDULE]  # the start implies it
        defaults[schema.REGROW] = "true"
    for phases, (epochs, rate) in zip(recipe, _PHASES, strict=True):
        if phases:
            lengths, rates = zip(*(phase.split("x") for phase in phases.split()), strict=True)
            defaults |= {epochs: str(sum(map(int, lengths))), rate: rates[0]}
            if rate in values:
                values[rate] = _first_rate(values[rate], lengths, rates, values.get(epochs, defaults[epochs]))
    defaults[schema.FINE_TUNE_DECAY] = values.get(schema.DECAY, "none")
    defaults[schema.FINE_TUNE_AVERAGE_EPOCHS] = values.get(schema.AVERAGE_EPOCHS, "0")
    given = {
        name: value
        for name, value in values.items()
        if name in _ALWAYS
        or (value != defaults.get(name) and (value not in _NOTHING or name == schema.FINE_TUNE_DECAY))
    }
    height, _, width = str(params.get(schema.IMAGE_SHAPE, "")).partition("x")[2].partition("x")
    if height and height == width and str(SIDES.get(str(params[schema.DATASET]))) != height:
        given[IMAGE_SIZE] = height
    return given


def _first_rate(logged: str, lengths: Sequence[str], rates: Sequence[str], epochs: str) -> str:
    """Return the learning rate that the option gives to a recipe's first phase.

    Runs log the learning rate of the first phase that is left when few epochs are shared among the phases.
    """
    with suppress(ValueError):
        total = sum(map(int, lengths))
        for end, rate in zip(accumulate(map(int, lengths)), rates, strict=True):
            if math.floor(end * int(epochs) / total + 0.5) > 0:
                return schema.text(float(f"{float(logged) * float(rates[0]) / float(rate):.12g}"))
    return logged


def _typed(name: str, value: Any) -> str:
    return exact(value) if name == schema.RATIO else schema.canonical(name, str(value))


def _seeds(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _source(run_id: str, tracking_uri: str | None) -> str:
    """Return the file or folder that a run's data set was read from, empty if the data set is found by its name."""
    folder = Path(os.environ.get("PRUNING_STUDY_DATA") or "data")
    with suppress(*STORE_ERRORS, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError):
        run = retries.client(tracking_uri or mlflow.get_tracking_uri()).get_run(run_id)
        inputs = run.inputs.dataset_inputs if run.inputs else []
        uri = json.loads(inputs[0].dataset.source)["uri"]
        if Path(uri).exists() and Path(uri).resolve().parent != folder.resolve():
            return str(uri)
    return ""
