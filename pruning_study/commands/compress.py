"""The command `compress`: find the smallest or fastest network in which no class loses more recall than allowed."""

import logging
import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.entities import Run
from optuna import Trial

from analysis.common import csv_text
from analysis.common.errors import StudyError, first_line, option_name
from analysis.compare import likely_losses
from analysis.compare.logged import loss_metrics, loss_tags
from analysis.rendering import chain_front
from analysis.rendering.formats import markdown_line
from analysis.runs import chain_searches, schema
from analysis.runs.chain_searches import ChainTrials
from analysis.statistics import limits as class_limits
from analysis.statistics.limits import Limits
from analysis.statistics.pareto import choose, on_front
from pruning_study import __version__
from pruning_study.commands.train_and_prune import begun, opened
from pruning_study.models import onnx_export
from pruning_study.options.config import CompressConfig
from pruning_study.steps import deployed, known_images, logged_model, shrunk
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.followed import with_followed
from pruning_study.steps.plan import Pruning, plan_pruning
from pruning_study.steps.runs import LoadedRun
from pruning_study.study.compression import figures, judgement, report, trying
from pruning_study.study.compression.chains import Chain, chain_of
from pruning_study.study.compression.report import BATCHES, Outcome, Tested
from pruning_study.study.compression.search import ChainSearch
from pruning_study.study.compression.trying import Network
from pruning_study.study.searched_networks import new_networks, of_seed
from pruning_study.tracking import reach
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

log = logging.getLogger(__name__)


class Compressed(NamedTuple):
    """The result of the command `compress`.

    Attributes
    ----------
    text : str
        The lines to print.
    outcome : Outcome
    job_run_id : str
    run_id : str
        The compressed run of the chosen chain; empty if no chain stays within the limits.
    """

    text: str
    outcome: Outcome
    job_run_id: str
    run_id: str


def compress(configs: Sequence[CompressConfig], options: Mapping[str, str]) -> Compressed:
    """Try chains, choose one on validation images, test it on test images, and write its network.

    Parameters
    ----------
    configs : sequence of CompressConfig
        One for each seed. Chains are judged on the networks of all seeds together; the network of the first seed is
        delivered.
    options : mapping of str
        The options as typed, for the job's params; a named dense run replaces those for the dense model.

    Raises
    ------
    StudyError
        Before any training: if a package is missing, if the protocol of the named dense run chooses epochs by test
        images, if the validation images are too few for the limits, or if a search of this name has another search
        space. Later: if a dense network is at chance, if the search has trials of other dense networks, if the budget
        ends before the first chain is made, or if no chain can be made.
    """
    start, config = time.monotonic(), configs[0]
    task = opened_task(configs)
    store, search = task.store, task.search
    with store.job(f"compress {search.name}", with_followed(options, task.given_run)) as job:
        networks = dense_networks(task, job)
        _check_new_networks(config, networks[0].dense)
        search.check_networks([network.dense.dense.val_predictions for network in networks])
        dataset = networks[0].context.mlflow_dataset
        with search.run(dataset, job.run_id) as parent:
            job.tags({schema.TUNING_RUN_ID: parent.run_id})
            attempt, deadline = partial(_try, store, search, networks), start + (config.budget or math.inf)
            search.make_trials(config.n_trials, attempt, dataset, parent.run_id, deadline=deadline)
            trials = _trials(search, config, time.monotonic() - start)
        notes = [*task.notes, *_likely(networks, task.limits)]
        outcome = _outcome(search, networks, config, task.limits, trials, notes)
        run_id = _deliver(store, job, networks, search, outcome)
    where = _where(store, search, job.run_id, run_id, config)
    text = "\n".join([*report.lines(outcome), "", *where])
    return Compressed(text, outcome, job.run_id, run_id)


class Task(NamedTuple):
    """A search, with the plans, data and limits that it needs.

    Attributes
    ----------
    store : Store
    plans, contexts : sequences of Pruning and Context
        One plan and one context per network; a chain changes the options of the plan.
    given_run : Run, optional
        The dense run that the options name.
    limits : Limits
    search : ChainSearch
    notes : sequence of str
        Sentences on the steps that are not tried, and on the networks on which chains are judged.
    """

    store: Store
    plans: Sequence[Pruning]
    contexts: Sequence[Context]
    given_run: Run | None
    limits: Limits
    search: ChainSearch
    notes: Sequence[str]


