"""Training under constraints against the published code's step, written out with queues and plain torch."""

import copy
from collections import deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_study.data.examples import Examples, generator, shuffled
from pruning_study.training import loop
from pruning_study.training.callbacks import Factors
from pruning_study.training.engines import TORCH
from pruning_study.training.loop import fit
from pruning_study.training.mitigation.constraints import Ceag, ClassMeans, Constrained, EqualizedLoss
from pruning_study.training.native import engine as native
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.setup import TrainingSetup

STEP, BATCH, EPOCHS, RATE = 0.5, 30, 5, 0.05


def examples(count: int, seed: int) -> Examples:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randn(count, 1, 8, 8, generator=random) + 0.1 * labels[:, None, None, None]
    return Examples(images, labels)


TRAIN, VALIDATION = examples(150, 0), examples(60, 1)
DENSE = ClassMeans(torch.tensor([0.9, 0.5, 0.7]), torch.tensor(0.7), torch.tensor([True] * 3))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))


def constrained(name: str, images: str = "train", first: int = 0) -> Constrained:
    rule = {"ceag": Ceag(DENSE), "equalized-loss": EqualizedLoss()}[name]
    return Constrained(rule, TRAIN.labels.bincount(), STEP, len(TRAIN) // BATCH, images == "train", first)


def training(weighting: Constrained, engine=TORCH, epochs: int = EPOCHS) -> TrainingSetup:
    plan = Hyperparameters((Phase(epochs, RATE),), BATCH, 0.0, 0.0, "none")
    given = {"seed": 0, "stream": "dense", "black": torch.zeros(1), "engine": engine}
    return TrainingSetup(TRAIN, VALIDATION, plan, **given, callbacks=[Factors(weighting)])


def published_step(name: str, queues: list[deque], multipliers: np.ndarray, signs: np.ndarray) -> None:
    """Make a dual step by the formulas of the released code, on the classes whose queue is full."""
    full = [label for label, queue in enumerate(queues) if len(queue) == 40]
    means = {label: np.mean(queues[label]) for label in full}
    mean = np.mean(list(means.values())) if full else 0.0
    for label in full:
        if name == "ceag":
            violation = (DENSE.each[label].item() - means[label]) - (DENSE.overall.item() - mean) - 0.01
            multipliers[label] = max(0.0, multipliers[label] + STEP * violation)
        else:
            multipliers[label] += STEP * abs(means[label] - mean)
            signs[label] = np.sign(means[label] - mean)


@pytest.mark.parametrize("name", ["ceag", "equalized-loss"])
def test_multipliers_and_weights_are_those_of_the_published_steps(name):
    model, reference = network(), copy.deepcopy(network())
    fitted = fit(model, training(constrained(name)))
    queues = [deque(maxlen=40) for _ in range(3)]
    multipliers, signs = np.zeros(3), np.ones(3) if name == "ceag" else np.zeros(3)
    random = generator(0, "dense")
    sgd = torch.optim.SGD(reference.parameters(), lr=RATE)
    best = (np.inf, None)
    for _ in range(EPOCHS):
        reference.train()
        for batch in shuffled(TRAIN, BATCH, random):
            images, labels = TRAIN.batch(batch)
            scores = reference(images)
            losses = F.cross_entropy(scores, labels, reduction="none")
            lagrangian = losses.mean()
            for label in labels.unique().tolist():
                pull = multipliers[label] * signs[label]
                lagrangian = lagrangian + pull * (losses[labels == label].mean() - losses.mean())
            sgd.zero_grad()
            lagrangian.backward()
            sgd.step()
            values = scores.argmax(1) == labels if name == "ceag" else losses
            for label, value in zip(labels.tolist(), values.tolist(), strict=True):
                queues[label].append(value)
            published_step(name, queues, multipliers, signs)
        reference.eval()
        with torch.no_grad():
            loss = F.cross_entropy(reference(VALIDATION.images), VALIDATION.labels).item()
        if loss < best[0]:
            best = (loss, copy.deepcopy(reference.state_dict()))
    assert multipliers.max() > 0.1
    assert fitted.weighting["multipliers"].numpy() == pytest.approx(multipliers, rel=1e-3, abs=1e-4)
    for key, wanted in best[1].items():
        torch.testing.assert_close(model.state_dict()[key], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("images", ["train", "validation"])
@pytest.mark.parametrize("name", ["ceag", "equalized-loss"])
def test_a_resumed_training_gives_the_same_to_the_last_bit(name, images, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    weighting = constrained(name, images, first=7)
    whole, parted = network(), network()
    expected = fit(whole, training(weighting))

    def stop(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(parted, training(weighting), saved=tmp_path / "saved", on_epoch=stop)
    parted = network()
    resumed = fit(parted, training(weighting), saved=tmp_path / "saved")
    assert expected.weighting["multipliers"].max() > 0
    for key, wanted in expected.weighting.items():
        assert torch.equal(resumed.weighting[key], wanted)
    for key, wanted in whole.state_dict().items():
        assert torch.equal(parted.state_dict()[key], wanted)


@pytest.mark.compiler
@pytest.mark.parametrize("images", ["train", "validation"])
@pytest.mark.parametrize("name", ["ceag", "equalized-loss"])
def test_both_engines_move_the_multipliers_alike(name, images):
    models_ = network(), network()
    fits = [
        fit(model, training(constrained(name, images), engine, epochs=3))
        for model, engine in zip(models_, (TORCH, native.load(network(), (1, 8, 8))), strict=True)
    ]
    first, second = (fitted.weighting["multipliers"] for fitted in fits)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
