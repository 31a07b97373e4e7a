"""Plan the steps of a study, each identified by the hash of its run."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.primaries import Primary
from analysis.runs.schema import text
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import IterateConfig, PruneConfig, StudyConfig, TrainConfig
from pruning_study.steps import known_images
from pruning_study.steps.context import Context
from pruning_study.steps.identity import ARTIFACTS, config_hash
from pruning_study.steps.iterated import Chain, plan_chain
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import PrunePlan, Pruning, TrainPlan, plan_pruning, with_ratios
from pruning_study.study import grid
from pruning_study.study.grid import Config, Grid, GridCell
from pruning_study.tracking.connect import DEFAULT_EXPERIMENT_ID
from pruning_study.tracking.store import Store

Source = tuple[str, int | None, float | None]  # data set as given, image size, test fraction


@dataclass(frozen=True)
class Step:
    """A run that a study needs.

    Parameters
    ----------
    kind : {"dense", "pruned"}
    config : PruneConfig or IterateConfig
        Options of the run, with one ratio; for iterative pruning, the options for all levels. A dense run has the
        config of the first run that is pruned from it.
    parent_hash : str
        Hash of the run that this one starts from; empty for a dense run.
    config_hash : str
        Hash of the run itself. If the data set is not on this machine, all hashes are empty.
    iteration : int
        Number of prunings since the dense run, including this run's.
    """

    kind: str
    config: Config
    parent_hash: str = ""
    config_hash: str = ""
    iteration: int = 0

    @property
    def name(self) -> str:
        config = self.config
        is_dense = self.kind == schema.DENSE
        precision = "" if config.precision == schema.FLOAT32 else f" {config.precision}"
        amount = "" if is_dense or isinstance(config, IterateConfig) else f" {config.amounts[0]}"
        work = f"{'dense' if is_dense else config.method}{precision}{amount}"
        is_level = self.iteration > 1 or (self.iteration and isinstance(config, IterateConfig))
        again = f" iteration {self.iteration}" if is_level else ""
        return f"{self.dataset} {config.model} {work}{again} seed {config.seed}"

    @property
    def dataset(self) -> str:
        return datasets.dataset_name(self.config.dataset)


@dataclass(frozen=True)
class StudyPlan:
    """The steps of a study, parents before their children, with its data sets and primary comparisons."""

    name: str
    steps: tuple[Step, ...]
    data: Mapping[Source, Dataset]
    primaries: tuple[Primary, ...] = ()


def source(config: TrainConfig) -> Source:
    """Return the key of a config's data set; configs with equal keys use the same data."""
    return config.dataset, config.image_size, config.test_fraction


def training_options(config: Config) -> TrainConfig:
    """Return the options of a config that its dense network has."""
    return TrainConfig(**{item.name: getattr(config, item.name) for item in fields(TrainConfig)})


def read(file: Path, config: StudyConfig) -> Grid:
    """Read a study's file, and apply the command's options to all its cells."""
    names = ("device", "engine", "data_dir")
    options = {name: getattr(config, name) for name in names}
    return grid.read(file, options | ({"protocol": config.protocol} if config.protocol else {}))


def experiment(grid_read: Grid, config: StudyConfig) -> str | None:
    """Return the experiment of a study's runs; None for the one that MLflow's environment variables name.

    The option `--experiment` has precedence, then the variables, then the study's file. `mlflow run` also sets the
    variables; if its caller named no experiment, they name MLflow's experiment Default, and the study's file decides.
    """
    if config.experiment:
        return config.experiment
    if os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return None
    is_job = bool(os.environ.get("MLFLOW_RUN_ID"))
    unnamed = DEFAULT_EXPERIMENT_ID if is_job else None
    return grid_read.experiment if os.environ.get("MLFLOW_EXPERIMENT_ID") == unnamed else None


