"""Weighted sums over classes, without storing the matrices of their weights."""

from typing import TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike


class ClassWeights(NDArrayOperatorsMixin):
    """A matrix of weights, (classes, classes), stored as three vectors.

    Row i has the weights of sum i: own[i] for class i, and factors[i] * others[j] for any other class j.

    The object can be used like an array in products (`weights @ values`, `values @ weights.T`), and in elementwise
    functions that commute with the factors, such as `-weights`, `np.square(weights)` and `np.maximum(weights, 0)`.

    Parameters
    ----------
    own, others : (classes,)
        The weight of each class in its own sum, and in the sums of other classes.
    factors : (classes,), 0 or above
        For each sum, the factor of its weights `others`.

    Examples
    --------
    >>> weights = ClassWeights(np.array([0.5, 0.5]), np.array([-0.5, -0.5]))
    >>> (weights @ [-0.3, -0.1]).round(3).tolist(), (np.square(weights) @ [1, 1]).tolist()
    ([-0.1, 0.1], [0.5, 0.5])
    """

    def __init__(self, own: np.ndarray, others: np.ndarray, factors: np.ndarray | float = 1.0) -> None:
        self.own, self.others, self.factors = own, others, factors

    def __len__(self) -> int:
        """Return the number of sums."""
        return len(self.own)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **_: object) -> object:
        """Compute a product with values, or apply an elementwise function to the weights."""
        if ufunc is np.matmul:
            return self.sums(np.asarray(inputs[1]))
        parts = (self.own, self.others)
        own, others = (ufunc(*(part if each is self else each for each in inputs)) for part in parts)
        return ClassWeights(own, others, np.square(self.factors) if ufunc is np.square else self.factors)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Return the matrix, (classes, classes)."""
        return np.asarray(self.sums(np.eye(len(self))).T, dtype)

    @property
    def T(self) -> "_Transposed":  # noqa: N802 as NumPy calls it
        """The transposed weights, for use after `@`."""
        return _Transposed(self)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Compute the weighted sums, (..., classes), of values (..., classes)."""
        of_others = (values @ self.others)[..., np.newaxis] - values * self.others
        return np.asarray(values * self.own + self.factors * of_others)


class _Transposed:
    __array_ufunc__ = None  # so that NumPy calls __rmatmul__

    def __init__(self, weights: ClassWeights) -> None:
        self._weights = weights

    def __rmatmul__(self, values: np.ndarray) -> np.ndarray:
        return self._weights.sums(values)


Weights: TypeAlias = np.ndarray | ClassWeights


def each_class(classes: int) -> ClassWeights:
    """Return identity weights, with which each sum is the value of one class.

    Examples
    --------
    >>> (each_class(2) @ [0.3, 0.1]).tolist()
    [0.3, 0.1]
    """
    return ClassWeights(np.ones(classes), np.zeros(classes))


def excess_weights(share: ArrayLike) -> ClassWeights:
    """Return weights that turn changes of recall into changes beyond the change of accuracy.

    Parameters
    ----------
    share : (classes,)
        Each class's share of the test images.

    Examples
    --------
    >>> (excess_weights([0.5, 0.5]) @ [-0.3, -0.1]).round(3).tolist()
    [-0.1, 0.1]
    """
    share = np.asarray(share, float)
    return ClassWeights(1 - share, -share)
