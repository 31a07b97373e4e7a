"""Where predictions come from: a file, a folder, a glob, or a run of the tracking store."""

import re
from collections.abc import Sequence
from pathlib import Path

from analysis.runs import prediction_files, schema
from analysis.runs.errors import StudyError

_RUN = re.compile(r"(?:runs:/)?([0-9a-f]{32})")
_NO_PREDICTIONS = {schema.VAL_PREDICTIONS, schema.PER_CLASS, schema.CONFUSION}


def find(given: Sequence[str], option: str, downloads: Path) -> dict[Path, str]:
    """Return the files of predictions, one for each network, and what each is called.

    Parameters
    ----------
    given : sequence of str
        Paths, globs, folders, or ids of runs. A folder with `predictions.npz` stands for one network, as a run's
        artifacts do; of another folder, every .npz and .csv file and every such folder in it counts, by name.
    option : str
        The command-line option that they were given to, for the error.
    downloads : Path
        Folder that predictions on a server are loaded into.

    Raises
    ------
    StudyError
        If there is no such file or run, if it has no predictions, or if it is given twice.
    """
    called: dict[Path, str] = {}
    for each in given:
        if each and Path(each).is_dir():
            found = {path: str(path) for path in _in_folder(Path(each), option)}
        elif (run := _RUN.fullmatch(each)) and not Path(each).exists():
            found = {_of_run(run[1], option, downloads): f"run {run[1]}"}
        else:
            found = {path: str(path) for path in prediction_files.find([each], option)}
        if twice := called.keys() & found.keys():
            raise StudyError(f"{called[twice.pop()]} is given twice and a file stands for a seed", option=option)
        called |= found
    prediction_files.find([str(path) for path in called], option)  # the same file under two names
    return called


def _in_folder(folder: Path, option: str) -> list[Path]:
    if (own := folder / schema.PREDICTIONS).is_file():
        return [own]
    files = [path for kind in ("*.npz", "*.csv") for path in folder.glob(kind) if path.name not in _NO_PREDICTIONS]
    found = sorted([*files, *folder.glob(f"*/{schema.PREDICTIONS}")])
    if not found:
        raise StudyError(f"{folder}: no predictions in this folder (.npz or .csv)", option=option)
    return found


def _of_run(run_id: str, option: str, downloads: Path) -> Path:
    from analysis.runs import pull  # files need neither MLflow nor a store

    found = pull.files_of(run_id, [schema.PREDICTIONS, schema.PER_CLASS], downloads / run_id)
    if schema.PREDICTIONS not in found:
        raise StudyError(
            f"run {run_id} is not in this tracking store, or has no {schema.PREDICTIONS}: name a dense or a pruned run",
            option=option,
        )
    return found[schema.PREDICTIONS]
