"""The native engine against torch. `.ci/run` also runs these tests with sanitizers (address, undefined behaviour)."""

import copy
import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data import examples as data_examples
from pruning_study.data.examples import Examples, FlipCrop, Normalization, PackedImages, generator, shuffled
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH, Outcomes, Steps
from pruning_study.training.gradients import data_gradient
from pruning_study.training.loop import apply_masks, fit
from pruning_study.training.native import engine as native
from pruning_study.training.optimizer import REGULARIZERS, Optimizer
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]


def lenet5(channels, height, width, classes):
    return models.build("lenet5", num_classes=classes, in_channels=channels, image_size=(height, width))


def large_kernels():
    """The LeNet of Paganini 2020: two convolutions of 5x5."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def no_pools():
    return nn.Sequential(
        nn.Conv2d(2, 7, (4, 3)), nn.ReLU(), nn.Conv2d(7, 5, (1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 6 * 4, 3)
    )


def large_pool():
    return nn.Sequential(nn.Conv2d(3, 5, 2), nn.MaxPool2d(3), nn.Conv2d(5, 4, 1), nn.Flatten(), nn.Linear(36, 4))


def many_channels():
    """Both convolutions as winograd.hpp has them; the first is given more than it reads."""
    return nn.Sequential(
        *(nn.Conv2d(5, 7, 3), nn.MaxPool2d(2), nn.Conv2d(7, 9, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(18, 3)),
    )


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 19), nn.ReLU(), nn.Linear(19, 2))


STACKS = {
    "lenet5": (lambda: lenet5(1, 28, 28, 10), (1, 28, 28), 10),
    "lenet5 for colours": (lambda: lenet5(3, 32, 32, 10), (3, 32, 32), 10),
    "lenet5, odd, 2 classes": (lambda: lenet5(2, 17, 23, 2), (2, 17, 23), 2),
    "5x5 kernels": (large_kernels, (1, 28, 28), 10),
    "no pools": (no_pools, (2, 9, 7), 3),
    "pool of 3": (large_pool, (3, 11, 10), 4),
    "many channels": (many_channels, (5, 15, 13), 3),
    "linear, few pixels": (linear, (1, 2, 2), 2),
}
SMALL = ["lenet5, odd, 2 classes", "no pools", "pool of 3", "many channels", "linear, few pixels"]
# Weights step alike in all networks, so one of them shows each of the other regularisers.
REGULARIZED = [*((stack, "l2") for stack in SMALL), *((SMALL[-1], name) for name in ("l1", "elastic", "decoupled"))]


def make(stack, seed=0):
    """Return a model whose weights are -1/8, 0 and 1/8.

    With small whole numbers for pixels its logits are not rounded. Then no engine takes another pixel for the largest
    of a window, and equal pixels are frequent.
    """
    random = torch.Generator().manual_seed(seed)
    model = STACKS[stack][0]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-1, 2, parameter.shape, generator=random) / 8)
    return model


def examples(stack, count, seed=0):
    random = torch.Generator().manual_seed(seed)
    _, shape, classes = STACKS[stack]
    images = torch.randint(-2, 3, (count, *shape), generator=random).float()
    return Examples(images, torch.randint(0, classes, (count,), generator=random))


def at_rest(model, momentum=0.9, weight_decay=0.0, learning_rate=0.05, regularizer="l2"):
    zeros = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    return Optimizer(learning_rate, momentum, weight_decay, zeros, REGULARIZERS[regularizer])


def some_masks(model, share=0.5, seed=5):
    random = torch.Generator().manual_seed(seed)
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}
    return {name: torch.rand(weight.shape, generator=random) < share for name, weight in weights.items()}


def without_units(model):
    """Return masks that leave the first units of each layer no inputs, and every third input no unit."""
    masks = some_masks(model, 0.3)
    for mask in masks.values():
        mask[: len(mask) // 2] = False
        mask[:, ::3] = False
    return masks


def one_weight_a_layer(model):
    masks = some_masks(model, 0)
    for mask in masks.values():
        mask.view(-1)[mask.numel() // 2] = True
    return masks


def empty(model, layer, share=0.5):
    masks = some_masks(model, share)
    list(masks.values())[layer].zero_()
    return masks


# Layers use lists of their weights where a mask keeps less than a third of them: some masks keep less, some more.
MASKS = {
    "0.5": some_masks,
    "0.3": lambda model: some_masks(model, 0.3),
    "0.05": lambda model: some_masks(model, 0.05),
    "without units": without_units,
    "one weight a layer": one_weight_a_layer,
    "few in the first layer": lambda model: dict([*some_masks(model, 0.2).items()][:1]),
    "few behind the first layer": lambda model: dict([*some_masks(model, 0.2).items()][1:]),
    "none in the first layer": lambda model: empty(model, 0),
    "none in the second layer": lambda model: empty(model, 1),
    "none in the last layer": lambda model: empty(model, -1, 0.2),
}


def trained(engine, model, train, optimizer, masks=None, epochs=2, batch_size=32):
    random = generator(0, "test")
    apply_masks(model, masks or {})
    losses = [
        engine.train_epoch(model, Steps(train, shuffled(train, batch_size, random), optimizer, masks or {}))
        for _ in range(epochs)
    ]
    return losses, dict(model.state_dict())


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("count", [1, 77, 129])
def test_gradient_is_that_of_double_precision(vectors, stack, count):
    model, train = make(stack), examples(stack, count)
    given = native.load(model, STACKS[stack][1]).gradient(model, train)
    wanted = data_gradient(model.double(), Examples(train.images.double(), train.labels))
    assert given.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (given[name] - gradient).norm() <= 1e-5 * gradient.norm()


def test_libraries_for_two_vector_units_share_nothing_in_one_process(monkeypatch):
    """A compiler that does not optimise reads constants from memory, where both libraries could have the same ones."""
    for vectors in ("", " -mno-avx512f"):
        monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} -O0{vectors}")
        model, train = make("linear, few pixels"), examples("linear, few pixels", 129)
        found, wanted = native.load(model, (1, 2, 2)).gradient(model, train), data_gradient(model, train)
        assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


@pytest.mark.parametrize("stack", STACKS)
def test_logits_are_those_of_torch(vectors, stack):
    model, images = make(stack), examples(stack, 77).images
    assert torch.equal(native.load(model, STACKS[stack][1]).logits(model, images), TORCH.logits(model, images))


@pytest.mark.parametrize(("stack", "regularizer"), REGULARIZED)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.0), (0.9, 0.05), (0.0, 0.05)])
@pytest.mark.parametrize("masked", [False, True])
def test_epochs_are_those_of_torch(vectors, stack, regularizer, momentum, weight_decay, masked):
    check_epochs(stack, momentum, weight_decay, some_masks if masked else lambda model: {}, regularizer=regularizer)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("masks", MASKS)
def test_masked_epochs_are_those_of_torch(vectors, stack, masks):
    check_epochs(stack, 0.9, 0.05, MASKS[masks], batch_size=48)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("masked", [False, True])
def test_epochs_with_quantized_weights_are_those_of_torch(vectors, stack, bits, masked):
    check_epochs(stack, 0.9, 0.05, some_masks if masked else lambda model: {}, bits=bits)


def check_epochs(stack, momentum, weight_decay, make_masks, batch_size=32, regularizer="l2", bits=None):
    """Compare epochs of 97 images, 33 or 49 in the last batch, with no equal pixels that rounding would part.

    No weight of this seed is so near to the border between two values of few bits that rounding would part it either.
    """
    torch.manual_seed(4)
    model, train = STACKS[stack][0](), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    runs = []
    for engine in (TORCH, native.load(model, STACKS[stack][1])):
        engine = engine.with_weight_bits(bits) if bits else engine
        own = copy.deepcopy(model)
        optimizer = at_rest(own, momentum, weight_decay, regularizer=regularizer)
        masks = make_masks(own)
        losses, weights = trained(engine, own, train, optimizer, masks, batch_size=batch_size)
        runs.append((losses, weights, optimizer.velocity))
        for name, mask in masks.items():
            assert (weights[name][~mask] == 0).all()
            assert (optimizer.velocity[name][~mask] == 0).all()
    (losses, weights, velocity), (their_losses, their_weights, their_velocity) = runs
    assert losses == pytest.approx(their_losses, rel=1e-5)
    torch.testing.assert_close(weights, their_weights, rtol=1e-4, atol=1e-5)
    if momentum:
        torch.testing.assert_close(velocity, their_velocity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stack", "regularizer"), REGULARIZED)
@pytest.mark.parametrize("masks", ["0.5", "0.05"])
def test_pruned_weights_are_trained_as_torch_trains_them(vectors, stack, regularizer, masks):
    torch.manual_seed(3)
    model, train = STACKS[stack][0](), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    runs = []
    for engine in (TORCH, native.load(model, STACKS[stack][1])):
        own, random = copy.deepcopy(model), generator(0, "test")
        optimizer, chosen = at_rest(own, 0.9, 0.05, regularizer=regularizer), MASKS[masks](own)
        theta = {name: parameter.detach().clone() for name, parameter in own.named_parameters()}
        withheld = {name: torch.zeros_like(values) for name, values in theta.items()}
        withheld |= {name: theta[name].masked_fill(mask, 0) for name, mask in chosen.items()}
        apply_masks(own, chosen)
        losses = [
            engine.train_epoch(own, Steps(train, shuffled(train, 48, random), optimizer, chosen, withheld=withheld))
            for _ in range(2)
        ]
        for name, mask in chosen.items():
            assert (own.get_parameter(name)[~mask] == 0).all()
            assert (withheld[name][mask] == 0).all()
            assert mask.all() or not torch.equal(withheld[name][~mask], theta[name][~mask])
        runs.append((losses, {**own.state_dict()}, withheld, optimizer.velocity))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-5)
    for theirs, ours in zip(runs[0][1:], runs[1][1:], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stack", SMALL)
def test_masks_may_change_between_epochs(stack):
    torch.manual_seed(3)
    model, train = STACKS[stack][0](), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    runs = []
    for engine in (TORCH, native.load(model, STACKS[stack][1])):
        own = copy.deepcopy(model)
        optimizer = at_rest(own)
        for masks in (some_masks(own, 0.2, seed=1), some_masks(own), some_masks(own, 0.2, seed=2)):
            for name, mask in masks.items():
                optimizer.velocity[name].masked_fill_(~mask, 0)
            losses, weights = trained(engine, own, train, optimizer, masks, epochs=1)
        runs.append((losses, weights))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-5)
    torch.testing.assert_close(runs[0][1], runs[1][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("masks", MASKS)
def test_logits_and_gradient_of_a_masked_model_are_those_of_torch(vectors, stack, masks):
    """The gradient also where the weights are masked."""
    model, train = make(stack), examples(stack, 77)
    apply_masks(model, MASKS[masks](model))
    engine = native.load(model, STACKS[stack][1])
    assert torch.equal(engine.logits(model, train.images), TORCH.logits(model, train.images))
    given = engine.gradient(model, train)
    wanted = data_gradient(model.double(), Examples(train.images.double(), train.labels))
    for name, gradient in wanted.items():
        assert (given[name] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("stack", ["lenet5", "many channels"])
def test_equals_among_pixels_of_a_sparse_model_are_those_of_torch(vectors, stack):
    """With weights as after training and much black in the images, many pixels of a window are equal.

    The one that is taken for the largest decides on the gradient of all masked weights.
    """
    torch.manual_seed(3)
    model = STACKS[stack][0]()
    apply_masks(model, some_masks(model, 0.1))
    train = examples(stack, 77)
    train = Examples(torch.rand(train.images.shape) * (torch.rand(train.images.shape) < 0.2), train.labels)
    given = native.load(model, STACKS[stack][1]).gradient(model, train)
    wanted = data_gradient(model.double(), Examples(train.images.double(), train.labels))
    for name, gradient in wanted.items():
        assert (given[name] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("stack", SMALL)
def test_nan_in_a_weight_that_a_mask_has_left_reaches_the_loss(stack):
    model, train = make(stack), examples(stack, 40)
    masks = some_masks(model, 0.3)
    name, mask = [*masks.items()][-1]
    mask[0, 0] = True
    apply_masks(model, masks)
    model.get_parameter(name).data[0, 0] = math.nan
    engine = native.load(model, STACKS[stack][1])
    assert math.isnan(engine.train_epoch(model, Steps(train, whole(train), at_rest(model), masks)))


def test_the_same_twice_is_the_same_to_the_last_bit(vectors):
    stack = "lenet5, odd, 2 classes"
    train = examples(stack, 97)
    runs = []
    for _ in range(2):
        model = make(stack)
        engine = native.load(model, STACKS[stack][1])
        runs.append((*trained(engine, model, train, at_rest(model)), engine.gradient(model, train)))
    for given, wanted in zip(runs[0], runs[1], strict=True):
        torch.testing.assert_close(given, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_not_finite_reaches_the_logits_that_it_reaches_in_torch(vectors, stack, value):
    """Each image has it at another place."""
    model = make(stack)
    images = examples(stack, 1).images.expand(STACKS[stack][1][1] * STACKS[stack][1][2], -1, -1, -1).clone()
    for place, image in enumerate(images):
        image[0].view(-1)[place] = value
    given = native.load(model, STACKS[stack][1]).logits(model, images)
    torch.testing.assert_close(given, TORCH.logits(model, images), equal_nan=True)


def test_nan_in_a_weight_ends_the_training():
    model, train = make("pool of 3"), examples("pool of 3", 40)
    engine = native.load(model, STACKS["pool of 3"][1])
    model[2].weight.data[1] = math.nan
    with pytest.raises(StudyError, match=r"diverged in epoch 1: .* nan"):
        plan = Hyperparameters((Phase(1, 0.01),), 16, 0.9, 0.0, "none")
        fit(model, TrainingSetup(train, train, plan, 0, "dense", torch.zeros(3), engine))


def test_whole_training_is_that_of_torch():
    stack = "5x5 kernels"
    random = torch.Generator().manual_seed(0)
    images = torch.randn(300, 1, 28, 28, generator=random)
    train = Examples(images, (images[:, 0, 10:14, 10:14].mean((1, 2)) * 10).long().clamp(0, 9))
    plan = Hyperparameters((Phase(2, 0.02), Phase(2, 0.01)), 64, 0.9, 1e-3, "none")
    torch.manual_seed(1)
    model = large_kernels()
    results = []
    for engine in (TORCH, native.load(model, STACKS[stack][1])):
        own, seen = copy.deepcopy(model), []
        training = TrainingSetup(train, train, plan, 2, "dense", torch.zeros(1), engine, some_masks(own))
        fit(own, training, on_epoch=lambda epoch, metrics, seen=seen: seen.append(metrics["val_loss"]))
        results.append((seen, TORCH.logits(own, images)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    assert results[0][0][-1] < results[0][0][0]
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-3)


def whole(train):
    return [torch.arange(len(train))]


def test_loss_is_the_mean_over_the_images():
    model = make("no pools")
    engine = native.load(model, STACKS["no pools"][1])
    train = examples("no pools", 77)
    own = copy.deepcopy(model)
    still = Optimizer(0.0, 0.9, 0.0, at_rest(own).velocity)
    loss = engine.train_epoch(own, Steps(train, shuffled(train, 16, generator(0, "test")), still, {}))
    assert loss == pytest.approx(F.cross_entropy(model(train.images), train.labels).item(), rel=1e-6)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize(("weight", "temperature"), [(0.5, 2.0), (1.0, 4.0), (0.3, 0.5)])
def test_distillation_is_that_of_torch(vectors, stack, weight, temperature):
    torch.manual_seed(3)
    teacher, model, train = STACKS[stack][0](), STACKS[stack][0](), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    distillation = Distillation(teacher, weight, temperature, TORCH.logits(teacher, train.images))
    runs = []
    for engine in (TORCH, native.load(model, STACKS[stack][1])):
        own = copy.deepcopy(model)
        batches = shuffled(train, 32, generator(0, "test"))
        loss = engine.train_epoch(own, Steps(train, batches, at_rest(own), some_masks(own), None, distillation))
        runs.append((loss, own.state_dict()))
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-5, abs=1e-5)
    torch.testing.assert_close(runs[1][1], runs[0][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("distilled", [False, True])
def test_augmentation_is_that_of_torch(vectors, stack, distilled):
    """Images of two pixels each way are narrower than the shifts: some become all black."""
    torch.manual_seed(3)
    build, shape, _ = STACKS[stack]
    model, teacher, train = build(), build(), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    runs = []
    for engine in (TORCH, native.load(model, shape)):
        own, random = copy.deepcopy(model), generator(0, "test")
        augment = FlipCrop(torch.arange(shape[0]) - 0.5, random)
        distillation = Distillation(teacher, 0.5, 2.0) if distilled else None
        batches = shuffled(train, 32, random)
        loss = engine.train_epoch(own, Steps(train, batches, at_rest(own), some_masks(own), augment, distillation))
        runs.append((loss, own.state_dict(), torch.rand(3, generator=random)))
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-5, abs=1e-5)
    torch.testing.assert_close(runs[1][1], runs[0][1], rtol=1e-4, atol=1e-5)
    assert torch.equal(runs[1][2], runs[0][2])  # both have drawn as many numbers


def of_images(count):
    """Return factors, some of them negative and some 0, and room for outcomes."""
    factors = torch.randint(-2, 4, (count,), generator=torch.Generator().manual_seed(4)) / 2
    return factors, Outcomes(torch.full((count,), -7.0), torch.zeros(count, dtype=torch.bool))


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("distilled", [False, True])
def test_factors_and_outcomes_of_images_are_those_of_double_precision(vectors, stack, distilled, augmented):
    """Outcomes of the first two batches, of 32 images each: the other images keep what they had."""
    torch.manual_seed(3)
    build, shape, _ = STACKS[stack]
    model, teacher, train = build(), build(), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    runs = []
    for engine, double in ((native.load(model, shape), False), (TORCH, False), (TORCH, True)):
        own, own_teacher, random = copy.deepcopy(model), copy.deepcopy(teacher), generator(0, "test")
        seen, (factors, outcomes) = train, of_images(97)
        if double:
            own, own_teacher, factors = own.double(), own_teacher.double(), factors.double()
            outcomes = Outcomes(outcomes.loss.double(), outcomes.right)
            seen = Examples(train.images.double(), train.labels)
        augment = FlipCrop(torch.arange(shape[0]) - 0.5, random) if augmented else None
        logits = None if augmented else TORCH.logits(own_teacher, seen.images)
        distillation = Distillation(own_teacher, 0.5, 2.0, logits) if distilled else None
        batches, masks = shuffled(seen, 32, random)[:2], some_masks(own)
        apply_masks(own, masks)
        settings = (augment, distillation, None, factors, outcomes)
        loss = engine.train_epoch(own, Steps(seen, batches, at_rest(own), masks, *settings))
        weights = torch.cat([values.flatten().double() for values in own.state_dict().values()])
        runs.append((torch.tensor(loss, dtype=torch.float64), weights, outcomes.loss.double(), outcomes.right))
    ours, theirs, exact = runs
    for given, single, wanted in zip(ours[:3], theirs[:3], exact[:3], strict=True):
        assert (given - wanted).norm() <= 2 * (single - wanted).norm() + 1e-6 * max(1, wanted.norm())
    assert torch.equal(ours[3], exact[3])
    assert int((ours[2] == -7).sum()) == 97 - 64


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("distilled", [False, True])
def test_factors_of_1_and_outcomes_change_no_bit(vectors, stack, distilled):
    model, train = make(stack), examples(stack, 97)
    distillation = Distillation(model, 0.5, 2.0, torch.randn(97, STACKS[stack][2])) if distilled else None
    engine, runs = native.load(model, STACKS[stack][1]), []
    for factors, outcomes in ((None, None), (torch.ones(97), of_images(97)[1])):
        own = copy.deepcopy(model)
        settings = (None, distillation, None, factors, outcomes)
        loss = engine.train_epoch(own, Steps(train, whole(train), at_rest(own), {}, *settings))
        runs.append((own.state_dict(), loss))
    torch.testing.assert_close(*runs, rtol=0, atol=0)


def test_batches_one_by_one_are_an_epoch_to_the_last_bit():
    stack = "lenet5, odd, 2 classes"
    model, train = make(stack), examples(stack, 97)
    engine, batches, runs = native.load(model, STACKS[stack][1]), shuffled(train, 16, generator(0, "test")), []
    for parts in ([batches], [[batch] for batch in batches]):
        own, (factors, outcomes) = copy.deepcopy(model), of_images(97)
        optimizer, masks = at_rest(own), some_masks(own)
        for part in parts:
            engine.train_epoch(own, Steps(train, part, optimizer, masks, None, None, None, factors, outcomes))
        runs.append((own.state_dict(), optimizer.velocity, outcomes.loss, outcomes.right))
    torch.testing.assert_close(*runs, rtol=0, atol=0)


def test_each_step_has_its_own_learning_rate():
    """From weights of 0, each image is a batch. Its gradient for its class is p - 1; p is 1/2, then 1 / (1 + e)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    train = Examples(torch.eye(2).view(2, 1, 1, 2), torch.tensor([0, 1]))
    engine, optimizer = native.load(model, (1, 1, 2)), at_rest(model, momentum=0.0, learning_rate=[1.0, 0.25])
    engine.train_epoch(model, Steps(train, [torch.tensor([1]), torch.tensor([0])], optimizer, {}))
    second = 0.25 * (1 - 1 / (1 + math.e))
    torch.testing.assert_close(model[1].weight, torch.tensor([[second, -0.5], [-second, 0.5]]))
    torch.testing.assert_close(model[1].bias, torch.tensor([second - 0.5, 0.5 - second]))


