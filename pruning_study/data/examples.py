"""Normalised images and labels on the device, their random batches, and augmentation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4


class Examples(NamedTuple):
    """Normalised images, as a model takes them, and their labels.

    Parameters
    ----------
    images : float32 Tensor [N, C, H, W]
    labels : int64 Tensor [N]
    """

    images: Tensor
    labels: Tensor

    def batch(self, indices: Tensor) -> "Examples":
        """Return the examples at the indices, int64 [n]."""
        return Examples(self.images.index_select(0, indices), self.labels.index_select(0, indices))

    def __len__(self) -> int:
        return len(self.labels)


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: list[float]
    std: list[float]

    def __call__(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W], uint8 or float in [0, 1], as normalised float32."""
        # Everything happens in place on one copy: a data set of floats is large, and each worker makes its own.
        pixels = images.to(torch.float32, copy=True)
        if images.dtype == torch.uint8:
            pixels.div_(255)
        mean, std = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in self)
        return pixels.sub_(mean).div_(std)

    @property
    def black(self) -> Tensor:
        """Value of a black pixel after normalisation, [C]."""
        return -torch.tensor(self.mean) / torch.tensor(self.std)


def to_device(
    images: np.ndarray,
    labels: np.ndarray,
    normalization: Normalization,
    device: str,
    memory_format: torch.memory_format = torch.channels_last,
) -> Examples:
    """Return normalised examples on a device.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
    labels : int64 [N]
    normalization : Normalization
    device : str
    memory_format : torch.memory_format
        Memory layout of the images.

    Returns
    -------
    Examples
    """
    # Arrays that a cluster shares are read-only, and torch has no read-only tensors.
    images, labels = np.require(images, requirements="W"), np.require(labels, requirements=["C", "W"])
    normalised = normalization(in_layout(torch.from_numpy(images).to(device), memory_format))
    return Examples(normalised, torch.from_numpy(labels).to(device))


def in_layout(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Return a copy of images [N, C, H, W] in a memory layout."""
    # Grey images fit both layouts, so `contiguous` would keep their strides; layers choose their kernels by strides.
    return torch.empty_like(images, memory_format=memory_format).copy_(images)


def generator(seed: int, stream: str) -> torch.Generator:
    """Return a random generator for one purpose; it draws the same numbers on every device.

    Parameters
    ----------
    seed : int, >= 0
        Seed of the run.
    stream : str
        Purpose of the numbers. Generators of different purposes are independent.

    Returns
    -------
    torch.Generator, on the CPU
    """
    entropy = np.random.SeedSequence([seed, *stream.encode()])
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextmanager
def seeded(seed: int, stream: str, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which layers such as dropout draw from, while the block runs."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, stream).initial_seed())
        yield


def shuffled(examples: Examples, batch_size: int, random: torch.Generator) -> list[Tensor]:
    """Return the indices of all examples in random order, split into batches, on the device of the examples.

    A last batch of a single image joins the batch before it, because BatchNorm cannot train on one image.
    """
    order = torch.randperm(len(examples), generator=random).to(examples.labels.device)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def number_of_batches(count: int, batch_size: int) -> int:
    """Return how many batches `shuffled` makes of `count` examples."""
    return max(1, count // batch_size + (count % batch_size > 1))


def shuffled_batches(examples: Examples, batch_size: int, random: torch.Generator) -> Iterator[Examples]:
    """Yield all examples once, in the order and the batches of `shuffled`."""
    for batch in shuffled(examples, batch_size, random):
        yield examples.batch(batch)


def flip_crop(images: Tensor, black: Tensor, random: torch.Generator) -> Tensor:
    """Flip each image or not, then shift it by up to 4 pixels each way, and fill the border with black.

    Parameters
    ----------
    images : Tensor [N, C, H, W]
    black : Tensor [C]
        Value of a black pixel after normalisation.
    random : torch.Generator

    Returns
    -------
    Tensor [N, C, H, W], in the memory layout of `images`
    """
    count, _, height, width = images.shape
    device = images.device
    flip = torch.randint(2, (count, 1), generator=random).to(device).bool()
    offsets = torch.randint(2 * PADDING + 1, (2, count, 1), generator=random).to(device)
    rows = offsets[0] + torch.arange(height, device=device)
    columns = offsets[1] + torch.arange(width, device=device)
    columns = torch.where(flip, width + 2 * PADDING - 1 - columns, columns)
    black = black.to(images).view(1, -1, 1, 1)
    padded = F.pad(images - black, (PADDING,) * 4).add_(black).permute(0, 2, 3, 1)
    # One gather flips and crops every image.
    index = torch.arange(count, device=device).view(-1, 1, 1)
    cropped = padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return torch.empty_like(images).copy_(cropped)
