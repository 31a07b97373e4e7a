"""Pure score functions, one per pruning method: the weight with the smallest score is pruned first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def magnitude(theta: Tensor) -> Tensor:
    """Score |theta| (Good et al. 2022, Section 3, "Magnitude Pruning").

    Parameters
    ----------
    theta : Tensor, any shape
        Trained weights.
    """
    return theta.abs()


def gradient(theta: Tensor, grad: Tensor) -> Tensor:
    """Score |-theta * grad L|, first-order change of the loss (Good et al. 2022, Section 3, "Gradient Pruning").

    Parameters
    ----------
    theta, grad : Tensor, any shape, the same for both
        Trained weights and the gradient of the training objective at them.
    """
    return (theta * grad).abs()


def undecayed(theta: Tensor, grad: Tensor, *, epsilon: float) -> Tensor:
    """Score |-theta * grad L + epsilon * theta^2| (Good et al. 2022, Section 3, "Undecayed Pruning").

    Parameters
    ----------
    theta, grad : Tensor, any shape, the same for both
        Trained weights and the gradient of the training objective at them.
    epsilon : float, >= 0
        Weight of the undecay term; the training's weight decay in the paper.
    """
    return undecayed_signed(theta, grad, epsilon=epsilon).abs()


def undecayed_signed(theta: Tensor, grad: Tensor, *, epsilon: float) -> Tensor:
    """Signed score -theta * grad L + epsilon * theta^2 (the released code of Good et al. 2022).

    Parameters
    ----------
    theta, grad, epsilon : as `undecayed` takes them

    Returns
    -------
    Tensor, signed; `masks.signed_quantile` turns it into a mask.
    """
    return epsilon * theta.square() - theta * grad


def undecayed_sum(theta: Tensor, grad: Tensor, *, epsilon: float) -> Tensor:
    """Score |theta * grad L| + epsilon * theta^2 (the poster of Good et al. 2022, "UP = GP + epsilon MP").

    Parameters
    ----------
    theta, grad, epsilon : as `undecayed` takes them
    """
    return (theta * grad).abs() + epsilon * theta.square()


def random(theta: Tensor, *, generator: Generator) -> Tensor:
    """Uniform random score (Good et al. 2022, Section 6.1, "Random Pruning").

    Parameters
    ----------
    theta : Tensor, any shape
    generator : torch.Generator
        Seeded by the run's seed.
    """
    return theta.new_empty(theta.shape, device=generator.device).uniform_(generator=generator).to(theta.device)


def unpruned(theta: Tensor) -> Tensor:
    """The same score for every weight, for the control `none`: at its ratio, 1, all are kept.

    Parameters
    ----------
    theta : Tensor, any shape
    """
    return theta.new_ones(theta.shape)
