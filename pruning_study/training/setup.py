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
        Images to train on, and images by whose loss the best epoch is chosen.
    hyperparameters : Hyperparameters
    seed : int
        Seed of batch order, augmentation and layers such as dropout; the draws do not depend on the masks.
    stream : str
        Name of the training (`dense`, `fine-tuning`). Trainings with different names draw independent random numbers.
    black : Tensor [C]
        Normalised value of a black pixel, used by augmentation for padding.
    engine : Engine
    masks : mapping of state-dict names to bool Tensors
        Initial masks. A weight is exactly 0 while its mask is False.
    callbacks : sequence of Callback
        Callbacks that change the masks, add a teacher or set factors on losses, in the order in which they are called.
    released_selection : Examples, optional
        Images by whose loss the best epoch of the last phase is chosen, as in the released code of Good et al. (2022).
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
        """Batches before which callbacks change the masks."""
        return {batch for callback in self.callbacks for batch in callback.changes}


class Callback:
    """Base class of a training's callbacks, which does nothing.

    A callback keeps its own state in the training's state, which is saved and restored.
    """

    @property
    def changes(self) -> Collection[int]:
        """Batches, counted from 0 over all epochs, before which the masks change and epochs are split."""
        return ()

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Prepare for the first epoch, or the first after a resumption."""

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
            Steps as changed by the callbacks before this one.
        batch : int
            Number of the first batch, counted from 0 over all epochs.
        """
        return steps

    def after_epoch(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Update the state after an epoch."""
