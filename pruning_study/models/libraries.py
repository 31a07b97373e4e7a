"""Build networks of torchvision and timm by name, with random weights: nothing is downloaded."""

import importlib
import re
import warnings
from typing import Any

from torch import nn

from analysis.common import imports
from analysis.common.errors import StudyError, did_you_mean

OPTION = "model"
# In training mode, these two also return the logits of auxiliary classifiers, unless built without them.
WITH_FURTHER_CLASSIFIERS = ("googlenet", "inception_v3")


def network(name: str, *, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """Return a library's network, with initial weights from torch's global random generator.

    Parameters
    ----------
    name : str
        `torchvision:NAME` or `timm:NAME`.
    num_classes : int
        Number of outputs of the network's last layer.
    in_channels : int
        Channels of an image. torchvision's networks expect 3 channels; for a different number, the first convolution is
        replaced with one that has `in_channels` input channels. timm does so on its own.
    image_size : (height, width)
        Used only by networks built for a fixed image size, such as vision transformers.

    Raises
    ------
    StudyError
        If the library is not installed, or has no such image classification network.
    """
    library, _, model = name.partition(":")
    if library == "timm":
        return _timm(name, model, num_classes, in_channels, image_size)
    return _of_channels(_torchvision(name, model, num_classes, image_size), in_channels)


def torchvision_names() -> list[str]:
    """Return the names of torchvision's image classification networks."""
    models = _torchvision_models()
    names: list[str] = models.list_models(module=models)
    return names


def _torchvision_models() -> Any:
    return importlib.import_module("pruning_study.data.torchvision_import").torchvision.models


def _torchvision(name: str, model: str, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    _check_known(name, model, torchvision_names())
    arguments: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if model in WITH_FURTHER_CLASSIFIERS:
        arguments |= {"aux_logits": False, "init_weights": False}
    if model.startswith("vit_"):
        if image_size[0] != image_size[1]:
            raise StudyError(f"{name} takes square images: resize them with --image-size", option=OPTION)
        arguments["image_size"] = image_size[0]
    if model.startswith("maxvit"):
        arguments["input_size"] = image_size
    network: nn.Module = _torchvision_models().get_model(model, **arguments)
    return network


def _of_channels(model: nn.Module, in_channels: int) -> nn.Module:
    """Replace a model's first convolution if it does not have `in_channels` input channels."""
    place, first = next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    if in_channels != first.in_channels:
        sizes: dict[str, Any] = {
            key: getattr(first, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        model.set_submodule(place, nn.Conv2d(in_channels, first.out_channels, bias=first.bias is not None, **sizes))
    return model


def _timm(name: str, model: str, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    _torchvision_models()  # timm imports torchvision, which needs `torchvision_import` with a CPU-only torch
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise StudyError(f"{name} needs the package timm: {imports.pip_line('timm')}", option=OPTION) from error
    # timm also accepts names that make it download a model.
    if not re.fullmatch(r"\w+", model, re.ASCII) or not timm.is_model(model):
        _check_known(name, model, timm.list_models())
    of_one_size = timm.get_pretrained_cfg(model).fixed_input_size
    sizes = {"img_size": image_size} if of_one_size else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about deprecated model names
        network: nn.Module = timm.create_model(
            model, pretrained=False, num_classes=num_classes, in_chans=in_channels, **sizes
        )
    return network


def _check_known(name: str, model: str, names: list[str]) -> None:
    library = name.partition(":")[0]
    if model not in names:
        hint = did_you_mean(model, names, f"{len(names):,} names exist, such as {', '.join(names[:3])}")
        raise StudyError(
            f"{library} has no network {model[:100]!r} for the classification of images: {hint}", option=OPTION
        )
