"""Read the primary comparisons of a study's file, and check that the grid has the cells that they compare."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import printable, shortened
from analysis.runs import schema
from analysis.runs.primaries import DIRECTIONS, OUTCOMES, MethodSelector, Primary
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


def planned_primaries(comparisons: Any, configs: Iterable[TrainConfig], faults: list[str]) -> list[Primary]:
    """Return the valid primary comparisons of a file.

    Parameters
    ----------
    comparisons : list of mappings, as YAML gives it
        Each has the keys `method` and `baseline` (labels as `Primary` takes them), `ratio`, `outcomes`, and may have
        `datasets` (by default all data sets of the grid) and `direction` (`two-sided`, `less` or `greater`).
    configs : iterable of PruneConfig or IterateConfig
        The cells of the grid. Iterative pruning is ignored, because only runs of `prune` are compared.
    faults : list of str
        A line is added for each faulty comparison.
    """
    if not isinstance(comparisons, list) or len(comparisons) > MOST:
        faults.append(f"primary: it must be a list of at most {MOST} comparisons, each with keys and values")
        return []
    grid = _params(configs) if comparisons else []
    primaries = []
    for index, comparison in enumerate(comparisons):
        try:
            primary = _primary(comparison, list(dict.fromkeys(params[schema.DATASET] for params in grid)))
            for dataset in primary.datasets:
                _check_in_grid(primary, [params for params in grid if params[schema.DATASET] == dataset], dataset)
            primaries.append(primary)
        except _FaultError as fault:
            faults.append(f"primary[{index}]{fault.key}: {fault}")
    return primaries


def _params(configs: Iterable[TrainConfig]) -> list[Params]:
    """Return the params of a grid's runs, as far as they follow from the options."""

    @cache
    def resolved(config: PruneConfig) -> Params:
        described = {schema.DATASET: datasets.dataset_name(config.dataset)}
        return training_params(config, described) | pruning_params(config, fine_tuning(config), 1.0, iteration=1)

    params = {}
    for config in configs:
        # The ratio that gives a sparsity depends on the network, which is not known yet.
        if not isinstance(config, PruneConfig) or config.sparsity:
            continue
        # Apart from the ratio, no param that is checked depends on seed or ratio.
        setting, (ratio,) = replace(config, seed=0, ratio=(1.0,)), config.ratio
        try:
            params[setting, ratio] = {**resolved(setting), schema.RATIO: ratio}
        except StudyError:  # the plan reports the fault of such a cell
            continue
    return list(params.values())


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
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
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
    if not any(
        method is not baseline and method[schema.MODEL] == baseline[schema.MODEL]
        for method in methods
        for baseline in baselines
    ):
        raise _FaultError(".baseline", f"{shortened(primary.baseline)} is the method itself: name a different baseline")


def _matching_cells(key: str, label: str, cells: Sequence[Params], where: str) -> list[Params]:
    indices = MethodSelector.from_label(label).among(cells)
    if not indices:
        pruners = ", ".join(dict.fromkeys(params[schema.PRUNER] for params in cells))
        raise _FaultError(key, f"the grid has no {shortened(label)} {where}; its pruners there are {pruners}")
    return [cells[index] for index in indices]
