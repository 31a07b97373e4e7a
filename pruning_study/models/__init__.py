"""Build models by name; a module is imported only when one of its models is built."""

from __future__ import annotations

import copy
import inspect
import logging
import os
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from analysis.common import imports
from analysis.common.errors import StudyError, did_you_mean
from analysis.common.printable import shortened

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Model(NamedTuple):
    """A network of this project.

    Attributes
    ----------
    factory : str
        The function of a module of this package that makes the network, written `module:function`.
    recipe : str
        Recipe that trains the network by default.
    """

    factory: str
    recipe: str = "lenet5"


MODELS: dict[str, Model] = {
    "lenet5": Model("lenet:lenet5"),
    "lenet5-half": Model("lenet:lenet5_half"),
    "lenet5-double": Model("lenet:lenet5_double"),
    "lenet-300-100": Model("lenet:lenet_300_100"),
    **{f"resnet{depth}": Model(f"resnet:resnet{depth}", "resnet-cifar") for depth in (20, 32, 44, 56, 110)},
    "wrn16-4": Model("wide_resnet:wrn16_4", "wide-resnet"),
    "wrn22-8": Model("wide_resnet:wrn22_8", "wide-resnet"),
    "wrn28-10": Model("wide_resnet:wrn28_10", "wide-resnet"),
    "alexnet": Model("small_images:alexnet"),
    "vgg11": Model("small_images:vgg11"),
    "resnet18": Model("small_images:resnet18", "resnet-cifar"),
}
# Libraries whose networks are named `torchvision:NAME` and `timm:NAME`.
LIBRARIES = ("torchvision", "timm")


OPTION = "model"
_ROUNDING = 1e-4  # tolerance for the sum of an image's probabilities

log = logging.getLogger(__name__)


def is_built_in(name: str) -> bool:
    """Return whether a name is in `MODELS` or names a library's network; building such a model imports no user code."""
    return name in MODELS or _is_of_library(name)


def _is_of_library(name: str) -> bool:
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


def check_name(name: str) -> None:
    """Check the form of a model's name, without importing user code.

    Raises
    ------
    StudyError
        If the name is neither in `MODELS` nor of the form `library:NAME` or `package.module:factory`.
    """
    if ":" in name or name in MODELS:
        return
    from pruning_study.models import libraries

    if name in libraries.torchvision_names():
        hint = f"did you mean torchvision:{name}{', or resnet20' if name.startswith('resnet') else ''}?"
    else:
        choices = f"choose one of {', '.join(MODELS)}, torchvision:NAME, timm:NAME, or package.module:factory"
        hint = did_you_mean(name, MODELS, choices)
    raise StudyError(f"{shortened(name)} is not a model: {hint}", option=OPTION)


def check_built_in(name: str, named_by: str, how_to_allow: Callable[[str], str], *, option: str | None = None) -> None:
    """Check, without importing anything, that the model named by a file or a run is built in.

    The file or the run may come from somebody else, and its model name could be the import path of any code on this
    machine. Only code that the user names is run.

    Parameters
    ----------
    name : str
    named_by : str
        Name of the file or the run, with which the error begins.
    how_to_allow : callable
        Returns what the user must type to allow a model, given its import path.
    option : str, optional
        As in `StudyError`.

    Raises
    ------
    StudyError
        If the model is not built in.
    """
    if not is_built_in(name):
        import_path = name if re.fullmatch(r"[A-Za-z_][\w.]*:\w+", name, re.ASCII) else "package.module:factory"
        raise StudyError(
            f"{named_by} names the model {shortened(name)}, which is not built in, and code that a run names is "
            f"not imported: if you trust that code, type {how_to_allow(import_path)}",
            option=option,
        )


