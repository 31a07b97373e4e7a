"""Primary comparisons: the file of a study declares them as the study's purpose, and runs and exports store them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.runs.frames import Artifacts

# Outcomes of a comparison.
ACCURACY, WEAKEST, LOSS, EXCESS = "accuracy", "weakest_recall", "largest_loss", "largest_excess"
ALPHA_NEW, ALPHA, RAW_SLOPE, ALPHA_BEYOND = "alpha_new", "alpha", "raw_slope", "alpha_beyond"
OUTCOMES = (ACCURACY, WEAKEST, LOSS, EXCESS, ALPHA_NEW, ALPHA, RAW_SLOPE, ALPHA_BEYOND)

Direction = Literal["two-sided", "less", "greater"]
DIRECTIONS: tuple[Direction, ...] = ("two-sided", "less", "greater")
_CELL = (schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO)
# Names of the settings of a cell with their values, sorted by name.
Settings: TypeAlias = tuple[tuple[str, Any], ...]


class Primary(NamedTuple):
    """A primary comparison of a study. Its tests are a separate family in the correction for multiplicity.

    Attributes
    ----------
    method, baseline : str
        Labels as in `methods.csv`: a pruner, its schedule if it is not one-shot, and other settings with their values,
        such as `mp cubic distill 0.5` or `up epsilon 1e-3`. A setting that a label does not name has the papers' value.
        It may have any value if no cell that matches the label has the papers' value, or if the papers have none, as
        for epsilon.
    ratio : float
        Pruning ratio of the method.
    outcomes : tuple of str
        Some of `OUTCOMES`.
    datasets : tuple of str
        Names of the data sets; an empty tuple means every data set.
    direction : {"two-sided", "less", "greater"}
        Predicted direction of the method's difference from the baseline; two-sided if none is predicted.
    methods, baselines : tuple of Settings
        The settings of the cells that the labels name in the study's own grid. Only cells with these settings are
        compared. If they are empty, every cell that a label names is compared.
    runs_before : int
        Number of the study's pruned runs that had finished when a changed file first gave the comparison; 0 if the
        comparison was fixed in advance.
    """

    method: str
    baseline: str
    ratio: float
    outcomes: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    direction: Direction = "two-sided"
    methods: tuple[Settings, ...] = ()
    baselines: tuple[Settings, ...] = ()
    runs_before: int = 0

    @property
    def as_given(self) -> "Primary":
        """The comparison as the study's file gives it."""
        return self._replace(methods=(), baselines=(), runs_before=0)

    def among(self, cells: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
        """Return the indices of the methods and of the baselines among cells of one data set and model.

        Parameters
        ----------
        cells : sequence of mappings
            The names of all params of each cell, with their values.
        """
        if self.methods:
            methods, baselines = (
                [index for index, params in enumerate(cells) if any(_has(params, settings) for settings in known)]
                for known in (self.methods, self.baselines)
            )
            return methods, baselines
        at_ratio = [index for index, params in enumerate(cells) if params[schema.RATIO] == self.ratio]
        controls = [index for index, params in enumerate(cells) if params[schema.PRUNER] == schema.CONTROL]
        with_controls = list(dict.fromkeys([*at_ratio, *controls]))
        return _labelled(self.method, cells, at_ratio), _labelled(self.baseline, cells, with_controls)


def settings_of(params: Mapping[str, Any]) -> Settings:
    """Return the settings among the params of a cell."""
    return tuple(sorted((name, value) for name, value in params.items() if schema.role(name).role == "setting"))


# These params follow from the data and from the network, which a study's file does not know.
_UNKNOWN = (schema.TEST_FRACTION, schema.CHANNEL_GROUPS)
# What a setting counts as if a comparison's settings lack it: the value from before the option existed.
_LACKED = {name: value for name, value in schema.ABSENT.items() if name not in _UNKNOWN}


def _has(params: Mapping[str, Any], settings: Settings) -> bool:
    """Return whether a cell has the given settings, as far as its params are known."""
    expected = {**_LACKED, **dict(settings)}
    return all(params[name] == value for name, value in expected.items() if name in params)


def _labelled(label: str, cells: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> list[int]:
    return [indices[place] for place in MethodSelector.from_label(label).among([cells[index] for index in indices])]


class MethodSelector(NamedTuple):
    """The pruner and the settings that a label names."""

    pruner: str
    settings: Mapping[str, str]

    @classmethod
    def from_label(cls, label: str) -> "MethodSelector":
        """Read a label such as `mp cubic distill 0.5`, `mp class offsets` or `up (epsilon 0.001)`.

        Parameters
        ----------
        label : str

        Raises
        ------
        ValueError
            If the label names no pruner, or a setting without a value or twice.

        Examples
        --------
        >>> MethodSelector.from_label("mp cubic distill .5")
        MethodSelector(pruner='mp', settings={'schedule': 'cubic', 'distill': '0.5'})
        """
        spelled = _SEPARATORS.sub(" ", label)
        for of, in_words in schema.WORDS.items():
            spelled = spelled.replace(in_words, " ".join(of))
        words = iter(spelled.split())
        pruner = next(words, None)
        if pruner is None:
            raise ValueError("no method: write a pruner, followed by its settings, as in mp cubic or up epsilon 1e-3")
        settings: dict[str, str] = {}
        for word in words:
            bare = _BARE.get(word, schema.SCHEDULE)
            param = _NAMED.get(word.replace("-", "_"))
            name, value = (param, next(words, None)) if param else (bare, word)
            if value is None:
                raise ValueError(
                    f"{shortened(label)}: {name} has no value; write it after the name, as in up epsilon 1e-3"
                )
            if name in settings:
                raise ValueError(f"{shortened(label)}: {name} is given twice; leave one out")
            settings[name] = schema.canonical(name, value)
        return cls(pruner, settings)

    def among(self, cells: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the indices of the matching cells; each cell maps the names of params to values."""
        indices = [index for index, params in enumerate(cells) if self._names(params)]
        for name, absent in schema.ABSENT.items():
            as_printed = [index for index in indices if cells[index].get(name, absent) == absent]
            if name not in self.settings and as_printed:
                indices = as_printed
        return indices

    def _names(self, params: Mapping[str, Any]) -> bool:
        return params[schema.PRUNER] == self.pruner and all(
            value in _spellings(name, params.get(name, schema.ABSENT.get(name)))
            for name, value in self.settings.items()
        )


_SETTINGS = [name for name, declared in schema.PARAM_ROLES.items() if declared.role == "setting" and name not in _CELL]
_NAMED = {schema.short_name(name): name for name in _SETTINGS} | {name: name for name in _SETTINGS}
# A comma between numbers belongs to a value, as in `performance-weighted 0.5,1.0`.
_SEPARATORS = re.compile(r"[()]|,(?![\d.])")
# Values that labels show without the param's name. Any other value without a name is a schedule.
_BARE = {schema.INITIALIZATION: schema.START, schema.BF16: schema.PRECISION}


def _spellings(name: str, value: str | None) -> set[str | None]:
    """Return the spellings of a value in labels: in full, and with few digits if it is a number."""
    spellings = {value}
    with suppress(ValueError):
        if value is not None and schema.role(name).value == "float":
            spellings.add(schema.canonical(name, f"{float(value):.4g}"))
    return spellings


def described(primaries: Iterable[Primary], study: str | None = None, *, finished: int = 0) -> str:
    """Write primary comparisons as JSON, for a study's run and for an export.

    Parameters
    ----------
    primaries : iterable of Primary
    study : str, optional
        Name of the study.
    finished : int
        Number of the study's pruned runs that have finished.
    """
    comparisons = [_document(primary) for primary in primaries]
    header = {} if study is None else {"study": study, "finished": finished}
    return json.dumps({**header, "primary": comparisons}, indent=1, ensure_ascii=False) + "\n"


def _document(primary: Primary) -> dict[str, Any]:
    known = {name: [dict(settings) for settings in getattr(primary, name)] for name in ("methods", "baselines")}
    later = {"runs_before": primary.runs_before, **known}
    given = {name: value for name, value in primary._asdict().items() if name not in later}
    return {**given, **{name: value for name, value in later.items() if value}}


def of_artifacts(artifacts: Artifacts) -> list[Primary]:
    """Return the primary comparisons of an experiment's studies; if a study was repeated, those of its last run.

    A comparison that the first run of a study did not have gets `runs_before`.

    Raises
    ------
    StudyError
        If a file of primary comparisons was not written by `described`.
    """
    of_study: dict[str, list[_File]] = {}
    for run_id, content in artifacts.get(schema.PRIMARY, {}).items():
        file = _read(content, f"{schema.PRIMARY} of run {run_id}")
        of_study.setdefault(file.study, []).append(file)
    return list(dict.fromkeys(primary for own in of_study.values() for primary in _newest(own)))


class _File(NamedTuple):
    """A file of primary comparisons: name of the study, and number of finished runs."""

    study: str
    finished: int
    primaries: list[Primary]


def _newest(files: Sequence[_File]) -> list[Primary]:
    """Return the comparisons of a study's last run, with `runs_before` from its earlier runs."""
    return [primary._replace(runs_before=_runs_before(primary, files)) for primary in files[-1].primaries]


def _runs_before(primary: Primary, files: Sequence[_File]) -> int:
    """Return how many runs had finished when the comparison, with its present settings, first stood in a file."""
    same = [[own for own in file.primaries if own.as_given == primary.as_given] for file in files]
    settings = (primary.methods, primary.baselines)
    others = [
        n for n, own in enumerate(same) if any(it.methods and (it.methods, it.baselines) != settings for it in own)
    ]
    first = next(number for number in range(max(others, default=-1) + 1, len(files)) if same[number])
    return files[first].finished if first else 0


def _read(content: bytes, where: str) -> _File:
    try:
        document = json.loads(content)
        primaries = [_primary(**fields) for fields in document["primary"]]
        return _File(str(document.get("study", "")), int(document.get("finished", 0)), primaries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StudyError(
            f"{where}: no list of primary comparisons ({error!r}); run or export the study again"
        ) from error


def _primary(
    method: str,
    baseline: str,
    ratio: float,
    outcomes: Sequence[str],
    datasets: Sequence[str] = (),
    direction: Direction = "two-sided",
    methods: Sequence[Mapping[str, Any]] = (),
    baselines: Sequence[Mapping[str, Any]] = (),
    runs_before: int = 0,
) -> Primary:
    names = tuple(map(str, datasets))
    own, others = (tuple(map(_settings, side)) for side in (methods, baselines))
    return checked(
        Primary(method, baseline, float(ratio), tuple(outcomes), names, direction, own, others, int(runs_before))
    )


def _settings(values: Mapping[str, Any]) -> Settings:
    return settings_of({name: float(value) if name == schema.RATIO else str(value) for name, value in values.items()})


def checked(primary: Primary) -> Primary:
    """Return a primary comparison after checking its method, baseline, outcomes and direction.

    Raises
    ------
    ValueError
        If one of them is invalid.
    """
    MethodSelector.from_label(primary.method)
    MethodSelector.from_label(primary.baseline)
    for value, choices in (*((name, OUTCOMES) for name in primary.outcomes), (primary.direction, DIRECTIONS)):
        if value not in choices:
            raise ValueError(f"{value}: {did_you_mean(str(value), choices)}")
    return primary
