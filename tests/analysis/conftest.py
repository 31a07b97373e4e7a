"""A fixture for audits whose picture nobody looks at."""

import pytest
from matplotlib.figure import Figure

from analysis.compare import picture


@pytest.fixture
def blank_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the picture of every audit blank, because drawing it takes longer than the audit."""
    monkeypatch.setattr(picture, "figure", lambda comparison: Figure((1, 1)))
