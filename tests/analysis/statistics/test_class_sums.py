"""Tests of weights that stand for a matrix: they give what the matrix gives."""

import numpy as np
import pytest

from analysis.statistics.class_sums import ClassWeights, each_class, excess_weights

SHARE = np.array([0.5, 0.2, 0.2, 0.1])
FACTORS = np.array([0.0, 1.0, 2.0, 0.5])
VALUES = np.array([[0.3, -0.1, 0.2, 0.0], [1.0, 0.5, 0.0, -2.0]])
MATRICES = {
    "excess": (excess_weights(SHARE), np.eye(4) - SHARE),
    "each class": (each_class(4), np.eye(4)),
    "factors": (ClassWeights(1 - FACTORS * SHARE, -SHARE, FACTORS), np.eye(4) - np.outer(FACTORS, SHARE)),
}


@pytest.mark.parametrize(("weights", "matrix"), MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize(
    "change",
    [np.asarray, np.negative, np.square, np.abs, lambda each: np.maximum(each, 0), lambda each: -2 * each],
    ids=["itself", "negative", "square", "abs", "above 0", "times -2"],
)
def test_weights_give_what_their_matrix_gives(weights, matrix, change):
    weights, matrix = (each if change is np.asarray else change(each) for each in (weights, matrix))
    assert weights @ VALUES[0] == pytest.approx(matrix @ VALUES[0])
    sums = VALUES @ weights.T
    assert sums == pytest.approx(VALUES @ matrix.T)
    assert np.asarray(weights) == pytest.approx(matrix)
