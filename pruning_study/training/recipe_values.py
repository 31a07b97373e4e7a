"""Values of recipes: how networks are trained, and fine-tuned after pruning, unless options say otherwise."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from analysis.runs.schema import text
from pruning_study.models import MODELS


class RecipeValues(NamedTuple):
    """Phases of training and of fine-tuning, written `epochs x learning rate`, and the other hyperparameters."""

    training: str
    fine_tuning: str
    weight_decay: float
    batch_size: int = 128
    momentum: float = 0.9
    augmentation: str = "flip-crop"


RECIPES = {
    # Epochs, batch size and weight decay are taken from the text of Good et al. (2022), Section 6.1. Momentum, Nesterov
    # momentum, the steps of the learning rate and the fine-tuning of ResNets are taken from the paper's released code.
    "lenet5": RecipeValues("30x0.01", "15x0.01", weight_decay=0.0, augmentation="none"),
    "resnet-cifar": RecipeValues(
        "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001", "10x0.1 5x0.01 5x0.001 5x0.0001", weight_decay=5e-4
    ),
    # Hooker et al. (2019), Section 2.4, train a wide ResNet for 80,000 steps of 128 images, which are 205 epochs of
    # CIFAR-10. Their code has no wide ResNet (google-research, pruning_identified_exemplars): the learning rates,
    # divided by 5 after every 30,000 steps, and the weight decay are those of google-research/rigl, rigl/cifar_resnet.
    "wide-resnet": RecipeValues("77x0.1 77x0.02 51x0.004", "20x0.02 20x0.004", weight_decay=5e-4),
    # ResNet-50 of Hooker et al. (2019): the paper's batch of 1,024 and 90 epochs, with the learning rates and weight
    # decay of its code, save_checkpoint/imagenet_train_eval.py: 0.1 per 256 images of the batch, divided by 10 after
    # epochs 30, 60 and 80. The code's warm-up over 5 epochs is one phase at the mean rate here. The paper's 32,000
    # steps are 26 epochs in batches of 1,024 images, or 102 in the batches of 4,096 with which the code trains; it
    # evaluates with 1,024.
    "imagenet": RecipeValues(
        "5x0.2 25x0.4 30x0.04 20x0.004 10x0.0004", "5x0.04 5x0.004", batch_size=1024, weight_decay=1e-4
    ),
    # ResNet-18 of Hooker et al. (2019): 10,000 steps of 256 images are 16 epochs of CelebA's 162,770 training images.
    # The learning rates are this project's: they change at the same shares of the training as those of `imagenet`.
    "celeba": RecipeValues("5x0.1 6x0.01 3x0.001 2x0.0001", "2x0.01 2x0.001", batch_size=256, weight_decay=1e-4),
    # Paganini (2020), "Prune Responsibly", Section 3: SGD at a constant rate. It mentions no momentum or weight decay.
    "prune-responsibly": RecipeValues("30x0.01", "30x0.01", batch_size=32, momentum=0.0, weight_decay=0.0),
    # Good et al. (2022), Supplement H: `resnet-cifar` for 30,000 steps a level, which are 80 epochs of 48,000 images in
    # batches of 128. MNIST and Fashion-MNIST have 48,000 training images if .2 is held out for validation, and CIFAR if
    # .04 is. The paper does not say when the learning rate changes in these steps; here it changes at the same shares
    # of the training as in `resnet-cifar`.
    "lottery": RecipeValues(
        "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", weight_decay=5e-4
    ),
}
# Kingma and Ba (2015), "Adam", Algorithm 1: the learning rate, here of the first phase of training and of fine-tuning,
# and beta1. The learning rates of the recipes are for SGD, and Adam needs others.
ADAM_LEARNING_RATE, ADAM_MOMENTUM = 0.001, 0.9


def recipe_of(model: str) -> str:
    """Return the name of a model's default recipe, which `--recipe` overrides."""
    return MODELS[model].recipe if model in MODELS else "lenet5"


class Training(NamedTuple):
    """A training of a recipe: the options for its epochs and its learning rate, and its phases."""

    epochs: str
    learning_rate: str
    phases: str

    @property
    def lengths(self) -> list[int]:
        """The epochs of each phase."""
        return [int(phase.split("x")[0]) for phase in self.phases.split()]

    @property
    def rates(self) -> list[str]:
        """The learning rate of each phase."""
        return [phase.split("x")[1] for phase in self.phases.split()]

    def first_phase(self, epochs: int) -> int:
        """Return the index of the first phase that gets one of these epochs; raise a StopIteration if none does."""
        ends, total = accumulate(self.lengths), sum(self.lengths)
        return next(place for place, end in enumerate(ends) if 2 * end * epochs >= total)  # rounds to an epoch


def trainings(recipe: RecipeValues) -> tuple[Training, Training]:
    """Return the training and the fine-tuning of a recipe."""
    return (
        Training("epochs", "learning_rate", recipe.training),
        Training("fine_tune_epochs", "fine_tune_learning_rate", recipe.fine_tuning),
    )


def logged_recipe(params: Mapping[str, str]) -> RecipeValues | None:
    """Return the recipe of a run with these params, or None if it is not known."""
    return RECIPES.get(params["recipe"] if "recipe" in params else recipe_of(params.get("model", "")))


def given_rates(params: Mapping[str, str], recipe: RecipeValues) -> dict[str, str]:
    """Return the values that the options for learning rates must have for a run to log these params.

    Runs log the rate of the first phase that gets an epoch, and with few epochs the recipe's first phases get none. The
    options set the rate of the recipe's first phase.

    Examples
    --------
    This recipe has 60 epochs, in phases with the rates .01, .1, .01, .001 and .0001. A run of one epoch trains at the
    rate of the second phase:

    >>> given_rates({"epochs": "1", "learning_rate": "0.1"}, RECIPES["resnet-cifar"])
    {'learning_rate': '0.01'}
    """
    found = {}
    for training in trainings(recipe):
        if training.learning_rate not in params:
            continue
        logged = params[training.learning_rate]
        found[training.learning_rate] = logged
        with suppress(ValueError, StopIteration):  # a rate such as `none`, or a training without epochs
            first = training.first_phase(int(params.get(training.epochs, sum(training.lengths))))
            relative = float(training.rates[0]) / float(training.rates[first])
            found[training.learning_rate] = text(float(f"{float(logged) * relative:.12g}"))
    return found


def given_kept_epoch(params: Mapping[str, str]) -> dict[str, str]:
    """Return the option `kept_epoch` of a run that logs these params; empty if it is what the learning rate implies."""
    decay = params.get("fine_tune_decay", params.get("decay"))
    kept = params.get("kept_epoch")
    return {} if kept in (None, "best" if decay == "none" else "last") else {"kept_epoch": kept}
