"""Recipes: the defaults by which networks are trained and, after pruning, fine-tuned."""

from typing import NamedTuple


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
    # momentum, learning rate steps and the fine-tuning of ResNets are taken from the paper's released code.
    "lenet5": RecipeValues("30x0.01", "15x0.01", weight_decay=0.0, augmentation="none"),
    "resnet-cifar": RecipeValues(
        "10x0.01 20x0.1 10x0.01 10x0.001 10x0.0001", "10x0.1 5x0.01 5x0.001 5x0.0001", weight_decay=5e-4
    ),
    # Hooker et al. (2020), Section 2.4, train a wide ResNet for 80,000 steps of 128 images, which are 205 epochs of
    # CIFAR-10. Their code has no wide ResNet (google-research, pruning_identified_exemplars), so the weight decay and
    # the learning rates, which fall to a fifth after each 30,000 steps, are those of google-research/rigl,
    # rigl/cifar_resnet.
    "wide-resnet": RecipeValues("77x0.1 77x0.02 51x0.004", "20x0.02 20x0.004", weight_decay=5e-4),
    # ResNet-50 of the same paper: its batch of 1,024 and its 90 epochs, with the weight decay and learning rates of
    # save_checkpoint/imagenet_train_eval.py. The rate is 0.1 per 256 images of the batch, and falls to a tenth after
    # epochs 30, 60 and 80. The code's warm-up over 5 epochs is one phase at its mean rate here. The paper's 32,000
    # steps are 26 epochs with batches of 1,024, but 102 epochs with the code's training batches of 4,096 (it evaluates
    # with 1,024).
    "imagenet": RecipeValues(
        "5x0.2 25x0.4 30x0.04 20x0.004 10x0.0004", "5x0.04 5x0.004", batch_size=1024, weight_decay=1e-4
    ),
    # ResNet-18 of the same paper: 10,000 steps of 256 images are 16 epochs of CelebA's 162,770 training images. The
    # learning rates are not from the paper: they are those of `imagenet` at the same shares of the training.
    "celeba": RecipeValues("5x0.1 6x0.01 3x0.001 2x0.0001", "2x0.01 2x0.001", batch_size=256, weight_decay=1e-4),
    # Paganini (2020), "Prune Responsibly", Section 3: SGD at a constant rate. It mentions no momentum or weight decay.
    "prune-responsibly": RecipeValues("30x0.01", "30x0.01", batch_size=32, momentum=0.0, weight_decay=0.0),
    # Good et al. (2022), Supplement H: `resnet-cifar` for 30,000 steps a level, which are 80 epochs of 48,000 images in
    # batches of 128. MNIST and Fashion-MNIST have 48,000 images if .2 is held out for validation, and CIFAR if .04 is.
    # The paper does not state when the learning rate changes, so it changes at the same shares of the training as in
    # `resnet-cifar`.
    "lottery": RecipeValues(
        "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", "13x0.01 27x0.1 13x0.01 14x0.001 13x0.0001", weight_decay=5e-4
    ),
}
# Kingma and Ba (2015), "Adam", Algorithm 1: the learning rate, used here for the first phase of training and of
# fine-tuning, and beta1. The recipes' rates are for SGD and do not suit Adam.
ADAM_LEARNING_RATE, ADAM_MOMENTUM = 0.001, 0.9
# Models of this project that have another recipe than `lenet5`
_OWN_RECIPES = {
    **{f"resnet{depth}": "resnet-cifar" for depth in (18, 20, 32, 44, 56, 110)},
    **dict.fromkeys(("wrn16-4", "wrn22-8", "wrn28-10"), "wide-resnet"),
}


def recipe_of(model: str) -> str:
    """Return the name of a model's recipe, which `--recipe` may override."""
    return _OWN_RECIPES.get(model, "lenet5")
