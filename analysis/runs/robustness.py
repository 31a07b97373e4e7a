"""How many corrupted images of each class runs have right: the artifact `corruptions.csv` and its export."""

import gzip
import io
import logging
import tempfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype

from analysis.runs import csv_text, files, schema
from analysis.runs.errors import StudyError, first_line
from analysis.runs.frames import RUN_ID
from analysis.runs.input_files import GIB, SizeLimit

# The corruption of images as they are, whose severity is 0. A folder of images has its own name and severity 0.
CLEAN = "none"
# What tables call the mean over corruptions. No folder may have either name.
ALL = "all"
KEY = ["corruption", "severity", "class"]
COUNTS = ["support", "right", "right_top5"]
# `measured` is a digest of the images: counts with the same one are of the same images.
COLUMNS = [*KEY, *COUNTS, "measured"]
EXPORT = "corruptions.csv.gz"
_WHOLE = ["severity", *COUNTS]
_MOST_SEVERE = 5
_LARGEST = SizeLimit(1)

logger = logging.getLogger(__name__)


def read_table(content: bytes, where: str, *, names: Collection[str] = ()) -> pd.DataFrame:
    """Return the table of an artifact `corruptions.csv`.

    Parameters
    ----------
    content : bytes
    where : str
        What errors name.
    names : collection of str
        Further columns, of text, that the table has in front.

    Returns
    -------
    DataFrame
        `names`, corruption, severity (0 for images that are not corrupted, else 1 to 5), class (true name), support
        (images of the class), right, right_top5 (images whose class is the most probable one, or among the five most
        probable ones), measured (digest of the images).

    Raises
    ------
    StudyError
        If the content is damaged, or no such table.
    """
    columns = [*names, *COLUMNS]
    texts = {name: str for name in columns if name not in _WHOLE}
    try:
        table = csv_text.read(io.BytesIO(content), dtype=texts, keep_default_na=False, encoding="utf-8")
        if list(table) != columns:
            raise ValueError(f"its columns are not {', '.join(columns)}")
        _check(table, [*names, *KEY])
    # On bytes of any kind, pandas raises errors of more than a dozen types.
    except Exception as error:
        raise StudyError(
            f"{where}: no counts of images that a network has right ({first_line(error)[:200]})"
        ) from error
    return table


def _check(table: pd.DataFrame, key: list[str]) -> None:
    """Raise a ValueError if the values of a table are impossible."""
    for name in _WHOLE:
        if not is_integer_dtype(table[name]):
            raise ValueError(f"{name} holds {table[name].dtype}")
    if table.empty:
        raise ValueError("no row in it")
    if not table["severity"].between(0, _MOST_SEVERE).all():
        raise ValueError(f"a severity is not between 0 and {_MOST_SEVERE}")
    support, right, right_top5 = (table[name] for name in COUNTS)
    if not ((support > 0) & (support < 2**53) & (right >= 0) & (right <= right_top5) & (right_top5 <= support)).all():
        raise ValueError(f"{', '.join(COUNTS)} contradict each other")
    if table.duplicated(key).any():
        raise ValueError("a row is there twice")


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as the content of a CSV file that `read_table` reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.CORRUPTIONS
        csv_text.write(table, path)
        return path.read_bytes()


def pulled(runs: pd.DataFrame, experiment: str | None = None, *, tracking_uri: str | None = None) -> pd.DataFrame:
    """Return the counts of an experiment's runs and of their dense runs.

    Parameters
    ----------
    runs : DataFrame
        As `pull.runs` returns it.
    experiment, tracking_uri : str, optional
        As `pull.runs` takes them.

    Returns
    -------
    DataFrame
        run_id, and the columns that `read_table` returns. Runs without the artifact are missing and, with a line of
        warning each, those whose artifact is damaged.
    """
    from analysis.runs import pull  # files need no MLflow

    dense_run_ids = list(dict.fromkeys(runs[schema.DENSE_RUN_ID]))
    contents = pull.tagged_artifacts(
        schema.CORRUPTED, schema.CORRUPTIONS, experiment, elsewhere=dense_run_ids, tracking_uri=tracking_uri
    )
    wanted = {*dense_run_ids, *runs[RUN_ID]}
    found = []
    for run_id, content in contents.items():
        if run_id not in wanted:
            continue
        try:
            table = read_table(content, f"{schema.CORRUPTIONS} of run {run_id}")
        except StudyError as error:
            logger.warning("left out: %s", error)
        else:
            table.insert(0, RUN_ID, run_id)
            found.append(table)
    return pd.concat(found, ignore_index=True) if found else nothing()


def nothing() -> pd.DataFrame:
    """Return the table of no runs."""
    return pd.DataFrame({name: np.array([], int if name in _WHOLE else str) for name in [RUN_ID, *COLUMNS]})


def export(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write what `pulled` returned to a folder, unless it is empty; the same table gives the same bytes.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.
    """
    if table.empty:
        return []
    with files.aside(folder) as scratch:
        (scratch / EXPORT).write_bytes(gzip.compress(as_csv(table), mtime=0))
        return files.written(scratch)


def read(folders: Iterable[Path]) -> pd.DataFrame:
    """Return the counts in folders that `export` wrote to, as `pulled` does; a folder may have none.

    Raises
    ------
    StudyError
        If a file is damaged, or two folders say different things of a run.
    """
    tables = [_read(path) for folder in folders if (path := folder / EXPORT).is_file()]
    if not tables:
        return nothing()
    joined = pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)
    if (twice := joined.duplicated([RUN_ID, *KEY])).any():
        raise StudyError(
            f"two folders have other counts of corrupted images for run {joined.loc[twice, RUN_ID].iloc[0]}: leave one "
            "out, or export both again",
            option="--frames",
        )
    return joined


def _read(path: Path) -> pd.DataFrame:
    try:
        with gzip.open(path) as file:
            content = file.read(int(_LARGEST.gib * GIB) + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StudyError(f"{path}: damaged ({first_line(error)}); export the study again") from error
    _LARGEST.check(path, len(content))
    return read_table(content, str(path), names=[RUN_ID])
