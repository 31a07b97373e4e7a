"""Equalized loss: every class must have the mean loss.

Tran, Fioretto, Kim and Naidu (2022), "Pruning has a disparate impact on model accuracy", Section 6, in the form of the
released code of Hashemizadeh et al. (2024), who compare with it.
"""

from torch import Tensor

from pruning_study.training.mitigation.class_means import ClassMeans


class EqualizedLoss:
    """The constraint L_c = L of Tran et al. (2022, Equation 8), with L_c the mean loss of class c and L that of all.

    For the method of multipliers the paper refers to Fioretto et al. (2020), "Lagrangian duality for constrained deep
    learning": the Lagrangian has lambda_c |L_c - L|, and a dual step adds |L_c - L| times its size to lambda_c. So a
    multiplier never falls. The gradient of |L_c - L| is that of L_c - L, times the sign of the gap.
    """

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return the loss of each image."""
        return loss

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return the loss of each class minus the mean loss."""
        return means.each - means.overall

    def violations(self, gaps: Tensor) -> Tensor:
        """Return how far each class's loss is from the mean loss, above or below it."""
        return gaps.abs()

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers with the signs of the gaps: a class whose loss is below the mean is held back."""
        return multipliers * gaps.sign()
