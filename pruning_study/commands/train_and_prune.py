"""The commands `train` and `prune`: open a run of kind `job`, find or make the runs needed, and format the results."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.common import csv_text
from analysis.common.command_line import as_typed
from analysis.common.errors import StudyError
from analysis.common.printable import folded
from analysis.compare import blocks, likely_losses
from analysis.compare.comparison import Comparison
from analysis.compare.logged import loss_metrics, loss_tags
from analysis.rendering.formats import markdown_line, three_decimals
from analysis.runs import schema
from analysis.runs.address import without_password
from analysis.runs.schema import text
from analysis.statistics.intensification import excess_loss
from analysis.statistics.proportion import implied_losses
from pruning_study.commands import pruning_text
from pruning_study.commands.pruning_text import SAME_NETWORK, UNPRUNED, offset_lines
from pruning_study.data.datasets import Dataset
from pruning_study.models import is_built_in
from pruning_study.options.config import IterateConfig, PruneConfig, TrainConfig
from pruning_study.steps import controls, known_images, runs, shrunk
from pruning_study.steps import dense as dense_step
from pruning_study.steps import pruned as pruned_step
from pruning_study.steps.class_changes import class_changes, description, together
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.followed import following, with_followed
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning, TrainPlan, plan_pruning, plan_training
from pruning_study.steps.runs import FinishedRun, LoadedRun, with_origin
from pruning_study.steps.text_tables import text_table
from pruning_study.study.lineage import lineage
from pruning_study.tracking import views
from pruning_study.tracking.connect import connect
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training import progress
from pruning_study.training.evaluation import Predictions

Config = TypeVar("Config", bound=TrainConfig)
Options = TypeVar("Options", PruneConfig, IterateConfig)
AnyPlan = TypeVar("AnyPlan", bound=Pruning)
Result = TypeVar("Result")
PrunedRuns = Mapping[float, FinishedRun]  # by ratio
Say = Callable[[str], object]
SMALL = 64  # pixels


class Trained(NamedTuple):
    """A dense run, its plan, and the context in which it was made."""

    plan: TrainPlan
    context: JobContext
    dense: LoadedRun


class Pruned(NamedTuple):
    """A dense run and the runs that were pruned from it.

    Attributes
    ----------
    plan : Pruning
    context : JobContext
        The context in which all runs were made.
    dense : LoadedRun
    pruned : mapping of float to FinishedRun
        The pruned runs, by ratio.
    predictions : mapping of float to Predictions
        Predictions of the pruned runs for the test images, by ratio.
    changes : mapping of float to Comparison
        Comparison of the dense with the pruned network, and with the control, by ratio.
    sizes : mapping of float to metrics
        Metrics of `--shrink`, by ratio; empty without the option.
    picture : str
        Location of the picture of the classes.
    offsets : mapping of float to DataFrame
        Tables of class offsets, by ratio; empty without `--class-offsets`.
    control : FinishedRun, optional
        The run of the control; None if none was made or found.
    """

    plan: Pruning
    context: JobContext
    dense: LoadedRun
    pruned: PrunedRuns
    predictions: Mapping[float, Predictions]
    changes: Mapping[float, Comparison]
    sizes: Mapping[float, Mapping[str, float]]
    picture: str
    offsets: Mapping[float, pd.DataFrame]
    control: FinishedRun | None = None


def train_each(configs: Sequence[TrainConfig], options: Mapping[str, str]) -> Iterator[str]:
    """Train a network for each seed, and yield the lines to print. `each_dense` describes the parameters."""
    for result in each_dense(configs, options):
        plan, context, dense = result
        lines = ["", _train_table(dense, context.data), "", f"dense run: {with_origin(dense)}"]
        yield _heading(result, configs) + "\n".join([*lines, *what_next(context.store, dense.run_id, plan.options)])


def prune_each(configs: Sequence[PruneConfig], options: Mapping[str, str], say: Say) -> Iterator[str]:
    """Prune a network for each seed, and yield the lines to print for each and then for the means over seeds.

    Parameters
    ----------
    configs, options
        As for `each_dense`; `each_pruned` lists the errors.
    say : callable
        Prints a line before a control is made.
    """
    results = []
    for result in each_pruned(configs, options, say if configs[0].control == "make" else None):
        results.append(result)
        yield _heading(result, configs) + _pruned_lines(result)
    if len(results) > 1:
        yield f"\nmean of {len(results)} seeds\n\n{_comparison(results)}"


def _heading(result: "Trained | Pruned", configs: Sequence[TrainConfig]) -> str:
    return f"\nseed {result.plan.options.seed}\n" if len(configs) > 1 else ""


def _pruned_lines(result: Pruned) -> str:
    store, dense, pruned = result.context.store, result.dense, result.pruned
    last = list(pruned.values())[-1].run_id
    return "\n".join(
        [
            "",
            _comparison([result]),
            *([folded("", *lines)] if (lines := offset_lines(result.offsets)) else []),
            *shrunk.size_lines({f"ratio {ratio:g}": metrics for ratio, metrics in result.sizes.items()}),
            "",
            f"dense run: {with_origin(dense)}",
            *(f"pruned run, ratio {ratio:g}: {with_origin(run)}" for ratio, run in pruned.items()),
            *([f"control run: {with_origin(result.control)}"] if result.control else []),
            trained_by(store, last),
            f"the picture: {result.picture}",
            *what_next(store, last, result.plan.options),
        ]
    )


def _comparison(results: Sequence[Pruned]) -> str:
    """Answer both questions at each ratio, each time followed by a table, for one seed or for the means over seeds."""
    changes = changes_of_classes(results)
    told = pruning_text.text(changes, realized_ratios(results), details=False, remarks=remarks(results))
    return told + _at_chance(results)


def each_dense(configs: Sequence[TrainConfig], options: Mapping[str, str]) -> Iterator[Trained]:
    """Train or find a dense model for each seed, in a job of its own.

    Parameters
    ----------
    configs : sequence of TrainConfig
        They differ only in the seed.
    options : mapping of str
        The options as typed, for the jobs' params; each job logs its own seed.
    """
    return each_seed(configs, options, make_dense)


def each_pruned(configs: Sequence[PruneConfig], options: Mapping[str, str], say: Say | None = None) -> Iterator[Pruned]:
    """Prune a dense model for each seed, in a job of its own.

    Parameters
    ----------
    configs, options
        As for `each_dense`.
    say : callable, optional
        Prints a line before a control is made. Without `say`, no control is made.

    Raises
    ------
    StudyError
        If several seeds are given with one dense run.
    """
    check_one_seed(configs)
    return each_seed(configs, options, partial(make_pruned, say=say))


def check_one_seed(configs: Sequence[PruneConfig | IterateConfig]) -> None:
    """Raise a StudyError if several seeds are given with one dense run."""
    if len(configs) > 1 and configs[0].dense_run_id:
        raise StudyError("a dense run has one seed: leave --dense-run-id out to prune several networks", option="seed")


def each_seed(
    configs: Sequence[Config], options: Mapping[str, str], make: Callable[[Config, dict[str, str]], Result]
) -> Iterator[Result]:
    """Yield the result of `make` for each seed's options; only the first job uses the run that `mlflow run` made."""
    for config in configs:
        result = make(config, {**options, schema.SEED: text(config.seed)})
        os.environ.pop("MLFLOW_RUN_ID", None)
        yield result


