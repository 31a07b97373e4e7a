"""The command `tune`: run trials on validation images, then test the winner and the reference trials (anchors)."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from optuna import Trial

from analysis.common import csv_text
from analysis.common.errors import NotFiniteError, StudyError, first_line
from analysis.common.printable import folded
from analysis.rendering import tuning_figures, tuning_text
from analysis.runs import schema
from analysis.runs.schema import text
from analysis.runs.tunings import WINNER, Tuning
from analysis.statistics.new_images import alpha_new
from pruning_study.options.config import CUBIC, TuneConfig
from pruning_study.steps import pruned, runs
from pruning_study.steps.context import JobContext
from pruning_study.steps.identity import hashed_params
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning, plan_pruning
from pruning_study.steps.text_tables import text_table
from pruning_study.study.lineage import lineage
from pruning_study.study.searched_networks import SearchedNetwork, new_networks, of_seed
from pruning_study.study.tuning import objectives
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.study.tuning.search import Point, Space, TuningSearch
from pruning_study.study.tuning.winner_comparisons import comparisons
from pruning_study.tracking import connect, views
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions

# Params that differ between the networks of a search
TRIAL_PARAMS = {schema.SEED, schema.EPSILON, schema.RATIO}


class Network(SearchedNetwork):
    """A dense network that every trial prunes."""

    @property
    def before(self) -> Predictions:
        """Predictions of the dense model for the validation images."""
        return self.dense.dense.val_predictions

    def after(self, point: Point) -> Predictions:
        """Prune and fine-tune the model as a trial does, and predict the validation images.

        Because class offsets are fitted on validation images, each image is predicted with offsets that were fitted
        without it. Otherwise, a trial would be judged by the images that it learned from.
        """
        return pruned.trial(self.with_options(point).at(point.ratio), self.context, self.dense)

    def with_options(self, point: Point) -> Pruning:
        """Return the plan with the options that a trial tries."""
        return plan_pruning(replace(self.plan.options, epsilon=point.epsilon, ratio=(point.ratio,)), self.context)


def tune(config: TuneConfig, options: Mapping[str, str]) -> str:
    """Start or continue a search for the best epsilon and other options, and compare the winner with the anchors.

    Parameters
    ----------
    config : TuneConfig
    options : mapping of str
        The options as typed, which become the params of the job.

    Returns
    -------
    str
        The text to print.

    Raises
    ------
    StudyError
        Before any training: if a ratio or a ramp cannot be attained, or if a search of this name has another search
        space. Later: if alpha needs more validation images, if the search has trials of other dense networks, if the
        training of a dense network, an anchor or the winner diverges, or if the store rejects a run.
    """
    store = connect.connect(config.experiment)
    views.write(store, views.SEARCHES)
    options_of_first = config.pruning(config.seeds[0])
    context = load_context(options_of_first)
    plan = plan_pruning(options_of_first, context)
    planned = [(plan, context), *(of_seed(plan, context, seed) for seed in config.seeds[1:])]
    space = search_space(config, plan, store.experiment_id)
    search = TuningSearch(store, config.study_name or space.default_name(plan), space)
    with store.job(f"tune {config.objective} {search.name}", options) as job:
        networks = [Network.trained(each, JobContext(in_memory, store, job.run_id)) for each, in_memory in planned]
        if config.objective != "accuracy":
            _check_alpha(networks)
        search.check_networks([network.before for network in networks])
        with search.run(context.mlflow_dataset, job.run_id) as parent:
            job.tags({schema.TUNING_RUN_ID: parent.run_id})
            attempt = partial(_try, search, networks)
            search.make_trials(config.n_trials, attempt, context.mlflow_dataset, parent.run_id)
            result = _result(search, networks, config)
            _log(parent, search, result)
    next_steps = _next_steps(store, search, config, parent.run_id)
    said = [
        "",
        _table(result),
        "",
        folded(*tuning_text.ANCHORS_NOTE.splitlines()),
        "",
        folded(*tuning_text.summary(result).splitlines()),
        "",
    ]
    return "\n".join([*said, *next_steps])


def search_space(config: TuneConfig, plan: Pruning, experiment_id: str) -> Space:
    params = hashed_params(plan.at(plan.options.ratio[0]).params)
    return Space(
        objective=config.objective,
        ratios=config.ratio,
        usual_epsilon=plan.epsilon,
        settings={
            **{name: value for name, value in params.items() if name not in TRIAL_PARAMS},
            schema.SEEDS: text(config.seeds),
            "experiment": experiment_id,
        },
    )


def _check_alpha(networks: Sequence[Network]) -> None:
    """Raise a StudyError unless the dense models' recalls differ between classes by more than sampling noise."""
    before = [network.before for network in networks]
    recalls = objectives.measure_recalls(before, before, len(networks[0].context.data.classes))
    reliability = alpha_new(recalls.before, recalls.before, recalls.before, recalls.support).reliability
    if not reliability > 0:
        raise StudyError(
            "there are too few validation images to tell the classes' recalls apart, so alpha cannot be estimated: "
            "give a larger --validation-fraction or more --seeds",
            option="objective",
        )


