"""Join frames of cells by their settings, even if a frame lacks a param.

If no run of a frame has a param, the param's column is missing or NaN in this frame, while it is text in other frames.
pandas refuses to merge on such columns, and selecting by a missing column raises a KeyError.
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
    """Merge two frames by keys as text, with the value in `schema.ABSENT` for a missing param.

    Parameters
    ----------
    left, right : DataFrame
    on : sequence of str
        Columns to join by. A frame may lack columns of params.
    how : {"inner", "left"}
    suffixes : tuple of str
        Suffixes for other columns that both frames have.

    Returns
    -------
    DataFrame
        The merged rows in the order of `left`, with its key columns.
    """
    texts = pd.concat([_key_texts(left, on), _key_texts(right, on)], ignore_index=True)
    numbers = texts.groupby(list(on), sort=False).ngroup().to_numpy()
    own = left.assign(**{_KEY: numbers[: len(left)]})
    other = right.drop(columns=list(on), errors="ignore").assign(**{_KEY: numbers[len(left) :]})
    return own.merge(other, on=_KEY, how=how, suffixes=suffixes).drop(columns=_KEY)


def is_alike(frame: pd.DataFrame, row: Mapping[str, Any] | pd.Series, on: Sequence[str]) -> np.ndarray:
    """Return a mask (rows,) of a frame's rows that match one row in some columns, compared as by `join`."""
    texts = [key_text(name, row.get(name)) for name in on]
    return np.asarray(_key_texts(frame, on).eq(texts).all(axis=1), dtype=bool)


def with_params(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Select columns of a frame; fill a missing column with the param's value in `schema.ABSENT`, or with NaN."""
    lacking = [name for name in columns if name not in frame]
    defaults = {name: schema.ABSENT.get(frames.param(name), np.nan) for name in lacking}
    return frame.assign(**defaults)[list(columns)]


def key_text(column: str, value: Any) -> str:
    """Return the text by which a key is compared: numbers in canonical form, other text unchanged.

    A missing param has its text in `schema.ABSENT`, or an empty text.

    Examples
    --------
    >>> key_text("params.iteration", 2), key_text("ratio", 2), key_text("params.color", "green")
    ('2', '2.0', 'green')
    >>> key_text("params.schedule", None), key_text("params.color", float("nan"))
    ('one-shot', '')
    """
    param = frames.param(column)
    if pd.isna(value):
        return schema.ABSENT.get(param, "")
    is_number = isinstance(value, int | float | np.number)
    return schema.canonical(param, repr(float(value)) if is_number else str(value))


def _key_texts(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    texts = {}
    for name in columns:
        numbers, values = pd.factorize(frame[name] if name in frame else np.full(len(frame), np.nan))
        of_values = np.array([*(key_text(name, value) for value in values), key_text(name, None)], dtype=object)
        texts[name] = of_values[numbers]  # the number of a missing value is -1
    return pd.DataFrame(texts, index=frame.index)
