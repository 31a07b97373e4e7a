"""The engine that calls a compiled library."""

import copy
import ctypes
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from analysis.common.errors import first_line
from analysis.common.interrupts import raise_if_interrupted
from analysis.runs import schema
from pruning_study.data.examples import Examples, FlipCrop, Images, PackedImages, parts, seeded
from pruning_study.models.plain_layers import CLOSE, are_close, with_drawn_values
from pruning_study.pruning.budget import prunable
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH, Outcomes, Steps
from pruning_study.training.native import compiler
from pruning_study.training.native.layers import ImageShape, NativeError, UnsupportedModelError
from pruning_study.training.native.stack import Stack, read
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.quantization import largest_integer, quantized_weights

CLOSE_GRADIENT = 0.05  # looser, because rounding ReLU inputs near 0 changes 1 in 20 gradients of ResNet-20 by 5e-4
# Largest size in bytes of the images, as float32, that are evaluated or copied for the library at once.
PORTION = 2**26
# Images are passed to the library in portions: of whole batches in training, and of whole BATCHes, the library's unit,
# elsewhere. The forward pass of a portion has at most MULTIPLICATIONS, so that training on a portion takes a second or
# two. An interrupt waits for the end of a portion. Portions are not smaller, because the library allocates memory for
# each portion. When a portion was one batch, allocating took 7 % of the time.
MULTIPLICATIONS, BATCH = 2**35, 128
DIGEST = 0xE7E3CE94AE18395E  # result of `self_test.hpp`, the same on every machine
POINTER, COUNT, NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
STEPPED = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_int64)


def load(model: nn.Module, image_shape: ImageShape) -> "Native":
    """Return the native engine for a model, compiling it first if necessary.

    Parameters
    ----------
    model : nn.Module
        Model whose layers the engine is compiled for; its weights do not matter.
    image_shape : (channels, height, width)

    Returns
    -------
    Native

    Raises
    ------
    NativeError
        If the engine cannot run this model, or cannot run on this machine.
    """
    try:
        stack = read(model, image_shape)
    except NativeError as reason:
        raise UnsupportedModelError(str(reason)) from reason
    library = _library(stack.network)
    if library.digest() != DIGEST:
        raise NativeError(
            "the compiler joins or reorders operations, although it is told not to, so results would differ from "
            "those of other machines: use another compiler, or other flags in $CXX"
        )
    engine = Native(stack, library)
    _check(engine, model, image_shape, stack.classes)
    return engine


def _check(engine: "Native", model: nn.Module, image_shape: ImageShape, classes: int) -> None:
    """Raise a NativeError unless the engine computes the same as the model, in evaluation and in training.

    The check finds faulty compilers, and computations that neither a model's method `stack` nor the names of a block's
    layers reveal.
    """
    with seeded(0, "check of the native engine", torch.device("cpu")):
        images, labels = torch.randn(5, *image_shape), torch.arange(5) % classes
        drawn = with_drawn_values(model)
        if not are_close(engine.logits(drawn, images), TORCH.logits(drawn, images)):
            raise NativeError(f"its logits are not those of {type(model).__name__}")
        examples, random = Examples(images, labels), torch.get_rng_state()
        losses = []
        for each in (engine, TORCH):
            own = copy.deepcopy(drawn)
            losses.append(torch.tensor(each.train_epoch(own, Steps(examples, [torch.arange(5)], _resting(own)))))
        if not torch.equal(torch.get_rng_state(), random):
            raise NativeError(f"{type(model).__name__} draws random numbers while it trains, as dropout does")
        if not are_close(losses[0], losses[1]):
            raise NativeError(f"its training loss is not that of {type(model).__name__}")
        gradients, wanted = (each.gradient(drawn, examples) for each in (engine, TORCH))
    if any((gradients[name] - of).norm() > CLOSE_GRADIENT * of.norm() + CLOSE for name, of in wanted.items()):
        raise NativeError(f"its gradient is not that of {type(model).__name__}")


def _resting(model: nn.Module) -> Optimizer:
    """Return an optimizer whose steps have length 0, and whose velocity becomes the last gradient."""
    return Optimizer(0.0, 0.0, 0.0, {name: torch.zeros_like(values) for name, values in model.named_parameters()})


def _library(network: str) -> ctypes.CDLL:
    library = _library_or_reason(network, *(os.environ.get(name) for name in compiler.ENVIRONMENT))
    if isinstance(library, str):
        raise NativeError(library)
    return library


