"""The command `compress`: the smallest network of which no class loses more than is allowed."""

import logging
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import mlflow
import pandas as pd
import torch
from mlflow.entities import LoggedModel
from optuna import Trial

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.rendering.markdown_text import markdown_line
from analysis.runs import schema
from analysis.statistics import limits as class_limits
from analysis.statistics.limits import Limits
from pruning_study import __version__
from pruning_study.commands.train_and_prune import dense_run, opened
from pruning_study.models import onnx_export
from pruning_study.options.config import CompressConfig
from pruning_study.steps import compressed, logged_model, shrunk
from pruning_study.steps import dense as dense_step
from pruning_study.steps.runs import LoadedRun
from pruning_study.steps.settings import PruneSetting
from pruning_study.study.compression import figures, judgement, report, trying
from pruning_study.study.compression.chains import Chain, chain_of
from pruning_study.study.compression.report import BATCHES, Outcome, Tested
from pruning_study.study.compression.search import ChainSearch
from pruning_study.study.compression.trying import Network
from pruning_study.tracking import logged_models, reach
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

WAIT_SECONDS = 1

log = logging.getLogger(__name__)


class Compressed(NamedTuple):
    """What the command found.

    Attributes
    ----------
    text : str
        The lines to print.
    outcome : Outcome
    job_run_id : str
    run_id : str
        The compressed run of the choice; empty if no chain keeps to the limits.
    """

    text: str
    outcome: Outcome
    job_run_id: str
    run_id: str


def compress(config: CompressConfig, options: Mapping[str, str]) -> Compressed:
    """Search chains, choose one on validation images, test it on test images, and deliver it.

    Parameters
    ----------
    config : CompressConfig
    options : mapping of str
        The options as typed, which become the params of the job.

    Raises
    ------
    StudyError
        Before any training: if a package is missing, if the validation images are too few for the limits, or if a
        search of this name has another space. Later: if the dense network guesses, if the budget ends before a chain,
        or if no chain can be made.
    """
    start = time.monotonic()
    onnx_export.check_installed()
    shrunk.check_package()
    limits = class_limits.in_points(config.max_class_loss, config.max_accuracy_loss)
    store, setting, given = opened(config.pruning, PruneSetting)
    judgement.check_images(setting.validation_support, setting.data.classes, limits)
    more = {"experiment": store.experiment_id, "dense_run": given.info.run_id if given else ""}
    space, notes = trying.space_of(setting, config.minimize, more)
    default_name = f"{setting.data.name}-{setting.config.model.replace(':', '-')}-{config.minimize}-{space.digest[:8]}"
    search = ChainSearch(store, config.study_name or default_name, space)
    with store.job(f"compress {search.name}", options) as job:
        dense = dense_run(store, job, setting, given)
        trying.check_better_than_chance(dense, setting)
        _check_new_networks(config, dense)
        network = Network(store, job.run_id, setting, dense)
        _search(store, search, network, config, start)
        trials = _trials(search, config, time.monotonic() - start)
        outcome = _outcome(search, network, config, limits, trials, notes)
        delivered = _deliver(store, job, network, search, outcome)
        run_id, model = delivered or ("", None)
        registered = _register(store, job, model, config, outcome) if model and config.register else []
    where = [*registered, *_where(store, search, job.run_id, run_id, config)]
    text = "\n".join([*report.lines(outcome), "", *where])
    return Compressed(text, outcome, job.run_id, run_id)


def _check_new_networks(config: CompressConfig, dense: LoadedRun) -> None:
    if config.confirm_seeds and schema.WEIGHTS_DIGEST in dense.dense.params:
        raise StudyError(
            f"dense run {dense.run_id} was not trained here, so that no new network can be: leave it out",
            option="confirm_seeds",
        )


def _search(store: Store, search: ChainSearch, network: Network, config: CompressConfig, start: float) -> None:
    """Make the chains that are missing, and wait for those that other processes are making."""
    while time.monotonic() - start < (config.budget or math.inf):
        with search.trial(config.n_trials, late=False) as trial:
            if trial:
                _try(store, search, network, trial)
                continue
        if not search.running():
            return
        time.sleep(WAIT_SECONDS)


