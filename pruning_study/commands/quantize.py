"""The command `quantize`: quantize networks, and report losses, sizes and times."""

import functools
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mlflow.entities import Run

from analysis.common.command_line import as_typed
from analysis.common.errors import StudyError, option_name
from analysis.common.points import points
from analysis.common.terminal import folded
from analysis.rendering.formats import interval
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.models import is_built_in, onnx_export
from pruning_study.options.config import QuantizeConfig, default_data_dir
from pruning_study.steps import dense as dense_step
from pruning_study.steps import quantized, runs
from pruning_study.steps.class_changes import class_changes
from pruning_study.steps.context import JobContext
from pruning_study.steps.followed import Follower, finished_run, with_followed
from pruning_study.steps.found_runs import engine_lines, ids_of_found, with_origin
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import TrainPlan, plan_training
from pruning_study.steps.runs import FinishedRun, LoadedRun
from pruning_study.steps.text_tables import text_table
from pruning_study.tracking import sending
from pruning_study.tracking.connect import connect, connect_to_runs
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions

_READING = (
    "Accuracy is in %, changes and chance movement are in points.\n"
    "Chance movement is the largest loss of a class, beyond the loss of accuracy, in this network. Much of it may be "
    "noise.\n"
    "It takes several networks to tell noise from a real loss: {seeds} quantizes five.\n"
    "Bytes are those of the ONNX file. Times are medians on one thread, with their 95 % intervals."
)
_READING_MEANS = (
    "Changes and losses are in points. Costs most: the class that on average loses most beyond the loss of accuracy, "
    "if a test shows its loss, with a 95 % interval. The class is picked on one part of the networks and images, and "
    'its loss is measured on the rest. "Not shown, at most 2.0" means that the networks are too few to name a class, '
    "but that on average no class loses over 2.0 points more than the accuracy.\n"
    "Chance movement: how much the class that loses most in a network loses beyond the loss of accuracy, averaged over "
    "networks. Because this class is picked after its loss is known, much of the number is noise."
)

log = logging.getLogger(__name__)


class Quantized(NamedTuple):
    """A network and its quantized runs, by number format.

    `float32` holds the metrics of the network's ONNX model before quantization; it is empty if a quantized run was
    found instead of made.
    """

    plan: TrainPlan
    context: JobContext
    parent: LoadedRun
    float32: Mapping[str, float]
    runs: Mapping[str, FinishedRun]


def quantize_each(
    configs: Sequence[QuantizeConfig], run_ids: Sequence[str], options: Mapping[str, str]
) -> Iterator[str]:
    """Quantize the networks of runs, or else a network trained for each seed, and yield the lines to print.

    Parameters
    ----------
    configs : sequence of QuantizeConfig
        They differ only in the seed.
    run_ids : sequence of str
        Dense or pruned runs. If empty, `--all` selects the newest dense run of every network; without `--all`,
        networks are trained with the options.
    options : mapping of str
        The options as typed, for the params of the jobs. Each network has a job of its own; if a run is named, the
        params of its dense network replace options of the same name.

    Raises
    ------
    StudyError
        If several seeds are given with runs or with weights, or if a network cannot be quantized. If there are several
        networks, the others are quantized before the error is raised.
    """
    config = configs[0]
    if len(configs) > 1 and (run_ids or config.all):
        raise StudyError(
            "runs have seeds already: name no run and leave out --all to train several networks", option="seed"
        )
    if len(configs) > 1 and config.weights:
        raise StudyError("--weights names one network: give one seed, or leave --weights out", option="seed")
    onnx_export.check_installed()
    store = (connect_to_runs if config.all else connect)(config.experiment)
    sending.send_kept(store.uri)
    follower = Follower(store, config.training)
    named_runs = _named_runs(store, config, run_ids)
    networks: Sequence[Run | QuantizeConfig] = named_runs or configs
    count, failed, results = len(networks), 0, []
    for index, each in enumerate(networks, start=1):
        try:
            result = _quantized(store, follower, config, each, options)
        except StudyError as error:
            if count == 1:
                raise
            failed += 1
            log.warning("[%s/%s] not quantized: %s", index, count, error)
            continue
        finally:
            store.job_run_id = None  # only the first network's job uses the run that `mlflow run` made
        results.append(result)
        yield _lines(store, result) if count == 1 else folded(f"[{index}/{count}] {_line(result)}")
    if len(results) > 1:
        yield _means(store, results)
    if results and not named_runs:
        yield from engine_lines(
            store, config.engine, results[0].context, ids_of_found(result.parent for result in results)
        )
    if failed:
        raise StudyError(f"{failed} of {count} networks were not quantized: the lines above say why")


