"""Kinds of pruning, which a mitigation is compared within."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.rendering.formats import short_ratio
from analysis.report.mitigation.networks import family
from analysis.runs import schema
from analysis.study.labels import method_label


def kinds(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """Number the kinds of pruning; a kind has the same number on all data sets and models.

    Two kinds may have the same label, because labels shorten numbers.
    """
    of_family = rows.assign(**{schema.PRUNER: rows[schema.PRUNER].map(family)})
    return of_family.groupby(columns, sort=False, dropna=False).ngroup()


def by_ratio(kind: tuple[float, str]) -> tuple[float, int, str]:
    """Return the sort key of a kind of pruning, given as ratio and label."""
    return kind[0], len(kind[1]), kind[1]


def kind_label(cell: Mapping[str, Any], columns: list[str]) -> str:
    """Return a kind of pruning in words, without default settings: `mp cubic, ratio 20`."""
    settings = {name: cell[name] for name in columns if name not in (schema.PRUNER, schema.RATIO) and cell[name] != ""}
    method = method_label({**settings, schema.PRUNER: family(cell[schema.PRUNER])}, list(settings))
    return f"{method}, ratio {short_ratio(cell[schema.RATIO])}"
