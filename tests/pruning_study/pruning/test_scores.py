import pytest
import torch
from torch import tensor

from pruning_study.pruning.scores import PRUNERS, needs

THETA = tensor([2.0, -1.0, 0.5, 0.0])
GRAD = tensor([0.1, 0.4, -2.0, 3.0])


def test_magnitude():
    assert PRUNERS["mp"](THETA).tolist() == [2.0, 1.0, 0.5, 0.0]


def test_gradient():
    torch.testing.assert_close(PRUNERS["gp"](THETA, GRAD), tensor([0.2, 0.4, 1.0, 0.0]))


def test_undecayed():
    # -theta g = -.2, .4, 1, 0; .1 theta^2 = .4, .1, .025, 0
    torch.testing.assert_close(PRUNERS["up"](THETA, GRAD, epsilon=0.1), tensor([0.2, 0.5, 1.025, 0.0]))


def test_undecayed_signed_keeps_the_sign():
    signed = PRUNERS["up-signed"](THETA, -GRAD, epsilon=0.1)
    torch.testing.assert_close(signed, tensor([0.6, -0.3, -0.975, 0.0]))


def test_undecayed_sum():
    torch.testing.assert_close(PRUNERS["up-sum"](THETA, GRAD, epsilon=0.1), tensor([0.6, 0.5, 1.025, 0.0]))


def test_random_is_uniform_and_seeded():
    theta = torch.zeros(10_000)
    first, second = (PRUNERS["rp"](theta, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() < 1
    assert first.mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(first, PRUNERS["rp"](theta, generator=torch.Generator().manual_seed(6)))


def test_none_scores_every_weight_alike():
    assert PRUNERS["none"](THETA).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("pruner", "needed"),
    [
        ("mp", set()),
        ("none", set()),
        ("gp", {"grad"}),
        ("rp", {"generator"}),
        ("up", {"grad", "epsilon"}),
        ("up-signed", {"grad", "epsilon"}),
        ("up-sum", {"grad", "epsilon"}),
    ],
)
def test_what_each_pruner_needs(pruner, needed):
    assert needs(pruner) == needed


class TestIdentities:
    theta = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def test_up_with_the_regularized_gradient_and_epsilon_lambda_is_theta_times_g(self):
        decay = 5e-4
        score = PRUNERS["up"](self.theta, self.g + decay * self.theta, epsilon=decay)
        torch.testing.assert_close(score, (self.theta * self.g).abs())

    def test_up_with_epsilon_0_is_gp(self):
        assert torch.equal(PRUNERS["up"](self.theta, self.g, epsilon=0.0), PRUNERS["gp"](self.theta, self.g))

    def test_up_ranks_as_mp_where_epsilon_is_large(self):
        score = PRUNERS["up"](self.theta, self.g, epsilon=1e9)
        assert torch.equal(score.argsort(), PRUNERS["mp"](self.theta).argsort())

    def test_up_does_not_rank_as_mp_where_epsilon_is_small(self):
        score = PRUNERS["up"](self.theta, self.g, epsilon=1e-3)
        assert not torch.equal(score.argsort(), PRUNERS["mp"](self.theta).argsort())

    def test_up_ranks_as_mp_where_the_gradient_is_0(self):
        score = PRUNERS["up"](self.theta, torch.zeros_like(self.g), epsilon=5e-4)
        assert torch.equal(score.argsort(), PRUNERS["mp"](self.theta).argsort())

    def test_up_is_the_size_of_up_signed(self):
        signed = PRUNERS["up-signed"](self.theta, self.g, epsilon=0.3)
        assert torch.equal(signed.abs(), PRUNERS["up"](self.theta, self.g, epsilon=0.3))
