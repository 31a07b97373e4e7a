"""Train several networks at once, as one batched model: an accelerator that trains them one by one is mostly idle."""

import copy
import math
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from analysis.common.errors import StudyError
from analysis.common.interrupts import raise_if_interrupted
from pruning_study.data.examples import FlipCrop, generator, shuffled
from pruning_study.training.engines import step
from pruning_study.training.loop import (
    Epoch,
    Fit,
    TrainingSetup,
    apply_masks,
    augmentation,
    end_epoch,
    epochs_of,
    initial_state,
    leave,
    one_line,
)
from pruning_study.training.resumption import TrainingState


def fit_together(models: Sequence[nn.Module], trainings: Sequence[TrainingSetup]) -> list[Fit]:
    """Train networks of one architecture in place, each as `loop.fit` trains it alone.

    Every step trains all networks, each on the batch and with the augmentation that its own seed draws. The weights
    differ from those of `fit` only by rounding.

    Parameters
    ----------
    models : sequence of nn.Module
        Networks whose layers are the same, on the device of the examples. Their weights may differ.
    trainings : sequence of Training
        One for each network. They may differ in seed, examples and masks. Their engine evaluates the networks; torch
        trains them, in float32.

    Returns
    -------
    list of Fit
        The images per second are those of all networks together.

    Raises
    ------
    StudyError
        If the trainings differ in their hyperparameters or in the number of images, if one of them has a ramp, a
        teacher or factors on images, or is quantised while training, if a loss becomes NaN or infinite, or if the
        networks cannot be trained so.
    """
    _check(trainings)
    for model, training in zip(models, trainings, strict=True):
        apply_masks(model, training.masks)
    epochs = epochs_of(trainings[0].hyperparameters)
    if not epochs:
        return [Fit(0, math.nan, dict(training.masks)) for training in trainings]
    states = [initial_state(model, training) for model, training in zip(models, trainings, strict=True)]
    randoms = [generator(training.seed, training.stream) for training in trainings]
    for epoch in epochs:
        losses = _train(models, trainings, epoch, states, randoms)
        for model, training, loss, state in zip(models, trainings, losses, states, strict=True):
            end_epoch(model, training, epoch, loss, state)
    for model, training, state, random in zip(models, trainings, states, randoms, strict=True):
        leave(model, training, state, random)
    images = sum(len(training.train) for training in trainings) * len(epochs)
    return [Fit(state.best_epoch, images / state.seconds, state.masks) for state in states]


def _check(trainings: Sequence[TrainingSetup]) -> None:
    if len({(training.hyperparameters, len(training.train), frozenset(training.masks)) for training in trainings}) > 1:
        raise StudyError(
            "networks that train together need the same hyperparameters, masks of the same layers, and as many images"
        )
    if any(training.ramp or training.distillation or training.weighting for training in trainings):
        raise StudyError("networks that train together can have no ramp, no teacher and no factors on images")
    quantization = trainings[0].hyperparameters.quantization
    if quantization and quantization.while_training:
        raise StudyError("networks that train together can be quantised only after training")


def _train(
    models: Sequence[nn.Module],
    trainings: Sequence[TrainingSetup],
    epoch: Epoch,
    states: Sequence[TrainingState],
    randoms: Sequence[torch.Generator],
) -> list[float]:
    """Train an epoch of all networks, and return the mean loss of each."""
    settings = trainings[0].hyperparameters
    if epoch.starts_phase:
        for model, state in zip(models, states, strict=True):
            state.start_optimizer(settings.optimizer, model)
    start = time.perf_counter()
    orders = [
        shuffled(training.train, settings.batch_size, random)
        for training, random in zip(trainings, randoms, strict=True)
    ]
    augments = [augmentation(training, random) for training, random in zip(trainings, randoms, strict=True)]
    with one_line(f"{type(models[0]).__name__} fails to train together with others"):
        networks = _Networks(models, trainings, states)
        total = torch.zeros(len(models), dtype=torch.float64, device=trainings[0].train.labels.device)
        rates = epoch.learning_rates(settings.decay, len(orders[0]))
        for rate, *batches in zip(rates, *orders, strict=True):
            raise_if_interrupted()
            total += networks.step(*_batch(trainings, batches, augments), rate) * len(batches[0])
        networks.put_back(models, states)
    for state in states:
        state.seconds += time.perf_counter() - start
    return (total / len(trainings[0].train)).tolist()


def _batch(
    trainings: Sequence[TrainingSetup], batches: Sequence[Tensor], augments: Sequence[FlipCrop | None]
) -> tuple[Tensor, Tensor]:
    """Return a batch of each network: images [networks, N, C, H, W] and labels [networks, N]."""
    taken = [training.train.batch(batch) for training, batch in zip(trainings, batches, strict=True)]
    images = [augment(own) if augment else own for (own, _), augment in zip(taken, augments, strict=True)]
    return torch.stack(images), torch.stack([labels for _, labels in taken])


class _Networks:
    """Several networks as one: each tensor of their states is stacked, [networks, ...]."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        trainings: Sequence[TrainingSetup],
        states: Sequence[TrainingState],
    ) -> None:
        settings = trainings[0].hyperparameters
        self._layers = copy.deepcopy(models[0]).to("meta").train()
        self._weights, self._buffers = stack_module_state(list(models))
        stacked = TrainingState(
            velocity=_stacked([state.velocity for state in states]),
            squares=_stacked([state.squares for state in states]),
            steps=states[0].steps,  # all networks have taken as many
        )
        self._optimizer = settings.make_optimizer(math.nan, stacked)
        masks = {name: torch.stack([training.masks[name] for training in trainings]) for name in trainings[0].masks}
        self._factors = {name: mask.to(self._weights[name].dtype) for name, mask in masks.items()}

    def step(self, images: Tensor, labels: Tensor, learning_rate: float) -> Tensor:
        """Take a step with a batch of each network, and return their losses before it, [networks]."""
        scores = torch.vmap(self._scores)(self._weights, self._buffers, images)
        losses = torch.stack([F.cross_entropy(*own) for own in zip(scores, labels, strict=True)])
        # The loss of one network does not depend on the weights of another.
        all_gradients = torch.autograd.grad(losses.sum(), [*self._weights.values()])
        # The fused step reads memory in its order, and these gradients have another layout than the weights.
        gradients = {
            name: torch.empty_like(own).copy_(gradient)
            for (name, own), gradient in zip(self._weights.items(), all_gradients, strict=True)
        }
        for name, factor in self._factors.items():
            gradients[name].mul_(factor)
        step(self._weights, gradients, self._optimizer, learning_rate)
        return losses.detach()

    def _scores(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        scores: Tensor = functional_call(self._layers, (weights, buffers), (images,))
        return scores

    @torch.no_grad()
    def put_back(self, models: Sequence[nn.Module], states: Sequence[TrainingState]) -> None:
        """Write weights, buffers and velocities back to the networks and the states of their trainings."""
        for index, (model, state) in enumerate(zip(models, states, strict=True)):
            own = model.state_dict(keep_vars=True)
            for name, stacked in (self._weights | self._buffers).items():
                own[name].copy_(stacked[index])
            state.velocity = {name: stacked[index].clone() for name, stacked in self._optimizer.velocity.items()}
            state.squares = {name: stacked[index].clone() for name, stacked in self._optimizer.squares.items()}
            state.steps = {name: steps.clone() for name, steps in self._optimizer.steps.items()}


def _stacked(tensors: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of several networks by name, [networks, ...]."""
    return {name: torch.stack([own[name] for own in tensors]) for name in tensors[0]}
