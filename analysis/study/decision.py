"""Decide which pruned networks of a study to use; reports and recommendations share this decision.

Losses are compared with limits by `analysis.statistics.limits.decide`, as in audits and in `compress`. Networks are
safe if every loss against the control is shown to be within its limit, and no loss since the dense networks is shown to
be beyond it.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from analysis.compare.comparison import LOSS_FROM_CONTROL
from analysis.runs import schema
from analysis.statistics.limits import ALPHA, LIMITS, Gate, Limits, State, decide
from analysis.study.arrays import dense_weakness
from analysis.study.costs import DENSE, CellCosts, cell_costs
from analysis.study.joins import is_alike
from analysis.study.settings import CONTROL, ITERATION, at_level, is_pruned
from analysis.study.study import StudyData

PLACE = [schema.DATASET, schema.MODEL]
Workload = tuple[str, str]
_DIGITS = 12  # of fitted accuracies, so that rounding errors of the fit break no ties


class Judged(NamedTuple):
    """A cell, the comparison of its losses with the limits, and these losses; None without recalls of all classes."""

    cell: pd.Series
    gate: Gate
    costs: CellCosts | None

    @property
    def is_safe(self) -> bool:
        """Whether every loss, and alpha if limited, is shown to be within its limit."""
        return self.gate.state == "within"


class Decision(NamedTuple):
    """The choice among the pruned networks of one data set and model.

    Attributes
    ----------
    judged : Judged
        The cell that reports describe: the safe cell with the largest ratio. If no cell is shown to be safe, reports
        describe a cell at the largest ratio at which the mean loss of accuracy of some method is within the limit. If
        there is no such ratio, they describe a cell at the smallest ratio.
    is_safe : bool
        Whether `judged` is shown to be safe.
    failing : Judged, optional
        The first cell of the same method, in ascending order of ratio, that is not shown to be safe.
    tried : list of Judged
        The cells that were compared with the limits: for each method, in ascending order of ratio, up to the first that
        is not shown to be safe.
    limits : Limits
    """

    judged: Judged
    is_safe: bool
    failing: Judged | None
    tried: list[Judged]
    limits: Limits

    @property
    def cell(self) -> pd.Series:
        """The row of `study.cells` that reports describe."""
        return self.judged.cell

    @property
    def ratio(self) -> float:
        """The ratio of the verdict."""
        return float(self.cell[schema.RATIO])


@lru_cache(2)
def decisions(study: StudyData) -> dict[Workload, Decision]:
    """Decide with the default limits, for every data set and model that has pruned networks."""
    workloads = study.cells.loc[is_pruned(study.cells), PLACE].drop_duplicates().itertuples(index=False, name=None)
    return {workload: decision(study, workload) for workload in workloads}


def decision(study: StudyData, workload: Workload, limits: Limits = LIMITS) -> Decision:
    """Decide which pruned networks of a data set and model to use.

    Each method is compared with the limits in ascending order of ratio, up to the first ratio that is not shown to be
    safe, so that trying many ratios does not raise the probability that one passes by chance. Among the safe cells the
    largest ratio is chosen, and at that ratio the most accurate method, by `_comparable_accuracies`. No cell is safe if
    all dense networks are at chance.
    """
    cells = study.cells
    cells = cells[(cells[PLACE] == list(workload)).all(axis=1) & is_pruned(cells)]
    of_method = [name for name in study.cell_key if name not in (schema.RATIO, ITERATION)]
    tried, safe = [], []
    for _, method in cells.sort_values(schema.RATIO, kind="stable").groupby(of_method, dropna=False, sort=False):
        up_to_failure = list(_judged(method, study, limits))
        safe += [each for each in up_to_failure if each.is_safe]
        tried += up_to_failure
    runs = study.runs[(study.runs[PLACE] == list(workload)).all(axis=1)]
    if safe and not dense_weakness(runs).is_hopeless:
        largest_ratio = max(each.cell[schema.RATIO] for each in safe)
        largest = [each for each in safe if each.cell[schema.RATIO] == largest_ratio]
        best = largest[_comparable_accuracies(pd.DataFrame([each.cell for each in largest]), study).argmax()]
        return Decision(best, True, _failing(best, tried, of_method), tried, limits)
    leading = _judge(by_accuracy(study, cells, _leading_ratio(cells, limits), limits).iloc[0], study, limits)
    return Decision(leading, False, _failing(leading, tried, of_method), tried, limits)


def ratio_of(study: StudyData, workload: Workload) -> float:
    """Return the ratio of the verdict, or 1 if no network is pruned."""
    decided = decisions(study).get(workload)
    return decided.ratio if decided else 1.0


def at_the_ratio(study: StudyData, cells: pd.DataFrame) -> pd.DataFrame:
    """Select the cells of a data set and model at the verdict's ratio, with the verdict's own cell first.

    Parameters
    ----------
    study : StudyData
    cells : DataFrame
        Rows of `study.cells` for pruned networks or, if there are none, for unpruned networks in other number formats.
        There may be further columns.
    """
    decided = decisions(study).get((cells[schema.DATASET].iloc[0], cells[schema.MODEL].iloc[0]))
    if decided is None:
        return by_accuracy(study, cells, 1.0)
    there = by_accuracy(study, cells, decided.ratio)
    is_own = is_alike(there, decided.cell, study.cell_key)
    return pd.concat([there[is_own], there[~is_own]])


def by_accuracy(study: StudyData, cells: pd.DataFrame, ratio: float, limits: Limits = LIMITS) -> pd.DataFrame:
    """Select the cells at a ratio: first those whose loss of accuracy is within the limit, then the others.

    Both parts are sorted from the most to the least accurate cell, by `_comparable_accuracies`. Cells whose networks
    are mostly at chance are left out, unless there are no others. A level of iterative pruning is selected if any level
    of the same iteration has the ratio.
    """
    there = _sound_or_all(cells[at_level(cells, ratio)])
    order = np.lexsort([-_comparable_accuracies(there, study), accuracy_loss(there) > limits.accuracy_loss])
    return there.iloc[order]


def _comparable_accuracies(cells: pd.DataFrame, study: StudyData) -> np.ndarray:
    """Compute each cell's mean accuracy, adjusted for the dense networks that it has, (cells,).

    Dense networks differ in accuracy, so means over different dense networks would not compare the methods. The
    accuracies are fitted by a sum of two terms, one for the cell and one for the dense network, with least squares. A
    cell's adjusted mean is the mean of its fitted accuracies on all dense networks that it is connected with by shared
    dense networks, also through other cells. It is the plain mean if all cells have the same dense networks, or if the
    cell shares none.
    """
    if cells.empty:
        return np.empty(0)
    runs = [rows_of(cell, study.arrays.runs, study) for _, cell in cells.iterrows()]
    of_cell = np.repeat(np.arange(len(runs)), [len(own) for own in runs])
    together = pd.concat(runs)
    of_network = together[schema.DENSE_RUN_ID].factorize()[0]
    terms = np.hstack([np.eye(len(runs))[of_cell], np.eye(of_network.max() + 1)[of_network]])
    accuracies = together["accuracy_after"].to_numpy(float)
    fitted = np.split(np.linalg.lstsq(terms, accuracies, rcond=None)[0], [len(runs)])
    components = np.split(connected_components(terms.T @ terms)[1], [len(runs)])
    is_connected = np.equal.outer(*components)
    return np.asarray((fitted[0] + is_connected @ fitted[1] / is_connected.sum(1)).round(_DIGITS))


def mostly_sound(cells: pd.DataFrame) -> pd.Series:
    """Return whether fewer than half of each cell's networks are at chance."""
    return cells["n"] > 2 * cells["n_at_chance"]


