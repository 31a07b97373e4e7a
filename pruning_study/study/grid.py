"""Read the file of a study as a grid of pruned runs, and collect every fault in the file."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from analysis.common.errors import StudyError, did_you_mean, first_line, option_name
from analysis.common.input_files import opened
from analysis.common.printable import LONGEST_NAME, fault_of_name, shortened
from analysis.runs import schema
from analysis.runs.options.commands import of_command
from analysis.runs.options.record import OVERRIDES as OVERRIDES_KEY
from analysis.runs.options.table import OPTIONS, PRUNES
from analysis.runs.options.values import LARGEST, finite_number, utf8_text
from analysis.runs.primaries import Primary
from pruning_study import models
from pruning_study.options.config import IterateConfig, PruneConfig, checked
from pruning_study.pruning import pruners
from pruning_study.study.planned import planned_primaries


def _lists(command: str) -> dict[str, str]:
    """Return the keys of a command's grid that list values, each with its option; seeds come last and vary fastest."""
    records = [record for record in of_command(command).values() if record.grid not in (None, OVERRIDES_KEY, *_SINGLE)]
    return {str(record.grid): record.name for record in sorted(records, key=lambda record: record.name == schema.SEED)}


# Keys of a grid of `iterate` that have a single value
_SINGLE = ("iterations", "keep")
# Keys of a grid of `prune` and of a grid of `iterate`, each with the option whose values it lists
LISTS, LISTS_OF_ITERATE = _lists("prune"), _lists("iterate")
# A grid with any of these keys is a grid of `iterate`.
ITERATING = (*(key for key in LISTS_OF_ITERATE if key not in LISTS), *_SINGLE)
GRID_KEYS = (*LISTS, *ITERATING, OVERRIDES_KEY)
PUBLISHED = "published"  # what the page of a published study shows, which is no part of the grid
FILE_KEYS = ("name", "experiment", *GRID_KEYS, "grids", "primary", PUBLISHED)
# Options that have no meaning for a grid
NO_OVERRIDES = {record.name for record in OPTIONS if record.grid is None}
MOST_BYTES = 2**18
MOST_KEYS = 10_000
DEEPEST = 100
MOST_SEEDS = 100_000
MOST_VALUES = 200_000
MOST_RUNS = 1_000_000
MOST_LISTED = 100
_NUMBERS = ("ratio", "sparsity", "iterations", "keep")
Config: TypeAlias = PruneConfig | IterateConfig
# Options that have no effect with a pruner that prunes nothing; `prune_output_layer` is left out, because runs of such
# a pruner log it.
PRUNING_OPTIONS = {"ratio", "sparsity"} | {
    record.name for record in OPTIONS if PRUNES in record.needs and record.name != "prune_output_layer"
}


@dataclass(frozen=True)
class GridCell:
    """One pruned run of a study, or one chain of runs.

    Parameters
    ----------
    config : PruneConfig or IterateConfig
        The options of the run, with one ratio, or of the chain.
    keys : mapping of str
        The key in the file that gives each option's value, such as `grids[1].ratios[2]` for `ratio`.
    """

    config: Config
    keys: Mapping[str, str]

    def place(self, error: StudyError) -> str:
        """Return an error's message, preceded by the key of the faulty value in the file."""
        key = self.keys.get(error.option or "")
        return f"{key}: {error}" if key else str(error)