def make_dense(config: TrainConfig, options: Mapping[str, str]) -> Trained:
    """Train a dense model, or find it, in a job of its own.

    Parameters
    ----------
    config : TrainConfig
    options : mapping of str
        The options as typed, for the job's params.
    """
    store = connect(config.experiment)
    loaded = load_context(config)
    plan = plan_training(config, loaded)
    progress.Lines.advice = _advice(config.model, loaded.data)
    with store.job(plan.named("train"), options) as job:
        context = JobContext(loaded, store, job.run_id)
        with progress.named(config.model):
            dense = dense_step.train(plan, context)
        job.tags({schema.DENSE_RUN_ID: dense.run_id} | runs.found_tag([dense]))
        job.metrics(dense.metrics)
        accuracy = dense.metrics[schema.TEST_ACCURACY]
        job.note(f"Accuracy {100 * accuracy:.1f} %: dense run {dense.run_id}.")
        _copy_picture(store, job, dense.run_id, schema.CONFUSION_PICTURE)
    return Trained(plan, context, dense)


def make_pruned(config: PruneConfig, options: Mapping[str, str], say: Say | None = None) -> Pruned:
    """Prune a dense model at one ratio or several, in one job. Existing runs are used again.

    Parameters
    ----------
    config : PruneConfig
    options : mapping of str
        The options as typed, for the job's params; a named dense run replaces those for the dense model.
    say : callable, optional
        As for `each_pruned`.
    """
    store, plan, loaded, named_run = opened(config, plan_pruning)
    progress.Lines.advice = _advice(plan.options.model, loaded.data)
    with store.job(plan.job_name, with_followed(options, named_run)) as job:
        context = JobContext(loaded, store, job.run_id)
        ratios, epochs = plan.options.ratio, plan.hyperparameters.epochs
        trainings = len(ratios) + bool(say and controls.has_control(plan))
        with progress.named(plan.options.model, trainings * epochs):
            dense, made = begun(plan, context, job, named_run)
        pruned: dict[float, FinishedRun] = {}
        for place, ratio in enumerate(ratios, start=1):
            with progress.named(f"ratio {ratio:g}", (trainings - place) * epochs):
                pruned[ratio] = next(made)
        run_ids = [run.run_id for run in pruned.values()]
        job.tags({schema.PRUNED_RUN_IDS: ",".join(run_ids)} | runs.found_tag(pruned.values()))
        predictions = {
            ratio: runs.test_predictions(store, run_id) for ratio, run_id in zip(pruned, run_ids, strict=True)
        }
        # There are no sizes without --shrink.
        sizes = dict(zip(pruned, shrunk.log_sizes(store, plan.options, context, run_ids), strict=False))
        picture = schema.RECALL_PICTURE if len(run_ids) == 1 else schema.SUMMARY_PICTURE
        of_control = controls.without_training(plan, dense.dense.predictions)
        changes = {
            ratio: class_changes(context.data.classes, [dense.dense.predictions], [after], of_control)
            for ratio, after in predictions.items()
        }
        location = store.artifact_location(job.run_id, picture)
        offsets = _offsets(store, plan, pruned)
        result = Pruned(plan, context, dense, pruned, predictions, changes, sizes, location, offsets)
        _note(job, result)
        if len(run_ids) == 1:
            (run,), (comparison,) = pruned.values(), changes.values()
            job.metrics(run.metrics | loss_metrics(comparison) | next(iter(sizes.values()), {}))
            job.tags(loss_tags(comparison))
            _copy_picture(store, job, run_ids[0], picture)
            _copy_picture(store, job, run_ids[0], schema.FLIPPED_PICTURE)
        else:
            table = summary(
                dense, [({schema.RATIO: ratio}, run) for ratio, run in pruned.items()], context.data.classes
            )
            log_summary(job, table)
            _draw_over_ratios(result, job)
        if say and controls.has_control(plan):
            job.flush()  # so that an interrupt from here on loses only the control
            result = _with_control(result, job, say)
        controls.tag(store, dense.run_id)
    return result


