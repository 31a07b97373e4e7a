"""The command `iterate`: prune a network repeatedly, and report accuracy, slopes and weakest class."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import option_name
from analysis.common.printable import folded, printable
from analysis.runs import schema
from pruning_study.commands import train_and_prune
from pruning_study.commands.pruning_text import SAME_NETWORK
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.options.record import AUTO
from pruning_study.steps import controls, pictures, runs, shrunk
from pruning_study.steps.class_changes import class_changes
from pruning_study.steps.context import JobContext
from pruning_study.steps.followed import with_followed
from pruning_study.steps.iterated import Chain, plan_chain
from pruning_study.steps.runs import FinishedRun, LoadedRun, lines_on_found
from pruning_study.training import progress

Say = Callable[[str], object]

HEADER = (
    f"{'iteration':>9}  {'sparsity':>8}  {'ratio':>7}  {'accuracy':>8}  {'alpha':>7}  {'raw slope':>9}  weakest class"
)


class Iterated(NamedTuple):
    """A dense run, and the runs that were pruned one after another from it, keyed by iteration from 1."""

    plan: Chain
    context: JobContext
    dense: LoadedRun
    levels: Mapping[int, FinishedRun]


def iterate_each(configs: Sequence[IterateConfig], options: Mapping[str, str], say: Say) -> Iterator[str]:
    """Make or find the chain of each seed, and yield the lines to print; `each_iterated` describes the parameters."""
    for result in each_iterated(configs, options, say):
        last = list(result.levels.values())[-1]
        yield "\n".join(
            [
                *_at_chance(result),
                "",
                f"dense run: {result.dense.run_id}",
                f"last iteration: {last.run_id}",
                *lines_on_found([result.dense, *result.levels.values()]),
                *train_and_prune.what_next(result.context.store, last.run_id, result.plan.options),
            ]
        )
    if len(configs) > 1 and result.dense.dense.is_given:
        yield f"\n{folded(SAME_NETWORK)}"


def each_iterated(
    configs: Sequence[IterateConfig], options: Mapping[str, str], say: Say = lambda line: None
) -> Iterator[Iterated]:
    """Make or find the chain of each seed, in a job of its own.

    Parameters
    ----------
    configs : sequence of IterateConfig
        They differ only in the seed.
    options : mapping of str
        The options as typed, for the jobs' params; each job logs its own seed.
    say : callable
        Prints lines while the iterations run.

    Raises
    ------
    StudyError
        If several seeds are given with one dense run.
    """
    train_and_prune.check_one_seed(configs)

    def make(config: IterateConfig, options: Mapping[str, str]) -> Iterated:
        if len(configs) > 1:
            say(f"\nseed {config.seed}")
        return _make(config, options, say)

    return train_and_prune.each_seed(configs, options, make)


def _make(config: IterateConfig, options: Mapping[str, str], say: Say) -> Iterated:
    store, plan, loaded, named_run = train_and_prune.opened(config, plan_chain)
    classes = loaded.data.classes
    with store.job(plan.job_name, with_followed(options, named_run)) as job:
        context = JobContext(loaded, store, job.run_id)
        with progress.named(plan.options.model, config.iterations * plan.hyperparameters.epochs):
            dense, made = train_and_prune.begun(plan, context, job, named_run)
        for line in [*_own_dense(plan.options), "", HEADER, _row(plan, classes, 0, dense)]:
            say(line)
        levels: dict[int, FinishedRun] = {}
        for iteration, run in enumerate(made, start=1):
            # The network is dropped, because the networks of a long chain would fill the memory.
            levels[iteration] = FinishedRun(run.run_id, run.config_hash, run.is_reused, run.metrics)
            say(_row(plan, classes, iteration, run))
        run_ids = [run.run_id for run in levels.values()]
        job.tags({schema.PRUNED_RUN_IDS: ",".join(run_ids)} | runs.found_tag(levels.values()))
        result = Iterated(plan, context, dense, levels)
        train_and_prune.log_summary(job, summary(result))
        before = [dense.dense.predictions]
        changes = {
            iteration: class_changes(classes, before, [runs.test_predictions(store, run.run_id)])
            for iteration, run in levels.items()
        }
        pictures.over_iterations(changes, plan.chain_name).savefig(job.folder / schema.SUMMARY_PICTURE)
        job.note(plan.note(dense.run_id, len(levels)))
        controls.tag(store, dense.run_id)
        # There are no sizes without --shrink.
        sizes = dict(zip(levels, shrunk.log_sizes(store, plan.options, context, run_ids), strict=False))
        for line in shrunk.size_lines({f"iteration {level}": measured for level, measured in sizes.items()}):
            say(line)
    return result


def _own_dense(options: PruneConfig) -> list[str]:
    """Return lines that tell which defaults make the dense network differ from that of `prune`, if any do."""
    names = ("recipe", "validation_fraction")
    own = [name for name in names if getattr(options, name) == getattr(IterateConfig, name)]
    if not own or options.dense_run_id or options.weights:
        return []
    here = ", ".join(f"{option_name(name)} {getattr(options, name)}" for name in own)
    there = " ".join(f"{option_name(name)} {getattr(PruneConfig, name) or AUTO}" for name in own)
    return [
        "",
        folded(
            f"The dense network differs from that of the command prune, because iterate has other defaults: {here}. To "
            f"start from the dense network of prune, give {there}."
        ),
    ]


def _at_chance(result: Iterated) -> list[str]:
    runs = {"the dense network": result.dense} | {f"iteration {level}": run for level, run in result.levels.items()}
    return train_and_prune.chance_lines(runs, result.context.data)


def summary(result: Iterated) -> pd.DataFrame:
    """Return a row for each level: iteration, sparsity, ratio, and the columns of `train_and_prune.summary`."""
    rows = [(_amounts(result.plan, iteration), run) for iteration, run in result.levels.items()]
    return train_and_prune.summary(result.dense, rows, result.context.data.classes)


def _amounts(plan: Chain, iteration: int) -> dict[str, float]:
    return {
        schema.ITERATION: iteration,
        schema.SPARSITY: plan.level_sparsity(iteration),
        schema.RATIO: plan.level_ratio(iteration),
    }


def _row(plan: Chain, classes: Sequence[str], iteration: int, run: FinishedRun) -> str:
    """Return the line to print for an iteration; iteration 0 is the dense network."""
    metrics = run.metrics
    recalls = [metrics[schema.RECALL + name] for name in schema.metric_names(classes)]
    weakest = int(np.argmin(recalls))
    slopes = [f"{metrics[name]:.3f}" if name in metrics else "" for name in (schema.ALPHA, schema.RAW_SLOPE)]
    return (
        f"{iteration:>9}  {plan.level_sparsity(iteration):>8.4f}  {plan.level_ratio(iteration):>7.2f}  "
        f"{metrics[schema.TEST_ACCURACY]:>8.4f}  {slopes[0]:>7}  {slopes[1]:>9}  "
        f"{printable(classes[weakest])}, recall {recalls[weakest]:.3f}"
    )
