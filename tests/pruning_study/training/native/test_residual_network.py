"""Residual networks in the native engine against torch in double precision.

`.ci/run` also runs these tests with sanitizers (address, undefined behaviour).
"""

import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common import interrupts
from pruning_study import models
from pruning_study.data.examples import Examples, FlipCrop, Normalization, PackedImages, generator, shuffled
from pruning_study.models.resnet import BasicBlock
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH, Outcomes, Steps
from pruning_study.training.loop import apply_masks
from pruning_study.training.native import engine as native
from pruning_study.training.native.layers import NativeError
from pruning_study.training.optimizer import Optimizer

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]

SHAPE, CLASSES = (3, 9, 6), 3
KINDS = {"convolutions": "conv", "normalizations": "bn", "head": "head"}


class Small(nn.Module):
    """Each kind of shortcut (identity, more channels, more channels at half the height and width), and a plain unit."""

    def __init__(self):
        super().__init__()
        self.stem_conv, self.stem_bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.between_conv, self.between_bn = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.blocks = nn.Sequential(
            BasicBlock(4, 4, 1),
            BasicBlock(4, 6, 1),
            self.between_conv,
            self.between_bn,
            nn.ReLU(),
            BasicBlock(6, 10, 2),
        )
        self.head = nn.Linear(10, CLASSES)
        for norm in (module for module in self.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            norm.eps, norm.momentum = 1e-3, 0.3

    def stack(self):
        pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(self.stem_conv, self.stem_bn, nn.ReLU(), self.blocks, *pool, self.head)

    def forward(self, images):
        return self.stack()(images)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Small()


def examples(count, shape=SHAPE, classes=CLASSES, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, *shape, generator=random), torch.randint(classes, (count,), generator=random))


def in_double(model, train):
    return copy.deepcopy(model).double(), Examples(train.images.double(), train.labels)


def at_rest(model, learning_rate=0.05, weight_decay=0.01):
    zeros = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    return Optimizer(learning_rate, 0.9, weight_decay, zeros)


def some_masks(model, share, seed=5):
    random = torch.Generator().manual_seed(seed)
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}
    return {name: torch.rand(weight.shape, generator=random) < share for name, weight in weights.items()}


def trained(
    engine, model, train, *, batch_size, masks=None, augmented=False, teacher=None, withheld=False, weighted=False
):
    """Train two epochs, and return everything that they change and what is measured of it."""
    real = train.images.dtype if isinstance(train.images, torch.Tensor) else torch.float32
    factors = torch.arange(len(train)).remainder(5).to(real) - 1 if weighted else None
    outcomes = Outcomes(torch.zeros(len(train), dtype=real), torch.zeros(len(train), dtype=torch.bool))
    model, masks, random = copy.deepcopy(model), masks or {}, generator(0, "test")
    optimizer = at_rest(model)
    hidden = {name: torch.zeros_like(values) for name, values in model.named_parameters()} if withheld else None
    apply_masks(model, masks)
    losses = [
        engine.train_epoch(
            model,
            Steps(
                train,
                shuffled(train, batch_size, random),
                optimizer,
                masks,
                FlipCrop(torch.arange(3.0).to(train.images.dtype), random) if augmented else None,
                Distillation(teacher, 0.5, 2.0) if teacher else None,
                hidden,
                factors,
                outcomes if weighted else None,
            ),
        )
        for _ in range(2)
    ]
    for name, mask in masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()
    state = model.state_dict()
    counts = [state.pop(name).item() for name in [*state] if "num_batches" in name]
    results = {
        "loss": {"": torch.tensor(losses, dtype=torch.float64)},
        **({"outcomes": {"loss": outcomes.loss, "right": outcomes.right}} if weighted else {}),
        "running": {name: values for name, values in state.items() if "running" in name},
        "logits": {"": engine.logits(model, train.images)},
        **by_kind("weights", dict(model.named_parameters())),
        **by_kind("velocity", optimizer.velocity),
        **by_kind("gradient", engine.gradient(model, train)),
        **(by_kind("withheld", hidden) if hidden else {}),
    }
    return {name: torch.cat([part.flatten().double() for part in of.values()]) for name, of in results.items()}, counts


