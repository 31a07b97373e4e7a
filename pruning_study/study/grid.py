"""Read the file of a study as a grid of pruned runs, and collect every fault in the file."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from analysis.common.errors import StudyError, did_you_mean, first_line, option_name
from analysis.common.input_files import opened
from analysis.common.printable import LONGEST_NAME, fault_of_name, shortened
from analysis.runs import schema
from analysis.runs.options.commands import of_command
from analysis.runs.options.table import OPTIONS, PRUNES
from analysis.runs.options.values import LARGEST, finite_number, utf8_text
from analysis.runs.primaries import Primary
from pruning_study import models
from pruning_study.options.config import IterateConfig, PruneConfig, checked
from pruning_study.pruning import pruners
from pruning_study.study.planned import planned_primaries

PRUNE, ITERATE = of_command("prune"), of_command("iterate")
# Options that a study's file may give; seeds come last and vary fastest
GRID_OPTIONS = sorted(
    (name for name, record in (PRUNE | ITERATE).items() if record.in_study), key=lambda name: name == schema.SEED
)
# A grid with any of these options is a grid of `iterate`.
ITERATING = tuple(name for name in GRID_OPTIONS if name not in PRUNE)
PUBLISHED = "published"  # what the page of a published study shows, which is no part of the grid
FILE_KEYS = ("name", "experiment", *GRID_OPTIONS, "grids", "primary", PUBLISHED)
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
        The key in the file that gives each option's value, such as `grids[1].ratio[2]` for `ratio`.
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
    - options of `prune`, by their names: each has a value, or a list of values (`seed` may be a range such as `0-29`).
      The study has every combination of the values, and the default of an option that is left out. An option that
      refines a mitigation has no effect if the mitigation is `none`. A pruner that prunes nothing, such as `none`,
      ignores `PRUNING_OPTIONS`: the study has this pruner once for each combination of the other options.
    - options of `iterate`: a grid with any of `ITERATING` is run by `iterate`, with that command's defaults, and each
      combination is a chain of runs.
    - `grids`: a list of several grids; the file's other options are their defaults.
    - `primary`: the primary comparisons (see `planned.planned_primaries`).
    - `published`: ignored here.

    Parameters
    ----------
    path : Path
    options : mapping of option names to values, optional
        Options of all cells, which override those of the file.

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
        raise StudyError(f"{path} has no grid: give options of prune or iterate, such as ratio: [2, 10]", option="FILE")
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
    chained = sum(max(1, n) if isinstance(n, int) else 1 for n in (levels if isinstance(levels, list) else [levels]))
    return math.prod(_size(grid.get(name)) for name in GRID_OPTIONS if name != "iterations") * chained


def _size(values: Any) -> int:
    if isinstance(values, str):
        with suppress(ValueError):
            return len(_range(values))
    return len(values) if isinstance(values, list) else 1


def _grids(content: dict[Any, Any], faults: list[str]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield, for each grid, the place in the file of each of its options, and the options."""
    grids = content.pop("grids", [{}])
    common = _valid_keys(content, "", faults)
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        faults.append("grids: it must be a list of grids, each with options and values")
        return
    for index, grid in enumerate(grids):
        prefix = f"grids[{index}]."
        own = _valid_keys(grid, prefix, faults)
        yield {name: f"{prefix}{name}" if name in own else name for name in common | own}, common | own


def _valid_keys(grid: dict[Any, Any], prefix: str, faults: list[str]) -> dict[str, Any]:
    for key in grid:
        if key not in GRID_OPTIONS:
            faults.append(f"{prefix}{_text(key)}: {_fault_of_key(key, GRID_OPTIONS if prefix else FILE_KEYS)}")
    return {key: value for key, value in grid.items() if key in GRID_OPTIONS}


def _fault_of_key(key: Any, known: Sequence[str]) -> str:
    if key == "overrides":
        return "there is no such key: write its options beside the others"
    if key in PRUNE | ITERATE:
        return "it does not belong in the file: leave it out"
    return f"there is no such key: {did_you_mean(_text(key), known, 'give options of prune or iterate')}"


def _text(value: Any) -> str:
    """Return a key or a value as text, without quotes around a string that is not long."""
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else shortened(value)


def _cells(
    grid: dict[str, Any], locations: Mapping[str, str], command_options: Mapping[str, Any], faults: list[str]
) -> Iterator[GridCell]:
    iterates = not grid.keys().isdisjoint(ITERATING)
    config: type[Config] = IterateConfig if iterates else PruneConfig
    at_top = any(locations.get(name) == name for name in ITERATING)
    axes: dict[str, dict[Any, str]] = {}
    for name in (name for name in GRID_OPTIONS if name in grid):
        if name in (ITERATE if iterates else PRUNE):
            axes[name] = _values(name, grid[name], locations[name], config, faults)
        elif at_top or locations[name] != name:  # an option at the top of the file may be meant for other grids
            faults.append(f"{locations[name]}: a grid of iterate does not accept this option: leave it out")
    for combination in product(*(values.items() for values in axes.values())):
        values = {name: value for name, (value, _) in zip(axes, combination, strict=True)}
        keys = {name: key for name, (_, key) in zip(axes, combination, strict=True)}
        try:
            yield GridCell(config(**_with_effect({**values, **command_options})), keys)
        except StudyError as error:  # options that cannot be combined
            faults.append(f"{keys.get(error.option or '') or option_name(error.option or '')}: {error}")


def _with_effect(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that have no effect because nothing is pruned or a mitigation is off."""
    idle = set() if pruners.prunes(options.get("pruner", PruneConfig.pruner)) else set(PRUNING_OPTIONS)
    left_out = [name for name in schema.mitigations() if options.get(name, "none") == "none"]
    idle |= {detail for name in left_out for detail in schema.details(name)}
    return {name: value for name, value in options.items() if name not in idle}


def _values(name: str, values: Any, location: str, config: type[Config], faults: list[str]) -> dict[Any, str]:
    """Return the valid values of an option, each with its place in the file."""
    good: dict[Any, str] = {}
    with _collect_fault(location, faults):
        if name == schema.SEED and isinstance(values, str):
            return dict.fromkeys(_range(values), location)
        if not isinstance(values, list):
            return {_check(name, values, config): location}
        if not values:
            raise ValueError("the list has no values: leave the option out, or name some")
        for index, item in enumerate(values):
            with _collect_fault(f"{location}[{index}]", faults):
                value = _check(name, item, config)
                if value in good:
                    raise ValueError(f"{_text(item)} is listed twice")
                good[value] = f"{location}[{index}]"
    return good


def _check(name: str, item: Any, config: type[Config]) -> Any:
    if not isinstance(item, str | int | float):
        raise ValueError(f"{shortened(item)} is not a " + ("number" if name in _NUMBERS else "single value"))
    if name in _NUMBERS and isinstance(item, str):  # YAML reads 1e1 as text
        finite_number(item)
    value = checked(name, item, config)
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
