"""Joining frames of cells by their settings, whatever each frame has of a param.

A param that no run of a frame has is a column of NaN there, or none at all, and text in another frame. pandas refuses
to merge these, and frames that are selected by such a column raise a KeyError.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.runs import frames, schema

_KEY = "key of a join"


def join(
    left: pd.DataFrame,
    right: pd.DataFrame,
    on: Sequence[str],
    *,
    how: Literal["inner", "left"] = "inner",
    suffixes: tuple[str, str] = ("_x", "_y"),
) -> pd.DataFrame:
    """Merge two frames as pandas does, but by the texts of their keys; a missing param has its legacy default.

    Parameters
    ----------
    left, right : DataFrame
    on : sequence of str
        Columns of settings, and others. A frame may lack a param.
    how : {"inner", "left"}
    suffixes : tuple of str
        Of other columns that both frames have.

    Returns
    -------
    DataFrame
        In the order of `left`, whose key columns are kept.
    """
    texts = pd.concat([_key_texts(left, on), _key_texts(right, on)], ignore_index=True)
    numbers = texts.groupby(list(on), sort=False).ngroup().to_numpy()
    own = left.assign(**{_KEY: numbers[: len(left)]})
    other = right.drop(columns=list(on), errors="ignore").assign(**{_KEY: numbers[len(left) :]})
    return own.merge(other, on=_KEY, how=how, suffixes=suffixes).drop(columns=_KEY)


def is_alike(frame: pd.DataFrame, row: Mapping[str, Any] | pd.Series, on: Sequence[str]) -> np.ndarray:
    """Return which rows of a frame agree with one row in some columns, as `join` compares them: (rows,), bool."""
    texts = [key_text(name, row.get(name)) for name in on]
    return np.asarray(_key_texts(frame, on).eq(texts).all(axis=1), dtype=bool)


def with_params(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of a frame; a param that the frame lacks has its legacy default, or else is missing."""
    lacking = [name for name in columns if name not in frame]
    defaults = {name: schema.FORMERLY.get(frames.param(name), np.nan) for name in lacking}
    return frame.assign(**defaults)[list(columns)]


def key_text(column: str, value: Any) -> str:
    """Return a value as the text that keys are compared by: numbers in one way, a missing param as its legacy default.

    Examples
    --------
    >>> key_text("params.iteration", 2), key_text("ratio", 2), key_text("params.color", "green")
    ('2', '2.0', 'green')
    >>> key_text("params.schedule", None), key_text("params.color", float("nan"))
    ('one-shot', '')
    """
    param = frames.param(column)
    if pd.isna(value):
        return schema.FORMERLY.get(param, "")
    is_number = isinstance(value, int | float | np.number)
    return schema.canonical(param, repr(float(value)) if is_number else str(value))


def _key_texts(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    texts = {}
    for name in columns:
        numbers, values = pd.factorize(frame[name] if name in frame else np.full(len(frame), np.nan))
        of_values = np.array([*(key_text(name, value) for value in values), key_text(name, None)], dtype=object)
        texts[name] = of_values[numbers]  # the number of a missing value is -1
    return pd.DataFrame(texts, index=frame.index)
