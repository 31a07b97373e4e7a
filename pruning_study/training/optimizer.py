"""Settings and memory of SGD, in the form that every engine takes."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Optimizer:
    """SGD with Nesterov momentum.

    Parameters
    ----------
    learning_rate, momentum, weight_decay : float
    velocity : dict of state-dict names to Tensors
        Momentum buffer of every parameter, all that SGD remembers. A training epoch changes it in place.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    velocity: dict[str, Tensor]
