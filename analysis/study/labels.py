"""Name methods, their settings and their levels in tables, pictures and sentences."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from analysis.rendering.formats import short_ratio
from analysis.runs import frames, schema
from analysis.runs.names import SPARSE_SCHEDULES
from analysis.study.settings import CONTROL, ITERATION, is_iterated, own_scope

# The value of `keep` in Paganini (2020), which labels omit.
_PAPERS_KEEP = "0.8"
# Labels show the values of these params without the params' names.
_NAMED_BY_VALUE = (schema.SCHEDULE, schema.START, schema.PRECISION, schema.NUMBER_FORMAT)
# Largest number of characters of a setting's label; a setting with a longer label is shown by a letter.
_LONGEST_LABEL = len("initialization scope layer")
_LONGEST_MITIGATION = len("cubic constraint equalized-loss (images validation)")
TEACHER = "teacher"
_DISTILL = re.compile(rf"((?<!\+) )?(?<![\w-]){schema.DISTILL} (\S+)( (?=\w))?")
_MANY_DIGITS = re.compile(r"\d+\.\d{7,}(e-\d+)?")

# A setting consists of the params that differ from the papers' values, as (name, value); settings may have letters.
Setting: TypeAlias = tuple[tuple[str, str], ...]
Letters: TypeAlias = Mapping[Setting, str]
NO_LETTERS: Letters = MappingProxyType({})


def level_label(cell: Mapping[str, Any], reached: float) -> str:
    """Describe how far a cell is compressed: `ratio 10`, `sparsity 0.9`, `8 bits`.

    All levels of the control of iterative pruning have ratio 1, so they are named by their iteration.

    Parameters
    ----------
    cell : mapping
        The cell's settings, by column.
    reached : float
        As `settings.level` returns it for a run of the cell.
    """
    if cell[schema.PRUNER] in frames.NUMBER_FORMATS:
        return f"{reached:g} bits"
    if cell[schema.PRUNER] == CONTROL and is_iterated(pd.DataFrame([cell])).all():
        return f"iteration {cell[ITERATION]}"
    # Ratios are at least 1, and sparsities are below 1.
    return f"sparsity {reached:g}" if reached < 1 else f"ratio {short_ratio(reached)}"


def method_label(
    params: Mapping[str, Any], shown: Sequence[str], letters: Letters = NO_LETTERS, *, exact: bool = False
) -> str:
    """Name the pruner and its setting, as in `mp`, `mp cubic class offsets`, `fixed-int8`, `mp fixed-int8` or `mp A`.

    Parameters
    ----------
    params : mapping
        Values of params by column, such as a row of a frame.
    shown : sequence of str
        As `shown_settings` returns it.
    letters : mapping, optional
        As `setting_letters` returns it; without it no setting has a letter.
    exact : bool
        Whether to write numbers with all their digits, as `need_all_digits` returns it.
    """
    return " ".join(filter(None, [params[schema.PRUNER], setting_label(params, shown, letters, exact=exact)]))


def has_several_teachers(runs: pd.DataFrame) -> bool:
    """Return whether a study has more than one nonzero weight of distillation."""
    weights = set(runs.get(frames.column(schema.DISTILL), pd.Series(dtype=str)).dropna())
    return len(weights - {schema.ABSENT[schema.DISTILL]}) > 1


def in_words(label: str, *, with_weight: bool) -> str:
    """Write `teacher` instead of the param `distill` in a label: `mp, teacher` for `mp distill 0.5`.

    Parameters
    ----------
    label : str
        As `method_label` and `setting_label` return it.
    with_weight : bool
        Whether to give the teacher's weight: `mp, teacher 0.5`. This is needed if `has_several_teachers` returns True.
    """

    def teacher(distill: re.Match[str]) -> str:
        before, weight, after = distill.groups()
        return f"{', ' if before else ''}{TEACHER}{f' {weight}' if with_weight else ''}{', ' if after else ''}"

    return _DISTILL.sub(teacher, label)


def need_all_digits(runs: pd.DataFrame, shown: Sequence[str]) -> bool:
    """Return whether two settings of a study have the same label if numbers are shortened."""
    rows = runs[[schema.PRUNER, *shown]].drop_duplicates().to_dict("records") if shown else []
    return len({(row[schema.PRUNER], _setting(row, shown)) for row in rows}) > len(
        {method_label(row, shown) for row in rows}
    )


def setting_label(
    params: Mapping[str, Any], shown: Sequence[str], letters: Letters = NO_LETTERS, *, exact: bool = False
) -> str:
    """Return a setting's letter or, without one, its differences from the papers, such as `A` or `cubic (epochs 5)`.

    The string is empty for the papers' setting.
    """
    how, others = setting_labels(params, shown, exact=exact)
    plain = " ".join([*how, *([f"({', '.join(others)})"] if others else [])])
    return letters.get(_setting(params, shown), plain)


def setting_letters(runs: pd.DataFrame, shown: Sequence[str]) -> Letters:
    """Assign letters to the settings whose labels are too long for a table or a picture, or not unique.

    A setting gets a letter if its label has more than 26 characters (51 if it names a mitigation), or if another
    setting has the same label. Settings are sorted by their values, so that the order of the runs does not matter.

    Returns
    -------
    dict of setting -> str
        A, B, ..., Z, AA, AB, ...
    """
    rows = runs[[schema.PRUNER, *shown]].drop_duplicates().to_dict("records") if shown else []
    labels = {_setting(row, shown): setting_label(row, shown) for row in rows}
    used = Counter(labels.values())
    long = [setting for setting, label in labels.items() if len(label) > _most_letters(setting) or used[label] > 1]
    return {setting: _letter(index) for index, setting in enumerate(sorted(long, key=_order))}


def _most_letters(setting: Setting) -> int:
    return _LONGEST_MITIGATION if set(dict(setting)) & set(schema.mitigations()) else _LONGEST_LABEL


def letter_key(runs: pd.DataFrame, shown: Sequence[str], letters: Letters) -> pd.DataFrame:
    """Tabulate the settings that have letters: a row for each letter, and a column for each param."""
    rows = runs[[schema.PRUNER, *shown]].drop_duplicates().fillna("").to_dict("records") if letters else []
    named = {letters.get(_setting(row, shown)): row for row in reversed(rows)}
    table = pd.DataFrame([named[letter] for letter in letters.values()], columns=shown, index=list(letters.values()))
    if ITERATION in table:
        table[ITERATION] = table[ITERATION].mask(is_iterated(table), "")
    table = table.loc[:, table.ne("").any()].rename(columns=frames.param)
    table = table if table.map(_short).duplicated().any() else table.map(_short)
    return table.rename_axis("letter").reset_index()


def _setting(params: Mapping[str, Any], shown: Sequence[str]) -> Setting:
    """Return the shown params that differ from the papers' values, as (name, value)."""
    values = _values(params, sorted(shown))
    return tuple((name, value) for name, value in values.items() if value and value != _former(name, params))


