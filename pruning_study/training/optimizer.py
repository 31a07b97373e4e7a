"""Settings and buffers of an optimizer, in the form that all engines accept, and regularisers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from analysis.runs import registry
from analysis.runs.names import SGD


class Regularizer(NamedTuple):
    """Shares of a weight decay w that go into each of the terms that pull a weight theta towards 0.

    Attributes
    ----------
    squared : float
        Share in the term w / 2 * theta^2 of the loss.
    absolute : float
        Share in the term w * abs(theta) of the loss. Its gradient is w * sign(theta), which is 0 if theta is 0.
    decoupled : float
        Share applied outside the loss: each step first multiplies theta by 1 - learning rate * w (Loshchilov and Hutter
        2019, "Decoupled Weight Decay Regularization", Algorithm 1).
    """

    squared: float = 0.0
    absolute: float = 0.0
    decoupled: float = 0.0

    def times(self, weight_decay: float) -> "Regularizer":
        """Return the shares multiplied by a weight decay."""
        return Regularizer(*(share * weight_decay for share in self))

    def gradient(self, theta: Tensor, momentum: float) -> Tensor:
        """Return the gradient of the penalty that training minimises with the data loss, for a weight decay of 1.

        Decoupled decay has no penalty of its own. Momentum m multiplies gradient steps by 1 / (1 - m), but not the
        decay. SGD therefore converges to points at which the gradient of the data loss is -(1 - m) * w * theta, as with
        the penalty (1 - m) * w / 2 * theta^2. Adam scales the step of each weight differently, so no penalty is
        equivalent to decoupled decay with Adam. By convention, the penalty for SGD is used for Adam too.

        Parameters
        ----------
        theta : Tensor, any shape
            Trained weights.
        momentum : float
            Momentum of the optimizer.

        Returns
        -------
        Tensor, shaped as `theta`

        Examples
        --------
        >>> from torch import tensor
        >>> theta = tensor([2.0, -1.0, 0.0])
        >>> REGULARIZERS["l1"].gradient(theta, 0.5).tolist()
        [1.0, -1.0, 0.0]
        >>> REGULARIZERS["elastic"].gradient(theta, 0.5).tolist()
        [1.5, -1.0, 0.0]
        >>> REGULARIZERS["decoupled"].gradient(theta, 0.5).tolist()
        [1.0, -0.5, 0.0]
        """
        return (self.squared + self.decoupled * (1 - momentum)) * theta + self.absolute * theta.sign()


REGULARIZERS = {name: Regularizer(**shares) for name, shares in registry.REGULARIZERS.items()}


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
