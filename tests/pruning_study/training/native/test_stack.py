import pytest
import torch
from torch import nn

from pruning_study import models
from pruning_study.models.resnet import BasicBlock
from pruning_study.training.native.layers import NativeError
from pruning_study.training.native.stack import BatchNorm, read

SHAPE = (1, 8, 8)


def test_lenet5_without_the_rows_and_columns_that_its_second_pool_drops():
    """28 -> 26 -> 13 -> 11 -> 5: the second pool reads 10 of 11, those read 12 of 13."""
    stack = read(models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28)), (1, 28, 28))
    assert stack.network == (
        "Network<Convolution<Image<1, 28, 28>, Image<6, 12, 12>, 3, 3, 2, true>, "
        "Convolution<Image<6, 12, 12>, Image<16, 5, 5>, 3, 3, 2, true>, "
        "Linear<400, 120, true>, Linear<120, 84, true>, Linear<84, 10, false>>"
    )
    assert list(stack.parameters)[:3] == ["conv1.weight", "conv1.bias", "conv2.weight"]
    assert (stack.image_shape, stack.classes) == ((1, 28, 28), 10)


@pytest.mark.parametrize("order", [(nn.ReLU(), nn.MaxPool2d(3)), (nn.MaxPool2d(3), nn.ReLU())])
def test_a_relu_before_a_pool_is_one_behind_it(order):
    stack = read(nn.Sequential(nn.Conv2d(1, 4, 3), *order, nn.Flatten(), nn.Linear(16, 2)), SHAPE)
    assert stack.network == "Network<Convolution<Image<1, 8, 8>, Image<4, 2, 2>, 3, 3, 3, true>, Linear<16, 2, false>>"


def unit(inputs, outputs, stride=1):
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def residual(*middle, head=None):
    head = head or (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return nn.Sequential(*unit(1, 4), *middle, *head)


def test_a_residual_network_is_its_units_and_a_linear_layer():
    """The second convolution of a block has the shortcut; a block of more channels subsamples and pads."""
    model = residual(BasicBlock(4, 4, 1), nn.Sequential(BasicBlock(4, 8, 2)), head=(*unit(8, 4), *residual()[-3:]))
    stack = read(model, (1, 8, 7))
    narrow, wide = "Image<4, 8, 7>", "Image<8, 4, 4>"
    assert stack.network == (
        f"ResidualNetwork<Linear<4, 2, false>, Unit<Image<1, 8, 7>, {narrow}, 1>, "
        f"Unit<{narrow}, {narrow}, 1>, Unit<{narrow}, {narrow}, 1, {narrow}>, "
        f"Unit<{narrow}, {wide}, 2>, Unit<{wide}, {wide}, 1, {narrow}>, Unit<{wide}, Image<4, 4, 4>, 1>>"
    )
    assert [*stack.parameters][:6] == ["0.weight", "1.weight", "1.bias", "3.conv1.weight", "3.bn1.weight", "3.bn1.bias"]
    assert [*stack.running][:3] == ["1.running_mean", "1.running_var", "3.bn1.running_mean"]
    assert stack.normalizations[3] == BatchNorm("4.0.bn1", 8, 16, 1e-5, 0.1)


@pytest.mark.parametrize(("name", "layers"), [("resnet20", 20), ("resnet110", 110)])
def test_resnets_are_residual_networks(name, layers):
    model = models.build(name, num_classes=10, in_channels=3, image_size=(32, 32))
    stack = read(model, (3, 32, 32))
    assert len(stack.layers) == layers
    assert [*stack.parameters] == [name for name, _ in model.named_parameters()]


def block(**changes):
    made = BasicBlock(4, 4, 1)
    for name, layer in changes.items():
        setattr(made, name, layer)
    return made


class Bottleneck(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Identity()
        self.layer1 = nn.Sequential(block(conv3=nn.Conv2d(4, 16, 1, bias=False)))


NAMED = {
    "without BatchNorm it supports": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()),
    "it does not support GELU": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 2)),
    r"it does not support Tanh": lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 8), nn.Tanh())),
    r"it does not support Conv2d\(4, 4": lambda: residual(block(conv3=nn.Conv2d(4, 4, 1))),
    r"it does not support Conv2d\(4, 5": lambda: residual(block(downsample=nn.Sequential(nn.Conv2d(4, 5, 1)))),
    r".* stride 1 or 2, without bias": lambda: residual(block(conv2=nn.Conv2d(4, 4, 5, padding=2))),
    r"BatchNorm2d.* needs 5 inputs": lambda: residual(block(bn2=nn.BatchNorm2d(5))),
    r".* and momentum": lambda: residual(block(bn1=nn.BatchNorm2d(4, momentum=None))),
    "the shortcut cannot lead from 4 channels to 7": lambda: residual(BasicBlock(4, 7, 1)),
    "the shortcut cannot lead from 4 channels to 4 at stride 2": lambda: residual(BasicBlock(4, 4, 2)),
    "a residual block needs a convolution": lambda: nn.Sequential(BasicBlock(1, 3, 1), *residual()[-3:]),
    "it does not support MaxPool2d": lambda: residual(nn.MaxPool2d(2)),
    "it does not support AdaptiveAvgPool2d": lambda: residual(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)),
    "it does not support Linear": lambda: residual(nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)),
    "it does not support Dropout": lambda: residual(nn.AdaptiveAvgPool2d(1), nn.Dropout()),
    r"it does not support Conv2d.*, where ReLU should be$": lambda: nn.Sequential(
        *unit(1, 4)[:2], *unit(4, 4), *residual()[-3:]
    ),
    "InstanceNorm2d.*, where BatchNorm2d should be": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.InstanceNorm2d(4), nn.ReLU(), *unit(4, 4), *residual()[-3:]
    ),
    "it does not support ReLU": lambda: nn.Sequential(*residual(), nn.ReLU()),
    "Bottleneck is no nn.Sequential and has no method `stack`": Bottleneck,
}


