"""The one training loop, for dense models and for masked ones."""

import copy
import ctypes
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from tqdm import tqdm

from analysis.runs import schema
from analysis.runs.errors import StudyError, first_line
from pruning_study.data.examples import Examples, flip_crop, generator, seeded, shuffled
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.schedules import Ramp
from pruning_study.training import resumption
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH, Engine
from pruning_study.training.evaluation import loss_and_accuracy
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.recipes import Phase, Schedule
from pruning_study.training.resumption import Progress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
SAVE_SECONDS = 60

OnEpoch = Callable[[int, dict[str, float]], None]

log = logging.getLogger(__name__)


def ignore(epoch: int, metrics: dict[str, float]) -> None:
    """What is done with an epoch's metrics where nobody wants them."""


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Parameters
    ----------
    best_epoch : int
        The epoch whose weights were kept, counted from 1; 0 where there was none.
    images_per_second : float
        Training images, evaluation not counted; NaN where there were none.
    masks : dict of state-dict names to bool Tensors
        The last ones, outside which the weights are 0.
    """

    best_epoch: int
    images_per_second: float
    masks: Masks


def fit(
    model: nn.Module,
    train: Examples,
    validation: Examples,
    schedule: Schedule,
    *,
    seed: int,
    stream: str,
    black: Tensor,
    masks: Mapping[str, Tensor] | None = None,
    ramp: Ramp | None = None,
    distillation: Distillation | None = None,
    engine: Engine = TORCH,
    released_selection: Examples | None = None,
    saved: Path | None = None,
    on_epoch: OnEpoch = ignore,
) -> Fit:
    """Train a model in place, and leave it with the weights of its best epoch; over no epochs, masked and no more.

    The best epoch is the one with the lowest validation loss; the weights as they came do not compete, nor does an
    epoch that ends before the masks are final. A new optimiser starts each phase (Good et al. 2022, Section 6.1 and
    the released code).

    Parameters
    ----------
    model : nn.Module, on the device of the examples
    train, validation : Examples
    schedule : Schedule
    seed : int
        Of batch order and augmentation; the same for every mask.
    stream : str
        Names what is trained, so that its random draws are its own (`dense`, `fine-tuning`).
    black : Tensor [C]
        Value of a black pixel, which augmentation pads with.
    masks : mapping of state-dict names to bool Tensors, optional
        Weights that stay exactly 0, momentum included, where False.
    ramp : Ramp, optional
        Masks that follow these ones while the training goes on.
    distillation : Distillation, optional
        Whose loss is trained on; by default the cross-entropy.
    engine : Engine
    released_selection : Examples, optional
        As the released code does, choose the epoch by the loss on these, within the last phase.
    saved : Path, optional
        File that the training is saved to once a minute, between two epochs, and goes on from where it is
        there, with the same result to the last bit. It stays there at the end.
    on_epoch : callable
        Given each epoch's number, from 1, and its metrics, those of a saved training included.

    Raises
    ------
    StudyError
        Where the loss becomes NaN or infinite.
    """
    _keep_freed_memory()
    masks = masks or {}
    apply_masks(model, masks)
    if not schedule.epochs:
        return Fit(0, math.nan, dict(masks))
    random = generator(seed, stream)
    augment = partial(flip_crop, black=black, random=random) if schedule.augmentation == "flip-crop" else None
    if distillation and not augment:
        distillation = replace(distillation, logits=engine.logits(distillation.teacher, train.images))
    train_epoch = partial(engine.train_epoch, model, train, augment=augment, distillation=distillation)
    device = train.labels.device
    made_by = f"{engine.identity} on {device.type} from {_digest(model)}, torch {torch.__version__}"
    with (
        seeded(seed, f"{stream} layers", device),
        tqdm(total=schedule.epochs, desc=stream, unit="epoch", disable=None, leave=False) as progress,
    ):
        so_far = _resumed(saved, made_by, model, random) if saved and saved.is_file() else None
        so_far = so_far or Progress(masks=dict(masks), withheld=resumption.zeros(model) if ramp and ramp.regrow else {})
        for epoch, metrics in enumerate(so_far.history, start=1):
            on_epoch(epoch, metrics)
            progress.update()
        last_saved = time.monotonic()
        for epoch, phase, is_first in _epochs(schedule)[len(so_far.history) :]:
            if is_first:
                so_far.velocity = resumption.zeros(model)
            sgd = Optimizer(phase.learning_rate, schedule.momentum, schedule.weight_decay, so_far.velocity)
            start = time.perf_counter()
            with _one_line(f"{type(model).__name__} fails on batches of {schedule.batch_size}"):
                batches = shuffled(train, schedule.batch_size, random)
                train_loss = _train_epoch(train_epoch, model, batches, sgd, so_far, ramp)
            so_far.seconds += time.perf_counter() - start
            val_loss, val_accuracy = loss_and_accuracy(model, validation, engine)
            _check_finite(train_loss, val_loss, f"{stream} diverged in epoch {epoch}")
            metrics = {
                schema.TRAIN_LOSS: train_loss,
                schema.VAL_LOSS: val_loss,
                schema.VAL_ACCURACY: val_accuracy,
            }
            so_far.history.append(metrics)
            on_epoch(epoch, metrics)
            progress.set_postfix(loss=f"{train_loss:.3f}", val_accuracy=f"{val_accuracy:.3f}", refresh=False)
            progress.update()
            competes = not ramp or epoch * ramp.steps > ramp.last
            if released_selection:
                competes = competes and phase is schedule.phases[-1]
            if competes:
                loss = loss_and_accuracy(model, released_selection, engine)[0] if released_selection else val_loss
                _keep_best(so_far, epoch, loss, model)
            if saved and time.monotonic() - last_saved >= SAVE_SECONDS:
                _save(saved, made_by, so_far, model, random)
                last_saved = time.monotonic()
    model.load_state_dict(so_far.best_weights)
    return Fit(so_far.best_epoch, len(train) * schedule.epochs / so_far.seconds, so_far.masks)


def _train_epoch(
    train_epoch: Callable[..., float],
    model: nn.Module,
    batches: Sequence[Tensor],
    sgd: Optimizer,
    so_far: Progress,
    ramp: Ramp | None,
) -> float:
    """An epoch, in as many parts as it has steps of the ramp; its mean loss."""
    steps = ramp.steps if ramp else 1
    total = 0.0
    for index in range(steps):
        step = len(so_far.history) * steps + index
        if ramp and 0 < step <= ramp.last:
            so_far.masks = ramp.follow(model, so_far.masks, so_far.withheld, step)
            for name, mask in so_far.masks.items():
                sgd.velocity[name].masked_fill_(~mask, 0)
        part = batches[len(batches) * index // steps : len(batches) * (index + 1) // steps]
        total += train_epoch(part, sgd, so_far.masks) * sum(map(len, part))
    return total / sum(map(len, batches))


def _keep_best(so_far: Progress, epoch: int, loss: float, model: nn.Module) -> None:
    if loss < so_far.best_loss:
        so_far.best_loss, so_far.best_epoch = loss, epoch
        so_far.best_weights = copy.deepcopy(model.state_dict())


def _epochs(schedule: Schedule) -> list[tuple[int, Phase, bool]]:
    """Number, phase, and whether it is the phase's first, of each epoch."""
    phases = [(phase, index == 0) for phase in schedule.phases for index in range(phase.epochs)]
    return [(epoch, *phase) for epoch, phase in enumerate(phases, start=1)]


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _one_line(failure: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        raise StudyError(f"{failure}: {first_line(error)}") from error


def _check_finite(train_loss: float, val_loss: float, what: str) -> None:
    if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
        raise StudyError(
            f"{what}: training loss {train_loss:g}, validation loss {val_loss:g}; a lower learning rate may help"
        )


def _resumed(saved: Path, made_by: str, model: nn.Module, random: torch.Generator) -> Progress | None:
    try:
        so_far = resumption.load(saved, made_by, model, random)
    except StudyError as error:
        log.warning("the training starts anew: %s", error)
        return None
    log.info("going on after epoch %d, from %s", len(so_far.history), saved)
    return so_far


def _save(saved: Path, made_by: str, so_far: Progress, model: nn.Module, random: torch.Generator) -> None:
    try:
        resumption.save(saved, made_by, so_far, model, random)
    except (OSError, SafetensorError) as error:
        log.warning("%s: the training could not be saved (%s); it goes on", saved, first_line(error))


@cache
def _keep_freed_memory() -> None:
    """Have malloc keep what a step frees for the next one.

    The activations of a step are megabytes each. glibc gives such blocks back to the kernel and takes them
    anew at every step, page by page: a tenth of the time of a ResNet.
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
