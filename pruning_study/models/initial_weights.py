"""Draw initial weights, the same to the last bit on every machine, from torch's global random generator.

torch draws the same integers on every machine, but machines convert them to normal or uniform numbers differently.
Normal numbers depend on the machine's logarithm, and uniform numbers on whether a product is rounded before the next
addition. This module uses only operations that IEEE 754 defines to the last bit.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

# The rational functions of Wichura (1988), "Algorithm AS 241: The percentage points of the normal distribution",
# PPND7: numerator and denominator, the highest power first. Their relative error is 1e-7.
_CENTRAL = (
    (59.109374720, 159.29113202, 50.434271938, 3.3871327179),
    (67.187563600, 78.757757664, 17.895169469, 1.0),
)
_TAIL = (
    (0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777),
    (0.12021132975, 0.73700164250, 1.0),
)
_FAR_TAIL = (
    (0.017337203997, 0.42868294337, 3.0812263860, 6.6579051150),
    (0.012258202635, 0.24197894225, 1.0),
)
_CENTRE, _FAR = 0.425, 5.0  # where one function ends and the next begins
_LN_2 = 0.6931471805599453


def draw_normal(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. (2015) do, and biases as torch does."""
    for layer in _layers(network):
        # The standard deviation is that of `nn.init.kaiming_normal_`.
        _set(layer.weight, normal(layer.weight.shape) * (math.sqrt(2) / math.sqrt(_inputs(layer))))
        _draw_bias(layer)


def draw_uniform(network: nn.Module) -> None:
    """Draw the weights and biases of convolutions and linear layers as torch does when it makes the layers."""
    for layer in _layers(network):
        gain = math.sqrt(2 / (1 + math.sqrt(5) ** 2))
        _set(layer.weight, uniform(layer.weight.shape, math.sqrt(3) * (gain / math.sqrt(_inputs(layer)))))
        _draw_bias(layer)


def normal(shape: Sequence[int]) -> Tensor:
    """Draw float64 numbers from the standard normal distribution.

    Examples
    --------
    >>> random = torch.manual_seed(0)
    >>> normal((3,)).tolist()
    [1.8815732540156476, 0.5470268901360749, -0.10198839778013079]
    """
    # torch draws multiples of 2**-53 from 0 on; half a step is added because the quantile at 0 is infinite.
    share = torch.rand(tuple(shape), dtype=torch.float64) + 2**-54
    return share if share.is_meta else torch.from_numpy(normal_quantile(share.numpy()))


def uniform(shape: Sequence[int], bound: float) -> Tensor:
    """Draw the float32 numbers that `Tensor.uniform_(-bound, bound)` draws on machines with fused multiply-add.

    In float64 the product and the difference are exact here, so only the result is rounded, as by fused multiply-add.
    """
    limit = torch.tensor(bound).double()
    return (torch.rand(tuple(shape)).double() * (2 * limit) - limit).float()


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _inputs(layer: nn.Conv2d | nn.Linear) -> int:
    """Return the fan-in: the number of values that a unit or a pixel of a layer is computed from."""
    return math.prod(layer.weight.shape[1:])


def _draw_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        _set(layer.bias, uniform(layer.bias.shape, 1 / math.sqrt(_inputs(layer))))


def _set(parameter: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values)


def normal_quantile(share: np.ndarray) -> np.ndarray:
    """Return the quantiles of the standard normal distribution at the probabilities `share`."""
    centred = share - 0.5
    near = centred * _ratio(_CENTRAL, _CENTRE**2 - np.square(centred))
    distance = np.sqrt(-_logarithm(np.minimum(share, 1 - share)))
    far = np.where(distance <= _FAR, _ratio(_TAIL, distance - 1.6), _ratio(_FAR_TAIL, distance - _FAR))
    return np.where(np.abs(centred) <= _CENTRE, near, np.copysign(far, centred))


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: np.ndarray) -> np.ndarray:
    numerator, denominator = (_polynomial(factors, x) for factors in polynomials)
    return numerator / denominator


def _polynomial(factors: Sequence[float], x: np.ndarray) -> np.ndarray:
    value = np.full_like(x, factors[0])
    for factor in factors[1:]:
        value = value * x + factor
    return value


def _logarithm(x: np.ndarray) -> np.ndarray:
    """Return ln x by the series of artanh, because the last digit of NumPy's logarithm differs between processors."""
    mantissa, exponent = np.frexp(x)
    slope = (mantissa - 1) / (mantissa + 1)  # from -1/3 to 0
    series = _polynomial([1 / power for power in range(29, 0, -2)], np.square(slope))
    return 2 * slope * series + exponent * _LN_2
