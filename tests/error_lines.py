"""Errors of one line: among what a command printed, where a tip may follow, and as they are raised."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from analysis.common.errors import StudyError, option_name


def error_line(output: str) -> str:
    """Return the only line that begins with `error:`."""
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    return line


@contextmanager
def refused(option: str, message: str | None = None) -> Iterator[None]:
    """Assert that a block raises an error of one line with a message, which a regular expression finds, on an option.

    The option is a field's name, or what is typed on a command line.
    """
    with pytest.raises(StudyError, match=message) as error:
        yield
    assert option in (error.value.option, option_name(error.value.option))
    assert "\n" not in str(error.value)
