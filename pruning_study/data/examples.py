"""Put normalised images and labels on the device, draw random batches of them, and augment images."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4
# Images of at most SMALL_IMAGE values each, and of at most MOST_BYTES together as float32, are normalised once. Others
# stay bytes, since float32 needs four times the memory, and are normalised at each use.
SMALL_IMAGE = 64 * 64 * 3
MOST_BYTES = 2**32
# Bytes of consecutive images, as float32, that are normalised at a time.
PORTION = 2**24
# Bytes of pixels copied out of packed images at a time, before conversion to float32.
COPIED = 2**19


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, for pixels scaled to [0, 1]."""

    mean: list[float]
    std: list[float]

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise a copy of images [N, C, H, W], uint8 or float in [0, 1]; return it as float32."""
        # All steps work in place on one copy, because each worker holds its own data set of floats, which is large.
        pixels = images.to(torch.float32, copy=True)
        if images.dtype == torch.uint8:
            pixels.div_(255)
        return self.normalised(pixels)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise float32 pixels in [0, 1] in place, and return them."""
        mean, std = (torch.tensor(values, device=pixels.device).view(1, -1, 1, 1) for values in self)
        return pixels.sub_(mean).div_(std)

    @property
    def black(self) -> Tensor:
        """Normalised value of a black pixel, [C]."""
        return -torch.tensor(self.mean) / torch.tensor(self.std)


