"""Data and settings of a training, and its callbacks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH, Engine, Steps
from pruning_study.training.recipes import Hyperparameters
from pruning_study.training.resumption import TrainingState


@dataclass(frozen=True)
class TrainingSetup:
    """Data and settings of one training.

    Parameters
    ----------
    train, validation : Examples
        Images to train on, and images whose loss chooses the best epoch.
    hyperparameters : Hyperparameters
    seed : int
        Seed of batch order, augmentation and layers such as dropout; the draws do not depend on the masks.
    stream : str
        Name of the training (`dense`, `fine-tuning`). Trainings with different names draw independently.
    black : Tensor [C]
        Value of a black pixel, with which augmentation pads.
    engine : Engine
    masks : mapping of state-dict names to bool Tensors
        Where a mask is False, the weight and its momentum stay exactly 0.
    callbacks : sequence of Callback
        They change the masks, add a teacher or set factors on losses, and are called in this order.
    released_selection : Examples, optional
        Images whose loss chooses the best epoch of the last phase, as in the released code.
    """

    train: Examples
    validation: Examples
    hyperparameters: Hyperparameters
    seed: int
    stream: str
    black: Tensor
    engine: Engine = TORCH
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    callbacks: Sequence["Callback"] = ()
    released_selection: Examples | None = None

    @property
    def augments(self) -> bool:
        """Whether the images of each batch are flipped and shifted at random."""
        return self.hyperparameters.augmentation == "flip-crop"

    @property
    def changes(self) -> set[int]:
        """The batches before which callbacks change the masks."""
        return {batch for callback in self.callbacks for batch in callback.changes}


class Callback:
    """Base class of what a training calls beside its steps; it does nothing.

    A callback keeps what it learns in the training's state, which is saved and resumed.
    """

    @property
    def changes(self) -> Collection[int]:
        """The batches, counted from 0 over all epochs, before which the masks change; epochs are split there."""
        return ()

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Prepare for the first epoch, or for the first one after a resumption."""

    def before_steps(
        self, training: TrainingSetup, model: nn.Module, state: TrainingState, steps: Steps, batch: int
    ) -> Steps:
        """Return the steps of an epoch, or of a part of one, with this callback's changes.

        Parameters
        ----------
        training : TrainingSetup
        model : nn.Module
        state : TrainingState
        steps : Steps
            With the changes of the callbacks before this one.
        batch : int
            Number of the first batch, counted from 0 over all epochs.
        """
        return steps

    def after_epoch(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Learn from an epoch."""
