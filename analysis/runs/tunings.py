"""Searches by `tune`: the trials, the winner and its tests."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from analysis.common import csv_text
from analysis.common.errors import StudyError, first_line
from analysis.runs import schema
from analysis.runs.frames import Artifacts

WINNER, LAMBDA = "winner", "lambda"
SEARCHED_PARAMS = ("ramp", "distill", "strength")
FILES = (schema.TUNING_SUMMARY, schema.TRIALS, schema.FINALISTS, schema.COMPARISONS)
# Fields of `Tuning` with their keys in the summary; then each table's columns of Booleans and of numbers.
_TEXTS = {"name": "study_name", "objective": schema.OBJECTIVE, "reason": "reason"}
_TRUTHS = (("complete", "eligible", "front", "winner"), ("new", "at_chance"), ("primary", "new"))
_NUMBERS = (
    ("number", "epsilon", "ratio", *SEARCHED_PARAMS, "accuracy", "distortion"),
    ("epsilon", "ratio", *SEARCHED_PARAMS, "seed", "accuracy", "alpha"),
    ("difference", "difference_low", "difference_high", "p", "p_holm", "n"),
)


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Parameters
    ----------
    name : str
    objective : {"accuracy", "alpha", "both"}
    reason : str
        The reason for the choice of the winner.
    trials : DataFrame, a row for each trial that ended
        - number: number of the trial
        - complete: False if the trial was stopped after some seeds
        - anchor: name of the anchor, or "" for other trials
        - epsilon, ratio
        - ramp: share of the fine-tuning over which the network is pruned; 0 is one-shot
        - distill: weight of distillation
        - strength: strength of the mitigation; 0 if it is not searched
        - fine_tune_decay: only if it is searched
        - accuracy, distortion: mean accuracy and pooled distortion of all seeds, on validation images, with standard
          errors (`_error`), and the values of each seed by its index (`accuracy/<index>`, `distortion/<index>`)
        - eligible: whether the trial is complete, and at most one point of accuracy below the best anchor
        - front: whether the trial is on the Pareto front
        - winner: whether the trial won
    finalists : DataFrame, a row for each network of the winner and the anchors
        - role: winner, or an anchor (lambda, MP or GP, or one of these with the suffix ` cubic`)
        - epsilon, ratio, ramp, distill, strength, fine_tune_decay: as in `trials`
        - seed
        - new: whether the search did not use the dense network
        - accuracy, alpha: on test images
        - at_chance, run_id
    comparisons : DataFrame
        As `winner_comparisons.comparisons` of `pruning_study.study.tuning` returns it.
    refused : tuple of str
        Descriptions of the trials that have no result, because their training or their scores became NaN or infinite.
    """

    name: str
    objective: str
    reason: str
    trials: pd.DataFrame
    finalists: pd.DataFrame
    comparisons: pd.DataFrame
    refused: tuple[str, ...] = ()

    @property
    def winner(self) -> pd.Series:
        """The trial that won."""
        return self.trials[self.trials["winner"]].iloc[0]

    @property
    def further(self) -> list[str]:
        """The params of `searched` that are nonzero in at least one trial."""
        return [name for name in searched(self.trials) if self.trials[name].any()]

    def finals(self) -> Iterator[tuple[str, pd.Series, pd.DataFrame]]:
        """Yield the role of the winner and of each anchor, its trial, and its networks among the finalists."""
        won = self.winner
        whole = self.trials[self.trials["complete"] & (self.trials["ratio"] == won["ratio"])]
        for role, networks in self.finalists.groupby("role", sort=False):
            yield str(role), won if role == WINNER else whole[whole["anchor"] == role].iloc[0], networks


def searched(frame: pd.DataFrame) -> list[str]:
    """Return the params other than epsilon and ratio that trials or finalists have as columns."""
    return [*SEARCHED_PARAMS, *frame.columns.intersection([schema.FINE_TUNE_DECAY])]


def of_artifacts(artifacts: Artifacts) -> list[Tuning]:
    """Return the searches of an experiment, oldest first.

    Raises
    ------
    StudyError
        If a file was not written by a search.
    """
    run_ids = artifacts.get(schema.TUNING_SUMMARY, {})
    return [_tuning({name: artifacts[name][run_id] for name in FILES}, f"run {run_id}") for run_id in run_ids]


def _tuning(contents: Mapping[str, bytes], where: str) -> Tuning:
    """Parse the files of a search, or raise a StudyError that gives `where`."""
    try:
        tuning = _parsed(contents)
        list(tuning.finals())  # fails if a finalist has no trial, or if no trial won
    # Given arbitrary bytes, pandas and the JSON decoder raise errors of more than a dozen types.
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise StudyError(f"{where}: not what a search writes ({reason}); delete the run") from error
    return tuning


def _parsed(contents: Mapping[str, bytes]) -> Tuning:
    summary = json.loads(contents[schema.TUNING_SUMMARY])
    texts = {key: summary[name] for key, name in _TEXTS.items()}
    refused = tuple(summary.get("refused", ()))
    if not all(isinstance(text, str) for text in (*texts.values(), *refused)):
        raise TypeError(f"{', '.join(_TEXTS.values())} and refused must be strings")
    frames = {name: csv_text.read(io.BytesIO(contents[name])) for name in FILES[1:]}
    for frame in (frames[schema.TRIALS], frames[schema.FINALISTS]):
        # Before these params existed, every trial was one-shot, without distillation or mitigation.
        for name in set(SEARCHED_PARAMS) - set(frame):
            frame[name] = 0.0
        if not all(isinstance(decay, str) for decay in frame.get(schema.FINE_TUNE_DECAY, ())):
            raise TypeError(f"{schema.FINE_TUNE_DECAY} must be strings")
    for (file, frame), truths, numbers in zip(frames.items(), _TRUTHS, _NUMBERS, strict=True):
        for name in (*truths, *numbers):
            if not is_numeric_dtype(frame[name]) or is_bool_dtype(frame[name]) != (name in truths):
                raise TypeError(f"{file}: {name} has the type {frame[name].dtype}")
    trials = frames[schema.TRIALS]
    return Tuning(
        **texts,
        refused=refused,
        trials=trials.assign(anchor=trials["anchor"].fillna("").astype(str)),
        finalists=frames[schema.FINALISTS],
        comparisons=frames[schema.COMPARISONS],
    )
