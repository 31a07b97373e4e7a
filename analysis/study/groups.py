"""Tabulate the effect of pruning on groups of test images, by cell and group, and by cell and grouping.

A grouping is any attribute of test images given in a table, such as their writer or their camera. Neither training nor
pruning uses it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.checks import some
from analysis.runs.frames import RUN_ID, ReadPredictions
from analysis.statistics import losses
from analysis.statistics.groups import ImageGroups, grouping_summary, members, read
from analysis.study.arrays import RunArrays
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import CONTROL

OPTION = "groups"
GROUPING, GROUP = "grouping", "group"
# One file, files as `DATASET=FILE.csv`, or a mapping from data set to file.
GivenGroups: TypeAlias = str | Path | Sequence[str] | Mapping[str, Any]


class Grouped(NamedTuple):
    """Effects of pruning on groups of test images.

    Attributes
    ----------
    groups : DataFrame, one row per cell, grouping and group (`groups.csv`)
        dataset, model, pruner, ratio, `study.shown`, grouping, group, images, n (number of networks), and:

        - accuracy_before, accuracy_after: mean over the networks.
        - loss: accuracy_before minus accuracy_after, with a 95 % interval (loss_low, loss_high), an upper bound that
          holds for all groups of the grouping in this cell (loss_upper_all), its p, and p_holm, corrected for these
          groups.
        - accuracy_control, loss_from_control: the accuracy of the control, and the loss measured from it. These columns
          exist only if every network has a control.
        - cost: the group's loss minus that of all images, from the control or, without controls, since the dense
          networks. It needs several networks, as do the bounds of loss_from_control. Both have the endings
          `losses.ENDINGS`; their p are corrected like p_holm.
    groupings : DataFrame, one row per cell and grouping (`groupings.csv`)
        dataset, model, pruner, ratio, `study.shown`, grouping, and the values of `grouping_summary`.
    notes : list of str
    """

    groups: pd.DataFrame
    groupings: pd.DataFrame
    notes: list[str]


class Answers(NamedTuple):
    """Whether the networks of a cell classify each image correctly, as arrays (networks, images).

    `label` is the index of each image's class, (images,). `control` is None unless every network has a control with
    predictions.
    """

    label: np.ndarray
    before: np.ndarray
    after: np.ndarray
    control: np.ndarray | None

    def of(self, images: np.ndarray) -> "Answers":
        """Select the answers to some images."""
        # `take` keeps the answers of each network together in memory; `[:, images]` does not.
        control = None if self.control is None else self.control.take(images, 1)
        return Answers(self.label[images], self.before.take(images, 1), self.after.take(images, 1), control)


def files_of_datasets(files: GivenGroups, datasets: Sequence[str]) -> dict[str, Path]:
    """Map each data set that has a table of groups to its file.

    Parameters
    ----------
    files : path, sequence of str, or mapping of str to path
        One file, files as `DATASET=FILE.csv`, or a mapping from data set to file.
    datasets : sequence of str
        The data sets of the runs.

    Raises
    ------
    StudyError
        If a data set is unknown or has two files, or if a file is given without its data set and there are several
        data sets.
    """
    if isinstance(files, Mapping):
        pairs = [(str(name), Path(path)) for name, path in files.items()]
    else:
        pairs = [
            _dataset_and_file(str(each), datasets) for each in ([files] if isinstance(files, str | Path) else files)
        ]
    file_of_dataset: dict[str, Path] = {}
    for name, path in pairs:
        if name not in datasets:
            raise StudyError(f"{name} is not a data set of these runs: {some(datasets)}", option=OPTION)
        if name in file_of_dataset:
            raise StudyError(
                f"{file_of_dataset[name]} and {path} are both for {name}: give one file per data set", option=OPTION
            )
        file_of_dataset[name] = path
    return file_of_dataset


def named_files(files: GivenGroups) -> list[Path]:
    """Return all paths that `files_of_datasets` might return for these files."""
    if isinstance(files, Mapping):
        return [Path(path) for path in files.values()]
    each = [files] if isinstance(files, str | Path) else files
    return [Path(path) for text in map(str, each) for path in (text, text.partition("=")[2]) if path]


def _dataset_and_file(text: str, datasets: Sequence[str]) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if equals and (name in datasets or not Path(text).exists()):
        return name, Path(path)
    if len(datasets) > 1:
        raise StudyError(
            f"the runs are of {len(datasets)} data sets: name the data set of {text}, as in {datasets[0]}={text}",
            option=OPTION,
        )
    return datasets[0], Path(text)


def read_groups(
    files: Mapping[str, Path], runs: pd.DataFrame, predictions: ReadPredictions | StudyPredictions | None
) -> dict[str, ImageGroups]:
    """Read the groups of each data set's test images.

    Parameters
    ----------
    files : mapping of str to Path
        As `files_of_datasets` returns it.
    runs : DataFrame
        As `pull.pull_runs` returns it.
    predictions : callable or StudyPredictions
        The predictions of the runs, from which the number of test images is read.

    Raises
    ------
    StudyError
        If `statistics.groups.read` raises it, or if no run of a data set has predictions.
    """
    shared_predictions, groups_of_dataset = StudyPredictions.shared(predictions), {}
    for dataset, path in files.items():
        rows = runs[runs[schema.DATASET] == dataset]
        pairs_of_runs = (
            (shared_predictions.of_runs(rows.iloc[[index]]) for index in range(len(rows))) if shared_predictions else ()
        )
        pairs = next((pairs for pairs in pairs_of_runs if pairs), None)
        if not pairs:
            raise StudyError(f"no run on {dataset} has predictions, which groups need", option=OPTION)
        groups_of_dataset[dataset] = read(path, len(pairs.images.label))
    return groups_of_dataset


def groups(
    study: RunArrays, predictions: ReadPredictions | StudyPredictions | None, of_images: Mapping[str, ImageGroups]
) -> Grouped:
    """Compute the effects of pruning on groups of test images in every cell of pruned networks.

    Parameters
    ----------
    study : RunArrays
    predictions : callable or StudyPredictions
        Takes run ids and returns the predictions of the runs.
    of_images : mapping of str to ImageGroups
        The groups of each data set's test images.
    """
    shared_predictions, without, with_other_images = StudyPredictions.shared(predictions), 0, 0
    members_of = {
        dataset: {name: members(group) for name, group in table.groupings.items()}
        for dataset, table in of_images.items()
    }
    of_groups, of_groupings = [], []
    for rows in study.cells:
        cell = study.runs.iloc[rows[0]]
        if cell[schema.DATASET] not in of_images or cell[schema.PRUNER] == CONTROL:
            continue
        answers = cell_answers(study, rows, shared_predictions)
        if answers is None:
            without += 1
            continue
        if len(answers.label) != of_images[cell[schema.DATASET]].images:
            with_other_images += 1
            continue
        key = cell[study.cell_key].to_dict()
        for name, (names, images, group_index) in members_of[cell[schema.DATASET]].items():
            table, grouping_row = compare_groups(names, group_index, answers.of(images))
            of_groups.append(table)
            of_groupings.append({**key, GROUPING: name, **grouping_row})
    why = {
        "their networks lack predictions": without,
        "their predictions and the table of groups differ in the number of test images": with_other_images,
    }
    notes = [f"{count:,} cells have no groups: {reason}" for reason, count in why.items() if count]
    groupings = pd.DataFrame(of_groupings)
    if not of_groups:
        return Grouped(pd.DataFrame(), groupings, notes)
    cell_of_group = groupings[[*study.cell_key, GROUPING]].loc[np.repeat(groupings.index, list(map(len, of_groups)))]
    table = pd.concat([cell_of_group.reset_index(drop=True), pd.concat(of_groups, ignore_index=True)], axis=1)
    return Grouped(table, groupings, notes)


def cell_answers(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> Answers | None:
    """Return the `Answers` of a cell's networks, or None without predictions."""
    run_ids, dense_ids = study.runs[RUN_ID].iloc, study.runs[schema.DENSE_RUN_ID].iloc
    pairs = predictions.of_pairs(dense_ids[rows], run_ids[rows]) if predictions else None
    if pairs is None:
        return None
    before, after = pairs.right
    has_control = len(study.with_control(rows)) == len(rows)
    control = (
        predictions.of_pairs(dense_ids[rows], run_ids[study.controls[rows]]) if predictions and has_control else None
    )
    return Answers(pairs.images.place, before, after, control.right[1] if control else None)


def compare_groups(names: np.ndarray, group_index: np.ndarray, answers: Answers) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows for a cell's groups, and the summary of the grouping.

    `names` and `group_index` are `names` and `place` from `statistics.groups.members`. The answers are for the images
    that have a group.
    """
    label, before, after, control = answers
    images = np.bincount(group_index)

    def accuracy(right: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(group_index, right.mean(0)) / images)

    loss = losses.between(group_index, before, after)
    columns = {
        GROUP: names,
        "images": images,
        "n": len(after),
        "accuracy_before": accuracy(before),
        "accuracy_after": accuracy(after),
        **losses.columns("loss", loss),
    }
    columns |= {"p": loss.p(), "p_holm": columns.pop("loss_p")}
    if control is not None:
        columns |= {"accuracy_control": accuracy(control), "loss_from_control": accuracy(control) - accuracy(after)}
    if len(after) > 1:
        if control is not None:
            columns |= losses.columns("loss_from_control", losses.between(group_index, control, after))
        reference = before if control is None else control
        columns |= losses.columns("cost", losses.between(group_index, reference, after, 1))
    return pd.DataFrame(columns), grouping_summary(names, group_index, label, before, after, control)
