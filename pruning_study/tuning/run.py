"""Undecayed pruning tuned: trials on validation images, then the winner and the anchors on test images."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from optuna import Trial

from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.runs.schema import text
from analysis.statistics import intensification
from analysis.statistics.intensification import at_chance
from analysis.tuning import figures as tuning_figures
from analysis.tuning.results import WINNER, Tuning, comparisons
from pruning_study.config import CUBIC, TuneConfig
from pruning_study.steps import dense, pruned
from pruning_study.steps.identity import hashed_params
from pruning_study.steps.runs import LoadedRun
from pruning_study.steps.settings import PruneSetting
from pruning_study.text_tables import text_table
from pruning_study.tracking import connect, locks
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions
from pruning_study.tuning import objectives
from pruning_study.tuning.objectives import Measured
from pruning_study.tuning.search import STEP, Point, Search, Space

# What tells one trial from another, or the networks of a trial.
OF_A_TRIAL = {schema.SEED, schema.EPSILON, schema.RATIO}
OF_A_SCHEDULE = {schema.SCHEDULE, schema.RAMP, schema.DISTILL}
WAIT_SECONDS = 1


@dataclass(frozen=True)
class Network:
    """A dense model that every trial prunes."""

    setting: PruneSetting
    dense: LoadedRun

    def trial(self, point: Point) -> Predictions:
        """Predict the validation images after pruning and fine-tuning."""
        return pruned.trial(self.setting.at(**point.options), self.dense, point.ratio)


def tune(config: TuneConfig, options: Mapping[str, str]) -> str:
    """Search epsilon, or schedules too, or go on with a search, and measure what it found, in a job of its own.

    Parameters
    ----------
    config : TuneConfig
    options : mapping of str
        As typed, for the job's params.

    Returns
    -------
    str
        What to tell the user.

    Raises
    ------
    StudyError
        Before any training: a ratio or a ramp that cannot be had, a search of this name in another space. Later:
        alpha that validation images are too few for, a training that diverges, a store that does not take a run.
    """
    store = connect.connect(config.experiment)
    settings = _settings(config, config.seeds)
    setting = settings[0]
    space = _space(config, setting, store.experiment_id)
    name = (
        config.study_name
        or f"{setting.data.name}-{config.model.replace(':', '-')}-{config.objective}-{space.digest[:8]}"
    )
    search = Search(store, name, space)
    with store.job(f"tune: {name}", options) as job:
        networks = _networks(store, job.run_id, settings)
        if config.objective != "accuracy":
            _check_alpha(networks)
        with _parent(store, search, job.run_id, setting) as parent:
            job.tags({schema.TUNING_RUN_ID: parent.run_id})
            _search(store, search, networks, config, parent.run_id)
            result = _result(store, search, networks, config, job.run_id)
            _log(parent, search, result)
    next_steps = _what_next(store, search, config, len(result.trials), parent.run_id)
    return "\n".join(["", _table(result), "", result.summary, "", *next_steps])


def _settings(config: TuneConfig, seeds: Sequence[int]) -> list[PruneSetting]:
    first = PruneSetting(config.pruning(seeds[0]))
    return [first, *(PruneSetting(config.pruning(seed), first.data) for seed in seeds[1:])]


def _space(config: TuneConfig, setting: PruneSetting, experiment_id: str) -> Space:
    of_a_trial, longest_ramp = OF_A_TRIAL, None
    if config.tune_schedule:
        # The params of a trial that has all that is searched, less those that the search sets.
        setting = setting.at(schedule=CUBIC, distill=1.0)
        of_a_trial = OF_A_TRIAL | OF_A_SCHEDULE
        longest_ramp = _longest_ramp(setting.pruning.fine_tuning.epochs)
    params = hashed_params(setting.pruned_params(setting.params, config.ratio[0]))
    return Space(
        objective=config.objective,
        ratios=config.ratio,
        epsilon_range=config.epsilon_range,
        weight_decay=setting.pruning.epsilon,
        settings={
            **{name: value for name, value in params.items() if name not in of_a_trial},
            schema.SEEDS: text(config.seeds),
            "experiment": experiment_id,
        },
        longest_ramp=longest_ramp,
        ramp=config.ramp if setting.config.is_gradual else 0.0,
        distill=config.distill,
    )


def _longest_ramp(epochs: int) -> float:
    """The longest of those tried that leaves an epoch; rounded, as multiples of a step are not what they look like."""
    return round(math.floor(round((1 - 1 / epochs) / STEP, 9)) * STEP, 9)


def _networks(store: Store, job_run_id: str, settings: Sequence[PruneSetting]) -> list[Network]:
    networks = [Network(setting, dense.train(store, job_run_id, setting)) for setting in settings]
    for network in networks:
        # Worked out here, they are shared by the settings of all trials.
        _ = network.setting.train, network.setting.validation, network.setting.engine
    return networks


def _check_alpha(networks: Sequence[Network]) -> None:
    dense = [network.dense.dense.val_predictions for network in networks]
    of = objectives.measured(dense, dense, len(networks[0].setting.data.classes))
    reliability = intensification.alpha_new(of.before, of.before, of.before, of.support).reliability
    if not reliability > 0:
        raise StudyError(
            "the validation images are too few to tell the classes' recalls apart, so alpha means nothing: take a "
            "larger --validation-fraction or more --seeds",
            option="--objective",
        )


@contextmanager
def _parent(store: Store, search: Search, job_run_id: str, setting: PruneSetting) -> Iterator[Writer]:
    """The one run of a search, which every call goes on with."""
    there = store.newest(search.config_hash)
    tags = {schema.KIND: schema.TUNING, schema.CONFIG_HASH: search.config_hash, schema.STUDY_NAME: search.name}
    new = store.run(
        f"tuning: {search.name}",
        note="Undecayed pruning: trials on validation images, winner and anchors on test images",
        tags=tags,
        params=search.space.params,
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=True,
    )
    with locks.held_if_free(store.lock(search.config_hash)), store.again(there.info.run_id) if there else new as parent:
        yield parent


def _search(store: Store, search: Search, networks: Sequence[Network], config: TuneConfig, parent_run_id: str) -> None:
    """Make the trials that are missing, and wait for those that other processes are at."""
    start = time.monotonic()
    while True:
        late = time.monotonic() - start > (config.timeout or math.inf)
        with search.trial(config.n_trials, late=late) as trial:
            if trial:
                _try(store, search, networks, trial, parent_run_id)
                continue
        if not search.running():
            return
        time.sleep(WAIT_SECONDS)


def _try(store: Store, search: Search, networks: Sequence[Network], trial: Trial, parent_run_id: str) -> None:
    """One trial: every dense model pruned and fine-tuned, unless the first ones show that it is hopeless."""
    point = search.point(trial)
    first = networks[0].setting
    dense = np.array([network.dense.dense.val_predictions.accuracy for network in networks])
    anchor = trial.user_attrs.get(schema.ANCHOR, "")
    with store.run(
        f"trial {trial.number}: {anchor or point} t={point.ratio:g}",
        note=f"A trial of {search.name}, on validation images alone",
        tags={
            schema.KIND: schema.TRIAL,
            schema.CONFIG_HASH: search.trial_hash(trial.number),
            schema.STUDY_NAME: search.name,
            schema.ANCHOR: anchor,
        },
        params=point.params,
        dataset=first.mlflow_dataset,
        job_run_id=parent_run_id,
        child=True,
    ) as run:
        after: list[Predictions] = []
        stopped = False
        while len(after) < len(networks) and not stopped:
            after.append(networks[len(after)].trial(point))
            measured = _measured(networks, after)
            stopped = search.is_hopeless(trial, measured, dense)
        values = search.note(trial, measured, stopped=stopped)
        if stopped:
            values["accuracy"] = objectives.expected_accuracy(measured, dense)
        for place in range(len(after)):
            of_seed = {schema.VAL_ACCURACY: f"accuracy/{place}", schema.VAL_DISTORTION: f"distortion/{place}"}
            run.metrics({name: values[key] for name, key in of_seed.items()}, step=place)
        run.metrics({schema.TRIAL_ACCURACY: values["accuracy"], schema.TRIAL_DISTORTION: values["distortion"]})
        run.tags({schema.STATE: "pruned" if stopped else "complete"})
    # Behind the run's end: where the process is killed before, the trial is made again, so that none lacks its run.
    search.end(trial.number)


def _measured(networks: Sequence[Network], after: Sequence[Predictions]) -> Measured:
    before = [network.dense.dense.val_predictions for network in networks[: len(after)]]
    return objectives.measured(before, after, len(networks[0].setting.data.classes))


def _result(store: Store, search: Search, networks: Sequence[Network], config: TuneConfig, job_run_id: str) -> Tuning:
    """The winner and the anchors on test images, of the search's dense models and of new ones."""
    trials = search.trials()
    best, reason = objectives.winner(trials, config.objective)
    trials = trials.assign(
        eligible=objectives.eligible(trials), front=objectives.pareto_front(trials), winner=trials.index == best
    )
    won = _point(trials.loc[best])
    points = {WINNER: won, **search.space.anchors(won.ratio)}
    rows = [row for network in networks for row in _tested(store, job_run_id, network, points, new=False)]
    start = max(config.seeds) + 1
    for seed in range(start, start + config.confirm_seeds):
        setting = PruneSetting(config.pruning(seed), networks[0].setting.data)
        (network,) = _networks(store, job_run_id, [setting])
        rows += _tested(store, job_run_id, network, points, new=True)
    finalists = pd.DataFrame(rows)
    return Tuning(
        name=search.name,
        objective=config.objective,
        reason=reason,
        trials=trials,
        finalists=finalists,
        comparisons=comparisons(finalists, config.objective),
    )


