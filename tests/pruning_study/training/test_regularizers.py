"""Regularisers against torch, and against numbers worked out by hand."""

import pytest
import torch
from torch import nn, tensor

from pruning_study.pruning import scores
from pruning_study.training.engines import step
from pruning_study.training.optimizer import REGULARIZERS, Optimizer

# The penalties of the loss, as the help of --regularizer says them
PENALTIES = {
    "l2": lambda theta, decay: decay / 2 * theta.square().sum(),
    "l1": lambda theta, decay: decay * theta.abs().sum(),
    "elastic": lambda theta, decay: (decay / 2 * theta.square().sum() + decay * theta.abs().sum()) / 2,
}
THETA, G = [2.0, -1.0, 0.5, 0.0], [0.5, 3.0, -8.0, 1.0]


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_is_that_of_the_penalty_in_autograd(name):
    theta = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    PENALTIES[name](theta, 0.25).backward()
    torch.testing.assert_close(0.25 * REGULARIZERS[name].gradient(theta.detach(), 0.9), theta.grad)


@pytest.mark.parametrize(
    ("name", "gradient", "score"),
    [
        # The data loss is G * theta, and the weight decay and epsilon are 1/2; theta * g = 1, -3, -4, 0.
        ("l2", [1.5, 2.5, -7.75, 1.0], [1.0, 3.0, 4.0, 0.0]),
        ("l1", [1.0, 2.5, -7.5, 1.0], [1.0, 3.0, 4.0, 0.0]),
        ("elastic", [1.25, 2.5, -7.625, 1.0], [1.0, 3.0, 4.0, 0.0]),
        # A momentum of 3/4 leaves a quarter of the decay.
        ("decoupled", [0.75, 2.875, -7.9375, 1.0], [1.0, 3.0, 4.0, 0.0]),
    ],
)
def test_up_deducts_the_penalty_from_the_objective(name, gradient, score):
    theta, penalty = tensor(THETA), REGULARIZERS[name].gradient(tensor(THETA), 0.75)
    objective = tensor(G) + 0.5 * penalty
    assert objective.tolist() == gradient
    assert scores.undecayed(theta, objective, epsilon=0.5, penalty_grad=penalty).tolist() == score


@pytest.mark.parametrize("name", PENALTIES)
def test_up_is_the_first_order_change_of_the_loss_without_its_penalty_in_autograd(name):
    """T = L - R, as Good et al. (2022), Section 3, deduct the penalty; the change is -theta times the gradient of T."""
    theta = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()

    def objective():
        return theta.exp().sum() + PENALTIES[name](theta, 0.25)

    (of_objective,) = torch.autograd.grad(objective(), theta)
    (of_remainder,) = torch.autograd.grad(objective() - PENALTIES[name](theta, 0.125), theta)
    weights = theta.detach()
    penalty = REGULARIZERS[name].gradient(weights, 0.9)
    score = scores.undecayed_signed(weights, of_objective, epsilon=0.125, penalty_grad=penalty)
    torch.testing.assert_close(score, -weights * of_remainder)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_up_ranks_as_mp_where_the_gradient_of_the_objective_is_0(name):
    theta = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty = REGULARIZERS[name].gradient(theta, 0.9)
    score = scores.undecayed(theta, torch.zeros_like(theta), epsilon=5e-4, penalty_grad=penalty)
    assert torch.equal(score.argsort(), scores.magnitude(theta).argsort())


def steps(name, gradients, *, momentum=0.0, learning_rate=0.5, weight_decay=0.25, theta=(2.0, -1.0, 0.0)):
    """Return the weights after a step with each of the gradients."""
    weights, velocity = {"w": tensor(theta)}, {"w": torch.zeros(len(theta))}
    optimizer = Optimizer(learning_rate, momentum, weight_decay, velocity, REGULARIZERS[name])
    for gradient in gradients:
        step(weights, {"w": tensor(gradient)}, optimizer, learning_rate)
    return weights["w"].tolist()


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        # The gradient is 1, -1 and 1. A weight decay of 1/4 adds 1/2, -1/4 and 0, or 1/4, -1/4 and 0, or the mean.
        ("l2", [2 - 1.5 / 2, -1 + 1.25 / 2, -0.5]),
        ("l1", [2 - 1.25 / 2, -1 + 1.25 / 2, -0.5]),
        ("elastic", [2 - 1.375 / 2, -1 + 1.25 / 2, -0.5]),
        ("decoupled", [2 * 7 / 8 - 1 / 2, -7 / 8 + 1 / 2, -0.5]),
    ],
)
def test_a_step_by_hand(name, weights):
    assert steps(name, [[1.0, -1.0, 1.0]]) == weights


def test_momentum_adds_up_the_penalty_but_not_decoupled_decay():
    """Two steps of Nesterov's momentum 1/2 from a weight of 2 whose data loss is flat, with learning rate 1/2.

    With l1 the velocity is 1/4 and then 3/8, and the steps are 1/2 * (1/4 + 1/8) and 1/2 * (1/4 + 3/16).
    """
    flat = [[0.0], [0.0]]
    assert steps("l1", flat, momentum=0.5, theta=(2.0,)) == [2 - 3 / 16 - 7 / 32]
    assert steps("decoupled", flat, momentum=0.5, theta=(2.0,)) == [2 * (7 / 8) ** 2]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "l1"])
def test_training_rests_where_the_gradient_of_the_objective_is_0(name, momentum):
    """The data loss is (theta - 1)^2 / 2, and its gradient theta - 1."""
    weights, velocity = {"w": tensor([3.0], dtype=torch.float64)}, {"w": torch.zeros(1, dtype=torch.float64)}
    optimizer = Optimizer(0.05, momentum, 0.5, velocity, REGULARIZERS[name])
    for _ in range(1000):
        step(weights, {"w": weights["w"] - 1}, optimizer, 0.05)
    rest = {"l2": 1 / 1.5, "elastic": 0.75 / 1.25, "decoupled": 1 / (1 + 0.5 * (1 - momentum))}[name]
    assert weights["w"].item() == pytest.approx(rest)
    gradient = weights["w"] - 1 + 0.5 * REGULARIZERS[name].gradient(weights["w"], momentum)
    assert gradient.item() == pytest.approx(0, abs=1e-9)


def test_decoupled_decay_without_momentum_is_l2():
    """Loshchilov and Hutter (2019), Proposition 1, in which their decay is the learning rate times ours."""
    gradients = [[1.0, -1.0, 1.0], [0.5, 0.25, -2.0]]
    assert steps("decoupled", gradients) == pytest.approx(steps("l2", gradients))


def test_decoupled_decay_is_that_of_adamw():
    """With a gradient of 0, Adam does not step, and what is left is the decay."""
    weight = nn.Parameter(tensor([2.0, -1.0, 0.0]))
    weight.grad = torch.zeros(3)
    torch.optim.AdamW([weight], lr=0.5, weight_decay=0.25).step()
    assert steps("decoupled", [[0.0, 0.0, 0.0]]) == weight.tolist()


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_pruned_weight_whose_gradient_is_0_stays_0(name):
    assert steps(name, [[0.0, 0.0, 0.0]] * 3, momentum=0.9)[2] == 0
