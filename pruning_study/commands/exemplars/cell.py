"""One cell of a study: the predictions of its dense and its compressed networks for every test image."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError, did_you_mean, option_name
from analysis.common.printable import shortened
from analysis.runs import exports, frames, pull, schema, studies
from analysis.runs.checked_predictions import CheckedPredictions
from analysis.runs.checks import some
from analysis.runs.frames import RUN_ID, ReadPredictions
from analysis.statistics.intensification import networks_at_chance
from analysis.statistics.modal_labels import FEWEST
from analysis.statistics.populations import Exemplars, exemplars
from pruning_study.data import datasets
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import ExemplarsConfig

# Params that have an option of their own for choosing a cell; --setting selects by any other param.
_OPTIONS = (schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, schema.SPARSITY)


class PopulationPair(NamedTuple):
    """Two populations of networks that were tested on the same images.

    Attributes
    ----------
    name : str
        Data set, model, pruner, ratio or sparsity, and the settings whose values differ from those in
        `schema.ABSENT`.
    dataset : str
        Name of the data set.
    described : dict of str
        Digest, image shape and test fraction of the data set, as far as the runs have logged them.
    label : int64 [images]
    dense, compressed : int64 [networks, images]
        Predicted classes. The network of row i of `compressed` was made from that of row i of `dense`.
    notes : list of str
        Sentences on networks that are left out or at chance, and on the runs of the study.
    """

    name: str
    dataset: str
    described: Mapping[str, str]
    label: np.ndarray
    dense: np.ndarray
    compressed: np.ndarray
    notes: list[str]

    @property
    def modal_labels(self) -> Exemplars:
        """The modal labels of both populations, which are the most frequent predictions for each image."""
        return exemplars(self.dense, self.compressed)


def read(config: ExemplarsConfig) -> PopulationPair:
    """Read the cell that the options select.

    Raises
    ------
    StudyError
        If the options select no run, if they select runs of several cells, or if too few networks have predictions.
    """
    study, predictions = _study(config)
    runs = _chosen(study.runs, config)
    name = cell_name(runs.iloc[0])
    checked = CheckedPredictions(study.runs, predictions)
    sides, notes = _with_predictions(runs, checked([*runs[schema.DENSE_RUN_ID], *runs[RUN_ID]]), name)
    first = runs.iloc[0]
    columns = {
        param: frames.column(param) for param in (schema.DATASET_DIGEST, schema.IMAGE_SHAPE, schema.TEST_FRACTION)
    }
    described = {param: first[column] for param, column in columns.items() if pd.notna(first.get(column))}
    return PopulationPair(
        name, first[schema.DATASET], described, *sides, notes=[*notes, *checked.notes, *study.runs.attrs["left_out"]]
    )


def _study(config: ExemplarsConfig) -> tuple[frames.Study, ReadPredictions]:
    if config.frames is not None:
        return exports.read(exports.below(config.frames))
    experiment = config.experiment if config.study is None else studies.experiment_of(config.study)
    return pull.study(experiment), pull.predictions


def _chosen(runs: pd.DataFrame, config: ExemplarsConfig) -> pd.DataFrame:
    """Return the runs of the cell that the options select."""
    wanted: dict[str, str | float | None] = {
        schema.DATASET: datasets.dataset_name(config.dataset) if config.dataset else None,
        schema.MODEL: config.model,
        schema.PRUNER: config.pruner,
        schema.RATIO: config.ratio,
        schema.SPARSITY: None if config.sparsity is None else schema.text(config.sparsity),
    }
    for param, _, text in (setting.partition("=") for setting in config.setting or ()):
        if param in (*_OPTIONS, schema.SEED):
            hint = "a cell has networks of all seeds" if param == schema.SEED else f"give it as {option_name(param)}"
            raise StudyError(f"{param} cannot be given here: {hint}", option="setting")
        wanted[param] = text
    for param, value in wanted.items():
        if value is not None:
            runs = _with_value(runs, param, value)
    if config.pruner is None and (runs[schema.PRUNER] != schema.CONTROL).any():
        runs = runs[runs[schema.PRUNER] != schema.CONTROL]
    settings = [column for column in frames.params(runs) if schema.role(frames.param(column)).role == "setting"]
    differing = [column for column in settings if runs[column].nunique(dropna=False) > 1]
    if differing:
        # If params with an option of their own differ, list only these: the others, such as a digest, follow from them.
        chosen_by_options = [column for column in differing if column in _OPTIONS]
        shown = chosen_by_options or [column for column in differing if runs[column].nunique() > 1] or differing
        choices = "; ".join(_choices(runs, column) for column in shown)
        cells = runs.groupby(settings, dropna=False).ngroups
        raise StudyError(f"{cells:,} cells fit, choose one: {choices}", option=_option(frames.param(shown[0])))
    return runs.reset_index(drop=True)


def _with_value(runs: pd.DataFrame, param: str, value: str | float) -> pd.DataFrame:
    column = frames.column(param)
    if column not in runs:
        names = [frames.param(name) for name in runs if name.startswith(frames.PARAM)]
        raise StudyError(f"no run has a param {shortened(param)}, {did_you_mean(param, names)}", option=_option(param))
    wanted = schema.canonical(param, value) if isinstance(value, str) else value
    rows = runs[runs[column] == wanted]
    if rows.empty:
        shown = value if isinstance(value, str) else f"{value:g}"
        message = f"no run has {param} {shortened(shown)[1:-1]}, choose {_choices(runs, column)}"
        raise StudyError(message, option=_option(param))
    return rows


def _choices(runs: pd.DataFrame, column: str) -> str:
    """List the values of a param, preceded by the option that selects one of them."""
    param = frames.param(column)
    choices = sorted(runs[column].dropna().unique().tolist())
    if column == schema.RATIO:  # all digits, so that a user can copy a ratio that was computed from a sparsity
        choices = [schema.text(ratio).removesuffix(".0") for ratio in choices]
    values = some(map(str, choices), most=12)
    return f"{option_name(param)} {values}" if param in _OPTIONS else f"--setting {param}= {values}"


def _option(param: str) -> str:
    return param if param in _OPTIONS else "setting"


def cell_name(run: pd.Series) -> str:
    """Name the cell of a run for pictures and messages."""
    params = {name: run.get(frames.column(name)) for name in (*schema.ABSENT, schema.SPARSITY)}
    is_anew = params[schema.START] == schema.INITIALIZATION
    level = f"sparsity {params[schema.SPARSITY]}" if is_anew else f"ratio {run[schema.RATIO]:g}"
    others = [
        f"{name.replace('_', ' ')} {params[name]}"
        for name, usual in schema.ABSENT.items()
        if not (is_anew and name == schema.SCHEDULE)  # `start initialization` leaves no choice of schedule
        and pd.notna(params[name])
        and params[name] not in (usual, run[schema.PRUNER])
    ]
    return ", ".join([run[schema.DATASET], run[schema.MODEL], run[schema.PRUNER], level, *others])


def _with_predictions(
    runs: pd.DataFrame, predicted: Mapping[str, Mapping[str, np.ndarray]], name: str
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[str]]:
    """Return labels, both sides' predictions, and notes on pairs that are left out or have a network at chance."""
    runs = runs.drop_duplicates(schema.DENSE_RUN_ID)  # a repeated run is not a second network
    pairs = [
        (predicted[dense], predicted[compressed])
        for dense, compressed in zip(runs[schema.DENSE_RUN_ID], runs[RUN_ID], strict=True)
        if dense in predicted and compressed in predicted
    ]
    notes = []
    if without := len(runs) - len(pairs):
        notes.append(f"{without:,} of {len(runs):,} pairs of networks are left out because they lack predictions")
    if len(pairs) < FEWEST:
        there = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''} of networks"
        raise StudyError(
            f"{name}: {there}{''.join(f' ({note})' for note in notes)}, but PIEs need {FEWEST} or more: "
            "choose another cell, or make the runs of more seeds"
        )
    label = pairs[0][0][schema.LABEL]
    dense, compressed = (np.stack([pair[side][schema.PREDICTED] for pair in pairs]) for side in (0, 1))
    at_chance = networks_at_chance(label, dense == label) | networks_at_chance(label, compressed == label)
    if at_chance.any():
        notes.append(f"{at_chance.sum():,} of {len(pairs):,} pairs have a network at chance, but are not left out")
    return (label, dense, compressed), notes


