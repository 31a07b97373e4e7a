"""Recipes: how a model is trained and fine-tuned, by name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from analysis.runs.options import recipes
from analysis.runs.options.names import SGD
from analysis.statistics.arithmetic import cosine_of_half_turns
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.quantization import Quantization
from pruning_study.training.regularizers import REGULARIZERS, Regularizer
from pruning_study.training.resumption import TrainingState


@dataclass(frozen=True)
class Phase:
    """A number of epochs at one learning rate, or decaying from it; a new optimiser starts each phase."""

    epochs: int
    learning_rate: float


def decayed(learning_rate: float, decay: str, step: int, steps: int) -> float:
    """Return the learning rate of a step in a phase; with cosine or linear decay it falls to 0 at the phase's end.

    Parameters
    ----------
    learning_rate : float
        Rate of the first step.
    decay : {"none", "cosine", "linear"}
    step : int
        Number of the step in the phase, from 0.
    steps : int
        Steps of the phase.

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
    """Learning-rate phases, and the other settings of a training.

    Parameters
    ----------
    phases : tuple of Phase
    batch_size : int
    momentum : float
        Nesterov momentum of SGD, or beta1 of Adam.
    weight_decay : float
        Weight decay, for every parameter.
    augmentation : {"none", "flip-crop"}
        `flip-crop`: horizontal flip, and a random crop of the image padded by 4 black pixels.
    decay : {"none", "cosine", "linear"}
        How the learning rate decays from step to step, to 0 at the end of each phase.
    keeps_last_epoch : bool
        Whether the weights of the last epoch are kept instead of those of the epoch with the lowest validation loss.
    average_epochs : int
        If above 0, the number of last epochs whose weights are averaged, instead of keeping the weights of one epoch.
    regularizer : Regularizer
        How the weight decay acts.
    optimizer : {"sgd", "adam"}
    quantization : Quantization, optional
        How the kept network's weights are quantised; by default not at all.
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
        """Return the gradient of this training's penalty at the weights `theta`, for a weight decay of 1."""
        return self.regularizer.gradient(theta, self.momentum)

    def make_optimizer(self, learning_rate: float | Sequence[float], state: TrainingState) -> Optimizer:
        """Return this training's optimizer, with one learning rate or one for each step, and a state's buffers."""
        memory = {"velocity": state.velocity, "squares": state.squares, "steps": state.steps}
        return Optimizer(
            learning_rate, self.momentum, self.weight_decay, regularizer=self.regularizer, name=self.optimizer, **memory
        )

    def __str__(self) -> str:
        """Return the phases as text, such as `10x0.1 5x0.01`."""
        return " ".join(f"{phase.epochs}x{phase.learning_rate!r}" for phase in self.phases)


@dataclass(frozen=True)
class Recipe:
    """How a dense model is trained, and how it is fine-tuned after pruning."""

    dense: Hyperparameters
    fine_tuning: Hyperparameters


def _phases(text: str) -> tuple[Phase, ...]:
    pairs = (item.split("x") for item in text.split())
    return tuple(Phase(int(epochs), float(learning_rate)) for epochs, learning_rate in pairs)


def _recipe(values: recipes.RecipeValues) -> Recipe:
    training = Hyperparameters(
        _phases(values.training), values.batch_size, values.momentum, values.weight_decay, values.augmentation
    )
    return Recipe(training, replace(training, phases=_phases(values.fine_tuning)))


RECIPES = {name: _recipe(values) for name, values in recipes.RECIPES.items()}


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
