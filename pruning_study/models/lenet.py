"""LeNet5 (LeCun et al. 1998) as adapted by Good et al. (2022, Section 6.1), variants of it, and LeNet-300-100."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.common.errors import StudyError
from pruning_study.models.initial_weights import draw_uniform

SMALLEST = 10


class LeNet5(nn.Module):
    """Convolution 6@3x3, pool, convolution 16@3x3, pool, then linear layers with 120, 84 and `num_classes` units.

    It has 60,074 parameters for images of 28x28x1 and 10 classes. `width` multiplies the numbers of channels and units.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int], width: float = 1) -> None:
        super().__init__()
        if min(image_size) < SMALLEST:
            raise StudyError(f"lenet5 needs images of at least {SMALLEST}x{SMALLEST} pixels, not {image_size}")
        rows, columns = (((side - 2) // 2 - 2) // 2 for side in image_size)
        channels, more_channels, units, fewer_units = (int(width * number) for number in (6, 16, 120, 84))
        with torch.random.fork_rng(devices=[]):  # `draw_uniform` replaces the initial weights
            self.conv1 = nn.Conv2d(in_channels, channels, 3)
            self.conv2 = nn.Conv2d(channels, more_channels, 3)
            self.fc1 = nn.Linear(more_channels * rows * columns, units)
            self.fc2 = nn.Linear(units, fewer_units)
            self.fc3 = nn.Linear(fewer_units, num_classes)
        draw_uniform(self)

    def forward(self, images: Tensor) -> Tensor:
        # With the batch innermost in memory, a convolution is one matrix product over all images, and pooling
        # vectorises over them. Training is 1.4 times as fast as with channels last, where LeNet5's few channels
        # underuse the vector units.
        x = images.permute(1, 2, 3, 0).contiguous()
        x = _convolve_and_pool(_convolve_and_pool(x, self.conv1), self.conv2)
        x = F.relu(self.fc1(x.flatten(0, 2).t()))
        return self.fc3(F.relu(self.fc2(x)))

    def stack(self) -> nn.Sequential:
        """Return the network's layers as an `nn.Sequential`, for which the native engine is compiled."""
        pool, rectify = nn.MaxPool2d(2), nn.ReLU()
        return nn.Sequential(
            *(self.conv1, pool, rectify),
            *(self.conv2, pool, rectify),
            *(nn.Flatten(), self.fc1, rectify),
            *(self.fc2, rectify),
            self.fc3,
        )


def _convolve_and_pool(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return the ReLU of the 2x2 max-pool of the 3x3 convolution of x [C, H, W, N]."""
    height, width = ((side - 2) // 2 * 2 for side in x.shape[1:3])  # the pool would drop an odd last row or column
    windows = torch.stack(
        [x[:, row : row + height, column : column + width] for row in range(3) for column in range(3)], 1
    )
    x = layer.weight.flatten(1) @ windows.flatten(0, 1).flatten(1)
    # The pool vectorises over the channels of a channels-last tensor: here the images take the channels' place.
    x = F.max_pool2d(x.view(-1, height, width, x.shape[1] // (height * width)).permute(0, 3, 1, 2), 2)
    # Bias and ReLU give the same result before and after the pool, but after it there are a quarter as many pixels.
    assert layer.bias is not None
    return F.relu(x.permute(0, 2, 3, 1) + layer.bias.view(-1, 1, 1, 1))


def lenet5(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> LeNet5:
    """Return LeNet5 for images of 10x10 pixels or more."""
    return LeNet5(num_classes, in_channels, image_size)


def lenet5_half(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> LeNet5:
    """Return LeNet5 with half as many channels and units."""
    return LeNet5(num_classes, in_channels, image_size, width=0.5)


def lenet5_double(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> LeNet5:
    """Return LeNet5 with twice as many channels and units."""
    return LeNet5(num_classes, in_channels, image_size, width=2)


def lenet_300_100(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Sequential:
    """Return LeNet-300-100, a network of linear layers only (LeCun et al. 1998; Frankle and Carbin 2019)."""
    pixels = in_channels * image_size[0] * image_size[1]
    with torch.random.fork_rng(devices=[]):  # `draw_uniform` replaces the initial weights
        layers = nn.Sequential(
            *(nn.Flatten(), nn.Linear(pixels, 300), nn.ReLU()),
            *(nn.Linear(300, 100), nn.ReLU()),
            nn.Linear(100, num_classes),
        )
    draw_uniform(layers)
    return layers
