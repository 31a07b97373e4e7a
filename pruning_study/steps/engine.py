"""Choose the training back end for a model."""

import logging
from functools import cache

from torch import nn

from pruning_study.native import engine as native
from pruning_study.native.errors import NativeError
from pruning_study.training.engines import TORCH, Engine

log = logging.getLogger(__name__)


def choose(
    name: str | None,
    model: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    device: str,
) -> Engine:
    """Return the training back end. If the native one cannot be used, log the reason as a warning and return torch.

    Parameters
    ----------
    name : {"torch", "native"}, optional
        By default the native one where it can be used.
    model : nn.Module
    image_shape : (channels, height, width)
    device : str
    """
    if name == "torch":
        return TORCH
    try:
        if device != "cpu":
            raise NativeError(f"it runs on the cpu, not on {device}")
        return native.load(model, image_shape)
    except NativeError as reason:
        _say_once(f"engine torch, because the native one cannot be used: {reason}")
        return TORCH


@cache
def _say_once(line: str) -> None:
    log.warning(line)
