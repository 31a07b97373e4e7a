"""Gradual pruning: how many weights are kept when, and how masks follow while a training goes on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_study.pruning.masks import Masks


def cubic(total: int, kept: int, *, ramp: float, steps: int) -> tuple[int, ...]:
    """Numbers of weights kept at the steps of a ramp, by the cubic law of Zhu and Gupta (2017, Equation 1).

    k_e = N - (N - k)(1 - (1 - min(1, e / ramp))^3), rounded, after e epochs.

    Parameters
    ----------
    total : int
        N, all prunable weights.
    kept : int
        k, those kept in the end.
    ramp : float, >= 0
        Epochs until then; 0 is one shot.
    steps : int
        Of an epoch.

    Returns
    -------
    tuple of int
        After 0, 1, ... steps, until the first that keeps `kept`.
    """
    shares = [min(1.0, step / (ramp * steps)) for step in range(last_step(ramp, steps))] + [1.0]
    return tuple(total - round((total - kept) * (1 - (1 - share) ** 3)) for share in shares)


def last_step(ramp: float, steps: int) -> int:
    """The step that ends a ramp of so many epochs."""
    # Rounded, so that a share of the epochs, as .1 of 30, does not end a step late because of its last digit.
    return math.ceil(round(ramp * steps, 9))


@dataclass(frozen=True)
class Ramp:
    """Masks that follow the weights while a training goes on.

    Parameters
    ----------
    steps : int
        Of an epoch: at each, masks are made anew.
    kept : tuple of int
        Weights kept after 0, 1, ... steps; masks are final with the last.
    choose : callable
        Given the model as it is, its prunable weights, how many to keep, and masks of those to choose from, the
        masks.
    regrow : bool
        Whether weights that were pruned compete, with the value that they had, and come back with it.
    """

    steps: int
    kept: tuple[int, ...]
    choose: Callable[[nn.Module, Mapping[str, Tensor], int, Masks | None], Masks]
    regrow: bool

    @property
    def last(self) -> int:
        """The step whose masks are final."""
        return len(self.kept) - 1

    def follow(self, model: nn.Module, masks: Mapping[str, Tensor], withheld: Mapping[str, Tensor], step: int) -> Masks:
        """The masks of a step; the model's weights outside them become 0.

        Parameters
        ----------
        model : nn.Module
        masks : mapping of state-dict names to bool Tensors
            Those of the step before.
        withheld : mapping of state-dict names to Tensors
            Values of the weights outside the masks, 0 within them, which are changed in place; all 0 without regrowth.
        step : int

        Returns
        -------
        dict of state-dict names to bool Tensors, True where kept
        """
        weights = {name: model.get_parameter(name).detach() for name in masks}
        theta = {name: weights[name] + withheld[name] for name in masks} if self.regrow else weights
        new = self.choose(model, theta, self.kept[step], None if self.regrow else dict(masks))
        with torch.no_grad():
            for name, mask in new.items():
                if self.regrow:
                    withheld[name].copy_(theta[name]).masked_fill_(mask, 0)
                weights[name].copy_(theta[name]).masked_fill_(~mask, 0)
        return new
