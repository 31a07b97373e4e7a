"""Compute the gradient of a model's loss on the training data."""

import copy
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.data.examples import Examples, FlipCrop, generator, parts, seeded, shuffled

BATCH_SIZE = 128


class MeanGradient(Protocol):
    """Type of `mean_gradient` and of an engine's own version of it."""

    def __call__(
        self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
    ) -> dict[str, Tensor]:
        """Return the mean gradient, as `mean_gradient` does."""


def data_gradient(model: nn.Module, train: Examples) -> dict[str, Tensor]:
    """Return the gradient g of the mean cross-entropy over the whole training set, without weight decay.

    It is computed in eval mode: BatchNorm uses its running statistics and leaves them unchanged.

    Parameters
    ----------
    model : nn.Module
    train : Examples

    Returns
    -------
    dict of state-dict names to Tensors, for every parameter
    """
    return mean_gradient(model, _in_order(train), len(train), training=False)


def _in_order(train: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    start = 0
    for images in parts(train.images, BATCH_SIZE):
        yield images, train.labels[start : start + len(images)]
        start += len(images)


def sampled_gradient(
    model: nn.Module,
    train: Examples,
    gradient_of: MeanGradient,
    *,
    batches: int | None,
    mode: str,
    batch_size: int,
    augmentation: str,
    black: Tensor,
    seed: int,
) -> dict[str, Tensor]:
    """Return the gradient of the mean cross-entropy over random batches, as in the released code of Good et al. (2022).

    Parameters
    ----------
    model : nn.Module
    train : Examples
    gradient_of : callable
        Function with the interface of `mean_gradient`.
    batches : int, optional
        Number of random batches; by default, all batches of an epoch.
    mode : {"eval", "train"}
        In mode `train`, images are augmented as `augmentation` says, and BatchNorm uses the statistics of each batch.
        BatchNorm's running statistics are left unchanged in both modes.
    batch_size : int
    augmentation : {"none", "flip-crop"}
    black : Tensor [C]
        Normalised value of a black pixel, used by augmentation for padding.
    seed : int

    Returns
    -------
    dict of state-dict names to Tensors, for every parameter
    """
    random = generator(seed, "gradient")
    chosen = shuffled(train, batch_size, random)[:batches]
    taken = (train.batch(batch) for batch in chosen)
    if mode == "train" and augmentation == "flip-crop":
        augment = FlipCrop(black, random)
        taken = ((augment(images), labels) for images, labels in taken)
    with seeded(seed, "gradient layers", train.labels.device):
        return gradient_of(model, taken, sum(map(len, chosen)), training=mode == "train")


def mean_gradient(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
) -> dict[str, Tensor]:
    """Return the gradient of the mean cross-entropy over batches.

    Parameters
    ----------
    model : nn.Module
        Model, whose running statistics are left unchanged.
    batches : iterable of (images, labels)
    total : int
        Total number of images in the batches.
    training : bool
        Whether the model is in train mode, so that BatchNorm uses the statistics of each batch.

    Returns
    -------
    dict of state-dict names to Tensors, for every parameter
        Float32 if the parameter has a narrower format, in which a sum over many batches would lose digits.
    """
    # Working on a copy leaves the gradients and the running statistics of the model untouched. In the copy, frozen
    # parameters have a gradient too, because they are pruned by it.
    model = copy.deepcopy(model).train(training)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.requires_grad or parameter.is_floating_point())
    parameters = dict(model.named_parameters())
    sums = {
        name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
        for name, parameter in parameters.items()
    }
    for images, labels in batches:
        model.zero_grad()
        loss = F.cross_entropy(model(images), labels, reduction="sum") / total
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                sums[name] += parameter.grad
    return sums