def _values(params: Mapping[str, Any], shown: Sequence[str]) -> dict[str, str]:
    """Return the shown params by name, without those implied by the pruner and without the iteration of a level."""
    values = {frames.param(column): params[column] for column in shown if pd.notna(params.get(column))}
    if values.get(schema.SCOPE) == own_scope(params):
        del values[schema.SCOPE]
    if params.get(schema.PRUNER) in frames.NUMBER_FORMATS:
        values.pop(schema.NUMBER_FORMAT, None)
    if values.get(schema.KEEP, "") not in ("", schema.ABSENT[schema.KEEP]):
        values.pop(schema.ITERATION, None)
    return values


def _former(param: str, params: Mapping[str, Any]) -> str | None:
    """Return the default value of a param, which labels omit."""
    return own_scope(params) if param == schema.SCOPE else schema.ABSENT.get(param)


def _order(setting: Setting) -> list[tuple[str, float, str]]:
    """Return the sort key of a setting: the names of its params, and their values as numbers if possible."""
    numbers = ((name, pd.to_numeric(value, errors="coerce"), value) for name, value in setting)
    return [(name, np.inf if pd.isna(number) else float(number), value) for name, number, value in numbers]


def _letter(index: int) -> str:
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def setting_labels(
    params: Mapping[str, Any], shown: Sequence[str], *, exact: bool = False
) -> tuple[list[str], list[str]]:
    """Return labels of params that differ from the papers' values, and of params that the papers leave open."""
    values = _values(params, shown)
    starts_anew = values.get(schema.START) == schema.INITIALIZATION
    treatment = values.pop(schema.WEIGHT_TREATMENT, "")
    if values.get(schema.KEEP) == _PAPERS_KEEP:
        del values[schema.KEEP]
    if starts_anew and values.get(schema.SCHEDULE) in SPARSE_SCHEDULES:
        values.pop(schema.START)  # the schedule implies it
    elif starts_anew:
        values.pop(schema.SCHEDULE, None)  # the start implies it
    how = [
        values[name] if name in _NAMED_BY_VALUE else schema.words(name, values[name])
        for name in schema.ABSENT
        if name in values and values[name] != _former(name, params)
    ]
    write = str if exact else _short
    how += [treatment] if treatment else []
    return how, [
        f"{schema.short_name(name)} {write(value)}" for name, value in values.items() if name not in schema.ABSENT
    ]


def _short(value: str) -> str:
    """Shorten a number with many digits, such as an epsilon found by a search."""
    return f"{float(value):.4g}" if _MANY_DIGITS.fullmatch(value) else value
