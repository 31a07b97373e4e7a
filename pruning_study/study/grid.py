"""Read the file of a study: a grid of pruned runs, and a list of everything that is wrong in the file."""

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
from pruning_study.pruning import pruners

# Keys of a grid, and the option of `prune` whose values each key lists.
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
# Options of the command `study`, and two that have no meaning for a grid.
NO_OVERRIDES = {item.name for item in fields(StudyConfig)} - {"protocol"} | {"force", "dense_run_id"}
OVERRIDES = [item.name for item in fields(PruneConfig) if item.name not in {*LISTS.values(), *NO_OVERRIDES}]
MOST_SEEDS = 100_000
# Options without a meaning for a pruner that prunes nothing.
PRUNING_OPTIONS = ("ratio", "scope", "schedule", "ramp", "ramp_steps", "regrow")


@dataclass(frozen=True)
class GridCell:
    """One pruned run of a study.

    Parameters
    ----------
    config : PruneConfig
        The options of the run, with one ratio.
    keys : mapping of str
        The place in the file of each option's value, such as `grids[1].ratios[2]` for `--ratio`.
    """

    config: PruneConfig
    keys: Mapping[str, str]

    def place(self, error: StudyError) -> str:
        """Return an error's message with the key of the file whose value is at fault."""
        key = self.keys.get(error.option or "")
        return f"{key}: {error}" if key else str(error)


@dataclass(frozen=True)
class Grid:
    """The content of a study's file.

    Parameters
    ----------
    path : Path
    name : str
        The name that the file gives, or the file's stem.
    cells : tuple of GridCell
        The runs whose options are all valid.
    faults : tuple of str
        One line for each thing that is wrong in the file.
    """

    path: Path
    name: str
    cells: tuple[GridCell, ...]
    faults: tuple[str, ...]

    def check(self, more: Sequence[str] = ()) -> None:
        """Raise one StudyError for all faults of the file, and for `more` that were found later."""
        faults = list(dict.fromkeys([*self.faults, *more]))
        if faults:
            listed = faults if len(faults) == 1 else [f"{len(faults)} things are wrong", *faults]
            raise StudyError(f"{self.path}: " + "\n  ".join(listed), option="FILE")


def read(path: Path, given: Mapping[str, Any] | None = None) -> Grid:
    """Read a study's file.

    The file has the keys `name`, `datasets`, `models`, `recipes`, `pruners`, `ratios`, `schedules`, `distill`, `seeds`
    (a list, or a range such as `0-29`) and `overrides` (further options of `prune`). The study has every combination of
    the lists' values. A key that is left out has `prune`'s default. The key `grids` lists several such grids; the keys
    beside it are their defaults. A pruner that prunes nothing, such as `none`, ignores `PRUNING_OPTIONS`: the study has
    it once for each seed and value of `distill`.

    Parameters
    ----------
    path : Path
    given : mapping of option names to values, optional
        Options of all cells, which override the file's `overrides`.

    Raises
    ------
    StudyError
        If the file cannot be read, or is not YAML of keys and values. Faults in its keys and values are gathered in
        the grid's `faults`.
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
    """Reads YAML's plain values; a key that is given twice is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _content(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}", option="FILE") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = re.sub(r"\s*\n\s*", " ", str(error))[:500]
        raise StudyError(f"{path} is not a YAML file ({reason})", option="FILE") from error
    if not isinstance(content, dict) or not content:
        raise StudyError(f"{path} holds no grid: it takes the keys {', '.join(GRID_KEYS)}", option="FILE")
    return content


