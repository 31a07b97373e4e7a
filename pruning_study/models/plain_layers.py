"""Use the plain layers that a network's method `stack` returns, if they compute the same as the network."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pruning_study.data.examples import seeded

# A difference between logits counts as rounding up to this share of the logit plus this share of 1 or, if it is
# larger, of the largest logit.
CLOSE = 1e-4


def with_plain_layers(network: nn.Module, image_shape: Sequence[int]) -> nn.Module:
    """Return the plain layers that a network's method `stack` returns, in eval mode, or else the network itself.

    LeNet5 computes its convolutions by slices and matrix products, which train fast. In ONNX Runtime, these products
    would be slower than convolutions, and could not be quantized. Besides, channels could not be traced through them
    from layer to layer.

    The layers are used only if they are the network's own and give the logits of its `forward`, because in a user's
    network `stack` may mean something else.

    Parameters
    ----------
    network : nn.Module
    image_shape : (channels, height, width)
    """
    layers = _own_layers(network)
    return layers.eval() if layers is not None and _computes_the_same(network, image_shape) else network


def returned_stack(network: nn.Module) -> object:
    """Call a network's method `stack`; return None if `stack` is a layer or a value, or is missing."""
    method = getattr(network, "stack", None)
    return None if isinstance(method, nn.Module) or not callable(method) else method()


def with_drawn_values(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU, with random parameters and running statistics.

    They serve to compare two computations of the same network, because an initial weight of 0 would hide differences in
    the layers before it.
    """
    drawn = copy.deepcopy(network).cpu()
    with torch.no_grad():
        for parameter in drawn.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)
            else:
                parameter.uniform_(-1, 1)
        for name, buffer in drawn.named_buffers():
            if name.endswith("running_mean"):
                buffer.uniform_(-1, 1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return drawn


def are_close(values: Tensor, wanted: Tensor) -> bool:
    """Return whether logits differ from others only by rounding."""
    # The tolerance is relative to the largest value, because a deep network can have logits of any size.
    tolerance = CLOSE * max(1.0, wanted.abs().max().item())
    return values.shape == wanted.shape and torch.allclose(values, wanted, rtol=CLOSE, atol=tolerance)


def _own_layers(network: nn.Module) -> nn.Sequential | None:
    """Return the layers that a network's `stack` gives; None unless they are an `nn.Sequential` of its own layers."""
    try:
        stack = returned_stack(network)
    except Exception:  # raised by the user's method
        return None
    if not isinstance(stack, nn.Sequential) or not set(stack.parameters()) <= set(network.parameters()):
        return None
    return stack


def _computes_the_same(network: nn.Module, image_shape: Sequence[int]) -> bool:
    """Return whether a network's `stack` gives the logits of its `forward` for random images, on the CPU."""
    try:
        with seeded(0, "check of plain layers", torch.device("cpu")), torch.no_grad():
            drawn = with_drawn_values(network).eval()
            layers, images = _own_layers(drawn), torch.randn(5, *image_shape)
            return layers is not None and are_close(layers.eval()(images), drawn(images))
    except Exception:  # raised by the user's layers
        return False
