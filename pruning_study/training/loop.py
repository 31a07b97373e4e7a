"""The training loop, for dense and masked models."""

import ctypes
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.common.errors import NotFiniteError, StudyError, first_line
from analysis.common.interrupts import raise_if_interrupted
from analysis.runs import schema
from pruning_study.data.examples import FlipCrop, generator, number_of_batches, seeded, shuffled
from pruning_study.pruning.masks import Masks
from pruning_study.training import progress
from pruning_study.training.engines import Steps
from pruning_study.training.evaluation import loss_and_accuracy
from pruning_study.training.quantization import quantize
from pruning_study.training.recipes import Hyperparameters, Phase, decayed
from pruning_study.training.resumption import TrainingFile, TrainingState
from pruning_study.training.setup import TrainingSetup

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
SAVE_SECONDS = 60

OnEpoch = Callable[[int, dict[str, float]], None]


def ignore(epoch: int, metrics: dict[str, float]) -> None:
    """Ignore the metrics of an epoch."""


@dataclass(frozen=True)
class Fit:
    """Result of a training, apart from the model's weights.

    Parameters
    ----------
    best_epoch : int
        Epoch whose weights were kept, counted from 1; the last epoch if epochs are averaged, and 0 with no epochs.
    images_per_second : float
        Training speed, without the time for evaluation. NaN with no epochs.
    masks : dict of state-dict names to bool Tensors
        Masks after the last epoch. The weights outside them are 0.
    weighting : dict of str to Tensors
        State, after the last epoch, of the rule that sets the factors on losses (`Weighting`); empty without such a
        rule.
    """

    best_epoch: int
    images_per_second: float
    masks: Masks
    weighting: dict[str, Tensor] = field(default_factory=dict)


class _Epoch(NamedTuple):
    """An epoch and its position among the phases.

    Attributes
    ----------
    number : int
    phase : Phase
    place : int
        Number of the epoch within its phase, from 0.
    in_last_phase : bool
    """

    number: int
    phase: Phase
    place: int
    in_last_phase: bool

    @property
    def starts_phase(self) -> bool:
        """Whether the epoch is the first of its phase, which starts with a new optimizer."""
        return self.place == 0

    def learning_rates(self, decay: str, batches: int) -> list[float]:
        """Return the learning rate of each of the epoch's batches."""
        steps = range(self.place * batches, (self.place + 1) * batches)
        return [decayed(self.phase.learning_rate, decay, step, self.phase.epochs * batches) for step in steps]


def fit(model: nn.Module, training: TrainingSetup, *, saved: Path | None = None, on_epoch: OnEpoch = ignore) -> Fit:
    """Train a model in place, and set it to the weights of its best epoch.

    The best epoch is the one with the lowest loss on the validation images (or on those of `released_selection`), or
    the last one, depending on the hyperparameters. Epochs that end before the masks are final are not candidates, nor
    are the initial weights. If the hyperparameters average epochs, the model is set to the mean of the weights after
    the last epochs, and BatchNorm's statistics are measured again on the training images. With no epochs, the model is
    only masked and, depending on the hyperparameters, quantized.

    Parameters
    ----------
    model : nn.Module
        The model, on the device of the examples.
    training : TrainingSetup
    saved : Path, optional
        File to which the training is saved between epochs, at most once a minute. If the file exists, the training
        resumes from it; its result is the same, to the last bit, as without an interruption. The file is not deleted at
        the end.
    on_epoch : callable
        Called for each epoch, including epochs before a resumption, with its number, counted from 1, and its metrics.

    Returns
    -------
    Fit

    Raises
    ------
    StudyError
        If the loss becomes NaN or infinite, or the model cannot be trained on batches of the chosen size.
    """
    _keep_freed_memory()
    apply_masks(model, training.masks)
    epochs = _epochs_of(training.hyperparameters)
    if not epochs:
        _quantize(model, training)
        return Fit(0, math.nan, dict(training.masks))
    random = generator(training.seed, training.stream)
    file = TrainingFile(saved, _made_by(model, training), SAVE_SECONDS)
    device = training.train.labels.device
    with seeded(training.seed, f"{training.stream} layers", device), _reporting(training, on_epoch) as report:
        state = _start(model, training, file.resume(model, random))
        for epoch, metrics in zip(epochs, state.history, strict=False):
            report(epoch, metrics)
        for epoch in epochs[len(state.history) :]:
            train_loss = _train(model, training, epoch, state, random)
            _end_epoch(model, training, epoch, train_loss, state)
            report(epoch, state.history[-1])
            file.save_if_due(state, model, random)
        _leave(model, training, state, random)
    return Fit(state.best_epoch, len(training.train) * len(epochs) / state.seconds, state.masks, state.weighting)


