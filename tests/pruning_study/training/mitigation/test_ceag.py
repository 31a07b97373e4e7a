import numpy as np
import pytest
import torch
from torch import tensor

from pruning_study.training.mitigation.ceag import TOLERANCE, Ceag
from pruning_study.training.mitigation.class_means import ClassMeans

DENSE = ClassMeans(tensor([0.875, 0.75]), tensor(0.8125), tensor([True, True]))
PRUNED = ClassMeans(tensor([0.75, 0.375]), tensor(0.5625), tensor([True, True]))


def test_the_gap_of_a_class_is_its_loss_of_recall_beyond_the_loss_of_accuracy():
    # Losses of .125 and .375, and of .25 in accuracy.
    assert Ceag(DENSE).gaps(PRUNED).tolist() == [-0.125, 0.125]


def test_a_network_as_good_as_the_dense_one_breaks_no_constraint():
    assert (Ceag(DENSE).violations(Ceag(DENSE).gaps(DENSE)) < 0).all()


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
