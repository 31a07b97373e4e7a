"""Cache results in the study that they are computed from."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def once(make: Callable[[S], T]) -> Callable[[S], T]:
    """Cache the result of a function in its only argument, which is a study or a study's arrays."""

    @wraps(make)
    def made_once(study: S) -> T:
        results: dict[Callable[[S], T], T] = vars(study).setdefault("_made", {})
        if make not in results:
            results[make] = make(study)
        return results[make]

    return made_once
