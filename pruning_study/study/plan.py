"""What a study comes to: its steps, each known by the hash that its run has or will have."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.runs.schema import text
from pruning_study.config import PruneConfig, StudyConfig, TrainConfig
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.pruning.scores import needs
from pruning_study.steps import identity
from pruning_study.steps.settings import PruneSetting
from pruning_study.study import grid
from pruning_study.study.grid import Cell, Grid
from pruning_study.tracking.store import Store

ARTIFACTS = {schema.DENSE: identity.DENSE_ARTIFACTS, schema.PRUNED: identity.PRUNED_ARTIFACTS}

Source = tuple[str, int | None]  # data set as given, image size


@dataclass(frozen=True)
class Step:
    """A run that a study needs.

    Parameters
    ----------
    kind : {"dense", "pruned"}
    config : PruneConfig
        Of one ratio; of a dense run, that of the first run that is pruned from it.
    config_hash, dense_hash : str
        Of the run, and of the dense run that it is or is made from; empty where the data set is not here.
    images : int, optional
        Training images that it goes through, those of all epochs together.
    """

    kind: str
    config: PruneConfig
    config_hash: str = ""
    dense_hash: str = ""
    images: int | None = None

    @property
    def name(self) -> str:
        config = self.config
        what = "dense" if self.kind == schema.DENSE else f"{config.method} t={config.ratio[0]:g}"
        return f"{self.dataset} {config.model} {what} seed {config.seed}"

    @property
    def dataset(self) -> str:
        return datasets.dataset_name(self.config.dataset)


@dataclass(frozen=True)
class Plan:
    """The steps of a study, those of a seed together, a dense run before what is pruned from it; and their data."""

    name: str
    steps: tuple[Step, ...]
    data: Mapping[Source, Dataset]


def source(config: TrainConfig) -> Source:
    """What tells the data of two configs apart."""
    return config.dataset, config.image_size


def read(file: Path, config: StudyConfig) -> Grid:
    """A study's file, with what the command says of all its cells."""
    given = {"device": config.device, "engine": config.engine, "data_dir": config.data_dir}
    return grid.read(file, given | ({"protocol": config.protocol} if config.protocol else {}))


def plan(of: Grid, *, download: bool) -> Plan:
    """Work out the steps of a grid.

    Parameters
    ----------
    of : Grid
    download : bool
        Whether data sets that are not here are downloaded; else their steps have no hash.

    Raises
    ------
    StudyError
        For all that is wrong in the file, with its data sets and its models, and for every ratio that cannot be
        attained.
    """
    faults: list[str] = []
    data = _data(of.cells, faults, download=download and not of.faults)

    @cache
    def setting(config: PruneConfig) -> PruneSetting:
        return PruneSetting(config, data[source(config)])

    made: dict[str | TrainConfig | PruneConfig, Step] = {}
    for cell in sorted(of.cells, key=lambda cell: cell.config.seed):
        try:
            for step in _steps(cell.config, setting) if source(cell.config) in data else _unknown(cell.config):
                made.setdefault(step.config_hash or _identity(step), step)
        except StudyError as error:
            faults.append(cell.place(error))
    of.check(faults)
    return Plan(of.name, tuple(made.values()), data)


def found(store: Store, steps: Iterable[Step]) -> dict[str, str]:
    """Run ids, by hash, of the steps whose run is there with all its artifacts.

    Parameters
    ----------
    store : Store
    steps : iterable of Step
    """
    return store.finished({step.config_hash: ARTIFACTS[step.kind] for step in steps if step.config_hash})


def _data(cells: Iterable[Cell], faults: list[str], *, download: bool) -> dict[Source, Dataset]:
    first: dict[Source, Cell] = {}
    for cell in cells:
        first.setdefault(source(cell.config), cell)
    data = {}
    for (dataset, image_size), cell in first.items():
        data_dir = cell.config.data_dir
        try:
            if download or datasets.is_here(dataset, data_dir=data_dir):
                data[dataset, image_size] = datasets.load(dataset, data_dir=data_dir, image_size=image_size)
        except StudyError as error:
            faults.append(cell.place(StudyError(str(error), option="--dataset")))
    return data


def _steps(config: PruneConfig, setting: Callable[[PruneConfig], PruneSetting]) -> tuple[Step, Step]:
    # Neither seed nor ratio changes another param than its own.
    resolved = setting(replace(config, seed=0, ratio=(1.0,)))
    (ratio,) = config.ratio
    try:
        ramp = len(resolved.kept_numbers(ratio)) - 1
    except StudyError as error:
        raise StudyError(f"{error} ({config.model}, {resolved.data.name})", option=error.option) from error
    images = len(resolved.train_indices)
    dense_params = {**resolved.params, schema.SEED: text(config.seed)}
    dense = identity.dense_hash(dense_params)
    pruned = identity.pruned_hash(resolved.pruned_params(dense_params, ratio), dense)
    dense_images = 0 if config.weights else images * resolved.schedule.epochs
    # A gradient at each step of a ramp counts as so many images of training.
    gradients = ramp * resolved.gradient_images if "grad" in needs(resolved.pruner) else 0
    # Where nothing is trained, so does each image that is predicted.
    predicted = len(resolved.validation_indices) + len(resolved.data.test_labels)
    return (
        Step(schema.DENSE, config, dense, dense, dense_images),
        Step(schema.PRUNED, config, pruned, dense, images * resolved.fine_tuning.epochs + gradients or predicted),
    )


def _unknown(config: PruneConfig) -> tuple[Step, Step]:
    return Step(schema.DENSE, config), Step(schema.PRUNED, config)


def _identity(step: Step) -> TrainConfig | PruneConfig:
    """What tells two steps apart whose hash is not known."""
    if step.kind == schema.PRUNED:
        return step.config
    return TrainConfig(**{item.name: getattr(step.config, item.name) for item in fields(TrainConfig)})
