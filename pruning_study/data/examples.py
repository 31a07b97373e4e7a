"""Images and labels on the device, normalised once, and the random draws over them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4


class Examples(NamedTuple):
    """Images as the model takes them.

    Parameters
    ----------
    images : float32 Tensor [N, C, H, W]
    labels : int64 Tensor [N]
    """

    images: Tensor
    labels: Tensor

    def of(self, indices: Tensor) -> "Examples":
        """Those with these indices, int64 [n]."""
        return Examples(self.images.index_select(0, indices), self.labels.index_select(0, indices))

    def __len__(self) -> int:
        return len(self.labels)


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: list[float]
    std: list[float]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8, or float in [0, 1], [N, C, H, W] -> float32, normalised."""
        # In place on one copy: a data set of floats is large, and each worker makes its own.
        pixels = images.to(torch.float32, copy=True)
        if images.dtype == torch.uint8:
            pixels.div_(255)
        mean, std = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in self)
        return pixels.sub_(mean).div_(std)

    @property
    def black(self) -> Tensor:
        """Value of a black pixel, [C]."""
        return -torch.tensor(self.mean) / torch.tensor(self.std)


def to_device(
    images: np.ndarray,
    labels: np.ndarray,
    normalization: Normalization,
    device: str,
    memory_format: torch.memory_format = torch.channels_last,
) -> Examples:
    """Examples of uint8 [N, C, H, W] images and int64 [N] labels, the images in this layout."""
    # Arrays that a cluster shares are read-only, which torch does not know.
    images, labels = np.require(images, requirements="W"), np.require(labels, requirements=["C", "W"])
    normalised = normalization(in_layout(torch.from_numpy(images).to(device), memory_format))
    return Examples(normalised, torch.from_numpy(labels).to(device))


def in_layout(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images [N, C, H, W] in a memory layout."""
    # `contiguous` would keep what fits both layouts, as grey images do, and layers go by the strides.
    return torch.empty_like(images, memory_format=memory_format).copy_(images)


def generator(seed: int, stream: str) -> torch.Generator:
    """An independent stream of random numbers for each purpose, the same on every device.

    Parameters
    ----------
    seed : int, >= 0
        The run's seed.
    stream : str
        What the numbers are for.
    """
    entropy = np.random.SeedSequence([seed, *stream.encode()])
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextmanager
def seeded(seed: int, stream: str, device: torch.device) -> Iterator[None]:
    """torch's global generators, which layers such as dropout draw from, seeded while the block runs."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, stream).initial_seed())
        yield


def shuffled(examples: Examples, batch_size: int, random: torch.Generator) -> list[Tensor]:
    """Indices of all examples once, in random order, in batches, on the device of the examples.

    A last batch of a single image joins the one before it: BatchNorm cannot take one.
    """
    order = torch.randperm(len(examples), generator=random).to(examples.labels.device)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def number_of_batches(count: int, batch_size: int) -> int:
    """How many batches `shuffled` makes of so many examples."""
    return max(1, count // batch_size + (count % batch_size > 1))


def shuffled_batches(examples: Examples, batch_size: int, random: torch.Generator) -> Iterator[Examples]:
    """All examples once, in the order and the batches of `shuffled`."""
    for batch in shuffled(examples, batch_size, random):
        yield examples.of(batch)


def flip_crop(images: Tensor, black: Tensor, random: torch.Generator) -> Tensor:
    """Each image flipped or not, then shifted by up to 4 pixels each way, black where nothing was.

    Parameters
    ----------
    images : Tensor [N, C, H, W]
    black : Tensor [C]
        Value of a black pixel.
    random : torch.Generator

    Returns
    -------
    Tensor [N, C, H, W], in the layout of `images`
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
    # One gather does both the flip and the crop of every image.
    index = torch.arange(count, device=device).view(-1, 1, 1)
    cropped = padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return torch.empty_like(images).copy_(cropped)
