"""Check the types of arguments passed to the public Python functions."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import shortened

_VARIANCES = ("welch", "pooled")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_path(value: Any) -> bool:
    return isinstance(value, str | PathLike) and bool(str(value)) and _is_text(str(value))


def _are_texts(value: Any) -> bool:
    return not isinstance(value, str | bytes) and isinstance(value, Sequence) and all(map(_is_text, value))


def _are_paths(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_text(name) and _is_path(path) for name, path in value.items())
    return _is_path(value) or _are_texts(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _is_truth(value: Any) -> bool:
    return isinstance(value, int | np.bool_)


_TEXT, _NUMBER, _TRUTH = (_is_text, "a string"), (_is_number, "a number"), (_is_truth, "True or False")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("experiment", "tracking_uri", "run_id"), _TEXT),
    **dict.fromkeys(("max_accuracy_loss", "max_alpha", "max_class_loss", "min_accuracy", "fairness_value"), _NUMBER),
    "confidence": _NUMBER,
    **dict.fromkeys(("paper", "log"), _TRUTH),
    **dict.fromkeys(("output", "file"), (_is_path, "a path")),
    "groups": (_are_paths, "a path, or a dict of one path per data set"),
    "ignore_params": (_are_texts, "a list of names"),
    "variance": (lambda value: _is_text(value) and value in _VARIANCES, " or ".join(_VARIANCES)),
}
_MAY_BE_LEFT_OUT = {
    *("experiment", "tracking_uri", "groups"),
    *("max_accuracy_loss", "max_class_loss", "max_alpha", "min_accuracy", "fairness_value"),
}


def check(**arguments: Any) -> None:
    """Refuse arguments of the wrong type.

    Parameters
    ----------
    **arguments
        Arguments of the public functions, by name.

    Raises
    ------
    StudyError
        If an argument has the wrong type. Its range is not checked.

    Examples
    --------
    >>> check(experiment=None, max_alpha=1.2)
    >>> check(max_alpha="large")
    Traceback (most recent call last):
    analysis.common.errors.StudyError: max_alpha is 'large': give a number
    """
    for name, value in arguments.items():
        fits, kind = _KINDS[name]
        if not (value is None and name in _MAY_BE_LEFT_OUT) and not fits(value):
            raise StudyError(f"{name} is {shortened(value)}: give {kind}")
