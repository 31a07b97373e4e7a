"""Match the images of several pandas objects by their indices."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import shortened


def aligned(label: Any, others: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Reorder the Series and DataFrames that are indexed by image names, so that they match the first such index.

    A DataFrame of groups has a row for each image, other DataFrames have a column. A numeric index is not used for
    matching, since a Series may have been renumbered after a shuffle.

    Parameters
    ----------
    label : Series or anything else
        Only the indices of pandas objects with a unique index are compared.
    others : mapping of str to Series, DataFrame, list or mapping of Series, or anything else
        Predictions, groups and confidences, by the name of the argument.

    Returns
    -------
    dict of str
        `others` in the order of the first index.
    list of str
        Notes on what was matched.

    Raises
    ------
    StudyError
        If string indices or columns name different images, or if numeric indices have the same numbers in different
        orders.

    Examples
    --------
    >>> label = pd.Series([0, 1], ["a.png", "b.png"])
    >>> others, notes = aligned(label, {"before": pd.Series([1, 0], ["b.png", "a.png"])})
    >>> others["before"].tolist(), notes
    ([0, 1], ['Matched with label by the index, because the order differed: before.'])
    """
    indices = _indices({"label": label, **others})
    if len(indices) < 2:
        return dict(others), []
    first, reference = indices[0]
    moved = [name for name, index in indices if _is_moved(name, index, first, reference)]
    notes = [f"Matched with {first} by the index, because the order differed: {', '.join(dict.fromkeys(moved))}."]
    return {name: _in_order(name, value, reference) for name, value in others.items()}, notes if moved else []


def _indices(arguments: Mapping[str, Any]) -> list[tuple[str, pd.Index]]:
    """Return the indices of images that repeat no value, each with its argument name."""
    indices = [(name, _index(name, part)) for name, value in arguments.items() for part in _parts(value)]
    return [(name, index) for name, index in indices if index is not None and index.is_unique]


def _index(name: str, part: Any) -> pd.Index | None:
    """Return the index of the images of an argument; the numbers of a DataFrame's columns are none."""
    if _are_networks(name, part):
        return part.columns if _is_text(part.columns) else None
    return part.index if isinstance(part, pd.Series | pd.DataFrame) else None


def _are_networks(name: str, part: Any) -> bool:
    return isinstance(part, pd.DataFrame) and name != "groups"


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value.values()]
    return [*value] if isinstance(value, list | tuple) else [value]


def _is_moved(name: str, index: pd.Index, first: str, reference: pd.Index) -> bool:
    """Return whether a string index names the images of the reference in another order."""
    if index.equals(reference) or len(index) != len(reference):
        return False
    others = index.difference(reference)
    if _is_text(index) and _is_text(reference):
        if len(others):
            raise StudyError(
                f"{name} has the image {shortened(others[0])}, but {first} does not: give predictions of the same "
                "images"
            )
        return True
    if not len(others):
        raise StudyError(
            f"{name} and {first} have the same numbers as index, in different orders: if the index identifies images, "
            f"give {name}.reindex({first}.index), otherwise {name}.to_numpy()"
        )
    return False


def _is_text(index: pd.Index) -> bool:
    return index.inferred_type == "string"


def _in_order(name: str, value: Any, reference: pd.Index) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(name, part, reference) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_in_order(name, part, reference) for part in value]
    index = _index(name, value)
    is_named = index is not None and index.is_unique and _is_text(index) and _is_text(reference)
    if index is None or not is_named or len(index) != len(reference):
        return value
    return value.reindex(columns=reference) if _are_networks(name, value) else value.reindex(reference)