def _start(model: nn.Module, training: TrainingSetup, resumed: TrainingState | None = None) -> TrainingState:
    """Start all callbacks, and return the state of a new or resumed training."""
    state = resumed or TrainingState(masks=dict(training.masks))
    for callback in training.callbacks:
        callback.start(training, model, state)
    return state


def _train(
    model: nn.Module,
    training: TrainingSetup,
    epoch: _Epoch,
    state: TrainingState,
    random: torch.Generator,
    most: int | None = None,
) -> float:
    """Train an epoch, or at most its first `most` batches, and return the mean loss."""
    settings, began, total = training.hyperparameters, time.perf_counter(), 0.0
    if epoch.starts_phase:
        state.start_optimizer(settings.optimizer, model)
    rates = epoch.learning_rates(settings.decay, number_of_batches(len(training.train), settings.batch_size))
    first, augment = (epoch.number - 1) * len(rates), _augmentation(training, random)
    with _as_study_error(f"{type(model).__name__} fails on batches of {settings.batch_size}"):
        batches = shuffled(training.train, settings.batch_size, random)[:most]
        changes = sorted(batch - first for batch in training.changes if first < batch < first + len(batches))
        for start, end in pairwise([0, *changes, len(batches)]):
            raise_if_interrupted()
            optimizer = settings.make_optimizer(rates[start:end], state)
            steps = Steps(training.train, batches[start:end], optimizer, state.masks, augment)
            for callback in training.callbacks:
                steps = callback.before_steps(training, model, state, steps, first + start)
            total += training.engine.train_epoch(model, steps) * sum(map(len, steps.batches))
    state.seconds += time.perf_counter() - began
    for callback in training.callbacks:
        callback.after_epoch(training, model, state)
    return total / sum(map(len, batches))


def _end_epoch(
    model: nn.Module, training: TrainingSetup, epoch: _Epoch, train_loss: float, state: TrainingState
) -> None:
    """Evaluate a model after an epoch, record its metrics, and keep its weights if they are the best so far.

    Raises
    ------
    NotFiniteError
        If the training or validation loss is NaN or infinite.
    """
    metrics = _evaluate(model, training, epoch, train_loss)
    state.history.append(metrics)
    if epoch.number > training.hyperparameters.epochs - training.hyperparameters.average_epochs:
        state.add_to_sum(model)
    if _competes(training, epoch):
        state.keep_if_best(epoch.number, _selection_loss(model, training, metrics), model)


def _evaluate(model: nn.Module, training: TrainingSetup, epoch: _Epoch, train_loss: float) -> dict[str, float]:
    """Return the metrics of an epoch; raise a NotFiniteError if a loss is not finite."""
    val_loss, val_accuracy = loss_and_accuracy(model, training.validation, training.engine)
    if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
        raise NotFiniteError(
            f"{training.stream} diverged in epoch {epoch.number}: training loss {train_loss:g}, validation loss "
            f"{val_loss:g}; a lower learning rate may help"
        )
    return {schema.TRAIN_LOSS: train_loss, schema.VAL_LOSS: val_loss, schema.VAL_ACCURACY: val_accuracy}


def _competes(training: TrainingSetup, epoch: _Epoch) -> bool:
    """Return whether an epoch may be the best.

    If the last epoch is kept, or if epochs are averaged, only the last epoch may be the best. Otherwise, the masks must
    be final, and with `released_selection` the epoch must be in the last phase.
    """
    settings = training.hyperparameters
    if settings.keeps_last_epoch or settings.average_epochs:
        return epoch.number == settings.epochs
    batches = number_of_batches(len(training.train), settings.batch_size)
    masks_are_final = epoch.number * batches > max(training.changes, default=0)
    return masks_are_final and (epoch.in_last_phase or not training.released_selection)


def _selection_loss(model: nn.Module, training: TrainingSetup, metrics: dict[str, float]) -> float:
    if training.released_selection:
        return loss_and_accuracy(model, training.released_selection, training.engine)[0]
    return metrics[schema.VAL_LOSS]


