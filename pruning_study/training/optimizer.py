"""The settings and the memory of SGD, which every engine takes."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Optimizer:
    """SGD, its momentum Nesterov's, and all that it remembers.

    Parameters
    ----------
    learning_rate, momentum, weight_decay : float
    velocity : dict of state-dict names to Tensors
        The momentum of every parameter, which a training epoch changes in place.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    velocity: dict[str, Tensor]
