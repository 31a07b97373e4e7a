"""Wide residual networks (Zagoruyko and Komodakis 2016, Section 2), without dropout."""

import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.models.initial_weights import draw_normal
from pruning_study.models.resnet import stage


class WideBlock(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution, twice, with a 1x1 convolution as the shortcut if shapes differ."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False) if in_channels != channels else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x), inplace=True)
        y = self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True))
        # As in the authors' code, both branches share the first activation if the shortcut has weights.
        return y.add_(x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """A 3x3 convolution with 16 channels, three stages of n blocks, mean pooling and a linear layer.

    With width k, the stages have 16 * k, 32 * k and 64 * k channels. WRN-16-4 is named after its 16 = 6n + 4
    convolutions, shortcuts included, and its width k = 4. For images with 3 channels and 10 classes, WRN-16-4 has
    2,748,890 parameters, WRN-22-8 has 17,158,106 and WRN-28-10 has 36,479,194.
    """

    def __init__(self, blocks: int, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = 16 * width
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.layer1 = stage(WideBlock, blocks, 16, channels, stride=1)
        self.layer2 = stage(WideBlock, blocks, channels, 2 * channels, stride=2)
        self.layer3 = stage(WideBlock, blocks, 2 * channels, 4 * channels, stride=2)
        self.bn = nn.BatchNorm2d(4 * channels)
        self.fc = nn.Linear(4 * channels, num_classes)
        draw_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return self.fc(F.relu(self.bn(x), inplace=True).mean((2, 3)))


def wrn16_4(num_classes: int, in_channels: int) -> WideResNet:
    """Return WRN-16-4, with 2 blocks in each stage and 4 times ResNet's channels."""
    return WideResNet(2, 4, num_classes, in_channels)


def wrn22_8(num_classes: int, in_channels: int) -> WideResNet:
    """Return WRN-22-8, with 3 blocks in each stage and 8 times ResNet's channels."""
    return WideResNet(3, 8, num_classes, in_channels)


def wrn28_10(num_classes: int, in_channels: int) -> WideResNet:
    """Return WRN-28-10, with 4 blocks in each stage and 10 times ResNet's channels."""
    return WideResNet(4, 10, num_classes, in_channels)
