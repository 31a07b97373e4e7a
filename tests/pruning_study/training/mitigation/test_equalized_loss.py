import pytest
import torch
from torch import tensor

from pruning_study.training.mitigation.constraints import ClassMeans, EqualizedLoss, image_factors

MEANS = ClassMeans(tensor([0.25, 1.0]), tensor(0.5), tensor([True, True]))


def test_the_gap_of_a_class_is_its_loss_beyond_the_mean_loss():
    assert EqualizedLoss().gaps(MEANS).tolist() == [-0.25, 0.5]


def test_a_multiplier_grows_whichever_side_of_the_mean_its_class_is_on():
    assert EqualizedLoss().violations(tensor([-0.25, 0.5])).tolist() == [0.25, 0.5]


def test_a_class_below_the_mean_loss_is_held_back():
    assert EqualizedLoss().pull(tensor([0.1, 0.2]), tensor([-0.25, 0.5])).tolist() == pytest.approx([-0.1, 0.2])


def test_losses_are_averaged():
    assert EqualizedLoss().values(tensor([3.0, 4.0]), tensor([True, False])).tolist() == [3.0, 4.0]


def test_the_factors_give_the_gradient_of_the_lagrangian():
    """Of L + sum_c lambda_c |L_c - L|, as autograd finds it in the losses of the images."""
    labels, multipliers = tensor([0, 1, 0, 2, 1, 0]), tensor([0.3, 0.7, 0.2])
    losses = tensor([0.1, 0.9, 0.4, 2.0, 0.3, 0.2], requires_grad=True)
    means = torch.stack([losses[labels == label].mean() for label in range(3)])
    (losses.mean() + (multipliers * (means - losses.mean()).abs()).sum()).backward()
    pull = EqualizedLoss().pull(multipliers, (means - losses.mean()).detach())
    assert torch.allclose(image_factors(labels, pull) / len(labels), losses.grad)
