"""A training between two epochs, kept in a file, so that a killed one goes on where it was."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from analysis.runs.errors import StudyError, first_line
from pruning_study.models import checkpoints


@dataclass
class Progress:
    """What a training carries from one epoch to the next, beside the model and its random draws.

    Parameters
    ----------
    history : list of dict of float
        The metrics of each epoch so far.
    seconds : float
        Of training, evaluation not counted.
    best_loss : float
    best_epoch : int
        The epoch whose weights would be kept now, counted from 1.
    best_weights : dict of state-dict names to Tensors
    velocity : dict of state-dict names to Tensors
        The momentum of every parameter.
    masks : dict of state-dict names to bool Tensors
    withheld : dict of state-dict names to Tensors
        Values of the weights outside the masks, where they may come back.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    velocity: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    withheld: dict[str, Tensor] = field(default_factory=dict)


def zeros(model: nn.Module) -> dict[str, Tensor]:
    """Of every parameter, its momentum before the first step, and what is withheld of it."""
    return {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}


def save(path: Path, made_by: str, progress: Progress, model: nn.Module, order: torch.Generator) -> None:
    """Keep a training, in place of what was kept before.

    Parameters
    ----------
    path : Path
    made_by : str
        The engine's identity, device and first weights: from others it would go on to another result.
    progress : Progress
    model : nn.Module
    order : torch.Generator
        Of batch order and augmentation.

    Raises
    ------
    OSError
        Where the file cannot be written.
    """
    groups = {
        "weights": model.state_dict(),
        "best": progress.best_weights,
        "velocity": progress.velocity,
        "masks": progress.masks,
        "withheld": progress.withheld,
        "random": {"order": order.get_state(), **_layers()},
    }
    numbers = {
        "history": progress.history,
        "seconds": progress.seconds,
        "best_loss": progress.best_loss,
        "best_epoch": progress.best_epoch,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    checkpoints.save(part, tensors, {"made_by": made_by, "progress": json.dumps(numbers)})
    part.replace(path)


def load(path: Path, made_by: str, model: nn.Module, order: torch.Generator) -> Progress:
    """A training as it was kept; the model and all random draws are set to where they were.

    Parameters
    ----------
    path : Path
    made_by : str
    model : nn.Module
    order : torch.Generator

    Raises
    ------
    StudyError
        Where the file is damaged, of another model, or made by anything else or another version of torch.
    """
    try:
        return _load(path, made_by, model, order)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise StudyError(f"{path}: no saved training ({first_line(error)})") from error


def _load(path: Path, made_by: str, model: nn.Module, order: torch.Generator) -> Progress:
    tensors, metadata = checkpoints.load(path)
    if metadata.get("made_by") != made_by:
        raise StudyError(f"{path}: begun by {metadata.get('made_by')}, not {made_by}")
    groups: dict[str, dict[str, Tensor]] = {
        name: {} for name in ("weights", "best", "velocity", "masks", "withheld", "random")
    }
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups[group][name] = tensor
    # All that can fail comes before the first thing that changes.
    numbers = json.loads(metadata["progress"])
    velocity = zeros(model)
    for name, tensor in velocity.items():
        tensor.copy_(groups["velocity"][name])
    masks, withheld = (
        {name: tensor.to(velocity[name].device) for name, tensor in groups[group].items()}
        for group in ("masks", "withheld")
    )
    so_far = Progress(**numbers, best_weights=groups["best"], velocity=velocity, masks=masks, withheld=withheld)
    for state in (groups["random"]["order"], groups["random"]["layers"]):
        torch.Generator().set_state(state)
    checkpoints.load_weights(model, groups["weights"], str(path))
    order.set_state(groups["random"]["order"])
    torch.set_rng_state(groups["random"]["layers"])
    if "layers of cuda" in groups["random"]:
        torch.cuda.set_rng_state(groups["random"]["layers of cuda"])
    return so_far


def _layers() -> dict[str, Tensor]:
    """State of the generators that layers such as dropout draw from."""
    cuda = {"layers of cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    return {"layers": torch.get_rng_state(), **cuda}
