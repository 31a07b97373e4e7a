"""The one exception that both command lines turn into one line."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """A hint to the name nearest to one that there is not; where none is near, another one, or all of them."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"it takes {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 500 characters; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


class StudyError(Exception):
    """Something a user can mend: the message says what, where, and what to do.

    Parameters
    ----------
    message : str, one line
    option : str, optional
        The option whose value is at fault, as typed (`--ratio`); makes it a usage error, exit code 2.
    """

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option
