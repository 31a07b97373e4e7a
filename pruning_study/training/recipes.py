"""Recipes: named settings for training and fine-tuning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from analysis.runs.names import SGD
from analysis.statistics.arithmetic import cosine_of_half_turns
from pruning_study.training import recipe_values as recipes
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.quantization import Quantization
from pruning_study.training.regularizers import REGULARIZERS, Regularizer
from pruning_study.training.resumption import TrainingState


@dataclass(frozen=True)
class Phase:
    """A number of epochs with an initial learning rate; each phase starts with a new optimizer."""

    epochs: int
    learning_rate: float


def decayed(learning_rate: float, decay: str, step: int, steps: int) -> float:
    """Return the learning rate of a step in a phase; with cosine or linear decay, it reaches 0 after the last step.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step.
    decay : {"none", "cosine", "linear"}
    step : int
        Number of the step within the phase, from 0.
    steps : int
        Number of steps in the phase.

    Examples
    --------
    >>> [round(decayed(0.1, "linear", step, 4), 6) for step in range(4)]
    [0.1, 0.075, 0.05, 0.025]
    >>> [round(decayed(0.1, "cosine", step, 4), 6) for step in range(4)]
    [0.1, 0.085355, 0.05, 0.014645]
    """
    if decay == "none":
        return learning_rate
    remainder = 1 - step / steps
    return learning_rate * (remainder if decay == "linear" else (1 - cosine_of_half_turns(remainder)) / 2)


@dataclass(frozen=True)
class Hyperparameters:
    """Learning-rate phases and other settings of a training.

    Parameters
    ----------
    phases : tuple of Phase
    batch_size : int
    momentum : float
        Nesterov momentum of SGD, or beta1 of Adam.
    weight_decay : float
        Weight decay, applied to all parameters.
    augmentation : {"none", "flip-crop"}
        `flip-crop`: random horizontal flip, and random crop of the image padded by 4 black pixels.
    decay : {"none", "cosine", "linear"}
        Decay of the learning rate from step to step. With cosine or linear decay, the rate approaches 0 in each phase.
    keeps_last_epoch : bool
        Whether to keep the weights of the last epoch instead of those of the epoch with the lowest validation loss.
    average_epochs : int
        If above 0, number of final epochs whose weights are averaged, instead of keeping one epoch's weights.
    regularizer : Regularizer
        How the weight decay pulls weights towards 0.
    optimizer : {"sgd", "adam"}
    quantization : Quantization, optional
        Quantization of the weights, at the end or while training too; by default none.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    momentum: float
    weight_decay: float
    augmentation: str
    decay: str = "none"
    keeps_last_epoch: bool = False
    average_epochs: int = 0
    regularizer: Regularizer = REGULARIZERS["l2"]
    optimizer: str = SGD
    quantization: Quantization | None = None

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first phase."""
        return self.phases[0].learning_rate

    def penalty_gradient(self, theta: Tensor) -> Tensor:
        """Return the gradient of the penalty at the weights `theta`, for a weight decay of 1."""
        return self.regularizer.gradient(theta, self.momentum)

    def make_optimizer(self, learning_rate: float | Sequence[float], state: TrainingState) -> Optimizer:
        """Make the optimizer, with a state's buffers, and with one learning rate for all steps or one per step."""
        memory = {"velocity": state.velocity, "squares": state.squares, "steps": state.steps}
        return Optimizer(
            learning_rate, self.momentum, self.weight_decay, regularizer=self.regularizer, name=self.optimizer, **memory
        )

    def __str__(self) -> str:
        """Return the phases as text, such as `10x0.1 5x0.01`."""
        return " ".join(f"{phase.epochs}x{phase.learning_rate!r}" for phase in self.phases)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters for training a dense model, and for fine-tuning it after pruning."""

    dense: Hyperparameters
    fine_tuning: Hyperparameters


def _phases(training: recipes.Training) -> tuple[Phase, ...]:
    return tuple(map(Phase, training.lengths, map(float, training.rates)))


def _recipe(values: recipes.RecipeValues) -> Recipe:
    phases, fine_tuning_phases = map(_phases, recipes.trainings(values))
    training = Hyperparameters(phases, values.batch_size, values.momentum, values.weight_decay, values.augmentation)
    return Recipe(training, replace(training, phases=fine_tuning_phases))


RECIPES = {name: _recipe(values) for name, values in recipes.RECIPES.items()}


def scaled(
    hyperparameters: Hyperparameters, *, epochs: int | None = None, learning_rate: float | None = None
) -> Hyperparameters:
    """Return hyperparameters with the phases scaled in length or in learning rate.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    epochs : int, >= 0, optional
        Epochs of all phases together. Phases are scaled in proportion, and the end of each is rounded to the nearest
        epoch. Phases that shrink to 0 epochs are left out.
    learning_rate : float, > 0, optional
        Learning rate of the first phase, even if it is left out; the rates of the other phases stay in proportion.

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
            # Rounding keeps .01 * (.3 / .1) from printing as .029999999999999995.
            phases.append(Phase(until - done, float(f"{phase.learning_rate * rate:.12g}")))
        done = until
    return replace(hyperparameters, phases=tuple(phases))
