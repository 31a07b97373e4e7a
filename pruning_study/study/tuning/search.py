"""Searches with Optuna, shared by processes, for epsilon and the ratio."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from optuna import Trial
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.options.config import ANCHORS
from pruning_study.study.shared_search import REFUSED, SearchSpace, SharedSearch
from pruning_study.study.tuning import objectives
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.tracking.store import Store

LAMBDA, MP, GP = ANCHORS
# With this epsilon, undecayed pruning ranks weights as magnitude pruning does. Weights near the pruning threshold are
# about .01, and their gradients about .1: the gradients' part of their scores is lost in single precision.
AS_MAGNITUDE = 1e8
# The range of epsilon that a search tries, on a logarithmic scale
EPSILONS = FloatDistribution(1e-8, 1e2, log=True)
# Objectives that Optuna optimises, by the objective of the search
OPTUNA_OBJECTIVES = {
    "accuracy": {"accuracy": StudyDirection.MAXIMIZE},
    "alpha": {"distortion": StudyDirection.MINIMIZE},
    "both": {"accuracy": StudyDirection.MAXIMIZE, "distortion": StudyDirection.MINIMIZE},
}
# Attributes of Optuna's trials
MEASURED, STOPPED = "measured", "stopped"


class Point(NamedTuple):
    """The options that a trial tries."""

    epsilon: float
    ratio: float

    @property
    def params(self) -> dict[str, str]:
        """The options as canonical text."""
        return {name: text(value) for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Space(SearchSpace):
    """The options that a search chooses from.

    Parameters
    ----------
    objective : {"accuracy", "alpha", "both"}
    ratios : tuple of float
        If there are several, the search also chooses one.
    usual_epsilon : float
        Epsilon of the anchor `lambda`.
    settings : mapping of str
        All other params that a trial's result depends on, as canonical text.
    """

    objective: str
    ratios: tuple[float, ...]
    usual_epsilon: float
    settings: Mapping[str, str] = field(default_factory=dict)

    def anchors(self, ratio: float) -> dict[str, Point]:
        """Return the reference trials that every search begins with, `lambda` first, by name."""
        epsilons = {LAMBDA: self.usual_epsilon, MP: AS_MAGNITUDE, GP: 0.0}
        return {name: Point(epsilon, ratio) for name, epsilon in epsilons.items()}

    @property
    def dimensions(self) -> int:
        """Number of options that are searched."""
        return 1 + (len(self.ratios) > 1)

    @property
    def goal(self) -> str:
        """The objective."""
        return self.objective

    @property
    def params(self) -> dict[str, str]:
        """The whole space as canonical text."""
        return {
            **self.settings,
            schema.OBJECTIVE: self.objective,
            schema.RATIOS: text(self.ratios),
            schema.EPSILON_RANGE: text((EPSILONS.low, EPSILONS.high)),
            "lambda": text(self.usual_epsilon),
        }


class TuningSearch(SharedSearch[Space]):
    """A search that several processes may work on. It continues an earlier search of the same name, if there is one.

    Parameters
    ----------
    store : Store
    name : str
    space : Space

    Raises
    ------
    StudyError
        If the journal cannot be read, or if it holds a search of this name in another search space.
    """

    note = "Search for undecayed pruning: trials on validation images, winner and anchors on test images"
    anchored_by = (schema.ANCHOR, schema.RATIO)
    needs_anchors = True

    def __init__(self, store: Store, name: str, space: Space) -> None:
        super().__init__(store, name, space, OPTUNA_OBJECTIVES[space.objective], MedianPruner())

    def point(self, trial: Trial | FrozenTrial) -> Point:
        """Return the options that a trial tries."""
        params, space = trial.params, self.space
        ratio = params.get(schema.RATIO, space.ratios[0])
        if anchor := trial.user_attrs.get(schema.ANCHOR):
            return space.anchors(ratio)[anchor]
        return Point(params[schema.EPSILON], ratio)

    def describe(self, trial: Trial | FrozenTrial) -> str:
        """Describe a trial by its anchor's name, or else by the options that it tries, and by its ratio."""
        point = self.point(trial)
        tried = trial.user_attrs.get(schema.ANCHOR) or f"epsilon {point.epsilon:.3g}"
        return f"{tried} ratio {point.ratio:g}"

    def trial_params(self, trial: Trial) -> dict[str, str]:
        """Return the options that a trial tries, as canonical text."""
        return self.point(trial).params

    def is_hopeless(self, trial: Trial, so_far: PairedRecalls, dense: np.ndarray) -> bool:
        """Return whether a trial's best accuracy so far is below the median of complete trials after as many seeds.

        Optuna decides this once five trials are complete. Such a trial is stopped, unless it is an anchor. Trials are
        stopped only if the objective is accuracy, because alpha of a few networks is noise, and because Optuna cannot
        stop trials of a search with two objectives. Wilcoxon's test over the seeds, the alternative to the median,
        cannot reach p < .1 with three seeds.

        Parameters
        ----------
        trial : Trial
        so_far : PairedRecalls
            Recalls of the seeds that the trial has pruned.
        dense : (all seeds,)
            Validation accuracy of the dense models.
        """
        if self.space.objective != "accuracy":
            return False
        trial.report(objectives.expected_accuracy(so_far, dense), step=len(so_far))
        return schema.ANCHOR not in trial.user_attrs and len(so_far) < len(dense) and trial.should_prune()

    def record(self, trial: Trial, recalls: PairedRecalls, *, stopped: bool) -> dict[str, float]:
        """Store the numbers of a trial in the journal, for `end`, and return them as `objectives.values` does."""
        values = objectives.values(recalls)
        trial.set_user_attr(MEASURED, {name: value if math.isfinite(value) else None for name, value in values.items()})
        trial.set_user_attr(STOPPED, bool(stopped))
        if self.space.objective == "alpha" and not stopped:
            anchors = [row["accuracy"] for row in self._rows() if row["anchor"] and row["complete"]]
            accuracy = values["accuracy"]
            trial.set_constraint("accuracy", max(anchors, default=accuracy) - objectives.A_POINT - accuracy)
        return values

    def refuse(self, trial: Trial, reason: str) -> None:
        """Store in the journal, for `end`, why a trial cannot be made, and that it is worse than any other trial."""
        super().refuse(trial, reason)
        trial.set_constraint("made", math.inf)

    def refused(self) -> list[str]:
        """Describe each trial that could not be made."""
        pruned = self.optuna_study.get_trials(states=[TrialState.PRUNED])
        return [self.describe(trial) for trial in pruned if REFUSED in trial.user_attrs]

    def trials(self) -> pd.DataFrame:
        """Return a row for each trial that is complete or was stopped.

        Returns
        -------
        DataFrame
            number; complete (False if the trial was stopped); anchor ("" if it is none); epsilon, ratio; the
            numbers of `objectives.values`, with a stopped trial's accuracy made comparable by
            `objectives.with_comparable_accuracy`; seconds.
        """
        return objectives.with_comparable_accuracy(pd.DataFrame(self._rows()), LAMBDA)

    def _rows(self) -> list[dict]:
        trials = self.optuna_study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
        return [
            {
                "number": trial.number,
                "complete": trial.state == TrialState.COMPLETE,
                "anchor": trial.user_attrs.get(schema.ANCHOR, ""),
                **self.point(trial)._asdict(),
                **{name: np.nan if value is None else value for name, value in trial.user_attrs[MEASURED].items()},
                "seconds": trial.duration.total_seconds() if trial.duration else np.nan,
            }
            for trial in trials
            if MEASURED in trial.user_attrs
        ]

    def _values(self, recorded: Mapping[str, Any]) -> list[float] | None:
        if REFUSED in recorded or recorded[STOPPED]:
            return None
        values = recorded[MEASURED]
        if values["distortion"] is None:
            values = {**values, "distortion": math.inf}  # an undefined distortion counts as the worst
        return [values[name] for name in OPTUNA_OBJECTIVES[self.space.objective]]

    def _is_recorded(self, trial: FrozenTrial) -> bool:
        return bool({STOPPED, REFUSED} & trial.user_attrs.keys())

    def _anchors(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for ratio in self.space.ratios:
            for anchor, point in self.space.anchors(ratio).items():
                yield point._asdict(), {schema.ANCHOR: anchor, **point._asdict()}

    def _suggest(self, trial: Trial) -> None:
        if len(self.space.ratios) > 1:
            trial.suggest_categorical(schema.RATIO, self.space.ratios)
        # The sampler learns about an option from the trials that have it. Epsilons of anchors may be outside the range,
        # as 0 is on a logarithmic scale; then they are left out, so that it does not learn from a wrong value.
        if schema.ANCHOR not in trial.user_attrs or EPSILONS.low <= trial.user_attrs[schema.EPSILON] <= EPSILONS.high:
            trial.suggest_float(schema.EPSILON, EPSILONS.low, EPSILONS.high, log=True)