@pytest.mark.parametrize("withheld", [False, True])
@pytest.mark.parametrize("images", ["as they are", "packed", "copied for a teacher"])
def test_an_epoch_of_falling_rates_is_its_batches_one_by_one_to_the_last_bit(monkeypatch, images, withheld):
    """Images that are copied are given in portions of two batches."""
    monkeypatch.setattr(native, "PORTION", 2 * 16 * 4 * 2 * 17 * 23)
    stack = "lenet5, odd, 2 classes"
    model, train = make(stack), examples(stack, 97)
    train = packed(train) if images == "packed" else train
    engine, batches, runs = native.load(model, STACKS[stack][1]), shuffled(train, 16, generator(0, "test")), []
    rates = [0.05 / number for number in range(1, len(batches) + 1)]
    for parts in ([(batches, rates)], [([batch], rate) for batch, rate in zip(batches, rates, strict=True)]):
        own = copy.deepcopy(model)
        velocity, masks = at_rest(own).velocity, some_masks(own)
        hidden = {name: torch.zeros_like(values) for name, values in own.named_parameters()} if withheld else None
        augment = FlipCrop(torch.zeros(2), generator(0, "crops")) if images == "copied for a teacher" else None
        teacher = Distillation(model, 0.5, 2.0) if augment else None
        for part, rate in parts:
            engine.train_epoch(
                own, Steps(train, part, Optimizer(rate, 0.9, 0.01, velocity), masks, augment, teacher, hidden)
            )
        runs.append((own.state_dict(), velocity, hidden or {}))
    torch.testing.assert_close(*runs, rtol=0, atol=0)


