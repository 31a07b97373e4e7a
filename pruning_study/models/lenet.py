"""LeNet5 as the recall distortion paper adapts it (Good et al. 2022, Section 6.1; LeCun et al. 1998)."""

import torch.nn.functional as F
from torch import Tensor, nn

from analysis.errors import StudyError

SMALLEST = 10


class LeNet5(nn.Module):
    """Convolution 6@3x3, pool, convolution 16@3x3, pool, then linear layers 120, 84, classes.

    60,074 parameters for images of 28x28x1 and 10 classes.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        if min(image_size) < SMALLEST:
            raise StudyError(f"lenet5 needs images of at least {SMALLEST}x{SMALLEST} pixels, not {image_size}")
        height, width = (((side - 2) // 2 - 2) // 2 for side in image_size)
        self.conv1 = nn.Conv2d(in_channels, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        # Pooling before the ReLU gives the same values, and the ReLU a quarter of them to do.
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def lenet5(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> LeNet5:
    """LeNet5 for images of any size from 10x10."""
    return LeNet5(num_classes, in_channels, image_size)
