"""Sources of the data that belong to a study in addition to its runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd


class Source(NamedTuple):
    """Functions that pull, read and write a field of `StudyData`.

    Attributes
    ----------
    pull : callable
        Takes the runs, the experiment and the tracking URI; returns the field's value.
    read : callable
        Takes the folders of exports; returns the field's value.
    write : callable
        Takes the field's value and a folder; returns the files written, relative to the folder.
    """

    pull: Callable[[pd.DataFrame, str | None, str | None], Any]
    read: Callable[[Sequence[Path]], Any]
    write: Callable[[Any, Path], list[Path]]