def _leave(model: nn.Module, training: TrainingSetup, state: TrainingState, random: torch.Generator) -> None:
    """Set a model to its final weights: those of the best epoch, or the mean over the last epochs.

    Depending on the hyperparameters, the weights are also quantized.

    Parameters
    ----------
    model : nn.Module
    training : TrainingSetup
    state : TrainingState
        State after the last epoch.
    random : torch.Generator
        Generator of batch order and augmentation.
    """
    model.load_state_dict(state.best_weights)
    epochs = training.hyperparameters.average_epochs
    if epochs:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(state.summed[name] / epochs)
    _quantize(model, training)
    if epochs:
        _renew_statistics(model, training, random)


def fit_steps(model: nn.Module, training: TrainingSetup, steps: int) -> None:
    """Train a model in place for the first steps of a training; `fit` has the same weights after them, to the last bit.

    Parameters
    ----------
    model : nn.Module
        The model, on the device of the examples.
    training : TrainingSetup
    steps : int, >= 0
        Number of steps, one per batch; at most the steps of the whole training.

    Raises
    ------
    StudyError
        If the model cannot be trained on batches of the chosen size.
    """
    _keep_freed_memory()
    apply_masks(model, training.masks)
    random, state = generator(training.seed, training.stream), _start(model, training)
    batches = number_of_batches(len(training.train), training.hyperparameters.batch_size)
    with seeded(training.seed, f"{training.stream} layers", training.train.labels.device):
        for epoch in _epochs_of(training.hyperparameters)[: math.ceil(steps / batches)]:
            _train(model, training, epoch, state, random, most=steps - (epoch.number - 1) * batches)


def _epochs_of(hyperparameters: Hyperparameters) -> list[_Epoch]:
    """List the epochs of a training, phase by phase."""
    positions = [
        (phase, index, phase is hyperparameters.phases[-1])
        for phase in hyperparameters.phases
        for index in range(phase.epochs)
    ]
    return [_Epoch(number, *position) for number, position in enumerate(positions, start=1)]


def _augmentation(training: TrainingSetup, random: torch.Generator) -> FlipCrop | None:
    """Return the function that augments a training's images, or None without augmentation."""
    return FlipCrop(training.black, random) if training.augments else None


def _made_by(model: nn.Module, training: TrainingSetup) -> str:
    """Return a string for `TrainingFile` that identifies all that determines the result besides the settings."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())  # NumPy has no bfloat16
    device = training.train.labels.device.type
    return f"{training.engine.identity} on {device} from {digest.hexdigest()[:16]}, torch {torch.__version__}"


@contextmanager
def _reporting(training: TrainingSetup, on_epoch: OnEpoch) -> Iterator[Callable[[_Epoch, dict[str, float]], None]]:
    """Show the progress of a training, and yield a function that reports an epoch to the display and to `on_epoch`."""
    with progress.reporting(training.stream, training.hyperparameters.epochs) as show:

        def report(epoch: _Epoch, metrics: dict[str, float]) -> None:
            on_epoch(epoch.number, metrics)
            show(epoch.number, metrics)

        yield report


def _quantize(model: nn.Module, training: TrainingSetup) -> None:
    if training.hyperparameters.quantization:
        quantize(model, training.hyperparameters.quantization.bits)


def _renew_statistics(model: nn.Module, training: TrainingSetup, random: torch.Generator) -> None:
    """Set BatchNorm's running statistics to their mean over the batches of one more epoch, without training.

    This follows Izmailov et al. (2018), "Averaging Weights Leads to Wider Optima", Section 3.2. The images are
    augmented as in training.
    """
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules()):
        batches = shuffled(training.train, training.hyperparameters.batch_size, random)
        training.engine.measure_statistics(model, training.train, batches, _augmentation(training, random))


@contextmanager
def _as_study_error(failure: str) -> Iterator[None]:
    """Turn errors of torch into a one-line StudyError."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        raise StudyError(f"{failure}: {first_line(error)}") from error


@cache
def _keep_freed_memory() -> None:
    """Make malloc keep the memory that a training step frees, for use in the next step.

    The activations of each layer take megabytes. By default, glibc returns such blocks to the kernel and requests them
    again, page by page, at every step, which costs a tenth of the training time of a ResNet.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights outside the masks to 0.

    Parameters
    ----------
    model : nn.Module
    masks : mapping of state-dict names to bool Tensors, True where kept
    """
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).masked_fill_(~mask, 0)
