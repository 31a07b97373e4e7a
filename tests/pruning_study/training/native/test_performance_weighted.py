"""The performance-weighted loss in the native engine against torch."""

import copy
from dataclasses import replace

import pytest
import torch

from pruning_study.data.examples import Examples, FlipCrop, generator, shuffled
from pruning_study.training.engines import TORCH, Steps
from pruning_study.training.mitigation import performance_weighted
from pruning_study.training.native import engine as native
from tests.pruning_study.training.native.test_engine import SMALL, STACKS, at_rest, examples, some_masks

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("augmented", [False, True])
def test_a_training_is_that_of_torch(stack, augmented):
    torch.manual_seed(3)
    build, shape, _ = STACKS[stack]
    dense, model, train = build(), build(), examples(stack, 97)
    train = Examples(train.images + torch.randn(train.images.shape), train.labels)
    logits = TORCH.logits(dense, train.images)
    assert 0 < (logits.argmax(1) == train.labels).sum() < 97
    distillation = performance_weighted.distillation(dense, 0.3, 2.0)
    runs = []
    for engine in (TORCH, native.load(model, shape)):
        own, random = copy.deepcopy(model), generator(0, "test")
        augment = FlipCrop(torch.arange(shape[0]) - 0.5, random) if augmented else None
        known = distillation if augmented else replace(distillation, logits=logits)
        batches = shuffled(train, 32, random)
        loss = engine.train_epoch(own, Steps(train, batches, at_rest(own), some_masks(own), augment, known))
        runs.append((loss, own.state_dict()))
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-5, abs=1e-5)
    torch.testing.assert_close(runs[1][1], runs[0][1], rtol=1e-4, atol=1e-5)