def _try(store: Store, search: ChainSearch, network: Network, trial: Trial) -> None:
    """Make a chain; one that cannot be made is told once and counts."""
    chain = search.chain(trial)
    try:
        search.record(trial, network.judged(chain, search.space.minimize))
    except StudyError as error:
        if isinstance(error.__cause__, OSError):  # such as a full disk, which is no fault of the chain
            raise
        reach.ensure(store.uri)  # nor is a store that is gone
        log.warning("%s cannot be made: %s", chain, error)
        search.refuse(trial, str(error))
    search.end(trial.number)


def _trials(search: ChainSearch, config: CompressConfig, seconds: float) -> pd.DataFrame:
    """Return the chains that could be made; an error if there is none."""
    trials = search.trials()
    if len(trials):
        return trials
    if refused := search.refused():
        chain, reason = next(iter(refused.items()))
        raise StudyError(f"no chain can be made; the first, {chain}: {reason}")
    raise StudyError(
        f"{config.budget:g} seconds are over before the first chain is made, after {seconds:.0f} seconds in which the "
        "dense network was trained or loaded: give more, and the command goes on from there",
        option="budget",
    )


def _outcome(
    search: ChainSearch,
    network: Network,
    config: CompressConfig,
    limits: Limits,
    trials: pd.DataFrame,
    notes: list[str],
) -> Outcome:
    """Choose a chain, and test it and what accuracy alone would choose."""
    chains = [chain_of(row) for _, row in trials.iterrows()]
    choice = judgement.choose(trials, limits)
    best, _, by_accuracy = choice
    tested, confirmed, times = None, None, []
    if best is not None:
        tested, confirmed = _tested(network, chains[best], limits), _confirmed(network, chains[best], limits, config)
        model = network.model(network.make(chains[best]))
        times = compressed.compared(network.dense_model, model, network.setting.data.test_images, BATCHES)
    other = chains[by_accuracy] if by_accuracy is not None and by_accuracy != best else None
    return Outcome(
        minimize=search.space.minimize,
        limits=limits,
        chains=chains,
        trials=trials,
        choice=choice,
        notes=[*notes, *(f"{chain} cannot be made: {reason}." for chain, reason in search.refused().items())],
        tested=tested,
        by_accuracy=_tested(network, other, limits) if other else None,
        confirmed=confirmed,
        times=times,
    )


def _tested(network: Network, chain: Chain, limits: Limits) -> Tested:
    data = network.setting.data
    return report.tested(chain, data.classes, data.test_labels, network.tested(chain), limits)


def _confirmed(network: Network, chain: Chain, limits: Limits, config: CompressConfig) -> Tested | None:
    """Make the chain of new dense networks, and test them together."""
    if not config.confirm_seeds:
        return None
    setting, store, job_run_id = network.setting, network.store, network.job_run_id
    sides = []
    for seed in range(setting.config.seed + 1, setting.config.seed + 1 + config.confirm_seeds):
        own = PruneSetting(replace(setting.config, seed=seed, dense_run_id=None), setting.data)
        dense = dense_step.train(store, job_run_id, own)
        sides.append(Network(store, job_run_id, own, dense).tested(chain))
    data = setting.data
    return report.tested(chain, data.classes, data.test_labels, trying.joined(sides), limits)


