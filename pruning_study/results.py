"""What the public functions return: tables of what was trained and pruned, with pictures in a notebook."""

import base64
import html
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.runs.errors import StudyError, did_you_mean
from analysis.runs.masking import without_secrets
from analysis.runs.printable import printable
from pruning_study import commands
from pruning_study.config import PruneConfig, StudyConfig, TrainConfig
from pruning_study.options import default_text

Config = TypeVar("Config", TrainConfig, PruneConfig, StudyConfig)


class Training(NamedTuple):
    """A trained network.

    Attributes
    ----------
    run_id : str
        Its dense run.
    accuracy : float
        On the test images.
    table : DataFrame, the class with the lowest recall first
        class, recall.
    picture : bytes
        Confusion matrix, as PNG.
    """

    run_id: str
    accuracy: float
    table: pd.DataFrame
    picture: bytes

    def _repr_html_(self) -> str:
        """Return the table and the picture, for a notebook."""
        return _html(f"Dense run {self.run_id}, accuracy {self.accuracy:.3f}", self.table, [self.picture])


class Pruning(NamedTuple):
    """A network that was pruned, at one ratio or several.

    Attributes
    ----------
    dense_run_id : str
        The network before.
    run_ids : dict of float to str
        Pruned run of each ratio.
    table : DataFrame
        A row for each ratio and class, the class that lost most first: ratio, class, recall_before, recall_after,
        change.
    summary : DataFrame
        A row for each ratio: accuracies, realised ratio, alpha, raw slope, run_id.
    pictures : dict of float to bytes
        Recall balance before and after, as PNG, of each ratio.
    """

    dense_run_id: str
    run_ids: dict[float, str]
    table: pd.DataFrame
    summary: pd.DataFrame
    pictures: dict[float, bytes]

    def _repr_html_(self) -> str:
        """Return the tables and the pictures, for a notebook."""
        found = _html(f"Pruned from dense run {self.dense_run_id}", self.summary, [])
        return found + _html("", self.table, list(self.pictures.values()))


def train(options: Mapping[str, Any]) -> Training:
    """Return what `pruning_study.train` does."""
    config, typed = _config(TrainConfig, options)
    store, setting, dense = commands.make_dense(config, typed)
    classes = setting.data.classes
    recall = [dense.metrics[schema.RECALL + name] for name in schema.metric_names(classes)]
    table = pd.DataFrame({"class": classes, "recall": recall}).sort_values("recall", ignore_index=True)
    with store.artifact(dense.run_id, schema.CONFUSION_PICTURE) as path:
        picture = Path(path).read_bytes()
    return Training(dense.run_id, dense.metrics[schema.TEST_ACCURACY], table, picture)


def prune(options: Mapping[str, Any]) -> Pruning:
    """Return what `pruning_study.prune` does."""
    config, typed = _config(PruneConfig, options)
    store, setting, dense, pruned, _ = commands.make_pruned(config, typed)
    classes = setting.data.classes
    names = schema.metric_names(classes)
    before = np.array([dense.metrics[schema.RECALL + name] for name in names])
    tables, pictures = [], {}
    for ratio, run in pruned.items():
        after = np.array([run.metrics[schema.RECALL + name] for name in names])
        recalls = {"recall_before": before, "recall_after": after, "change": after - before}
        tables.append(pd.DataFrame({"ratio": ratio, "class": classes, **recalls}).sort_values("change"))
        with store.artifact(run.run_id, schema.RECALL_PICTURE) as path:
            pictures[ratio] = Path(path).read_bytes()
    summary = commands.summary(dense, pruned, classes)
    return Pruning(
        dense.run_id,
        {ratio: run.run_id for ratio, run in pruned.items()},
        pd.concat(tables, ignore_index=True),
        summary[[name for name in summary if not name.startswith("recall_")]],
        pictures,
    )


def run_study(file: str | Path, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return what `pruning_study.run_study` does."""
    from pruning_study.study import run

    config, typed = _config(StudyConfig, options)
    if config.dry_run:
        raise StudyError("true makes no runs: use the command line, pruning-study study --dry-run", option="--dry-run")
    return run.run(Path(file), config, {"file": str(file), **typed})


def _config(config: type[Config], options: Mapping[str, Any]) -> tuple[Config, dict[str, str]]:
    """Return the checked options, and all options as they would be typed."""
    items = {item.name: item for item in fields(config)}
    if unknown := options.keys() - items.keys():
        name = min(unknown)
        raise StudyError(f"no option {name!r}, {did_you_mean(name, items)}")
    given = {name: _plain(value) for name, value in options.items()}
    typed = {name: default_text(item) for name, item in items.items()}
    typed |= {name: without_secrets(schema.text(value)) for name, value in given.items() if value is not None}
    return config(**given), typed


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's, and a list or array as a tuple."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _html(title: str, table: pd.DataFrame, pictures: list[bytes]) -> str:
    shown = table.map(lambda value: printable(value) if isinstance(value, str) else value)
    images = (f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}">' for picture in pictures)
    return f"<p>{html.escape(title)}</p>{shown.to_html(index=False, float_format='{:.3f}'.format)}{''.join(images)}"
