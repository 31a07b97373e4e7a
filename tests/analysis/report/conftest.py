"""The tests of a report's sections keep texts as a report does."""

from collections.abc import Iterator

import pandas as pd
import pytest


@pytest.fixture(scope="package", autouse=True)
def python_texts() -> Iterator[None]:
    """Store texts as Python's, as `report.report` does, because small frames are made of them sooner."""
    with pd.option_context("mode.string_storage", "python"):
        yield