def _deliver(
    store: Store, job: Writer, network: Network, search: ChainSearch, outcome: Outcome
) -> tuple[str, LoggedModel] | None:
    """Write the artifacts of the job, and log the choice as an MLflow model; return its run and the model."""
    setting, trials, choice = network.setting, outcome.trials, outcome.choice
    csv_text.write(trials, job.folder / schema.TRIALS)
    title = f"{search.name}: cost and loss of {len(trials)} chains"
    front = figures.front(trials, choice, outcome.limits, outcome.minimize, title)
    front.savefig(job.folder / schema.FRONT_PICTURE)
    job.note("\n".join(f"- {markdown_line(line)}" for line in report.sentences(outcome)))
    job.tags({schema.STUDY_NAME: search.name, schema.STATE: outcome.state})
    if choice.best is None or outcome.tested is None:
        return None
    chain, run_id = outcome.chains[choice.best], str(trials.loc[choice.best, "run_id"])
    model = compressed.onnx_model(store, run_id)
    logged = logged_model.logged(store, setting, store.get(run_id), model)
    (job.folder / schema.COMPRESSED_MODEL).write_bytes(model.SerializeToString())
    csv_text.write(outcome.tested.classes, job.folder / schema.CLASS_LOSSES)
    picture = figures.classes(outcome.tested.classes, f"{setting.config.model} on {setting.data.name}: {chain}")
    picture.savefig(job.folder / schema.CLASSES_PICTURE)
    card = report.model_card(
        outcome,
        f"{setting.config.model} on {setting.data.name}, compressed",
        _made(network, search, chain, run_id),
        _loading(logged),
    )
    (job.folder / schema.MODEL_CARD).write_text(card)
    job.tags({schema.COMPRESSED_RUN_ID: run_id})
    job.metrics(_metrics(outcome, choice.best))
    return run_id, logged


def _register(store: Store, job: Writer, model: LoggedModel, config: CompressConfig, outcome: Outcome) -> list[str]:
    """Register the choice if test images confirm it, and return the line that says so."""
    name = str(config.register)
    if outcome.state != "within":
        return [f"registered:      not as {name}, since test images do not confirm the choice"]
    version = logged_models.register(store, model, name)
    job.tags({"registered_model": f"{name} version {version}"})
    return [f"registered:      {name}, version {version}"]


def _metrics(outcome: Outcome, best: int) -> dict[str, float]:
    """Return the size of the choice, and its losses on test images."""
    row, table = outcome.trials.loc[best], outcome.tested.losses if outcome.tested else pd.DataFrame()
    return {
        schema.MODEL_BYTES: float(row["model_bytes"]),
        schema.MACS: float(row["macs"]),
        "accuracy_loss_upper": float(table["high"].iloc[0]),
        "worst_class_loss_upper": float(judgement.worst(table)["high"]),
        **{f"latency_share/{size}": times.share.median for size, times in zip(BATCHES, outcome.times, strict=True)},
    }


def _made(network: Network, search: ChainSearch, chain: Chain, run_id: str) -> dict[str, str]:
    setting, dense = network.setting, network.dense
    parent = network.store.get(run_id).data.tags.get(schema.PARENT_RUN_ID, "")
    return {
        "data set": f"{setting.data.name}, digest {setting.data.digest}",
        "network": f"{setting.config.model}, seed {dense.dense.params.get(schema.SEED, '')}, dense run {dense.run_id}",
        "chain": str(chain),
        "pruned run": parent if chain.prunes else "none",
        "compressed run": run_id,
        "search": f"{search.name} in {search.journal.name}",
        "made with": f"pruning-study {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"MLflow {mlflow.__version__}",
    }


def _loading(model: LoggedModel) -> str:
    return f'import mlflow\n\nmodel = mlflow.pyfunc.load_model("models:/{model.model_id}")'


def _where(store: Store, search: ChainSearch, job_run_id: str, run_id: str, config: CompressConfig) -> list[str]:
    """Return where the results are, and how to go on."""
    files = [schema.COMPRESSED_MODEL, schema.MODEL_CARD] if run_id else []
    tried = f"{search.name}, {search.count()} of {config.n_trials} chains; repeat the command to continue it"
    return [
        *(f"{name + ':':<17}{store.artifact_location(job_run_id, name)}" for name in [*files, schema.FRONT_PICTURE]),
        f"the search:      {tried}",
        f"the runs:        {store.how_to_look(indent=17)}",
    ]
