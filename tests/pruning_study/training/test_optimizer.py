"""Adam's steps: by hand, against PyTorch's own optimizer, and in whole trainings."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn, tensor

from pruning_study.data.examples import generator, shuffled
from pruning_study.pruning.schedules import Ramp
from pruning_study.training.callbacks import MaskChanges
from pruning_study.training.engines import step
from pruning_study.training.optimizer import REGULARIZERS, Optimizer
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.resumption import TrainingState
from tests.pruning_study.training.test_loop import TRAIN, at_random, network, run

THETA = [2.0, -1.0, 0.0]


def steps(gradients, *, momentum=0.5, regularizer="l2", weight_decay=0.0):
    """Return the weights after each step of Adam with learning rate 1/4, and its optimizer."""
    zeros = {"w": torch.zeros(3)}
    weights, squares, counts = {"w": tensor(THETA)}, {"w": torch.zeros(3)}, {"w": torch.zeros(())}
    optimizer = Optimizer(
        0.25, momentum, weight_decay, zeros, REGULARIZERS[regularizer], name="adam", squares=squares, steps=counts
    )
    after = []
    for gradient in gradients:
        step(weights, {"w": tensor(gradient)}, optimizer, 0.25)
        after.append(weights["w"].tolist())
    return after, optimizer


def test_steps_by_hand():
    """With beta1 = 1/2. The gradients of the first weight are 1 and 2, and those of the third are always 0.

    The first step is the learning rate times the sign of the gradient. At the second the mean gradient is
    (1/4 + 1) / (3/4) = 5/3, and the mean square (.999 * .001 * 1 + .001 * 4) / (1 - .999^2) = .004999 / .001999.
    """
    (first, second), optimizer = steps([[1.0, -3.0, 0.0], [2.0, -3.0, 0.0]])
    assert first == pytest.approx([1.75, -0.75, 0.0], abs=1e-6)
    size = 0.25 * (5 / 3) / (0.004999 / 0.001999) ** 0.5  # .2635
    assert second == pytest.approx([1.75 - size, -0.5, 0.0], abs=1e-5)
    assert optimizer.velocity["w"].tolist() == pytest.approx([1.25, -2.25, 0.0])
    assert optimizer.squares["w"].tolist() == pytest.approx([0.004999, 0.017991, 0.0])
    assert optimizer.steps["w"].item() == 2


def test_the_penalty_is_a_part_of_the_gradient_and_decoupled_decay_is_not():
    """The gradients are so small that l2 turns the sign of the first, by 1/2 * 2. Decoupled decay takes an eighth."""
    gradient = [-0.5, -0.5, 0.0]
    assert steps([gradient], weight_decay=0.5)[0][0] == pytest.approx([1.75, -0.75, 0.0], abs=1e-6)
    decoupled = steps([gradient], weight_decay=0.5, regularizer="decoupled")[0][0]
    assert decoupled == pytest.approx([2 * 7 / 8 + 0.25, -7 / 8 + 0.25, 0.0], abs=1e-6)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_a_pruned_weight_whose_gradient_is_0_stays_0(regularizer):
    after, _ = steps([[1.0, -1.0, 0.0]] * 3, regularizer=regularizer, weight_decay=0.1)
    assert after[-1][2] == 0


def plan(*pairs, **settings):
    phases = tuple(Phase(*pair) for pair in pairs)
    return Hyperparameters(phases, 16, 0.9, 0.01, "none", optimizer="adam", **settings)


@pytest.mark.parametrize(("regularizer", "reference"), [("l2", torch.optim.Adam), ("decoupled", torch.optim.AdamW)])
def test_a_training_is_that_of_pytorchs_optimizer_which_starts_anew_in_each_phase(regularizer, reference):
    trained, expected = network(), network()
    for model in (trained, expected):
        del model[1]  # before BatchNorm the gradient of a bias is rounding, whose sign Adam follows
    settings = plan((1, 0.01), (1, 0.002), regularizer=REGULARIZERS[regularizer], keeps_last_epoch=True)
    run(trained, settings)
    expected.train()
    random = generator(0, "dense")
    for phase in settings.phases:
        optimizer = reference(expected.parameters(), lr=phase.learning_rate, betas=(0.9, 0.999), weight_decay=0.01)
        for images, labels in map(TRAIN.batch, shuffled(TRAIN, 16, random)):
            optimizer.zero_grad()
            F.cross_entropy(expected(images), labels).backward()
            optimizer.step()
    for given, wanted in zip(trained.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-6)


def test_masked_weights_stay_exactly_0_and_the_others_are_trained():
    model = network()
    masks = {
        "0.weight": torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5,
        "4.weight": torch.rand(3, 64, generator=torch.Generator().manual_seed(1)) > 0.8,
    }
    before = {name: model.get_parameter(name).detach().clone() for name in masks}
    run(model, plan((3, 0.01), (2, 0.001)), masks=masks)
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != before[name][mask]).all()


def test_weights_that_are_pruned_while_a_network_is_trained_stay_exactly_0():
    """Adam's mean gradient of a weight is not 0 when it is pruned, and would move it at the next step."""
    model, full = network(), {"4.weight": torch.ones(3, 64, dtype=torch.bool)}
    ramp = Ramp({0: 192, 3: 100, 7: 50}, at_random, regrow=False)
    fitted = run(model, plan((3, 0.01)), masks=full, callbacks=[MaskChanges(ramp)])
    mask = fitted.masks["4.weight"]
    assert int(mask.sum()) == 50
    assert not model[4].weight[~mask].any()


def test_nothing_is_remembered_of_pruned_weights():
    mask = tensor([True, False])
    state = TrainingState(velocity={"w": tensor([1.0, 2.0])}, squares={"w": tensor([3.0, 4.0])}, masks={"w": mask})
    state.forget_pruned()
    assert (state.velocity["w"].tolist(), state.squares["w"].tolist()) == ([1.0, 0.0], [3.0, 0.0])


def test_sgd_remembers_nothing_but_its_velocity():
    state, model = TrainingState(), nn.Linear(2, 2)
    state.start_optimizer("sgd", model)
    assert (sorted(state.velocity), state.squares, state.steps) == (["bias", "weight"], {}, {})


def test_another_momentum_is_another_beta1():
    weights = []
    for momentum in (0.9, 0.5):
        model = network()
        run(model, replace(plan((1, 0.01)), momentum=momentum))
        weights.append(model[4].weight)
    assert not torch.equal(*weights)