def accuracy_loss(cells: pd.DataFrame) -> pd.Series:
    """Compute each cell's loss of accuracy relative to its controls or, if it has none, to its dense networks."""
    loss = (-cells["accuracy_minus_none"]).fillna(cells["accuracy_before"] - cells["accuracy_after"])
    return loss.round(9)  # rounding errors must not lift a loss of one point above a limit of one point


def class_rows(study: StudyData, cell: pd.Series) -> pd.DataFrame:
    """Select the rows of `study.classes` for a cell."""
    return rows_of(cell, study.classes, study)


def reference_rows(study: StudyData, cell: pd.Series) -> pd.DataFrame:
    """Select the rows of `study.classes` for a cell, with losses measured from the controls if there are any."""
    rows = class_rows(study, cell)
    if rows[LOSS_FROM_CONTROL].isna().all():
        return rows
    ends = ("", "_low", "_high", "_upper_all")
    return rows.assign(**{f"loss{end}": rows[f"{LOSS_FROM_CONTROL}{end}"] for end in ends})


def rows_of(cell: pd.Series, frame: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """Select the rows of a frame for a cell."""
    columns = study.cell_key
    conditions = [frame[name].isna() if pd.isna(cell[name]) else frame[name] == cell[name] for name in columns]
    return frame[np.logical_and.reduce(conditions)]


def run_rows(cell: pd.Series, study: StudyData) -> np.ndarray:
    """Return the rows of a cell's networks in `study.arrays`, (networks,)."""
    return rows_of(cell, study.arrays.runs, study).index.to_numpy()


def _judged(method: pd.DataFrame, study: StudyData, limits: Limits) -> Iterator[Judged]:
    """Yield the cells of a method by ratio, up to the first that is not shown to be safe."""
    for _, cell in method.iterrows():
        judged = _judge(cell, study, limits)
        yield judged
        if not judged.is_safe:
            return


def _judge(cell: pd.Series, study: StudyData, limits: Limits) -> Judged:
    """Compare a cell with the limits.

    A cell is never shown to be safe if only one pair of networks is compared, or if some of its networks lack a control
    that others have, because the networks without one are not compared.
    """
    found, _ = cell_costs(study.arrays, run_rows(cell, study), study.predicted)
    if found is None:
        return Judged(cell, Gate("undecided", "no network has recalls of all classes."), None)
    gates = [*_unknown(cell, found.n), *_gates(found, limits), *_alpha_gate(cell, limits)]
    states: Sequence[State] = "beyond", "undecided"
    failing = (gate for state in states for gate in gates if gate.state == state)
    return Judged(cell, next(failing, Gate("within", "")), found)


def _unknown(cell: pd.Series, compared: int) -> Iterator[Gate]:
    """Yield why no number can show a cell to be safe."""
    if without := int(cell["n"] - cell["n_none"]) if cell["n_none"] else 0:
        missing = "one network has" if without == 1 else f"{without} networks have"
        reason = f"{missing} no control and cannot be compared. Run the pruner {CONTROL} with all seeds."
        yield Gate("undecided", reason)
    elif compared < 2:
        yield Gate("undecided", "one network says nothing about others, so prune several.")


def _gates(found: CellCosts, limits: Limits) -> Iterator[Gate]:
    """Yield the comparisons of losses with their limits, from the reference and since the dense networks."""
    for limit, losses in ((limits.class_loss, found.losses), (limits.accuracy_loss, found.accuracy_losses)):
        if np.isfinite(limit):
            since_dense = _explained(decide(losses(found.dense), limit), limit, "since the dense networks")
            if found.reference == DENSE:
                yield since_dense
                continue
            yield _explained(decide(losses(found.own), limit), limit, "against the control")
            if since_dense.state == "beyond":
                yield since_dense


def _explained(gate: Gate, limit: float, where: str) -> Gate:
    return gate._replace(reason=f"{where} (limit {100 * limit:g}), {gate.reason[0].lower()}{gate.reason[1:]}")


def _alpha_gate(cell: pd.Series, limits: Limits) -> Iterator[Gate]:
    if not np.isfinite(limits.alpha):
        return
    low, high = cell["alpha_new_low"], cell["alpha_new_high"]
    state: State = "beyond" if low > limits.alpha else "within" if high < limits.alpha else "undecided"
    may_be = "unknown" if np.isnan(high) else f"between {low:.2f} and {high:.2f}"
    yield Gate(state, f"{ALPHA} is {may_be} (limit {limits.alpha:g}).")


def _failing(judged: Judged, tried: list[Judged], of_method: list[str]) -> Judged | None:
    """Return the first cell of the same method that is not shown to be safe."""
    failures = (each for each in tried if not each.is_safe)
    return next((each for each in failures if is_alike(each.cell.to_frame().T, judged.cell, of_method)[0]), None)


def _leading_ratio(cells: pd.DataFrame, limits: Limits) -> float:
    """Return the largest ratio at which some method's mean accuracy loss is within the limit, else the smallest ratio.

    Cells whose networks are mostly at chance are ignored, unless there are no others.
    """
    sound = _sound_or_all(cells)
    small = sound.loc[accuracy_loss(sound) <= limits.accuracy_loss, schema.RATIO]
    return float(small.max() if len(small) else sound[schema.RATIO].min())


def _sound_or_all(cells: pd.DataFrame) -> pd.DataFrame:
    """Select the cells whose networks are mostly above chance, or all cells if there is no such cell."""
    sound = mostly_sound(cells)
    return cells[sound] if sound.any() else cells
