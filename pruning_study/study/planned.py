"""Read the primary comparisons of a study's file, and check that the grid has the cells that they compare."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, NamedTuple, TypeGuard

from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import printable, shortened
from analysis.runs import schema
from analysis.runs.primaries import DIRECTIONS, OUTCOMES, MethodSelector, Primary, settings_of
from pruning_study.data import datasets
from pruning_study.options.config import PruneConfig, TrainConfig
from pruning_study.steps.resolved import fine_tuning, pruning_params, training_params

KEYS = ("method", "baseline", "ratio", "outcomes", "datasets", "direction")
NEEDED = ("method", "baseline", "ratio", "outcomes")
MOST = 100

Params = Mapping[str, Any]


class _FaultError(Exception):
    """A fault of a comparison; `key` is the place of the faulty value within the comparison."""

    def __init__(self, key: str, fault: str) -> None:
        super().__init__(fault)
        self.key = key


class _Cell(NamedTuple):
    """A cell of the grid.

    Attributes
    ----------
    params : mapping of str
        Params of its runs, as far as they follow from the options.
    training : tuple of (str, str)
        Those of its dense networks.
    seeds : set of int
    """

    params: Params
    training: tuple[tuple[str, str], ...]
    seeds: set[int]

    def shares_network(self, other: "_Cell") -> bool:
        """Return whether two cells have a dense network in common."""
        return self.training == other.training and not self.seeds.isdisjoint(other.seeds)


def planned_primaries(comparisons: Any, configs: Sequence[TrainConfig], faults: list[str]) -> list[Primary]:
    """Return the valid primary comparisons of a file, with the settings that their labels stand for in its grid.

    Parameters
    ----------
    comparisons : list of mappings, as YAML gives it
        Each has the keys `method` and `baseline` (labels as `Primary` takes them), `ratio`, `outcomes`, and may have
        `datasets` (by default all data sets of the grid) and `direction` (`two-sided`, `less` or `greater`).
    configs : sequence of PruneConfig or IterateConfig
        The networks of the grid. Iterative pruning is ignored, because only runs of `prune` are compared.
    faults : list of str
        A line is added for each faulty comparison.
    """
    if not isinstance(comparisons, list) or len(comparisons) > MOST:
        faults.append(f"primary: it must be a list of at most {MOST} comparisons, each with keys and values")
        return []
    with_ratio = [config for config in configs if _has_ratio(config)]
    if comparisons and configs and not with_ratio:
        faults.append(
            "primary: it compares networks at a ratio, but the file's grids have only iterations or sparsity: add "
            "ratio, or leave primary out"
        )
        return []
    grid = _cells(with_ratio) if comparisons else []
    primaries = []
    for index, comparison in enumerate(comparisons):
        try:
            primary = _primary(comparison, list(dict.fromkeys(cell.params[schema.DATASET] for cell in grid)))
            primaries.append(_resolved(primary, grid) if grid else primary)
        except _FaultError as fault:
            faults.append(f"primary[{index}]{fault.key}: {fault}")
    return primaries


def _has_ratio(config: TrainConfig) -> TypeGuard[PruneConfig]:
    """Return whether the ratio is known; that of a sparsity depends on the network, which is not known yet."""
    return isinstance(config, PruneConfig) and not config.sparsity


def _cells(configs: Iterable[PruneConfig]) -> list[_Cell]:
    @cache
    def resolved(config: PruneConfig) -> tuple[Params, tuple[tuple[str, str], ...]]:
        described = {schema.DATASET: datasets.dataset_name(config.dataset)}
        if config.weights:  # they need not exist yet, so their path stands for their digest
            described[schema.WEIGHTS_DIGEST] = str(config.weights)
        training = training_params(config, described)
        pruning = pruning_params(config, fine_tuning(config), 1.0, iteration=1)
        return training | pruning, tuple(training.items())

    cells: dict[tuple[PruneConfig, float], _Cell] = {}
    for config in configs:
        # Apart from the ratio, no param that is compared depends on seed or ratio.
        setting, (ratio,) = replace(config, seed=0, ratio=(1.0,)), config.ratio
        if (setting, ratio) not in cells:
            try:
                params, training = resolved(setting)
            except StudyError:  # the plan reports the fault of such a cell
                continue
            cells[setting, ratio] = _Cell({**params, schema.RATIO: ratio}, training, set())
        cells[setting, ratio].seeds.add(config.seed)
    return list(cells.values())


def _primary(comparison: Any, dataset_names: Sequence[str]) -> Primary:
    if not isinstance(comparison, dict):
        raise _FaultError("", f"{shortened(comparison)} is not a comparison: give the keys {', '.join(KEYS)}")
    for key in comparison:
        if key not in KEYS:
            raise _FaultError(f".{printable(str(key))[:100]}", f"there is no such key: {did_you_mean(str(key), KEYS)}")
    for key in NEEDED:
        if key not in comparison:
            raise _FaultError(f".{key}", "is missing, and every primary comparison needs it")
    direction = comparison.get("direction", DIRECTIONS[0])
    if direction not in DIRECTIONS:
        raise _FaultError(".direction", f"{shortened(direction)}: it takes {', '.join(DIRECTIONS)}")
    return Primary(
        method=_label(".method", comparison["method"]),
        baseline=_label(".baseline", comparison["baseline"]),
        ratio=_number(".ratio", comparison["ratio"]),
        outcomes=_names(".outcomes", comparison["outcomes"], OUTCOMES),
        datasets=_names(".datasets", _log_names(comparison["datasets"]), dataset_names)
        if "datasets" in comparison
        else tuple(dataset_names),
        direction=direction,
    )


def _label(key: str, label: Any) -> str:
    try:
        MethodSelector.from_label(label)
    except (ValueError, TypeError) as error:
        fault = str(error) if isinstance(label, str) else f"{shortened(label)} is not a string"
        raise _FaultError(key, fault) from error
    return printable(label)


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise _FaultError(key, f"{shortened(value)} is not a number")


def _log_names(names: Any) -> Any:
    """Return names of data sets as runs log them; leave values that are not names unchanged."""
    if not isinstance(names, list):
        return names
    return [datasets.dataset_name(name) if isinstance(name, str) and name.isprintable() else name for name in names]


def _names(key: str, values: Any, choices: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise _FaultError(key, f"{shortened(values)} is not a list of names")
    for index, value in enumerate(values):
        if value not in choices:
            raise _FaultError(f"{key}[{index}]", f"{shortened(value)}: {did_you_mean(str(value)[:100], choices)}")
        if value in values[:index]:
            raise _FaultError(f"{key}[{index}]", f"{value} is listed twice")
    return tuple(values)


def _resolved(primary: Primary, grid: Sequence[_Cell]) -> Primary:
    """Return a comparison with the settings of the cells that it compares in the grid."""
    pairs = []
    for dataset in primary.datasets:
        cells = [cell for cell in grid if cell.params[schema.DATASET] == dataset]
        _check_in_grid(primary, [cell.params for cell in cells], dataset)
        pairs += _pairs(primary, cells, dataset)
    methods, baselines = (
        tuple(dict.fromkeys(settings_of(cell.params) for cell in side)) for side in zip(*pairs, strict=True)
    )
    return primary._replace(methods=methods, baselines=baselines)


def _pairs(primary: Primary, cells: Sequence[_Cell], dataset: str) -> list[tuple[_Cell, _Cell]]:
    """Return a comparison's pairs of cells of a data set that share dense networks."""
    pairs = []
    for model in dict.fromkeys(cell.params[schema.MODEL] for cell in cells):
        group = [cell for cell in cells if cell.params[schema.MODEL] == model]
        methods, baselines = ([group[i] for i in side] for side in primary.among([cell.params for cell in group]))
        pairs += [
            (method, baseline)
            for method, baseline in product(methods, baselines)
            if method is not baseline and method.shares_network(baseline)
        ]
    if not pairs:
        raise _FaultError(
            ".baseline",
            f"{shortened(primary.baseline)} shares no dense network with {shortened(primary.method)} at ratio "
            f"{primary.ratio:g} on {dataset}: give both a common model and seed, and the same settings of training",
        )
    return pairs


