"""What turns the crank: PyTorch, or the native step that `pruning_study.native` compiles."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training import gradients
from pruning_study.training.distillation import Distillation
from pruning_study.training.optimizer import Optimizer

BATCH_SIZE = 128

log = logging.getLogger(__name__)


class Engine(Protocol):
    """Trains a model, evaluates it and takes its gradient, whose weights stay torch's parameters throughout."""

    name: str
    layout: torch.memory_format | None  # that images have to lie in; None: any

    @property
    def identity(self) -> str:
        """The same for the same results, to the last bit, on one device and by one version of torch."""

    def train_epoch(
        self,
        model: nn.Module,
        train: Examples,
        batches: Sequence[Tensor],
        optimizer: Optimizer,
        masks: Mapping[str, Tensor],
        augment: Callable[[Tensor], Tensor] | None = None,
        distillation: Distillation | None = None,
    ) -> float:
        """Train a model in place on the batches of an epoch, or of a part of one.

        Parameters
        ----------
        model : nn.Module
        train : Examples
        batches : sequence of int64 Tensors
            Indices of the images of each batch.
        optimizer : Optimizer
        masks : mapping of state-dict names to bool Tensors
            Where False, the weight, which is 0, and its momentum stay 0.
        augment : callable, optional
            Turns the images of a batch into what is trained on.
        distillation : Distillation, optional
            Whose loss is trained on; by default the cross-entropy.

        Returns
        -------
        float
            The mean training loss.
        """

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits [N, classes] in eval mode; the model's mode is left as it was."""

    def gradient(self, model: nn.Module, train: Examples) -> dict[str, Tensor]:
        """As `gradients.data_gradient`."""


class Torch:
    """The engine that takes any model on any device."""

    name = "torch"
    layout: torch.memory_format | None = None

    @property
    def identity(self) -> str:
        return f"{self.name} on threads: {torch.get_num_threads()}"

    def train_epoch(
        self,
        model: nn.Module,
        train: Examples,
        batches: Sequence[Tensor],
        optimizer: Optimizer,
        masks: Mapping[str, Tensor],
        augment: Callable[[Tensor], Tensor] | None = None,
        distillation: Distillation | None = None,
    ) -> float:
        model.train()
        sgd = _torch_sgd(model, optimizer)
        masked = {model.get_parameter(name): mask for name, mask in masks.items()}
        factors = [(parameter, torch.empty_like(parameter).copy_(mask)) for parameter, mask in masked.items()]
        total = torch.zeros((), dtype=torch.float64, device=train.labels.device)
        for batch in batches:
            images, labels = train.of(batch)
            images = augment(images) if augment else images
            scores = model(images)
            if distillation:
                loss = distillation.loss(scores, labels, distillation.of(batch, images))
            else:
                loss = F.cross_entropy(scores, labels)
            loss.backward()
            # A weight of 0 whose gradient is 0 has no weight decay and no momentum: it stays exactly 0.
            for parameter, factor in factors:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
            sgd.step()
            sgd.zero_grad()
            # The loss stays on the device: reading it here would make the device wait at every step.
            total += loss.detach() * len(labels)
        return total.item() / sum(len(batch) for batch in batches)

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        training = model.training
        model.eval()
        with torch.inference_mode():
            parts = [model(part) for part in images.split(BATCH_SIZE)]
        model.train(training)
        return torch.cat(parts)

    def gradient(self, model: nn.Module, train: Examples) -> dict[str, Tensor]:
        return gradients.data_gradient(model, train)


TORCH = Torch()


def _torch_sgd(model: nn.Module, optimizer: Optimizer) -> torch.optim.SGD:
    sgd = torch.optim.SGD(
        model.parameters(),
        lr=optimizer.learning_rate,
        momentum=optimizer.momentum,
        nesterov=optimizer.momentum > 0,
        weight_decay=optimizer.weight_decay,
        fused=True,
    )
    for name, parameter in model.named_parameters():
        sgd.state[parameter]["momentum_buffer"] = optimizer.velocity[name]
    return sgd
