"""The losses of each network on test and validation images, and the cells with which a mitigation is compared."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.validation_counts import ValidationRecalls
from analysis.statistics import intensification
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import RunArrays
from analysis.study.costs import WorstCost, cell_costs
from analysis.study.labels import has_several_teachers, in_words
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import (
    CONTROL,
    OF_DISTILLATION,
    control_columns,
    is_distilled,
    is_mitigated,
    networks,
    own_scope,
    telling_details,
)

# The name that means no mitigation.
NOTHING = ""
_SCOPE = frames.column(schema.SCOPE)
_MAGNITUDE = "mp"  # the pruner with which mitigating pruners are compared


class MitigationCell(NamedTuple):
    """The networks of a cell, in the order of their seeds, including those at chance.

    Attributes
    ----------
    place : tuple
        Data set, model, pruner, ratio and all shown settings except those of the mitigation. For a pruner that is
        itself a mitigation, the pruner here is `mp`.
    mitigation : str
        The mitigation in words; `NOTHING` if there is none.
    options : str
        The mitigation in words without the pruner: the part of it that a control can have too.
    run : mapping
        One of the cell's runs.
    classes : list of str
    networks : Index
    n_at_chance : int
        Number of networks at chance.
    accuracy : (networks,)
    recall, excess : (networks, classes)
        Recall after pruning, and the loss of recall beyond the loss of accuracy, on test images.
    floor : (networks,)
        Floor of the largest excess loss, as `largest_excess_floor` returns it.
    val_excess : (networks,)
        The largest excess loss on validation images; NaN if unknown.
    worst : WorstCost
        The class that costs most on average, relative to the networks' controls if they have any: those with the same
        mitigation or, if there are none, those without a mitigation. Networks at chance are included. `worst.name` is
        empty for a single network.
    """

    place: tuple[Any, ...]
    mitigation: str
    options: str
    run: Mapping[str, Any]
    classes: list[str]
    networks: pd.Index
    n_at_chance: int
    accuracy: np.ndarray
    recall: np.ndarray
    excess: np.ndarray
    floor: np.ndarray
    val_excess: np.ndarray
    worst: WorstCost

    @property
    def largest_excess(self) -> np.ndarray:
        """The largest excess loss of each network on test images, (networks,)."""
        return np.asarray(self.excess.max(1))

    @property
    def weakest(self) -> np.ndarray:
        """The recall of each network's weakest class on test images, (networks,)."""
        return np.asarray(self.recall.min(1))

    def at(self, networks: pd.Index) -> "MitigationCell":
        """Return the cell restricted to some of its networks, in the given order."""
        rows = self.networks.get_indexer(networks)
        arrays = {name: getattr(self, name)[rows] for name in ("accuracy", "recall", "excess", "floor", "val_excess")}
        return self._replace(networks=networks, **arrays)


class Cells:
    """The cells of a study, by place and mitigation.

    Parameters
    ----------
    study : RunArrays
    validation : ValidationRecalls
    predictions : StudyPredictions, optional
        If given, intervals of class costs are over networks and images; otherwise over networks alone.
    """

    def __init__(
        self, study: RunArrays, validation: ValidationRecalls, predictions: StudyPredictions | None = None
    ) -> None:
        self._of_control = _places(study, of_control=True)
        self.columns = _places(study, of_control=False)
        details = {param: telling_details(study.runs, param, [frames.column(param)]) for param in _mitigations()}
        self._with_weight = has_several_teachers(study.runs)
        self.all = [_cell(study, rows, validation, predictions, self.columns, details) for rows in study.cells]
        self._by_place = {(cell.place, cell.mitigation): cell for cell in self.all}
        controls = [cell for cell in self.all if cell.run[schema.PRUNER] == CONTROL]
        self._controls = {(self._control_place(cell), cell.options): cell for cell in controls}

    def in_words(self, mitigation: str) -> str:
        """Return a mitigation in words, such as `teacher` for `distill 0.5`."""
        return in_words(mitigation, with_weight=self._with_weight)

    def plain(self, cell: MitigationCell) -> MitigationCell | None:
        """Return the cell without a mitigation that otherwise has the same settings."""
        return self._by_place.get((cell.place, NOTHING))

    def control(self, cell: MitigationCell) -> MitigationCell | None:
        """Return the cell of the same fine-tuning with the same mitigation, without pruning."""
        return self._controls.get((self._control_place(cell), cell.options))

    def plain_control(self, cell: MitigationCell) -> MitigationCell | None:
        """Return the cell of the same fine-tuning without mitigation and without pruning."""
        return self._controls.get((self._control_place(cell), NOTHING))

    def _control_place(self, cell: MitigationCell) -> tuple[Any, ...]:
        by_column = dict(zip(self.columns, cell.place, strict=True))
        return tuple(by_column[column] for column in self._of_control)


