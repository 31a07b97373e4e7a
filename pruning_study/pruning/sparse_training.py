"""Train networks that are sparse from the start: SET and RigL repeatedly exchange some of the kept weights.

Both begin with random masks. At each exchange, every layer drops its smallest kept weights and grows the same number of
weights. SET (Mocanu et al. 2018) grows random weights; RigL (Evci et al. 2020) grows those with the largest gradient of
the loss. Weights that were already pruned get the value 0. A weight that the same exchange drops may grow back,
and then keeps its value and its momentum.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.runs.names import RIGL, SET
from analysis.statistics.arithmetic import cosine_of_half_turns
from pruning_study.pruning.masks import Masks, exact_k

# Share of a layer's kept weights that the first exchange replaces (Mocanu et al., zeta; Evci et al., alpha).
_SHARE = 0.3


def layer_numbers(shapes: Sequence[torch.Size], kept_weights: int) -> list[int]:
    """Return the number of weights to keep in each layer, by Erdős-Rényi-Kernel densities (Evci et al. 2020).

    A layer's density is proportional to the sum of its dimensions divided by their product, and at most 1.

    Parameters
    ----------
    shapes : sequence of torch.Size
        Shapes of the layers' weights: outputs, inputs, and the kernel's size in convolutions.
    kept_weights : int
        Number of weights to keep in all layers together, at most all weights.

    Examples
    --------
    The densities are proportional to 20/100 and 110/1000, and here equal to these numbers:

    >>> layer_numbers([torch.Size([10, 10]), torch.Size([100, 10])], 130)
    [20, 110]
    """
    sizes = [math.prod(shape) for shape in shapes]
    sums = [sum(shape) for shape in shapes]
    full: set[int] = set()
    while True:
        others = [layer for layer in range(len(shapes)) if layer not in full]
        factor = (kept_weights - sum(sizes[layer] for layer in full)) / max(sum(sums[layer] for layer in others), 1)
        over = {layer for layer in others if factor * sums[layer] > sizes[layer]}
        if not over:
            break
        full |= over
    exact = [float(sizes[layer]) if layer in full else factor * sums[layer] for layer in range(len(shapes))]
    return _rounded(exact, kept_weights)


def equal_numbers(shapes: Sequence[torch.Size], kept_weights: int) -> list[int]:
    """Return the number of weights to keep in each layer if all keep the same share. See `layer_numbers`."""
    sizes = [math.prod(shape) for shape in shapes]
    return _rounded([size * kept_weights / sum(sizes) for size in sizes], kept_weights)


def _rounded(exact: Sequence[float], total: int) -> list[int]:
    """Round numbers so that they sum to a total: those with the largest remainders up, the others down."""
    numbers = [math.floor(number) for number in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: numbers[place] - exact[place])
    for place in by_remainder[: total - sum(numbers)]:
        numbers[place] += 1
    return numbers


def random_masks(theta: Mapping[str, Tensor], numbers: Sequence[int], generator: torch.Generator) -> Masks:
    """Make masks that keep a given number of random weights in each layer.

    Parameters
    ----------
    theta : mapping of state-dict names to Tensors
    numbers : sequence of int
        Number of weights to keep in each layer.
    generator : torch.Generator
        On the CPU.
    """
    return {
        name: _random(torch.ones_like(weights, dtype=torch.bool), number, generator)
        for (name, weights), number in zip(theta.items(), numbers, strict=True)
    }


def _random(candidates: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Make a mask of `number` random candidates."""
    scores = torch.rand(candidates.shape, generator=generator).to(candidates.device)
    return exact_k([scores], number, [candidates])[0]


def exchanged(mask: Tensor, weights: Tensor, share: float, growth: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Return the mask of a layer after an exchange.

    Parameters
    ----------
    mask : bool Tensor
        True where kept.
    weights : Tensor
    share : float
        Share of the kept weights to drop, the smallest first. At most as many are dropped as were pruned before.
    growth : callable
        Called with a mask of the pruned weights, including those just dropped, and a number n; returns a mask of n of
        these weights.

    Examples
    --------
    Half of the four kept weights are dropped, and the last two pruned weights grow:

    >>> mask = torch.tensor([True, True, True, True, False, False])
    >>> weights = torch.tensor([4.0, -3.0, 0.1, 0.2, 0.0, 0.0])
    >>> last = lambda others, number: exact_k([torch.arange(6.0)], number, [others])[0]
    >>> exchanged(mask, weights, 0.5, last).tolist()
    [True, True, False, False, True, True]
    """
    number = min(round(share * int(mask.sum())), int((~mask).sum()))
    (staying,) = exact_k([weights.abs()], int(mask.sum()) - number, [mask])
    return staying | growth(~staying, number)


def share_at(schedule: str, batch: int, end: int) -> float:
    """Return the share of kept weights to exchange, which for RigL decays to 0 along a cosine (Evci et al. 2020).

    Examples
    --------
    >>> share_at("set", 50, 100), share_at("rigl", 0, 100), round(share_at("rigl", 50, 100), 6)
    (0.3, 0.3, 0.15)
    """
    return _SHARE if schedule == SET else _SHARE / 2 * (1 + cosine_of_half_turns(batch / end))


def exchanges(kept_weights: int, *, begin: int, end: int, frequency: int) -> dict[int, int]:
    """Map batch 0 and the batches of the exchanges to the number of kept weights, which never changes.

    Examples
    --------
    >>> exchanges(40, begin=0, end=30, frequency=10)
    {0: 40, 10: 40, 20: 40, 30: 40}
    """
    return dict.fromkeys((0, *range(begin + frequency, end, frequency), end), kept_weights)


@dataclass(frozen=True)
class Exchange:
    """Sparse training that exchanges weights at some batches, with the interface of `Ramp`.

    Parameters
    ----------
    schedule : {"set", "rigl"}
    kept_numbers : mapping of int to int
        Batch, counted from 0 over all epochs -> number of kept weights. At batch 0 nothing is exchanged. The last masks
        are final.
    generator : callable
        Called with a batch's number; returns a generator on the CPU, always in the same state for the same batch.
    gradient : callable
        Called with the model and a batch's number; returns the gradient of the loss for every weight, including pruned
        weights.
    """

    schedule: str
    kept_numbers: Mapping[int, int]
    generator: Callable[[int], torch.Generator]
    gradient: Callable[[nn.Module, int], Mapping[str, Tensor]]
    regrow = False

    @property
    def last(self) -> int:
        """Batch from which on the masks are final."""
        return max(self.kept_numbers)

    def trains_pruned_at(self, batch: int) -> bool:
        """Return False: only kept weights are trained."""
        return False

    def follow(
        self, model: nn.Module, masks: Mapping[str, Tensor], withheld: Mapping[str, Tensor], batch: int
    ) -> Masks:
        """Return the masks to use from a batch on, and set the model's weights outside them to 0; see `Ramp.follow`."""
        share = share_at(self.schedule, batch, self.last)
        random = self.generator(batch)
        gradient = self.gradient(model, batch) if self.schedule == RIGL else {}
        new = {}
        for name, mask in masks.items():
            weights = model.get_parameter(name).detach()

            def grown(others: Tensor, number: int, name: str = name) -> Tensor:
                if self.schedule == SET:
                    return _random(others, number, random)
                return exact_k([gradient[name].abs()], number, [others])[0]

            new[name] = exchanged(mask, weights, share, grown)
            weights.masked_fill_(~new[name], 0)
        return new
