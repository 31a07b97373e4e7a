"""Match the rows of several files by the names of their images."""

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import shortened

# Names of columns, without capitals, spaces, underscores and a final s. Columns of the first tuple contain file names,
# one per image.
_OF_FILES = ("filename", "file", "filepath", "path", "imagepath", "imagefile", "imagename", "imgpath", "image", "img")
_OF_ANYTHING = ("imageid", "id", "name", "key", "uid", "index", "idx", "")
_IN_ORDER = "row k of each file is taken for the same image"


class NamedRows(NamedTuple):
    """The labels of a file's rows, and the columns that may contain image names.

    Attributes
    ----------
    label : (images,), text
    columns : dict of str to sequence of str
        The columns that may contain image names, by `column_key`.
    """

    label: np.ndarray
    columns: Mapping[str, Sequence[str]]


NO_NAMES = NamedRows(np.array([], str), {})


class Alignment(NamedTuple):
    """Correspondence between the rows of several files, image by image.

    Attributes
    ----------
    orders : dict of Path to (images,), integers
        For each file that lists the images in another order than the first file: the row of each image.
    names : list of str, optional
        The names of the images, in the order of the first file.
    notes : list of str
        Sentences for the user: how rows were matched, or that they are taken in order.
    """

    orders: dict[Path, np.ndarray]
    names: list[str] | None
    notes: list[str]


def column_key(name: str) -> str | None:
    """Normalise the name of a column that may contain image names; return None for other columns.

    Examples
    --------
    >>> column_key("File_Names"), column_key("Unnamed: 0"), column_key("light")
    ('filename', '', None)
    """
    is_index = name.startswith(("Unnamed:", "__index_level_"))  # pandas writes these names into CSV and Parquet
    key = "" if is_index else name.casefold().replace("_", "").replace(" ", "").removesuffix("s")
    return key if key in (*_OF_FILES, *_OF_ANYTHING) else None


def is_of_files(name: str) -> bool:
    """Return whether the name of a column says that it contains file names."""
    return column_key(name) in _OF_FILES


def align(files: Mapping[Path, NamedRows]) -> Alignment:
    """Match the rows of files that have the same number of images.

    Rows are matched by a column that is in all files and identifies each image or, failing that, by columns with
    different names that have the same values. Numbers do not count as names, because files may have been numbered after
    shuffling. Without such columns, row k of each file is taken for the same image.

    Raises
    ------
    StudyError
        If a file names an image twice or lacks an image of the first file, or if some files differ in order and another
        has no names.
    """
    shared = [key for key in (*_OF_FILES, *_OF_ANYTHING) if all(key in rows.columns for rows in files.values())]
    for key in shared:
        if names := _names(files, key):
            return _matched(names, key)
    own_names = {path: own for path, rows in files.items() if (own := _own_names(rows))}
    all_named = len(own_names) == len(files)
    if all_named and len({frozenset(names) for names in own_names.values()}) == 1:
        return _matched(own_names, "name")
    _check_others(files)
    if all_named:
        why = "The files name their images differently, in columns with different names"
    else:
        why = next(filter(None, (_fault(files, key) for key in shared)), "The files have no image names")
    return Alignment({}, None, [f"{why}: {_IN_ORDER}."] if len(files) > 1 else [])


def _own_names(rows: NamedRows) -> list[str]:
    """Return the image names in the first column that identifies each image; empty without such a column."""
    columns = (list(rows.columns[key]) for key in (*_OF_FILES, *_OF_ANYTHING) if key in rows.columns)
    return next((each for each in columns if len(set(each)) == len(each) and not all(map(_is_number, each))), [])


def _fault(files: Mapping[Path, NamedRows], key: str) -> str:
    """Say why a column that all files have cannot match their rows.

    Return an empty string if the column numbers the rows of all files in the same order.
    """
    columns = [rows.columns[key] for rows in files.values()]
    if not any(all(map(_is_number, column)) for column in columns):
        return f"The column {key or 'without a name'} does not name each image once"
    if _is_renumbered(columns):
        return f"The files number their images in different orders ({key}), and numbers do not count as names"
    return ""


def _names(files: Mapping[Path, NamedRows], key: str) -> dict[Path, list[str]] | None:
    """Return each file's image names, or None if a file's column has only numbers or does not identify each image."""
    columns = {path: list(rows.columns[key]) for path, rows in files.items()}
    if any(all(map(_is_number, column)) for column in columns.values()):
        return None
    if all(len(set(column)) == len(column) for column in columns.values()):
        return columns
    if key not in _OF_FILES:
        return None
    # The folders of two classes may have files of the same name.
    columns = {
        path: [f"{label}/{name}" for label, name in zip(files[path].label.tolist(), column, strict=True)]
        for path, column in columns.items()
    }
    for path, column in columns.items():
        (name, count), *_ = Counter(column).most_common(1)
        if count > 1:
            raise StudyError(
                f"{path}: image {shortened(name.partition('/')[2])} of class {shortened(name.partition('/')[0])} "
                f"appears {count:,} times: give one row for each image"
            )
    return columns


def _matched(names: Mapping[Path, list[str]], key: str) -> Alignment:
    (first_path, first), *others = names.items()
    orders = {path: order for path, own in others if (order := _order(first_path, first, path, own)) is not None}
    notes = [
        f"{len(orders):,} of {len(names):,} files list the images in a different order than {first_path}: rows are "
        f"matched by the {'name' if key == '' else key} of the image."
    ]
    return Alignment(orders, first, notes if orders else [])


def _order(first_path: Path, first: list[str], path: Path, own: list[str]) -> np.ndarray | None:
    """Return a file's row for each image of the first file, or None if the order is the same."""
    if own == first:
        return None
    if set(own) != set(first):  # Windows separates folders by backslashes
        own, first = (
            _without_folder([normalize("NFC", name).replace("\\", "/") for name in names]) for names in (own, first)
        )
    row_of_name = {name: row for row, name in enumerate(own)}
    if missing := [name for name in first if name not in row_of_name]:
        raise StudyError(
            f"{path}: no image {shortened(missing[0])}, which {first_path} has"
            f"{f' with {len(missing) - 1:,} others' if len(missing) > 1 else ''}: give predictions for the same images"
        )
    order = np.array([row_of_name[name] for name in first])
    return None if (order == np.arange(len(order))).all() else order


def _without_folder(names: list[str]) -> list[str]:
    """Remove the folders that all names have in common."""
    if len({name.startswith("/") for name in names}) > 1:
        return names
    start = posixpath.commonpath([posixpath.dirname(name) for name in names])
    return [name.removeprefix(f"{start}/") for name in names] if start else names


def _check_others(files: Mapping[Path, NamedRows]) -> None:
    """Raise a StudyError if files with image names differ in order while another file has no names."""
    for key in _OF_FILES:
        naming = {path: list(rows.columns[key]) for path, rows in files.items() if key in rows.columns}
        columns = list(naming.values())
        if len(naming) > 1 and not all(map(_is_number, columns[0])) and _is_renumbered(columns):
            other = next(path for path, rows in files.items() if key not in rows.columns)
            raise StudyError(
                f"{other} has no image names, and {' and '.join(map(str, naming))} list theirs in different "
                f"orders: give it the column {key} too"
            )


def _is_renumbered(columns: Sequence[Sequence[str]]) -> bool:
    """Return whether the columns have the same values in different orders."""
    return any(list(column) != list(columns[0]) for column in columns) and all(
        set(column) == set(columns[0]) for column in columns
    )


def _is_number(name: str) -> bool:
    return name.strip().removesuffix(".0").isdigit() or not name.strip()
