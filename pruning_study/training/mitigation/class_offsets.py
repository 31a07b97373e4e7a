"""Fit class offsets on validation images, and fold them into the bias of a network's output layer."""

import copy

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError
from analysis.statistics import class_offsets
from pruning_study.data.examples import Examples
from pruning_study.pruning import budget
from pruning_study.training.engines import TORCH, Engine

OPTION = "class_offsets"
# Largest difference between logits that counts as rounding, relative to the largest logit.
_ROUNDING = 1e-4


def check(model: nn.Module, image_shape: tuple[int, int, int], support: np.ndarray, classes: tuple[str, ...]) -> None:
    """Check before training that offsets can be fitted and folded into the network.

    Parameters
    ----------
    model : nn.Module
    image_shape : (channels, height, width)
    support : (classes,), integers
        Number of validation images of each class.
    classes : tuple of str

    Raises
    ------
    StudyError
        If a class has too few images, or if the output layer has no bias that is added to the logits.
    """
    class_offsets.check_images(support, classes, OPTION)
    moved = _rescaled(model)
    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, *image_shape, generator=random).to(_bias(moved)[1].device)
    logits = TORCH.logits(moved, image)
    # Offsets from minus to plus twice the largest logit, so that a ReLU after the output layer would change logits.
    added = torch.linspace(-2, 2, len(classes)) * max(1.0, float(logits.abs().max()))
    _add(moved, added)
    _check_added(model, logits, TORCH.logits(moved, image), added)


def fold(
    model: nn.Module, dense: nn.Module, validation: Examples, engine: Engine, classes: tuple[str, ...], shrinkage: float
) -> pd.DataFrame:
    """Fit offsets that make each class's recall change by as much as the accuracy, and add them to a network in place.

    Parameters
    ----------
    model, dense : nn.Module
    validation : Examples
        Images to fit the offsets on.
    engine : Engine
        Engine that computes the logits.
    classes : tuple of str
    shrinkage : float, >= 0
        As in `class_offsets.fit`.

    Returns
    -------
    DataFrame
        The table that `class_offsets.table` returns.

    Raises
    ------
    StudyError
        If the offsets are not simply added to the logits. The network is then unchanged.
    """
    before, after, label = _logits(model, dense, validation, engine)
    table = class_offsets.table(before, after, label, classes, shrinkage=shrinkage)
    added = torch.tensor(table["offset"].to_numpy())
    folded = copy.deepcopy(model)
    _add(folded, added)
    _check_added(model, torch.from_numpy(after), engine.logits(folded, validation.images), added)
    _add(model, added)
    return table


def held_out_logits(
    model: nn.Module, dense: nn.Module, validation: Examples, engine: Engine, shrinkage: float
) -> Tensor:
    """Return validation logits plus offsets, [N, classes]; those added for an image are fitted without that image."""
    return torch.from_numpy(class_offsets.held_out(*_logits(model, dense, validation, engine), shrinkage=shrinkage))


def cross_fitted(
    logits: np.ndarray,
    folded: np.ndarray,
    model: nn.Module,
    dense: nn.Module,
    validation: Examples,
    engine: Engine,
    shrinkage: float,
) -> np.ndarray:
    """Replace the folded-in offsets in each image's validation logits with offsets fitted without that image.

    Parameters
    ----------
    logits : (images, classes)
        Logits of the network with offsets folded in, possibly computed in a different number format than those of
        `model`.
    folded : (classes,)
        Offsets that were folded in.
    model, dense : nn.Module
        The network with offsets folded in, and the dense network.
    validation : Examples
        Images that the offsets were fitted on.
    engine : Engine
    shrinkage : float, >= 0
        As in `class_offsets.fit`.
    """
    before, after, label = _logits(model, dense, validation, engine)
    bare = after - folded.astype(after.dtype)
    moved: np.ndarray = logits + class_offsets.held_out(before, bare, label, shrinkage=shrinkage) - after
    return moved


def _logits(
    model: nn.Module, dense: nn.Module, validation: Examples, engine: Engine
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logits of the dense and of the pruned network, and the labels."""
    before, after = (engine.logits(each, validation.images).cpu().numpy() for each in (dense, model))
    return before, after, validation.labels.cpu().numpy()


def _rescaled(model: nn.Module) -> nn.Module:
    """Return a copy with smaller parameters.

    A learned scale after the output layer has no effect while it is 1, as before training. In the copy it is below 1.
    """
    rescaled = copy.deepcopy(model)
    with torch.no_grad():
        for value in rescaled.parameters():
            value.mul_(0.7)
    return rescaled


def _check_added(model: nn.Module, logits: Tensor, with_added: Tensor, added: Tensor) -> None:
    """Raise a StudyError unless adding offsets to the bias adds the same offsets to the logits."""
    logits, with_added = logits.cpu(), with_added.cpu()
    largest = float(max(logits.abs().max(), with_added.abs().max()))
    if not torch.allclose(with_added, logits + added.to(logits), rtol=0, atol=_ROUNDING * largest):
        raise StudyError(
            f"the bias of {_bias(model)[0]}, the last layer that {type(model).__name__} defines, is not simply added "
            "to the logits, so class offsets cannot be folded into it: define the output layer last",
            option=OPTION,
        )


def _bias(model: nn.Module) -> tuple[str, Tensor]:
    name, layer = budget.output_layer(model)
    if not isinstance(layer.bias, Tensor):
        raise StudyError(
            f"the output layer of {type(model).__name__}, {name}, has no bias to add class offsets to: give it one",
            option=OPTION,
        )
    return name, layer.bias


def _add(model: nn.Module, offsets: Tensor) -> None:
    bias = _bias(model)[1]
    if bias.shape != offsets.shape:
        raise StudyError(
            f"the last layer that {type(model).__name__} defines has {len(bias):,} outputs for {len(offsets):,} "
            "classes: define the output layer last",
            option=OPTION,
        )
    with torch.no_grad():
        bias.add_(offsets.to(bias))
