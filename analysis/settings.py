"""Which params tell cells apart, and how methods are named."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import schema

CELL = [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO]
ALPHA_COLUMNS = [
    *CELL,
    schema.SEED,
    "alpha",
    "correlation",
    "spread_ratio",
    "accuracy_before",
    "accuracy_after",
    "at_chance",
    "dense_run_id",
    "run_id",
]
CELL_COLUMNS = [
    *CELL,
    "n",
    "n_at_chance",
    "alpha_mean",
    "alpha_median",
    "alpha_sd",
    "ci_low",
    "ci_high",
    "mark",
    "alpha_new",
    "alpha_new_low",
    "alpha_new_high",
    "reliability",
    "alpha_shared",
    "alpha_shared_low",
    "alpha_shared_high",
    "accuracy_before",
    "accuracy_after",
]
CONTROL = "none"

_RECALL_BEFORE, _RECALL_AFTER = "recall_before/", "recall_after/"
_GROUPS = (_RECALL_BEFORE, _RECALL_AFTER, schema.SUPPORT, schema.BOTH_RIGHT)
_IS_A_SEED = {schema.WEIGHTS_DIGEST}
_MANY_DIGITS = re.compile(r"\d+\.\d{7,}(e-\d+)?")
# What any network is fine-tuned by, pruned or not, against what is done to a pruned one alone.
OF_FINE_TUNING = {schema.DISTILL, schema.TEMPERATURE}
OF_A_SCHEDULE = {schema.SCHEDULE, schema.RAMP, schema.RAMP_STEPS, schema.REGROW}
_OF_A_METHOD = OF_FINE_TUNING | OF_A_SCHEDULE
# What runs lack that are as pruned.
_OF_EPOCHS = {schema.FINE_TUNE_LEARNING_RATE, schema.FINE_TUNE_PHASES}
_OF_A_PRUNER = {
    schema.EPSILON,
    schema.GRADIENT_OBJECTIVE,
    schema.GRADIENT_BATCHES,
    schema.GRADIENT_MODE,
    *OF_A_SCHEDULE,
}
# A param, and its details.
DETAILS = {
    schema.SCHEDULE: (schema.RAMP, schema.RAMP_STEPS, schema.REGROW),
    schema.DISTILL: (schema.TEMPERATURE,),
}
_DETAIL_OF = {detail: name for name, details in DETAILS.items() for detail in details}


def settings(runs: pd.DataFrame) -> list[str]:
    """Params that tell cells of the same data set, model, pruner and ratio apart.

    Schedule and distillation do wherever they differ at all, their details where one value of theirs has several.
    A param of which no two seeds of any such cell share a value, such as an output folder, goes with the seed and
    is none. The digest of given weights is one only where it differs for the same seed: such networks are the seeds.
    """
    return _settings(runs)[0]


def main_setting(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Keep one setting for every data set and model, and in it one for every pruner.

    That is pruning in one shot and fine-tuning, by the labels alone, as in the papers, where there is such a run;
    of what else differs, the setting of most runs.

    Parameters
    ----------
    frame : DataFrame
        Runs or alphas.
    names : sequence of str
        `settings(runs)`.

    Returns
    -------
    DataFrame
        The rows kept; `attrs["notes"]` names what was left out.
    """
    own = pruners_own(frame, names)
    kept = _most_frequent(frame, [schema.DATASET, schema.MODEL], [name for name in names if name not in own])
    kept = _most_frequent(kept, [schema.DATASET, schema.MODEL, schema.PRUNER], own)
    if left := len(frame) - len(kept):
        has_others = set(names) & schema.PAPERS.keys() or _as_pruned(frame).nunique() > 1
        why = "the papers' setting is shown" if has_others else "another setting has more"
        kept.attrs["notes"] = [f"in tests and tables: {left:,} runs left out, {why} ({', '.join(names)} differ)"]
    return kept


