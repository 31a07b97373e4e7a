"""Work out, from the params of published runs (in a study's frames), the steps that train their networks again."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import printable, shortened
from analysis.runs import frames, schema
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.models import checkpoints
from pruning_study.options.config import IterateConfig, PruneConfig, VerifyConfig, of_command
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.steps.context import Context
from pruning_study.steps.iterated import Chain
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning
from pruning_study.study.grid import Config
from pruning_study.study.plan import (
    Source,
    Step,
    chain_steps,
    dense_step,
    plan_of,
    pruned_step,
    source,
    training_params,
)
from pruning_study.training.recipe_values import given_kept_epoch, given_rates, logged_recipe

# Params that have the name of an option, but whose value follows from the network or from other options
_DERIVED = (schema.SPARSITY, schema.KEPT_EPOCH)
# By option: the value that a run logs if the option is not given, or that frames fill in if the run lacks the param
_WITHOUT_VALUE = {
    **dict.fromkeys((schema.TEST_FRACTION, "class_fractions", "gradient_objective"), "none"),
    "gradient_batches": "all",
}


@dataclass(frozen=True)
class PublishedRun:
    """A run of the native engine, as read from frames.

    Parameters
    ----------
    run_id : str
    kind : {"dense", "pruned"}
    params : mapping of str
    """

    run_id: str
    kind: str
    params: Mapping[str, str]


@dataclass(frozen=True)
class PublishedSteps:
    """The steps that make the runs in a study's frames again, so that the new runs can be compared with those.

    Parameters
    ----------
    steps : sequence of Step
        Parents come before their children.
    data : mapping of Source to Dataset
    by_run : mapping of str to Step
        The step that makes each published run again, by run id.
    """

    steps: Sequence[Step]
    data: Mapping[Source, Dataset]
    by_run: Mapping[str, Step]


def published_runs(study: frames.Study, seed: int | None, where: Path) -> list[PublishedRun]:
    """Return the runs of a seed that have the same results on every machine, dense runs first.

    Parameters
    ----------
    study : Study
    seed : int, optional
        If it is None, a StudyError lists the seeds.
    where : Path
        The folder or file of the frames, for error messages.

    Raises
    ------
    StudyError
        If no run of the study has the native engine's arithmetic, or no such run has the seed.
    """
    dense, pruned = (frame[faults == ""] for frame, faults in _faults(study))
    if dense.empty:
        raise StudyError(
            f"{where}: no run has the tag {schema.ARITHMETIC} = {schema.NATIVE_ARITHMETIC}; other networks "
            "differ between machines, so they cannot be verified",
            option="STUDY",
        )
    seeds = sorted(dense[schema.SEED].unique())
    if seed not in seeds:
        has = "give one" if seed is None else f"no network has seed {seed}"
        raise StudyError(f"{has}: {where} has {_ranges(seeds)}", option="seed")
    return [
        PublishedRun(row[id_name], kind, _params(row))
        for kind, frame, id_name in (
            (schema.DENSE, dense, schema.DENSE_RUN_ID),
            (schema.PRUNED, pruned, frames.RUN_ID),
        )
        for row in frame[frame[schema.SEED] == seed].to_dict("records")
    ]


def left_out(study: frames.Study, seed: int | None) -> str:
    """Say how many networks of a seed `published_runs` leaves out, and why; an empty string if it has all."""
    faults = pd.concat([faults[frame[schema.SEED] == seed] for frame, faults in _faults(study)])
    counts = Counter(faults[faults != ""])
    reasons = ", ".join(f"{number:,} {fault}" for fault, number in counts.most_common())
    number = f"{counts.total():,} of {len(faults):,} networks of seed {seed}"
    return f"{number} cannot be compared: {reasons}" if reasons else ""


def _faults(study: frames.Study) -> Iterator[tuple[pd.DataFrame, pd.Series]]:
    """Yield the dense and the other runs, each with the reason why a run cannot be compared, or an empty string."""
    of_dense, of_runs = map(_faults_of_arithmetic, (study.dense_runs, study.runs))
    yield study.dense_runs, of_dense
    ids = study.dense_runs[schema.DENSE_RUN_ID]
    inherited = {
        run_id: fault and f"made from a dense network {fault}" for run_id, fault in zip(ids, of_dense, strict=True)
    }
    of_parents = [inherited.get(run_id, "without their dense network") for run_id in study.runs[schema.DENSE_RUN_ID]]
    of_runs = of_runs.mask(of_runs == "", pd.Series(of_parents, of_runs.index, dtype=object))
    yield study.runs, of_runs.mask(frames.kinds(study.runs) == schema.QUANTIZED, "quantized")


def _faults_of_arithmetic(networks: pd.DataFrame) -> pd.Series:
    values = networks.reindex(columns=[schema.ARITHMETIC])[schema.ARITHMETIC]
    return pd.Series([_fault_of_arithmetic(value) for value in values], networks.index, dtype=object)


def _fault_of_arithmetic(value: Any) -> str:
    if not isinstance(value, str):
        return f"without the tag {schema.ARITHMETIC}"
    return "" if value == schema.NATIVE_ARITHMETIC else f"with {schema.ARITHMETIC} {printable(value)}"


def steps_of(runs: Sequence[PublishedRun], config: VerifyConfig) -> PublishedSteps:
    """Work out the steps that make published runs again.

    Parameters
    ----------
    runs : sequence of PublishedRun
    config : VerifyConfig

    Raises
    ------
    StudyError
        If a run needs a user's own code, if its data set is not on this machine or has other images, if the native
        engine cannot train its network here, or if its params do not determine how it was made.
    """

    data: dict[Source, Dataset] = {}
    unique: dict[str, Step] = {}
    by_run = {}

    @cache
    def planned(options: Config) -> tuple[Pruning, Context]:
        context = load_context(options, data[source(options)])
        return plan_of(options, context), context

    for run in runs:
        options = _config(run, config)
        key = source(options)
        data[key] = data.get(key) or _load(options)
        if data[key].digest != run.params.get(schema.DATASET_DIGEST):
            raise StudyError(f"{data[key].source} does not hold the images of run {run.run_id}", option="data_dir")
        # Steps replace all params that depend on seed or ratio, so one plan serves all seeds and ratios.
        own = {"ratio": (1.0,)} if isinstance(options, PruneConfig) else {}
        plan, context = planned(replace(options, seed=0, **own))  # type: ignore[arg-type]
        _check_params(run, _params_of(run, options, plan))
        if context.engine.arithmetic != schema.NATIVE_ARITHMETIC:
            raise StudyError("the native engine cannot train on this machine, and PyTorch's results differ by machine")
        steps = _steps(run, options, plan)
        for step in steps:
            unique.setdefault(step.config_hash, step)
        by_run[run.run_id] = unique[steps[-1].config_hash]
    return PublishedSteps(tuple(unique.values()), data, by_run)


def _load(options: Config) -> Dataset:
    """Read the data set of these options; the option that a StudyError names is an option of `verify`."""
    try:
        return datasets.load(
            options.dataset,
            data_dir=options.data_dir,
            image_size=options.image_size,
            test_fraction=options.test_fraction,
        )
    except StudyError as error:
        file = options.data_dir / f"{options.dataset.replace('-', '_')}.npz"
        raise StudyError(f"runs need {options.dataset}, as {file}: {error}", option="data_dir") from error


def _steps(run: PublishedRun, options: Config, plan: Pruning) -> list[Step]:
    """Return the steps that lead to a run, the run's own step last."""
    if isinstance(options, IterateConfig):
        assert isinstance(plan, Chain)
        return chain_steps(options, plan)
    dense = dense_step(options, plan.dense)
    return [dense] if run.kind == schema.DENSE else [dense, pruned_step(options, plan, dense)]


