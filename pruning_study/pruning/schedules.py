"""Gradual pruning: how many weights are kept at each step, and the masks of the steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_study.pruning.masks import Masks


def cubic(total: int, kept_weights: int, *, ramp: float, steps: int) -> tuple[int, ...]:
    """Return how many weights are kept at each step of a ramp, by the cubic law of Zhu and Gupta (2017, Equation 1).

    k_e = N - (N - k)(1 - (1 - min(1, e / ramp))^3), rounded, after e epochs.

    Parameters
    ----------
    total : int
        N, all prunable weights.
    kept_weights : int
        k, the number of weights that are kept in the end.
    ramp : float, >= 0
        Epochs until only k weights are left; 0 prunes all at once.
    steps : int
        Steps in an epoch.

    Returns
    -------
    tuple of int
        Weights kept after 0, 1, ... steps, until the first step that keeps `kept_weights`.

    Examples
    --------
    >>> cubic(1000, 360, ramp=4, steps=1)
    (1000, 630, 440, 370, 360)
    """
    shares = [min(1.0, step / (ramp * steps)) for step in range(last_step(ramp, steps))] + [1.0]
    return tuple(total - round((total - kept_weights) * (1 - (1 - share) ** 3)) for share in shares)


def last_step(ramp: float, steps: int) -> int:
    """Return the step that ends a ramp of `ramp` epochs with `steps` steps in each.

    Examples
    --------
    >>> last_step(1.5, steps=4)
    6
    """
    # Rounded, so that the last digit of a share of the epochs, such as .1 of 30, does not end the ramp a step late.
    return math.ceil(round(ramp * steps, 9))


def at_batches(kept_weights: Sequence[int], steps: int, batches: int) -> dict[int, int]:
    """Return the number of weights that is kept from each batch of the training on.

    Parameters
    ----------
    kept_weights : sequence of int
        Weights kept after 0, 1, ... steps.
    steps, batches : int
        Steps, and batches, in an epoch.

    Examples
    --------
    >>> at_batches((100, 60, 50), steps=2, batches=5)
    {0: 100, 2: 60, 5: 50}
    """
    return {
        step // steps * batches + step % steps * batches // steps: number for step, number in enumerate(kept_weights)
    }


def while_training(total: int, kept_weights: int, *, begin: int, end: int, frequency: int) -> dict[int, int]:
    """Return how many weights are kept from each batch on, by the cubic law of Zhu and Gupta (2017, Equation 1).

    With s_f the share of the weights that is pruned in the end, the share pruned at batch b is s_f - s_f (1 - p)^3,
    with p = (b - begin) / (end - begin).

    Parameters
    ----------
    total, kept_weights : int
        All prunable weights, and those that are kept in the end.
    begin, end : int, 0 <= begin <= end
        Batches of the training at which pruning begins and ends.
    frequency : int, >= 1
        Batches between two prunings; the last one is at `end`.

    Returns
    -------
    dict of int to int
        Batch -> number of weights kept from it on, in the order of the batches.

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
        Batch, from 0 over all epochs, -> number of weights kept from it on, in all layers together or in each layer.
        The last masks are final.
    choose : callable
        Makes masks, given the model, its prunable weights, how many to keep, and masks of the weights to choose from.
    regrow : bool
        Whether a weight that the ramp has pruned may come back, with the value that it had.
    trains_pruned : bool
        Whether pruned weights go on receiving gradients until the last masks, so that they come back with another
        value. Their gradient is taken with all pruned weights set to 0. Requires `regrow`.
    parent_masks : dict of state-dict names to bool Tensors, optional
        The weights that were not pruned before the ramp began; no other may come back. All by default.
    """

    kept_numbers: Mapping[int, int | Sequence[int]]
    choose: Callable[[nn.Module, Mapping[str, Tensor], int | Sequence[int], Masks | None], Masks]
    regrow: bool
    parent_masks: Masks | None = None
    trains_pruned: bool = False

    @property
    def last(self) -> int:
        """The batch from which on the masks are final."""
        return max(self.kept_numbers)

    def trains_pruned_at(self, batch: int) -> bool:
        """Return whether pruned weights receive gradients at a batch."""
        return self.trains_pruned and batch < self.last

    def follow(
        self, model: nn.Module, masks: Mapping[str, Tensor], withheld: Mapping[str, Tensor], batch: int
    ) -> Masks:
        """Return the masks from a batch on, and set the model's weights outside them to 0.

        Parameters
        ----------
        model : nn.Module
            The model that is trained; its weights are changed in place.
        masks : mapping of state-dict names to bool Tensors
            The masks before this batch.
        withheld : mapping of state-dict names to Tensors
            Values of the pruned weights, and 0 for the others, changed in place. Without regrowth they are not used.
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
