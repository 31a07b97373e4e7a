"""FairGRAPE: keep weights so that each class keeps its share of their importance (Lin, Kim and Joo 2022)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def keeping_shares(theta: Tensor, class_grads: Tensor) -> Tensor:
    """Score the weights of a layer by the order in which FairGRAPE selects them (Lin, Kim and Joo 2022).

    The importance of a weight for a class is (theta * g)^2, with g the gradient of the mean loss over the class's
    images: an estimate of the squared change of that loss without the weight. A class's share of the layer is the
    importance of all weights for the class, divided by the sum of this importance over all classes.

    Weights are selected one after the other. Each time, the class whose share of the selected importance is furthest
    below its share of the layer selects the remaining weight that is most important to it. Before the first selection,
    all classes are treated as having equal shares of the selected importance. Ties go to the first class or weight. The
    order can serve as a score, because keeping more weights only extends the selection.

    Parameters
    ----------
    theta : Tensor, any shape
        Weights of one layer. Weights of 0 have no importance for any class.
    class_grads : Tensor (classes, *theta.shape)

    Returns
    -------
    float64 Tensor, shaped as `theta`
        Scores from the number of weights, for the first weight selected, down to 1 for the last. All NaN if a weight or
        a gradient is not finite.

    Examples
    --------
    Both classes have a total importance of 13, and so equal shares. The first class selects its weight of importance 9,
    then the second class selects its own weight of importance 9, and then the first class selects again:

    >>> from torch import tensor
    >>> grads = tensor([[3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 3.0]])
    >>> keeping_shares(tensor([1.0, 1.0, 1.0, 1.0]), grads).tolist()
    [4.0, 2.0, 1.0, 3.0]
    """
    import numpy as np
    import torch

    importance = (theta.double() * class_grads.double()).square().flatten(1).cpu().numpy()
    number = importance.shape[1]
    if not np.isfinite(importance).all():
        return torch.full(theta.shape, math.nan, dtype=torch.float64)
    # Each sum is exact or has a fixed order, because NumPy's sum guarantees neither.
    of_classes = np.array([math.fsum(weights.tolist()) for weights in importance])
    of_weights = np.add.accumulate(importance, axis=0)[-1]
    total = math.fsum(of_classes.tolist())
    shares = of_classes / total if total else np.full(len(importance), 1 / len(importance))
    queues = [iter(weights.tolist()) for weights in np.argsort(-importance, axis=1, kind="stable")]
    # How much a weight's importance for each class exceeds the class's share of the layer times the weight's total
    # importance. Summed over the selected weights, this excess ranks the classes.
    leads = np.ascontiguousarray((importance - np.outer(shares, of_weights)).T)
    lead, neediest = np.zeros(len(shares)), int(shares.argmax())
    taken, scores = bytearray(number), np.empty(number)
    for score in range(number, 0, -1):
        weight = next(weight for weight in queues[neediest] if not taken[weight])
        taken[weight] = True
        scores[weight] = score
        lead += leads[weight]
        neediest = int(lead.argmin())
    return torch.from_numpy(scores).view(theta.shape)
