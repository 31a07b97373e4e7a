"""Where the data come from that belong to a study beside its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd


class Source(NamedTuple):
    """Where a field of a study comes from, and how it is exported.

    Attributes
    ----------
    pull : callable
        Takes the runs, the experiment and the tracking URI.
    read : callable
        Takes the folders of exports.
    write : callable
        Takes the field's value and a folder; returns the files written, relative to the folder.
    """

    pull: Callable[[pd.DataFrame, str | None, str | None], Any]
    read: Callable[[Sequence[Path]], Any]
    write: Callable[[Any, Path], list[Path]]