@dataclass(frozen=True)
class Grid:
    """The content of a study's file.

    Parameters
    ----------
    path : Path
    name : str
        The name that the file gives, or the name of the file (see `schema.study_name`).
    experiment : str
        The experiment that the file gives, or the study's name.
    cells : tuple of GridCell
        The pruned runs, and the chains of runs of `iterate`, whose options are all valid.
    primaries : tuple of Primary
        The study's primary comparisons.
    faults : tuple of str
        One line for each fault of the file.
    """

    path: Path
    name: str
    experiment: str
    cells: tuple[GridCell, ...]
    primaries: tuple[Primary, ...]
    faults: tuple[str, ...]

    def check(self, more: Sequence[str] = ()) -> None:
        """Raise one StudyError for all faults of the file, and for the faults `more` that were found later."""
        faults = list(dict.fromkeys([*self.faults, *more]))
        if faults:
            first, *more_faults = faults if len(faults) == 1 else [f"{len(faults):,} faults", *faults]
            note = [f"and {len(more_faults) - MOST_LISTED:,} more"] if len(more_faults) > MOST_LISTED else []
            raise StudyError(f"{self.path}: {first}", *more_faults[:MOST_LISTED], *note, option="FILE")


STUDIES = Path(__file__).parents[1] / "studies"  # the studies included in the package


def located(file: Path) -> Path:
    """Return a study's file as named, or the package's study of that name if `NAME` or `studies/NAME` is missing.

    Of a folder, it is `study.yaml`.

    Raises
    ------
    StudyError
        If a folder has no such file.
    """
    if file.is_dir():
        if not (file / schema.STUDY_FILE).is_file():
            raise StudyError(f"{file} has no {schema.STUDY_FILE}: give a folder that has one, or a file", option="FILE")
        return file / schema.STUDY_FILE
    own = STUDIES / f"{file.name.removesuffix('.yaml')}.yaml"
    return own if file.parent in (Path(), Path("studies")) and own.is_file() and not file.exists() else file


def read(path: Path, options: Mapping[str, Any] | None = None) -> Grid:
    """Read a study's file.

    A file may have these keys:

    - `name`, `experiment`
    - the keys of `LISTS`: each lists values of an option (`seeds` may be a range such as `0-29`). The study has every
      combination of the values. If a key is left out, the default of `prune` is used. An option that refines a
      mitigation has no effect if the mitigation is `none`. A pruner that prunes nothing, such as `none`, ignores
      `PRUNING_OPTIONS`: the study has this pruner once for each combination of the other options.
    - `overrides`: further options of `prune`, or of `iterate` in a grid that `iterate` runs.
    - `iterations`, `keep`, `weight_treatments` (a list): a grid with any of these keys is run by `iterate`, with that
      command's defaults, and each combination is a chain of runs. Such a grid has no ratios, schedules, distillation or
      mitigations.
    - `grids`: a list of several grids; the file's other keys are their defaults. A grid's `overrides` are added to
      those of the file, and its own value of an option replaces the file's.
    - `primary`: the primary comparisons (see `planned.planned_primaries`).
    - `published`: ignored here.

    Parameters
    ----------
    path : Path
    options : mapping of option names to values, optional
        Options of all cells, which override the file's `overrides`.

    Raises
    ------
    StudyError
        If the file cannot be read, is not a YAML mapping, or has too many values or runs. Other faults are collected in
        the grid's `faults` instead.
    """
    content = _content(path)
    _check_sizes(path, content)
    faults: list[str] = []
    name = _name(content, "name", schema.study_name(path), faults)
    experiment = _name(content, "experiment", name, faults) if "experiment" in content else name
    comparisons = content.pop("primary", [])
    cells = [
        cell for prefixes, grid in _grids(content, faults) for cell in _cells(grid, prefixes, options or {}, faults)
    ]
    unique = {cell.config: cell for cell in reversed(cells)}
    cells = [cell for cell in cells if unique[cell.config] is cell]
    primaries = planned_primaries(comparisons, [cell.config for cell in cells], faults)
    return Grid(path, name, experiment, tuple(cells), tuple(primaries), tuple(faults))


def _name(content: dict[Any, Any], key: str, default: str, faults: list[str]) -> str:
    """Remove a name from a file's content and return it, or the default if it is faulty."""
    name = content.pop(key, default)
    if fault := fault_of_name(name) if isinstance(name, str) else "is not a string":
        faults.append(f"{key}: {shortened(name)} {fault}")
        return default
    return name


