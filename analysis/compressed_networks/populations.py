"""One row per cell, and per image or class of a cell: what the compressed networks of a study predict otherwise.

The control `none` is a cell too: what it gives, fine-tuning alone does. Networks that guess are left out.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import RunArrays, class_names, run_arrays
from analysis.cells import control_rows, with_control
from analysis.predictions import Pairs, Predictions
from analysis.runs import schema
from analysis.runs.frames import RUN_ID, ReadPredictions
from analysis.settings import CELL
from analysis.statistics import populations
from analysis.statistics.populations import FEWEST, Exemplars

METHOD, LEVEL = "method", "level"
_NAMES = {schema.PRUNER: METHOD, schema.RATIO: LEVEL}


def class_significance(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's test of every class in every cell of two networks or more (`class_significance.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it.

    Returns
    -------
    DataFrame, one row per cell and class
        dataset, model, method, level, `shown_settings(runs)`, class, n_dense, n_compressed, recall_dense,
        recall_compressed, and then as `populations.class_significance` describes them: difference,
        normalised_difference, statistic, dof, p, p_holm, p_bh, p_paired, significant. `placebo` is how often the class
        is significant between two halves of the dense networks.
    """
    study = run_arrays(runs)
    names = np.array(class_names(runs))
    placebos: dict[tuple[str, ...], np.ndarray] = {}
    found = []
    for rows in study.cells():
        kept, has = study.counted(rows)
        dense = tuple(study.runs[schema.DENSE_RUN_ID].iloc[kept])
        if len(set(dense)) == len(kept) > 1:  # a network that is there twice is no second network
            before, after, *accuracies = study.measured(kept, has)
            if dense not in placebos:
                placebos[dense] = populations.placebo_significance(before, accuracies[0])
            test = populations.class_significance(before, after, *accuracies, paired=True)
            columns = {
                **cell_name(study, rows),
                "class": names[has],
                "n_dense": len(kept),
                "n_compressed": len(kept),
                "recall_dense": before.mean(0),
                "recall_compressed": after.mean(0),
                **{name: getattr(test, name) for name in _TESTED},
                "placebo": placebos[dense],
            }
            found.append(pd.DataFrame(columns))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


_TESTED = (
    "difference",
    "normalised_difference",
    "statistic",
    "dof",
    "p",
    "p_holm",
    "p_bh",
    "p_paired",
    "significant",
)


def exemplars(
    runs: pd.DataFrame, predictions: ReadPredictions | Predictions | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the pruning identified exemplars of every cell of five networks or more (`pie_summary.csv`, `pie.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it.
    predictions : callable or Predictions, optional
        As for `cells.cells`; without it there is no row.

    Returns
    -------
    summary : DataFrame, one row per cell
        dataset, model, method, level, `shown_settings(runs)`, n_dense, n_compressed, n_pie, n_ties; the accuracy of the
        dense networks on PIEs, on other images and on all (top1_pie, top1_non_pie, top1_all), and on other images of
        the same dense vote share (top1_matched); the same of the compressed networks (`compressed_...`);
        n_pie_halves, n_pie_placebo: PIEs of half the networks, and between two halves of the dense networks, as
        `populations.exemplars_of_halves` returns them; n_pie_none: PIEs against the networks of the control;
        disagreement, disagreement_dense: how often a dense and a compressed network, and two dense networks, predict
        different classes.
    images : DataFrame, one row per cell and PIE
        dataset, model, method, level, `shown_settings(runs)`, index (place among the test images, from 0), label,
        dense_mode, compressed_mode, dense_share, compressed_share (of the votes for the mode).
    """
    shared = Predictions.shared(predictions)
    if shared is None:
        return pd.DataFrame(), pd.DataFrame()
    study = run_arrays(runs)
    none = control_rows(study.runs)
    placebos: dict[bytes, float] = {}
    summaries, images = [], []
    for rows in study.cells():
        kept, _ = study.counted(rows)
        pairs = shared.of_runs(study.runs.iloc[kept]) if len(kept) >= FEWEST else None
        if pairs:
            named, found = cell_name(study, rows), populations.exemplars(pairs.dense, pairs.predicted[1])
            on_images, of_halves = _on_images(pairs, found), _of_halves(pairs, placebos)
            against = {"n_pie_none": _against_control(study, kept, none, shared)}
            summaries.append({**named, **on_images, **of_halves, **against})
            images.append(pd.DataFrame({**named, **_identified(pairs, found)}))
    if not summaries:
        return pd.DataFrame(), pd.DataFrame()
    return pd.DataFrame(summaries), pd.concat(images, ignore_index=True)


def cell_name(study: RunArrays, rows: np.ndarray) -> dict[str, Any]:
    """Return what names a cell."""
    first = study.runs.iloc[rows[0]]
    return {_NAMES.get(column, column): first[column] for column in [*CELL, *study.shown]}


def _on_images(pairs: Pairs, found: Exemplars) -> dict[str, Any]:
    """Return the numbers of a cell that are counts and means over its images."""
    dense, (_, compressed) = pairs.dense, pairs.predicted
    right = [(side == pairs.images.label).mean(0) for side in (dense, compressed)]
    return {
        "n_dense": len(dense),
        "n_compressed": len(compressed),
        "n_pie": int(found.identified.sum()),
        "n_ties": found.ties,
        **_accuracies("top1", right[0], found),
        **_accuracies("compressed_top1", right[1], found),
        "disagreement": float(populations.disagreement(dense, compressed).mean()),
        "disagreement_dense": float(populations.disagreement_within(dense).mean()),
    }


def _accuracies(name: str, right: np.ndarray, found: Exemplars) -> dict[str, float]:
    """Return means of `right`, (images,): over PIEs, other images, all, and others of the same dense vote share."""
    pies = found.identified
    return {
        f"{name}_pie": right[pies].mean() if pies.any() else np.nan,
        f"{name}_non_pie": right[~pies].mean() if not pies.all() else np.nan,
        f"{name}_all": right.mean(),
        f"{name}_matched": populations.matched_share(right, found.dense.share, pies),
    }


def _of_halves(pairs: Pairs, placebos: dict[bytes, float]) -> dict[str, float]:
    """Return the PIEs of half the networks and the placebo's, which is worked out once for the same dense networks."""
    dense, compressed = pairs.predicted
    key = dense.tobytes()
    if key not in placebos:
        placebos[key] = populations.exemplars_of_halves(dense, dense)
    return {
        "n_pie_halves": populations.exemplars_of_halves(dense, compressed),
        "n_pie_placebo": placebos[key],
    }


def _against_control(study: RunArrays, rows: np.ndarray, none: np.ndarray, predictions: Predictions) -> float:
    """Return the number of PIEs against the networks of the control; NaN if fewer than five runs have one."""
    rows = with_control(study, rows, none)
    run_ids = study.runs[RUN_ID].iloc
    pairs = predictions.of_pairs(run_ids[none[rows]], run_ids[rows]) if len(rows) >= FEWEST else None
    return float(populations.exemplars(pairs.dense, pairs.predicted[1]).identified.sum()) if pairs else np.nan


def _identified(pairs: Pairs, found: Exemplars) -> dict[str, np.ndarray]:
    """Return a column for each thing to know of the PIEs of a cell."""
    pies = np.flatnonzero(found.identified)
    return {
        "index": pies,
        "label": pairs.images.label[pies],
        "dense_mode": found.dense.label[pies],
        "compressed_mode": found.compressed.label[pies],
        "dense_share": found.dense.share[pies],
        "compressed_share": found.compressed.share[pies],
    }
