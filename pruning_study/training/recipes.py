"""Recipes: how a model is trained and fine-tuned, by name."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """A number of epochs at one learning rate; a new optimiser starts each phase."""

    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Hyperparameters:
    """Learning-rate phases, and the other settings of a training.

    Parameters
    ----------
    phases : tuple of Phase
    batch_size : int
    momentum : float
        Momentum of SGD; Nesterov momentum where it is above 0.
    weight_decay : float
        Weight decay of SGD, for every parameter.
    augmentation : {"none", "flip-crop"}
        `flip-crop`: horizontal flip, and a random crop of the image padded by 4 black pixels.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    momentum: float
    weight_decay: float
    augmentation: str

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first phase."""
        return self.phases[0].learning_rate

    def __str__(self) -> str:
        """Return the phases as text, such as `10x0.1 5x0.01`."""
        return " ".join(f"{phase.epochs}x{phase.learning_rate!r}" for phase in self.phases)


@dataclass(frozen=True)
class Recipe:
    """How a dense model is trained, and how it is fine-tuned after pruning."""

    dense: Hyperparameters
    fine_tuning: Hyperparameters


def _recipe(dense: str, fine_tuning: str, *, weight_decay: float, augmentation: str) -> Recipe:
    training = Hyperparameters(_phases(dense), 128, 0.9, weight_decay, augmentation)
    return Recipe(training, replace(training, phases=_phases(fine_tuning)))


def _phases(text: str) -> tuple[Phase, ...]:
    pairs = (item.split("x") for item in text.split())
    return tuple(Phase(int(epochs), float(learning_rate)) for epochs, learning_rate in pairs)


# Epochs, batch size and weight decay are taken from the text of Good et al. (2022), Section 6.1. Momentum, Nesterov
# momentum, the steps of the learning rate and the fine-tuning of ResNets are taken from the paper's released code.
RECIPES = {
    "lenet5": _recipe("30x0.01", "15x0.01", weight_decay=0.0, augmentation="none"),
    "resnet-cifar": _recipe(
        "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001",
        "10x0.1 5x0.01 5x0.001 5x0.0001",
        weight_decay=5e-4,
        augmentation="flip-crop",
    ),
}


def scaled(
    hyperparameters: Hyperparameters, *, epochs: int | None = None, learning_rate: float | None = None
) -> Hyperparameters:
    """Return the same hyperparameters with phases of other lengths or other learning rates.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    epochs : int, >= 0, optional
        Epochs of all phases together. Phases shrink or grow in proportion: each ends at the epoch nearest to its
        share of the whole. A phase that shrinks to nothing is left out.
    learning_rate : float, > 0, optional
        Learning rate of the recipe's first phase; the other phases keep their ratio to it.

    Returns
    -------
    Hyperparameters
    """
    epochs = hyperparameters.epochs if epochs is None else epochs
    rate = learning_rate / hyperparameters.learning_rate if learning_rate else 1.0
    phases, end, done = [], 0, 0
    for phase in hyperparameters.phases:
        end += phase.epochs
        until = math.floor(end * epochs / hyperparameters.epochs + 0.5)
        if until > done:
            # Rounding keeps .001 * 10 from printing as .010000000000000002.
            phases.append(Phase(until - done, float(f"{phase.learning_rate * rate:.12g}")))
        done = until
    return replace(hyperparameters, phases=tuple(phases))
