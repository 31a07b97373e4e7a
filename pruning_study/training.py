"""The one training loop, for dense models and for masked ones."""

import copy
import ctypes
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from analysis import schema
from analysis.errors import StudyError, first_line
from pruning_study.engines import TORCH, Engine, optimizer
from pruning_study.evaluation import loss_and_accuracy
from pruning_study.examples import Examples, flip_crop, generator, seeded, shuffled
from pruning_study.recipes import Schedule

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Parameters
    ----------
    best_epoch : int
        The epoch whose weights were kept, counted from 1.
    images_per_second : float
        Training images, evaluation not counted.
    """

    best_epoch: int
    images_per_second: float


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
    engine: Engine = TORCH,
    released_selection: Examples | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
) -> Fit:
    """Train a model in place, and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss; the weights as they came do not compete. A new
    optimiser starts each phase (Good et al. 2022, Section 6.1 and the released code).

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
    engine : Engine
    released_selection : Examples, optional
        As the released code does, choose the epoch by the loss on these, within the last phase.
    on_epoch : callable
        Given each epoch's number, from 1, and its metrics.

    Raises
    ------
    StudyError
        Where the loss becomes NaN or infinite.
    """
    _keep_freed_memory()
    masks = masks or {}
    apply_masks(model, masks)
    random = generator(seed, stream)
    augment = partial(flip_crop, black=black, random=random) if schedule.augmentation == "flip-crop" else None
    best_loss, best_epoch, best_weights = math.inf, 0, {}
    epoch, seconds = 0, 0.0
    with (
        seeded(seed, f"{stream} layers", train.labels.device),
        tqdm(total=schedule.epochs, desc=stream, unit="epoch", disable=None, leave=False) as progress,
    ):
        for phase in schedule.phases:
            state = optimizer(model, schedule, phase)
            for _ in range(phase.epochs):
                epoch += 1
                start = time.perf_counter()
                try:
                    batches = shuffled(train, schedule.batch_size, random)
                    train_loss = engine.train_epoch(model, train, batches, state, masks, augment)
                except (RuntimeError, ValueError, TypeError) as error:
                    name = type(model).__name__
                    raise StudyError(
                        f"{name} fails on batches of {schedule.batch_size}: {first_line(error)}"
                    ) from error
                seconds += time.perf_counter() - start
                val_loss, val_accuracy = loss_and_accuracy(model, validation, engine)
                if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
                    raise StudyError(
                        f"{stream} diverged in epoch {epoch}: training loss {train_loss:g}, validation loss "
                        f"{val_loss:g}; a lower learning rate may help"
                    )
                metrics = {
                    schema.TRAIN_LOSS: train_loss,
                    schema.VAL_LOSS: val_loss,
                    schema.VAL_ACCURACY: val_accuracy,
                }
                on_epoch(epoch, metrics)
                progress.set_postfix(loss=f"{train_loss:.3f}", val_accuracy=f"{val_accuracy:.3f}", refresh=False)
                progress.update()
                loss = val_loss
                if released_selection:
                    last = phase is schedule.phases[-1]
                    loss = loss_and_accuracy(model, released_selection, engine)[0] if last else math.inf
                if loss < best_loss:
                    best_loss, best_epoch, best_weights = loss, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return Fit(best_epoch, len(train) * epoch / seconds)


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
