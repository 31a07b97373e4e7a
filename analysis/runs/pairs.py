"""Pair the runs of an experiment: each pruned or quantized run with its dense run.

The runs come as a table like that of `mlflow.search_runs`, with the columns run_id, status, end_time, `tags.<name>`,
`params.<name>` and `metrics.<name>`; from a tracking store by `pull`, or from an export by `exports`.
"""

import json
import math
import sys
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError, did_you_mean
from analysis.runs import checks, frames, schema
from analysis.runs.frames import (
    ACCURACY_AFTER,
    ACCURACY_BEFORE,
    METRIC,
    PARAM,
    RECALL_AFTER,
    RECALL_BEFORE,
    RUN_ID,
    TAG,
    Study,
)
from analysis.runs.schema import Metric

NO_NUMBER = sys.float_info.max  # MLflow stores infinity as this number, and tables have it for NaN, too
FINISHED = "FINISHED"
STATUS, END_TIME = "status", "end_time"
_ACCURACY = METRIC + schema.TEST_ACCURACY
_KIND, _DENSE_RUN_ID = TAG + schema.KIND, TAG + schema.DENSE_RUN_ID
_DENSE_PARAMS = [schema.DATASET, schema.MODEL, schema.SEED]
_PAIR_PARAMS = [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, schema.SEED]


def paired(run_rows: pd.DataFrame, *, ignore_params: Sequence[str] = (), where: str) -> Study:
    """Pair the runs of a table.

    Parameters
    ----------
    run_rows : DataFrame
        A row for each dense, pruned or quantized run.
    ignore_params : sequence of str
        Params that are dropped.
    where : str
        Location of the runs to name in errors.

    Raises
    ------
    StudyError
        If no pruned run can be compared with its dense run; or if a param to ignore is required, or missing from all
        runs.
    """
    rows = frames.with_canonical_values(_without_params(run_rows, ignore_params))
    is_dense = rows[_KIND] == schema.DENSE
    dense, pruned = rows[is_dense], rows[~is_dense]
    left_out: list[str] = []
    dense = _drop_unfinished(dense, left_out)
    of_pruning = [column for column in _columns(dense, "", PARAM) if dense[column].isna().all()]
    dense = frames.with_absent_values(dense.drop(columns=of_pruning))
    sound_dense = _drop_pruned(_drop_unsound(dense, _DENSE_PARAMS, left_out), left_out)
    dense_left_out = left_out.copy()
    pruned = _name_by_format(_drop_unfinished(pruned, left_out), left_out)
    for tag, kind in ((schema.CLASS_NAMES, list), (schema.CELL, dict)):
        is_wrong = [pd.notna(text) and _parsed(text, kind) is None for text in _tag(pruned, tag)]
        pruned = _drop(pruned, is_wrong, f"{tag} is no JSON {'list' if kind is list else 'object'} of texts", left_out)
    pruned = frames.with_absent_values(_drop_unsound(pruned, _PAIR_PARAMS, left_out))
    pruned = _drop_unpaired(pruned, sound_dense, set(dense[RUN_ID]), left_out)
    pairs = _pairs_frame(pruned, sound_dense)
    pairs = checks.sound_pairs(pairs, _dense_frame(sound_dense), left_out) if len(pairs) else pairs
    settled = _with_settings_of_cells(_select_runs(pruned, pairs), ignore_params)
    newest = _drop_older(settled.assign(**{TAG + schema.CONTROL_RUN_ID: _controls(settled)}), left_out)
    if newest.empty:
        reasons = "; ".join(left_out) or "no run is tagged as pruned or quantized"
        raise StudyError(f"{where} has no pruned run to compare with its dense run ({reasons})")
    pairs = _pairs_frame(newest, sound_dense)
    dense_runs = _dense_frame(_drop_older(sound_dense, dense_left_out))
    pairs.attrs["left_out"] = [*left_out, *checks.notes(pairs, dense_runs)]
    dense_runs.attrs["left_out"] = dense_left_out
    return Study(pairs, dense_runs, run_rows)