def load_data(cell: PopulationPair, config: ExemplarsConfig) -> Dataset:
    """Read the data set of a cell.

    Raises
    ------
    StudyError
        If it is not the data set that the networks were tested on.
    """
    if config.dataset is None and datasets.is_path(cell.dataset):
        raise StudyError(
            f"the runs name the path {shortened(cell.dataset)} as their data set: give this data set", option="dataset"
        )
    data = datasets.load(
        config.dataset or cell.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        test_fraction=config.test_fraction,
    )
    own = {
        schema.IMAGE_SHAPE: "x".join(map(str, data.image_shape)),
        schema.TEST_FRACTION: "none" if data.test_fraction is None else schema.text(data.test_fraction),
        schema.DATASET_DIGEST: data.digest,
    }
    for param, value in own.items():
        if (there := cell.described.get(param, value)) != value:
            raise StudyError(
                f"{data.source}: {param} is {value}, but {there} in the runs: give the data and the options with which "
                "the runs were made",
                option="dataset",
            )
    if not np.array_equal(data.test_labels, cell.label):
        raise StudyError(
            f"{data.source}: the labels of the test images differ from those in the runs", option="dataset"
        )
    if (largest := max(cell.dense.max(), cell.compressed.max())) >= len(data.classes):
        raise StudyError(f"{data.source} has {len(data.classes)} classes, but a network predicts class {largest}")
    return data
