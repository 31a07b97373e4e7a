"""Residual networks for CIFAR (He et al. 2016, Section 4.2), with the parameter-free shortcuts of option A."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.models.initial_weights import draw_normal


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and a shortcut that subsamples and pads with zero channels if shapes differ."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y.add_(self.shortcut(x)), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        if not self.padding:
            return x
        # Pooling over single pixels equals x[:, :, ::stride, ::stride], but keeps the memory layout.
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, self.padding, self.padding))


class ResNet(nn.Module):
    """A 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels, mean pooling and a linear layer.

    It has 6n + 2 layers. For images with 3 channels and 10 classes, it has 269,722 parameters with 20 layers, 464,154
    with 32, 658,586 with 44, 853,018 with 56 and 1,727,962 with 110.
    """

    def __init__(self, blocks: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(BasicBlock, blocks, 16, 16, stride=1)
        self.layer2 = stage(BasicBlock, blocks, 16, 32, stride=2)
        self.layer3 = stage(BasicBlock, blocks, 32, 64, stride=2)
        self.fc = nn.Linear(64, num_classes)
        draw_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))

    def stack(self) -> nn.Sequential:
        """Return the network's layers as an `nn.Sequential`, for which the native engine is compiled."""
        stages = (self.layer1, self.layer2, self.layer3)
        pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(self.conv1, self.bn1, nn.ReLU(), *stages, *pool, self.fc)


def stage(
    block: Callable[[int, int, int], nn.Module], blocks: int, in_channels: int, channels: int, stride: int
) -> nn.Sequential:
    """Return a sequence of blocks, the first of which changes the number of channels and subsamples by `stride`."""
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels, channels, 1) for _ in range(blocks - 1)))


def resnet20(num_classes: int, in_channels: int) -> ResNet:
    """Return ResNet-20, with 3 blocks in each stage."""
    return ResNet(3, num_classes, in_channels)


def resnet32(num_classes: int, in_channels: int) -> ResNet:
    """Return ResNet-32, with 5 blocks in each stage."""
    return ResNet(5, num_classes, in_channels)


def resnet44(num_classes: int, in_channels: int) -> ResNet:
    """Return ResNet-44, with 7 blocks in each stage."""
    return ResNet(7, num_classes, in_channels)


def resnet56(num_classes: int, in_channels: int) -> ResNet:
    """Return ResNet-56, with 9 blocks in each stage."""
    return ResNet(9, num_classes, in_channels)


def resnet110(num_classes: int, in_channels: int) -> ResNet:
    """Return ResNet-110, with 18 blocks in each stage."""
    return ResNet(18, num_classes, in_channels)