def _advice(model: str, data: Dataset) -> str:
    """Recommend, for small images, the variant of a torchvision network that is adapted to them."""
    library, _, name = model.partition(":")
    if library != "torchvision" or not is_built_in(name) or max(data.image_shape[1:]) >= SMALL:
        return ""
    return f"; --model {name} is adapted to images below {SMALL} pixels"


def _offsets(store: Store, plan: Pruning, pruned: PrunedRuns) -> dict[float, pd.DataFrame]:
    """Read the class offsets of pruned runs; the result is empty without `--class-offsets`."""
    tables = {}
    for ratio, run in pruned.items() if plan.options.class_offsets != "none" else ():
        with store.artifact(run.run_id, schema.OFFSETS) as path:
            tables[ratio] = csv_text.read(path, dtype={"class": str}, keep_default_na=False)
    return tables


def _note(job: Writer, result: Pruned) -> None:
    more = map(markdown_line, [*remarks([result]), *offset_lines(result.offsets)])
    job.note("\n\n".join([description(pruning_text.named(result.changes)), *more]))


def _with_control(result: Pruned, job: Writer, say: Say) -> Pruned:
    """Find or make the control of pruned runs, and describe the runs and their job again, with the control."""
    context, dense = result.context, result.dense
    control = _control(result, say)
    of_control = [runs.test_predictions(context.store, control.run_id)]
    changes = {
        ratio: class_changes(context.data.classes, [dense.dense.predictions], [after], of_control)
        for ratio, after in result.predictions.items()
    }
    result = result._replace(control=control, changes=changes)
    for ratio, run in result.pruned.items():
        _describe_again(result, ratio, run, control)
    if len(changes) == 1:
        _copy_picture(context.store, job, next(iter(result.pruned.values())).run_id, schema.RECALL_PICTURE)
    else:
        _draw_over_ratios(result, job)
    job.tags({schema.CONTROL_RUN_ID: control.run_id} | runs.found_tag([*result.pruned.values(), control]))
    _note(job, result)
    return result


