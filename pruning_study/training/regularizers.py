"""Regularisers, which pull weights towards 0 in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


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

    def times(self, weight_decay: float) -> Regularizer:
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


REGULARIZERS = {
    "l2": Regularizer(squared=1.0),
    "l1": Regularizer(absolute=1.0),
    "elastic": Regularizer(squared=0.5, absolute=0.5),
    "decoupled": Regularizer(decoupled=1.0),
}
