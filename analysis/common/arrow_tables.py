"""Read columns of Parquet, Feather, Arrow and JSON-lines files, and of folders that Hugging Face's `datasets` saves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.common import image_names
from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import SizeLimit, opened

SUFFIXES = (".parquet", ".feather", ".arrow", ".jsonl", ".ndjson")
# `Dataset.save_to_disk` writes this file into its folder.
STATE = "state.json"


def is_saved_dataset(path: Path) -> bool:
    """Return whether a path is a folder written by Hugging Face's `Dataset.save_to_disk`."""
    return (path / STATE).is_file() and any(path.glob("*.arrow"))


def read(
    path: Path, wanted: Callable[[Sequence[str]], Sequence[str]], limit: SizeLimit
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read columns of a table.

    Parameters
    ----------
    path : Path
        A file with one of the `SUFFIXES`, or a folder that `is_saved_dataset` accepts.
    wanted : callable
        Takes the names of the columns and returns those to read.
    limit : SizeLimit
        Limit on the memory of the wanted columns.

    Returns
    -------
    header : list of str
        The names of all columns but those of lists, such as pixels.
    columns : dict of str to (rows,)
        The wanted columns. Strings have dtype object.

    Raises
    ------
    StudyError
        If the file is damaged, too large or in another format, or if a wanted column has an empty cell. In a column
        that may name the images, an empty cell is an empty string, as in CSV.
    """
    try:
        table, header = _table(path, wanted, limit)
        limit.check(path, table.nbytes)
        columns = {name: table.column(name) for name in table.column_names}
        for name, column in columns.items():
            if column.null_count and image_names.column_key(name) is not None:
                columns[name] = _plain(column).cast("string").fill_null("")
            elif column.null_count:
                image = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
                raise StudyError(f"{path}: row {image:,} has no {name}: fill it in")
        return header, {name: _plain(column).to_numpy() for name, column in columns.items()}
    except StudyError:
        raise
    except Exception as error:  # Arrow raises a dozen types of errors for files in other formats
        raise StudyError(f"{path}: cannot be read as {_kind(path)} ({first_line(error)[:200]})") from error


def _plain(column: Any) -> Any:
    """Convert a categorical column to strings or numbers, and return any other column unchanged."""
    return column.cast(column.type.value_type) if hasattr(column.type, "index_type") else column


def _kind(path: Path) -> str:
    return {".parquet": "Parquet", ".feather": "Feather", ".jsonl": "JSON lines", ".ndjson": "JSON lines"}.get(
        path.suffix.lower(), "Arrow"
    )


def _table(path: Path, wanted: Callable[[Sequence[str]], Sequence[str]], limit: SizeLimit) -> tuple[Any, list[str]]:
    """Return an Arrow table of the wanted columns, and the names of all columns but those of lists."""
    import pyarrow as pa

    if path.is_dir():
        tables = [_table(part, wanted, limit) for part in _parts(path)]
        return pa.concat_tables([table for table, _ in tables]), tables[0][1]
    with opened(path) as file:
        limit.check(path, path.stat().st_size)
        match path.suffix.lower():
            case ".parquet":
                import pyarrow.parquet as pq

                parts = pq.ParquetFile(file)
                header = _single_valued(parts.schema_arrow)
                limit.check(path, parts.metadata.num_rows * np.dtype(np.int64).itemsize)
                return parts.read(columns=list(wanted(header))), header
            case ".jsonl" | ".ndjson":
                from pyarrow.json import read_json

                table = read_json(file)
            case _:
                table = _arrow(file)
    header = _single_valued(table.schema)
    return table.select(list(wanted(header))), header


def _parts(folder: Path) -> list[Path]:
    """Return the files of a saved dataset, without the results that `datasets` caches beside them."""
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return [folder / Path(part["filename"]).name for part in state["_data_files"]]


def _single_valued(schema: Any) -> list[str]:
    """Return the names of the columns that are not lists."""
    from pyarrow import types

    are_lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return [field.name for field in schema if not any(is_list(field.type) for is_list in are_lists)]


def _arrow(file: Any) -> Any:
    """Read an Arrow file, a Feather file, or the Arrow stream that `datasets` writes."""
    from pyarrow import feather, ipc

    start = file.read(4)
    file.seek(0)
    if start in (b"ARRO", b"FEA1"):
        return feather.read_table(file)
    return ipc.open_stream(file).read_all()