def _describe_again(result: Pruned, ratio: float, run: FinishedRun, control: FinishedRun) -> None:
    """Replace the description and the picture of a pruned run by those with the control, unless it has them."""
    from pruning_study.steps import pictures

    comparison, name = result.changes[ratio], result.plan.pruned_name(ratio)
    how = markdown_line(pruned_step.description(result.plan, ratio, result.dense.run_id))
    tags = {schema.CONTROL_RUN_ID: control.run_id, MLFLOW_RUN_NOTE: f"{description({name: comparison})}\n\n{how}"}
    if tags.items() <= result.context.store.get(run.run_id).data.tags.items():
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.RECALL_PICTURE
        pictures.recall_change(comparison, name).savefig(path)
        result.context.store.add(run.run_id, path, tags)


def _draw_over_ratios(result: Pruned, job: Writer) -> None:
    from pruning_study.steps import pictures  # matplotlib takes a second to import

    figure = pictures.over_ratios(result.changes, result.plan.pruned_name(*result.changes))
    figure.savefig(job.folder / schema.SUMMARY_PICTURE)


def _control(result: Pruned, say: Say) -> FinishedRun:
    """Find or make the control, and announce it before it is made."""
    context = result.context
    is_made = False

    def announce() -> None:
        nonlocal is_made
        cost = f"takes as long as a pruned network ({as_typed('control', 'none')} leaves it out)"
        say(folded(f"control: the same fine-tuning without pruning, once for all ratios and pruners; {cost}"))
        is_made = True

    try:
        _, control = lineage(controls.plan_control(result.plan, context), context, result.dense, announce)
        return control
    except KeyboardInterrupt:
        if is_made:
            finished = "the pruned run is finished and the control is not"
            say(folded(f"interrupted: {finished}; repeat the command to make the control"))
        raise
    except StudyError as error:
        raise StudyError(
            f"{error} (the control failed; {as_typed('control', 'none')} shows the pruned run without it)"
        ) from error