def _named_runs(store: Store, config: QuantizeConfig, run_ids: Sequence[str]) -> list[Run]:
    """Return the named runs, or, with `--all`, the newest dense runs of all networks, sorted by data set."""
    if config.all and run_ids:
        raise StudyError("it quantizes every dense network of the experiment, so name no run", option="all")
    if run_ids:
        return [finished_run(store, run_id, (schema.DENSE, schema.PRUNED)) for run_id in dict.fromkeys(run_ids)]
    if not config.all:
        return []
    newest = {_network(run): run for run in store.of_kinds([schema.DENSE])}
    if not newest:
        raise StudyError(
            "the experiment has no finished dense run: train networks, or name another experiment", option="all"
        )
    return sorted(newest.values(), key=lambda run: (run.data.params.get(schema.DATASET, ""), run.info.start_time))


def _network(dense: Run) -> tuple[str, ...]:
    """Return what identifies a dense run's network. Runs of several seeds have the same one if weights were given."""
    params, tags = dense.data.params, dense.data.tags
    if schema.WEIGHTS_DIGEST in params:
        return params[schema.WEIGHTS_DIGEST], params.get(schema.DATASET_DIGEST, "")
    return (tags.get(schema.CONFIG_HASH, dense.info.run_id),)


def _quantized(
    store: Store,
    follower: Follower,
    config: QuantizeConfig,
    network: Run | QuantizeConfig,
    options: Mapping[str, str],
) -> Quantized:
    """Quantize the network of a run, or one trained with the options, in a job of its own."""
    if isinstance(network, Run):
        plan, in_memory = follower.follow(network)
        name = network.info.run_name or network.info.run_id
        options = with_followed(options, network)
    else:
        in_memory = load_context(network.training)
        plan = plan_training(network.training, in_memory)
        name, options = plan.name, {**options, schema.SEED: text(network.seed)}
    with store.job(f"quantize: {name}", options) as job:
        context = JobContext(in_memory, store, job.run_id)
        if isinstance(network, Run):
            loaded = runs.load_named(store, network, plan, context)
        else:
            loaded = dense_step.train(plan, context)
        job.tags({schema.DENSE_RUN_ID: loaded.dense.run_id})
        model = functools.cache(functools.partial(quantized.export, context, loaded))
        parent = quantized.Parent(store.get(loaded.run_id), loaded, model)
        runs_of_dtypes = {}
        for number_format in config.number_format:
            own = quantized.plan_quantization(parent, number_format, force=plan.options.force)
            runs_of_dtypes[number_format] = quantized.quantize(own, context, parent)
        reuse_tag = runs.found_tag(runs_of_dtypes.values())
        job.tags({schema.QUANTIZED_RUN_IDS: ",".join(run.run_id for run in runs_of_dtypes.values())} | reuse_tag)
        # Latencies measured now are not comparable with those of found runs, whose machine may have been busier.
        float32 = quantized.measured(context, model()) if not reuse_tag else {}
        result = Quantized(plan, context, loaded, float32, runs_of_dtypes)
        job.note(f"Run {loaded.run_id}: {_line(result)}")
        if len(runs_of_dtypes) == 1:
            job.metrics(next(iter(runs_of_dtypes.values())).metrics)
    return result


def _lines(store: Store, result: Quantized) -> str:
    """Return the tables of one network, and the ids of its runs."""
    parent = result.parent
    classes = [[schema.FLOAT32, _percent(parent.metrics), "", ""]]
    savings = [[schema.FLOAT32, *_costs(result.float32)]] if result.float32 else []
    for number_format, run in result.runs.items():
        change, excess, worst = _losses(result, run)
        classes.append([number_format, _percent(run.metrics), _signed(change), _of_class(excess, worst)])
        savings.append([number_format, *_costs(run.metrics)])
    call = f"pruning-study export {next(iter(result.runs.values())).run_id} --output model.onnx"
    batch = f"{min(onnx_export.BATCH_SIZE, len(result.context.data.test_images))} images, ms"
    return "\n".join(
        [
            "",
            text_table(["number format", "accuracy", "change", "chance movement"], classes),
            "",
            text_table(["number format", "bytes", "1 image, ms", batch], savings),
            "",
            folded(*_READING.format(seeds=as_typed("seed", "0-4")).splitlines()),
            "",
            f"network: run {with_origin(parent)}",
            *(f"{number_format}: run {with_origin(run)}" for number_format, run in result.runs.items()),
            "",
            f"as a file:      {call}{_own_options(result)}",
            f"the comparison: {store.how_to_look(indent=16)}",
        ]
    )