def _check_in_grid(primary: Primary, cells: Sequence[Params], dataset: str) -> None:
    """Check that the grid's cells of a data set include the method and the baseline of a comparison."""
    ratios = sorted({params[schema.RATIO] for params in cells})
    if primary.ratio not in ratios:
        known_ratios = ", ".join(f"{ratio:g}" for ratio in ratios)
        raise _FaultError(".ratio", f"the grid has no ratio {primary.ratio:g} on {dataset}; it has {known_ratios}")
    at_ratio = [params for params in cells if params[schema.RATIO] == primary.ratio]
    elsewhere = [params for params in cells if params[schema.RATIO] != primary.ratio]
    controls = [params for params in elsewhere if params[schema.PRUNER] == schema.CONTROL]
    methods = _matching_cells(".method", primary.method, at_ratio, f"at ratio {primary.ratio:g} on {dataset}")
    baselines = _matching_cells(
        ".baseline", primary.baseline, [*at_ratio, *controls], f"at ratio {primary.ratio:g} on {dataset}"
    )
    if not any(method is not baseline for method, baseline in product(methods, baselines)):
        raise _FaultError(".baseline", f"{shortened(primary.baseline)} is the method itself: name a different baseline")


def _matching_cells(key: str, label: str, cells: Sequence[Params], where: str) -> list[Params]:
    indices = MethodSelector.from_label(label).among(cells)
    if not indices:
        pruners = ", ".join(dict.fromkeys(params[schema.PRUNER] for params in cells))
        raise _FaultError(key, f"the grid has no {shortened(label)} {where}; its pruners there are {pruners}")
    return [cells[index] for index in indices]