def opened_task(configs: Sequence[CompressConfig]) -> Task:
    """Open a new or existing search for these options; `compress` describes the parameters and errors."""
    config = configs[0]
    given = next((option_name(name) for name in ("dense_run_id", "weights") if getattr(config, name)), "")
    if len(configs) > 1 and given:
        raise StudyError(f"{given} names one network: give one seed, or leave {given} out", option="seed")
    onnx_export.check_installed()
    shrunk.check_package()
    limits = class_limits.in_points(config.max_class_loss, config.max_accuracy_loss)
    store, plan, context, dense_run = opened(config.pruning, plan_pruning, known_images.OF_COMPRESS)
    _check_protocol(plan)
    others = [of_seed(plan, context, other.seed) for other in configs[1:]]
    plans, contexts = [plan, *(own for own, _ in others)], [context, *(own for _, own in others)]
    held_out, images = _images_for_validation(contexts)
    judgement.check_images(held_out, images, context.data.classes, limits, is_trained=dense_run is not None)
    more = {"experiment": store.experiment_id, "dense_run": dense_run.info.run_id if dense_run else ""}
    if len(configs) > 1:
        more["seeds"] = schema.text(tuple(each.seed for each in configs))
    space, notes = trying.space_of(plan, context, config.minimize, more)
    search = ChainSearch(store, config.study_name or space.default_name(plan), space)
    return Task(store, plans, contexts, dense_run, limits, search, [*notes, *_on_networks(configs)])


def dense_networks(task: Task, job: Writer) -> list[Network]:
    """Find or train the dense networks of a search; raise a StudyError if one of them is at chance."""
    networks: list[Network] = []
    for plan, in_memory in zip(task.plans, task.contexts, strict=True):
        context = JobContext(in_memory, task.store, job.run_id)
        network = (
            Network.trained(plan, context)
            if networks
            else Network(plan, context, begun(plan, context, job, task.given_run)[0])
        )
        trying.check_better_than_chance(network.dense)
        networks.append(network)
        context.forget_images()
    return networks


def _check_protocol(plan: Pruning) -> None:
    """Raise a StudyError if a named dense run has a protocol with which fine-tuning sees test images."""
    if plan.options.protocol_record.selects_on_test:
        raise StudyError(
            f"this run's protocol, {plan.options.protocol}, keeps the epoch with the lowest test loss, which a search "
            "must not see: name a run of --protocol paper",
            option="dense_run_id",
        )


def _images_for_validation(contexts: Sequence[Context]) -> tuple[np.ndarray, np.ndarray]:
    """Count, per class, the distinct validation images of all networks, and the images from which these are drawn."""
    data = contexts[0].data
    label = np.asarray(data.train_labels)
    images = np.unique(np.concatenate([context.validation_indices for context in contexts]))
    held_out, whole = (np.bincount(part, minlength=len(data.classes)) for part in (label[images], label))
    return held_out, whole if data.validation_indices is None else held_out


def _on_networks(configs: Sequence[CompressConfig]) -> list[str]:
    """Describe the networks on which chains are judged, if there are several."""
    if len(configs) == 1:
        return []
    return [
        f"Losses are means over the networks of {len(configs)} seeds; each chain is applied to all of them. The "
        f"delivered network is that of seed {configs[0].seed}."
    ]


def _check_new_networks(config: CompressConfig, dense: LoadedRun) -> None:
    if config.confirm_seeds and dense.dense.is_given:
        raise StudyError(
            f"dense run {dense.run_id} was not trained here, so new networks cannot be trained: leave this option out",
            option="confirm_seeds",
        )