class _Loader(yaml.SafeLoader):
    """Reads plain YAML values. Repeated keys are errors, and so are numbers that YAML reads in an unexpected way."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.keys = 0
        self.merged: set[yaml.MappingNode] = set()

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """Begin a list or mapping in brackets, unless it is nested too deeply, which would cost too much time."""
        if self.flow_level == DEEPEST:
            raise yaml.scanner.ScannerError(None, None, f"more than {DEEPEST} nested brackets", self.get_mark())
        super().fetch_flow_collection_start(token)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Add the keys of the mappings that `<<` names; raise an error at more than MOST_KEYS keys in the file."""
        if node not in self.merged:
            _check_unique(node)
            self.merged.add(node)
        super().flatten_mapping(node)
        self.keys += len(node.value)
        if self.keys > MOST_KEYS:
            raise _fault(node, f"more than {MOST_KEYS:,} keys")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping with all its nested values constructed."""
        return super().construct_mapping(node, deep=True)

    def plain_number(self, node: yaml.ScalarNode) -> Any:
        """Return a number; refuse 010 and 1:30, which YAML would read as 8 and 90."""
        text = self.construct_scalar(node)
        if ":" in text or re.match(r"[-+]?0[0-9_]", text):
            raise _fault(node, f"YAML reads {text} as another number: write a plain number, or quote a name")
        is_integer = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_integer else self.construct_yaml_float(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _Loader.construct_mapping)
for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.plain_number)


def _check_unique(node: yaml.MappingNode) -> None:
    counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise _fault(node, f"{twice[:LONGEST_NAME]} is given twice")


def _fault(node: yaml.Node, fault: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, fault, node.start_mark)


def _content(path: Path) -> dict[Any, Any]:
    try:
        utf8_text(str(path))
        with opened(path) as file:
            text = file.read(MOST_BYTES + 1)
    except (StudyError, ValueError) as error:
        raise StudyError(str(error), option="FILE") from error
    if len(text) > MOST_BYTES:
        raise StudyError(f"{path} is larger than {MOST_BYTES:,} bytes, the most for a study's file", option="FILE")
    try:
        content = yaml.load(text.decode("utf-8-sig"), _Loader)
    # PyYAML also raises built-in exceptions, of more types than its documentation names.
    except Exception as error:
        reason = re.sub(r"\s*\n\s*", " ", str(error))[:500]
        raise StudyError(f"{path} is not a YAML file ({reason or first_line(error)})", option="FILE") from error
    grid = {key: value for key, value in content.items() if key != PUBLISHED} if isinstance(content, dict) else {}
    if not grid:
        raise StudyError(f"{path} has no grid: give at least one of {', '.join(GRID_KEYS)}", option="FILE")
    return grid


def _check_sizes(path: Path, content: dict[Any, Any]) -> None:
    """Refuse too many values, or too many combinations of them, before any value is checked.

    Otherwise a few lines of YAML that refer to one list a thousand times could give more runs than fit into memory.
    """
    listed_grids = content.get("grids")
    grids = [grid for grid in listed_grids if isinstance(grid, dict)] if isinstance(listed_grids, list) else []
    values = sum(
        len(value) for grid in (content, *grids) for value in (grid, *grid.values()) if isinstance(value, list | dict)
    )
    runs = sum(_runs(content | grid) for grid in grids or [{}])
    for count, most, unit in ((values, MOST_VALUES, "values"), (runs, MOST_RUNS, "runs")):
        if count > most:
            raise StudyError(f"{path} has {count:,} {unit}, but the limit is {most:,}: split the study", option="FILE")


def _runs(grid: dict[Any, Any]) -> int:
    levels = grid.get("iterations")
    return math.prod(_size(grid.get(key)) for key in (*LISTS, *ITERATING)) * (levels if isinstance(levels, int) else 1)


def _size(values: Any) -> int:
    if isinstance(values, str):
        with suppress(ValueError):
            return len(_range(values))
    return len(values) if isinstance(values, list) else 1


def _grids(content: dict[Any, Any], faults: list[str]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield, for each grid, the place in the file of each of its keys, and the grid.

    The grid's `overrides` are the places and the values of the file's overrides and of its own.
    """
    grids = content.pop("grids", [{}])
    common_keys = _valid_keys(content, "", faults)
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        faults.append("grids: it must be a list of grids, each with keys and values")
        return
    for index, grid in enumerate(grids):
        prefix = f"grids[{index}]."
        own = _valid_keys(grid, prefix, faults)
        both = [
            (f"{place}overrides", keys["overrides"])
            for place, keys in (("", common_keys), (prefix, own))
            if "overrides" in keys
        ]
        yield (
            {key: f"{prefix}{key}" if key in own else key for key in GRID_KEYS},
            common_keys | own | {"overrides": both},
        )


