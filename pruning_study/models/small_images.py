"""torchvision's AlexNet, VGG11 and ResNet-18, with some layers adapted to images of 28 to 32 pixels.

torchvision's versions are for images of 224 pixels (Krizhevsky 2014; Simonyan and Zisserman 2015; He et al. 2016). Here
AlexNet and ResNet-18 downsample less, the poolings of VGG11 keep odd last rows and columns, and the first linear layers
of AlexNet and VGG11 have fewer inputs. Everything else is unchanged: number and widths of the layers, parameter names,
and the initial weights of layers that are not replaced.
"""

from typing import Any

from torch import nn

from pruning_study.models.libraries import network


def alexnet(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """Return AlexNet with a first convolution of 5x5 pixels and stride 1, and a first linear layer on 256x2x2 values.

    torchvision's AlexNet has a first convolution of 11x11 pixels and stride 4, and a first linear layer on 256x6x6
    values. For images with 3 channels and 10 classes, the adapted network has 23,471,946 parameters.
    """
    model = _of_torchvision("alexnet", num_classes, in_channels, image_size)
    model.features[0] = nn.Conv2d(in_channels, 64, 5, padding=2)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier[1] = nn.Linear(256 * 2 * 2, 4096)
    return model


def vgg11(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """Return VGG11 with pooling that keeps an odd last row or column, and a first linear layer on 512 values.

    In torchvision's VGG11, this layer has 512x7x7 inputs. Here, images of 17 to 32 pixels shrink to one pixel in the
    five poolings. For images with 3 channels and 10 classes, the adapted network has 28,144,010 parameters.
    """
    model = _of_torchvision("vgg11", num_classes, in_channels, image_size)
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier[0] = nn.Linear(512, 4096)
    return model


def resnet18(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """Return ResNet-18 with a first convolution of 3x3 pixels and stride 1, and without the pooling after it.

    torchvision's ResNet-18 has a first convolution of 7x7 pixels and stride 2. For images with 3 channels and 10
    classes, the adapted network has 11,173,962 parameters.
    """
    model = _of_torchvision("resnet18", num_classes, in_channels, image_size)
    model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def _of_torchvision(name: str, num_classes: int, in_channels: int, image_size: tuple[int, int]) -> Any:
    sizes: dict[str, Any] = {"in_channels": in_channels, "image_size": image_size}
    return network(f"torchvision:{name}", num_classes=num_classes, **sizes)
