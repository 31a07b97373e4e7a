"""Networks of random layers and sizes that the native engine can train."""

import random

from torch import nn

from pruning_study.models.resnet import BasicBlock
from pruning_study.training.native.layers import ImageShape


def plain(seed: int) -> tuple[nn.Module, ImageShape]:
    """Return up to three convolutions, some with a pool, and up to three linear layers; and the shape of an image."""
    draw = random.Random(f"plain {seed}")
    shape = channels, height, width = draw.randint(1, 4), draw.randint(7, 17), draw.randint(7, 17)
    layers: list[nn.Module] = []
    for _ in range(draw.randint(0, 3)):
        kernel = draw.randint(1, min(height, width, 5)), draw.randint(1, min(height, width, 5))
        filters, height, width = draw.randint(1, 20), height - kernel[0] + 1, width - kernel[1] + 1
        layers.append(nn.Conv2d(channels, filters, kernel))
        if (pool := draw.randint(1, 3)) > 1 and min(height, width) >= pool:
            layers.append(nn.MaxPool2d(pool))
            height, width = height // pool, width // pool
        layers += [nn.ReLU()] if draw.random() < 0.8 else []
        channels = filters
    layers.append(nn.Flatten())
    inputs = channels * height * width
    for _ in range(draw.randint(0, 2)):
        layers += [nn.Linear(inputs, units := draw.randint(1, 40)), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, draw.randint(2, 20))), shape


def residual(seed: int) -> tuple[nn.Module, ImageShape]:
    """Return one or two units, up to three residual blocks and the shape of an image."""
    draw = random.Random(f"residual {seed}")
    shape = channels, _, _ = draw.randint(1, 4), draw.randint(3, 13), draw.randint(3, 13)
    layers: list[nn.Module] = []
    for _ in range(draw.randint(1, 2)):
        width = draw.randint(1, 20)
        layers += _unit(channels, width, draw.randint(1, 2))
        channels = width
    for _ in range(draw.randint(1, 3)):
        width = channels + 2 * draw.randint(0, 4)
        layers.append(BasicBlock(channels, width, draw.randint(1, 2) if width > channels else 1))
        channels = width
    classes = draw.randint(2, 20)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)), shape


def _unit(channels: int, filters: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU()]
