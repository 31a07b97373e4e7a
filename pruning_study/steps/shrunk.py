"""Make pruned networks smaller by removing the channels that no layer reads, and measure sizes and latencies."""

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.common import imports
from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.examples import Normalization, in_layout
from pruning_study.models import checkpoints
from pruning_study.models.latency import latency
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.options.config import ExportConfig, IterateConfig, PruneConfig
from pruning_study.pruning.shrink import macs, shrink
from pruning_study.steps.context import Context
from pruning_study.steps.text_tables import text_table
from pruning_study.tracking.store import Store

OPTION = "shrink"
COMPARED = 32  # test images for which the smaller network is compared with the whole network
_READING = (
    "MACs: multiplications of a weight and an input. Times: PyTorch on one thread.\n"
    "Zeroed channels: input channels that a layer multiplies only by weights of 0."
)
_WHY_LEFT = (
    "A zeroed channel stays if another layer reads it, for example through a shortcut; if a linear layer reads some\n"
    "of its pixels; if a PReLU has a slope for it; or if it is a channel of the images."
)


class Shrinking(NamedTuple):
    """The network of a run, the smaller network, and the number of zeroed input channels of each."""

    whole: checkpoints.Classifier
    smaller: checkpoints.Classifier
    zeroed_channels: int
    remaining_channels: int


def check_installed(options: PruneConfig | IterateConfig | ExportConfig) -> None:
    """Check that the package that shrinks networks is installed, if `--shrink` is given.

    Raises
    ------
    StudyError
        If the package is missing. The error tells how to install it.
    """
    if options.shrink:
        check_package(option=OPTION)


def check_package(*, option: str | None = None) -> None:
    """Check that the package that shrinks networks is installed; raise the error of `check_installed` otherwise."""
    imports.check_installed("structured", {"torch_pruning": "torch-pruning"}, option=option)


def check_followed(options: PruneConfig | IterateConfig, context: Context) -> None:
    """Check before training that the network's layers can be traced, if `--shrink` is given.

    Raises
    ------
    StudyError
        If the layers cannot be traced.
    """
    if options.shrink:
        try:
            follow(context)
        except StudyError as error:
            raise StudyError(str(error), option=OPTION) from error


def follow(context: Context) -> None:
    """Check that a network's layers can be traced, so that pruned networks can be made smaller.

    Raises
    ------
    StudyError
        If the layers cannot be traced.
    """
    network = with_plain_layers(copy.deepcopy(context.model), context.data.image_shape)
    shrink(network, example_images(context.normalization, context, 1))


def shrunk(store: Store, name: str, context: Context, run: Run) -> Shrinking:
    """Return the network of a dense or pruned run, and a smaller network that gives the same logits.

    Parameters
    ----------
    store : Store
    name : str
        Value of `--model`.
    context : Context
        Context with the data set of the run.
    run : mlflow.entities.Run

    Raises
    ------
    StudyError
        If the network's layers cannot be traced, or if the smaller network gives other logits.
    """
    with store.artifact(run.info.run_id, schema.CHECKPOINT) as path:
        classifier = checkpoints.classifier(path, run.info.run_id, name, run.data.params)
    classifier.network = with_plain_layers(classifier.network, context.data.image_shape)
    network, zeroed, n_left = shrink(classifier.network, example_images(classifier.normalization, context, COMPARED))
    return Shrinking(
        classifier, checkpoints.Classifier(network, classifier.normalization, classifier.classes), zeroed, n_left
    )


def log_sizes(
    store: Store, options: PruneConfig | IterateConfig, context: Context, run_ids: Iterable[str]
) -> list[dict[str, float]]:
    """Shrink the networks of pruned runs if `--shrink` is given, and log their sizes and times.

    Parameters
    ----------
    store : Store
    options : PruneConfig or IterateConfig
    context : Context
        Context with the data set of the runs.
    run_ids : iterable of str

    Returns
    -------
    list of metrics, one dict for each run ; empty without `--shrink`

    Raises
    ------
    StudyError
        If a network cannot be shrunk, or if the store rejects the metrics.
    """
    sizes = []
    for run_id in run_ids if options.shrink else ():
        shrinking = shrunk(store, options.model, context, store.get(run_id))
        image = example_images(shrinking.whole.normalization, context, 1)
        unshrunk_size = _size(schema.UNSHRUNK, shrinking.whole.network, image, shrinking.zeroed_channels)
        shrunk_size = _size(schema.SHRUNK, shrinking.smaller.network, image, shrinking.remaining_channels)
        sizes.append(unshrunk_size | shrunk_size)
        store.add_metrics(run_id, sizes[-1])
    return sizes


def size_lines(sizes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the metrics from `log_sizes` as a table, in lines; the keys of `sizes` name the rows."""
    if not sizes:
        return []
    first = next(iter(sizes.values()))
    rows = [["before", *_row(first, schema.UNSHRUNK), ""]]
    for name, metrics in sizes.items():
        zeroed, n_left = (metrics[prefix + schema.ZEROED_CHANNELS] for prefix in (schema.UNSHRUNK, schema.SHRUNK))
        rows.append([name, *_row(metrics, schema.SHRUNK), f"{zeroed - n_left:,.0f} of {zeroed:,.0f}"])
    header = ["shrunk", "parameters", "MACs", "ms an image", "95 % interval", "zeroed channels removed"]
    has_rest = any(metrics[schema.SHRUNK + schema.ZEROED_CHANNELS] for metrics in sizes.values())
    return ["", text_table(header, rows), "", _READING, *([_WHY_LEFT] if has_rest else [])]


def example_images(normalization: Normalization, context: Context, count: int) -> Tensor:
    """Return normalised test images, to trace a network with."""
    images = torch.from_numpy(np.array(context.data.test_images[:count]))
    return in_layout(normalization(images), torch.contiguous_format)


def _size(prefix: str, network: nn.Module, image: Tensor, zeroed: int) -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            median, low, high = latency(partial(network.eval(), image))
    finally:
        torch.set_num_threads(threads)
    return {
        prefix + schema.PARAMETERS: sum(parameter.numel() for parameter in network.parameters()),
        prefix + schema.MACS: macs(network, image),
        prefix + schema.LATENCY_MS: median,
        prefix + schema.LATENCY_MS + "_low": low,
        prefix + schema.LATENCY_MS + "_high": high,
        prefix + schema.ZEROED_CHANNELS: zeroed,
    }


def _row(metrics: Mapping[str, float], prefix: str) -> list[str]:
    median, low, high = (metrics[prefix + schema.LATENCY_MS + end] for end in ("", "_low", "_high"))
    parameters, products = (f"{metrics[prefix + name]:,.0f}" for name in (schema.PARAMETERS, schema.MACS))
    return [parameters, products, f"{median:.3g}", f"{low:.3g} to {high:.3g}"]
