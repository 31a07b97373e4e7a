"""Training back ends: PyTorch, or steps compiled from C++ (`pruning_study.training.native`)."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from analysis.common.interrupts import raise_if_interrupted
from analysis.runs import schema
from analysis.runs.names import ADAM
from pruning_study.data.examples import Examples, FlipCrop, Images, parts
from pruning_study.training import gradients
from pruning_study.training.distillation import Distillation
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.predicted import predicted_classes
from pruning_study.training.quantization import at_all_names, quantized_weights

BATCH_SIZE = 128
# Kingma and Ba (2015), "Adam", Algorithm 1
ADAM_BETA2, ADAM_EPSILON = 0.999, 1e-8


@dataclass(frozen=True)
class Outcomes:
    """Loss and correctness of each training image in the last step that used it, before the update of the weights.

    The image is augmented and the model is in train mode, as in the step.

    Parameters
    ----------
    loss : float32 Tensor [N]
        Cross-entropy, not multiplied by the image's factor.
    right : bool Tensor [N]
        Whether the prediction was correct.
    """

    loss: Tensor
    right: Tensor


@dataclass(frozen=True)
class Steps:
    """The training steps of an epoch, or of a part of one.

    Parameters
    ----------
    train : Examples
    batches : sequence of int64 Tensors
        Indices of the images in each batch.
    optimizer : Optimizer
    masks : mapping of state-dict names to bool Tensors
        Weights whose mask is False are 0 and stay 0. Without `withheld`, their momentum stays 0 too.
    augment : FlipCrop, optional
        Flips and shifts the images of a batch.
    distillation : Distillation, optional
        Adds a teacher's term to the loss; by default, the loss is the cross-entropy.
    withheld : mapping of state-dict names to Tensors, optional
        Values of the pruned weights. If given, these values and their momentum are updated too, in place, with the
        gradient computed while the pruned weights are 0.
    factors : float32 Tensor [len(train)], optional
        Factor, possibly negative, on the loss of each training image, including the teacher's term. The loss of a batch
        is the mean of factor times loss over its images. By default, all factors are 1.
    outcomes : Outcomes, optional
        Outcomes to update in place for the images of the batches.
    stepped : callable, optional
        Called after each step with the number of its batch, counted from 0. It may read `outcomes`, and change the
        factors of images in later batches in place. If it raises an exception, training ends.
    """

    train: Examples
    batches: Sequence[Tensor]
    optimizer: Optimizer
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    augment: FlipCrop | None = None
    distillation: Distillation | None = None
    withheld: Mapping[str, Tensor] | None = None
    factors: Tensor | None = None
    outcomes: Outcomes | None = None
    stepped: Callable[[int], None] | None = None


class Engine(Protocol):
    """A back end that trains a model, evaluates it and computes its gradient.

    The weights are always stored in the parameters of the torch model, so that engines can be exchanged at any time.

    Attributes
    ----------
    name : str
        Name of the engine, a value of the option `--engine`.
    layout : torch.memory_format, optional
        Memory layout that the images must have; None if any layout will do.
    """

    name: str
    layout: torch.memory_format | None

    @property
    def arithmetic(self) -> str:
        """Value of the tag `arithmetic`, which says on which machines a training gives bit-identical results."""

    @property
    def identity(self) -> str:
        """String that two engines share only if their results are bit-identical on one device and version of torch."""

    def with_weight_bits(self, bits: int | None) -> Self:
        """Return this engine with quantized weights, or with float32 weights if `bits` is None.

        With bits, training and evaluation compute with a network's quantized weights, while the optimizer updates the
        underlying float32 weights by the gradient at the quantized ones. The gradient for pruning scores and a
        teacher's logits are computed with float32 weights.
        """

    def train_epoch(self, model: nn.Module, steps: Steps) -> float:
        """Train a model in place for the steps of an epoch, or of a part of one.

        Returns
        -------
        float
            Mean training loss over the images, each loss multiplied by the image's factor.
        """

    def logits(self, model: nn.Module, images: Images) -> Tensor:
        """Return the logits [N, classes] in eval mode, leaving the model's mode unchanged."""

    def gradient(self, model: nn.Module, train: Examples) -> dict[str, Tensor]:
        """Return the gradient of the data loss, as `gradients.data_gradient` does."""

    def mean_gradient(
        self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
    ) -> dict[str, Tensor]:
        """Return the mean gradient, as `gradients.mean_gradient` does."""

    def measure_statistics(
        self, model: nn.Module, train: Examples, batches: Sequence[Tensor], augment: FlipCrop | None
    ) -> None:
        """Set BatchNorm's running statistics to their mean over batches of training images, without training.

        Layers that stay in eval mode, or that the model does not use, keep their statistics. The parameters are as in
        `Steps`.
        """

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of logits, [N, classes]."""

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> float:
        """Return the mean cross-entropy of logits, [N, classes]."""

    def cross_entropies(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the logits of each image, [N]."""


