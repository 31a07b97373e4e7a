"""Save a training between epochs, and resume it from the file after an interruption."""

import copy
import json
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from analysis.common import files
from analysis.common.errors import StudyError, first_line
from analysis.runs.names import ADAM
from pruning_study.models import checkpoints

log = logging.getLogger(__name__)

# Fields of a state that hold tensors, and the others
_TENSORS = ("best_weights", "velocity", "squares", "steps", "masks", "withheld", "weighting", "summed")
_NUMBERS = ("history", "seconds", "best_loss", "best_epoch")
ASIDE = ".saving"  # suffix of the temporary file of a training


@dataclass
class TrainingState:
    """State of a training after an epoch, apart from the model's weights and the random generators.

    Parameters
    ----------
    history : list of dict of float
        Metrics of each epoch so far.
    seconds : float
        Time spent on training, without evaluation.
    best_loss : float
        Lowest loss so far on the images by which the best epoch is chosen.
    best_epoch : int
        Epoch of `best_loss`, counted from 1; 0 if no epoch has been a candidate yet.
    best_weights : dict of state-dict names to Tensors
        Weights after the best epoch.
    velocity : dict of state-dict names to Tensors
        Momentum buffer of each parameter, or Adam's running mean of its gradients.
    squares, steps : dict of state-dict names to Tensors
        Adam's further buffers, as in `Optimizer`; empty with SGD.
    masks : dict of state-dict names to bool Tensors
        Current masks, True where a weight is kept.
    withheld : dict of state-dict names to Tensors
        Values of the pruned weights, if gradual pruning may regrow them; otherwise empty.
    weighting : dict of str to Tensors
        State of the rule that sets the factors on losses (`Weighting`); empty without such a rule.
    summed : dict of state-dict names to float64 Tensors
        Sum of each parameter over the epochs so far whose weights will be averaged; empty before the first of them.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    velocity: dict[str, Tensor] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)
    steps: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    withheld: dict[str, Tensor] = field(default_factory=dict)
    weighting: dict[str, Tensor] = field(default_factory=dict)
    summed: dict[str, Tensor] = field(default_factory=dict)

    def start_optimizer(self, optimizer: str, model: nn.Module) -> None:
        """Reset the buffers for a new optimizer."""
        self.velocity = zeros(model)
        if optimizer == ADAM:
            self.squares = zeros(model)
            self.steps = {name: torch.zeros((), device=own.device) for name, own in model.named_parameters()}

    def forget_pruned(self) -> None:
        """Set the optimizer's buffers of pruned weights to 0."""
        for name, mask in self.masks.items():
            for memory in (self.velocity, self.squares):
                if name in memory:
                    memory[name].masked_fill_(~mask, 0)

    def keep_if_best(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Keep a copy of the model's weights if the loss is the lowest so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self.best_weights = copy.deepcopy(model.state_dict())

    def add_to_sum(self, model: nn.Module) -> None:
        """Add the model's parameters to the sum for the average."""
        for name, parameter in model.named_parameters():
            weights = parameter.detach().double()
            self.summed[name] = self.summed[name] + weights if name in self.summed else weights


class TrainingFile:
    """File of one training, rewritten from time to time.

    A faulty file never stops a training: the fault is logged as a warning, and the training starts again or continues.

    Parameters
    ----------
    path : Path, optional
        Path of the file; without a path, nothing is saved or resumed.
    made_by : str
        String that identifies all that determines the result besides the settings, such as the engine, the device and
        the initial weights. A file with a different string is not used, because resuming from it would give
        a different result.
    seconds : float
        Shortest time between two saves.
    """

    def __init__(self, path: Path | None, made_by: str, seconds: float) -> None:
        self._path = path
        self._made_by = made_by
        self._seconds = seconds
        self._last_saved = time.monotonic()

    def resume(self, model: nn.Module, order: torch.Generator) -> TrainingState | None:
        """Restore the model and all random generators from the file, and return the rest of the saved state.

        Parameters
        ----------
        model : nn.Module
        order : torch.Generator
            Generator of batch order and augmentation.

        Returns
        -------
        TrainingState, or None if no file can be used; model and generators are then unchanged
        """
        if not (self._path and self._path.is_file()):
            return None
        try:
            state = load(self._path, self._made_by, model, order)
        except (StudyError, KeyError, ValueError, TypeError, RuntimeError) as error:
            log.warning("the training starts anew, not from %s: %s", self._path, first_line(error))
            return None
        log.info("the training continues after epoch %d, from %s", len(state.history), self._path)
        return state

    def save_if_due(self, state: TrainingState, model: nn.Module, order: torch.Generator) -> None:
        """Save the training if enough time has passed since the last save."""
        if not self._path or time.monotonic() - self._last_saved < self._seconds:
            return
        try:
            save(self._path, self._made_by, state, model, order)
        except (OSError, SafetensorError) as error:
            log.warning("%s: the training could not be saved (%s); it continues", self._path, first_line(error))
        self._last_saved = time.monotonic()


def zeros(model: nn.Module) -> dict[str, Tensor]:
    """Return a Tensor of zeros for each parameter, for example as initial momentum."""
    return {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}


def save(path: Path, made_by: str, state: TrainingState, model: nn.Module, order: torch.Generator) -> None:
    """Write the state of a training to a file, replacing any earlier file.

    The file is first written under another name and then renamed, so that after a kill or with a full disk, either
    the old file or the new one exists.

    Parameters
    ----------
    path : Path
    made_by : str
        See `TrainingFile`.
    state : TrainingState
    model : nn.Module
    order : torch.Generator
        Generator of batch order and augmentation.

    Raises
    ------
    OSError, SafetensorError
        If the file cannot be written.
    """
    groups = {name: getattr(state, name) for name in _TENSORS}
    groups |= {"weights": model.state_dict(), "random": {"order": order.get_state(), **_layer_generators()}}
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    # safetensors loses the order of the masks, in which random scores are drawn and ties are broken.
    numbers = json.dumps({name: getattr(state, name) for name in _NUMBERS})
    metadata = {"made_by": made_by, "progress": numbers, "masks": json.dumps([*state.masks])}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(ASIDE)
    checkpoints.save(aside, tensors, metadata)
    files.sync(aside)
    aside.replace(path)


def load(path: Path, made_by: str, model: nn.Module, order: torch.Generator) -> TrainingState:
    """Read a saved training, and restore the model and all random generators.

    Parameters
    ----------
    path : Path
    made_by : str
        See `TrainingFile`.
    model : nn.Module
    order : torch.Generator
        Generator of batch order and augmentation.

    Returns
    -------
    TrainingState

    Raises
    ------
    StudyError
        If the file is damaged or has a different `made_by`.
    """
    tensors, metadata = checkpoints.load(path)
    if metadata.get("made_by") != made_by:
        raise StudyError(f"{path} was saved by {metadata.get('made_by')}, but this training uses {made_by}")
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in (*_TENSORS, "weights", "random")}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups[group][name] = tensor
    groups["masks"] = {name: groups["masks"][name] for name in json.loads(metadata["masks"])}
    device = next(model.parameters()).device
    for group in ("masks", "withheld", "weighting", "summed", "steps"):
        groups[group] = {name: tensor.to(device) for name, tensor in groups[group].items()}
    for group in ("velocity", "squares"):
        groups[group] = _shaped_as_parameters(groups[group], model) if groups[group] else {}
    fields: dict[str, Any] = {name: groups[name] for name in _TENSORS}
    state = TrainingState(**json.loads(metadata["progress"]), **fields)
    model.load_state_dict(groups["weights"])
    order.set_state(groups["random"]["order"])
    torch.set_rng_state(groups["random"]["layers"])
    if "layers of cuda" in groups["random"]:
        torch.cuda.set_rng_state(groups["random"]["layers of cuda"])
    return state


def _shaped_as_parameters(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Copy the Tensor for each parameter to the parameter's device and memory layout."""
    copies = zeros(model)
    for name, copy_of in copies.items():
        copy_of.copy_(tensors[name])
    return copies


def _layer_generators() -> dict[str, Tensor]:
    """Return the states of the generators that layers such as dropout draw from."""
    cuda = {"layers of cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}  # type: ignore[no-untyped-call]
    return {"layers": torch.get_rng_state(), **cuda}