def _without_params(run_rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    logged_params = sorted(column.removeprefix(PARAM) for column in _columns(run_rows, "", PARAM))
    for name in names:
        if name in frames.BARE:
            raise StudyError(f"{name} is needed for every run, so it cannot be ignored", option="ignore_param")
        if name not in logged_params:
            hint = did_you_mean(name, logged_params, "leave the option out")
            raise StudyError(f"no run has a param {name!r}, {hint}", option="ignore_param")
    return run_rows.drop(columns=[PARAM + name for name in names])


def _drop_unfinished(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    for state in sorted(set(run_rows[STATUS]) - {FINISHED}):
        run_rows = _drop(run_rows, run_rows[STATUS] == state, state.lower(), left_out)
    return run_rows


def _name_by_format(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Fill in the pruner and the ratio of networks that were quantized but not pruned.

    Quantized dense networks have neither. Their pruner becomes the number format, and their ratio becomes 1. Quantized
    controls have the pruner `none`, which becomes `none` followed by the number format. `frames.NUMBER_FORMATS` lists
    these names.
    """
    is_quantized = run_rows[_KIND] == schema.QUANTIZED
    if not is_quantized.any():
        return run_rows
    params = [PARAM + name for name in (schema.NUMBER_FORMAT, schema.PRUNER, schema.RATIO)]
    run_rows = run_rows.reindex(columns=list(dict.fromkeys([*run_rows.columns, *params])))
    formats = schema.BITS.keys() - {schema.ABSENT[schema.NUMBER_FORMAT]}
    has_unknown_format = is_quantized & ~run_rows[params[0]].isin(formats)
    run_rows = _drop(
        run_rows, has_unknown_format, f"{schema.NUMBER_FORMAT} is none of {', '.join(sorted(formats))}", left_out
    )
    number_format, pruner, ratio = (run_rows[name] for name in params)
    is_quantized = run_rows[_KIND] == schema.QUANTIZED
    of_dense = is_quantized & pruner.isna() & ratio.isna()
    of_control = is_quantized & (pruner == schema.CONTROL)
    pruner = pruner.mask(of_dense, number_format).mask(of_control, f"{schema.CONTROL} " + number_format)
    return run_rows.assign(**{params[1]: pruner, params[2]: ratio.mask(of_dense, "1.0")})


def _with_settings_of_cells(run_rows: pd.DataFrame, ignored: Collection[str]) -> pd.DataFrame:
    """Take the settings of runs from their tag `cell`; runs without it have only data set, model, pruner and ratio."""
    known = {*frames.BARE, schema.NUMBER_FORMAT, *ignored}
    number, cells = _tag(run_rows, schema.CELL).factorize()
    settings = [
        {PARAM + name: value for name, value in _parsed(cell, dict).items() if name not in known and _is_setting(name)}
        for cell in cells
    ]
    of_runs = pd.DataFrame(settings, range(len(cells))).reindex(number).set_axis(run_rows.index)
    params = [column.removeprefix(PARAM) for column in _columns(run_rows, "", PARAM)]
    logged = [PARAM + name for name in params if name not in known and _is_setting(name)]
    settled = pd.concat([run_rows.drop(columns=logged), of_runs], axis=1)
    return frames.with_absent_values(frames.with_canonical_values(settled))


def _is_setting(param: str) -> bool:
    return schema.role(param).role == "setting"


def _drop_unsound(run_rows: pd.DataFrame, required: list[str], left_out: list[str]) -> pd.DataFrame:
    """Keep the runs with usable params and recalls, and convert seed and ratio to numbers."""
    needed = [metric for metric in schema.METRICS if metric.needed]
    required_columns = [PARAM + name for name in required]
    required_columns += [METRIC + metric.name for metric in needed if not metric.by_class]
    sound = run_rows.reindex(columns=list(dict.fromkeys([*run_rows.columns, *required_columns])))
    for column in required_columns:
        sound = _drop(sound, sound[column].isna(), f"no {column.replace('s.', ' ', 1)}", left_out)
    for name, is_one, meaning in _NUMBERS:
        if name in required:
            numbers = pd.to_numeric(sound[PARAM + name], errors="coerce").astype(float)
            sound = sound.assign(**{PARAM + name: numbers})
            sound = _drop(sound, ~is_one(numbers), f"{name} is no {meaning}", left_out)
    sound = _without_optional(_without_untested_classes(sound, left_out), left_out)

    recalls = _columns(sound, schema.RECALL)
    sound = _drop(sound, sound[recalls].isna().all(axis=1), f"no metric {schema.RECALL}<class>", left_out)
    shares = [column for metric in needed for column in _columns_of_metric(sound, metric)]
    for is_wrong, meaning in _FAULTS:
        wrong = is_wrong(sound[shares])
        metrics = checks.some(wrong.columns[wrong.any()].str.removeprefix(METRIC))
        sound = _drop(sound, wrong.any(axis=1), f"{meaning} in {metrics}", left_out)
    return _drop(sound, sound[_ACCURACY] == 0, f"{schema.TEST_ACCURACY} is 0", left_out)


_NUMBERS: list[tuple[str, Callable[[pd.Series], pd.Series], str]] = [
    (schema.SEED, lambda seed: (seed % 1 == 0) & (seed.abs() < 2**53), "whole number below 2^53"),
    (schema.RATIO, lambda ratio: ratio.abs() < math.inf, "number"),
]

_FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda shares: shares.abs() >= NO_NUMBER, "no number"),
    (lambda shares: (shares < 0) | (shares > 1), "a value outside [0, 1]"),
]


def _drop_pruned(dense: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Keep the dense runs whose params, metrics and tags do not show that they were pruned."""
    pruner, ratio, realized = (
        dense.reindex(columns=[column])[column]
        for column in (PARAM + schema.PRUNER, PARAM + schema.RATIO, METRIC + schema.REALIZED_RATIO)
    )
    ratio = pd.to_numeric(ratio, errors="coerce")
    dense_ids = dense[_DENSE_RUN_ID]
    wrong = pruner.notna() & (pruner != schema.CONTROL)
    wrong |= (ratio > 1) | (realized > 1) | (dense_ids.notna() & (dense_ids != dense[RUN_ID]))
    reason = f"pruned according to {schema.PRUNER}, {schema.RATIO}, {schema.REALIZED_RATIO} or {schema.DENSE_RUN_ID}"
    return _drop(dense, wrong, reason, left_out)


def _without_untested_classes(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Remove the metrics of classes without test images, whose logged recall (0 or NaN) is meaningless."""
    supports = _columns(run_rows, schema.SUPPORT)
    untested = run_rows[supports] == 0
    columns = {}
    for column in untested.columns[untested.any()]:
        name = column.removeprefix(METRIC + schema.SUPPORT)
        runs_without = untested[column]
        left_out.append(f"class {name} left out of {checks.counted(run_rows.loc[runs_without, _KIND])}, no test image")
        for prefix in (schema.RECALL, schema.SUPPORT, schema.BOTH_RIGHT):
            if (metric := METRIC + prefix + name) in run_rows:
                columns[metric] = run_rows[metric].mask(runs_without)
    return run_rows.assign(**columns)


def _without_optional(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Remove impossible values of optional metrics, but keep their runs."""
    columns = {}
    for metric in schema.METRICS:
        for column in [] if metric.needed else _columns_of_metric(run_rows, metric):
            values = run_rows[column]
            wrong = (values < 0) | (values > metric.largest) | (values >= NO_NUMBER)
            if wrong.any():
                name = column.removeprefix(METRIC)
                left_out.append(
                    f"{name} left out of {checks.counted(run_rows.loc[wrong, _KIND])}, no number in its range"
                )
                columns[column] = values.mask(wrong)
    return run_rows.assign(**columns)


def _drop_unpaired(
    pruned: pd.DataFrame, dense: pd.DataFrame, finished_dense: set[str], left_out: list[str]
) -> pd.DataFrame:
    """Keep the pruned runs whose dense run was kept, and has the same classes and images."""
    dense_ids = pruned[_DENSE_RUN_ID]
    pruned = _drop(pruned, dense_ids.isna(), f"no tag {schema.DENSE_RUN_ID}", left_out)
    is_orphan = ~pruned[_DENSE_RUN_ID].isin(finished_dense)
    pruned = _drop(pruned, is_orphan, "the dense run is gone or not finished", left_out)
    pruned = _drop(pruned, ~pruned[_DENSE_RUN_ID].isin(dense[RUN_ID]), "the dense run is left out", left_out)

    classes = _classes(pruned, dense)
    before, after = _metrics(dense, schema.RECALL, classes), _metrics(pruned, schema.RECALL, classes)
    differ = (np.isnan(before)[_dense_rows(pruned, dense)] != np.isnan(after)).any(axis=1)
    pruned = _drop(pruned, differ, "the classes are not those of the dense run", left_out)

    before, after = _metrics(dense, schema.SUPPORT, classes), _metrics(pruned, schema.SUPPORT, classes)
    with np.errstate(invalid="ignore"):
        differ = (np.abs(before[_dense_rows(pruned, dense)] - after) > 0).any(axis=1)
    return _drop(pruned, differ, "the supports are not those of the dense run", left_out)


def _drop_older(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    run_rows = run_rows.sort_values([END_TIME, RUN_ID])
    older = run_rows.duplicated(frames.identity(run_rows), keep="last")
    return _drop(run_rows, older, "a newer run has the same settings and seed", left_out)


def _select_runs(run_rows: pd.DataFrame, kept_rows: pd.DataFrame) -> pd.DataFrame:
    """Select the runs of a frame that are in a second frame, which is a subset of it."""
    if len(run_rows) == len(kept_rows):
        return run_rows
    return frames.rows(run_rows, run_rows[RUN_ID].isin(kept_rows[RUN_ID].tolist()))


def _drop(run_rows: pd.DataFrame, wrong: Any, reason: str, left_out: list[str]) -> pd.DataFrame:
    wrong = np.asarray(wrong, dtype=bool)
    if not wrong.any():
        return run_rows
    checks.tell(run_rows[wrong], reason, left_out, run_rows.loc[wrong, _KIND])
    return run_rows[~wrong]


def _controls(pruned: pd.DataFrame) -> pd.Series:
    """Return the id of each run's control, (runs,): the run that it names, or a newer one with the same settings.

    A pruned run without the tag `cell` has the newest run of the pruner `none` with the same dense run.
    """
    is_control, is_foreign = pruned[PARAM + schema.PRUNER] == schema.CONTROL, _tag(pruned, schema.CELL).isna()
    controls = pruned[is_control].sort_values([END_TIME, RUN_ID])
    alike = controls.groupby(frames.identity(controls), dropna=False)[RUN_ID].transform("last")
    named = _tag(pruned, schema.CONTROL_RUN_ID).map(alike.set_axis(controls[RUN_ID]))
    of_dense = controls.drop_duplicates(_DENSE_RUN_ID, keep="last").set_index(_DENSE_RUN_ID)[RUN_ID]
    is_open = is_foreign & named.isna() & ~is_control & (pruned[_KIND] == schema.PRUNED)
    return named.mask(is_open, pruned[_DENSE_RUN_ID].map(of_dense))


# Frames to return.


def _pairs_frame(pruned: pd.DataFrame, dense: pd.DataFrame) -> pd.DataFrame:
    classes = _classes(pruned, dense)
    before = _dense_rows(pruned, dense)
    support = _metrics(pruned, schema.SUPPORT, classes)
    support = np.where(np.isnan(support), _metrics(dense, schema.SUPPORT, classes)[before], support)
    metrics = {
        ACCURACY_BEFORE: dense[_ACCURACY].to_numpy()[before],
        ACCURACY_AFTER: pruned[_ACCURACY].to_numpy(),
        **_by_name("", frames.OPTIONAL_OF_PRUNED, _metrics(pruned, "", frames.OPTIONAL_OF_PRUNED)),
        **_by_name(RECALL_BEFORE, classes, _metrics(dense, schema.RECALL, classes)[before]),
        **_by_name(RECALL_AFTER, classes, _metrics(pruned, schema.RECALL, classes)),
        **_by_name(schema.SUPPORT, classes, support),
        **_by_name(schema.BOTH_RIGHT, classes, _metrics(pruned, schema.BOTH_RIGHT, classes)),
        schema.CLASS_NAMES: _tag(pruned, schema.CLASS_NAMES).array,
        schema.COMMAND: _tag(pruned, schema.COMMAND).array,
        schema.ARITHMETIC: _tag(pruned, schema.ARITHMETIC).array,
        schema.CONTROL_RUN_ID: _tag(pruned, schema.CONTROL_RUN_ID).array,
        schema.DENSE_RUN_ID: pruned[_DENSE_RUN_ID].array,
        RUN_ID: pruned[RUN_ID].array,
    }
    return _frame(pruned, _PAIR_PARAMS, metrics)


def _dense_frame(dense: pd.DataFrame) -> pd.DataFrame:
    classes = _classes(dense)
    metrics = {
        ACCURACY_BEFORE: dense[_ACCURACY].to_numpy(),
        **_by_name("", frames.OPTIONAL_OF_DENSE, _metrics(dense, "", frames.OPTIONAL_OF_DENSE)),
        **_by_name(RECALL_BEFORE, classes, _metrics(dense, schema.RECALL, classes)),
        **_by_name(schema.SUPPORT, classes, _metrics(dense, schema.SUPPORT, classes)),
        schema.ARITHMETIC: _tag(dense, schema.ARITHMETIC).array,
        schema.DENSE_RUN_ID: dense[RUN_ID].array,
    }
    return _frame(dense, _DENSE_PARAMS, metrics)


def _frame(run_rows: pd.DataFrame, leading: list[str], metrics: dict[str, Any]) -> pd.DataFrame:
    other_params = sorted(column for column in _columns(run_rows, "", PARAM) if frames.param(column) not in leading)
    params = {name: run_rows[PARAM + name].array for name in leading} | {
        column: run_rows[column].array for column in other_params
    }
    frame = pd.DataFrame(params | metrics)
    frame = frame.astype({schema.SEED: np.int64})
    frame = frame.dropna(axis=1, how="all") if len(frame) else frame
    return frame.sort_values([*leading, list(metrics)[-1]], ignore_index=True)


def _dense_rows(pruned: pd.DataFrame, dense: pd.DataFrame) -> np.ndarray:
    """Return the row of each pruned run's dense run, (pruned runs,)."""
    return pd.Index(dense[RUN_ID]).get_indexer(pruned[_DENSE_RUN_ID])


def _classes(*frames: pd.DataFrame) -> list[str]:
    start = len(METRIC + schema.RECALL)
    names = {column[start:] for frame in frames for column in _columns(frame, schema.RECALL)}
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


def _columns(run_rows: pd.DataFrame, prefix: str, group: str = METRIC) -> list[str]:
    return [column for column in run_rows.columns if column.startswith(group + prefix)]


def _columns_of_metric(run_rows: pd.DataFrame, metric: Metric) -> list[str]:
    if metric.by_class:
        return _columns(run_rows, metric.name)
    return [METRIC + metric.name] if METRIC + metric.name in run_rows else []


def _metrics(run_rows: pd.DataFrame, prefix: str, names: Sequence[str]) -> np.ndarray:
    return run_rows.reindex(columns=[METRIC + prefix + name for name in names]).to_numpy(float)


def _by_name(prefix: str, names: Sequence[str], values: np.ndarray) -> dict[str, np.ndarray]:
    return {prefix + name: values[:, index] for index, name in enumerate(names)}


@cache
def _parsed(text: str, kind: type) -> Any:
    """Parse a JSON list or object whose values are strings; return None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = value.values() if isinstance(value, dict) else value
    return value if isinstance(value, kind) and all(isinstance(each, str) for each in values) else None


def _tag(run_rows: pd.DataFrame, name: str) -> pd.Series:
    return run_rows.reindex(columns=[TAG + name])[TAG + name].astype(object)
