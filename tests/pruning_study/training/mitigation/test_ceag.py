import numpy as np
import pytest
import torch
from torch import tensor

from pruning_study.training.mitigation.constraints import (
    TOLERANCE,
    Ceag,
    ClassMeans,
    empty_buffers,
    over_buffers,
    over_images,
    remember,
)

DENSE = ClassMeans(tensor([0.875, 0.75]), tensor(0.8125), tensor([True, True]))
PRUNED = ClassMeans(tensor([0.75, 0.375]), tensor(0.5625), tensor([True, True]))


def test_the_gap_of_a_class_is_its_loss_of_recall_beyond_the_loss_of_accuracy():
    # Losses of .125 and .375, and of .25 in accuracy.
    assert Ceag(DENSE).gaps(PRUNED).tolist() == [-0.125, 0.125]


def test_a_network_as_good_as_the_dense_one_breaks_no_constraint():
    assert (Ceag(DENSE).violations(Ceag(DENSE).gaps(DENSE)) < 0).all()


def test_the_dense_networks_own_answers_leave_no_gap_between_classes_of_unequal_size():
    """Recalls of .95 and .5, in 1,600 images and 80, and in the last 40 of each class."""
    right = [True] * 1520 + [False] * 80 + [True] * 40 + [False] * 40
    rule = Ceag(over_images(tensor([0] * 1600 + [1] * 80), tensor(right), 2))
    buffers = empty_buffers(2, torch.device("cpu"))
    remember(buffers, tensor([0] * 40 + [1] * 40), tensor([True] * 38 + [False] * 2 + [True] * 20 + [False] * 20))
    assert rule.gaps(over_buffers(buffers, tensor([1600, 80]))).tolist() == pytest.approx([0, 0], abs=1e-7)


def test_a_dual_step_is_that_of_the_released_code():
    # There: violation = group_acc_gaps - avg_acc_gap - tolerance, of which the multiplier gets lr times as much.
    random = np.random.default_rng(0)
    dense, pruned = random.random((2, 5))
    expected = (dense - pruned) - (0.9 - 0.7) - 0.01
    rule = Ceag(ClassMeans(torch.from_numpy(dense), tensor(0.9), torch.ones(5, dtype=torch.bool)))
    gaps = rule.gaps(ClassMeans(torch.from_numpy(pruned), tensor(0.7), torch.ones(5, dtype=torch.bool)))
    assert TOLERANCE == 0.01
    assert rule.violations(gaps).numpy() == pytest.approx(expected)


def test_the_recalls_count_and_the_losses_are_what_is_pulled():
    rule = Ceag(DENSE)
    assert rule.values(tensor([3.0, 4.0]), tensor([True, False])).tolist() == [True, False]
    assert rule.pull(tensor([0.0, 0.5]), tensor([-1.0, -1.0])).tolist() == [0.0, 0.5]
