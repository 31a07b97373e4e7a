"""Pure score functions, one per pruning method: the weight with the smallest score is pruned first.

With `undecayed_signed`, the weight with the smallest absolute score is pruned first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def magnitude(theta: Tensor) -> Tensor:
    """Score weights by |theta| (Good et al. 2022, Section 3, "Magnitude Pruning").

    Parameters
    ----------
    theta : Tensor, any shape
        Trained weights.

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> magnitude(tensor([2.0, -1.0, 0.5]))
    tensor([2.0000, 1.0000, 0.5000])
    """
    return theta.abs()


def gradient(theta: Tensor, grad: Tensor) -> Tensor:
    """Score by |-theta * grad L|, the first-order change of the loss (Good et al. 2022, Section 3, "Gradient Pruning").

    Parameters
    ----------
    theta, grad : Tensor, any shape, the same for both
        Trained weights and the gradient of the training objective at them.

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> gradient(tensor([2.0, -1.0, 0.5]), tensor([0.5, 3.0, -8.0]))
    tensor([1., 3., 4.])
    """
    return (theta * grad).abs()


def undecayed(theta: Tensor, grad: Tensor, *, epsilon: float, penalty_grad: Tensor | None = None) -> Tensor:
    """Score by |-theta * grad L + epsilon * theta * grad R| (Good et al. 2022, Section 3, "Undecayed Pruning").

    In the paper, the penalty is R = theta^2 / 2 with the gradient theta, so the second term is epsilon * theta^2.

    Parameters
    ----------
    theta, grad : Tensor, any shape, the same for both
        Trained weights and the gradient of the training objective at them.
    epsilon : float, >= 0
        Factor of the second term; in the paper, the training's weight decay.
    penalty_grad : Tensor, shaped as `theta`, optional
        Gradient of the training's penalty for a weight decay of 1 (see `Regularizer.gradient`); by default `theta`, the
        gradient of the L2 penalty.

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> theta, grad = tensor([2.0, -1.0, 0.5]), tensor([0.5, 3.0, -8.0])
    >>> undecayed(theta, grad, epsilon=0.5)  # |-1 + 2|, |3 + 0.5|, |4 + 0.125|
    tensor([1.0000, 3.5000, 4.1250])
    >>> undecayed(theta, grad, epsilon=0.5, penalty_grad=theta.sign())  # |-1 + 1|, |3 + 0.5|, |4 + 0.25|
    tensor([0.0000, 3.5000, 4.2500])
    """
    return undecayed_signed(theta, grad, epsilon=epsilon, penalty_grad=penalty_grad).abs()


def undecayed_signed(theta: Tensor, grad: Tensor, *, epsilon: float, penalty_grad: Tensor | None = None) -> Tensor:
    """Score by the signed -theta * grad L + epsilon * theta * grad R (the released code of Good et al. 2022).

    Parameters
    ----------
    theta, grad, epsilon, penalty_grad : as in `undecayed`

    Returns
    -------
    Tensor, signed, shaped as `theta`; `masks.signed_quantile` turns it into a mask.

    Examples
    --------
    >>> from torch import tensor
    >>> undecayed_signed(tensor([2.0, -1.0, 0.5]), tensor([3.0, 3.0, -8.0]), epsilon=0.5)
    tensor([-4.0000,  3.5000,  4.1250])
    """
    return epsilon * _undecay(theta, penalty_grad) - theta * grad


def undecayed_sum(theta: Tensor, grad: Tensor, *, epsilon: float, penalty_grad: Tensor | None = None) -> Tensor:
    """Score by |theta * grad L| + epsilon * theta * grad R (the poster of Good et al. 2022, "UP = GP + epsilon MP").

    Parameters
    ----------
    theta, grad, epsilon, penalty_grad : as in `undecayed`

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> undecayed_sum(tensor([2.0, -1.0, 0.5]), tensor([0.5, 3.0, -8.0]), epsilon=0.5)  # 1 + 2, 3 + 0.5, 4 + 0.125
    tensor([3.0000, 3.5000, 4.1250])
    """
    return (theta * grad).abs() + epsilon * _undecay(theta, penalty_grad)


def _undecay(theta: Tensor, penalty_grad: Tensor | None) -> Tensor:
    return theta * (theta if penalty_grad is None else penalty_grad)


def random(theta: Tensor, *, generator: Generator) -> Tensor:
    """Score at random, uniformly (Good et al. 2022, Section 6.1, "Random Pruning").

    Parameters
    ----------
    theta : Tensor, any shape
        Trained weights; only their shape matters.
    generator : torch.Generator
        Random generator seeded by the run's seed.

    Returns
    -------
    Tensor, shaped as `theta`, in [0, 1)

    Examples
    --------
    >>> import torch
    >>> scores = random(torch.tensor([2.0, -1.0, 0.5]), generator=torch.Generator().manual_seed(0))
    >>> bool(((scores >= 0) & (scores < 1)).all())
    True
    """
    return theta.new_empty(theta.shape, device=generator.device).uniform_(generator=generator).to(theta.device)


def unpruned(theta: Tensor) -> Tensor:
    """Give every weight a score of 1, for the control `none`, which keeps all weights.

    Parameters
    ----------
    theta : Tensor, any shape
        Trained weights; only their shape matters.

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> unpruned(tensor([2.0, -1.0, 0.5]))
    tensor([1., 1., 1.])
    """
    return theta.new_ones(theta.shape)
