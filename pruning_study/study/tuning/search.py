"""Searches with Optuna, shared by processes, for epsilon, schedule, mitigation strength and learning rate decay."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from optuna import Trial
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.options.config import ANCHORS, CUBIC, ONE_SHOT
from pruning_study.options.table import OPTIONS
from pruning_study.study.shared_search import REFUSED, SearchSpace, SharedSearch
from pruning_study.study.tuning import objectives
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.tracking.store import Store

LAMBDA, MP, GP = ANCHORS
# With this epsilon, undecayed pruning ranks weights as magnitude pruning does. Weights near the pruning threshold are
# about .01, and their gradients about .1: the gradients' part of their scores is lost in single precision.
AS_MAGNITUDE = 1e8
# Ramps and shares of distillation are multiples of this step, so that 0 is tried too: one-shot pruning or no
# distillation.
STEP = 0.05
# Range of each mitigation's strength, by the option that sets it
STRENGTHS = {
    record.name: FloatDistribution(low, high, log=True) if low else FloatDistribution(low, high, step=STEP)
    for record in OPTIONS
    for low, high in ([record.search_range] if record.search_range else [])
}
STRENGTH = "strength"
# Objectives that Optuna optimises, by the objective of the search
OPTUNA_OBJECTIVES = {
    "accuracy": {"accuracy": StudyDirection.MAXIMIZE},
    "alpha": {"distortion": StudyDirection.MINIMIZE},
    "both": {"accuracy": StudyDirection.MAXIMIZE, "distortion": StudyDirection.MINIMIZE},
}
# Attributes of Optuna's trials
MEASURED, STOPPED = "measured", "stopped"


@dataclass(frozen=True)
class Point:
    """The options that a trial tries.

    Parameters
    ----------
    epsilon, ratio : float
    ramp : float
        Share of the fine-tuning epochs over which the schedule `cubic` prunes; 0 is one shot.
    distill : float
        Share of distillation in the loss.
    strength : float
        Strength of the mitigation, if that is searched.
    fine_tune_decay : {"", "none", "cosine", "linear"}
        Decay of the learning rate of fine-tuning; empty if that is not searched.
    """

    epsilon: float
    ratio: float
    ramp: float = 0.0
    distill: float = 0.0
    strength: float = 0.0
    fine_tune_decay: str = ""

    @property
    def values(self) -> dict[str, float | str]:
        """The fields by name, without the decay if it is not searched."""
        return {name: value for name, value in asdict(self).items() if value != ""}

    @property
    def options(self) -> dict[str, Any]:
        """The options of `prune`, except the ratio and the strength, whose option depends on the mitigation."""
        schedule = {schema.SCHEDULE: CUBIC, schema.RAMP: self.ramp} if self.ramp else {schema.SCHEDULE: ONE_SHOT}
        decay = {schema.FINE_TUNE_DECAY: self.fine_tune_decay} if self.fine_tune_decay else {}
        return {schema.EPSILON: self.epsilon, **schedule, schema.DISTILL: self.distill, **decay}

    @property
    def params(self) -> dict[str, str]:
        """The options and the ratio as canonical text."""
        return {name: text(value) for name, value in {**self.options, schema.RATIO: self.ratio}.items()}

    def __str__(self) -> str:
        ramp = f" ramp {self.ramp:g}" if self.ramp else ""
        distill = f" distill {self.distill:g}" if self.distill else ""
        strength = f" strength {self.strength:.3g}" if self.strength else ""
        decay = f" decay {self.fine_tune_decay}" if self.fine_tune_decay else ""
        return f"epsilon {self.epsilon:.3g}{ramp}{distill}{strength}{decay}"


@dataclass(frozen=True)
class Space(SearchSpace):
    """The options that a search chooses from.

    Parameters
    ----------
    objective : {"accuracy", "alpha", "both"}
    ratios : tuple of float
        If there are several, the search also chooses one.
    epsilon_range : (low, high)
    usual_epsilon : float
        Epsilon of the anchor `lambda`.
    settings : mapping of str
        All other params that a trial's result depends on, as canonical text.
    longest_ramp : float, optional
        If given, the search also chooses a ramp from 0 to this value, and a share of distillation.
    ramp : float
        Ramp of all trials, or of the gradual anchors if the search chooses ramps.
    distill : float
        Share of distillation of all trials, or of the anchors if the search chooses it.
    strength_of : str
        The option of `prune` that sets the strength of the mitigation, if the search chooses its value; else empty.
    strength : float
        Value of that option for the anchors.
    decays : tuple of str
        If given, the search also chooses one of these decays of the learning rate of fine-tuning.
    decay : str
        Decay of the anchors, if the search chooses one.
    """

    objective: str
    ratios: tuple[float, ...]
    epsilon_range: tuple[float, float]
    usual_epsilon: float
    settings: Mapping[str, str] = field(default_factory=dict)
    longest_ramp: float | None = None
    ramp: float = 0.0
    distill: float = 0.0
    strength_of: str = ""
    strength: float = 0.0
    decays: tuple[str, ...] = ()
    decay: str = ""

    def options(self, point: Point) -> dict[str, Any]:
        """Return the options of `prune` that a point sets, except the ratio."""
        return {**point.options, **({self.strength_of: point.strength} if self.strength_of else {})}

    def params_of(self, point: Point) -> dict[str, str]:
        """Return the options that a point sets, and its ratio, as canonical text."""
        return point.params | ({self.strength_of: text(point.strength)} if self.strength_of else {})

    def anchors(self, ratio: float) -> dict[str, Point]:
        """Return the reference trials that every search begins with, `lambda` first, by name."""
        epsilons = {LAMBDA: self.usual_epsilon, MP: AS_MAGNITUDE, GP: 0.0}
        ramps = {"": self.ramp} if self.longest_ramp is None else {"": 0.0, f" {CUBIC}": self.ramp}
        return {
            name + suffix: Point(epsilon, ratio, ramp, self.distill, self.strength, self.decay)
            for suffix, ramp in ramps.items()
            for name, epsilon in epsilons.items()
        }

    @property
    def ranges(self) -> dict[str, FloatDistribution]:
        """The range of each number that is searched, except the ratio."""
        ranges = {schema.EPSILON: FloatDistribution(*self.epsilon_range, log=True)}
        if self.longest_ramp is not None:
            ranges[schema.RAMP] = FloatDistribution(0.0, self.longest_ramp, step=STEP)
            ranges[schema.DISTILL] = FloatDistribution(0.0, 1.0, step=STEP)
        if self.strength_of:
            ranges[STRENGTH] = STRENGTHS[self.strength_of]
        return ranges

    @property
    def dimensions(self) -> int:
        """Number of options that are searched."""
        return len(self.ranges) + (len(self.ratios) > 1) + bool(self.decays)

    @property
    def goal(self) -> str:
        """The objective."""
        return self.objective

    @property
    def params(self) -> dict[str, str]:
        """The whole space as canonical text."""
        params = {
            **self.settings,
            schema.OBJECTIVE: self.objective,
            schema.RATIOS: text(self.ratios),
            schema.EPSILON_RANGE: text(self.epsilon_range),
            "lambda": text(self.usual_epsilon),
        }
        if self.longest_ramp is not None:
            for name, range_name in ((schema.RAMP, schema.RAMP_RANGE), (schema.DISTILL, schema.DISTILL_RANGE)):
                params[range_name] = text((self.ranges[name].low, self.ranges[name].high))
            params |= {schema.ANCHORS_RAMP: text(self.ramp), schema.ANCHORS_DISTILL: text(self.distill)}
        if self.strength_of:
            within = self.ranges[STRENGTH]
            params |= {schema.STRENGTH_OF: self.strength_of, schema.STRENGTH_RANGE: text((within.low, within.high))}
            params[schema.ANCHORS_STRENGTH] = text(self.strength)
        if self.decays:
            params |= {schema.FINE_TUNE_DECAYS: text(self.decays), schema.ANCHORS_FINE_TUNE_DECAY: self.decay}
        return params


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
        # Multiples of the step carry rounding errors.
        ramp, distill, strength = (
            round(params.get(name, value), 9)
            for name, value in (
                (schema.RAMP, space.ramp),
                (schema.DISTILL, space.distill),
                (STRENGTH, space.strength),
            )
        )
        return Point(params[schema.EPSILON], ratio, ramp, distill, strength, params.get(schema.FINE_TUNE_DECAY, ""))

    def describe(self, trial: Trial | FrozenTrial) -> str:
        """Describe a trial by its anchor's name, or else by the options that it tries, and by its ratio."""
        point = self.point(trial)
        return f"{trial.user_attrs.get(schema.ANCHOR) or point} ratio {point.ratio:g}"

    def trial_params(self, trial: Trial) -> dict[str, str]:
        """Return the options that a trial tries, as canonical text."""
        return self.space.params_of(self.point(trial))

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
            number; complete (False if the trial was stopped); anchor ("" if it is none); epsilon, ratio, ramp (0: one
            shot), distill, strength (of the mitigation), fine_tune_decay (only if it is searched); the numbers of
            `objectives.values`, with a stopped trial's accuracy made comparable by
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
                **self.point(trial).values,
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
                yield point.values, {schema.ANCHOR: anchor, **point.values}

    def _suggest(self, trial: Trial) -> None:
        if len(self.space.ratios) > 1:
            trial.suggest_categorical(schema.RATIO, self.space.ratios)
        if self.space.decays:
            trial.suggest_categorical(schema.FINE_TUNE_DECAY, self.space.decays)
        for name, within in self.space.ranges.items():
            # The sampler learns about an option from the trials that have the option. An anchor's value may be outside
            # the option's range, as 0 is on a logarithmic scale. Such an option is left out, so that the sampler does
            # not learn from a wrong value.
            if schema.ANCHOR not in trial.user_attrs or _contains(within, trial.user_attrs[name]):
                trial.suggest_float(name, within.low, within.high, step=within.step, log=within.log)


def _contains(within: FloatDistribution, value: float) -> bool:
    on_a_step = within.step is None or round(value / within.step, 9).is_integer()
    return within.low <= value <= within.high and on_a_step