def _try(store: Store, search: ChainSearch, networks: Sequence[Network], trial: Trial, run: Writer) -> str:
    """Try a chain, and return a line about it; a chain that cannot be made counts as a trial too."""
    chain = search.chain(trial)
    try:
        result = trying.judge(networks, chain, search.space.minimize)
        search.record(trial, result)
        run.metrics(result.metrics)
        run.tags({schema.WORST_CLASS: result.worst_class, schema.COMPRESSED_RUN_ID: result.run_id})
        return report.progress(chain, result, search.space.minimize)
    except StudyError as error:
        if isinstance(error.__cause__, OSError):  # a full disk, for example, is not the chain's fault
            raise
        reach.ensure(store.uri)  # raises if the store is gone: that is not the chain's fault either
        search.refuse(trial, str(error))
        run.tags({schema.ERROR: first_line(error)})
        return f"{chain} cannot be made: {error}"


def _trials(search: ChainSearch, config: CompressConfig, seconds: float) -> pd.DataFrame:
    """Return a row for each chain that could be made; raise a StudyError if there is none."""
    trials = search.trials()
    if len(trials):
        return trials
    if refused := search.refused():
        chain, reason = next(iter(refused.items()))
        raise StudyError(f"no chain can be made; the first tried was {chain}: {reason}")
    raise StudyError(
        f"the {config.budget:g} seconds ended before the first chain was made, because training or loading the dense "
        f"network took {seconds:.0f} seconds: give more, and the command continues the search",
        option="budget",
    )


def _outcome(
    search: ChainSearch,
    networks: Sequence[Network],
    config: CompressConfig,
    limits: Limits,
    trials: pd.DataFrame,
    notes: Sequence[str],
) -> Outcome:
    """Choose a chain, and test it beside the chain that accuracy alone would choose."""
    chains = [chain_of(row) for _, row in trials.iterrows()]
    choice = choose(trials, limits)
    best, _, by_accuracy = choice
    tested, confirmed, times = None, None, []
    if best is not None:
        tested, confirmed = _tested(networks, chains[best], limits), _confirmed(networks, chains[best], limits, config)
        network = networks[0]
        model = network.model(network.make(chains[best]))
        times = deployed.compared(network.dense_model, model, network.context.data.test_images, BATCHES)
    other = chains[by_accuracy] if by_accuracy is not None and by_accuracy != best else None
    return Outcome(
        minimize=search.space.minimize,
        limits=limits,
        chains=chains,
        trials=trials,
        choice=choice,
        notes=[*notes, *(f"{chain} cannot be made: {reason}." for chain, reason in search.refused().items())],
        tested=tested,
        by_accuracy=_tested(networks, other, limits) if other else None,
        confirmed=confirmed,
        times=times,
    )


def _likely(networks: Sequence[Network], limits: Limits) -> Iterator[str]:
    """Return a sentence on what the limit of accuracy is likely to cost the weakest class."""
    classes = networks[0].context.data.classes
    counts = [network.dense.dense.val_predictions.counts(len(classes)) for network in networks]
    recall = np.mean([each.recall for each in counts], axis=0)
    return likely_losses.sentence(classes, recall, counts[0].support, limits.accuracy_loss)


def _tested(networks: Sequence[Network], chain: Chain, limits: Limits) -> Tested:
    return Tested(chain, trying.compared(networks, chain), limits)


def _confirmed(networks: Sequence[Network], chain: Chain, limits: Limits, config: CompressConfig) -> Tested | None:
    """Apply the chain to new dense networks, and test the results together."""
    if not config.confirm_seeds:
        return None
    new = list(trying.in_turn(new_networks(networks, config.confirm_seeds)))
    return _tested(new, chain, limits)


