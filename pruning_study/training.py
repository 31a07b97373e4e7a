"""The one training loop, for dense models and for masked ones."""

import copy
import ctypes
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from analysis import schema
from analysis.errors import StudyError, first_line
from pruning_study.evaluation import loss_and_accuracy
from pruning_study.examples import Examples, flip_crop, generator, seeded, shuffled_batches
from pruning_study.recipes import Phase, Schedule

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
    masked = apply_masks(model, masks or {})
    random = generator(seed, stream)
    best_loss, best_epoch, best_weights = math.inf, 0, {}
    epoch, seconds = 0, 0.0
    with (
        seeded(seed, f"{stream} layers", train.labels.device),
        tqdm(total=schedule.epochs, desc=stream, unit="epoch", disable=None, leave=False) as progress,
    ):
        for phase in schedule.phases:
            optimizer = _optimizer(model, schedule, phase)
            for _ in range(phase.epochs):
                epoch += 1
                start = time.perf_counter()
                try:
                    train_loss = _train_epoch(model, train, schedule, optimizer, masked, black, random)
                except (RuntimeError, ValueError, TypeError) as error:
                    name = type(model).__name__
                    raise StudyError(
                        f"{name} fails on batches of {schedule.batch_size}: {first_line(error)}"
                    ) from error
                seconds += time.perf_counter() - start
                val_loss, val_accuracy = loss_and_accuracy(model, validation)
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
                    loss = loss_and_accuracy(model, released_selection)[0] if last else math.inf
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


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
    """Set the weights outside the masks to 0.

    Parameters
    ----------
    model : nn.Module
    masks : mapping of state-dict names to bool Tensors, True where kept

    Returns
    -------
    list of (parameter, mask), the mask as 0 and 1 in the parameter's memory layout
    """
    masked = []
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = model.get_parameter(name)
            parameter.masked_fill_(~mask, 0)
            masked.append((parameter, torch.empty_like(parameter).copy_(mask)))
    return masked


def _optimizer(model: nn.Module, schedule: Schedule, phase: Phase) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=phase.learning_rate,
        momentum=schedule.momentum,
        nesterov=schedule.momentum > 0,
        weight_decay=schedule.weight_decay,
        fused=True,
    )


def _train_epoch(
    model: nn.Module,
    train: Examples,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    masked: list[tuple[nn.Parameter, Tensor]],
    black: Tensor,
    random: torch.Generator,
) -> float:
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=train.labels.device)
    for images, labels in shuffled_batches(train, schedule.batch_size, random):
        if schedule.augmentation == "flip-crop":
            images = flip_crop(images, black, random)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        # A weight of 0 whose gradient is 0 has no weight decay and no momentum: it stays exactly 0.
        for parameter, mask in masked:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
        optimizer.step()
        optimizer.zero_grad()
        # The loss stays on the device: reading it here would make the device wait at every step.
        total += loss.detach() * len(labels)
    return total.item() / len(train)
