import pytest
import torch

from pruning_study import models
from pruning_study.data.examples import Examples
from pruning_study.training.loop import fit
from pruning_study.training.recipes import RECIPES, Phase, scaled
from pruning_study.training.setup import TrainingSetup


def phases(schedule):
    return [(phase.epochs, phase.learning_rate) for phase in schedule.phases]


def test_lenet5_as_in_the_paper():
    recipe = RECIPES["lenet5"]
    assert phases(recipe.dense) == [(30, 0.01)]
    assert phases(recipe.fine_tuning) == [(15, 0.01)]
    assert (recipe.dense.batch_size, recipe.dense.momentum, recipe.dense.weight_decay) == (128, 0.9, 0.0)
    assert recipe.dense.augmentation == "none"


def test_resnet_cifar_as_in_the_paper_and_its_code():
    recipe = RECIPES["resnet-cifar"]
    assert phases(recipe.dense) == [(10, 0.01), (20, 0.1), (10, 0.01), (10, 0.001), (10, 0.0001)]
    assert phases(recipe.fine_tuning) == [(10, 0.1), (5, 0.01), (5, 0.001), (5, 0.0001)]
    assert recipe.dense.epochs == 60
    assert recipe.fine_tuning.weight_decay == 5e-4
    assert recipe.fine_tuning.augmentation == "flip-crop"


def test_prune_responsibly_as_in_the_paper():
    recipe = RECIPES["prune-responsibly"]
    assert recipe.dense == recipe.fine_tuning
    assert phases(recipe.dense) == [(30, 0.01)]
    assert (recipe.dense.batch_size, recipe.dense.momentum, recipe.dense.weight_decay) == (32, 0.0, 0.0)
    assert recipe.dense.augmentation == "flip-crop"


@pytest.mark.parametrize(
    ("name", "steps", "images"),
    [("wide-resnet", 80_000, 50_000), ("celeba", 10_000, 162_770)],
)
def test_steps_of_hooker_et_al(name, steps, images):
    training = RECIPES[name].dense
    assert training.epochs * images / training.batch_size == pytest.approx(steps, rel=0.03)


@pytest.mark.parametrize(("images", "held_out"), [(60_000, 0.2), (50_000, 0.04)])
def test_lottery_has_30_000_steps_of_the_other_resnets_of_good_et_al(images, held_out):
    training, resnet = RECIPES["lottery"].dense, RECIPES["resnet-cifar"].dense
    assert training.epochs * images * (1 - held_out) / training.batch_size == pytest.approx(30_000)
    assert training == scaled(resnet, epochs=80) == RECIPES["lottery"].fine_tuning


def test_wide_resnet_divides_the_learning_rate_by_5_each_30_000_steps():
    training = RECIPES["wide-resnet"].dense
    assert phases(training) == [(77, 0.1), (77, 0.02), (51, 0.004)]
    steps = 77 * 50_000 / 128
    assert steps == pytest.approx(30_000, rel=0.003)
    assert (training.batch_size, training.weight_decay, training.augmentation) == (128, 5e-4, "flip-crop")


def test_imagenet_as_in_the_released_code_for_the_papers_batch_and_epochs():
    training = RECIPES["imagenet"].dense
    assert phases(training) == [(5, 0.2), (25, 0.4), (30, 0.04), (20, 0.004), (10, 0.0004)]
    assert (training.batch_size, training.epochs, training.weight_decay) == (1024, 90, 1e-4)
    assert training.phases[1].learning_rate == 0.1 * 1024 / 256


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (120, [(20, 0.01), (40, 0.1), (20, 0.01), (20, 0.001), (20, 0.0001)]),
        (6, [(1, 0.01), (2, 0.1), (1, 0.01), (1, 0.001), (1, 0.0001)]),
        (2, [(1, 0.1), (1, 0.001)]),  # shares end at .33, 1, 1.33, 1.67, 2: epochs 0, 1, 1, 2, 2
        (1, [(1, 0.1)]),
        (0, []),
    ],
)
def test_epochs_scale_the_phases_in_proportion(epochs, expected):
    schedule = scaled(RECIPES["resnet-cifar"].dense, epochs=epochs)
    assert schedule.epochs == epochs
    assert phases(schedule) == expected


def test_the_learning_rate_sets_the_first_phase_and_the_others_follow():
    schedule = scaled(RECIPES["resnet-cifar"].dense, learning_rate=0.02)
    assert [phase.learning_rate for phase in schedule.phases] == [0.02, 0.2, 0.02, 0.002, 0.0002]


def test_schedule_in_words():
    assert str(RECIPES["resnet-cifar"].fine_tuning) == "10x0.1 5x0.01 5x0.001 5x0.0001"
    assert scaled(RECIPES["lenet5"].dense).phases == (Phase(30, 0.01),)


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("wrn16-4", "wide-resnet"),
        pytest.param("torchvision:resnet50", "imagenet", marks=pytest.mark.slow),
        ("torchvision:resnet18", "celeba"),
    ],
)
def test_the_networks_of_hooker_et_al_take_a_step_by_their_recipes(model, recipe):
    torch.manual_seed(0)
    network = models.build(model, num_classes=2, in_channels=3, image_size=(40, 40))
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    small = Examples(torch.rand(6, 3, 40, 40), torch.tensor([0, 1] * 3))
    plan = scaled(RECIPES[recipe].dense, epochs=1)
    fitted = fit(network, TrainingSetup(small, small, plan, seed=0, stream="dense", black=torch.zeros(3)))
    assert fitted.best_epoch == 1
    changed = {name for name, tensor in network.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed == before.keys()
