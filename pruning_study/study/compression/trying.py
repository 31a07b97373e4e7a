"""Apply chains to dense networks, and find the images that each network predicts right."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.common.errors import StudyError
from analysis.compare.comparison import Comparison
from analysis.runs import schema
from analysis.statistics.intensification import networks_at_chance
from pruning_study.pruning import filters
from pruning_study.steps import deployed, logged_model, runs, shrunk
from pruning_study.steps.class_changes import class_changes
from pruning_study.steps.context import Context
from pruning_study.steps.identity import hashed_params
from pruning_study.steps.plan import Pruning, plan_pruning
from pruning_study.steps.runs import FinishedRun, LoadedRun
from pruning_study.study.compression import judgement
from pruning_study.study.compression.chains import LEAST_FILTER_RATIO, WEIGHT_RATIOS, Chain, ChainSpace
from pruning_study.study.compression.judgement import Judgement, Validated
from pruning_study.study.lineage import lineage
from pruning_study.study.searched_networks import SearchedNetwork
from pruning_study.training.evaluation import Predictions
from pruning_study.training.mitigation import class_offsets

if TYPE_CHECKING:
    from onnx import ModelProto

LATENCY, MACS = "latency", "macs"


class Network(SearchedNetwork):
    """A dense network to which chains are applied; a chain changes the options of its `plan`."""

    def make(self, chain: Chain) -> FinishedRun:
        """Find or make the compressed run of a chain.

        Raises
        ------
        StudyError
            If a step cannot be made, or if the store rejects its run.
        """
        parent = deployed.Parent(self.dense, self._pruned(chain) if chain.prunes else None)
        options = replace(self.plan.options, **chain.options)
        plan = deployed.plan_compression(parent, number_format=chain.number_format, name=str(chain))
        return deployed.compress(plan, self.context, parent, options)

    def model(self, run: FinishedRun) -> "ModelProto":
        """Return the ONNX model of a compressed run."""
        return logged_model.stored(self.context.store, run.run_id)

    @cached_property
    def dense_model(self) -> "ModelProto":
        """The dense network as a float32 ONNX model."""
        return self.model(self.make(Chain()))

    def validated(self, chain: Chain) -> Validated:
        """Apply a chain, and find the validation images that the dense and the compressed network predict right."""
        after = runs.val_predictions(self.context.store, self.make(chain).run_id)
        return Validated(self.context.validation_indices, self.dense.dense.val_predictions.right, after.right)

    def cost(self, chain: Chain, minimize: str) -> tuple[FinishedRun, float]:
        """Apply a chain, and return its run and its `Judgement.cost`."""
        run = self.make(chain)
        if minimize == LATENCY:
            return run, self._share_of_time(run) if chain != Chain() else 1.0
        return run, float(run.metrics[schema.MACS if minimize == MACS else schema.MODEL_BYTES])

    def tested(self, chain: Chain) -> Predictions:
        """Apply a chain, and predict the test images with the compressed network."""
        run = self.make(chain)
        return deployed.tested(self.context.store, self.context.data, run.run_id, self.model(run))

    def _share_of_time(self, run: FinishedRun) -> float:
        images = self.context.data.test_images
        return deployed.compared(self.dense_model, self.model(run), images, [1])[0].share.median

    def _pruned(self, chain: Chain) -> FinishedRun:
        pruning = plan_pruning(replace(self.plan.options, **chain.options), self.context)
        _, run = lineage(pruning, self.context, self.dense)
        return run


def in_turn(networks: Iterable[Network]) -> Iterator[Network]:
    """Yield networks, and free each network's images after its turn: the images of all would not fit into memory."""
    for network in networks:
        try:
            yield network
        finally:
            network.context.forget_images()


def judge(networks: Sequence[Network], chain: Chain, minimize: str) -> Judgement:
    """Apply a chain to each network, and return the chain's cost and losses on validation images.

    Parameters
    ----------
    networks : sequence of Network
        Losses are means over the networks. The cost is measured on the first network, which is to be delivered.
    chain : Chain
    minimize : {"size", "latency", "macs"}
    """
    data = networks[0].context.data
    validated = [network.validated(chain) for network in in_turn(networks)]
    losses = judgement.losses_on_validation(np.asarray(data.train_labels), validated)
    run, cost = networks[0].cost(chain, minimize)
    size, macs = (int(run.metrics[name]) for name in deployed.COMPRESSED_METRICS)
    return Judgement(
        cost=cost,
        model_bytes=size,
        macs=macs,
        accuracy=float(np.mean([each.after.mean() for each in validated])),
        **judgement.worst_losses(data.classes, *losses),
        run_id=run.run_id,
    )


def compared(networks: Sequence[Network], chain: Chain) -> Comparison:
    """Apply a chain to each network, and compare the results with the dense networks on test images."""
    sides = [(each.dense.dense.predictions, each.tested(chain)) for each in in_turn(networks)]
    return class_changes(networks[0].context.data.classes, *zip(*sides, strict=True))


def check_better_than_chance(dense: LoadedRun) -> None:
    """Raise a StudyError if the dense network is at chance."""
    predictions = dense.dense.val_predictions
    if networks_at_chance(predictions.label, predictions.right[np.newaxis])[0]:
        raise StudyError(
            f"the dense network has {100 * predictions.accuracy:.1f} % of the validation images right, which is no "
            "better than chance: train it longer before it is compressed"
        )


def space_of(plan: Pruning, context: Context, minimize: str, more: Mapping[str, str]) -> tuple[ChainSpace, list[str]]:
    """Return the space of chains for a network, and a line on each kind of step that cannot be applied to it.

    Parameters
    ----------
    plan : Pruning
    context : Context
    minimize : {"size", "latency", "macs"}
    more : mapping of str
        Further params that all chains share.
    """
    most = plan.hyperparameters.epochs
    epochs = tuple(sorted({max(most // 2, min(most, 1)), most}))
    params = hashed_params(plan.at(1.0).params)
    space = ChainSpace(minimize, epochs, settings={**params, **more})
    try:
        shrunk.follow(context)
    except StudyError as error:
        return space, [f"Only number formats are tried: {error}."]
    lines = []
    try:
        half, largest = _filter_ratios(plan, context)
        if largest > LEAST_FILTER_RATIO:
            space = replace(space, half_ratio=half, most_filters=largest)
    except StudyError as error:
        lines.append(f"No filters are removed: {error}.")
    budget = plan.budget
    weights = min(WEIGHT_RATIOS[1], budget.total / (budget.total - budget.prunable + 1))
    if weights > WEIGHT_RATIOS[0]:
        space = replace(space, most_weights=weights, gradual=epochs[0] > 1)
    try:
        data = context.data
        class_offsets.check(context.model, data.image_shape, context.validation_support, data.classes)
        space = replace(space, offsets=True)
    except StudyError as error:
        lines.append(f"Class offsets are not tried: {error}.")
    return space, lines


def _filter_ratios(plan: Pruning, context: Context) -> tuple[float, float]:
    """Return the ratio at which half of the filters are left, and the largest at which each layer has a filter left."""
    all_filters, total = context.filters(plan.prunable), plan.budget.total
    numbers = ({name: max(count // share, 1) for name, count in all_filters.numbers.items()} for share in (2, total))
    half, largest = (total / (total - filters.removed(all_filters, filter_numbers)) for filter_numbers in numbers)
    largest = float(np.floor(100 * largest) / 100)
    return min(max(half, LEAST_FILTER_RATIO), largest), largest
