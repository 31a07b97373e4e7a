"""Gradual pruning: how many weights are kept at each step, and the masks of the steps."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_study.pruning.masks import Masks


def cubic(total: int, kept: int, *, ramp: float, steps: int) -> tuple[int, ...]:
    """Return how many weights are kept at each step of a ramp, by the cubic law of Zhu and Gupta (2017, Equation 1).

    k_e = N - (N - k)(1 - (1 - min(1, e / ramp))^3), rounded, after e epochs.

    Parameters
    ----------
    total : int
        N, all prunable weights.
    kept : int
        k, the number of weights that are kept in the end.
    ramp : float, >= 0
        Epochs until only k weights are left; 0 prunes all at once.
    steps : int
        Steps in an epoch.

    Returns
    -------
    tuple of int
        Weights kept after 0, 1, ... steps, until the first step that keeps `kept`.

    Examples
    --------
    >>> cubic(1000, 360, ramp=4, steps=1)
    (1000, 630, 440, 370, 360)
    """
    shares = [min(1.0, step / (ramp * steps)) for step in range(last_step(ramp, steps))] + [1.0]
    return tuple(total - round((total - kept) * (1 - (1 - share) ** 3)) for share in shares)


def last_step(ramp: float, steps: int) -> int:
    """Return the step that ends a ramp of `ramp` epochs with `steps` steps in each.

    Examples
    --------
    >>> last_step(1.5, steps=4)
    6
    """
    # Rounded, so that a share of the epochs, such as .1 of 30, does not end a step late because of its last digit.
    return math.ceil(round(ramp * steps, 9))


@dataclass(frozen=True)
class Ramp:
    """Gradual pruning: new masks at every step of the ramp.

    Parameters
    ----------
    steps : int
        Steps in an epoch.
    kept : tuple of int
        Weights kept after 0, 1, ... steps; the last masks are final.
    choose : callable
        Makes masks, given the model, its prunable weights, how many to keep, and masks of the weights to choose from.
    regrow : bool
        Whether a weight that the ramp has pruned may come back, with the value that it had.
    left : dict of state-dict names to bool Tensors, optional
        The weights that were not pruned before the ramp began; no other may come back. All by default.
    """

    steps: int
    kept: tuple[int, ...]
    choose: Callable[[nn.Module, Mapping[str, Tensor], int, Masks | None], Masks]
    regrow: bool
    left: Masks | None = None

    @property
    def last(self) -> int:
        """The step whose masks are final."""
        return len(self.kept) - 1

    def follow(self, model: nn.Module, masks: Mapping[str, Tensor], withheld: Mapping[str, Tensor], step: int) -> Masks:
        """Return the masks of a step, and set the model's weights outside them to 0.

        Parameters
        ----------
        model : nn.Module
            The model that is trained; its weights are changed in place.
        masks : mapping of state-dict names to bool Tensors
            The masks of the step before.
        withheld : mapping of state-dict names to Tensors
            Values of the pruned weights, and 0 for the others. They are changed in place. All are 0 without regrowth.
        step : int
            The step, from 1.

        Returns
        -------
        dict of state-dict names to bool Tensors, True where kept
        """
        weights = {name: model.get_parameter(name).detach() for name in masks}
        theta = {name: weights[name] + withheld[name] for name in masks} if self.regrow else weights
        new = self.choose(model, theta, self.kept[step], self.left if self.regrow else dict(masks))
        with torch.no_grad():
            for name, mask in new.items():
                if self.regrow:
                    withheld[name].copy_(theta[name]).masked_fill_(mask, 0)
                weights[name].copy_(theta[name]).masked_fill_(~mask, 0)
        return new
