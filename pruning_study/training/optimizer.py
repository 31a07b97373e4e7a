"""Settings and buffers of an optimizer, in the form that every engine takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from analysis.runs.options.names import SGD
from pruning_study.training.regularizers import REGULARIZERS, Regularizer


@dataclass(frozen=True)
class Optimizer:
    """SGD with Nesterov momentum, or Adam.

    Parameters
    ----------
    learning_rate : float or sequence of float
        Learning rate of all steps, or of each.
    momentum, weight_decay : float
        The momentum of Adam is its beta1.
    velocity : dict of state-dict names to Tensors
        Momentum buffer of every parameter, or Adam's running mean of its gradients. A training epoch changes it in
        place.
    regularizer : Regularizer
        How the weight decay acts.
    name : {"sgd", "adam"}
    squares, steps : dict of state-dict names to Tensors
        Adam's further buffers, changed in place too: the running mean of every parameter's squared gradients, and the
        number of its steps, a float32 Tensor without dimensions. Empty with SGD.
    """

    learning_rate: float | Sequence[float]
    momentum: float
    weight_decay: float
    velocity: dict[str, Tensor]
    regularizer: Regularizer = REGULARIZERS["l2"]
    name: str = SGD
    squares: dict[str, Tensor] = field(default_factory=dict)
    steps: dict[str, Tensor] = field(default_factory=dict)

    def learning_rates(self, steps: int) -> Sequence[float]:
        """Return the learning rate of each of `steps` steps.

        Raises
        ------
        ValueError
            If there are rates for another number of steps.
        """
        rates = [self.learning_rate] * steps if isinstance(self.learning_rate, float | int) else self.learning_rate
        if len(rates) != steps:
            raise ValueError(f"{len(rates)} learning rates do not fit {steps} steps")
        return rates