def _point(trial: pd.Series) -> Point:
    return Point(**{item.name: float(trial[item.name]) for item in fields(Point)})


def _tested(
    store: Store, job_run_id: str, network: Network, points: Mapping[str, Point], *, new: bool
) -> Iterator[dict[str, float | str | bool]]:
    for role, point in points.items():
        run = pruned.prune(store, job_run_id, network.setting.at(**point.options), network.dense, point.ratio)
        yield {
            "role": role,
            **asdict(point),
            schema.SEED: network.setting.config.seed,
            "new": new,
            "accuracy": run.metrics[schema.TEST_ACCURACY],
            "alpha": run.metrics.get(schema.ALPHA, np.nan),
            "at_chance": bool(at_chance(run.metrics[schema.TEST_ACCURACY], len(network.setting.data.classes))),
            "run_id": run.run_id,
        }


def _log(parent: Writer, search: Search, result: Tuning) -> None:
    result.trials.to_csv(parent.folder / schema.TRIALS, index=False)
    result.finalists.to_csv(parent.folder / schema.FINALISTS, index=False)
    result.comparisons.to_csv(parent.folder / schema.COMPARISONS, index=False)
    summary = {schema.STUDY_NAME: result.name, schema.OBJECTIVE: result.objective, "reason": result.reason}
    (parent.folder / schema.TUNING_SUMMARY).write_text(json.dumps(summary, indent=1))
    drawn = tuning_figures.figures(result)
    if search.space.dimensions > 1:
        drawn["parameter_importance"] = tuning_figures.importance(search.importance(), result.name)
    for name, figure in drawn.items():
        figure.savefig(parent.folder / f"{name}.png")
    winner = result.winner
    parent.metrics({schema.TRIAL_ACCURACY: winner["accuracy"], schema.TRIAL_DISTORTION: winner["distortion"]})
    parent.tags(_point(winner).params)


def _table(result: Tuning) -> str:
    table = result.table()
    return text_table(list(table.columns), table.to_numpy().tolist())


def _what_next(store: Store, search: Search, config: TuneConfig, trials: int, parent_run_id: str) -> list[str]:
    return [
        f"the search:   run {parent_run_id}, {trials} of {config.n_trials} trials; the same call goes on with it",
        f"its trials:   pip install optuna-dashboard, then: optuna-dashboard {search.journal}",
        f"the runs:     {store.how_to_look}",
    ]
