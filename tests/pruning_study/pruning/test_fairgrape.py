"""FairGRAPE's order of selection, by hand and against a plain transcription of the published algorithm."""

import numpy as np
import pytest
import torch
from torch import tensor

from analysis.common.errors import StudyError
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.pruning.fairgrape import keeping_shares
from pruning_study.pruning.pruners import PRUNERS
from tests.error_lines import refused


def published(importance, k):
    """Select k weights of a layer as Lin, Kim and Joo (2022) print it, from importances (classes, weights)."""
    classes, weights = importance.shape
    target = importance.sum(1) / importance.sum()
    selected, totals = [], np.zeros(classes)
    while len(selected) < k:
        current = totals / totals.sum() if selected else np.full(classes, 1 / classes)
        neediest = np.argmax(target - current)
        best = max(set(range(weights)) - set(selected), key=lambda weight: (importance[neediest, weight], -weight))
        selected.append(best)
        totals += importance[:, best]
    return selected


def order(scores):
    return scores.flatten().argsort(descending=True).tolist()


def test_two_classes_by_hand():
    """Importances 9, 4, 1, 1 and 0, 1, 4, 0: shares 3/4 and 1/4.

    The first class takes weight 0, and is ahead with a share of 1. The second takes weight 2: shares 10/14 and 4/14, so
    that the first is behind by 1/28. It takes weight 1: 14/19 and 5/19, still behind. Weight 3 is left.
    """
    grads = tensor([[3.0, 2.0, 1.0, 1.0], [0.0, 1.0, 2.0, 0.0]])
    assert keeping_shares(torch.ones(4), grads).tolist() == [4.0, 2.0, 3.0, 1.0]


def test_importance_is_the_square_of_weight_times_gradient():
    """Importances 4 and 9, of a negative weight and of a negative gradient."""
    assert order(keeping_shares(tensor([-2.0, 3.0]), tensor([[1.0, -1.0]]))) == [1, 0]


def test_one_class_is_gradient_pruning_within_a_layer():
    generator = torch.Generator().manual_seed(0)
    theta, grad = (torch.randn(5, 4, 3, generator=generator) for _ in range(2))
    assert order(keeping_shares(theta, grad[None])) == order((theta * grad).abs())


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_first_k_are_those_of_the_published_algorithm(classes):
    random = np.random.default_rng(classes)
    theta, grads = random.normal(size=(6, 10)), random.normal(size=(classes, 6, 10)) ** 3
    importance = np.square(theta * grads).reshape(classes, -1)
    scores = keeping_shares(torch.from_numpy(theta), torch.from_numpy(grads))
    for k in (1, 7, 30, 60):
        (mask,) = PRUNERS["fairgrape"].masks([scores], k)
        assert set(mask.flatten().nonzero().flatten().tolist()) == set(published(importance, k))


def test_shares_are_kept_where_the_largest_weights_would_leave_a_class_nothing():
    """A weak class has small gradients on weights of its own: a tenth of all importance, and of what is kept."""
    generator = torch.Generator().manual_seed(1)
    grads = torch.zeros(2, 2000)
    grads[0, :1000] = torch.rand(1000, generator=generator).sqrt() * 3
    grads[1, 1000:] = torch.rand(1000, generator=generator).sqrt()
    importance = grads.square()
    (mask,) = PRUNERS["fairgrape"].masks([keeping_shares(torch.ones(2000), grads)], 200)
    kept = (importance * mask).sum(1)
    assert float(kept[1] / kept.sum()) == pytest.approx(float(importance[1].sum() / importance.sum()), abs=0.005)
    (largest,) = PRUNERS["gp"].masks([importance.sum(0)], 200)
    assert not largest[1000:].any()


def test_pruned_weights_come_last_and_ties_go_to_the_lower_index():
    assert keeping_shares(tensor([0.0, 1.0, 0.0, 1.0]), torch.ones(3, 4)).tolist() == [2.0, 4.0, 1.0, 3.0]
    assert keeping_shares(torch.zeros(2, 2), torch.ones(3, 2, 2)).tolist() == [[4.0, 3.0], [2.0, 1.0]]


@pytest.mark.attack
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite__are_an_error_of_one_line(value):
    scores = keeping_shares(torch.ones(3), tensor([[1.0, 2.0, 3.0], [1.0, value, 3.0]]))
    with pytest.raises(StudyError, match="3 of 3 pruning scores are NaN or infinite") as error:
        PRUNERS["fairgrape"].masks([scores], 2)
    assert "\n" not in str(error.value)


@pytest.mark.attack
@pytest.mark.parametrize("config", [PruneConfig, IterateConfig])
def test_scope_global_with_fairgrape__is_an_error_of_one_line(config):
    with refused("scope", "the pruner fairgrape compares weights within their layer"):
        config(pruner="fairgrape", scope="global")
