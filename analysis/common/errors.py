"""Define the exceptions that both command lines print without a traceback, and helpers to word them."""

import difflib
from collections.abc import Iterable

from analysis.common.masking import without_secrets
from analysis.common.printable import printable


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Suggest the known name nearest to an unknown one; if none is near, return `otherwise`, by default all names."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"it takes {', '.join(names)}"


def option_name(name: str) -> str:
    """Return the option for a field name: `--batch-size` for `batch_size`."""
    return "--" + name.replace("_", "-")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without secrets, at most 500 characters.

    If the error has no message, return the name of its type.
    """
    lines = without_secrets(str(error)).strip().splitlines()
    return printable(lines[0][:500]) if lines else type(error).__name__


class StudyError(Exception):
    """An error that the user can fix.

    Parameters
    ----------
    *lines : str
        One line with the fault, its place and the remedy; further lines if there are several faults. Secrets in the
        lines are masked.
    option : str, optional
        The option whose value is wrong, by the name of its field (`batch_size`), or an argument in capitals (`FILE`).
        If it is given, the error is a usage error with exit code 2.
    """

    def __init__(self, *lines: str, option: str | None = None) -> None:
        super().__init__(*(printable(without_secrets(line)) for line in lines))
        self.option = option

    def __str__(self) -> str:
        return "\n  ".join(self.args)


class NotFiniteError(StudyError):
    """A StudyError because a training diverged, or because pruning scores are NaN or infinite."""