def method(of: Mapping[str, Any], names: Sequence[str]) -> str:
    """The pruner and how it is gone about where that is not as in the papers: `mp cubic distill 0.5 (epochs 5)`.

    Parameters
    ----------
    of : mapping
        Params of a run, a row of a frame.
    names : sequence of str
        `settings(runs)`.
    """
    how, others = said(of, names)
    return " ".join([of[schema.PRUNER], *how]) + (f" ({', '.join(others)})" if others else "")


def said(of: Mapping[str, Any], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words for schedule and distillation, none where they are the papers'; and for what else differs."""
    values = {name: of[name] for name in names if pd.notna(of[name])}
    how = [values[schema.SCHEDULE]] if schema.SCHEDULE in values else []
    if schema.DISTILL in values:
        how.append(f"{schema.DISTILL} {values[schema.DISTILL]}")
    papers = {schema.PAPERS[schema.SCHEDULE], f"{schema.DISTILL} {schema.PAPERS[schema.DISTILL]}"}
    others = [f"{name} {_short(value)}" for name, value in values.items() if name not in schema.PAPERS]
    return [word for word in how if word not in papers], others


def _short(value: str) -> str:
    """A number with more digits than anyone chose, such as an epsilon that a search found, with four of them."""
    return f"{float(value):.4g}" if _MANY_DIGITS.fullmatch(value) else value


def _settings(runs: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Params that tell cells apart, and those that differ but go with the seed."""
    measured = {
        *ALPHA_COLUMNS,
        schema.REALIZED_RATIO,
        *(name for name in runs.columns if name.startswith(_GROUPS)),
    }
    differing = [
        name
        for name in runs.columns
        if name not in measured
        and runs[name].nunique(dropna=False) > 1
        and (name in _OF_A_METHOD or _differs(runs, name, _within(name)))
        and not (name in _DETAIL_OF and _DETAIL_OF[name] in runs and not _differs(runs, name, [_DETAIL_OF[name]]))
    ]
    # With one seed alone, what differs is a setting.
    several = _differs(runs, schema.SEED, CELL)
    of_seeds = [
        name
        for name in differing
        if several and name not in _IS_A_SEED | _OF_A_METHOD and not _differs(runs, schema.SEED, [*CELL, name])
    ]
    return [name for name in differing if name not in of_seeds], of_seeds


def _within(name: str) -> list[str]:
    """What a param has one value in, unless it tells cells apart."""
    if name == schema.FINE_TUNE_EPOCHS:
        return [schema.DATASET, schema.MODEL]
    return [*CELL, schema.SEED] if name in _IS_A_SEED else CELL


def _differs(runs: pd.DataFrame, name: str, within: list[str]) -> bool:
    return bool((runs.groupby(within, dropna=False)[name].nunique(dropna=False) > 1).any())


def pruners_own(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Settings that concern a pruner alone: the schema's, and those that the runs of some pruner all lack."""
    there = frame.groupby(schema.PRUNER)[list(names)].count()
    lacking = {name for name in names if (there[name] == 0).any()} - OF_FINE_TUNING - _OF_EPOCHS
    return [name for name in names if name in _OF_A_PRUNER | lacking]


def _as_pruned(frame: pd.DataFrame) -> pd.Series:
    """Whether there was no fine-tuning."""
    return frame.reindex(columns=[schema.FINE_TUNE_EPOCHS])[schema.FINE_TUNE_EPOCHS].eq("0")


def _most_frequent(frame: pd.DataFrame, within: list[str], names: list[str]) -> pd.DataFrame:
    """Keep the values of `names` that are the papers', and of what else differs those of most rows."""
    if not names:
        return frame.reset_index(drop=True)
    counts = frame.groupby([*within, *names], dropna=False).size()
    values = counts.index.to_frame(index=False)
    papers = sum((values[name] == value for name, value in schema.PAPERS.items() if name in names), 0 * values.index)
    papers -= _as_pruned(values)
    order = np.lexsort([-counts.to_numpy(), -np.asarray(papers)])
    return frame.merge(values.iloc[order].drop_duplicates(within), on=[*within, *names])
