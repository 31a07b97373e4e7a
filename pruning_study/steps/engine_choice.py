"""Choose the training back end for a model."""

import logging
from functools import cache

from torch import nn

from analysis.runs import schema
from analysis.runs.names import SGD
from pruning_study.training.engines import TORCH, TORCH_BF16, Engine
from pruning_study.training.native import engine as native
from pruning_study.training.native.layers import NativeError, UnsupportedModelError

log = logging.getLogger(__name__)


def choose(
    name: str | None,
    model: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    device: str,
    precision: str = schema.FLOAT32,
    optimizer: str = SGD,
) -> Engine:
    """Return the training back end.

    If native is wanted but cannot be used, the reason is logged as a warning, and torch is returned. On a GPU, and for
    a model that native does not support, the warning appears only if `name` is native. With bf16 and with Adam, which
    only torch supports, it never appears.

    Parameters
    ----------
    name : {"torch", "native"}, optional
        Default: native on a CPU, if it can be used; otherwise torch.
    model : nn.Module
    image_shape : (channels, height, width)
    device : str
    precision : {"float32", "bf16"}
    optimizer : {"sgd", "adam"}
    """
    if precision == schema.BF16:
        return TORCH_BF16
    if name == "torch" or (name is None and device != "cpu") or optimizer != SGD:
        return TORCH
    try:
        if device != "cpu":
            raise NativeError(f"native runs on the cpu, not on {device}")
        return native.load(model, image_shape)
    except NativeError as reason:
        if name or not isinstance(reason, UnsupportedModelError):
            say_once(f"engine torch, not native: {reason}")
        return TORCH


@cache
def say_once(line: str) -> None:
    log.warning(line)
