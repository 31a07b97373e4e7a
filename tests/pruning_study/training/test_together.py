"""Networks that train together, against the same networks trained one after the other."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.data.examples import Examples
from pruning_study.models.resnet import ResNet
from pruning_study.training.loop import TrainingSetup, fit
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.together import fit_together


def examples(count, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 8, 8, generator=random, dtype=torch.float64)
    return Examples(images, (images.mean((1, 2, 3)) > 0).long())


TRAIN, VALIDATION = examples(70, 0), examples(30, 1)
PLAN = Hyperparameters((Phase(2, 0.05), Phase(1, 0.01)), 16, 0.9, 5e-4, "flip-crop")


def network(seed):
    torch.manual_seed(seed)
    return ResNet(1, num_classes=2, in_channels=3).double()


def training(model, seed, plan=PLAN, **settings):
    """Return a training that keeps the larger half of the weights of the first layer of every stage."""
    first = {name: p.detach() for name, p in model.named_parameters() if name.endswith("0.conv1.weight")}
    masks = {name: weights.abs() > weights.abs().median() for name, weights in first.items()}
    black = torch.tensor([-1.0, -0.5, 0.0], dtype=torch.float64)
    return TrainingSetup(
        TRAIN, VALIDATION, plan, seed=seed, stream="dense", black=black, **{"masks": masks, **settings}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "end",
    [{}, {"decay": "cosine"}, {"average_epochs": 2}, {"optimizer": "adam"}],
    ids=["plain", "decay", "average", "adam"],
)
def test_networks_that_train_together_become_what_each_becomes_alone(end):
    models = [network(seed) for seed in (0, 1, 2)]
    alone = copy.deepcopy(models)
    trainings = [training(model, seed, replace(PLAN, **end)) for seed, model in enumerate(models)]
    fits = fit_together(models, trainings)
    for own, other, made, found in zip(models, alone, trainings, fits, strict=True):
        expected = fit(other, made)
        assert found.best_epoch == expected.best_epoch
        for (name, given), wanted in zip(own.state_dict().items(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-12, msg=name)
        assert not any(own.get_parameter(name)[~mask].any() for name, mask in made.masks.items())
    assert not torch.equal(models[0].fc.weight, models[1].fc.weight)


def test_a_training_without_epochs_masks_and_nothing_else():
    model = network(0)
    made = training(model, 0, replace(PLAN, phases=()))
    before = copy.deepcopy(model)
    (found,) = fit_together([model], [made])
    assert found.best_epoch == 0
    for name, weights in before.named_parameters():
        kept = made.masks.get(name, torch.ones_like(weights, dtype=torch.bool))
        assert torch.equal(model.get_parameter(name), weights * kept)


def test_trainings_that_differ_in_their_steps_are_refused():
    models = [network(0), network(1)]
    longer = replace(PLAN, phases=(Phase(3, 0.05),))
    with pytest.raises(StudyError, match="need the same hyperparameters"):
        fit_together(models, [training(models[0], 0), training(models[1], 1, longer)])
    with pytest.raises(StudyError, match="masks of the same layers"):
        fit_together(models, [training(models[0], 0), training(models[1], 1, masks={})])


def test_layers_that_draw_at_random_are_refused_in_one_line():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 2)).double()
    with pytest.raises(StudyError, match="Sequential fails to train together with others"):
        fit_together([model], [training(model, 0, masks={})])
