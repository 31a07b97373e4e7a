"""One row per run and one row per cell: the slopes of a whole study, as frames.

A cell is every param but the seed: data set, model, pruner and ratio and, where an experiment holds several
settings of the same four, the params that differ. Frames say in `attrs["notes"]`, in sentences, what they lack.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.settings import (
    _GROUPS,
    _RECALL_AFTER,
    _RECALL_BEFORE,
    ALPHA_COLUMNS,
    CELL,
    CELL_COLUMNS,
    CONTROL,
    _most_frequent,
    _settings,
    pruners_own,
)
from analysis.statistics import class_metrics, intensification, resampling

OTHER_METRICS = ("precision", "f1")

# Run ids -> run id -> arrays `label` and `predicted`, without the runs that have none.
Predictions = Callable[[Sequence[str]], Mapping[str, Mapping[str, np.ndarray]]]


def alphas(runs: pd.DataFrame) -> pd.DataFrame:
    """Slope of every run, computed from its recalls (`alpha.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.pull.runs` returns it.

    Returns
    -------
    DataFrame, one row per run in the order of `runs`
        `ALPHA_COLUMNS`, then `settings(runs)`. alpha, correlation and spread_ratio are NaN where every class
        has the accuracy as its recall. A run of the pruner `none` has ratio 1 and pairs with every ratio.
    """
    study = read(runs)
    measured = {name: np.full(len(study.runs), np.nan) for name in ("alpha", "correlation", "spread_ratio")}
    at_chance = np.zeros(len(study.runs), dtype=bool)
    for rows, classes in _class_sets(study.before):
        before, after = study.balances(rows, classes)
        for name, values in measured.items():
            values[rows] = getattr(intensification, name)(before, after)
        at_chance[rows] = intensification.at_chance(study.accuracy_after[rows], classes.sum())
    frame = study.runs.assign(**measured, at_chance=at_chance)[[*ALPHA_COLUMNS, *study.settings]]
    undefined = frame.loc[frame["alpha"].isna(), "run_id"]
    if len(undefined):
        study.notes.append(
            f"alpha is undefined in {len(undefined):,} runs, every class has the accuracy as its recall: "
            f"{', '.join(undefined[:3])}"
        )
    frame.attrs = {"notes": study.notes}
    return frame


def cells(runs: pd.DataFrame, predictions: Predictions | None = None, *, confidence: float = 0.95) -> pd.DataFrame:
    """All slopes of every cell and what must stand beside them (`cells.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.pull.runs` returns it.
    predictions : callable, optional
        Takes run ids and gives what they predicted, as `analysis.pull.predictions` does; called once a cell.
        With it the interval of alpha_new is for new seeds and new images, and the slopes of precision and F1
        are there.

    confidence : float
        Of the family of intervals of one data set, model and pruner over its ratios.

    Returns
    -------
    DataFrame, one row per cell, sorted
        `CELL_COLUMNS`; `settings(runs)`; the rest of `intensification.cell_summary`; confidence, of all intervals of
        the row: 1 - (1 - confidence) / K for K ratios of the same data set, model, pruner and settings;
        alpha_new_resampled; n_none, the seeds with a run of `none`, and over these alpha_minus_none (mean of the
        differences) and alpha_on_none (mean slope of the balance after pruning on that of `none`), each with its
        interval;
        alpha_other_seed, the mean slope between dense networks of different seeds; alpha_precision and alpha_f1
        with their intervals; realized_ratio, the mean over the runs, where `runs` has it. alpha_shared and
        alpha_other_seed are NaN in a cell that has a dense network twice.
    """
    study = read(runs)
    group = [schema.DATASET, schema.MODEL, schema.PRUNER, *study.settings]
    ratios = study.runs.groupby(group, dropna=False)[schema.RATIO].transform("nunique").to_numpy()
    none = _control_rows(study)
    of_cells = cell_rows(study)
    frame = _named(
        study,
        of_cells,
        [_cell(study, rows, none[rows], 1 - (1 - confidence) / ratios[rows[0]], predictions) for rows in of_cells],
    )
    leading = [*CELL_COLUMNS, *study.settings]
    frame = frame[[*leading, *(name for name in frame.columns if name not in leading)]]
    if schema.REALIZED_RATIO in study.runs:
        realized = study.runs[schema.REALIZED_RATIO]
        frame = frame.assign(**{schema.REALIZED_RATIO: [realized.iloc[rows].mean() for rows in of_cells]})
    if study.settings:
        study.notes.append(f"cells are told apart by {', '.join(study.settings)} too")
    if repeated := sum(_has_dense_twice(study, rows) for rows in of_cells):
        study.notes.append(
            f"alpha_shared and alpha_other_seed are n/a in {repeated:,} of {len(frame):,} cells: they need a dense "
            "network for every seed, and several runs there are of the same one"
        )
    if without := int(frame["alpha_new"].isna().sum()):
        study.notes.append(
            f"alpha_new is n/a in {without:,} of {len(frame):,} cells: it needs {schema.SUPPORT}<class> and "
            f"{schema.BOTH_RIGHT}<class>, or predictions, of every run"
        )
    frame.attrs = {"notes": study.notes}
    return frame


def ratio_summaries(runs: pd.DataFrame) -> pd.DataFrame:
    """Alpha beside the mean of the intensification ratios, for every cell (supplement, Section G).

    Returns
    -------
    DataFrame, one row per cell with a defined alpha, sorted
        dataset, model, pruner, ratio, `settings(runs)`, n, and what `intensification.ratio_summary` returns.
    """
    study = read(runs)
    of_cells = [(kept, classes) for rows in cell_rows(study) for kept, classes in [_defined(study, rows)] if len(kept)]
    return _named(
        study,
        [kept for kept, _ in of_cells],
        [
            {"n": len(kept)} | intensification.ratio_summary(*study.balances(kept, classes))
            for kept, classes in of_cells
        ],
    )


class Study(NamedTuple):
    """Runs and their arrays, (runs, classes of all data sets); NaN for a class that a run does not have."""

    runs: pd.DataFrame
    settings: list[str]
    before: np.ndarray
    after: np.ndarray
    support: np.ndarray
    both_right: np.ndarray
    accuracy_before: np.ndarray
    accuracy_after: np.ndarray
    notes: list[str]

    def balances(self, rows: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalised recall balance before and after, each (rows, classes)."""
        return (
            intensification.recall_balance(self.before[np.ix_(rows, classes)], self.accuracy_before[rows]),
            intensification.recall_balance(self.after[np.ix_(rows, classes)], self.accuracy_after[rows]),
        )


def recalls(runs: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Class names, recalls before and after (networks, classes); a class of another data set is NaN."""
    names = _class_names(runs)
    before, after = (
        runs[[start + name for name in names]].to_numpy(float) for start in (_RECALL_BEFORE, _RECALL_AFTER)
    )
    return names, before, after


def _class_names(runs: pd.DataFrame) -> list[str]:
    return [name.removeprefix(_RECALL_BEFORE) for name in runs.columns if name.startswith(_RECALL_BEFORE)]


def read(runs: pd.DataFrame) -> Study:
    names = _class_names(runs)
    apart, of_seeds = _settings(runs)
    notes = [f"cells are not told apart by {', '.join(of_seeds)}: no two seeds share a value"] if of_seeds else []
    runs = _of_one_class_set(runs, names, apart, notes)
    before, after, support, both_right = (
        runs.reindex(columns=[group + name for name in names]).to_numpy(float) for group in _GROUPS
    )
    return Study(
        runs[[name for name in runs.columns if not name.startswith(_GROUPS)]],
        apart,
        before,
        after,
        support,
        both_right,
        accuracy_before=runs["accuracy_before"].to_numpy(float),
        accuracy_after=runs["accuracy_after"].to_numpy(float),
        notes=notes,
    )


def _of_one_class_set(runs: pd.DataFrame, names: list[str], apart: list[str], notes: list[str]) -> pd.DataFrame:
    """Keep, of every cell, the runs that have the classes of most of its runs."""
    runs = runs.reset_index(drop=True)
    has = runs[[_RECALL_BEFORE + name for name in names]].notna().to_numpy()
    keys = runs[[*CELL, *apart]].assign(class_set=_row_numbers(has))
    kept = _most_frequent(keys.assign(row=np.arange(len(runs))), [*CELL, *apart], ["class_set"])["row"]
    if left := len(runs) - len(kept):
        notes.append(f"{left:,} runs left out, most runs of their cell have other classes")
        runs = runs.loc[np.sort(kept)].reset_index(drop=True)
    return runs


def _row_numbers(has: np.ndarray) -> np.ndarray:
    """The same number for equal rows of a bool array."""
    packed = np.ascontiguousarray(np.packbits(has, axis=1))
    return np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)[1]


def _class_sets(before: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that have the same classes, and which classes those are."""
    has = ~np.isnan(before)
    for rows in _positions(_row_numbers(has)):
        yield rows, has[rows[0]]


def cell_rows(study: Study) -> list[np.ndarray]:
    """Rows of every cell, cells sorted."""
    return _positions(study.runs.groupby([*CELL, *study.settings], dropna=False).ngroup().to_numpy())


def _named(study: Study, of_cells: Sequence[np.ndarray], summaries: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Summaries of cells, given by their rows, behind the columns that say which cell each is."""
    which = study.runs.iloc[[rows[0] for rows in of_cells]][[*CELL, *study.settings]]
    return pd.concat([which.reset_index(drop=True), pd.DataFrame(summaries)], axis=1)


def _positions(numbers: np.ndarray) -> list[np.ndarray]:
    """Positions of every number, numbers ascending."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _control_rows(study: Study) -> np.ndarray:
    """Row of the run of `none` with the same data set, model, settings and seed: (runs,).

    -1 where there is none, and for the runs of `none` themselves.
    """
    own = pruners_own(study.runs, study.settings)
    keys = [schema.DATASET, schema.MODEL, schema.SEED, *(name for name in study.settings if name not in own)]
    control = study.runs[schema.PRUNER] == CONTROL
    none = study.runs.loc[control, keys].drop_duplicates()
    found = study.runs[keys].merge(none.assign(row=none.index), on=keys, how="left")["row"]
    return found.mask(control, -1).fillna(-1).to_numpy(int)


def _defined(study: Study, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a cell whose alpha is defined, and the cell's classes."""
    classes = ~np.isnan(study.before[rows[0]])
    return rows[np.isfinite(intensification.alpha(*study.balances(rows, classes)))], classes


def _has_dense_twice(study: Study, rows: np.ndarray) -> bool:
    return bool(study.runs["dense_run_id"].iloc[rows].duplicated().any())


def _cell(
    study: Study, rows: np.ndarray, none: np.ndarray, confidence: float, predictions: Predictions | None
) -> dict[str, Any]:
    kept, classes = _defined(study, rows)
    of_cell = np.ix_(kept, classes)
    both_right = study.both_right[of_cell]
    summary = intensification.cell_summary(
        study.before[of_cell],
        study.after[of_cell],
        study.accuracy_before[kept],
        study.accuracy_after[kept],
        support=common_support(study.support[of_cell]),
        both_right=None if np.isnan(both_right).any() else both_right,
        confidence=confidence,
    )
    found = predicted(study.runs.iloc[kept], predictions) if predictions and len(kept) else None
    return (
        summary
        | {"alpha_new_resampled": "seeds", "confidence": confidence}
        | (_of_new_images(found, confidence) if found else {})
        | _against_none(study, kept, classes, none[np.isin(rows, kept)], confidence)
        | _between_seeds(study, rows, kept, classes)
        | _of_other_metrics(found, confidence)
    )


def _between_seeds(study: Study, rows: np.ndarray, kept: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """Return the control of other seeds; without other seeds `alpha_shared` is missing too."""
    if _has_dense_twice(study, rows):
        missing = dict.fromkeys(["alpha_shared", "alpha_shared_low", "alpha_shared_high", "alpha_other_seed"], np.nan)
        return missing | {"alpha_shared_identified": False}
    dense, _ = study.balances(kept, classes)
    return {"alpha_other_seed": float(intensification.other_seed(dense).mean()) if len(kept) > 1 else np.nan}


def common_support(support: np.ndarray) -> np.ndarray | None:
    """The test images of each class, (classes,), where every run says the same."""
    return support[0] if len(support) and (support == support[0]).all() else None


def _against_none(
    study: Study, rows: np.ndarray, classes: np.ndarray, none: np.ndarray, confidence: float
) -> dict[str, Any]:
    """What pruning did beyond the fine-tuning that comes with it, over the seeds that have both."""
    there = none >= 0
    before, after = study.balances(rows[there], classes)
    without_pruning = study.balances(none[there], classes)
    minus = intensification.alpha(before, after) - intensification.alpha(*without_pruning)
    on = intensification.alpha(without_pruning[1], after)
    return (
        {"n_none": int(np.isfinite(minus).sum())}
        | _mean("alpha_minus_none", minus, confidence)
        | _mean("alpha_on_none", on, confidence)
    )


def _mean(name: str, values: np.ndarray, confidence: float) -> dict[str, float]:
    values = values[np.isfinite(values)]
    low, high = resampling.mean_interval(values, confidence)
    return {name: float(values.mean()) if len(values) else np.nan, f"{name}_low": low, f"{name}_high": high}


class Predicted(NamedTuple):
    label: np.ndarray  # (images,)
    before: np.ndarray  # (seeds, images)
    after: np.ndarray


def predicted(runs: pd.DataFrame, predictions: Predictions) -> Predicted | None:
    """What the networks of a cell predicted; None unless all did for the same images."""
    pairs = list(zip(runs["dense_run_id"], runs["run_id"], strict=True))
    found = predictions(list(dict.fromkeys(run_id for pair in pairs for run_id in pair)))
    if any(run_id not in found for pair in pairs for run_id in pair):
        return None
    labels = [run[schema.LABEL] for run in found.values()]
    if not all(np.array_equal(label, labels[0]) for label in labels):
        return None
    before, after = (
        np.stack([found[run_id][schema.PREDICTED] for run_id in side]) for side in zip(*pairs, strict=True)
    )
    return Predicted(np.asarray(labels[0]), before, after)


def _of_new_images(found: Predicted, confidence: float) -> dict[str, Any]:
    label, before, after = found
    new = intensification.alpha_new_from_predictions(label, before == label, after == label, confidence=confidence)
    return {
        "alpha_new": new.estimate,
        "alpha_new_low": new.low,
        "alpha_new_high": new.high,
        "alpha_new_identified": new.identified,
        "reliability": new.reliability,
        "alpha_new_resampled": new.resampled,
    }


def _of_other_metrics(found: Predicted | None, confidence: float) -> dict[str, float]:
    slopes = other_slopes(found) if found else dict.fromkeys(OTHER_METRICS, np.empty(0))
    return {key: value for name in slopes for key, value in _mean(f"alpha_{name}", slopes[name], confidence).items()}


def other_slopes(found: Predicted) -> dict[str, np.ndarray]:
    """Slopes of precision and F1, each (seeds,) (Section 4: is recall more expressive than they are?)."""
    classes = int(max(array.max() for array in found)) + 1
    tested = np.bincount(found.label, minlength=classes) > 0
    slopes = {}
    for name in OTHER_METRICS:
        before, after = (_metric(name, found.label, side, classes)[:, tested] for side in found[1:])
        slopes[name] = intensification.alpha(intensification.mean_balance(before), intensification.mean_balance(after))
    return slopes


def _metric(name: str, label: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Precision or F1 of every class, (seeds, classes)."""
    return np.array([getattr(class_metrics.class_metrics(label, of_one, classes), name) for of_one in predicted])