class PackedImages:
    """Images [N, C, H, W] as bytes, in memory or memory-mapped, which `take` normalises.

    Parameters
    ----------
    pixels : uint8 Tensor [M, C, H, W]
    places : int64 Tensor [N], on the device of `pixels`
        Indices of these images in `pixels`.
    normalization : Normalization
    device : str
        Device of the normalised images.
    memory_format : torch.memory_format
        Memory layout of the normalised images.
    """

    def __init__(
        self,
        pixels: Tensor,
        places: Tensor,
        normalization: Normalization,
        device: str,
        memory_format: torch.memory_format,
    ) -> None:
        self.pixels, self._places = pixels, places
        self._normalization, self._device, self._memory_format = normalization, device, memory_format

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, chosen: slice) -> "PackedImages":
        places = self._places[chosen]
        return PackedImages(self.pixels, places, self._normalization, self._device, self._memory_format)

    @property
    def image_bytes(self) -> int:
        """Bytes of a normalised image."""
        return 4 * math.prod(self.pixels.shape[1:])

    def take(self, indices: Tensor) -> Tensor:
        """Return the normalised images at the indices, int64 [n]."""
        places = self._places[indices.to(self._places.device)]
        shape = (len(places), *self.pixels.shape[1:])
        taken = torch.empty(shape, dtype=torch.float32, device=self._device, memory_format=self._memory_format)
        count = max(1, 4 * COPIED // self.image_bytes)
        for part, there in zip(taken.split(count), places.split(count), strict=True):
            part.copy_(self.pixels.index_select(0, there).to(self._device))  # moved as bytes
        return self._normalization.normalised(taken.div_(255))


Images = Tensor | PackedImages


class Examples(NamedTuple):
    """Normalised images, ready for a model, and their labels.

    Parameters
    ----------
    images : float32 Tensor [N, C, H, W], or PackedImages
    labels : int64 Tensor [N]
    """

    images: Images
    labels: Tensor

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalised images and the labels at the indices, int64 [n]."""
        images = self.images
        taken = images.take(indices) if isinstance(images, PackedImages) else images.index_select(0, indices)
        return taken, self.labels.index_select(0, indices)

    def __len__(self) -> int:
        return len(self.labels)


def parts(images: Images, size: int) -> Iterator[Tensor]:
    """Yield normalised images in order, `size` at a time, or fewer if they are large and packed."""
    if isinstance(images, Tensor):
        yield from torch.split(images, size)
        return
    size = max(1, min(size, PORTION // images.image_bytes))
    for start in range(0, len(images), size):
        yield images.take(torch.arange(start, min(start + size, len(images))))


def to_device(
    images: np.ndarray,
    labels: np.ndarray,
    normalization: Normalization,
    device: str,
    memory_format: torch.memory_format = torch.channels_last,
    indices: np.ndarray | None = None,
) -> Examples:
    """Normalise images and put them, with their labels, on a device.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
    labels : int64 [N]
    normalization : Normalization
    device : str
    memory_format : torch.memory_format
        Memory layout of the images.
    indices : int64 [n], optional
        Images to use; all by default.

    Returns
    -------
    Examples
        With `PackedImages` if the images are large or very numerous.
    """
    chosen = np.arange(len(images)) if indices is None else indices
    # Arrays that the workers of a cluster share are read-only, but torch has no read-only tensors.
    labels_there = torch.from_numpy(np.require(labels[chosen], requirements=["C", "W"])).to(device)
    values = math.prod(images.shape[1:])
    if values > SMALL_IMAGE or 4 * values * len(chosen) > MOST_BYTES:
        pixels, places = _pixels(images, torch.from_numpy(chosen), device)
        return Examples(PackedImages(pixels, places, normalization, device, memory_format), labels_there)
    images = np.require(images if indices is None else images[indices], requirements="W")
    return Examples(normalization(in_layout(torch.from_numpy(images).to(device), memory_format)), labels_there)


def _pixels(images: np.ndarray, places: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Return uint8 pixels, copied if for a GPU and not memory-mapped, and the indices of the images in the pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of read-only arrays, but nothing writes to this one
        pixels = torch.from_numpy(images)
    if torch.device(device).type == "cpu" or isinstance(images, np.memmap):
        return pixels, places
    copied = torch.empty((len(places), *pixels.shape[1:]), dtype=torch.uint8, device=device)
    for there, here in zip(copied.split(1000), places.split(1000), strict=True):
        there.copy_(pixels.index_select(0, here))
    return copied, torch.arange(len(places), device=device)


def in_layout(images: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Return a copy of images [N, C, H, W] in a memory layout."""
    # Grey images are contiguous and channels last at once, so `contiguous` would keep their strides, by which layers
    # choose their kernels.
    return torch.empty_like(images, memory_format=memory_format).copy_(images)


def generator(seed: int, stream: str) -> torch.Generator:
    """Return a random generator for one purpose, with the same numbers on every device.

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
    """Seed torch's global generators, from which layers such as dropout draw, while the `with` block runs."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, stream).initial_seed())
        yield


def shuffled(examples: Examples, batch_size: int, random: torch.Generator) -> list[Tensor]:
    """Split the indices of all examples, in random order, into batches on the device of the examples.

    A last batch of a single image is merged into the batch before it, because BatchNorm cannot train on one image.
    """
    order = torch.randperm(len(examples), generator=random).to(examples.labels.device)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def number_of_batches(count: int, batch_size: int) -> int:
    """Count the batches that `shuffled` makes of `count` examples."""
    whole, rest = divmod(count, batch_size)
    joined = rest == 1 or batch_size == 1  # the last batch has one image
    return max(1, whole + (rest > 0) - joined)


class FlipCrop(NamedTuple):
    """Flip each image at random, shift it by up to 4 pixels each way, and fill the border with black.

    Parameters
    ----------
    black : Tensor [C]
        Normalised value of a black pixel.
    random : torch.Generator
    """

    black: Tensor
    random: torch.Generator

    def __call__(self, images: Tensor) -> Tensor:
        """Flip and shift images [N, C, H, W] at random, and keep their memory layout."""
        return self.cropped(images, self.drawn([len(images)]))

    def cropped(self, images: Tensor, crops: Tensor) -> Tensor:
        """Flip and shift images by crops from `drawn`."""
        flipped, rows, columns = crops.to(images.device, torch.int64).unbind(1)
        black = self.black.to(images).view(1, -1, 1, 1)
        padded = F.pad(images - black, (PADDING,) * 4).add_(black)
        windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
        index = torch.arange(len(images), device=images.device)
        shifted = windows[index, :, rows + PADDING, columns + PADDING]
        turned = torch.where(flipped.bool().view(-1, 1, 1, 1), shifted.flip(3), shifted)
        return torch.empty_like(images).copy_(turned)

    def drawn(self, counts: Sequence[int]) -> Tensor:
        """Draw the flips and shifts of the images of the next batches.

        Parameters
        ----------
        counts : sequence of int
            Number of images of each batch.

        Returns
        -------
        int8 Tensor [images, 3]
            For each image: 1 if it is flipped after the shift, else 0; the first row of its crop, from -4 to 4; and the
            first column of its crop, also from -4 to 4.
        """
        flips, shifts = [], []
        for count in counts:
            flips.append(torch.randint(2, (count,), generator=self.random))
            shifts.append(torch.randint(2 * PADDING + 1, (2, count), generator=self.random))
        flipped, (rows, columns) = torch.cat(flips), torch.cat(shifts, 1) - PADDING
        return torch.stack([flipped, rows, torch.where(flipped.bool(), -columns, columns)], 1).to(torch.int8)
