"""Make numbers.csv and the pictures of published studies from their frames and study.yaml, or check the numbers."""

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pictures
from of_analysis import StudyError
from published import VALUES, Study, names, numbers, published
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent
NUMBERS = "numbers.csv"
# If other programs run, the threads of one matrix product wait for each other.
_one_thread = threadpool_limits.wrap(limits=1, user_api="blas")
# A printed number, maybe with an interval, and after it the name of its row in numbers.csv, maybe with a column.
_NUMBER = r"[+-]?[\d.,]*\d"
_MARK = re.compile(
    rf"(<|below |)({_NUMBER})(?: \(({_NUMBER}) to ({_NUMBER})\))?[^\s\d|]*\s*<!-- n: ([^>]+?)(?::(\w+))? -->"
)


@click.command()
@click.argument("studies", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--check", is_flag=True, help="Write nothing; compare the numbers with the published ones.")
def main(studies: tuple[Path, ...], check: bool) -> None:
    """Make the numbers and pictures of STUDIES, folders of results; by default of all.

    With --check, all numbers must be those of numbers.csv to nine digits, and a number that is marked on a page, as in
    `4.4 <!-- n: cost/mnist/9 -->`, must be that of numbers.csv to the printed digits.
    """
    folders = [study.resolve() for study in studies] or find_studies(RESULTS)
    work = check_study if check else make
    if len(folders) > 1:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            found = [*pool.map(work, folders)]
    else:
        found = [*map(work, folders)]
    lines = [line for lines in found for line in lines]
    if check and not studies:
        pages = [*RESULTS.glob("*.md"), RESULTS.parent / "README.md"]
        lines += [f"{page.name}: {fault}" for page in pages for fault in wrong_marks(page)]
    for line in lines:
        click.echo(line)
    sys.exit(bool(lines))


def find_studies(results: Path) -> list[Path]:
    """Return the folders of results whose study.yaml has the key `published`."""
    return [file.parent for file in sorted(results.glob("*/study.yaml")) if published(file.parent)]


@_one_thread
def make(folder: Path) -> list[str]:
    """Write numbers.csv and the pictures of a study; return its faults, a line each."""
    study = Study(folder)
    try:
        numbers(study).to_csv(folder / NUMBERS, index=False, lineterminator="\n")
        pictures.write(study)
    except StudyError as error:
        return [str(error)]
    return []


@_one_thread
def check_study(folder: Path) -> list[str]:
    """Return the numbers of a study that are not the published ones, and the marks on its pages that do not fit."""
    try:
        faults = [*differences(read_numbers(folder), numbers(Study(folder)))]
    except StudyError as error:
        return [str(error)]
    faults += [f"{page.name}: {fault}" for page in sorted(folder.glob("*.md")) for fault in wrong_marks(page)]
    return [f"{folder.name}: {fault}" for fault in faults]


def read_numbers(folder: Path) -> pd.DataFrame:
    """Read the numbers.csv of a folder.

    Raises
    ------
    StudyError
        If the file is missing.
    """
    try:
        return pd.read_csv(
            folder / NUMBERS, keep_default_na=False, na_values={value: [""] for value in VALUES}, dtype=str
        )
    except OSError as error:
        raise StudyError(f"{folder / NUMBERS}: missing; python results/rebuild.py {folder} makes it") from error


def differences(stored: pd.DataFrame, made: pd.DataFrame) -> Iterator[str]:
    """Yield the numbers that only one of two tables has, and those that differ by more than rounding errors."""
    old, new = (table.set_index(names(table))[[*VALUES]].astype(float) for table in (stored, made))
    yield from (f"{name}: numbers.csv lacks it" for name in new.index.difference(old.index, sort=False))
    yield from (f"{name}: is in numbers.csv, but is not made" for name in old.index.difference(new.index, sort=False))
    old, new = (table.loc[new.index.intersection(old.index, sort=False)] for table in (old, new))
    for row, column in np.argwhere(~np.isclose(old, new, rtol=1e-9, atol=1e-12, equal_nan=True)):
        was, now = old.iloc[row, column], new.iloc[row, column]
        yield f"{old.index[row]}: {old.columns[column]} is {was} in numbers.csv, but {now} is made"


def wrong_marks(page: Path) -> Iterator[str]:
    """Yield the marked numbers of a page that are not those of numbers.csv.

    The name in a mark may begin with the way to the folder of another study, as in a link.
    """
    rows = cache(_rows_by_name)
    for below, *texts, name, column in _MARK.findall(page.read_text(encoding="utf-8")):
        folder, parts = page.parent, name.split("/")
        while parts[0] == ".." or (len(parts) > 1 and not (folder / NUMBERS).is_file()):
            folder /= parts.pop(0)
        if not (folder / NUMBERS).is_file() or (row := rows(folder).get("/".join(parts))) is None:
            yield f"{name}: no such number"
            continue
        values = [row[column or "estimate"], row["low"], row["high"]]
        if values[0] < 0 and not texts[0].startswith("-"):  # "lost 2.4 points" of a difference of -2.4
            values = [-values[0], -values[2], -values[1]]
        for text, value in zip(texts, values, strict=True):
            if text and not _is_printed(text, value, bool(below)):
                yield f"{name}: {below}{text} is printed, but it is {value:.6g}"


def _is_printed(text: str, value: float, below: bool) -> bool:
    printed = float(text.replace(",", ""))
    return value < printed if below else abs(printed - value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9


def _rows_by_name(folder: Path) -> dict[str, pd.Series]:
    table = read_numbers(folder)
    return dict(table[[*VALUES]].astype(float).set_axis(names(table)).iterrows())


if __name__ == "__main__":
    main()
