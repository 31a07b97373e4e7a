"""Class means of correctness or loss, over a set of images or over the latest training images.

Sums are computed exactly and rounded once, because the order in which torch adds values depends on the processor.
"""

import math
from operator import mul
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MEMORY = 40
VALUES, SEEN = "buffered_values", "buffered_images"


class ClassMeans(NamedTuple):
    """Mean of a value, such as the loss, over the images of each class.

    Parameters
    ----------
    each : float32 Tensor [classes]
        Means of the classes, meaningless if `has_mean` is False.
    overall : float32 Tensor []
    has_mean : bool Tensor [classes]
        Whether a class has enough images for a mean.
    """

    each: Tensor
    overall: Tensor
    has_mean: Tensor


def over_images(labels: Tensor, values: Tensor, classes: int) -> ClassMeans:
    """Return class means over all given images; a class has a mean if it has an image.

    Parameters
    ----------
    labels : int64 Tensor [n]
    values : Tensor [n]
    classes : int
    """
    counts = torch.bincount(labels, minlength=classes)
    sums = values.new_tensor([exact_sum(values[labels == label]) for label in range(classes)], dtype=torch.float64)
    overall = values.new_tensor(exact_sum(values) / len(labels), dtype=torch.float32)
    return ClassMeans((sums / counts.clamp(min=1)).float(), overall, counts > 0)


def empty_buffers(classes: int, device: torch.device) -> dict[str, Tensor]:
    """Return empty buffers for the latest values of each class in training batches.

    These are the replay buffers of Hashemizadeh et al. (2024), with the size that their released code uses.
    """
    return {
        VALUES: torch.zeros(classes, MEMORY, device=device),
        SEEN: torch.zeros(classes, dtype=torch.int64, device=device),
    }


def remember(buffers: dict[str, Tensor], labels: Tensor, values: Tensor) -> None:
    """Put the values of a batch into the buffers of their classes, replacing the oldest values.

    Parameters
    ----------
    buffers : dict of str to Tensors
        Buffers from `empty_buffers`, updated in place.
    labels : int64 Tensor [n]
    values : Tensor [n]
    """
    seen = buffers[SEEN]
    members = F.one_hot(labels, len(seen))
    counts = members.sum(0)
    rank = members.cumsum(0).gather(1, labels[:, None])[:, 0] - 1  # among the images of the class, from 0
    fits = rank >= counts[labels] - MEMORY
    slots = (seen[labels] + rank) % MEMORY
    buffers[VALUES][labels[fits], slots[fits]] = values[fits].float()
    seen += counts


def over_buffers(buffers: dict[str, Tensor], sizes: Tensor) -> ClassMeans:
    """Return the mean of each class whose buffer is full, with the mean of these means, weighted by size, as `overall`.

    Buffers have the same length, so the weights make `overall` a mean over images. It is NaN until a buffer is full.

    Parameters
    ----------
    buffers : dict of str to Tensors
        Buffers from `empty_buffers`.
    sizes : int64 Tensor [classes], > 0
        Number of training images of each class.
    """
    has_mean = buffers[SEEN] >= MEMORY
    each = buffers[VALUES].new_tensor([exact_sum(values) / MEMORY for values in buffers[VALUES]])
    # Classes of equal size get weights of 1, with which the mean is the plain one to the last bit.
    weights = (sizes // math.gcd(*sizes.tolist()))[has_mean].tolist()
    overall = math.fsum(map(mul, weights, each[has_mean].tolist())) / sum(weights) if weights else math.nan
    return ClassMeans(each, each.new_tensor(overall), has_mean)


def exact_sum(values: Tensor) -> float:
    """Return the exact sum of values, rounded once."""
    return math.fsum(values.tolist())
