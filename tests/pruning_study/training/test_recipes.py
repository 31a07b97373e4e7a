import pytest

from pruning_study.training.recipes import RECIPES, Phase, scaled


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
