"""The Optuna study of a search: its trials, who takes which, and which are stopped.

Optuna keeps them in a journal beside the tracking store. A process holds a lock for the trial it is at, which the
kernel frees when it dies: its trial is then ended as failed, and does not count.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna import Trial
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis.runs import schema
from analysis.runs.errors import StudyError, first_line
from analysis.runs.schema import text
from pruning_study.config import CUBIC, ONE_SHOT
from pruning_study.tracking import locks
from pruning_study.tracking.store import Store
from pruning_study.tuning import objectives
from pruning_study.tuning.objectives import Measured

GP, LAMBDA, MP = "GP", "lambda", "MP"
# At the weights that decide, |theta| of .01 and gradients of .1, the gradient's part is below single precision.
AS_MAGNITUDE = 1e8
# Of ramps and weights of distillation that are tried: so 0, which is one shot or the labels alone, is one of them.
STEP = 0.05
DIRECTIONS = {
    "accuracy": [StudyDirection.MAXIMIZE],
    "alpha": [StudyDirection.MINIMIZE],
    "both": [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE],
}
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
SPACE, MEASURED, STOPPED = "space", "measured", "stopped"

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Point:
    """What tells a trial from another.

    Parameters
    ----------
    epsilon, ratio : float
    ramp : float
        Share of the fine-tuning over which it is pruned by the cubic law; 0 is one shot.
    distill : float
        Weight of distillation.
    """

    epsilon: float
    ratio: float
    ramp: float = 0.0
    distill: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """As options of `prune`, the ratio apart."""
        schedule = {schema.SCHEDULE: CUBIC, schema.RAMP: self.ramp} if self.ramp else {schema.SCHEDULE: ONE_SHOT}
        return {schema.EPSILON: self.epsilon, **schedule, schema.DISTILL: self.distill}

    @property
    def params(self) -> dict[str, str]:
        """All of it as canonical text."""
        return {name: text(value) for name, value in {**self.options, schema.RATIO: self.ratio}.items()}

    def __str__(self) -> str:
        ramp = f" ramp {self.ramp:g}" if self.ramp else ""
        distill = f" distill {self.distill:g}" if self.distill else ""
        return f"epsilon {self.epsilon:.3g}{ramp}{distill}"


@dataclass(frozen=True)
class Space:
    """What is searched.

    Parameters
    ----------
    objective : {"accuracy", "alpha", "both"}
    ratios : tuple of float
        Several are searched too.
    epsilon_range : (low, high)
    weight_decay : float
        The anchor lambda.
    settings : mapping of str
        All else that a trial's result depends on, as canonical text.
    longest_ramp : float, optional
        Where ramps, from 0, and distillation are searched too.
    ramp, distill : float
        Of every trial; where they are searched, of gradual anchors and of all anchors.
    """

    objective: str
    ratios: tuple[float, ...]
    epsilon_range: tuple[float, float]
    weight_decay: float
    settings: Mapping[str, str] = field(default_factory=dict)
    longest_ramp: float | None = None
    ramp: float = 0.0
    distill: float = 0.0

    def anchors(self, ratio: float) -> dict[str, Point]:
        """What every search begins with, lambda first: others are measured against it."""
        epsilons = {LAMBDA: self.weight_decay, MP: AS_MAGNITUDE, GP: 0.0}
        ramps = {"": self.ramp} if self.longest_ramp is None else {"": 0.0, f" {CUBIC}": self.ramp}
        return {
            name + suffix: Point(epsilon, ratio, ramp, self.distill)
            for suffix, ramp in ramps.items()
            for name, epsilon in epsilons.items()
        }

    @property
    def ranges(self) -> dict[str, FloatDistribution]:
        """Where the search looks, the ratio apart."""
        ranges = {schema.EPSILON: FloatDistribution(*self.epsilon_range, log=True)}
        if self.longest_ramp is not None:
            ranges[schema.RAMP] = FloatDistribution(0.0, self.longest_ramp, step=STEP)
            ranges[schema.DISTILL] = FloatDistribution(0.0, 1.0, step=STEP)
        return ranges

    @property
    def dimensions(self) -> int:
        return len(self.ranges) + (len(self.ratios) > 1)

    @property
    def params(self) -> dict[str, str]:
        """All of it as canonical text."""
        params = {
            **self.settings,
            schema.OBJECTIVE: self.objective,
            schema.RATIOS: text(self.ratios),
            schema.EPSILON_RANGE: text(self.epsilon_range),
            "lambda": text(self.weight_decay),
        }
        if self.longest_ramp is not None:
            for name, range_name in ((schema.RAMP, schema.RAMP_RANGE), (schema.DISTILL, schema.DISTILL_RANGE)):
                params[range_name] = text((self.ranges[name].low, self.ranges[name].high))
            params |= {schema.ANCHORS_RAMP: text(self.ramp), schema.ANCHORS_DISTILL: text(self.distill)}
        return params

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.params, sort_keys=True).encode()).hexdigest()


class Search:
    """A search that several processes may work on, found by its name or begun.

    Parameters
    ----------
    store : Store
    name : str
    space : Space

    Raises
    ------
    StudyError
        Where the journal cannot be read, or holds a search of this name in another space.
    """

    def __init__(self, store: Store, name: str, space: Space) -> None:
        self.name = name
        self.space = space
        self.journal = store.journal.absolute()
        self.config_hash = hashlib.sha256(f"{store.experiment_id} {name}".encode()).hexdigest()
        self._store = store
        with self._alone(), _readable(self.journal):
            storage = JournalStorage(JournalFileBackend(str(self.journal)))
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                load_if_exists=True,
                directions=DIRECTIONS[space.objective],
                pruner=MedianPruner(),
            )
            there = self._study.user_attrs.get(SPACE)
            if there is None:
                self._study.set_user_attr(SPACE, space.params)
        if there not in (None, space.params):
            raise StudyError(_another_space(name, there, space.params), option="--study-name")

    @contextmanager
    def trial(self, total: int, *, late: bool) -> Iterator[Trial | None]:
        """The next trial, taken so that no other process takes it; ended as failed where the block raises.

        Parameters
        ----------
        total : int
            How many trials the search is to have.
        late : bool
            Whether only anchors may still begin.

        Yields
        ------
        Trial ; None where nothing is left to begin.
        """
        with ExitStack() as held:
            with self._alone():
                self._end_dead()
                trial = self._next(total, late)
                if trial:
                    held.enter_context(self._store.making(self.trial_hash(trial.number)))
            try:
                yield trial
            except BaseException:
                if trial:
                    self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                raise

    def trial_hash(self, number: int) -> str:
        """What stands for a config hash in the run of a trial."""
        return f"{self.config_hash[:32]}-{number}"

    def running(self) -> bool:
        """Whether a process is at a trial."""
        return any(map(self._is_alive, self._study.get_trials(states=[TrialState.RUNNING])))

    def point(self, trial: Trial | FrozenTrial) -> Point:
        """What a trial tries."""
        params, space = trial.params, self.space
        ratio = params.get(schema.RATIO, space.ratios[0])
        if anchor := trial.user_attrs.get(schema.ANCHOR):
            return space.anchors(ratio)[anchor]
        # Multiples of the step come with the rounding of floats.
        ramp, distill = (
            round(params.get(name, value), 9)
            for name, value in ((schema.RAMP, space.ramp), (schema.DISTILL, space.distill))
        )
        return Point(params[schema.EPSILON], ratio, ramp, distill)

    def is_hopeless(self, trial: Trial, so_far: Measured, dense: np.ndarray) -> bool:
        """Whether a trial is stopped after a seed: below the median of the whole trials, and no anchor.

        For the objective accuracy alone: alpha of few networks is noise, and Optuna stops no trial of two
        objectives. The median, and not Wilcoxon's test over seeds, which with three seeds cannot reach p < .1.

        Parameters
        ----------
        trial : Trial
        so_far : Measured
        dense : (all seeds,)
            Validation accuracy of the dense models.
        """
        if self.space.objective != "accuracy":
            return False
        trial.report(objectives.expected_accuracy(so_far, dense), step=len(so_far))
        return schema.ANCHOR not in trial.user_attrs and len(so_far) < len(dense) and trial.should_prune()

    def note(self, trial: Trial, measured: Measured, *, stopped: bool) -> dict[str, float]:
        """Keep what a trial came to, for `end`; `objectives.values` of it."""
        values = objectives.values(measured)
        trial.set_user_attr(MEASURED, {name: value if math.isfinite(value) else None for name, value in values.items()})
        trial.set_user_attr(STOPPED, bool(stopped))
        if self.space.objective == "alpha" and not stopped:
            anchors = [other["accuracy"] for other in self._rows() if other["anchor"] and other["complete"]]
            accuracy = values["accuracy"]
            trial.set_constraint("accuracy", max(anchors, default=accuracy) - objectives.A_POINT - accuracy)
        return values

    def end(self, number: int) -> None:
        """End a trial with what was noted."""
        noted = self._study.get_trials(deepcopy=False)[number].user_attrs
        if noted[STOPPED]:
            self._study.tell(number, state=TrialState.PRUNED)
            return
        accuracy, distortion = noted[MEASURED]["accuracy"], noted[MEASURED]["distortion"]
        # An undefined distortion is no better than any other.
        distortion = math.inf if distortion is None else distortion
        told = {"accuracy": [accuracy], "alpha": [distortion], "both": [accuracy, distortion]}
        self._study.tell(number, told[self.space.objective])

    def trials(self) -> pd.DataFrame:
        """The trials that have ended, one row each.

        Returns
        -------
        DataFrame
            number, complete (False where stopped), anchor ("" where it is none), epsilon, ratio, ramp (0: one shot),
            distill; accuracy (of a stopped one lambda's, and its mean difference from lambda on the seeds it had) and
            distortion, each with its standard error over the seeds (`_error`); alpha_new, correlation; accuracy and
            distortion of every seed (`accuracy/<place>`); seconds.
        """
        return objectives.with_stopped_as_whole(pd.DataFrame(self._rows()), LAMBDA)

    def importance(self) -> dict[str, float]:
        """Share of each parameter in what tells the best tenth of the whole trials from the others (PED-ANOVA)."""
        return optuna.importance.get_param_importances(self._study)

    def _rows(self) -> list[dict]:
        ended = self._study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
        return [
            {
                "number": trial.number,
                "complete": trial.state == TrialState.COMPLETE,
                "anchor": trial.user_attrs.get(schema.ANCHOR, ""),
                **asdict(self.point(trial)),
                **{name: np.nan if value is None else value for name, value in trial.user_attrs[MEASURED].items()},
                "seconds": trial.duration.total_seconds() if trial.duration else np.nan,
            }
            for trial in ended
        ]

    def _alone(self) -> AbstractContextManager[None]:
        lock = self._store.lock(f"{self.config_hash}-next")
        return locks.held(lock, waiting="another process takes a trial of this search: waiting for it")

    def _is_alive(self, trial: FrozenTrial) -> bool:
        with locks.held_if_free(self._store.lock(self.trial_hash(trial.number))) as free:
            return not free

    def _end_dead(self) -> None:
        for trial in self._study.get_trials(states=[TrialState.RUNNING]):
            if self._is_alive(trial):
                continue
            if STOPPED in trial.user_attrs and self._store.find(self.trial_hash(trial.number)):
                self.end(trial.number)
            else:
                log.warning("trial %d of %s was broken off, and is made again", trial.number, self.name)
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _next(self, total: int, late: bool) -> Trial | None:
        trials = self._study.get_trials(states=COUNTED)
        there = {(trial.user_attrs.get(schema.ANCHOR), trial.user_attrs.get(schema.RATIO)) for trial in trials}
        for ratio in self.space.ratios:
            for anchor, point in self.space.anchors(ratio).items():
                if (anchor, ratio) not in there:
                    self._study.enqueue_trial(asdict(point), user_attrs={schema.ANCHOR: anchor, **asdict(point)})
        trials = self._study.get_trials(states=COUNTED)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if not waiting and (late or len(trials) >= total):
            return None
        # Each trial has its own random draws, wherever and after whatever break it is made.
        seed = hashlib.sha256(f"{self.space.digest} {len(self._study.trials)}".encode()).digest()
        self._study.sampler = TPESampler(seed=int.from_bytes(seed[:4], "big"))
        trial = self._study.ask()
        self._suggest(trial)
        return trial

    def _suggest(self, trial: Trial) -> None:
        if len(self.space.ratios) > 1:
            trial.suggest_categorical(schema.RATIO, self.space.ratios)
        for name, within in self.space.ranges.items():
            # An anchor outside the range, as 0 on a log scale always is, has no parameter: the sampler, which takes
            # each parameter from the trials that have it, learns nothing from it, and nothing wrong.
            if schema.ANCHOR not in trial.user_attrs or _holds(within, trial.user_attrs[name]):
                trial.suggest_float(name, within.low, within.high, step=within.step, log=within.log)


def _holds(within: FloatDistribution, value: float) -> bool:
    on_a_step = within.step is None or round(value / within.step, 9).is_integer()
    return within.low <= value <= within.high and on_a_step


@contextmanager
def _readable(journal: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(
            f"{journal}: Optuna cannot read or write it ({first_line(error)}): mend it, or move it away to begin anew"
        ) from error


def _another_space(name: str, there: Mapping[str, str], asked: Mapping[str, str]) -> str:
    differ = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
    told = "; ".join(f"{key} {there.get(key, 'none')} there, {asked.get(key, 'none')} here" for key in differ)
    return f"{name!r} is another search: {told}"