@cache
def _library_or_reason(network: str, *environment: str | None) -> ctypes.CDLL | str:
    """Return the library, or the reason why there is none.

    Reasons are cached too, because every run of a study calls this, and a compiler may take seconds to fail.
    """
    try:
        path = compiler.library(network)
        try:
            return _open(path)
        except NativeError:  # as after an upgrade of the C library
            path.unlink(missing_ok=True)
            return _open(compiler.library(network))
    except NativeError as reason:
        return str(reason)


def _open(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))  # unlike PyDLL, it releases the interpreter's lock during calls
    except OSError as error:
        raise NativeError(f"{path} does not load, even after it was compiled again: {first_line(error)}") from error
    arrays, crops = [POINTER] * 11 + [COUNT], [POINTER] * 2 + [COUNT] * 2
    optimizer, teacher, seen = [POINTER] + [NUMBER] * 4, [POINTER] + [NUMBER] * 2, [POINTER] * 2
    quantization: list[Any] = [POINTER, COUNT, NUMBER]
    library.train.argtypes = [*arrays, *crops, *optimizer, *quantization, *teacher, *seen, STEPPED, POINTER]
    library.logits.argtypes = [*[POINTER] * 4, COUNT, POINTER]
    library.gradient.argtypes = [*[POINTER] * 5, COUNT, COUNT, POINTER]
    library.train.restype = library.logits.restype = library.gradient.restype = ctypes.c_bool
    library.probabilities.argtypes = [*[POINTER] * 2, COUNT, *[POINTER] * 2]
    library.probabilities.restype = None
    library.digest.restype = ctypes.c_uint64
    return library


