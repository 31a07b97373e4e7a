"""Read a table that runs log as a CSV artifact, and export it for all runs of a study."""

import gzip
import io
import logging
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from analysis.common import csv_text, files
from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import GIB, SizeLimit
from analysis.runs import study_archives
from analysis.runs.frames import RUN_ID

_LARGEST = SizeLimit(1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunTable:
    """A kind of table that runs log.

    Parameters
    ----------
    artifact : str
        Name of the artifact in each run; the file in an export of a study has this name and the suffix `.gz`.
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

    def parse(self, content: bytes, where: str, *, names: Collection[str] = ()) -> pd.DataFrame:
        """Parse an artifact's content into a table.

        Parameters
        ----------
        content : bytes
        where : str
            Location to name in errors.
        names : collection of str
            Further text columns that precede the others.

        Raises
        ------
        StudyError
            If the content is damaged, or is not such a table.
        """
        columns = dict.fromkeys(names, str) | dict(self.columns)
        texts = {name: str for name, kind in columns.items() if kind is str}
        missing = {name: [""] for name, kind in columns.items() if kind is float}
        try:
            table = csv_text.read(
                io.BytesIO(content), dtype=texts, keep_default_na=False, na_values=missing, encoding="utf-8"
            )
            if list(table) != list(columns):
                raise ValueError(f"its columns are not {', '.join(columns)}")
            if table.empty:
                raise ValueError("no row in it")
            self._check(table, [*names, *self.key])
        # Given arbitrary bytes, pandas raises errors of more than a dozen types.
        except Exception as error:
            raise StudyError(f"{where}: no {self.contents} ({first_line(error)[:200]})") from error
        return table

    def _check(self, table: pd.DataFrame, key: list[str]) -> None:
        fits = {int: is_integer_dtype, float: is_numeric_dtype}
        for name, kind in self.columns.items():
            if kind in fits and not fits[kind](table[name]):
                raise ValueError(f"{name} has type {table[name].dtype}")
        self.check(table)
        if table.duplicated(key).any():
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

    def export(self, table: pd.DataFrame | None, folder: Path) -> list[Path]:
        """Write a table from `join` to a folder; equal tables give equal bytes.

        If it is empty or None, the table of an earlier export is deleted.

        Returns
        -------
        list of Path
            The files written, relative to `folder`.
        """
        with files.aside(folder, obsolete=[self._export]) as scratch:
            if table is not None and not table.empty:
                (scratch / self._export).write_bytes(gzip.compress(self.as_csv(table), mtime=0))
            return files.written(scratch)

    def read(self, folders: Iterable[Path]) -> pd.DataFrame:
        """Read and join the tables of exports (folders or archives), some of which may have none.

        Raises
        ------
        StudyError
            If a file is damaged, or if two folders have different rows for a run.
        """
        with study_archives.unpacked(folders) as unpacked:
            tables = [self._read(path) for folder in unpacked if (path := folder / self._export).is_file()]
        if not tables:
            return self.nothing()
        rows = pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)
        if (twice := rows.duplicated([RUN_ID, *self.key])).any():
            raise StudyError(
                f"two folders have different {self.contents} for run {rows.loc[twice, RUN_ID].iloc[0]}: leave one out, "
                "or export both again",
                option="frames",
            )
        return rows

    @property
    def _export(self) -> str:
        return f"{self.artifact}.gz"

    def _read(self, path: Path) -> pd.DataFrame:
        try:
            with gzip.open(path) as file:
                content = file.read(int(_LARGEST.gib * GIB) + 1)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise StudyError(f"{path}: damaged ({first_line(error)}); export the study again") from error
        _LARGEST.check(path, len(content))
        return self.parse(content, str(path), names=[RUN_ID])