def _deliver(store: Store, job: Writer, networks: Sequence[Network], search: ChainSearch, outcome: Outcome) -> str:
    """Write the job's artifacts, and log the chosen network as an MLflow model; return its run id, or "" if none is."""
    context, trials, choice = networks[0].context, outcome.trials, outcome.choice
    subject = f"{networks[0].plan.options.model} on {context.data.name}"
    csv_text.write(trials, job.folder / schema.TRIALS)
    tried = trials.assign(chain=list(map(str, outcome.chains)))
    limits = outcome.limits
    of_losses = limits.class_loss, limits.accuracy_loss
    searched = ChainTrials(search.name, outcome.minimize, *of_losses, tried, context.data.name)
    (job.folder / schema.CHAINS).write_text(chain_searches.described(searched), encoding="utf-8")
    front = chain_front.front(searched, on_front(trials), choice.best, choice.by_accuracy)
    front.savefig(job.folder / schema.FRONT_PICTURE)
    job.note("\n".join(f"- {markdown_line(line)}" for line in report.sentences(outcome)))
    job.tags({schema.STUDY_NAME: search.name, schema.STATE: outcome.state, schema.MINIMIZE: outcome.minimize})
    if choice.best is None or outcome.tested is None:
        return ""
    chain = outcome.chains[choice.best]
    run_id = networks[0].make(chain).run_id  # not the trial's run, which may have been deleted since
    model = logged_model.stored(store, run_id)
    logged = logged_model.logged(store, context, store.get(run_id), model)
    (job.folder / schema.COMPRESSED_MODEL).write_bytes(model.SerializeToString())
    csv_text.write(outcome.tested.classes, job.folder / schema.CLASS_LOSSES)
    picture = figures.classes(outcome.tested.classes, f"{subject}: {chain}", outcome.tested.networks)
    picture.savefig(job.folder / schema.CLASSES_PICTURE)
    card = report.model_card(
        outcome,
        f"{subject}, compressed",
        _describe_making(networks, search, chain, run_id),
        f'import mlflow\n\nmodel = mlflow.pyfunc.load_model("models:/{logged.model_id}")',
        context.data.image_shape,
    )
    (job.folder / schema.MODEL_CARD).write_text(card, encoding="utf-8")
    job.tags({schema.COMPRESSED_RUN_ID: run_id} | loss_tags(outcome.tested.comparison))
    job.metrics(_metrics(outcome, choice.best) | loss_metrics(outcome.tested.comparison))
    return run_id


def _metrics(outcome: Outcome, best: int) -> dict[str, float]:
    """Return metrics of the chosen network: size, MACs and latencies.

    Latencies are shares of those of the dense network.
    """
    row = outcome.trials.loc[best]
    return {
        schema.MODEL_BYTES: float(row["model_bytes"]),
        schema.MACS: float(row["macs"]),
        **{f"latency_share/{size}": times.share.median for size, times in zip(BATCHES, outcome.times, strict=True)},
    }


def _describe_making(networks: Sequence[Network], search: ChainSearch, chain: Chain, run_id: str) -> dict[str, str]:
    plan, data, dense = networks[0].plan, networks[0].context.data, networks[0].dense
    parent = networks[0].context.store.get(run_id).data.tags.get(schema.PARENT_RUN_ID, "")
    return {
        "data set": f"{data.name}, digest {data.digest}",
        "network": f"{plan.options.model}, seed {dense.dense.params.get(schema.SEED, '')}, dense run {dense.run_id}",
        **({"judged on": f"dense runs {', '.join(each.dense.run_id for each in networks)}"} if networks[1:] else {}),
        "chain": str(chain),
        "pruned run": parent if chain.prunes else "none",
        "compressed run": run_id,
        "search": f"{search.name} in {search.journal.name}",
        "made with": f"pruning-study {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"MLflow {mlflow.__version__}",
    }


def _where(store: Store, search: ChainSearch, job_run_id: str, run_id: str, config: CompressConfig) -> list[str]:
    """Return lines that tell where the results are and how to continue the search."""
    files = [schema.COMPRESSED_MODEL, schema.MODEL_CARD] if run_id else []
    tried = search.count()
    go_on = "repeat the command to continue" if tried < config.n_trials else "a larger --n-trials continues it"
    if search.is_exhausted():
        go_on = "all chains for this network have been tried"
    return [
        *(f"{name + ':':<17}{store.artifact_location(job_run_id, name)}" for name in [*files, schema.FRONT_PICTURE]),
        f"the search:      {search.name}, {tried} of {config.n_trials} chains; {go_on}",
        f"the runs:        {store.how_to_look(indent=17)}",
    ]
