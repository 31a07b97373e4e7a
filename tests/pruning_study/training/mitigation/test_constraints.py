import pytest
import torch
from torch import Tensor, nn, tensor

from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH
from pruning_study.training.mitigation.constraints import (
    MEMORY,
    Ceag,
    ClassMeans,
    Constrained,
    EqualizedLoss,
    image_factors,
)

CEAG = Ceag(ClassMeans(tensor([1.0, 1.0]), tensor(1.0), tensor([True, True])))


def constrained(constraint=CEAG, **options) -> Constrained:
    return Constrained(constraint, **({"sizes": tensor([50, 50]), "step": 0.5, "epoch_steps": 4} | options))


def one_class(label: int, right: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.full((len(right),), label), torch.ones(len(right)), tensor(right)


@pytest.mark.parametrize(
    ("labels", "pull", "factors"),
    [
        ([0, 1, 1], [0.0, 0.0], [1.0, 1.0, 1.0]),
        # One image of class 0 and three of class 1: 1 + .5 * 4 / 1 - .5, and 1 - .5.
        ([0, 1, 1, 1], [0.5, 0.0], [2.5, 0.5, 0.5, 0.5]),
        ([1, 1], [0.5, 0.25], [1.0, 1.0]),
    ],
    ids=["no multipliers", "by hand", "a class without an image pulls nothing"],
)
def test_the_factors_of_a_batch(labels, pull, factors):
    assert image_factors(tensor(labels), tensor(pull)).tolist() == factors


def test_the_pulls_are_added_without_rounding():
    # 1 + 1 * 3 / 1 - (1e8 + 1 - 1e8), of which single precision makes 4.
    assert image_factors(tensor([0, 1, 2]), tensor([1e8, 1.0, -1e8]))[1].item() == 3.0


def test_weighted_losses_are_the_lagrangian():
    labels, losses, pull = tensor([0, 1, 1, 1]), tensor([4.0, 1.0, 2.0, 3.0]), tensor([0.5, 0.25])
    # L = 2.5, L_0 = 4, L_1 = 2: 2.5 + .5 * 1.5 - .25 * .5
    assert (image_factors(labels, pull) * losses).mean().item() == pytest.approx(3.125)


def test_factors_average_to_1():
    factors = image_factors(tensor([0, 1, 1, 2, 2, 2]), tensor([0.3, 1.4, 0.2]))
    assert factors.mean().item() == pytest.approx(1.0)


def test_a_step_moves_the_multipliers_of_classes_with_full_buffers():
    weighting = constrained()
    state = weighting.initial_state()
    weighting.after_step(state, *one_class(0, [True] * 30 + [False] * 10))
    # Class 0 alone has a full buffer: its recall .75 is the accuracy, and its gap 0 is below the tolerance.
    assert state["multipliers"].tolist() == [0.0, 0.0]
    weighting.after_step(state, *one_class(1, [True] * MEMORY))
    # Recalls .75 and 1, accuracy .875: gaps of .125 and -.125, and a step of .5 * (.125 - .01).
    assert state["multipliers"].tolist() == pytest.approx([0.0575, 0.0])
    weighting.after_step(state, *one_class(0, [True] * 10))
    # Its ten oldest images were right too: the same gaps.
    assert state["multipliers"].tolist() == pytest.approx([0.115, 0.0])
    weighting.after_step(state, *one_class(0, [True] * 40))
    # All right: no gap, and the multiplier falls by .5 * .01.
    assert state["multipliers"].tolist() == pytest.approx([0.11, 0.0])
    assert weighting.factors(state, tensor([0, 1])).tolist() == pytest.approx([1.11, 0.89])


def test_a_step_compares_classes_of_unequal_size_with_the_mean_of_all_images():
    weighting = constrained(EqualizedLoss(), sizes=tensor([30, 10]))
    state = weighting.initial_state()
    labels, right = tensor([0, 1] * MEMORY), torch.ones(2 * MEMORY, dtype=torch.bool)
    weighting.after_step(state, labels, torch.where(labels == 0, 0.2, 0.6), right)
    # A mean loss of (30 * .2 + 10 * .6) / 40 = .3: gaps of -.1 and .3, and steps of half their sizes.
    assert state["gaps"].tolist() == pytest.approx([-0.1, 0.3])
    assert state["multipliers"].tolist() == pytest.approx([0.05, 0.15])


def test_multipliers_of_equalized_loss_never_fall():
    weighting = constrained(EqualizedLoss())
    state = weighting.initial_state()
    labels, right = tensor([0, 1] * MEMORY), torch.ones(2 * MEMORY, dtype=torch.bool)
    weighting.after_step(state, labels, torch.where(labels == 0, 0.2, 0.6), right)
    assert state["multipliers"].tolist() == pytest.approx([0.1, 0.1])
    assert weighting.factors(state, tensor([0, 1])).tolist() == pytest.approx([0.8, 1.2])
    weighting.after_step(state, labels, torch.where(labels == 0, 0.6, 0.2), right)
    assert state["multipliers"].tolist() == pytest.approx([0.2, 0.2])
    assert weighting.factors(state, tensor([0, 1])).tolist() == pytest.approx([1.4, 0.6])


def test_the_constraint_begins_with_the_final_masks():
    weighting = constrained(first=2)
    state = weighting.initial_state()
    labels, right = tensor([0, 1] * MEMORY), tensor([False, True] * MEMORY)
    for _ in range(2):
        weighting.after_step(state, labels, torch.ones(2 * MEMORY), right)
        assert state["multipliers"].tolist() == [0.0, 0.0]
    weighting.after_step(state, labels, torch.ones(2 * MEMORY), right)
    # Recalls 0 and 1, accuracy .5: a gap of .5.
    assert state["multipliers"].tolist() == pytest.approx([0.245, 0.0])


def says_class_0() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(tensor([1.0, 0.0]))
    return model


def test_validation_images_make_one_dual_step_of_an_epoch():
    weighting = constrained(each_step=False, first=4)
    state = weighting.initial_state()
    validation = Examples(torch.zeros(4, 1, 1, 1), tensor([0, 0, 0, 1]))
    weighting.after_epoch(state, says_class_0(), TORCH, validation)
    assert state["multipliers"].tolist() == [0.0, 0.0]  # the masks were not final yet
    weighting.after_epoch(state, says_class_0(), TORCH, validation)
    # Recalls 1 and 0, accuracy .75: gaps of -.25 and .75, and a step of .5 * (.75 - .01).
    assert state["multipliers"].tolist() == pytest.approx([0.0, 0.37])
    assert weighting.factors(state, tensor([0, 1])).tolist() == pytest.approx([0.63, 1.37])


def test_validation_losses_are_equalized():
    weighting = constrained(EqualizedLoss(), each_step=False)
    state = weighting.initial_state()
    weighting.after_epoch(state, says_class_0(), TORCH, Examples(torch.zeros(2, 1, 1, 1), tensor([0, 1])))
    # The losses differ by 1, and each from the mean by .5: a step of .5 * .5.
    assert state["multipliers"].tolist() == pytest.approx([0.25, 0.25])
    assert state["gaps"].tolist() == pytest.approx([-0.5, 0.5])


def test_validation_images_do_not_count_where_training_images_do():
    weighting = constrained()
    state = weighting.initial_state()
    weighting.after_epoch(state, says_class_0(), TORCH, Examples(torch.zeros(2, 1, 1, 1), tensor([0, 1])))
    assert state["multipliers"].tolist() == [0.0, 0.0]
