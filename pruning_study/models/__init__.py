"""Model families by name; a family is imported when one of its models is built."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.runs.errors import StudyError, did_you_mean
from pruning_study import imports

if TYPE_CHECKING:
    import torch
    from torch import nn

# name -> "module:function", resolved at use
MODELS = {
    "lenet5": "pruning_study.models.lenet:lenet5",
    **{f"resnet{depth}": f"pruning_study.models.resnet:resnet{depth}" for depth in (20, 32, 44, 56, 110)},
}


OPTION = "--model"


def check_name(name: str) -> None:
    """Raise StudyError where a name can be no model's."""
    if ":" not in name and name not in MODELS:
        hint = did_you_mean(name, MODELS, f"there are {', '.join(MODELS)}, and package.module:factory")
        raise StudyError(f"{name!r} is not a model: {hint}", option=OPTION)


def factory(name: str) -> Callable[..., nn.Module]:
    """The callable that makes a model.

    Parameters
    ----------
    name : str
        A name of `MODELS`, or `package.module:factory` of one's own.

    Raises
    ------
    StudyError
        Where there is no such name, module or factory.
    """
    check_name(name)
    return imports.import_callable(MODELS.get(name, name), option=OPTION)


def build(name: str, *, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """A new model with the initial weights that torch's global generator gives.

    Parameters
    ----------
    name : str
        As `factory` takes it. The factory is called with `num_classes` and `in_channels`, and with
        `image_size` where it has a parameter of that name.
    num_classes, in_channels : int
    image_size : (height, width)

    Raises
    ------
    StudyError
        Where the model cannot be made, or does not turn such images into such logits.
    """
    import torch

    make = factory(name)
    arguments: dict[str, object] = {"num_classes": num_classes, "in_channels": in_channels}
    shape = (2, in_channels, *image_size)
    try:
        if "image_size" in inspect.signature(make).parameters:
            arguments["image_size"] = image_size
        model = make(**arguments)
        with torch.no_grad():
            logits = model.eval()(torch.zeros(shape))
    except StudyError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StudyError(f"{name} fails on images of shape {shape[1:]}: {reason}", option=OPTION) from error
    if getattr(logits, "shape", None) != (2, num_classes):
        raise StudyError(f"{name} should return logits of shape [N, {num_classes}]", option=OPTION)
    return model


def memory_format(model: nn.Module, image_shape: tuple[int, int, int]) -> torch.memory_format:
    """The layout to train in: channels last, which is the faster one, unless the model cannot take it.

    Parameters
    ----------
    model : nn.Module
        As `build` returns it.
    image_shape : (channels, height, width)
    """
    import torch

    # A copy, whose running statistics may change. `x.view(len(x), -1)` is what fails most often.
    probe = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.empty(2, *image_shape, memory_format=torch.channels_last).zero_()
    try:
        probe(images).sum().backward()
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last


def recipe(name: str) -> str:
    """The recipe that a model is trained by unless one is named."""
    return "resnet-cifar" if name in MODELS and name.startswith("resnet") else "lenet5"


def set_threads(name: str) -> None:
    """One CPU thread for LeNet5, unless the environment says otherwise.

    A second thread gains it nothing, and costs it nearly everything where another process wants the core; and
    the last digits of the results depend on their number.
    """
    import torch

    if name == "lenet5" and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(1)


def source_digest(name: str) -> str | None:
    """Return a digest of the source file of a model of one's own; None for the project's models."""
    return None if name in MODELS else imports.source_digest(factory(name))