def by_kind(what, tensors):
    return {
        f"{what} of {kind}": {name: values for name, values in tensors.items() if sign in name}
        for kind, sign in KINDS.items()
    }


def check(model, train, batch_size, shape=SHAPE, **settings):
    """Compare the two engines' errors in two epochs, against torch in double precision."""
    for name, (error, allowed, size) in errors(model, train, batch_size, shape, **settings).items():
        assert error <= 2 * allowed + 1e-7 * size, name


def errors(model, train, batch_size, shape=SHAPE, engines=None, **settings):
    """Return the errors of two engines and the size of what they should find, by name of the result."""
    one, other = engines or (native.load(model, shape), TORCH)
    ours, our_counts = trained(one, model, train, batch_size=batch_size, **settings)
    theirs, counts = trained(other, model, train, batch_size=batch_size, **settings)
    teacher = settings.pop("teacher", None)
    exact_model, exact_train = in_double(model, train)
    exact, _ = trained(
        TORCH, exact_model, exact_train, batch_size=batch_size, teacher=teacher and teacher.double(), **settings
    )
    assert our_counts == counts
    return {
        name: torch.stack([(ours[name] - wanted).norm(), (theirs[name] - wanted).norm(), wanted.norm()])
        for name, wanted in exact.items()
    }


@pytest.mark.parametrize(("count", "batch_size"), [(17, 17), (33, 17), (200, 128), (2, 2)])
def test_epochs_are_those_of_torch(vectors, model, count, batch_size):
    check(model, examples(count), batch_size)


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("withheld", [False, True])
def test_masked_epochs_are_those_of_torch(vectors, model, share, withheld):
    check(model, examples(49), 32, masks=some_masks(model, share), withheld=withheld)


@pytest.mark.parametrize("layer", ["stem_conv", "blocks.0.conv2", "between_conv", "blocks.5.conv1", "head"])
def test_a_layer_without_weights_is_that_of_torch(layer):
    """Errors of six networks together: by its rounding alone, one network may be off twice as far."""
    found = []
    for seed in range(3, 9):
        torch.manual_seed(seed)
        model = Small()
        masks = some_masks(model, 0.5)
        masks[f"{layer}.weight"].zero_()
        found.append(errors(model, examples(49), 32, masks=masks))
    for name in found[0]:
        error, allowed, size = torch.stack([of_network[name] for of_network in found]).norm(dim=0)
        assert error <= 2 * allowed + 1e-7 * size, name


@pytest.mark.parametrize("withheld", [False, True])
def test_masks_of_all_parameters_are_those_of_torch(model, withheld):
    """Those of BatchNorm and biases too."""
    random = torch.Generator().manual_seed(5)
    masks = {name: torch.rand(values.shape, generator=random) < 0.5 for name, values in model.named_parameters()}
    check(model, examples(49), 32, masks=masks, withheld=withheld)


def test_augmented_epochs_with_a_teacher_are_those_of_torch(vectors, model):
    check(model, examples(49), 32, augmented=True, teacher=Small(), masks=some_masks(model, 0.3))


@pytest.mark.parametrize("distilled", [False, True])
def test_factors_and_outcomes_of_images_are_those_of_torch(vectors, model, distilled):
    """Factors from -1 to 3."""
    settings = {"augmented": True, "teacher": Small()} if distilled else {}
    check(model, examples(49), 32, weighted=True, masks=some_masks(model, 0.3), **settings)


