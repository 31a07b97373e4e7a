"""Gradient of the training objective at a point."""

import copy
from collections.abc import Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.data.examples import Examples, flip_crop, generator, seeded, shuffled_batches

BATCH_SIZE = 128


def data_gradient(model: nn.Module, train: Examples) -> dict[str, Tensor]:
    """Gradient g of the mean cross-entropy over the whole training set, in eval mode, without weight decay.

    BatchNorm uses its running statistics and leaves them unchanged.

    Parameters
    ----------
    model : nn.Module
    train : Examples

    Returns
    -------
    dict of state-dict name -> Tensor, for every parameter
    """
    batches = zip(train.images.split(BATCH_SIZE), train.labels.split(BATCH_SIZE), strict=True)
    return _mean_gradient(model, batches, len(train), training=False)


def sampled_gradient(
    model: nn.Module,
    train: Examples,
    *,
    batches: int | None,
    mode: str,
    batch_size: int,
    augmentation: str,
    black: Tensor,
    seed: int,
) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy over some random batches, as the released code takes it.

    Parameters
    ----------
    model : nn.Module
    train : Examples
    batches : int, optional
        How many random batches; all by default.
    mode : {"eval", "train"}
        `train`: augmented images, and BatchNorm with the statistics of each batch. Its running statistics are
        left unchanged in both.
    batch_size : int
    augmentation : {"none", "flip-crop"}
    black : Tensor [C]
    seed : int

    Returns
    -------
    dict of state-dict name -> Tensor, for every parameter
    """
    random = generator(seed, "gradient")
    chosen = list(islice(shuffled_batches(train, batch_size, random), batches))
    total = sum(len(batch) for batch in chosen)
    if mode == "train" and augmentation == "flip-crop":
        chosen = [Examples(flip_crop(images, black, random), labels) for images, labels in chosen]
    with seeded(seed, "gradient layers", train.labels.device):
        return _mean_gradient(model, chosen, total, training=mode == "train")


def _mean_gradient(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
) -> dict[str, Tensor]:
    # A copy, so that neither gradients nor running statistics of the model are touched.
    model = copy.deepcopy(model).train(training)
    model.zero_grad()
    for images, labels in batches:
        (F.cross_entropy(model(images), labels, reduction="sum") / total).backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