def opened(
    config: Options, make_plan: Callable[[Options, Context], AnyPlan], decided: Mapping[str, str] | None = None
) -> tuple[Store, AnyPlan, Context, Run | None]:
    """Prepare a pruning job: store, plan, context, and the dense run that `--dense-run-id` names.

    Parameters
    ----------
    config : PruneConfig or IterateConfig
    make_plan : callable
    decided : mapping of str, optional
        What validation images decide, as `known_images.warn` takes it; by default, what the options let them decide.

    Raises
    ------
    StudyError
        Before any run is made: if the options are invalid or do not fit the data, the network or the dense run.
    """
    shrunk.check_installed(config)
    store = connect(config.experiment)
    views.write(store, views.BY_PRUNER_AND_RATIO)
    named_run = store.get(config.dense_run_id) if config.dense_run_id else None
    config = following(config, named_run) if named_run else config
    context = load_context(config)
    if config.weights or (named_run and schema.WEIGHTS_DIGEST in named_run.data.params):
        known_images.warn(decided or known_images.decisions(config), context.data)
    plan = make_plan(config, context)
    shrunk.check_followed(config, context)
    return store, plan, context, named_run


def begun(
    plan: Pruning, context: JobContext, job: Writer, named_run: Run | None
) -> tuple[LoadedRun, Iterator[FinishedRun]]:
    """Begin a lineage: return the named dense run or that of the plan, and the runs that are pruned from it.

    The job is tagged with the dense run's id. The pruned runs are made as they are asked for.
    """
    named = runs.load_named(context.store, named_run, plan.dense, context) if named_run else None
    made = lineage(plan, context, named)
    dense = next(made)
    assert isinstance(dense, LoadedRun)
    job.tags({schema.DENSE_RUN_ID: dense.run_id})
    return dense, made


def log_summary(job: Writer, table: pd.DataFrame) -> None:
    """Add a job's summary table to the job, as a file and for the MLflow UI."""
    csv_text.write(table, job.folder / schema.SUMMARY)
    job.table(table, schema.SUMMARY_TABLE)


