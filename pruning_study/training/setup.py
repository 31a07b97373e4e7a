"""A training: its data and settings, and what takes part in it beside its steps."""

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
        Images to train on, and images whose loss chooses the epoch.
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
        What takes part beside the steps, in this order: changes of the masks, a teacher, factors on losses.
    released_selection : Examples, optional
        Images whose loss chooses the epoch, within the last phase, as the released code does it.
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
        """Whether the images of each batch are changed at random."""
        return self.hyperparameters.augmentation == "flip-crop"

    @property
    def changes(self) -> set[int]:
        """The batches before which callbacks change the masks."""
        return {batch for callback in self.callbacks for batch in callback.changes}


class Callback:
    """What takes part in a training beside its steps; this one does nothing.

    What it learns from step to step lives in the training's state, which is saved and resumed.
    """

    @property
    def changes(self) -> Collection[int]:
        """The batches, counted from 0 over all epochs, before which it changes the masks. An epoch is parted there."""
        return ()

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Begin, before the first epoch or that with which a training is resumed."""

    def before_steps(
        self, training: TrainingSetup, model: nn.Module, state: TrainingState, steps: Steps, batch: int
    ) -> Steps:
        """Return the steps of an epoch, or of a part of one, as they are to be.

        Parameters
        ----------
        training : TrainingSetup
        model : nn.Module
        state : TrainingState
        steps : Steps
            As the callbacks before it left them.
        batch : int
            Number of the first batch, counted from 0 over all epochs.
        """
        return steps

    def after_epoch(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Learn from an epoch."""
