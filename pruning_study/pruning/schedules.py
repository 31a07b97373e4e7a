"""Gradual pruning: numbers of weights to keep at each step, and the masks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_study.pruning.masks import Masks


def cubic(total: int, kept_weights: int, *, ramp: float, steps: int) -> tuple[int, ...]:
    """Return the numbers of weights kept along a ramp, by the cubic law of Zhu and Gupta (2017, Equation 1).

    k_e = N - (N - k)(1 - (1 - min(1, e / ramp))^3), rounded, after e epochs.

    Parameters
    ----------
    total : int
        N, the number of prunable weights.
    kept_weights : int
        k, the number of weights to keep in the end.
    ramp : float, >= 0
        Epochs until only k weights are left; 0 prunes in a single step.
    steps : int
        Steps in an epoch.

    Returns
    -------
    tuple of int
        Weights kept after 0, 1, ... steps, until the last step of the ramp.

    Examples
    --------
    >>> cubic(1000, 360, ramp=4, steps=1)
    (1000, 630, 440, 370, 360)
    """
    shares = [min(1.0, step / (ramp * steps)) for step in range(last_step(ramp, steps))] + [1.0]
    return tuple(total - round((total - kept_weights) * (1 - (1 - share) ** 3)) for share in shares)


def last_step(ramp: float, steps: int) -> int:
    """Return the last step of a ramp of `ramp` epochs with `steps` steps each.

    Examples
    --------
    >>> last_step(1.5, steps=4)
    6
    """
    # Rounding keeps floating-point errors, such as in .1 * 3 epochs * 10 steps, from ending the ramp a step late.
    return math.ceil(round(ramp * steps, 9))


def at_batches(kept_weights: Sequence[int], steps: int, batches: int) -> dict[int, int]:
    """Map batches of the training to the number of weights kept from then on.

    Parameters
    ----------
    kept_weights : sequence of int
        Weights kept after 0, 1, ... steps.
    steps, batches : int
        Numbers of steps and of batches in an epoch.

    Examples
    --------
    >>> at_batches((100, 60, 50), steps=2, batches=5)
    {0: 100, 2: 60, 5: 50}
    """
    return {
        step // steps * batches + step % steps * batches // steps: number for step, number in enumerate(kept_weights)
    }


def while_training(total: int, kept_weights: int, *, begin: int, end: int, frequency: int) -> dict[int, int]:
    """Map batches to the number of weights kept from then on, by the cubic law of Zhu and Gupta (2017, Equation 1).

    If a share s_f of the weights is pruned in the end, the share pruned at batch b is s_f - s_f (1 - p)^3, with p = (b
    - begin) / (end - begin).

    Parameters
    ----------
    total, kept_weights : int
        Numbers of prunable weights, and of weights to keep in the end.
    begin, end : int, 0 <= begin <= end
        Batches of the training at which pruning begins and ends.
    frequency : int, >= 1
        Batches between two prunings. The last pruning is at `end`.

    Returns
    -------
    dict of int to int
        Batch, in ascending order -> number of weights kept from this batch on.

    Examples
    --------
    >>> while_training(1000, 200, begin=10, end=30, frequency=10)
    {10: 1000, 20: 300, 30: 200}
    """
    batches = [*range(begin, end, frequency), end]
    shares = [1.0 if begin == end else (batch - begin) / (end - begin) for batch in batches]
    pruned = (total - kept_weights) / total
    return {
        batch: round(total * (1 - pruned + pruned * (1 - share) ** 3))
        for batch, share in zip(batches, shares, strict=True)
    }


@dataclass(frozen=True)
class Ramp:
    """Gradual pruning: new masks at some batches of a training.

    Parameters
    ----------
    kept_numbers : mapping of int to int or sequence of int
        Batch, counted from 0 over all epochs -> number of weights kept from this batch on, in all layers together or in
        each layer. The last masks are final.
    choose : callable
        Makes masks from the model, its prunable weights, the number to keep, and masks of the candidates.
    regrow : bool
        Whether a weight that the ramp has pruned may be restored, to its former value unless `trains_pruned` is true.
    trains_pruned : bool
        Whether pruned weights are trained until the last masks are made, so that restored weights have new values.
        Gradients are computed with all pruned weights set to 0. Requires `regrow`.
    parent_masks : dict of state-dict names to bool Tensors, optional
        True for weights that were not pruned before the ramp; only these may be restored. By default, all weights.
    """

    kept_numbers: Mapping[int, int | Sequence[int]]
    choose: Callable[[nn.Module, Mapping[str, Tensor], int | Sequence[int], Masks | None], Masks]
    regrow: bool
    parent_masks: Masks | None = None
    trains_pruned: bool = False

    @property
    def last(self) -> int:
        """Batch from which on the masks are final."""
        return max(self.kept_numbers)

    def trains_pruned_at(self, batch: int) -> bool:
        """Return whether pruned weights receive gradients at a batch."""
        return self.trains_pruned and batch < self.last

    def follow(
        self, model: nn.Module, masks: Mapping[str, Tensor], withheld: Mapping[str, Tensor], batch: int
    ) -> Masks:
        """Return the masks to use from a batch on, and set the model's weights outside them to 0.

        Parameters
        ----------
        model : nn.Module
            Model in training, whose weights are changed in place.
        masks : mapping of state-dict names to bool Tensors
            Masks before this batch.
        withheld : mapping of state-dict names to Tensors
            Values of the pruned weights, and 0 for the others, changed in place. Used only if `regrow` is true.
        batch : int
            One of the batches of `kept_numbers`.

        Returns
        -------
        dict of state-dict names to bool Tensors, True where kept
        """
        weights = {name: model.get_parameter(name).detach() for name in masks}
        theta = {name: weights[name] + withheld[name] for name in masks} if self.regrow else weights
        new = self.choose(model, theta, self.kept_numbers[batch], self.parent_masks if self.regrow else dict(masks))
        with torch.no_grad():
            for name, mask in new.items():
                if self.regrow:
                    withheld[name].copy_(theta[name]).masked_fill_(mask, 0)
                weights[name].copy_(theta[name]).masked_fill_(~mask, 0)
        return new
