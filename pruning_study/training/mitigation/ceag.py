"""Constrained excess accuracy gaps: no class's recall may fall by more than the accuracy does, plus a tolerance.

Hashemizadeh, Ramirez et al. (2024), "Balancing act: constraining disparate impact in sparse models", Algorithm 1.
"""

from dataclasses import dataclass

from torch import Tensor

from pruning_study.training.mitigation.class_means import ClassMeans

TOLERANCE = 0.01


@dataclass(frozen=True)
class Ceag:
    """The constraint (dense R_c - R_c) - (dense A - A) <= tolerance, for the recall R_c of class c and the accuracy A.

    Because recall has no gradient, the weights are trained on losses instead. Let L_c be the mean loss of class c, and
    L the mean loss of all images. Up to a constant, the term of class c in the Lagrangian is lambda_c (L_c - L), with
    the multiplier lambda_c. The dual step lambda_c <- max(0, lambda_c + step (gap_c - tolerance)) uses the recalls:
    gap_c is the left side of the constraint. The paper calls the constraints on losses proxy constraints.

    Parameters
    ----------
    dense : ClassMeans
        Recalls and accuracy of the dense network on the images used for the constraint.
    """

    dense: ClassMeans

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return whether the prediction of each image is correct."""
        return right

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return each class's drop in recall minus the drop in accuracy, given the recalls of the pruned network."""
        return (self.dense.each - means.each) - (self.dense.overall - means.overall)

    def violations(self, gaps: Tensor) -> Tensor:
        """Return each gap minus the tolerance."""
        return gaps - TOLERANCE

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers unchanged."""
        return multipliers