@pytest.mark.parametrize("bits", [4, 8])
def test_epochs_with_quantized_weights_are_those_of_torch(vectors, model, bits):
    """With a teacher of other weights, which sees augmented images: its own weights are not quantized."""
    train, teacher = examples(97), Small()
    engines = (each.with_weight_bits(bits) for each in (TORCH, native.load(model, SHAPE)))
    runs = [trained(engine, model, train, batch_size=32, augmented=True, teacher=teacher) for engine in engines]
    (wanted, batches), (found, their_batches) = runs
    assert batches == their_batches
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4, msg=name)


def test_packed_images_are_those_in_memory(model):
    random = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (37, *SHAPE), dtype=torch.uint8, generator=random)
    normalization, labels = Normalization([0.4, 0.5, 0.5], [0.2, 0.3, 0.3]), torch.arange(37) % CLASSES
    packed = PackedImages(pixels, torch.arange(37), normalization, "cpu", torch.contiguous_format)
    engine = native.load(model, SHAPE)
    results = [
        trained(engine, model, Examples(images, labels), batch_size=16)[0] for images in (normalization(pixels), packed)
    ]
    for name, values in results[0].items():
        torch.testing.assert_close(results[1][name], values, rtol=1e-5, atol=1e-7)


def test_the_same_twice_is_the_same_to_the_last_bit(model):
    engine = native.load(model, SHAPE)
    results = [trained(engine, model, examples(49), batch_size=32)[0] for _ in range(2)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_portions_change_no_bit(monkeypatch, model, masked):
    """Five batches at once, or two by two; 300 images, or 128 of them."""
    results = []
    for multiplications in (native.MULTIPLICATIONS, 1):
        monkeypatch.setattr(native, "MULTIPLICATIONS", multiplications)
        masks = some_masks(model, 0.2) if masked else None
        engine = native.load(model, SHAPE)
        results.append(trained(engine, model, examples(300), batch_size=64, masks=masks, withheld=masked))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_signal_ends_an_epoch_after_the_batches_at_hand(monkeypatch, model):
    """Two batches are trained on, as one portion each, and the signal comes during the second."""
    monkeypatch.setattr(native, "MULTIPLICATIONS", 1)
    engine, trained_on = native.load(model, SHAPE), []
    monkeypatch.setattr(interrupts, "interrupted", False)

    def train(*arguments):
        trained_on.append(1)
        monkeypatch.setattr(interrupts, "interrupted", len(trained_on) == 2)
        return library_train(*arguments)

    library_train = engine.library.train
    monkeypatch.setattr(engine.library, "train", train)
    with pytest.raises(KeyboardInterrupt):
        engine.train_epoch(model, Steps(examples(384), [*torch.arange(384).split(128)], at_rest(model), {}))
    assert len(trained_on) == 2


OUT_OF_MEMORY = """
import resource, torch
from pathlib import Path
from pruning_study.data.examples import Examples
from pruning_study.training.engines import Steps
from pruning_study.training.native import engine as native
from tests.pruning_study.training.native.test_residual_network import SHAPE, Small, at_rest
model, count = Small(), 300_000
engine = native.load(model, SHAPE)
train = Examples(torch.zeros(1, *SHAPE).expand(count, -1, -1, -1).contiguous(), torch.zeros(count, dtype=torch.int64))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26,) * 2)
try:
    engine.train_epoch(model, Steps(train, [torch.arange(count)], at_rest(model), {}))
except RuntimeError as error:
    print(error)
"""


def test_a_batch_that_the_memory_cannot_hold_is_an_error_of_one_line():
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True)
    assert done.stdout == "the native engine can't allocate memory\n", done.stderr


def test_statistics_of_a_mean_much_larger_than_the_spread(vectors, model):
    """Images of about 1000 with a spread of 1: in single precision their mean square has no digit of the spread."""
    with torch.no_grad():
        model.stem_conv.weight.zero_()
        model.stem_conv.weight[:, :, 1, 1] = 1.0
    train = examples(49)
    train = Examples(train.images + 1000, train.labels)
    own = copy.deepcopy(model)
    engine = native.load(model, SHAPE)
    engine.train_epoch(own, Steps(train, [torch.arange(49)], at_rest(own), {}))
    values = F.conv2d(train.images.double(), model.stem_conv.weight.double(), padding=1)
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
    norm, before = own.stem_bn, model.stem_bn
    torch.testing.assert_close(norm.running_mean.double(), 0.7 * before.running_mean + 0.3 * mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), 0.7 * before.running_var + 0.3 * variance, rtol=1e-4, atol=0)


