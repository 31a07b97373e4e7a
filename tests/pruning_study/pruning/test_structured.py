import math

import pytest
import torch
from torch import tensor

from pruning_study.pruning.structured import filter_l1_norm, l1_norm, l2_norm, linf_norm

# Single precision, adding one number after the other, stays at 2^24.
LARGE = tensor([[2.0**24], *[[1.0]] * 8])


def test_norms_of_channels_are_added_in_double_precision():
    assert l1_norm(LARGE).unique().tolist() == [2.0**24 + 8]
    assert filter_l1_norm(LARGE.T).tolist() == [2.0**24 + 8]
    assert l2_norm(LARGE.sqrt()).unique().tolist() == [tensor(math.sqrt(2**24 + 8)).item()]


@pytest.mark.parametrize(("norm", "order"), [(l1_norm, 1), (l2_norm, 2), (linf_norm, math.inf)])
def test_norms_of_channels_are_those_of_torch(norm, order):
    theta = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.vector_norm(theta, order, dim=(0, 2, 3), keepdim=True).expand(theta.shape)
    torch.testing.assert_close(norm(theta), expected)