class Native:
    """The engine for one stack of layers, on one core.

    Parameters
    ----------
    stack : Stack
    library : ctypes.CDLL
        Library compiled for this stack.
    weight_bits : int, optional
        Bits of a quantized weight; by default weights are not quantized.
    """

    name = "native"
    layout: torch.memory_format | None = torch.contiguous_format
    arithmetic = schema.NATIVE_ARITHMETIC

    def __init__(self, stack: Stack, library: ctypes.CDLL, weight_bits: int | None = None) -> None:
        self._stack, self.library, self._weight_bits = stack, library, weight_bits
        bytes_of_batch = BATCH * prod(stack.image_shape) * torch.float32.itemsize
        batches = min(MULTIPLICATIONS // (stack.multiplications * BATCH), PORTION // bytes_of_batch)
        self._at_once = max(1, batches) * BATCH
        self._settings = torch.tensor(
            [(layer.epsilon, layer.momentum) for layer in stack.normalizations], dtype=torch.float64
        )

    @property
    def identity(self) -> str:
        """Name, arithmetic, and bits of a weight."""
        name = f"{self.name}, arithmetic {self.arithmetic}"
        return f"{name} with weights of {self._weight_bits} bits" if self._weight_bits else name

    def with_weight_bits(self, bits: int | None) -> "Native":
        """Return this engine with quantized or float32 weights, as in `Engine.with_weight_bits`."""
        return Native(self._stack, self.library, bits)

    def train_epoch(self, model: nn.Module, steps: Steps) -> float:
        """Train a model in place, as in `Engine.train_epoch`."""
        train, batches, optimizer, augment = steps.train, steps.batches, steps.optimizer, steps.augment
        masks, withheld, distillation = steps.masks, steps.withheld, steps.distillation
        factors, outcomes, stepped = steps.factors, steps.outcomes, steps.stepped
        labels = train.labels
        order, sizes = torch.cat(list(batches)), torch.tensor([len(batch) for batch in batches])
        if sizes.min() == 1 and any(layer.pixels == 1 for layer in self._stack.normalizations):
            raise ValueError("BatchNorm needs more than one value per channel when training")
        parameters, running = self._flat(dict(model.named_parameters())), self._running(model)
        velocity = self._flat(optimizer.velocity)
        mask = self._flat(_factors(model, masks)) if masks else None
        hidden = self._flat(withheld) if masks and withheld is not None else None
        weight, temperature = (distillation.weight, distillation.temperature) if distillation else (0.0, 1.0)
        channels, integer = self._channels(model), largest_integer(self._weight_bits or 32)
        crops = augment.drawn(sizes.tolist()) if augment else None
        black = augment.black.to("cpu", torch.float32).contiguous() if augment else None
        rates = torch.tensor(optimizer.learning_rates(len(batches)), dtype=torch.float32)
        loss, entropy = torch.zeros(1, dtype=torch.float64), 0.0
        # The images of a portion are copied if the teacher needs them augmented.
        copied = augment is not None and distillation is not None
        calls = _Calls(stepped)
        whole = (order, sizes, rates, crops)
        for portion in _portions(train, labels, *whole, self._at_once, copied=copied, alone=bool(stepped)):
            there = slice(None) if portion.places is None else portion.places
            wanted, entropies, own = torch.empty(0), torch.empty(0), None if factors is None else factors[there]
            if distillation:
                wanted, entropies, own = self._teacher_probabilities(distillation, portion, augment, own)
            seen = Outcomes(outcomes.loss[there], outcomes.right[there]) if outcomes else None
            self._run(
                self.library.train,
                *(parameters.data_ptr(), velocity.data_ptr(), _pointer(mask), _pointer(hidden)),
                *(running.data_ptr(), self._settings.data_ptr()),
                *(portion.images.data_ptr(), portion.labels.data_ptr(), _pointer(own)),
                *(portion.order.data_ptr(), portion.sizes.data_ptr(), len(portion.sizes)),
                *(_pointer(portion.crops), _pointer(black), *self._stack.image_shape[1:]),
                *(portion.rates.data_ptr(), optimizer.momentum, *optimizer.regularizer.times(optimizer.weight_decay)),
                *(channels.data_ptr(), len(channels), integer),
                *(wanted.data_ptr(), weight, temperature),
                *((_pointer(seen.loss), _pointer(seen.right)) if seen else (None, None)),
                *(calls.pointer(portion), loss.data_ptr()),
            )
            if outcomes and seen and portion.places is not None:  # `seen` is a copy, not a view
                outcomes.loss[there], outcomes.right[there] = seen.loss, seen.right
            calls.after(portion)
            # The library adds the teacher's term as a cross-entropy: the divergence plus the teacher's entropy.
            entropy += _sum_of_entropies(entropies, portion.order, own) if distillation else 0.0
        self._copy(parameters, dict(model.named_parameters()))
        self._copy(velocity, optimizer.velocity)
        self._copy_running(running, len(batches), model)
        if hidden is not None and withheld is not None:
            self._copy(hidden, withheld)
        return (loss.item() - weight * temperature**2 * entropy) / len(order)

    def logits(self, model: nn.Module, images: Images) -> Tensor:
        """Return the logits as in `Engine.logits`."""
        parameters: dict[str, Tensor] = dict(model.named_parameters())
        if self._weight_bits:
            parameters |= quantized_weights(model, self._weight_bits)
        return self._logits(parameters, model, images)

    def _logits(self, parameters: Mapping[str, Tensor], model: nn.Module, images: Images) -> Tensor:
        weights, running = self._flat(parameters), self._running(model)
        scores = torch.empty(len(images), self._stack.classes)
        start = 0
        for part in parts(images, self._at_once):
            there = scores[start : start + len(part)]
            self._run(
                self.library.logits,
                *(weights.data_ptr(), running.data_ptr(), self._settings.data_ptr()),
                *(part.data_ptr(), len(part), there.data_ptr()),
            )
            start += len(part)
        return scores

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of logits as in `Engine.probabilities`."""
        return self._softmax(scores)[0]

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> float:
        """Return the mean cross-entropy as in `Engine.cross_entropy`."""
        return math.fsum(self.cross_entropies(scores, labels).tolist()) / len(labels)

    def cross_entropies(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropies as in `Engine.cross_entropies`."""
        return self._softmax(scores, labels)[1]

    def _softmax(self, scores: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the softmax of logits, [n, classes], and the cross-entropy of each row, [n].

        Without labels, the entropy of each row's softmax is returned instead of the cross-entropy.
        """
        scores, shares, losses = scores.contiguous(), torch.empty(scores.shape), torch.empty(len(scores))
        labels = None if labels is None else labels.contiguous()
        self.library.probabilities(
            *(scores.data_ptr(), _pointer(labels), len(scores), shares.data_ptr(), losses.data_ptr())
        )
        return shares, losses

    def gradient(self, model: nn.Module, train: Examples) -> dict[str, Tensor]:
        """Return the gradient of the data loss, as `gradients.data_gradient` does."""
        labels, parameters = train.labels, dict(model.named_parameters())
        weights, running = self._flat(parameters), self._running(model)
        flat, start = torch.zeros(len(weights), dtype=torch.float64), 0
        for part in parts(train.images, self._at_once):
            its_labels = labels[start : start + len(part)]
            self._run(
                self.library.gradient,
                *(weights.data_ptr(), running.data_ptr(), self._settings.data_ptr()),
                *(part.data_ptr(), its_labels.data_ptr(), len(part), len(labels), flat.data_ptr()),
            )
            start += len(part)
        gradient = {name: torch.empty_like(parameter) for name, parameter in parameters.items()}
        self._copy(flat, gradient)
        return gradient

    def mean_gradient(
        self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], total: int, *, training: bool
    ) -> dict[str, Tensor]:
        """Return the mean gradient, as `gradients.mean_gradient` does."""
        copied = copy.deepcopy(model)  # because training changes running statistics
        sums = {name: torch.zeros_like(own, dtype=torch.float64) for name, own in model.named_parameters()}
        for images, labels in batches:
            batch = Examples(images, labels)
            part = self._train_mode_gradient(copied, batch) if training else self.gradient(copied, batch)
            for name, gradient in part.items():
                sums[name] += gradient.double() * len(labels)
        return {name: (total_gradient / total).float() for name, total_gradient in sums.items()}

    def _train_mode_gradient(self, model: nn.Module, batch: Examples) -> dict[str, Tensor]:
        """Return the gradient of a batch's mean cross-entropy, which is the velocity after a first step of length 0."""
        first = _resting(model)
        Native(self._stack, self.library).train_epoch(model, Steps(batch, [torch.arange(len(batch))], first))
        return first.velocity

    def measure_statistics(
        self, model: nn.Module, train: Examples, batches: Sequence[Tensor], augment: FlipCrop | None
    ) -> None:
        """Set BatchNorm's running statistics as in `Engine.measure_statistics`, by an epoch of steps of length 0."""
        measured, engine = copy.deepcopy(model), Native(self._stack, self.library)
        for number, batch in enumerate(batches, start=1):
            engine._settings[:, 1] = 1 / number  # a cumulative average over all batches
            engine.train_epoch(measured, Steps(train, [batch], _resting(model), {}, augment))
        self._copy_running(self._running(measured), 0, model)
        for layer in self._stack.normalizations:
            model.get_buffer(f"{layer.name}.num_batches_tracked").fill_(len(batches))

    def _run(self, function: Callable[..., bool], *arguments: object) -> None:
        raise_if_interrupted()
        if not function(*arguments):
            raise RuntimeError("the native engine can't allocate memory")

    def _teacher_probabilities(
        self, distillation: Distillation, portion: "_Portion", augment: FlipCrop | None, factors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the softened target probabilities of a portion's images, their entropies, and the loss factors."""
        logits = distillation.logits
        if augment:
            assert portion.crops is not None
            teacher = distillation.teacher  # the teacher's weights are not quantized
            cropped = augment.cropped(portion.images, portion.crops)
            logits = self._logits(dict(teacher.named_parameters()), teacher, cropped)
        elif logits is not None and portion.places is not None:
            logits = logits[portion.places]
        assert logits is not None
        logits, factors = distillation.targets(logits, portion.labels, factors, self.probabilities)
        return *self._softmax(logits / distillation.temperature), factors

    def _flat(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Copy the parameters' tensors into one flat tensor, in the library's order."""
        return _joined(tensors, self._stack.parameters)

    def _copy(self, flat: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Copy the parts of a flat tensor into the parameters' tensors."""
        _deal(flat, tensors, self._stack.parameters)

    def _channels(self, model: nn.Module) -> Tensor:
        """Return the range [begin, end) of each quantized channel in the flat weights, int64 [channels, 2]."""
        quantized = set(prunable(model, output_layer=True) if self._weight_bits else ())
        places, start = [torch.empty(0, 2, dtype=torch.int64)], 0
        for name, shape in self._stack.parameters.items():
            if name in quantized:
                begins = torch.arange(start, start + shape.numel(), prod(shape[1:]))
                places.append(torch.stack([begins, begins + prod(shape[1:])], dim=1))
            start += shape.numel()
        return torch.cat(places)

    def _running(self, model: nn.Module) -> Tensor:
        """Copy the running statistics into one flat tensor, in the library's order."""
        return _joined(dict(model.named_buffers()), self._stack.running)

    def _copy_running(self, flat: Tensor, batches: int, model: nn.Module) -> None:
        """Copy the parts of a flat tensor into the running statistics, and add to the number of batches tracked."""
        buffers = dict(model.named_buffers())
        _deal(flat, buffers, self._stack.running)
        for layer in self._stack.normalizations:
            buffers[f"{layer.name}.num_batches_tracked"] += batches


def _sum_of_entropies(entropies: Tensor, order: Tensor, factors: Tensor | None) -> float:
    """Sum the entropies of a portion's images, each times the image's factor."""
    return math.fsum((entropies if factors is None else entropies * factors)[order].tolist())


def _joined(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> Tensor:
    return torch.cat([tensors[name].detach().reshape(-1) for name in shapes]) if shapes else torch.empty(0)


def _deal(flat: Tensor, tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    with torch.no_grad():
        for (name, shape), part in zip(
            shapes.items(), flat.split([shape.numel() for shape in shapes.values()]), strict=True
        ):
            tensors[name].copy_(part.view(shape))


class _Portion(NamedTuple):
    """Examples for one call of the library, and the batches as indices into them.

    Parameters
    ----------
    images, labels : Tensor
    order : int64 Tensor
        Indices of the batches' images, one batch after the other.
    sizes : int64 Tensor
        Number of images in each batch.
    rates : float32 Tensor
        Learning rate of each batch.
    crops : int8 Tensor [len(order), 3], optional
        Flips and shifts of the images in `order`, from `FlipCrop.drawn`.
    places : int64 Tensor, optional
        Indices of the examples in the training set; None if they are the whole set.
    """

    images: Tensor
    labels: Tensor
    order: Tensor
    sizes: Tensor
    rates: Tensor
    crops: Tensor | None
    places: Tensor | None


class _Calls:
    """Calls of `stepped` after each step.

    The library makes the calls itself if it trains on the whole training set. If the images of a portion are copied,
    the portion has one batch, and the call is made when the library has returned.

    An exception cannot pass through the library, so it is stored until the library has returned.
    """

    def __init__(self, stepped: Callable[[int], None] | None) -> None:
        self._stepped, self._batches, self._raised = stepped, 0, list[BaseException]()
        self._by_library = STEPPED(self._call) if stepped else STEPPED()

    def pointer(self, portion: "_Portion") -> Any:
        """Return the function that the library calls after each step on a portion, or null if the portion is a copy."""
        return self._by_library if portion.places is None else STEPPED()

    def after(self, portion: "_Portion") -> None:
        """Finish a portion: call `stepped` if it was a copy, count its batches, and raise a stored exception."""
        if self._stepped and portion.places is not None:
            self._stepped(self._batches)
        self._batches += len(portion.sizes)
        for error in self._raised:
            raise error

    def _call(self, number: int) -> bool:
        assert self._stepped
        try:
            self._stepped(self._batches + number)
        except BaseException as error:
            self._raised.append(error)
        return not self._raised


def _portions(
    train: Examples,
    labels: Tensor,
    order: Tensor,
    sizes: Tensor,
    rates: Tensor,
    crops: Tensor | None,
    images: int,
    *,
    copied: bool,
    alone: bool,
) -> Iterator[_Portion]:
    """Yield portions of whole batches, about `images` images each, as copies if `copied` or if the images are packed.

    If the portions are copies and `alone` is true, each has one batch.
    """
    whole = None if copied or isinstance(train.images, PackedImages) else train.images
    if whole is None:
        image_bytes = train.images.image_bytes if isinstance(train.images, PackedImages) else train.images[:1].nbytes
        images = 1 if alone else min(images, PORTION // image_bytes)
    start = 0
    batches = max(1, images // int(sizes.max()))
    for some, its_rates in zip(sizes.split(batches), rates.split(batches), strict=True):
        there = slice(start, start := start + int(some.sum()))
        places, its_crops = order[there], None if crops is None else crops[there]
        if whole is None:
            yield _Portion(*train.batch(places), torch.arange(len(places)), some, its_rates, its_crops, places)
        else:
            yield _Portion(whole, labels, places, some, its_rates, its_crops, None)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _factors(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert masks to factors of 1 or 0 for all parameters, with 1 for parameters without a mask."""
    ones = {name: torch.ones_like(parameter) for name, parameter in model.named_parameters()}
    return ones | {name: mask.float() for name, mask in masks.items()}