def _params_of(run: PublishedRun, options: Config, plan: Pruning) -> Mapping[str, str]:
    """Return the params of the run that these options would make."""
    dense = training_params(options, plan.dense)
    if run.kind == schema.DENSE:
        return dense
    if isinstance(options, IterateConfig):
        assert isinstance(plan, Chain)
        return plan.level(options.iterations - 1, dense).params
    return plan.at(options.ratio[0], dense).params


def _check_params(run: PublishedRun, made: Mapping[str, str]) -> None:
    """Raise a StudyError if the options read from a run's params would make a run with other params."""
    for name in sorted(run.params.keys() | made.keys()):
        published, own = (params.get(name, schema.ABSENT.get(name, "none")) for params in (run.params, made))
        if published != own:
            raise StudyError(
                f"run {run.run_id} cannot be made again from its params: its {name} is {shortened(published)}, but "
                f"would be {shortened(own)}"
            )


def _config(run: PublishedRun, machine: VerifyConfig) -> Config:
    """Return the options that make a run again; raise a StudyError if there are none."""
    where, params = f"run {run.run_id}", run.params
    models.check_built_in(params[schema.MODEL], where, lambda path: f"--model {path} to train")
    if datasets.is_path(params[schema.DATASET]):
        raise StudyError(f"{where} names a path, {shortened(params[schema.DATASET])}, in place of a data set")
    if params.get(schema.PRUNER, schema.CONTROL) not in PRUNERS:
        raise StudyError(f"{where} has a pruner that this project lacks, {shortened(params[schema.PRUNER])}")
    is_level = params.get(schema.KEEP, schema.ABSENT[schema.KEEP]) != schema.ABSENT[schema.KEEP]
    command = "iterate" if is_level else "prune"
    named = [name for name, record in of_command(command).items() if record.param and name not in _DERIVED]
    options: dict[str, Any] = {
        name: params[name] for name in named if name in params and params[name] != _WITHOUT_VALUE.get(name)
    }
    options |= given_kept_epoch(params)
    if recipe := logged_recipe(params):
        options |= given_rates(options, recipe)
    if run.kind == schema.DENSE:
        options |= {schema.PRUNER: schema.CONTROL, schema.FINE_TUNE_EPOCHS: 0}
    if schema.IMAGE_SHAPE in params:
        _, height, width = checkpoints.image_shape(params[schema.IMAGE_SHAPE], where)
        options |= {"image_size": height} if height == width else {}
    options |= {"device": "cpu", "engine": "native", "data_dir": machine.data_dir}
    if is_level:
        return IterateConfig(**options, iterations=int(params[schema.ITERATION]) + 1)
    return PruneConfig(**options)


def _params(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the params of a run from its row, as canonical text."""
    return {frames.param(name): text(row[name]) for name in frames.params(row) if pd.notna(row[name])}


def _ranges(seeds: Sequence[int]) -> str:
    """Return sorted seeds in words, such as `seed 0` or `seeds 0 to 29 and 40`."""
    starts = [seed for seed in seeds if seed - 1 not in seeds]
    ends = [seed for seed in seeds if seed + 1 not in seeds]
    parts = [f"{start}" if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True)]
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(parts)}"
