"""The command `quantize`: quantize networks, and report losses, sizes and times."""

import functools
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mlflow.entities import Run

from analysis.common.errors import StudyError, option_name
from analysis.common.printable import folded
from analysis.compare import blocks
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import markdown_line
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.models import is_built_in, onnx_export
from pruning_study.options.config import QuantizeConfig, default_data_dir
from pruning_study.steps import controls, deployed, runs
from pruning_study.steps import dense as dense_step
from pruning_study.steps.class_changes import answers, class_changes, description, together
from pruning_study.steps.context import JobContext
from pruning_study.steps.followed import Follower, finished_run, with_followed
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import TrainPlan, plan_training
from pruning_study.steps.runs import FinishedRun, LoadedRun, with_origin
from pruning_study.steps.text_tables import text_table
from pruning_study.tracking.connect import connect, connect_to_runs
from pruning_study.tracking.store import Store

_READING = "Bytes are those of the ONNX file. Times are medians on one thread, with their 95 % intervals."

log = logging.getLogger(__name__)


class Quantized(NamedTuple):
    """A network and its quantized runs, by number format.

    `changes` holds, by number format, the comparison of the network with the quantized one. `float32` holds the metrics
    of the network's ONNX model before quantization; it is empty if a quantized run was found instead of made.
    """

    plan: TrainPlan
    context: JobContext
    parent: LoadedRun
    float32: Mapping[str, float]
    runs: Mapping[str, FinishedRun]
    changes: Mapping[str, Comparison]


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
        model = functools.cache(functools.partial(deployed.export, context, loaded))
        parent = deployed.Quantizable(store.get(loaded.run_id), loaded, model)
        runs_of_dtypes = {}
        for number_format in config.number_format:
            own = deployed.plan_quantization(parent, number_format, force=plan.options.force)
            runs_of_dtypes[number_format] = deployed.quantize(own, context, parent)
        controls.tag(store, loaded.dense.run_id)
        reuse_tag = runs.found_tag(runs_of_dtypes.values())
        job.tags({schema.QUANTIZED_RUN_IDS: ",".join(run.run_id for run in runs_of_dtypes.values())} | reuse_tag)
        # Latencies measured now are not comparable with those of found runs, whose machine may have been busier.
        float32 = deployed.measured(context, model()) if not reuse_tag else {}
        before, *after = (
            runs.test_predictions(store, run_id)
            for run_id in (loaded.run_id, *(run.run_id for run in runs_of_dtypes.values()))
        )
        changes = {
            number_format: class_changes(context.data.classes, [before], [each], [before])
            for number_format, each in zip(runs_of_dtypes, after, strict=True)
        }
        result = Quantized(plan, context, loaded, float32, runs_of_dtypes, changes)
        job.note(f"{description(changes)}\n\n{markdown_line(f'Run {loaded.run_id}: {_line(result)}')}")
        if len(runs_of_dtypes) == 1:
            (run,) = runs_of_dtypes.values()
            tags = store.get(run.run_id).data.tags
            job.metrics(run.metrics)
            job.tags({name: tags[name] for name in (schema.WORST_CLASS, schema.OUTCOME) if name in tags})
    return result


def _lines(store: Store, result: Quantized) -> str:
    """Return the answers, tables and run ids of one network."""
    savings = [[schema.FLOAT32, *_costs(result.float32)]] if result.float32 else []
    savings += [[number_format, *_costs(run.metrics)] for number_format, run in result.runs.items()]
    call = f"pruning-study export {next(iter(result.runs.values())).run_id} --output model.onnx"
    batch = f"{min(onnx_export.BATCH_SIZE, len(result.context.data.test_images))} images, ms"
    return "\n".join(
        [
            "",
            answers(result.changes),
            "",
            text_table(["number format", "bytes", "1 image, ms", batch], savings),
            "",
            folded(blocks.READING, _READING),
            "",
            f"network: run {with_origin(result.parent)}",
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
    before = result.parent.metrics[schema.TEST_ACCURACY]
    losses = {name: before - run.metrics[schema.TEST_ACCURACY] for name, run in result.runs.items()}
    lost = ", ".join(f"{name} {round(100 * loss, 2) + 0.0:.2f}" for name, loss in losses.items())
    return f"{result.plan.name}: accuracy {100 * before:.2f} %, and its loss in points: {lost}"


def _means(store: Store, results: Sequence[Quantized]) -> str:
    """Return the answers for networks quantized like these if they are independent, and mean sizes and times."""
    savings, told = [], []
    for number_format in results[0].runs:
        metrics = [result.runs[number_format].metrics for result in results]
        means = [float(np.mean([each[name] for each in metrics])) for name in deployed.QUANTIZED_METRICS]
        savings.append([number_format, *_shown(*means)])
    if _are_independent(store, results):
        changes = {name: together([result.changes[name] for result in results]) for name in results[0].changes}
        told = [answers(changes), folded(blocks.READING)]
    return "\n\n".join(
        [
            f"\nmean of {len(results)} networks",
            *told,
            text_table(["number format", "bytes", "1 image, ms", "batch, ms"], savings),
        ]
    )


def _are_independent(store: Store, results: Sequence[Quantized]) -> bool:
    """Return whether all networks are of one data set, and each comes from a dense network of its own."""
    dense = [result.parent.dense for result in results]
    networks = {_network(store.get(run.run_id)) for run in dense}
    return len(networks) == len(dense) and len({run.params.get(schema.DATASET_DIGEST) for run in dense}) == 1


def _costs(metrics: Mapping[str, float]) -> list[str]:
    size, *medians = _shown(*(metrics[name] for name in deployed.QUANTIZED_METRICS))
    ends = ([metrics[f"{name}_{end}"] for end in ("low", "high")] for name in deployed.QUANTIZED_METRICS[1:])
    return [size, *(f"{median} ({_ms(low)} to {_ms(high)})" for median, (low, high) in zip(medians, ends, strict=True))]


def _shown(size: float, one: float, batch: float) -> list[str]:
    return [f"{size:,.0f}", _ms(one), _ms(batch)]


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