def summary(
    dense: LoadedRun, pruned: Iterable[tuple[Mapping[str, float], FinishedRun]], classes: Sequence[str]
) -> pd.DataFrame:
    """Return a table with a row for each pruned run: accuracies, realised ratio, slopes, largest excess, all recalls.

    Parameters
    ----------
    dense : LoadedRun
    pruned : iterable
        A pair for each row: its first columns, by name, and its pruned run.
    classes : sequence of str
    """
    names = schema.metric_names(classes)
    rows = []
    for first, run in pruned:
        before, after = (runs.logged_recalls(each.metrics, classes) for each in (dense, run))
        row: dict[str, float | str] = {
            **first,
            schema.REALIZED_RATIO: run.metrics[schema.REALIZED_RATIO],
            "accuracy_before": float(before.accuracy),
            "accuracy_after": float(after.accuracy),
            schema.ALPHA: run.metrics.get(schema.ALPHA, np.nan),
            schema.RAW_SLOPE: run.metrics.get(schema.RAW_SLOPE, np.nan),
            schema.LARGEST_EXCESS: float(np.nanmax(excess_loss(before, after))),
            schema.LARGEST_EXCESS_FLOOR: run.metrics.get(schema.LARGEST_EXCESS_FLOOR, np.nan),
            "run_id": run.run_id,
        }
        row |= {f"recall_before/{name}": recall for name, recall in zip(names, before.recall.tolist(), strict=True)}
        row |= {f"recall_after/{name}": recall for name, recall in zip(names, after.recall.tolist(), strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def _copy_picture(store: Store, job: Writer, run_id: str, name: str) -> None:
    with store.artifact(run_id, name) as path:
        (job.folder / name).write_bytes(Path(path).read_bytes())


def _train_table(dense: LoadedRun, data: Dataset) -> str:
    """List the classes by their errors, with the recalls that are likely, and say how good this guess is."""
    counts = dense.dense.predictions.counts(len(data.classes))
    likely = counts.recall - implied_losses(counts.recall, counts.support, likely_losses.ACCURACY_LOSS)
    by_errors = np.argsort(counts.recall, kind="stable")
    rows = [[data.classes[place], *map(three_decimals, (counts.recall[place], likely[place]))] for place in by_errors]
    if (more := len(rows) - blocks.MOST_SHOWN) > 0:
        rows = [*rows[: blocks.MOST_SHOWN], [f"... and {more} more, in {schema.PER_CLASS}", "", ""]]
    accuracy = dense.metrics[schema.TEST_ACCURACY]
    accuracies = map(three_decimals, (accuracy, accuracy - likely_losses.ACCURACY_LOSS))
    table = text_table(["class", "recall", "likely recall"], rows, [["accuracy", *accuracies]])
    return f"{table}\n\n{folded(likely_losses.HOW_GOOD)}"


def changes_of_classes(results: Sequence[Pruned]) -> Mapping[float, Comparison]:
    """Compare the dense networks of all seeds with the networks pruned from them and their controls, at each ratio."""
    if len(results) == 1:
        return results[0].changes
    seeds = [str(result.plan.options.seed) for result in results]
    names, alone = [f"seed {seed}" for seed in seeds], [as_typed("seed", seed) for seed in seeds]
    return {
        ratio: together([result.changes[ratio] for result in results], names, alone) for ratio in results[0].changes
    }


def realized_ratios(results: Sequence[Pruned]) -> dict[float, float]:
    """Return the mean realised ratio over the seeds, by requested ratio."""
    return {
        ratio: float(np.mean([result.pruned[ratio].metrics[schema.REALIZED_RATIO] for result in results]))
        for ratio in results[0].pruned
    }


def remarks(results: Sequence[Pruned]) -> list[str]:
    """Return sentences on what was pruned: nothing, or one given network with every seed."""
    first = results[0]
    is_same = len(results) > 1 and first.dense.dense.is_given
    return [*([] if first.plan.pruner.prunes else [UNPRUNED]), *([SAME_NETWORK] if is_same else [])]


def _at_chance(results: Sequence[Pruned]) -> str:
    """Return a line that names the networks at chance, whose alpha means nothing."""
    networks = {
        f"{name} of seed {result.plan.options.seed}" if len(results) > 1 else name: run
        for result in results
        for name, run in [
            ("the dense network", result.dense),
            *((f"ratio {ratio:g}", run) for ratio, run in result.pruned.items()),
        ]
    }
    return "".join(f"\n{folded(line)}" for line in chance_lines(networks, results[0].context.data))


def chance_lines(networks: Mapping[str, FinishedRun], data: Dataset) -> list[str]:
    """Return a line that names the networks at chance, whose alpha means nothing; no line if there is none.

    Parameters
    ----------
    networks : mapping
        Runs by the name to print.
    data : Dataset
    """
    names_at_chance = [name for name, run in networks.items() if runs.is_at_chance(run.metrics, data)]
    return [f"alpha means nothing for networks at chance: {', '.join(names_at_chance)}"] if names_at_chance else []


def trained_by(store: Store, run_id: str) -> str:
    """Return a line with the engine and device that made a run."""
    tags = store.get(run_id).data.tags
    return f"trained by: engine {tags.get(schema.ENGINE, 'unknown')}, device {tags.get(schema.DEVICE, 'unknown')}"


def what_next(store: Store, run_id: str, options: TrainConfig) -> list[str]:
    """Return lines that tell how to load a run's model, and where to look at the runs."""
    model = options.model
    own_model = "" if is_built_in(model) else f', model="{model}"'
    return [
        "",
        f'the model:      import pruning_study; model = pruning_study.load_model("{run_id}"{own_model})',
        f"                (from another folder: MLFLOW_TRACKING_URI={without_password(store.uri)})",
        f"the comparison: {store.how_to_look(indent=16)}",
    ]
