"""Settings and memory of SGD, in the form that every engine takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pruning_study.training.regularizers import REGULARIZERS, Regularizer


@dataclass(frozen=True)
class Optimizer:
    """SGD with Nesterov momentum.

    Parameters
    ----------
    learning_rate : float or sequence of float
        Learning rate of all steps, or of each.
    momentum, weight_decay : float
    velocity : dict of state-dict names to Tensors
        Momentum buffer of every parameter, all that SGD remembers. A training epoch changes it in place.
    regularizer : Regularizer
        What the weight decay does.
    """

    learning_rate: float | Sequence[float]
    momentum: float
    weight_decay: float
    velocity: dict[str, Tensor]
    regularizer: Regularizer = REGULARIZERS["l2"]

    def learning_rates(self, steps: int) -> Sequence[float]:
        """Return the learning rate of each of so many steps.

        Raises
        ------
        ValueError
            If the rates are those of another number of steps.
        """
        rates = [self.learning_rate] * steps if isinstance(self.learning_rate, float | int) else self.learning_rate
        if len(rates) != steps:
            raise ValueError(f"{len(rates)} learning rates do not fit {steps} steps")
        return rates
