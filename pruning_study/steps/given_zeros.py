"""Refuse given weights if many are exactly 0, as in a network that was pruned before."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError

# A layer looks pruned if at least the share `_FEWEST_ZEROS` of its weights is 0, because fewer zeros may be chance, and
# if it does not look quantized. It looks quantized if the layer, or each of its rows, has at most `_QUANTIZED_VALUES`
# distinct nonzero values, which is the number of nonzero integers of 8 bits, and if the layer has fewer than the share
# `_FEWEST_VALUES` of the distinct values that its nonzero weights could have in their number format.
_FEWEST_ZEROS, _FEWEST_VALUES = 1 / 20, 1 / 2
_QUANTIZED_VALUES = 255
_FORMATS = ((torch.bfloat16, torch.int16), (torch.float16, torch.int16), (torch.float32, torch.int32))


def check(model: nn.Module, initial: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that are already pruned, because a pruning ratio would count their zeros as kept.

    Parameters
    ----------
    model : nn.Module
        The network with the given weights.
    initial : mapping of str to Tensor
        The network's state before these weights were loaded. A layer is not checked if one of its rows is all 0 in this
        state.
    where : str
        The file, named in the error message.

    Raises
    ------
    StudyError
        If at least 5 % of a layer's weights are 0 and the layer does not look quantized.
    """
    layers = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and is_pruned(weight.detach(), initial[name])
    }
    if layers:
        zeros, total = (sum(each) for each in zip(*map(_counts, layers.values()), strict=True))
        raise StudyError(
            f"{where}: {zeros:,} of {total:,} weights are exactly 0 in {', '.join(list(layers)[:3])}"
            f"{f' and {len(layers) - 3} more layers' if len(layers) > 3 else ''}, as in a network that is pruned "
            "already: give the weights before pruning, or, if pruning did not make these zeros, count them as kept "
            "weights with --count-zeros",
            option="weights",
        )


def is_pruned(weight: Tensor, initial: Tensor) -> bool:
    """Return whether a layer's weights, (outputs, ...), look pruned."""
    rows, first_rows = weight.flatten(1), initial.flatten(1)
    if not (first_rows != 0).any(1).all() or (rows == 0).float().mean() < _FEWEST_ZEROS:
        return False
    # Quantization may use one scale for each row, or one for the layer.
    return not any(_looks_quantized(each) for each in (rows, rows.reshape(1, -1)))


def _looks_quantized(rows: Tensor) -> bool:
    values = _distinct(rows)
    return bool(values.max() <= _QUANTIZED_VALUES and values.sum() < _FEWEST_VALUES * _most_distinct(rows).sum())


def _distinct(rows: Tensor) -> Tensor:
    """Return the number of distinct nonzero values of each row."""
    steps = rows.sort(1).values.diff(dim=1) != 0
    return steps.sum(1) + 1 - (rows == 0).any(1).int()


def _most_distinct(rows: Tensor) -> Tensor:
    """Return how many distinct nonzero values each row could have, given its nonzero weights and their number format.

    The format, the shortest that holds all weights, has only so many numbers between the smallest and the largest
    nonzero magnitude of a row. The bits of positive floats, read as integers, are consecutive and in the order of the
    floats, so the difference of two such integers counts the floats between them. If all nonzero magnitudes of a row
    are equal, as with weights of 2 bits, its values are few for another reason, and the format sets no limit.
    """
    fitting = (each for each in _FORMATS if torch.equal(rows.to(each[0]).to(rows), rows))
    float_type, integer_type = next(fitting, _FORMATS[-1])
    magnitudes = rows.abs().to(float_type).view(integer_type).long()
    largest = magnitudes.amax(1)
    smallest = torch.where(magnitudes == 0, largest[:, None], magnitudes).amin(1)
    nonzero_weights = (rows != 0).sum(1)
    numbers = 2 * (largest - smallest + 1)
    return torch.where(largest == smallest, nonzero_weights, nonzero_weights.minimum(numbers))


def _counts(weight: Tensor) -> tuple[int, int]:
    return int((weight == 0).sum()), weight.numel()


def with_masks(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights multiplied by the masks that `torch.nn.utils.prune` stores beside them.

    Examples
    --------
    >>> stored = {"fc.weight_orig": Tensor([2, 3]), "fc.weight_mask": Tensor([1, 0])}
    >>> with_masks(stored)
    {'fc.weight': tensor([2., 0.])}
    """
    masks = {name.removesuffix("_mask"): tensor for name, tensor in weights.items() if name.endswith("_mask")}
    masked = {name: weights[f"{name}_orig"] * mask for name, mask in masks.items() if f"{name}_orig" in weights}
    plain = {name: tensor for name, tensor in weights.items() if name.rpartition("_")[0] not in masked}
    return plain | masked
