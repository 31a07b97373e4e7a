"""The performance-weighted loss: weights and corrected predictions by hand, and the loss that they make."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH, Steps
from pruning_study.training.mitigation.performance_weighted import corrected, distillation, image_weights
from pruning_study.training.optimizer import Optimizer

# The dense network's probabilities are (3/4, 1/4), (1/4, 3/4) and (1/2, 1/2); it is wrong on the second image.
LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)], [0.0, 0.0]])
LABELS = torch.tensor([0, 0, 0])


@pytest.mark.parametrize(
    ("theta", "gamma", "weights"),
    [
        (0.5, 1.0, [0.5 + 0.5 / 4, 0.5 + 0.5 * 3 / 4, 0.75]),
        (0.0, 2.0, [1 / 16, 9 / 16, 1 / 4]),
        (0.3, 0.5, [0.3 + 0.7 / 2, 0.3 + 0.7 * math.sqrt(3) / 2, 0.3 + 0.7 * math.sqrt(0.5)]),
        (1.0, 5.0, [1, 1, 1]),
        (0.2, 0.0, [1, 1, 1]),
    ],
)
def test_weights_by_hand(theta, gamma, weights):
    assert image_weights(LOGITS.softmax(1), LABELS, theta, gamma).tolist() == pytest.approx(weights)


def test_an_image_of_which_the_dense_network_is_certain_has_the_least_weight():
    assert image_weights(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0.4, 0.5).tolist() == [pytest.approx(0.4)]


def test_predictions_that_are_right_stay_and_wrong_ones_become_the_label():
    wanted = torch.softmax(corrected(LOGITS, LABELS), dim=1)
    assert wanted.flatten().tolist() == pytest.approx([3 / 4, 1 / 4, 1, 0, 1 / 2, 1 / 2])


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def test_a_step_descends_on_the_weighted_cross_entropy_with_the_corrected_predictions():
    dense, model = network(0), network(1)
    by_hand = copy.deepcopy(model)
    images = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    probabilities = torch.softmax(dense(images), dim=1).detach()
    weights = 0.5 + 0.5 * (1 - probabilities[torch.arange(6), labels])
    right = probabilities.argmax(1) == labels
    assert 0 < right.sum() < 6
    wanted = torch.where(right[:, None], probabilities, F.one_hot(labels, 2).float())
    (weights * F.cross_entropy(by_hand(images), wanted, reduction="none")).mean().backward()

    velocity = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    before = copy.deepcopy(model.state_dict())
    given = Examples(images, labels), [torch.arange(6)], Optimizer(0.1, 0.0, 0.0, velocity)
    TORCH.train_epoch(model, Steps(*given, distillation=distillation(dense, 0.5, 1.0)))
    for name, parameter in by_hand.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), before[name] - 0.1 * parameter.grad)