def packed(train):
    """Return images whose pixels are 0 and 1, one byte each."""
    channels = train.images.shape[1]
    normalization = Normalization([0.0] * channels, [1 / 255] * channels)
    pixels, places = (train.images > 0).to(torch.uint8), torch.arange(len(train))
    return Examples(PackedImages(pixels, places, normalization, "cpu", torch.contiguous_format), train.labels)


@pytest.mark.parametrize("images", ["as they are", "packed", "copied for a teacher"])
def test_a_call_after_each_step_is_training_batch_by_batch_to_the_last_bit(images):
    """The call learns from the batch's losses, and sets the factors of the next batch."""
    stack = "lenet5, odd, 2 classes"
    model, train = make(stack), examples(stack, 97)
    train = packed(train) if images == "packed" else train
    engine, batches, runs = native.load(model, STACKS[stack][1]), shuffled(train, 16, generator(0, "test")), []
    for alone in (False, True):
        own, (factors, outcomes), numbers = copy.deepcopy(model), of_images(97), []
        optimizer, masks = at_rest(own), some_masks(own)
        augment = FlipCrop(torch.zeros(2), generator(0, "crops")) if images == "copied for a teacher" else None
        teacher = Distillation(model, 0.5, 2.0) if augment else None
        settings = (optimizer, masks, augment, teacher, None, factors, outcomes)

        def learn(number, factors=factors, outcomes=outcomes, numbers=numbers):
            numbers.append(number)
            if number + 1 < len(batches):
                factors[batches[number + 1]] = outcomes.loss[batches[number]].mean()

        if alone:
            for number, batch in enumerate(batches):
                engine.train_epoch(own, Steps(train, [batch], *settings))
                learn(number)
        else:
            engine.train_epoch(own, Steps(train, batches, *settings, stepped=learn))
        assert numbers == [*range(len(batches))]
        assert not factors[batches[-1]].equal(of_images(97)[0][batches[-1]])
        runs.append((own.state_dict(), optimizer.velocity, factors, outcomes.loss, outcomes.right))
    torch.testing.assert_close(*runs, rtol=0, atol=0)


