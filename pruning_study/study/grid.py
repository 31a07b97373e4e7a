"""The file of a study becomes its cells; whatever is wrong in it is said at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from analysis.runs.errors import StudyError, did_you_mean
from pruning_study import models
from pruning_study.config import PruneConfig, StudyConfig, checked
from pruning_study.options import LARGEST, option_name

# Key of a grid -> the option of `prune` that it lists values of.
LISTS = {
    "datasets": "dataset",
    "models": "model",
    "recipes": "recipe",
    "pruners": "pruner",
    "ratios": "ratio",
    "schedules": "schedule",
    "distill": "distill",
    "seeds": "seed",
}
GRID_KEYS = (*LISTS, "overrides")
FILE_KEYS = ("name", *GRID_KEYS, "grids")
# What says where and how a study is run, and what would make a second run of a cell another one.
NO_OVERRIDES = {item.name for item in fields(StudyConfig)} - {"protocol"} | {"force", "dense_run_id"}
OVERRIDES = [item.name for item in fields(PruneConfig) if item.name not in {*LISTS.values(), *NO_OVERRIDES}]
MOST_SEEDS = 100_000
UNPRUNED, OF_PRUNING = "none", ("ratio", "schedule", "ramp", "ramp_steps", "regrow")


@dataclass(frozen=True)
class Cell:
    """One pruned run of a study.

    Parameters
    ----------
    config : PruneConfig
        Of one ratio.
    keys : mapping of str
        Where in the file an option's value stands: `--ratio` -> `grids[1].ratios[2]`.
    """

    config: PruneConfig
    keys: Mapping[str, str]

    def place(self, error: StudyError) -> str:
        """An error as it is shown: with the key whose value is at fault."""
        key = self.keys.get(error.option or "")
        return f"{key}: {error}" if key else str(error)


@dataclass(frozen=True)
class Grid:
    """What a study's file asks for.

    Parameters
    ----------
    path : Path
    name : str
        As the file says, or its stem.
    cells : tuple of Cell
    faults : tuple of str
        What is wrong in the file; cells that it keeps from being made are missing.
    """

    path: Path
    name: str
    cells: tuple[Cell, ...]
    faults: tuple[str, ...]

    def check(self, more: Sequence[str] = ()) -> None:
        """Raise one StudyError for all that is wrong, in the file or found out later."""
        faults = list(dict.fromkeys([*self.faults, *more]))
        if faults:
            listed = faults if len(faults) == 1 else [f"{len(faults)} things are wrong", *faults]
            raise StudyError(f"{self.path}: " + "\n  ".join(listed), option="FILE")


def read(path: Path, given: Mapping[str, Any] | None = None) -> Grid:
    """Read a study's file.

    It takes the keys `name`, `datasets`, `models`, `recipes`, `pruners`, `ratios`, `schedules`, `distill`, `seeds` (a
    list, or a range as `0-29`) and `overrides` (further options of `prune`). Lists multiply. What is left out is
    `prune`'s default. Under `grids` there may be several such grids, which take the keys beside it for their own
    defaults. The pruner `none` has ratio 1 and no schedule, and stands there once for each seed and `distill`.

    Parameters
    ----------
    path : Path
    given : mapping of option names to values, optional
        Of all cells, whatever the file says.

    Raises
    ------
    StudyError
        Where the file cannot be read, or is not YAML of keys and values. What is wrong in its keys and values
        is gathered in the grid's `faults`.
    """
    content = _content(path)
    faults: list[str] = []
    name = content.pop("name", path.stem)
    if not isinstance(name, str) or not name.strip():
        faults.append(f"name: {name!r} is not a text")
    cells = [cell for prefixes, grid in _grids(content, faults) for cell in _cells(grid, prefixes, given or {}, faults)]
    unique = {cell.config: cell for cell in reversed(cells)}
    return Grid(path, str(name), tuple(cell for cell in cells if unique[cell.config] is cell), tuple(faults))


class _Loader(yaml.SafeLoader):
    """YAML's plain values; a key that stands there twice is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise yaml.constructor.ConstructorError(None, None, f"{twice} stands there twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _content(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}", option="FILE") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = re.sub(r"\s*\n\s*", " ", str(error))[:500]
        raise StudyError(f"{path} is no YAML file ({reason})", option="FILE") from error
    if not isinstance(content, dict) or not content:
        raise StudyError(f"{path} holds no grid: it takes {', '.join(GRID_KEYS)}", option="FILE")
    return content