def _grids(content: dict[Any, Any], faults: list[str]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Return each grid with the place of each of its keys."""
    grids = content.pop("grids", [{}])
    shared = _known(content, "", faults)
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        faults.append("grids: it takes a list of grids, each with keys and values")
        return
    for index, grid in enumerate(grids):
        own = _known(grid, f"grids[{index}].", faults)
        yield {key: f"grids[{index}].{key}" if key in own else key for key in GRID_KEYS}, shared | own


def _known(grid: dict[Any, Any], prefix: str, faults: list[str]) -> dict[str, Any]:
    for key in grid:
        if key not in GRID_KEYS:
            faults.append(
                f"{prefix}{key}: there is no such key: {did_you_mean(str(key), GRID_KEYS if prefix else FILE_KEYS)}"
            )
    return {key: value for key, value in grid.items() if key in GRID_KEYS}


def _cells(
    grid: dict[str, Any], places: Mapping[str, str], given: Mapping[str, Any], faults: list[str]
) -> Iterator[GridCell]:
    overrides = _overrides(grid.get("overrides", {}), places["overrides"], faults)
    override_keys = {option_name(name): f"{places['overrides']}.{name}" for name in overrides}
    lists = [_values(key, grid[key], places[key], faults) if key in grid else {None: ""} for key in LISTS]
    for chosen in product(*(values.items() for values in lists)):
        values = {name: value for name, (value, _) in zip(LISTS.values(), chosen, strict=True) if value is not None}
        options = {**overrides, **given, **values}
        if not pruners.prunes(values.get("pruner", PruneConfig.pruner)):
            options = {name: value for name, value in options.items() if name not in PRUNING_OPTIONS}
        list_keys = {option_name(name): key for name, (_, key) in zip(LISTS.values(), chosen, strict=True)}
        yield GridCell(PruneConfig(**options), override_keys | list_keys)


def _overrides(overrides: Any, place: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(overrides, dict):
        faults.append(f"{place}: {overrides!r} does not map options of prune to values, as {{epochs: 10}} does")
        return {}
    good = {}
    for name, value in overrides.items():
        with _noting(f"{place}.{name}", faults):
            if name in LISTS.values():
                raise ValueError("it has a list of its own: " + next(key for key in LISTS if LISTS[key] == name))
            if name in NO_OVERRIDES:
                raise ValueError("it does not belong in the file")
            if name not in OVERRIDES:
                raise ValueError(f"prune has no such option: {did_you_mean(str(name), OVERRIDES)}")
            good[name] = _checked(name, value)
    return good


def _values(key: str, values: Any, place: str, faults: list[str]) -> dict[Any, str]:
    """Return the valid values of a list, each with its place."""
    good: dict[Any, str] = {}
    with _noting(place, faults):
        if key == "seeds" and isinstance(values, str):
            return dict.fromkeys(_range(values), place)
        if not isinstance(values, list) or not values:
            raise ValueError(
                f"{values!r} is not a list of values" + (" or a range such as 0-29" if key == "seeds" else "")
            )
        for index, given in enumerate(values):
            with _noting(f"{place}[{index}]", faults):
                value = _checked(LISTS[key], given)
                if value in good:
                    raise ValueError(f"{given} is listed twice")
                good[value] = f"{place}[{index}]"
    return good


def _checked(name: str, value: Any) -> Any:
    if not isinstance(value, str | int | float) or (name == "ratio" and isinstance(value, str)):
        raise ValueError(f"{value!r} is not a " + ("number" if name == "ratio" else "single value"))
    value = checked(name, value)
    if name == "model":
        models.check_name(value)
    return value


def _range(text: str) -> range:
    found = re.fullmatch(r"\s*(\d{1,10})\s*-\s*(\d{1,10})\s*", text)
    if not found:
        raise ValueError(f"{text!r} is neither a range such as 0-29 nor a list")
    first, last = map(int, found.groups())
    if first > last or last > LARGEST:
        raise ValueError(f"{text}: write the smaller seed first, and none above {LARGEST}")
    if last - first >= MOST_SEEDS:
        raise ValueError(f"{text} has {last - first + 1:,} seeds: the most is {MOST_SEEDS:,}")
    return range(first, last + 1)


@contextmanager
def _noting(place: str, faults: list[str]) -> Iterator[None]:
    try:
        yield
    except (ValueError, StudyError) as error:
        faults.append(f"{place}: {error}")
