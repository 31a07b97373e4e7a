"""Read a table that runs log as a CSV artifact."""

import io
import logging
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from analysis.common import csv_text
from analysis.common.errors import StudyError, first_line
from analysis.runs.frames import RUN_ID

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunTable:
    """A kind of table that runs log.

    Parameters
    ----------
    artifact : str
        Name of the artifact in each run.
    columns : dict of name -> type
        The type is str, int, or float; only floats may be missing.
    key : collection of str
        The columns that identify a row of a run.
    contents : str
        Name of the table's content in errors.
    check : callable
        Raises a ValueError if the values of a table are impossible.
    """

    artifact: str
    columns: Mapping[str, type]
    key: Collection[str]
    contents: str
    check: Callable[[pd.DataFrame], None]

    def parse(self, content: bytes, where: str) -> pd.DataFrame:
        """Parse an artifact's content into a table.

        Parameters
        ----------
        content : bytes
        where : str
            Location to name in errors.

        Raises
        ------
        StudyError
            If the content is damaged, or is not such a table.
        """
        texts = {name: str for name, kind in self.columns.items() if kind is str}
        missing = {name: [""] for name, kind in self.columns.items() if kind is float}
        try:
            table = csv_text.read(
                io.BytesIO(content), dtype=texts, keep_default_na=False, na_values=missing, encoding="utf-8"
            )
            if list(table) != list(self.columns):
                raise ValueError(f"its columns are not {', '.join(self.columns)}")
            if table.empty:
                raise ValueError("no row in it")
            self._check(table)
        # Given arbitrary bytes, pandas raises errors of more than a dozen types.
        except Exception as error:
            raise StudyError(f"{where}: no {self.contents} ({first_line(error)[:200]})") from error
        return table

    def _check(self, table: pd.DataFrame) -> None:
        fits = {int: is_integer_dtype, float: is_numeric_dtype}
        for name, kind in self.columns.items():
            if kind in fits and not fits[kind](table[name]):
                raise ValueError(f"{name} has type {table[name].dtype}")
        self.check(table)
        if table.duplicated([*self.key]).any():
            raise ValueError("a row occurs twice")

    def as_csv(self, table: pd.DataFrame) -> bytes:
        """Write a table as CSV that `parse` reads."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.artifact
            csv_text.write(table, path)
            return path.read_bytes()

    def join(self, contents: Mapping[str, bytes]) -> pd.DataFrame:
        """Join the tables of runs into one, with run_id as the first column.

        Runs with a damaged artifact are left out, with a warning for each.
        """
        tables = []
        for run_id, content in contents.items():
            try:
                table = self.parse(content, f"{self.artifact} of run {run_id}")
            except StudyError as error:
                logger.warning("left out: %s", error)
            else:
                table.insert(0, RUN_ID, run_id)
                tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else self.nothing()

    def nothing(self) -> pd.DataFrame:
        """Return an empty table."""
        return pd.DataFrame({name: np.array([], kind) for name, kind in {RUN_ID: str, **self.columns}.items()})
