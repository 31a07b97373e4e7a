"""Time of CHIP's channel independence: our nuclear norms, against one decomposition for every channel and image.

    python benchmarks/independence.py [--images 32] [--rounds 5]

The baseline is the plain form of CHIP's released code: for each image and channel it copies the feature maps, sets the
channel to 0, and computes the singular values in float32. Feature maps are ReLUs of noise with a decreasing spectrum,
and one channel is dead. Baseline and ours take turns; the table has the medians over the rounds, in CPU time of one
thread. The error of our scores is their difference from the baseline's scores in float64, as a share of the image's
nuclear norm.
"""

import statistics
import time
from collections.abc import Callable

import click
import torch
from torch import Tensor

from pruning_study.pruning.channels import independence

# Channels of a convolution, and pixels of its feature maps.
LAYERS = {
    "LeNet5, second convolution": (16, 25),
    "ResNet-56, first stage": (16, 1024),
    "ResNet-56, second stage": (32, 256),
    "ResNet-56, third stage": (64, 64),
    "VGG11, fourth convolution": (256, 16),
}
STAGE = 9  # number of convolutions in a stage of ResNet-56 whose channels CHIP may remove


@click.command()
@click.option("--images", default=32, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
def main(images: int, rounds: int) -> None:
    """Time the baseline and ours, and print one table."""
    torch.set_num_threads(1)
    print(f"{'':28}{'channels x pixels':>18}{'plain, ms':>11}{'ours, ms':>10}{'times':>7}{'largest error':>15}")
    of_resnet = torch.zeros(2)
    for name, (channels, pixels) in LAYERS.items():
        maps = made_maps(images, channels, pixels)
        error = float(((independence(maps) - plain(maps.double())).abs() / norms(maps)).max())
        rounds_of_both = [(seconds(plain, maps), seconds(independence, maps)) for _ in range(rounds)]
        medians = torch.tensor([statistics.median(times) / images * 1e3 for times in zip(*rounds_of_both, strict=True)])
        print(f"{name:28}{f'{channels} x {pixels}':>18}{row(medians)}{error:>15.1e}")
        if name.startswith("ResNet"):
            of_resnet += STAGE * medians
    print(f"{'ResNet-56, all convolutions inside blocks':46}{row(of_resnet)}")


def plain(maps: Tensor) -> Tensor:
    """Return the independence of each image's channels, by one decomposition for each channel."""
    scores = torch.empty(maps.shape[:2], dtype=maps.dtype)
    for image, of_image in enumerate(maps):
        norm = torch.linalg.matrix_norm(of_image, "nuc")
        for channel in range(len(of_image)):
            masked = of_image.clone()
            masked[channel] = 0
            scores[image, channel] = norm - torch.linalg.matrix_norm(masked, "nuc")
    return scores


def made_maps(images: int, channels: int, pixels: int) -> Tensor:
    """Return simulated feature maps, (images, channels, pixels)."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.randn(images, channels, pixels, generator=random) / torch.arange(1, channels + 1).view(1, -1, 1)
    maps = (torch.randn(images, channels, channels, generator=random) @ patterns).relu()
    maps[:, 0] = 0
    return maps


def norms(maps: Tensor) -> Tensor:
    """Return the nuclear norm of each image's feature maps, (images, 1)."""
    return torch.linalg.matrix_norm(maps.double(), "nuc").unsqueeze(1)


def seconds(score: Callable[[Tensor], Tensor], maps: Tensor) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    score(maps)
    return time.process_time() - start


def row(milliseconds: Tensor) -> str:
    """Return two durations and their ratio as text."""
    first, second = milliseconds.tolist()
    return f"{first:>11.2f}{second:>10.3f}{first / second:>7.0f}"


if __name__ == "__main__":
    main()
