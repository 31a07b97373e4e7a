"""Searches for chains with Optuna; several processes may work on a search at once."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import optuna
import pandas as pd
from optuna import Trial
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning_study.study.compression.chains import Chain, ChainSpace
from pruning_study.study.compression.judgement import Judgement
from pruning_study.study.shared_search import COUNTED, FINISHED, REFUSED, SharedSearch
from pruning_study.tracking.store import Store

# Attributes of Optuna's trials
_FIRST, _JUDGEMENT = "first", "judged"
_MINIMIZED = ("cost", "class_loss_upper")  # fields of `Judgement`
# Largest number of chains that Optuna draws for a trial. If all of them have been tried, the first untried chain of
# the space is taken.
_DRAWN = 20


class ChainSearch(SharedSearch[ChainSpace]):
    """A search for chains, with two objectives: `Judgement.cost`, and the upper bound of the worst class's loss.

    Parameters
    ----------
    store : Store
    name : str
    space : ChainSpace

    Raises
    ------
    StudyError
        If the journal cannot be read, or if it holds a search of this name in another search space.
    """

    note = "Search for chains: trials on validation images, a test of the choice on test images"
    anchored_by = (_FIRST,)

    def __init__(self, store: Store, name: str, space: ChainSpace) -> None:
        super().__init__(store, name, space, dict.fromkeys(_MINIMIZED, StudyDirection.MINIMIZE))

    def chain(self, trial: Trial | FrozenTrial) -> Chain:
        """Return the chain that a trial tries."""
        return self.space.chain(trial.params)

    def describe(self, trial: Trial) -> str:
        """Return a trial's chain in words."""
        return str(self.chain(trial))

    def trial_params(self, trial: Trial) -> dict[str, str]:
        """Return the fields of a trial's chain as canonical text."""
        return self.chain(trial).params

    def record(self, trial: Trial, judgement: Judgement) -> None:
        """Store the cost and losses of a chain in the journal, for `end`."""
        trial.set_user_attr(_JUDGEMENT, judgement._asdict())

    def trials(self) -> pd.DataFrame:
        """Return a row for each chain that could be made.

        Returns
        -------
        DataFrame
            number; first (the name of a first chain, empty for any other); the fields of `Chain` and of `Judgement`.
        """
        return pd.DataFrame(
            [
                {
                    "number": trial.number,
                    _FIRST: trial.user_attrs.get(_FIRST, ""),
                    **asdict(self.chain(trial)),
                    **trial.user_attrs[_JUDGEMENT],
                }
                for trial in self.optuna_study.get_trials(states=[TrialState.COMPLETE])
            ]
        )

    def is_exhausted(self) -> bool:
        """Return whether each chain of the space has been tried, or is being tried."""
        return next(self._untried(), None) is None

    def refused(self) -> Mapping[Chain, str]:
        """Return the chains that could not be made, each with the reason."""
        pruned = self.optuna_study.get_trials(states=[TrialState.PRUNED])
        return {self.chain(trial): trial.user_attrs[REFUSED] for trial in pruned}

    def _values(self, recorded: Mapping[str, Any]) -> list[float] | None:
        return None if REFUSED in recorded else [recorded[_JUDGEMENT][name] for name in _MINIMIZED]

    def _is_recorded(self, trial: FrozenTrial) -> bool:
        return bool({_JUDGEMENT, REFUSED} & trial.user_attrs.keys())

    def _anchors(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for name, params in self.space.first.items():
            yield params, {_FIRST: name}

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        """Try the same chain again: its training goes on from the last saved epoch."""
        first: dict[str, Any] = {_FIRST: trial.user_attrs[_FIRST]} if _FIRST in trial.user_attrs else {}
        self.optuna_study.enqueue_trial(_params(trial), user_attrs=first)

    @property
    def _draws(self) -> int:
        """Number that seeds the next trial's draws. Interrupted trials do not count, because each is repeated."""
        return len(self.optuna_study.get_trials(states=COUNTED))

    def _enqueue_proposal(self) -> bool:
        """Queue a chain that no trial has tried or is trying; return False if there is none."""
        untried = self._drawn() or next(self._untried(), None)
        if untried:
            self.optuna_study.enqueue_trial(untried)
        return untried is not None

    def _drawn(self) -> dict[str, Any] | None:
        """Return an untried chain that the sampler draws, as Optuna's params; None if it draws none."""
        # Optuna keeps each draw, so the draws are made in a copy that is thrown away.
        copy = optuna.create_study(sampler=self.optuna_study.sampler, directions=self.optuna_study.directions)
        copy.add_trials(self.optuna_study.get_trials(states=FINISHED))
        tried = self.tried_chains()
        for _ in range(_DRAWN):
            trial = copy.ask()
            self.space.suggest(trial)
            if self.space.chain(trial.params) not in tried:
                return trial.params
        return None

    def _untried(self) -> Iterator[dict[str, Any]]:
        tried = self.tried_chains()
        return (params for params in self.space.every() if self.space.chain(params) not in tried)

    def tried_chains(self) -> set[Chain]:
        trials = self.optuna_study.get_trials(states=[*FINISHED, TrialState.RUNNING])
        return {self.space.chain(_params(trial)) for trial in trials}

    def _suggest(self, trial: Trial) -> None:
        self.space.suggest(trial)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the params of a trial, including queued params that Optuna has not assigned yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
