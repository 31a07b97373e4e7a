"""Searches pulled from a tracking store, written as small files, and read back."""

import io
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from analysis.runs import csv_text, files, pull, schema
from analysis.runs.errors import StudyError
from analysis.tuning.results import SCHEDULE_PARAMS, Tuning

_FOLDER = "tuning"
_FILES = (schema.TUNING_SUMMARY, schema.TRIALS, schema.FINALISTS, schema.COMPARISONS)


def pulled(experiment: str | None = None, *, tracking_uri: str | None = None) -> list[Tuning]:
    """Return the finished searches of an experiment, the oldest first; parameters and errors as in `pull.runs`."""
    return [_tuning(contents) for contents in _pulled(experiment, tracking_uri)]


def export(experiment: str | None, run_ids: Collection[str], folder: Path) -> list[Path]:
    """Write the finished searches of an experiment to folders `tuning/1`, `tuning/2` and so on below a folder.

    Parameters
    ----------
    experiment : str, optional
        As for `pull.runs`, whose errors it raises.
    run_ids : collection of str
        Pruned runs; a search is written if one of them is a finalist of it.
    folder : Path

    Returns
    -------
    list of Path
        The files written, relative to `folder`.
    """
    searches = [
        contents for contents in _pulled(experiment) if _tuning(contents).finalists["run_id"].isin(run_ids).any()
    ]
    with files.aside(folder) as scratch:
        for number, contents in enumerate(searches, start=1):
            (scratch / _FOLDER / str(number)).mkdir(parents=True)
            for name, content in contents.items():
                (scratch / _FOLDER / str(number) / name).write_bytes(content)
        return files.written(scratch)


def read(folders: Iterable[Path]) -> list[Tuning]:
    """Return the searches that `export` has written to folders.

    Raises
    ------
    StudyError
        If one of their files is missing or is not what `export` writes.
    """
    return [
        _exported(search)
        for folder in folders
        for search in sorted((folder / _FOLDER).glob("*"), key=lambda path: path.name.zfill(9))
    ]


def _exported(folder: Path) -> Tuning:
    try:
        return _tuning({name: (folder / name).read_bytes() for name in _FILES})
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{folder}: not what pruning-analysis export writes ({error!r}); export again") from error


def _pulled(experiment: str | None, tracking_uri: str | None = None) -> list[dict[str, bytes]]:
    return list(pull.artifacts(schema.TUNING, _FILES, experiment, tracking_uri=tracking_uri).values())


def _tuning(contents: Mapping[str, bytes]) -> Tuning:
    summary = json.loads(contents[schema.TUNING_SUMMARY])
    frames = {name: csv_text.read(io.BytesIO(contents[name])) for name in _FILES[1:]}
    for frame in (frames[schema.TRIALS], frames[schema.FINALISTS]):
        # Before these params existed, every trial was one shot and without distillation.
        for name in set(SCHEDULE_PARAMS) - set(frame):
            frame[name] = 0.0
    trials = frames[schema.TRIALS]
    return Tuning(
        name=summary[schema.STUDY_NAME],
        objective=summary[schema.OBJECTIVE],
        reason=summary["reason"],
        trials=trials.assign(anchor=trials["anchor"].fillna("")),
        finalists=frames[schema.FINALISTS],
        comparisons=frames[schema.COMPARISONS],
    )