def test_evaluation_and_gradient_leave_the_running_statistics_alone(model):
    engine, before = native.load(model, SHAPE), copy.deepcopy(model.state_dict())
    engine.logits(model, examples(33).images)
    engine.gradient(model, examples(33))
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_a_batch_of_one_value_for_each_channel_is_refused(model):
    """As torch refuses it: one value has no spread."""
    small = nn.Sequential(*model.stack()[:3], BasicBlock(4, 6, 2), *model.stack()[4:6], nn.Linear(6, 2))
    train = examples(3, (3, 2, 1), 2)
    for engine in (native.load(small, (3, 2, 1)), TORCH):
        with pytest.raises(ValueError, match=r"more than (one|1) value per channel when training"):
            engine.train_epoch(small, Steps(train, [torch.arange(2), torch.arange(1)], at_rest(small), {}))


class Changed(BasicBlock):
    def forward(self, x):
        return super().forward(x) + 1


class Silu(BasicBlock):
    def forward(self, x):
        y = F.silu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Negative(BasicBlock):
    def forward(self, x):
        return -super().forward(x)


class OfBatch(BasicBlock):
    def forward(self, x):
        return super().forward(x * 2 if self.training else x)


class Detached(BasicBlock):
    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x.detach()))


class Dropping(BasicBlock):
    def forward(self, x):
        y = F.dropout(F.relu(self.bn1(self.conv1(x))), 0.2, self.training)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Leaving(BasicBlock):
    """A block that is hardly ever left out."""

    def forward(self, x):
        return F.relu(x) if self.training and torch.rand(()) < 1e-6 else super().forward(x)


@pytest.mark.parametrize("changed", [Dropping, Leaving])
def test_a_block_that_draws_random_numbers_is_refused(model, changed):
    model.blocks[0].__class__ = changed
    with pytest.raises(NativeError, match=r"^Small draws random numbers while it trains, as dropout does$"):
        native.load(model, SHAPE)


@pytest.mark.parametrize("zero", [(), ("blocks.0.bn2.weight", "head.weight")])
@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (Changed, "logits"),
        (Silu, "logits"),
        (Negative, "logits"),
        (OfBatch, "training loss"),
        (Detached, "gradient"),
    ],
)
def test_a_block_that_computes_something_else_is_refused(model, changed, what, zero):
    """Also where the initial weights behind it are 0, and without a draw from the caller's random numbers."""
    model.blocks[0].__class__ = changed
    for name in zero:
        nn.init.zeros_(model.get_parameter(name))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(NativeError, match=f"its {what} (is|are) not (that|those) of Small"):
        native.load(model, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_resnet20_is_that_of_torch():
    torch.manual_seed(0)
    model = models.build("resnet20", num_classes=10, in_channels=3, image_size=(32, 32))
    train = examples(17, (3, 32, 32), 10)
    exact_model, exact_train = in_double(model, train)
    engine = native.load(model, (3, 32, 32))
    gradients = [
        engine.gradient(model, train),
        TORCH.gradient(model, train),
        TORCH.gradient(exact_model, exact_train),
    ]
    ours, theirs, exact = (torch.cat([part.flatten().double() for part in of.values()]) for of in gradients)
    assert (ours - exact).norm() <= 2 * (theirs - exact).norm()
    losses = []
    for each, own, given in ((engine, model, train), (TORCH, exact_model, exact_train)):
        optimizer = at_rest(own, 0.01)
        losses.append([each.train_epoch(own, Steps(given, [torch.arange(17)], optimizer, {})) for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
