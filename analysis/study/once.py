"""What follows from a study is worked out once: the study keeps it."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def once(make: Callable[[S], T]) -> Callable[[S], T]:
    """Return a function of a study, or of its arrays, that is worked out once for each.

    The study keeps what the function returned, and whoever asks again gets the same object.
    """

    @wraps(make)
    def made_once(study: S) -> T:
        results: dict[Callable[[S], T], T] = vars(study).setdefault("_made", {})
        if make not in results:
            results[make] = make(study)
        return results[make]

    return made_once