def _grids(content: dict[Any, Any], faults: list[str]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Each grid, and how its keys are called."""
    grids = content.pop("grids", [{}])
    shared = _known(content, "", faults)
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        faults.append("grids: it takes a list of grids")
        return
    for index, grid in enumerate(grids):
        own = _known(grid, f"grids[{index}].", faults)
        yield {key: f"grids[{index}].{key}" if key in own else key for key in GRID_KEYS}, shared | own


def _known(grid: dict[Any, Any], prefix: str, faults: list[str]) -> dict[str, Any]:
    for key in grid:
        if key not in GRID_KEYS:
            faults.append(f"{prefix}{key}: no such key; {did_you_mean(str(key), GRID_KEYS if prefix else FILE_KEYS)}")
    return {key: value for key, value in grid.items() if key in GRID_KEYS}


def _cells(
    grid: dict[str, Any], called: Mapping[str, str], given: Mapping[str, Any], faults: list[str]
) -> Iterator[Cell]:
    overrides = _overrides(grid.get("overrides", {}), called["overrides"], faults)
    places = {option_name(name): f"{called['overrides']}.{name}" for name in overrides}
    lists = [_values(key, grid[key], called[key], faults) if key in grid else {None: ""} for key in LISTS]
    for chosen in product(*(values.items() for values in lists)):
        values = {name: value for name, (value, _) in zip(LISTS.values(), chosen, strict=True) if value is not None}
        options = {**overrides, **given, **values}
        if values.get("pruner") == UNPRUNED:
            options = {name: value for name, value in options.items() if name not in OF_PRUNING}
        keys = {option_name(name): key for name, (_, key) in zip(LISTS.values(), chosen, strict=True)}
        yield Cell(PruneConfig(**options), places | keys)


def _overrides(overrides: Any, called: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(overrides, dict):
        faults.append(f"{called}: {overrides!r} is no option of prune with its value, as {{epochs: 10}}")
        return {}
    good = {}
    for name, value in overrides.items():
        with _noting(f"{called}.{name}", faults):
            if name in LISTS.values():
                raise ValueError("it has a list of its own")
            if name in NO_OVERRIDES:
                raise ValueError("it does not belong into the file")
            if name not in OVERRIDES:
                raise ValueError(f"no such option of prune; {did_you_mean(str(name), OVERRIDES)}")
            good[name] = _checked(name, value)
    return good


def _values(key: str, values: Any, called: str, faults: list[str]) -> dict[Any, str]:
    """The values of a list that can be used, each with its place."""
    good: dict[Any, str] = {}
    with _noting(called, faults):
        if key == "seeds" and isinstance(values, str):
            return dict.fromkeys(_range(values), called)
        if not isinstance(values, list) or not values:
            raise ValueError(f"{values!r} is no list of values" + (", and no range as 0-29" if key == "seeds" else ""))
        for index, given in enumerate(values):
            with _noting(f"{called}[{index}]", faults):
                value = _checked(LISTS[key], given)
                if value in good:
                    raise ValueError(f"{given} stands there twice")
                good[value] = f"{called}[{index}]"
    return good


def _checked(name: str, value: Any) -> Any:
    if not isinstance(value, str | int | float) or (name == "ratio" and isinstance(value, str)):
        raise ValueError(f"{value!r} is no " + ("number" if name == "ratio" else "single value"))
    value = checked(name, value)
    if name == "model":
        models.check_name(value)
    return value


def _range(text: str) -> range:
    found = re.fullmatch(r"\s*(\d{1,10})\s*-\s*(\d{1,10})\s*", text)
    if not found:
        raise ValueError(f"{text!r} is no range, as 0-29, and no list")
    first, last = map(int, found.groups())
    if first > last or last > LARGEST:
        raise ValueError(f"{text}: a range goes from the smaller seed to the larger, none above {LARGEST}")
    if last - first >= MOST_SEEDS:
        raise ValueError(f"{text} has {last - first + 1:,} seeds, more than {MOST_SEEDS:,}")
    return range(first, last + 1)


@contextmanager
def _noting(place: str, faults: list[str]) -> Iterator[None]:
    try:
        yield
    except (ValueError, StudyError) as error:
        faults.append(f"{place}: {error}")