def _valid_keys(grid: dict[Any, Any], prefix: str, faults: list[str]) -> dict[str, Any]:
    for key in grid:
        if key not in GRID_KEYS:
            name = _text(key)
            faults.append(
                f"{prefix}{name}: there is no such key: {did_you_mean(name, GRID_KEYS if prefix else FILE_KEYS)}"
            )
    return {key: value for key, value in grid.items() if key in GRID_KEYS}


def _text(value: Any) -> str:
    """Return a key or a value as text, without quotes around a string that is not long."""
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else shortened(value)


class _GridCommand(NamedTuple):
    """The command that makes a grid's runs: its name, its options, and the option whose values each key lists."""

    name: str
    config: type[PruneConfig] | type[IterateConfig]
    lists: Mapping[str, str]

    @property
    def overrides(self) -> list[str]:
        """Options that have no key of their own."""
        own_keys = {*LISTS.values(), *self.lists.values(), *ITERATING, *NO_OVERRIDES}
        return [item.name for item in fields(self.config) if item.name not in own_keys]


_PRUNE = _GridCommand("prune", PruneConfig, LISTS)
_ITERATE = _GridCommand("iterate", IterateConfig, LISTS_OF_ITERATE)
OVERRIDES = _PRUNE.overrides


def _check_keys(grid: dict[str, Any], locations: Mapping[str, str], command: _GridCommand, faults: list[str]) -> None:
    """Add a fault for each of a grid's keys that its command does not accept.

    A key at the top of the file may be meant for other grids, unless another key at the top makes every grid a grid
    of `iterate`.
    """
    at_top = any(key in grid and locations[key] == key for key in ITERATING)
    for key in LISTS:
        if key in grid and key not in command.lists and (at_top or locations[key] != key):
            faults.append(f"{locations[key]}: a grid of iterate does not accept this key: leave it out")


def _cells(
    grid: dict[str, Any], locations: Mapping[str, str], command_options: Mapping[str, Any], faults: list[str]
) -> Iterator[GridCell]:
    own = _PRUNE if not grid.keys() & set(ITERATING) else _ITERATE
    overrides: dict[str, Any] = {}
    override_keys: dict[str, str] = {}
    for location, given in grid["overrides"]:
        options = _overrides(given, location, own, faults)
        overrides |= options
        override_keys |= {name: f"{location}.{name}" for name in options}
    for key in _SINGLE:
        if key in grid:
            with _collect_fault(locations[key], faults):
                overrides[key] = _check(key, grid[key], own)
                override_keys[key] = locations[key]
    _check_keys(grid, locations, own, faults)
    twice = [(key, name) for key, name in own.lists.items() if key in grid and name in overrides]
    faults += [f"{override_keys[name]}: {locations[key]} lists its values too: leave one out" for key, name in twice]
    lists = [_values(key, grid[key], locations[key], own, faults) if key in grid else {None: ""} for key in own.lists]
    for combination in product(*(values.items() for values in lists)):
        values = {
            name: value for name, (value, _) in zip(own.lists.values(), combination, strict=True) if value is not None
        }
        options = _with_effect({**overrides, **command_options, **values})
        list_keys = {name: key for name, (_, key) in zip(own.lists.values(), combination, strict=True)}
        keys = override_keys | list_keys
        try:
            yield GridCell(own.config(**options), keys)
        except StudyError as error:  # options that cannot be combined
            faults.append(f"{keys.get(error.option or '') or option_name(error.option or '')}: {error}")


