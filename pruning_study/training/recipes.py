"""Recipes: how a model is trained and fine-tuned, by name."""

import math
from dataclasses import dataclass, replace

DECAYS = ("none", "cosine", "linear")


@dataclass(frozen=True)
class Phase:
    """A number of epochs at one learning rate, or decaying from it; a new optimiser starts each phase."""

    epochs: int
    learning_rate: float


def decayed(learning_rate: float, decay: str, step: int, steps: int) -> float:
    """Return the learning rate of a step within a phase that ends at a rate of 0.

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
    left = 1 - step / steps
    return learning_rate * (left if decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


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
    decay : {"none", "cosine", "linear"}
        How the learning rate falls from step to step, to 0 at the end of each phase.
    keeps_last_epoch : bool
        Whether the weights of the last epoch are kept, and not those of the epoch of the lowest validation loss.
    average_epochs : int
        If above 0, the mean of the weights after each of the last so many epochs is kept, in place of one epoch's.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    momentum: float
    weight_decay: float
    augmentation: str
    decay: str = "none"
    keeps_last_epoch: bool = False
    average_epochs: int = 0

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


def _recipe(
    dense: str,
    fine_tuning: str,
    *,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float,
    augmentation: str = "flip-crop",
) -> Recipe:
    training = Hyperparameters(_phases(dense), batch_size, momentum, weight_decay, augmentation)
    return Recipe(training, replace(training, phases=_phases(fine_tuning)))


def _phases(text: str) -> tuple[Phase, ...]:
    pairs = (item.split("x") for item in text.split())
    return tuple(Phase(int(epochs), float(learning_rate)) for epochs, learning_rate in pairs)


RECIPES = {
    # Epochs, batch size and weight decay are taken from the text of Good et al. (2022), Section 6.1. Momentum, Nesterov
    # momentum, the steps of the learning rate and the fine-tuning of ResNets are taken from the paper's released code.
    "lenet5": _recipe("30x0.01", "15x0.01", weight_decay=0.0, augmentation="none"),
    "resnet-cifar": _recipe(
        "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001", "10x0.1 5x0.01 5x0.001 5x0.0001", weight_decay=5e-4
    ),
    # Hooker et al. (2020), Section 2.4, train a wide ResNet for 80,000 steps of 128 images, which are 205 epochs of
    # CIFAR-10. Their code has no wide ResNet (google-research, pruning_identified_exemplars): the learning rates, a
    # fifth after each 30,000 steps, and the weight decay are those of google-research/rigl, rigl/cifar_resnet.
    "wide-resnet": _recipe("77x0.1 77x0.02 51x0.004", "20x0.02 20x0.004", weight_decay=5e-4),
    # ResNet-50 of the same paper: its batch of 1,024 and its 90 epochs, with the learning rates and weight decay of
    # save_checkpoint/imagenet_train_eval.py: 0.1 for 256 images and in proportion for more, a tenth after epochs 30, 60
    # and 80. Its warm-up over 5 epochs is one phase at the mean rate here. The paper's 32,000 steps are 26 epochs of
    # 1,024 images; they are 102 of the 4,096 that the code trains with, and it evaluates with 1,024.
    "imagenet": _recipe(
        "5x0.2 25x0.4 30x0.04 20x0.004 10x0.0004", "5x0.04 5x0.004", batch_size=1024, weight_decay=1e-4
    ),
    # ResNet-18 of the same paper: 10,000 steps of 256 images are 16 epochs of CelebA's 162,770 training images. The
    # learning rates are this project's: those of `imagenet` at the same shares of the training.
    "celeba": _recipe("5x0.1 6x0.01 3x0.001 2x0.0001", "2x0.01 2x0.001", batch_size=256, weight_decay=1e-4),
    # Paganini (2020), "Prune Responsibly", Section 3: SGD at a constant rate. It mentions no momentum or weight decay.
    "prune-responsibly": _recipe("30x0.01", "30x0.01", batch_size=32, momentum=0.0, weight_decay=0.0),
    # Good et al. (2022), Supplement H: `resnet-cifar` for 30,000 steps a level, which are 80 epochs of 48,000 images in
    # batches of 128. So many are left of MNIST or Fashion-MNIST if .2 is held out for validation, of CIFAR if .04 is.
    # Print does not say when the learning rate changes in these steps: here at the same shares of the training.
    "lottery": _recipe(
        "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", weight_decay=5e-4
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
