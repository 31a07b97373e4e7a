"""Searches with Optuna, such as those of `tune` and `compress`; several processes may work on a search at once.

Optuna keeps the trials of a search in a journal beside the tracking store. A process holds a lock for the trial that it
makes. If the process dies, the kernel frees the lock. Unless the trial's result is complete, the next process then ends
the trial as failed, so that it does not count. In MLflow, each trial is a run below the run of the search.
"""

import hashlib
import json
import logging
import math
import os
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import optuna
from mlflow.entities import Dataset as MlflowDataset
from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from analysis.common.errors import StudyError, first_line
from analysis.common.printable import folded
from analysis.runs import schema
from pruning_study.steps.plan import Pruning
from pruning_study.tracking import locks
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
COUNTED = (*FINISHED, TrialState.RUNNING, TrialState.WAITING)
WAIT_SECONDS = 1
REFUSED = "refused"  # attribute of Optuna's trials
_SPACE, _NETWORKS = "space", "networks"  # attributes of Optuna's study
_RUN_ID = "mlflow_run_id"  # attribute of Optuna's trials

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)


class SearchSpace(ABC):
    """The options that a search chooses from, and their values."""

    @property
    @abstractmethod
    def goal(self) -> str:
        """The quantity to optimise, in one word."""

    @property
    @abstractmethod
    def params(self) -> dict[str, str]:
        """The whole space as canonical text."""

    @property
    def digest(self) -> str:
        """SHA-256 of the params; searches with the same digest search the same space."""
        return hashlib.sha256(json.dumps(self.params, sort_keys=True).encode()).hexdigest()

    def default_name(self, plan: Pruning) -> str:
        """Return the name of a search in this space if `--study-name` gives none."""
        return f"{plan.dense.dataset}-{plan.options.model.replace(':', '-')}-{self.goal}-{self.digest[:8]}"


Space = TypeVar("Space", bound=SearchSpace)


