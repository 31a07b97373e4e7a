"""Equalized loss: the mean loss of every class must equal the mean loss of all images.

Tran, Fioretto, Kim and Naidu (2022), "Pruning has a disparate impact on model accuracy", Section 6, as implemented in
the released code of Hashemizadeh et al. (2024), who compare with this method.
"""

from torch import Tensor

from pruning_study.training.mitigation.class_means import ClassMeans


class EqualizedLoss:
    """The constraint L_c = L (Tran et al. 2022, Equation 8), for the mean losses L_c of class c and L of all images.

    For the method of multipliers, the paper refers to Fioretto et al. (2020), "Lagrangian duality for constrained deep
    learning": the term of class c in the Lagrangian is lambda_c |L_c - L|, and a dual step increases lambda_c by the
    step size times |L_c - L|. So multipliers never decrease. The gradient of |L_c - L| is that of L_c - L, times the
    sign of the gap.
    """

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return the loss of each image."""
        return loss

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return the loss of each class minus the mean loss."""
        return means.each - means.overall

    def violations(self, gaps: Tensor) -> Tensor:
        """Return the absolute gap of each class."""
        return gaps.abs()

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers with the signs of the gaps: training raises a class loss that is below the mean."""
        return multipliers * gaps.sign()
