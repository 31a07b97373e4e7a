"""Read runs and tables from the folders of studies, and write tables and pictures into these folders."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.rendering import figure_files
from analysis.rendering.formats import NOT_AVAILABLE
from analysis.runs import exports
from analysis.runs.frames import ReadPredictions

TEXT, RELEASED, RELEASED_WEIGHTS = "lenet5", "lenet5-released", "lenet5-released-weights"
EQUAL, EQUAL_UNSEEN = "equal-accuracy", "equal-accuracy-confirmation"
RESNET, AS_PRUNED = "resnet20-short", "resnet20-short-as-pruned"


def has_frames(results: Path, study: str) -> bool:
    """Return whether a study has frames: `frames.zip`, or the folder `frames/` of an unpacked export."""
    return any((results / study / name).exists() for name in ("frames.zip", "frames"))


@cache
def runs(results: Path, *studies: str) -> tuple[pd.DataFrame, ReadPredictions]:
    """Return the runs of studies, and a function that reads their predictions.

    Raises
    ------
    StudyError
        If a study has no frames, or they cannot be read.
    """
    read, predictions = exports.read(exported(results, *studies))
    return read.runs, predictions


def exported(results: Path, *studies: str) -> list[Path]:
    """Return the archives and folders that `pruning-analysis export` wrote into the folders of some studies.

    Raises
    ------
    StudyError
        If a study has no export.
    """
    return [folder for name in studies for folder in exports.below(results / name)]


def table(results: Path, study: str, name: str, **how: Any) -> pd.DataFrame:
    """Return a table of a study's report. `how` are options of `pandas.read_csv`.

    Raises
    ------
    StudyError
        If the table is missing.
    """
    path = results / study / name
    if not path.is_file():
        raise StudyError(f"{path}: missing; python results/rebuild.py {path.parent} makes it from the study's frames")
    return pd.read_csv(path, **{"keep_default_na": False, "na_values": [NOT_AVAILABLE], **how})


def write(folder: Path, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Figure] | None = None) -> None:
    """Write tables as CSV files, and pictures into `figures/`. They are moved into place when all are complete."""
    with files.aside(folder, in_git=True) as new_folder:
        for name, content in tables.items():
            csv_text.write(content, new_folder / f"{name}.csv", missing=NOT_AVAILABLE)
        if pictures:
            (new_folder / "figures").mkdir()
            figure_files.write(pictures, new_folder / "figures", [figure_files.PNG], processes=1)


def limit_colors(folder: Path) -> None:
    """Reduce each picture of a study to at most 256 colours, which makes its file a third as large."""
    for path in sorted(folder.rglob("figures/*.png")):
        with Image.open(path) as picture:
            if picture.mode != "P":
                maker = PngInfo()
                maker.add_text("Software", str(picture.info["Software"]))
                few = picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
                aside = path.with_suffix(".aside")
                few.save(aside, "PNG", optimize=True, pnginfo=maker, dpi=picture.info["dpi"])
                aside.replace(path)