class SharedSearch(ABC, Generic[Space]):
    """A search that several processes may work on. It continues an earlier search of the same name, if there is one.

    Parameters
    ----------
    store : Store
    name : str
    space : SearchSpace
    objectives : mapping of str to StudyDirection
        The direction in which each objective is optimised, by the name that Optuna shows for the objective.
    pruner : BasePruner, optional
        Stops trials early, in a search with a single objective.

    Raises
    ------
    StudyError
        If the journal cannot be read, or if it holds a search of this name in another search space.

    Attributes
    ----------
    note : str
        Description of the run of a search.
    anchored_by : tuple of str
        Attributes of Optuna's trials that identify an anchor, which is a trial that every search begins with. The first
        attribute is the anchor's name.
    needs_anchors : bool
        Whether missing anchors are made even after the deadline.
    """

    note: ClassVar[str]
    anchored_by: ClassVar[tuple[str, ...]]
    needs_anchors: ClassVar[bool] = False

    def __init__(
        self,
        store: Store,
        name: str,
        space: Space,
        objectives: Mapping[str, StudyDirection],
        pruner: BasePruner | None = None,
    ) -> None:
        self.name, self.space, params = name, space, space.params
        self.journal = store.journal.absolute()
        self.config_hash = hashlib.sha256(f"{store.experiment_id} {name}".encode()).hexdigest()
        self._store = store
        with self._alone(), _readable(self.journal):
            storage = JournalStorage(_Journal(self.journal))
            self.optuna_study = optuna.create_study(
                storage=storage,
                study_name=name,
                load_if_exists=True,
                directions=list(objectives.values()),
                pruner=pruner,
            )
            stored_params = self.optuna_study.user_attrs.get(_SPACE)
            if stored_params is None:
                self.optuna_study.set_user_attr(_SPACE, params)
                _name_objectives(self.optuna_study, list(objectives))
        if stored_params not in (None, params):
            raise StudyError(_other_space(name, stored_params, params), option="study_name")

    def check_networks(self, dense: Sequence[Predictions]) -> None:
        """Raise a StudyError if the search has trials of other dense networks, to which those of `dense` are not added.

        Parameters
        ----------
        dense : sequence of Predictions
            Predictions of the dense networks for validation images. Networks that predict alike count as the same.
        """
        digests = [hashlib.sha256(each.predicted.tobytes()).hexdigest() for each in dense]
        with self._alone(), _readable(self.journal):
            stored_digests = self.optuna_study.user_attrs.get(_NETWORKS)
            if stored_digests is None:
                self.optuna_study.set_user_attr(_NETWORKS, digests)
        if stored_digests not in (None, digests):
            raise StudyError(
                f"the search {self.name!r} has trials of other dense networks with the same options: give another name",
                option="study_name",
            )

    @contextmanager
    def run(self, dataset: MlflowDataset, job_run_id: str) -> Iterator[Writer]:
        """Yield the run of the search, which is the same for every call that continues the search."""
        with ExitStack() as ends:
            with self._alone():  # otherwise, two processes that begin a search at once would both make its run
                ends.enter_context(locks.held_if_free(self._store.lock(self.config_hash)))
                earlier = self._store.newest(self.config_hash)
                new = self._store.run(
                    f"search {self.space.goal} {self.name}",
                    note=self.note,
                    tags={
                        schema.KIND: schema.TUNING,
                        schema.CONFIG_HASH: self.config_hash,
                        schema.STUDY_NAME: self.name,
                    },
                    params=self.space.params,
                    dataset=dataset,
                    job_run_id=job_run_id,
                    child=True,
                )
                run = ends.enter_context(self._store.again(earlier.info.run_id) if earlier else new)
            yield run

    def make_trials(
        self,
        total: int,
        attempt: Callable[[Trial, Writer], str],
        dataset: MlflowDataset,
        parent_run_id: str,
        *,
        deadline: float = math.inf,
    ) -> None:
        """Make the trials that are missing, each with a run, and wait for those that other processes are making.

        Parameters
        ----------
        total : int
            Number of trials that the search is to have.
        attempt : callable
            Makes a trial, records its numbers in the journal and in the trial's run, and returns a line about it.
        dataset : mlflow.entities.Dataset
        parent_run_id : str
            The run of the search.
        deadline : float
            Time, on the clock of `time.monotonic`, after which no trial begins, except anchors if
            `needs_anchors` is true. A trial that began earlier is not interrupted.
        """
        while not (late := time.monotonic() > deadline) or self.needs_anchors:
            with self.trial(total, late=late) as trial:
                if trial:
                    # The run ends before the trial, so that every trial that counts has a run.
                    with self._trial_run(trial, dataset, parent_run_id) as run:
                        line = attempt(trial, run)
                    self.end(trial.number)
                    # Above the progress bar of a training
                    tqdm.write(folded(f"[{self.count()}/{total}] {line}"), file=sys.stderr)
                    continue
            if not self.running():
                return
            time.sleep(WAIT_SECONDS)

    @contextmanager
    def trial(self, total: int, *, late: bool) -> Iterator[Trial | None]:
        """Begin the next trial, so that no other process begins it. If the block raises, the trial ends as failed.

        Parameters
        ----------
        total : int
            Number of trials that the search is to have.
        late : bool
            Whether only anchors may still begin.

        Yields
        ------
        Trial ; None if no trial is left to begin.
        """
        with ExitStack() as held_locks:
            with self._alone():
                self._end_dead()
                trial = self._next(total, late)
                if trial:
                    held_locks.enter_context(self._store.making(self.trial_hash(trial.number)))
            try:
                yield trial
            except BaseException:
                if trial:
                    with self._alone():
                        failed_trial = self.optuna_study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                        if failed_trial.state == TrialState.FAIL:
                            self._enqueue_again(failed_trial)
                raise

    def trial_hash(self, number: int) -> str:
        """Return the config hash of a trial's run."""
        return f"{self.config_hash[:32]}-{number}"

    def running(self) -> bool:
        """Return whether any process is making a trial."""
        return any(map(self._is_alive, self.optuna_study.get_trials(states=[TrialState.RUNNING])))

    def count(self) -> int:
        """Count the trials that ended and did not fail, including stopped and impossible ones."""
        return len(self.optuna_study.get_trials(states=FINISHED))

    def refuse(self, trial: Trial, reason: str) -> None:
        """Store in the journal, for `end`, why a trial cannot be made."""
        trial.set_user_attr(REFUSED, reason)

    def end(self, number: int) -> None:
        """End a trial with the numbers that are recorded for it."""
        values = self._values(self.optuna_study.get_trials(deepcopy=False)[number].user_attrs)
        if values is None:
            self.optuna_study.tell(number, state=TrialState.PRUNED)
        else:
            self.optuna_study.tell(number, values)

    @abstractmethod
    def describe(self, trial: Trial) -> str:
        """Describe in a few words what a trial tries."""

    @abstractmethod
    def trial_params(self, trial: Trial) -> dict[str, str]:
        """Return the options that a trial tries, as canonical text."""

    @abstractmethod
    def _values(self, recorded: Mapping[str, Any]) -> Sequence[float] | None:
        """Return the values that a trial reports to Optuna; None if it was stopped or cannot be made."""

    @abstractmethod
    def _is_recorded(self, trial: FrozenTrial) -> bool:
        """Return whether the journal has the numbers of a trial, so that `end` can end it."""

    @abstractmethod
    def _anchors(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield the params and the attributes of the trials that every search begins with."""

    @abstractmethod
    def _suggest(self, trial: Trial) -> None:
        """Have Optuna choose the options of a trial."""

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        """Make Optuna repeat an interrupted trial. By default, do nothing, so that Optuna chooses a new one."""

    def _enqueue_proposal(self) -> bool:
        """Queue a proposal for the next trial; return False if none is left. By default, leave the choice to Optuna."""
        return True

    @property
    def _draws(self) -> int:
        """Number that seeds the next trial's random draws. Every trial, even if interrupted, has its own number."""
        return len(self.optuna_study.trials)

    @contextmanager
    def _trial_run(self, trial: Trial, dataset: MlflowDataset, parent_run_id: str) -> Iterator[Writer]:
        with self._store.run(
            f"trial {trial.number}: {self.describe(trial)}",
            note=f"Trial of the search {self.name}, on validation images only",
            tags={
                schema.KIND: schema.TRIAL,
                schema.CONFIG_HASH: self.trial_hash(trial.number),
                schema.STUDY_NAME: self.name,
                schema.ANCHOR: trial.user_attrs.get(self.anchored_by[0], ""),
            },
            params=self.trial_params(trial),
            dataset=dataset,
            job_run_id=parent_run_id,
            child=True,
        ) as run:
            trial.set_user_attr(_RUN_ID, run.run_id)
            yield run
            state = TrialState.PRUNED if self._values(trial.user_attrs) is None else TrialState.COMPLETE
            run.tags({schema.STATE: state.name.lower()})

    def _alone(self) -> AbstractContextManager[None]:
        lock = self._store.lock(f"{self.config_hash}-next")
        return locks.held(lock, waiting="another process is choosing a trial of this search: waiting for it")

    def _is_alive(self, trial: FrozenTrial) -> bool:
        with locks.held_if_free(self._store.lock(self.trial_hash(trial.number))) as free:
            return not free

    def _end_dead(self) -> None:
        """End each trial whose process died: with its recorded numbers if its run is FINISHED, else as failed."""
        for trial in self.optuna_study.get_trials(states=[TrialState.RUNNING]):
            if self._is_alive(trial):
                continue
            if self._is_recorded(trial) and self._store.find(self.trial_hash(trial.number)):
                self.end(trial.number)
            else:
                log.warning("trial %d of %s was interrupted, so another trial is made instead", trial.number, self.name)
                self.optuna_study.tell(trial.number, state=TrialState.FAIL)
                self._enqueue_again(trial)

    def enqueue_anchors(self) -> None:
        """Make Optuna begin with the anchors that are neither made nor queued."""
        trials = self.optuna_study.get_trials(states=COUNTED)
        begun = {tuple(trial.user_attrs.get(name) for name in self.anchored_by) for trial in trials}
        for params, attributes in self._anchors():
            if tuple(attributes[name] for name in self.anchored_by) not in begun:
                self.optuna_study.enqueue_trial(dict(params), user_attrs=dict(attributes))

    def _next(self, total: int, late: bool) -> Trial | None:
        self.enqueue_anchors()
        trials = self.optuna_study.get_trials(states=COUNTED)
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if not waiting and (late or len(trials) >= total):
            return None
        self.optuna_study.sampler = self._sampler()
        if not waiting and not self._enqueue_proposal():
            return None
        trial = self.optuna_study.ask()
        self._suggest(trial)
        return trial

    def _sampler(self) -> TPESampler:
        """Return a sampler that is seeded for the next trial."""
        seed = hashlib.sha256(f"{self.space.digest} {self._draws}".encode()).digest()
        return TPESampler(seed=int.from_bytes(seed[:4], "big"))


class _Journal(JournalFileBackend):
    """Optuna's journal, which cuts off a last line that a full disk or a kill left incomplete, before it appends."""

    def __init__(self, path: Path) -> None:
        self._path, self._alone = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), lock_obj=self._alone)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _present(self._path):
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _present(self._path):
            self._alone.acquire()
            try:
                with self._path.open("rb+") as file:
                    if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n":
                        file.truncate(self._path.read_bytes().rfind(b"\n") + 1)
            finally:
                self._alone.release()
            super().append_logs(logs)


@contextmanager
def _present(journal: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StudyError(
            f"{journal}: Optuna's journal was deleted during the search: repeat the command, and the search begins anew"
        ) from error


def _name_objectives(study: optuna.Study, names: list[str]) -> None:
    with warnings.catch_warnings():
        # Optuna may change `set_metric_names`, but has not since 3.2.
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(names)


@contextmanager
def _readable(journal: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(
            f"{journal}: Optuna cannot read or write this journal ({first_line(error)}): repair the file, or move it "
            "away to begin all searches of this store anew"
        ) from error


def _other_space(name: str, stored_params: Mapping[str, str], params: Mapping[str, str]) -> str:
    differing = [key for key in {**stored_params, **params} if stored_params.get(key) != params.get(key)]
    differences = "; ".join(
        f"{key} {stored_params.get(key, 'none')} there, {params.get(key, 'none')} here" for key in differing
    )
    return f"a search with other options has the name {name!r} ({differences}): give another name"