def _try(search: TuningSearch, networks: Sequence[Network], trial: Trial, run: Writer) -> str:
    """Make a trial, and return a line about it; a trial whose training diverges counts too, unless it is an anchor."""
    point = search.point(trial)
    dense_accuracies = np.array([network.before.accuracy for network in networks])
    try:
        recalls, stopped = _pruned_recalls(search, networks, trial, point, dense_accuracies)
    except NotFiniteError as error:
        if schema.ANCHOR in trial.user_attrs:
            raise
        search.refuse(trial, str(error))
        run.tags({schema.ERROR: first_line(error)})
        return f"{search.describe(trial)}: {error}"
    values = search.record(trial, recalls, stopped=stopped)
    if stopped:
        values["accuracy"] = objectives.expected_accuracy(recalls, dense_accuracies)
    names = {schema.VAL_ACCURACY: "accuracy", schema.VAL_DISTORTION: "distortion"}
    for index in range(len(recalls)):
        run.metrics({name: values[f"{key}/{index}"] for name, key in names.items()}, step=index)
    # MLflow's tables show and sort the value of the last step.
    run.metrics({name: values[key] for name, key in names.items()}, step=len(recalls))
    run.metrics({schema.TRIAL_ACCURACY: values["accuracy"], schema.TRIAL_DISTORTION: values["distortion"]})
    accuracy = f"{search.describe(trial)}: validation accuracy {values['accuracy']:.4f}"
    return f"{accuracy} expected over all seeds; stopped as hopeless" if stopped else accuracy


def _pruned_recalls(
    search: TuningSearch, networks: Sequence[Network], trial: Trial, point: Point, dense_accuracies: np.ndarray
) -> tuple[PairedRecalls, bool]:
    """Prune one dense model after another, until the trial is hopeless; return recalls, and whether it is hopeless."""
    classes = len(networks[0].context.data.classes)
    before: list[Predictions] = []
    after: list[Predictions] = []
    for network in networks:
        before.append(network.before)
        after.append(network.after(point))
        recalls = objectives.measure_recalls(before, after, classes)
        if search.is_hopeless(trial, recalls, dense_accuracies):
            return recalls, True
    return recalls, False


def _result(search: TuningSearch, networks: Sequence[Network], config: TuneConfig) -> Tuning:
    """Choose the winner, and test it and the anchors on the dense models of the search and on new ones."""
    trials = search.trials()
    best = objectives.winner(trials, config.objective)
    trials = trials.assign(
        eligible=objectives.eligible(trials), front=objectives.pareto_front(trials), winner=trials.index == best.trial
    )
    winning_point = Point(*map(float, trials.loc[best.trial, list(Point._fields)]))
    points = {WINNER: winning_point, **search.space.anchors(winning_point.ratio)}
    test_rows = partial(_test, points)
    rows = [row for network in networks for row in test_rows(network, new=False)]
    for network in new_networks(networks, config.confirm_seeds):
        rows += test_rows(network, new=True)
    # What a search once chose, as every trial of this one has it
    fixed = {schema.RAMP: config.ramp if config.schedule == CUBIC else 0.0, schema.DISTILL: config.distill}
    fixed |= {"strength": 0.0}
    trials, finalists = trials.assign(**fixed), pd.DataFrame(rows).assign(**fixed)
    return Tuning(
        name=search.name,
        objective=config.objective,
        reason=objectives.reason(trials, config.objective, best),
        trials=trials,
        finalists=finalists,
        comparisons=comparisons(finalists, config.objective),
        refused=tuple(search.refused()),
    )


def _test(points: Mapping[str, Point], network: Network, *, new: bool) -> Iterator[dict[str, float | str | bool]]:
    """Find or make the pruned runs of a dense model, and yield a row of the finalists' table for each."""
    context, data = network.context, network.context.data
    for role, point in points.items():
        _, run = lineage(network.with_options(point), context, network.dense)
        guesses = [runs.is_at_chance(metrics, data) for metrics in (network.dense.metrics, run.metrics)]
        yield {
            "role": role,
            **point._asdict(),
            schema.SEED: network.plan.options.seed,
            "new": new,
            "accuracy": run.metrics[schema.TEST_ACCURACY],
            "alpha": run.metrics.get(schema.ALPHA, np.nan),
            "at_chance": any(guesses),
            "run_id": run.run_id,
        }


def _log(parent: Writer, search: TuningSearch, result: Tuning) -> None:
    csv_text.write(result.trials, parent.folder / schema.TRIALS)
    csv_text.write(result.finalists, parent.folder / schema.FINALISTS)
    csv_text.write(result.comparisons, parent.folder / schema.COMPARISONS)
    summary = {
        "study_name": result.name,
        schema.OBJECTIVE: result.objective,
        "reason": result.reason,
        "refused": result.refused,
    }
    (parent.folder / schema.TUNING_SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
    for name, figure in tuning_figures.figures(result).items():
        figure.savefig(parent.folder / f"{name}.png")
    winner = result.winner
    parent.metrics({schema.TRIAL_ACCURACY: winner["accuracy"], schema.TRIAL_DISTORTION: winner["distortion"]})
    parent.tags(Point(*map(float, winner[list(Point._fields)])).params)


def _table(result: Tuning) -> str:
    table = tuning_text.table(result)
    return text_table(list(table.columns), table.to_numpy().tolist())


def _next_steps(store: Store, search: TuningSearch, config: TuneConfig, parent_run_id: str) -> list[str]:
    journal, name = shlex.quote(str(search.journal)), shlex.quote(search.name)
    trials = f"{search.count()} of {config.n_trials} trials"
    return [
        f"the search:   run {parent_run_id}, {trials}; repeat the command to continue it",
        f"its trials:   Optuna's study {name} in {journal}",
        f"              optuna trials --storage {journal} --storage-class JournalFileBackend --study-name {name}",
        f"              pip install optuna-dashboard, then: optuna-dashboard {journal}",
        f"the runs:     {store.how_to_look(indent=14)}",
    ]