def _own_options(result: Quantized) -> str:
    """Return the options that `export` needs too, because they name the user's own data or model."""
    options = result.plan.options
    own = {
        schema.DATASET: options.dataset != result.parent.dense.params.get(schema.DATASET),
        schema.MODEL: not is_built_in(options.model),
        "data_dir": options.data_dir != Path(default_data_dir()),
    }
    return "".join(f" {option_name(name)} {shlex.quote(str(getattr(options, name)))}" for name in own if own[name])


def _line(result: Quantized) -> str:
    changes = ", ".join(f"{name} {_signed(_losses(result, run)[0])}" for name, run in result.runs.items())
    return f"{result.plan.name}: accuracy {_percent(result.parent.metrics)} %, and its change in points: {changes}"


def _means(store: Store, results: Sequence[Quantized]) -> str:
    """Return tables of means over networks, and how to read them."""
    classes, savings = [], []
    are_independent = _are_independent(store, results)
    for number_format in results[0].runs:
        each = [(result, result.runs[number_format]) for result in results]
        change, excess = np.mean([_losses(result, run)[:2] for result, run in each], axis=0)
        means = [float(np.mean([run.metrics[name] for _, run in each])) for name in quantized.METRICS]
        costs_most = _costliest(store, each) if are_independent else ""
        classes.append([number_format, _signed(change), costs_most, points(excess)])
        savings.append([number_format, *_shown(*means)])
    return "\n\n".join(
        [
            f"\nmean of {len(results)} networks",
            text_table(["number format", "change", "costs most", "chance movement"], classes),
            text_table(["number format", "bytes", "1 image, ms", "batch, ms"], savings),
            folded(*_READING_MEANS.splitlines()),
        ]
    )


def _are_independent(store: Store, results: Sequence[Quantized]) -> bool:
    """Return whether all networks are of one data set, and each comes from a dense network of its own."""
    dense = [result.parent.dense for result in results]
    networks = {_network(store.get(run.run_id)) for run in dense}
    return len(networks) == len(dense) and len({run.params.get(schema.DATASET_DIGEST) for run in dense}) == 1


def _costliest(store: Store, networks: Sequence[tuple[Quantized, FinishedRun]]) -> str:
    data = networks[0][0].context.data
    before, after = (
        [runs.test_predictions(store, run_id, data) for run_id in run_ids]
        for run_ids in zip(*((result.parent.run_id, run.run_id) for result, run in networks), strict=True)
    )
    return costliest(data.classes, before, after)


def costliest(classes: Sequence[str], before: Sequence[Predictions], after: Sequence[Predictions]) -> str:
    """Name the class that a number format costs most, with its cost, if a test shows it; otherwise give an upper bound.

    Parameters
    ----------
    classes : sequence of str
    before, after : sequences of Predictions
        Predictions of each of several independent networks for test images, before and after quantization.
    """
    _, name, cost, low, high, is_shown = class_changes(classes, before, after).worst.iloc[0]
    if all(np.array_equal(start.predicted, end.predicted) for start, end in zip(before, after, strict=True)):
        return points(cost)
    if not is_shown:
        return f"not shown, at most {points(high)}"
    return f"{name} {points(cost)} ({interval(low, high, points)})"


def _losses(result: Quantized, run: FinishedRun) -> tuple[float, float, str]:
    """Return the change of accuracy by quantization, the largest excess loss of a class, and that class."""
    before, after = result.parent.metrics, run.metrics
    change = after[schema.TEST_ACCURACY] - before[schema.TEST_ACCURACY]
    names = [schema.RECALL + name for name in schema.metric_names(result.context.data.classes)]
    excess = np.array([before[name] - after[name] for name in names]) + change
    worst = int(np.argmax(excess))
    return change, float(excess[worst]), result.context.data.classes[worst]


def _of_class(excess: float, worst: str) -> str:
    return f"{points(excess)} ({worst})" if excess > 0 else points(excess)


def _percent(metrics: Mapping[str, float]) -> str:
    return f"{100 * metrics[schema.TEST_ACCURACY]:.2f}"


def _signed(change: float) -> str:
    return f"{round(100 * change, 2) + 0.0:+.2f}"


def _costs(metrics: Mapping[str, float]) -> list[str]:
    size, *medians = _shown(*(metrics[name] for name in quantized.METRICS))
    ends = ([metrics[f"{name}_{end}"] for end in ("low", "high")] for name in quantized.METRICS[1:])
    return [size, *(f"{median} ({_ms(low)} to {_ms(high)})" for median, (low, high) in zip(medians, ends, strict=True))]


def _shown(size: float, one: float, batch: float) -> list[str]:
    return [f"{size:,.0f}", _ms(one), _ms(batch)]


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