def plan(grid_read: Grid, *, download: bool) -> StudyPlan:
    """Work out the steps of a grid.

    Parameters
    ----------
    grid_read : Grid
    download : bool
        Whether to download data sets that are not on this machine. Steps whose data set is missing have no hash.

    Raises
    ------
    StudyError
        If the file, a data set or a model has a fault, or if a ratio cannot be attained. The error lists all faults.
    """
    faults: list[str] = []
    data = _data(grid_read.cells, faults, download=download and not grid_read.faults)

    @cache
    def planned(config: Config) -> Pruning:
        return plan_of(config, load_context(config, data[source(config)]))

    def steps(config: Config) -> list[Step]:
        if source(config) not in data:
            levels = config.iterations if isinstance(config, IterateConfig) else 2
            return [
                Step(schema.PRUNED if iteration else schema.DENSE, config, iteration=iteration)
                for iteration in range(levels)
            ]
        if config.weights:
            known_images.warn(known_images.decisions(config), data[source(config)])
        # Steps replace all params that depend on seed or ratio, so one plan serves all seeds and ratios.
        but_ratio = config if isinstance(config, IterateConfig) else replace(config, ratio=(1.0,), sparsity=None)
        plan = planned(replace(but_ratio, seed=0))
        if isinstance(config, IterateConfig):
            assert isinstance(plan, Chain)
            return chain_steps(config, plan)
        config = with_ratios(config, plan.budget)
        dense = dense_step(config, plan.dense)
        return [dense, pruned_step(config, plan, dense)]

    unique_steps: dict[str | TrainConfig | tuple[Config, int], Step] = {}
    for cell in sorted(grid_read.cells, key=lambda cell: cell.config.seed):
        try:
            for step in steps(cell.config):
                unique_steps.setdefault(step.config_hash or _identity(step), step)
        except StudyError as error:
            faults.append(cell.place(error))
    grid_read.check(faults)
    return StudyPlan(grid_read.name, tuple(unique_steps.values()), data, grid_read.primaries)


def plan_of(config: Config, context: Context) -> Pruning:
    """Plan how a config prunes, once or iteratively."""
    return plan_chain(config, context) if isinstance(config, IterateConfig) else plan_pruning(config, context)


def dense_step(config: Config, dense: TrainPlan) -> Step:
    """Return the step that trains the dense network of a config.

    Parameters
    ----------
    config : PruneConfig or IterateConfig
    dense : TrainPlan
        Its options differ from `config` at most in the seed.
    """
    return Step(schema.DENSE, config, config_hash=config_hash(schema.DENSE, training_params(config, dense)))


def pruned_step(config: PruneConfig, plan: Pruning, parent: Step) -> Step:
    """Return the step that prunes the network of another step.

    Parameters
    ----------
    config : PruneConfig
        Options with one ratio.
    plan : Pruning
        Its options differ from `config` at most in seed and ratio.
    parent : Step
        A dense step or a pruned one.

    Raises
    ------
    StudyError
        If the ratio cannot be attained.
    """
    (ratio,), iteration = config.ratio, parent.iteration + 1
    try:
        pruned = plan.at(ratio, training_params(config, plan.dense), parent.config_hash, iteration=iteration)
    except StudyError as error:
        raise StudyError(f"{error} ({config.model}, {plan.dense.dataset})", option=error.option) from error
    return _step_of_plan(config, pruned, parent.config_hash, iteration)


def chain_steps(config: IterateConfig, plan: Chain) -> list[Step]:
    """Return the steps of iterative pruning: the dense network, and each level, which starts from the level before.

    Parameters
    ----------
    config : IterateConfig
    plan : Chain
        Its options differ from `config` at most in the seed.
    """
    steps = [dense_step(config, plan.dense)]
    dense_params = training_params(config, plan.dense)
    for iteration in range(1, config.iterations):
        parent_hash = steps[-1].config_hash
        steps.append(_step_of_plan(config, plan.level(iteration, dense_params, parent_hash), parent_hash, iteration))
    return steps


def _step_of_plan(config: Config, plan: PrunePlan, parent_hash: str, iteration: int) -> Step:
    return Step(schema.PRUNED, config, parent_hash, plan.hash, iteration)


def find_runs(store: Store, steps: Iterable[Step]) -> dict[str, str]:
    """Return run ids by config hash, for the steps whose run is in the store with all its artifacts.

    Parameters
    ----------
    store : Store
    steps : iterable of Step
    """
    return store.finished({step.config_hash: ARTIFACTS[step.kind] for step in steps if step.config_hash})


def training_params(config: Config, dense: TrainPlan) -> dict[str, str]:
    """Return the params of a config's dense run: the params of a dense plan, with the config's seed."""
    return {**dense.params, schema.SEED: text(config.seed)}


def _data(cells: Iterable[GridCell], faults: list[str], *, download: bool) -> dict[Source, Dataset]:
    first: dict[Source, GridCell] = {}
    for cell in cells:
        first.setdefault(source(cell.config), cell)
    data = {}
    for key, cell in first.items():
        dataset, image_size, test_fraction = key
        data_dir = cell.config.data_dir
        try:
            if download or datasets.is_here(dataset, data_dir=data_dir):
                data[key] = datasets.load(
                    dataset,
                    data_dir=data_dir,
                    image_size=image_size,
                    test_fraction=test_fraction,
                )
        except StudyError as error:
            faults.append(cell.place(StudyError(str(error), option="dataset")))
    return data


def _identity(step: Step) -> TrainConfig | tuple[Config, int]:
    """Return a key for a step without a hash; equal keys mean the same step."""
    if step.kind == schema.PRUNED:
        return step.config, step.iteration
    return training_options(step.config)
