"""Constrained excess accuracy gaps: no class may lose more recall than the accuracy loses, plus a tolerance.

Hashemizadeh, Ramirez et al. (2024), "Balancing act: constraining disparate impact in sparse models", Algorithm 1.
"""

from dataclasses import dataclass

from torch import Tensor

from pruning_study.training.mitigation.class_means import ClassMeans

TOLERANCE = 0.01


@dataclass(frozen=True)
class Ceag:
    """The constraint (R_c of the dense network - R_c) - (A of it - A) <= tolerance, for recalls R_c and accuracy A.

    A recall has no gradient in the weights. So the Lagrangian descends on the loss in its place: for the constraint of
    class c it has lambda_c (L_c - L), up to a constant, while the dual step lambda_c <- max(0, lambda_c + step (gap_c -
    tolerance)) is made on the recalls: the paper's proxy constraints.

    Parameters
    ----------
    dense : ClassMeans
        Recalls and accuracy of the dense network on the images of the constraint.
    """

    dense: ClassMeans

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return whether each image is predicted right."""
        return right

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return each class's loss of recall beyond the loss of accuracy, given the recalls of the pruned network."""
        return (self.dense.each - means.each) - (self.dense.overall - means.overall)

    def violations(self, gaps: Tensor) -> Tensor:
        """Return by how much each gap is above the tolerance; below it the value is negative."""
        return gaps - TOLERANCE

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers."""
        return multipliers