def _with_effect(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that have no effect because nothing is pruned or a mitigation is off."""
    idle = set() if pruners.prunes(options.get("pruner", PruneConfig.pruner)) else set(PRUNING_OPTIONS)
    left_out = [name for name in schema.mitigations() if options.get(name, "none") == "none"]
    idle |= {detail for name in left_out for detail in schema.details(name)}
    return {name: value for name, value in options.items() if name not in idle}


def _overrides(overrides: Any, location: str, command: _GridCommand, faults: list[str]) -> dict[str, Any]:
    if not isinstance(overrides, dict):
        faults.append(
            f"{location}: {shortened(overrides)} does not map options of {command.name} to values, as {{epochs: 10}} "
            "does"
        )
        return {}
    lists = LISTS | LISTS_OF_ITERATE
    good = {}
    for name, value in overrides.items():
        with _collect_fault(f"{location}.{_text(name)}", faults):
            if name in lists.values() and name not in command.overrides:
                raise ValueError("list its values under the key " + next(key for key in lists if lists[key] == name))
            if name in ITERATING:
                raise ValueError("it is a key of the grid itself: move it there")
            if name in NO_OVERRIDES:
                raise ValueError("it does not belong in the file: leave it out")
            if name not in command.overrides:
                hint = did_you_mean(_text(name), command.overrides)
                raise ValueError(f"{command.name} has no such option: {hint}")
            good[name] = _check(name, value, command)
    return good


def _values(key: str, values: Any, location: str, command: _GridCommand, faults: list[str]) -> dict[Any, str]:
    """Return the valid values of a list, each with its place in the file."""
    good: dict[Any, str] = {}
    with _collect_fault(location, faults):
        if key == "seeds" and isinstance(values, str):
            return dict.fromkeys(_range(values), location)
        if key == "seeds" and isinstance(values, int) and not isinstance(values, bool):
            values = [values]
        if not isinstance(values, list) or not values:
            raise ValueError(
                f"{shortened(values)} is not a list of values" + (" or a range such as 0-29" if key == "seeds" else "")
            )
        for index, item in enumerate(values):
            with _collect_fault(f"{location}[{index}]", faults):
                value = _check(command.lists[key], item, command)
                if value in good:
                    raise ValueError(f"{_text(item)} is listed twice")
                good[value] = f"{location}[{index}]"
    return good


def _check(name: str, item: Any, command: _GridCommand) -> Any:
    if not isinstance(item, str | int | float):
        raise ValueError(f"{shortened(item)} is not a " + ("number" if name in _NUMBERS else "single value"))
    if name in _NUMBERS and isinstance(item, str):  # YAML reads 1e1 as text
        finite_number(item)
    value = checked(name, item, command.config)
    if isinstance(item, bool) and not isinstance(value, bool):
        raise ValueError("YAML reads no, off, yes and on as true or false: quote the name")
    if name == "model":
        models.check_name(value)
    return value


def _range(text: str) -> range:
    match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", text)
    if not match:
        raise ValueError(f"{shortened(text)} is neither a range such as 0-29 nor a list")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last or last > LARGEST:
        raise ValueError(f"{text}: write the smaller seed first, and none above {LARGEST}")
    if last - first >= MOST_SEEDS:
        raise ValueError(f"{text} has {last - first + 1:,} seeds, but the limit is {MOST_SEEDS:,}")
    return range(first, last + 1)


@contextmanager
def _collect_fault(location: str, faults: list[str]) -> Iterator[None]:
    try:
        yield
    except (ValueError, StudyError) as error:
        faults.append(f"{location}: {error}")
