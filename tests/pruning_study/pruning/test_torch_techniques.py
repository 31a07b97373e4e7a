"""The pruners named after functions of `torch.nn.utils.prune` give the masks that those functions give."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pruning_study.pruning.budget import kept_after
from pruning_study.pruning.pruners import PRUNERS

TECHNIQUES = {
    "l1-unstructured": prune.l1_unstructured,
    "random-unstructured": prune.random_unstructured,
    "l1-structured": partial(prune.ln_structured, n=1, dim=1),
    "l2-structured": partial(prune.ln_structured, n=2, dim=1),
    "linf-structured": partial(prune.ln_structured, n=float("inf"), dim=1),
    "random-structured": partial(prune.random_structured, dim=1),
}


@pytest.fixture(params=range(3))
def layers(request):
    torch.manual_seed(request.param)
    return [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3), nn.Linear(48, 30), nn.Linear(30, 10)]


def pruned_here(name, layers, *, keep, prunings):
    """Return the masks after some prunings, each of which scores the weights that are left."""
    record = PRUNERS[name]
    theta = [layer.weight.detach().clone() for layer in layers]
    shapes = {str(index): weight.shape for index, weight in enumerate(theta)}
    masks = None
    for pruning in range(1, prunings + 1):
        generator = {"generator": torch.Generator().manual_seed(pruning)} if record.needs else {}
        scores = [record.score(weight, **generator) for weight in theta]
        kept = kept_after(shapes, keep=keep, prunings=pruning, unit=record.unit, scope=record.scope)
        masks = record.masks(scores, kept, masks)
        theta = [weight * mask for weight, mask in zip(theta, masks, strict=True)]
    return masks


def masks_of(layers):
    return [layer.weight_mask.bool() for layer in layers]


def assert_same(masks, others):
    assert all(torch.equal(mask, other) for mask, other in zip(masks, others, strict=True))


@pytest.mark.parametrize(("amount", "prunings"), [(0.2, 1), (0.2, 4), (0.5, 1)])
class TestMasks:
    @pytest.mark.parametrize("name", ["l1-unstructured", "l1-structured", "l2-structured", "linf-structured"])
    def test_in_each_layer(self, layers, name, amount, prunings):
        expected = pruned_here(name, layers, keep=1 - amount, prunings=prunings)
        for _ in range(prunings):
            for layer in layers:
                TECHNIQUES[name](layer, "weight", amount=amount)
        assert_same(expected, masks_of(layers))

    def test_over_all_layers(self, layers, amount, prunings):
        expected = pruned_here("global-unstructured", layers, keep=1 - amount, prunings=prunings)
        for _ in range(prunings):
            prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=amount)
        assert_same(expected, masks_of(layers))


@pytest.mark.parametrize("prunings", [1, 3])
class TestRandomMasks:
    """torch draws a number for each weight or channel that is left; here all have one, of which others are not used.

    Both are given the same numbers. `RandomUnstructured` prunes where its number is large, so it gets 1 - u for u.
    """

    def test_of_weights(self, layers, prunings, monkeypatch):
        expected = pruned_here("random-unstructured", layers, keep=0.8, prunings=prunings)
        for pruning in range(1, prunings + 1):
            generator = torch.Generator().manual_seed(pruning)
            for layer in layers:
                u = torch.rand(layer.weight.shape, generator=generator)
                left = layer.weight_mask.bool() if pruning > 1 else torch.ones_like(u, dtype=torch.bool)
                given = 1 - u[left] if pruning > 1 else 1 - u
                monkeypatch.setattr(torch, "rand_like", lambda _, given=given: given)
                prune.random_unstructured(layer, "weight", amount=0.2)
        assert_same(expected, masks_of(layers))

    def test_of_channels(self, layers, prunings, monkeypatch):
        expected = pruned_here("random-structured", layers, keep=0.8, prunings=prunings)
        rand = torch.rand
        for pruning in range(1, prunings + 1):
            generator = torch.Generator().manual_seed(pruning)
            for layer in layers:
                u = rand(layer.weight.shape[1], generator=generator)
                if pruning > 1:
                    u = u[layer.weight_mask.bool().transpose(0, 1).flatten(1).any(1)]
                monkeypatch.setattr(torch, "rand", lambda *_, given=u: given)
                prune.random_structured(layer, "weight", amount=0.2, dim=1)
                monkeypatch.setattr(torch, "rand", rand)
        assert_same(expected, masks_of(layers))


def test_a_channel_of_which_single_weights_are_pruned_stays_pruned_there(layers):
    """torch combines the mask of channels with that of weights before it, and takes the norm of what is left."""
    record = PRUNERS["l1-structured"]
    for layer in layers:
        prune.l1_unstructured(layer, "weight", amount=0.6)
    left = masks_of(layers)
    scores = [record.score(layer.weight.detach()) for layer in layers]
    shapes = {str(index): layer.weight.shape for index, layer in enumerate(layers)}
    kept = kept_after(shapes, keep=0.5, prunings=1, unit="channel", scope="layer")
    expected = record.masks(scores, kept, left)
    for layer in layers:
        prune.ln_structured(layer, "weight", amount=0.5, n=1, dim=1)
    assert_same(expected, masks_of(layers))


@pytest.mark.parametrize("name", TECHNIQUES)
def test_of_tied_scores_the_first_are_kept(name):
    """torch keeps as many, but does not say which."""
    (mask,) = PRUNERS[name].masks([torch.ones(1, 6)], (4,))
    assert mask.tolist() == [[True, True, True, True, False, False]]
    layer = nn.Linear(6, 1)
    TECHNIQUES[name](layer, "weight", amount=2)
    assert int(layer.weight_mask.sum()) == 4
