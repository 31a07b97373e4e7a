"""Named training schedules."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """So many epochs at one learning rate, with an optimiser of its own."""

    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Schedule:
    """All that `training.fit` needs to know of how to train.

    Parameters
    ----------
    phases : tuple of Phase
    batch_size : int
    momentum, weight_decay : float
        Of SGD; Nesterov's where there is momentum. Weight decay counts for every parameter.
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
        return sum(phase.epochs for phase in self.phases)

    @property
    def learning_rate(self) -> float:
        return self.phases[0].learning_rate

    def __str__(self) -> str:
        return " ".join(f"{phase.epochs}x{phase.learning_rate!r}" for phase in self.phases)


@dataclass(frozen=True)
class Recipe:
    """Dense training, and the fine-tuning after pruning that belongs to it."""

    dense: Schedule
    fine_tuning: Schedule


def _recipe(dense: str, fine_tuning: str, *, weight_decay: float, augmentation: str) -> Recipe:
    schedule = Schedule(_phases(dense), 128, 0.9, weight_decay, augmentation)
    return Recipe(schedule, replace(schedule, phases=_phases(fine_tuning)))


def _phases(text: str) -> tuple[Phase, ...]:
    pairs = (item.split("x") for item in text.split())
    return tuple(Phase(int(epochs), float(learning_rate)) for epochs, learning_rate in pairs)


# Epochs, batch size and weight decay are the text's (Good et al. 2022, Section 6.1); momentum, Nesterov, the
# steps of the learning rate and the fine-tuning of ResNets are those of the paper's released code.
RECIPES = {
    "lenet5": _recipe("30x0.01", "15x0.01", weight_decay=0.0, augmentation="none"),
    "resnet-cifar": _recipe(
        "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001",
        "10x0.1 5x0.01 5x0.001 5x0.0001",
        weight_decay=5e-4,
        augmentation="flip-crop",
    ),
}


def scaled(schedule: Schedule, *, epochs: int | None = None, learning_rate: float | None = None) -> Schedule:
    """The same schedule over other epochs, or from another first learning rate.

    Parameters
    ----------
    epochs : int, >= 0, optional
        Phases shrink or grow in proportion: each ends at the epoch nearest to its share of the whole. A
        phase that shrinks to nothing is left out.
    learning_rate : float, > 0, optional
        Of the first phase as the recipe has it; the others keep their ratio to it.
    """
    epochs = schedule.epochs if epochs is None else epochs
    rate = learning_rate / schedule.learning_rate if learning_rate else 1.0
    phases, end, done = [], 0, 0
    for phase in schedule.phases:
        end += phase.epochs
        until = math.floor(end * epochs / schedule.epochs + 0.5)
        if until > done:
            # Rounded, so that .001 * 10 does not print as .010000000000000002.
            phases.append(Phase(until - done, float(f"{phase.learning_rate * rate:.12g}")))
        done = until
    return replace(schedule, phases=tuple(phases))