@pytest.mark.parametrize("error", [ValueError("enough"), KeyboardInterrupt()])
def test_what_a_call_after_a_step_raises_ends_the_training(error):
    model, train = make("no pools"), examples("no pools", 40)
    engine, numbers = native.load(model, STACKS["no pools"][1]), []

    def refuse(number):
        numbers.append(number)
        if number == 1:
            raise error

    with pytest.raises(type(error)) as raised:
        engine.train_epoch(model, Steps(train, [*torch.arange(40).split(10)], at_rest(model), {}, stepped=refuse))
    assert raised.value is error
    assert numbers == [0, 1]


@pytest.mark.parametrize("stack", SMALL)
def test_distillation_of_weight_0_changes_nothing(stack):
    model, train = make(stack), examples(stack, 40)
    engine = native.load(model, STACKS[stack][1])
    runs = []
    for distillation in (None, Distillation(model, 0.0, 2.0, torch.randn(40, STACKS[stack][2]))):
        own = copy.deepcopy(model)
        loss = engine.train_epoch(own, Steps(train, whole(train), at_rest(own), {}, None, distillation))
        runs.append((loss, own.state_dict()))
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("distilled", [False, True])
def test_packed_images_are_trained_on_portion_by_portion_with_the_same_result(monkeypatch, distilled, augmented):
    """Three portions of two batches and of one, where all images at once are one portion."""
    monkeypatch.setattr(native, "PORTION", 2 * 8 * 4 * 2 * 9 * 7)
    monkeypatch.setattr(data_examples, "PORTION", 10 * 4 * 2 * 9 * 7)
    model, (_, shape, classes) = make("no pools"), STACKS["no pools"]
    engine = native.load(model, shape)
    random = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (37, *shape), dtype=torch.uint8, generator=random)
    normalization, labels = Normalization([0.4, 0.5], [0.2, 0.3]), torch.arange(37) % classes
    packed = PackedImages(pixels, torch.arange(37), normalization, "cpu", torch.contiguous_format)
    results = []
    for images in (normalization(pixels), packed):
        train, own = Examples(images, labels), copy.deepcopy(model)
        teacher = Distillation(model, 0.5, 2.0, engine.logits(model, images)) if distilled else None
        random = generator(0, "test")
        augment = FlipCrop(normalization.black, random) if augmented else None
        factors, outcomes = of_images(37)
        settings = (augment, teacher, None, factors, outcomes)
        loss = engine.train_epoch(own, Steps(train, shuffled(train, 8, random), at_rest(own), {}, *settings))
        results.append((loss, (own.state_dict(), outcomes.loss, outcomes.right), engine.logits(own, images)))
        results[-1] += (engine.gradient(own, train),)
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-6)
    for one, other in zip(results[0][1:3], results[1][1:3], strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0)
    torch.testing.assert_close(results[1][3], results[0][3], rtol=1e-5, atol=1e-7)
