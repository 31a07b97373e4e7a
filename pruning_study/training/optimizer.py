"""Settings and buffers of an optimizer, in the form that all engines accept."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from analysis.runs.names import SGD
from pruning_study.training.regularizers import REGULARIZERS, Regularizer


@dataclass(frozen=True)
class Optimizer:
    """SGD with Nesterov momentum, or Adam.

    Parameters
    ----------
    learning_rate : float or sequence of float
        Learning rate of all steps, or one for each step.
    momentum, weight_decay : float
        For Adam, `momentum` is beta1.
    velocity : dict of state-dict names to Tensors
        Momentum buffer of each parameter, or Adam's running mean of its gradients, updated in place by training.
    regularizer : Regularizer
        How the weight decay pulls weights towards 0.
    name : {"sgd", "adam"}
    squares, steps : dict of state-dict names to Tensors
        Adam's further buffers, also updated in place: the running mean of each parameter's squared gradients, and its
        number of steps, a float32 Tensor without dimensions. Empty for SGD.
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
        """Return the learning rate of each of `steps` steps."""
        return [self.learning_rate] * steps if isinstance(self.learning_rate, float | int) else self.learning_rate