def family(pruner: str) -> str:
    """Return the pruner with which a pruner is compared: `mp` if it is itself a mitigation, else the same pruner."""
    return _MAGNITUDE if pruner in schema.MITIGATING_PRUNERS else pruner


def _places(study: RunArrays, *, of_control: bool) -> list[str]:
    """Return the columns of a place: all, or only those that a pruned network shares with its control."""
    more = [column for column in study.shown if not _is_mitigation(frames.param(column))]
    if of_control:
        network_settings = [column for column in more if schema.role(frames.param(column)).concerns == "network"]
        return [schema.DATASET, schema.MODEL, *network_settings]
    return [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, *more]


def _is_mitigation(param: str) -> bool:
    """Return whether a param belongs to a mitigation; distillation does, because it spares classes too."""
    return schema.role(param).concerns == "mitigation" or frames.column(param) in OF_DISTILLATION


@lru_cache(2)
def _controls(study: RunArrays) -> np.ndarray:
    """Return the row of each run's control, which may lack the run's teacher, just as it may lack its mitigation."""
    runs = study.runs
    columns = [name for name in control_columns(runs) if name not in OF_DISTILLATION]
    alike = runs.groupby([*columns, schema.DENSE_RUN_ID], dropna=False).ngroup()
    is_control, has_teacher = runs[schema.PRUNER] == CONTROL, is_distilled(runs)
    is_plain = is_control & ~is_mitigated(runs) & ~has_teacher
    plain = pd.Series(np.flatnonzero(is_plain), alike[is_plain]).groupby(level=0).first()
    lacks_control = (study.controls < 0) & has_teacher & ~is_control
    return np.where(lacks_control, alike.map(plain).fillna(-1).to_numpy(int), study.controls)


def _cell(
    study: RunArrays,
    rows: np.ndarray,
    validation: ValidationRecalls,
    predictions: StudyPredictions | None,
    columns: Sequence[str],
    details: Mapping[str, list[str]],
) -> MitigationCell:
    runs = study.runs.iloc[rows]
    index = networks(runs)
    first = np.flatnonzero(~index.duplicated())
    first = first[index[first].argsort()]
    rows, classes = rows[first], study.classes_of(rows)
    before, after = study.measured(rows, classes)
    ids = study.runs.iloc[rows][[schema.DENSE_RUN_ID, frames.RUN_ID]].to_numpy()
    run = runs.iloc[0].to_dict()
    costs, _ = cell_costs(study, rows, predictions, _controls(study))
    return MitigationCell(
        place=_place(run, columns),
        mitigation=" + ".join(_pruner(run) + _options(run, details)),
        options=" + ".join(_options(run, details)),
        run=run,
        classes=study.names[classes].tolist(),
        networks=index[first],
        n_at_chance=int(study.at_chance[rows].sum()),
        accuracy=after.accuracy,
        recall=after.recall,
        excess=intensification.excess_loss(before, after),
        floor=study.floors(rows, classes),
        val_excess=np.array([_largest_on_validation(validation, *pair) for pair in ids]),
        worst=costs.worst if costs else WorstCost(),
    )


def _place(run: Mapping[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    values = {column: "" if pd.isna(run[column]) else run[column] for column in columns}
    if family(run[schema.PRUNER]) == _MAGNITUDE:
        of_pruner = [column for column in columns if schema.role(frames.param(column)).concerns == "pruner"]
        values |= dict.fromkeys(of_pruner, "") | {schema.PRUNER: family(run[schema.PRUNER])}
        if values.get(_SCOPE) == own_scope(run):
            values[_SCOPE] = schema.ABSENT[schema.SCOPE]
    return tuple(values.values())


def _pruner(run: Mapping[str, Any]) -> list[str]:
    """Return a list with the pruner if it is a mitigation; otherwise an empty list."""
    return [run[schema.PRUNER]] if run[schema.PRUNER] in schema.MITIGATING_PRUNERS else []


def _mitigations() -> list[str]:
    return [*schema.mitigations(), schema.DISTILL]


def _options(run: Mapping[str, Any], details: Mapping[str, list[str]]) -> list[str]:
    """Return the mitigations of a run in words, with their details."""
    words = []
    for param in _mitigations():
        value = run.get(frames.column(param))
        if pd.notna(value) and value != schema.ABSENT[param]:
            detail_texts = [
                f"{schema.short_name(frames.param(name))} {run[name]}" for name in details[param] if pd.notna(run[name])
            ]
            words.append(schema.words(param, str(value)) + (f" ({', '.join(detail_texts)})" if detail_texts else ""))
    return words


def _largest_on_validation(validation: ValidationRecalls, before: str, after: str) -> float:
    recalls = validation.recalls(before, after)
    if recalls is None:
        return np.nan
    sides = (Recalls(each, validation.accuracy(run)) for each, run in zip(recalls, (before, after), strict=True))
    return float(intensification.excess_loss(*sides).max())
