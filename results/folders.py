"""What the folders of the studies hold."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis import cells
from analysis.formats import NOT_AVAILABLE
from analysis.runs import exports
from analysis.runs.errors import StudyError

TEXT, RELEASED, RELEASED_WEIGHTS = "lenet5", "lenet5-released", "lenet5-released-weights"
RESNET, AS_PRUNED = "resnet20-short", "resnet20-short-as-pruned"


def runs(results: Path, *studies: str) -> tuple[pd.DataFrame, cells.Predictions]:
    """Runs of studies, and the way to their predictions.

    Raises
    ------
    StudyError
        Where a study has no frames, or they cannot be read.
    """
    folders = [folder for name in studies for folder in exports.below(results / name / "frames")]
    read, predictions = exports.read(folders)
    return read.runs, predictions


def table(results: Path, study: str, name: str, **how: Any) -> pd.DataFrame:
    """A table of a study's report, read as pandas is told to.

    Raises
    ------
    StudyError
        Where it is not there.
    """
    path = results / study / name
    if not path.is_file():
        raise StudyError(f"{path}: missing; python results/rebuild.py {path.parent} makes it of the study's frames")
    return pd.read_csv(path, **{"keep_default_na": False, "na_values": [NOT_AVAILABLE], **how})
