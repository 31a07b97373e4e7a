import pytest
import torch
from torch import tensor

from pruning_study.pruning import scores

THETA = tensor([2.0, -1.0, 0.5, 0.0])
GRAD = tensor([0.1, 0.4, -2.0, 3.0])


def test_magnitude():
    assert scores.magnitude(THETA).tolist() == [2.0, 1.0, 0.5, 0.0]


def test_gradient():
    torch.testing.assert_close(scores.gradient(THETA, GRAD), tensor([0.2, 0.4, 1.0, 0.0]))


def test_undecayed():
    # -theta g = -.2, .4, 1, 0; .1 theta^2 = .4, .1, .025, 0
    torch.testing.assert_close(scores.undecayed(THETA, GRAD, epsilon=0.1), tensor([0.2, 0.5, 1.025, 0.0]))


def test_undecayed_signed_keeps_the_sign():
    signed = scores.undecayed_signed(THETA, -GRAD, epsilon=0.1)
    torch.testing.assert_close(signed, tensor([0.6, -0.3, -0.975, 0.0]))


def test_undecayed_sum():
    torch.testing.assert_close(scores.undecayed_sum(THETA, GRAD, epsilon=0.1), tensor([0.6, 0.5, 1.025, 0.0]))


def test_random_is_uniform_and_seeded():
    theta = torch.zeros(10_000)
    first, second = (scores.random(theta, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() < 1
    assert first.mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(first, scores.random(theta, generator=torch.Generator().manual_seed(6)))


def test_none_scores_every_weight_alike():
    assert scores.unpruned(THETA).tolist() == [1.0] * 4


class TestIdentities:
    theta = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def test_up_with_the_regularized_gradient_and_epsilon_lambda_is_theta_times_g(self):
        decay = 5e-4
        score = scores.undecayed(self.theta, self.g + decay * self.theta, epsilon=decay)
        torch.testing.assert_close(score, (self.theta * self.g).abs())

    def test_up_with_epsilon_0_is_gp(self):
        assert torch.equal(scores.undecayed(self.theta, self.g, epsilon=0.0), scores.gradient(self.theta, self.g))

    def test_up_ranks_as_mp_where_epsilon_is_large(self):
        score = scores.undecayed(self.theta, self.g, epsilon=1e9)
        assert torch.equal(score.argsort(), scores.magnitude(self.theta).argsort())

    def test_up_does_not_rank_as_mp_where_epsilon_is_small(self):
        score = scores.undecayed(self.theta, self.g, epsilon=1e-3)
        assert not torch.equal(score.argsort(), scores.magnitude(self.theta).argsort())

    def test_up_ranks_as_mp_where_the_gradient_is_0(self):
        score = scores.undecayed(self.theta, torch.zeros_like(self.g), epsilon=5e-4)
        assert torch.equal(score.argsort(), scores.magnitude(self.theta).argsort())

    def test_up_is_the_size_of_up_signed(self):
        signed = scores.undecayed_signed(self.theta, self.g, epsilon=0.3)
        assert torch.equal(signed.abs(), scores.undecayed(self.theta, self.g, epsilon=0.3))