def factory(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds a model.

    Parameters
    ----------
    name : str
        A name in `MODELS`, `torchvision:NAME` or `timm:NAME` for a network of those libraries, or
        `package.module:factory` for the user's own function, whose module is imported.

    Raises
    ------
    StudyError
        If the name is unknown, or the function cannot be imported.
    """
    check_name(name)
    if _is_of_library(name):
        from pruning_study.models import libraries

        return partial(libraries.network, name)
    if name not in MODELS:
        return imports.import_callable(name, option=OPTION)
    return cast("Callable[..., nn.Module]", imports.imported(f"pruning_study.models.{MODELS[name].factory}"))


def build(name: str, *, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """Return a new model, with initial weights from torch's global random generator.

    Parameters
    ----------
    name : str
        As in `factory`. The function that `factory` returns is called with `num_classes` and `in_channels`, and with
        `image_size` if it has a parameter of that name.
    num_classes, in_channels : int
    image_size : (height, width)

    Raises
    ------
    StudyError
        If the model cannot be built, or does not turn images of that size into logits of that many classes.
    """
    import torch

    make = factory(name)
    shape = (2, in_channels, *image_size)
    try:
        model = _call(make, num_classes, in_channels, image_size)
        _check_plain(name, model)
        with torch.no_grad():
            logits = model.eval()(torch.zeros(shape))
    except StudyError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "; --image-size makes images larger" if is_built_in(name) else ""
        raise StudyError(f"{name} fails on images of shape {shape[1:]}: {reason}{hint}", option=OPTION) from error
    _check_logits(name, logits, num_classes)
    return model


def _check_logits(name: str, logits: Any, num_classes: int) -> None:
    """Raise a StudyError if the output for two images is not logits, and warn if it is probabilities."""
    if getattr(logits, "shape", None) != (2, num_classes):
        lines = []
        if hasattr(getattr(logits, "logits", None), "shape"):  # as in the outputs of Hugging Face models
            hook = "model.register_forward_hook(lambda module, inputs, output: output.logits)"
            lines = [f"it returns {type(logits).__name__}; end the function with", f"  {hook}", "  return model"]
        message = f"{name} must return logits of shape [N, {num_classes}]"
        raise StudyError(": ".join([message, *lines[:1]]), *lines[1:], option=OPTION)
    if not logits.is_meta and num_classes > 1 and (logits >= 0).all() and (abs(logits.sum(1) - 1) < _ROUNDING).all():
        log.warning(
            "%s returns numbers that sum to 1 for each image, as after a softmax; training treats them as logits, so "
            "the network will hardly learn: return the output of the last layer, without softmax",
            name,
        )


def _call(make: Callable[..., nn.Module], num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    arguments: dict[str, object] = {"num_classes": num_classes, "in_channels": in_channels}
    signature = inspect.signature(make)
    if "image_size" in signature.parameters:
        arguments["image_size"] = image_size
    try:
        signature.bind(**arguments)
    except TypeError as error:
        name = getattr(make, "__name__", "the function")
        raise StudyError(
            f"{name}{signature} cannot be called ({error}): it must be def {name}(num_classes, in_channels), or "
            f"def {name}(num_classes, in_channels, image_size)",
            option=OPTION,
        ) from None
    return make(**arguments)


def _check_plain(name: str, model: nn.Module) -> None:
    """Raise a StudyError if a weight cannot be pruned because it is computed from others or is not a plain tensor.

    The error is raised too if the state dict holds anything but tensors.
    """
    from torch import Tensor, nn
    from torch.nn.utils import parametrize, prune
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    hooks = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
    for layer_name, layer in model.named_modules():
        is_hooked = any(isinstance(hook, hooks) for hook in layer._forward_pre_hooks.values())
        if is_hooked or parametrize.is_parametrized(layer, "weight"):
            raise StudyError(
                f"{name}: the weight of its layer {layer_name} is computed from others, and cannot be pruned: remove "
                "the mask, norm or parametrization from it (torch.nn.utils) before the function returns the model",
                option=OPTION,
            )
    plain = {Tensor, nn.Parameter, nn.UninitializedParameter, nn.UninitializedBuffer, nn.Buffer}
    for weight_name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if type(weight) not in plain:
            raise StudyError(
                f"{name}: its weight {weight_name} is a {type(weight).__name__}, not a plain tensor, as after "
                "quantization by torchao or quanto, and cannot be pruned: return the model before it is quantized, and "
                "quantize the pruned network with pruning-study quantize",
                option=OPTION,
            )
    for state_name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise StudyError(
                f"{name}: {state_name} of its state dict is a {type(value).__name__}, which a file of weights cannot "
                "hold: let get_extra_state return a tensor, or keep the value in the model's code",
                option=OPTION,
            )


class Trace(NamedTuple):
    """Memory layout for training, and the names of the parameters that the forward pass never uses."""

    memory_format: torch.memory_format
    unused: tuple[str, ...]


def trace(model: nn.Module, image_shape: tuple[int, int, int]) -> Trace:
    """Find a model's memory layout for training, and the parameters on which no logit depends.

    The layout is channels last, which is faster, unless the model does not support it.

    Parameters
    ----------
    model : nn.Module
        As `build` returns it.
    image_shape : (channels, height, width)
    """
    import torch

    for layout in (torch.channels_last, torch.contiguous_format):
        # The model is called as a copy, because the call may change running statistics.
        probe = copy.deepcopy(model).to(memory_format=layout)  # type: ignore[call-overload]
        for parameter in probe.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        images = torch.empty(2, *image_shape, memory_format=layout).zero_()
        try:
            probe(images).sum().backward()
        except RuntimeError:  # models fail most often at `x.view(len(x), -1)`
            continue
        without_gradient = {name: value for name, value in probe.named_parameters() if value.grad is None}
        unused = [name for name, value in without_gradient.items() if not _has_effect(value, probe, images)]
        return Trace(layout, tuple(unused))
    return Trace(torch.contiguous_format, ())


def _has_effect(parameter: Tensor, model: nn.Module, images: Tensor) -> bool:
    """Return whether logits depend on a parameter, which may have no gradient because it is used under `no_grad`."""
    import torch

    if not parameter.is_floating_point():
        return True
    with torch.no_grad():
        own = parameter.clone()
        parameter.fill_(torch.nan)
        has_effect = bool(model(images).isnan().any())
        parameter.copy_(own)
    return has_effect


def set_threads(name: str) -> None:
    """Make torch use one CPU thread for the LeNets, unless the environment variable OMP_NUM_THREADS is set.

    A second thread does not speed up these small networks, and slows them down considerably if another process needs
    the core. The last digits of the results depend on the number of threads.
    """
    import torch

    if name.startswith("lenet") and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(1)


def source_digest(name: str) -> str | None:
    """Return a digest of the source of a user's own model, or None if the model is built in."""
    return None if is_built_in(name) else imports.source_digest(factory(name), name)