class Torch:
    """The engine for any model on any device.

    With the precision bf16, training steps use torch's autocast. Convolutions and matrix products round their inputs to
    bfloat16, in the forward and the backward pass, and return bfloat16, as do the layers between them. Everything else
    is float32: the weights, the optimizer's step with weight decay and velocity, the masks, BatchNorm's statistics, and
    the loss, for which the logits are converted to float32.

    Only training uses bf16. Evaluation, the gradient for pruning scores and a teacher's logits are float32, because
    rounding errors of the evaluation would otherwise count as errors of pruning. Any other program can repeat the
    evaluation with the stored weights.

    Parameters
    ----------
    precision : {"float32", "bf16"}
    weight_bits : int, optional
        Bits of a quantized weight; by default weights are not quantized.
    """

    name = "torch"
    arithmetic = schema.TORCH_ARITHMETIC
    layout: torch.memory_format | None = None

    def __init__(self, precision: str = schema.FLOAT32, weight_bits: int | None = None) -> None:
        self._precision, self._weight_bits = precision, weight_bits

    @property
    def identity(self) -> str:
        """Name, precision, bits of a weight, and number of threads, on which the rounding of sums depends."""
        name = self.name if self._precision == schema.FLOAT32 else f"{self.name} in {self._precision}"
        name = f"{name} with weights of {self._weight_bits} bits" if self._weight_bits else name
        return f"{name} on threads: {torch.get_num_threads()}"

    def with_weight_bits(self, bits: int | None) -> "Torch":
        """Return this engine with quantized or float32 weights, as in `Engine.with_weight_bits`."""
        return Torch(self._precision, bits)

    def train_epoch(self, model: nn.Module, steps: Steps) -> float:
        """Train a model in place, as in `Engine.train_epoch`."""
        model.train()
        masked = {model.get_parameter(name): mask for name, mask in steps.masks.items()}
        factors = [(parameter, torch.empty_like(parameter).copy_(mask)) for parameter, mask in masked.items()]
        total = torch.zeros((), dtype=torch.float64, device=steps.train.labels.device)
        rates = steps.optimizer.learning_rates(len(steps.batches))
        for number, (batch, rate) in enumerate(zip(steps.batches, rates, strict=True)):
            # The loss stays on the device, because reading it here would stall the device at every step.
            total += self._forward(model, steps, batch) * len(batch)
            if steps.withheld is None:
                # A weight of 0 with a gradient of 0 gets no weight decay and no momentum, and so stays exactly 0.
                for parameter, factor in factors:
                    if parameter.grad is not None:
                        parameter.grad.mul_(factor)
                _step(model, steps.optimizer, rate)
            else:
                _step_with_withheld(model, steps.optimizer, rate, steps.masks, steps.withheld)
            model.zero_grad()
            if steps.stepped:
                steps.stepped(number)
        return total.item() / sum(len(batch) for batch in steps.batches)

    def _forward(self, model: nn.Module, steps: Steps, batch: Tensor) -> Tensor:
        """Compute a batch's loss and its gradients, and return the loss."""
        images, labels = steps.train.batch(batch)
        images = steps.augment(images) if steps.augment else images
        scores, distillation = self._training_logits(model, images), steps.distillation
        wanted, on_losses = None, None if steps.factors is None else steps.factors[batch]
        if distillation:
            teacher_logits = distillation.teacher_logits(batch, images)
            wanted, on_losses = distillation.targets(teacher_logits, labels, on_losses, self.probabilities)
        loss = _loss(scores, labels, distillation, wanted, on_losses)
        if steps.outcomes:
            _note(steps.outcomes, batch, scores.detach(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _training_logits(self, model: nn.Module, images: Tensor) -> Tensor:
        network = self._network(model)
        if self._precision == schema.FLOAT32:
            return network(images)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return network(images).float()

    def _network(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return a function that computes logits with the current weights, quantized if the engine quantizes."""
        if not self._weight_bits:
            return model
        weights = at_all_names(model, quantized_weights(model, self._weight_bits))
        return partial(functional_call, model, weights, tie_weights=False)

    def logits(self, model: nn.Module, images: Images) -> Tensor:
        """Return the logits as in `Engine.logits`."""
        training = model.training
        model.eval()
        with torch.inference_mode():
            network = self._network(model)
            scores = [network(part) for part in parts(images, BATCH_SIZE)]
        model.train(training)
        return torch.cat(scores)

    def gradient(self, model: nn.Module, train: Examples) -> dict[str, Tensor]:
        """Return the gradient of the data loss, as `gradients.data_gradient` does."""
        return gradients.data_gradient(model, train)

    def mean_gradient(
        self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
    ) -> dict[str, Tensor]:
        """Return the mean gradient, as `gradients.mean_gradient` does."""
        return gradients.mean_gradient(model, batches, total, training=training)

    def measure_statistics(
        self, model: nn.Module, train: Examples, batches: Sequence[Tensor], augment: FlipCrop | None
    ) -> None:
        """Set BatchNorm's running statistics as in `Engine.measure_statistics`."""
        model.train()
        layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and _updates_statistics(layer)]
        before = [(layer.momentum, copy.deepcopy(layer.state_dict())) for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # None: average over all batches
        with torch.no_grad():
            for batch in batches:
                raise_if_interrupted()
                images, _ = train.batch(batch)
                model(augment(images) if augment else images)
        for layer, (momentum, state) in zip(layers, before, strict=True):
            layer.momentum = momentum
            if not layer.num_batches_tracked:  # the model does not use the layer
                layer.load_state_dict(state)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of logits as in `Engine.probabilities`."""
        return scores.softmax(1)

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> float:
        """Return the mean cross-entropy as in `Engine.cross_entropy`."""
        return F.cross_entropy(scores, labels).item()

    def cross_entropies(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropies as in `Engine.cross_entropies`."""
        return F.cross_entropy(scores, labels, reduction="none")


TORCH = Torch()
TORCH_BF16 = Torch(schema.BF16)


def _loss(
    scores: Tensor,
    labels: Tensor,
    distillation: Distillation | None,
    teacher_logits: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """Return a batch's loss; without image weights, torch's own means are used, which round unlike `Tensor.mean`."""
    if distillation is None or teacher_logits is None:
        if weights is None:
            return F.cross_entropy(scores, labels)
        return (weights * F.cross_entropy(scores, labels, reduction="none")).mean()
    if weights is None:
        return distillation.loss(scores, labels, teacher_logits)
    return (weights * distillation.image_losses(scores, labels, teacher_logits)).mean()


def _note(outcomes: Outcomes, batch: Tensor, scores: Tensor, labels: Tensor) -> None:
    outcomes.loss[batch] = F.cross_entropy(scores, labels, reduction="none")
    outcomes.right[batch] = predicted_classes(scores) == labels


def _updates_statistics(layer: _BatchNorm) -> bool:
    """Return whether a BatchNorm layer updates its running statistics; a frozen layer stays in eval mode."""
    return layer.training and layer.track_running_stats


def _step(model: nn.Module, optimizer: Optimizer, learning_rate: float) -> None:
    trained = {name: weights for name, weights in model.named_parameters() if weights.grad is not None}
    gradients = {name: weights.grad for name, weights in trained.items() if weights.grad is not None}
    step(trained, gradients, optimizer, learning_rate)


@torch.no_grad()
def step(
    weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], optimizer: Optimizer, learning_rate: float
) -> None:
    """Make a step of SGD or Adam, without torch's optimizer classes, which take seconds to import torch's compiler.

    Parameters
    ----------
    weights, gradients : mapping of names to Tensors
        Both are changed in place.
    optimizer : Optimizer
        Its buffers for these names are changed in place.
    learning_rate : float
        Learning rate of this step.
    """
    decay = optimizer.regularizer.times(optimizer.weight_decay)
    for name, own in weights.items():
        if decay.absolute:
            gradients[name].add_(own.sign(), alpha=decay.absolute)
        if decay.decoupled:
            own.mul_(1 - learning_rate * decay.decoupled)
    both = [*weights.values()], [gradients[name] for name in weights]
    settings: dict[str, Any] = {"lr": learning_rate, "weight_decay": decay.squared, "maximize": False, "fused": True}
    if optimizer.name == ADAM:
        memory = (optimizer.velocity, optimizer.squares, optimizer.steps)
        moments, squares, steps = ([buffers[name] for name in weights] for buffers in memory)
        settings |= {"beta1": optimizer.momentum, "beta2": ADAM_BETA2, "eps": ADAM_EPSILON, "amsgrad": False}
        adam(*both, moments, squares, [], steps, **settings)
    else:
        settings |= {"momentum": optimizer.momentum, "dampening": 0.0, "nesterov": optimizer.momentum > 0}
        sgd(*both, [optimizer.velocity[name] for name in weights], **settings)


@torch.no_grad()
def _step_with_withheld(
    model: nn.Module,
    optimizer: Optimizer,
    learning_rate: float,
    masks: Mapping[str, Tensor],
    withheld: Mapping[str, Tensor],
) -> None:
    """Restore the pruned weights, make a step, and remove them again."""
    for name in masks:
        model.get_parameter(name).add_(withheld[name])
    _step(model, optimizer, learning_rate)
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        withheld[name].copy_(parameter).masked_fill_(mask, 0)
        parameter.masked_fill_(~mask, 0)