@pytest.mark.parametrize(("reason", "model"), NAMED.items(), ids=NAMED)
def test_the_first_layer_that_stops_it_is_shown(reason, model):
    with pytest.raises(NativeError, match=reason):
        read(model(), SHAPE)


def shared():
    layer = nn.Linear(64, 64)
    return nn.Sequential(nn.Flatten(), layer, layer)


def frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model[1].bias.requires_grad_(False)
    return model


def hooked():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model[1].register_forward_hook(lambda module, given, made: made + 1)
    return model


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, images):
        return self.parts(images)

    def stack(self):
        return self.parts


def with_stack(stack):
    """A model whose attribute `stack` is this."""
    model = nn.Module()
    model.stack = stack
    return model


def failing():
    raise RuntimeError("no\nsuch layers")


def hooked_stack():
    model = Parts()
    model.parts.register_full_backward_hook(lambda module, taken, given: None)
    return model


def replaced():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model.forward = lambda images: nn.Sequential.forward(model, images) + 1
    return model


def spare():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model.spare = nn.Parameter(torch.zeros(3))
    return model


class Derived(nn.Sequential):
    pass


REFUSED = {
    "Derived is no nn.Sequential": lambda: Derived(nn.Flatten(), nn.Linear(64, 3)),
    "Linear is no nn.Sequential": lambda: nn.Linear(8, 3),
    "^Module is no nn.Sequential and has no method `stack` that returns an nn.Sequential$": lambda: with_stack(3),
    r"^Module is no nn\.Sequential and has no method `stack`": lambda: with_stack(nn.Sequential(nn.Linear(64, 3))),
    "^the method `stack` of Module fails: no$": lambda: with_stack(failing),
    "^the method `stack` of Module fails: .*missing 1 required positional": lambda: with_stack(lambda images: images),
    "does not support BatchNorm2d": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 3)),
    "does not support MaxPool2d": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    "does not support ReLU": lambda: nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
    "does not support Flatten": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 3)),
    "no layers": lambda: nn.Sequential(nn.Flatten()),
    "without padding": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 3)),
    "of stride 1": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 3)),
    "convolutions of stride 1, with bias": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, bias=False)),
    "linear layers with bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False)),
    "whose stride is their size": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2)),
    "square max-pools": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d((2, 3))),
    "max-pools .* not MaxPool2d.*ceil_mode=True": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(4, ceil_mode=True)
    ),
    "too small for the layers": lambda: nn.Sequential(nn.Conv2d(1, 4, 9), nn.Flatten(), nn.Linear(4, 3)),
    "more than 250,000 values": lambda: nn.Sequential(nn.Conv2d(1, 7000, 3), nn.Flatten(), nn.Linear(252_000, 2)),
    "follows a linear layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Conv2d(1, 4, 3)),
    "Conv2d.* needs 3 inputs, but gets 1": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)),
    "Conv2d.* needs 5 inputs, but gets 4": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(5, 4, 3)),
    "Linear.* needs 100 inputs, but gets 64": lambda: nn.Sequential(nn.Flatten(), nn.Linear(100, 3)),
    "Linear.* needs 36 inputs, but gets 16": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(36, 3)
    ),
    "Linear.* needs 9 inputs, but gets 8": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(9, 3)),
    "last layer of the model is not linear": lambda: nn.Sequential(nn.Conv2d(1, 4, 3)),
    "share weights": shared,
    "1.bias is not a trainable float32": frozen,
    "1.weight is not a trainable float32": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double(),
    "a hook changes what Linear does": hooked,
    "a hook changes what Sequential does$": replaced,
    "a hook changes what Sequential does": hooked_stack,
    "parameters outside its stack": spare,
}


@pytest.mark.parametrize(("reason", "model"), REFUSED.items(), ids=REFUSED)
def test_what_the_headers_cannot_express_is_refused_with_the_reason(reason, model):
    with pytest.raises(NativeError, match=reason):
        read(model(), SHAPE)
