"""Channel independence (CHIP, Sui et al. 2021): how much a layer's feature maps change if one channel is masked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# The integral below is computed for log t in [-_RANGE, _RANGE], at _POINTS points; the rest of the integral is
# 1e-8 of the largest singular value.
_RANGE, _POINTS = 16 * math.log(10), 80
# Largest eigenvalue that counts as 0, relative to the largest eigenvalue of the matrix.
_ROUNDING = 1e-14


def independence(maps: Tensor) -> Tensor:
    """Score channels by how much masking one changes the nuclear norm of the feature maps (Sui et al. 2021, Eq. 3).

    The feature maps of an image form a matrix A of channels x pixels. Its nuclear norm is the sum of its singular
    values, which are the square roots of the eigenvalues lambda of A A^T. Masking channel i deletes row and column i of
    A A^T. A square root is an integral over the resolvent R(t) = (A A^T + t)^-1, and the deletion changes the trace of
    R by the derivative of log R_ii. So the change of the norm is the integral over t > 0, with the eigenvectors u, of

        1 / (pi sqrt(t)) * sum_k(u_ik^2 lambda_k / (lambda_k + t)^2) / sum_k(u_ik^2 / (lambda_k + t)).

    One eigendecomposition per image serves all its channels. With equal steps in log t, a sum converges to the integral
    exponentially.

    Parameters
    ----------
    maps : Tensor (images, channels, pixels)
        Feature maps after the activation. A channel that is 0 everywhere is dead.

    Returns
    -------
    float64 Tensor (images, channels), >= 0
        Scores, with an error below 1e-7 of the image's nuclear norm. Dead channels score 0. If a map of an image is NaN
        or infinite, all channels of the image score NaN.

    Examples
    --------
    Two orthogonal channels of norms 3 and 4 have the singular values 3 and 4, and a dead channel adds nothing:

    >>> from torch import tensor
    >>> independence(tensor([[[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]])).round(decimals=5).tolist()
    [[3.0, 4.0, 0.0]]
    """
    import torch

    finite = maps.isfinite().all(-1).all(-1)[:, None]
    maps = maps.where(finite[..., None], 0)
    eigenvalues, squares = _spectrum(maps.double())
    largest = eigenvalues.amax(-1, keepdim=True)
    eigenvalues = (eigenvalues / largest).nan_to_num(0).unsqueeze(-1)
    points = torch.linspace(-_RANGE, _RANGE, _POINTS, dtype=torch.float64, device=maps.device)
    step, t = points[1] - points[0], points.exp()
    resolvent = 1 / (eigenvalues + t)
    integrand = (squares @ (eigenvalues * resolvent.square())) / (squares @ resolvent)
    change: Tensor = step / math.pi * (integrand @ t.sqrt()) * largest.sqrt()
    return (change * maps.any(-1)).where(finite, math.nan)


def _spectrum(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues (images, n) of A A^T, and the squared entries (images, channels, n) of its eigenvectors.

    If there are fewer pixels than channels, the smaller A^T A is decomposed, and one column contains the sum of the
    squared entries of all eigenvectors of the eigenvalue 0.
    """
    import torch

    channels, pixels = maps.shape[-2:]
    if channels <= pixels:
        eigenvalues, vectors = torch.linalg.eigh(maps @ maps.mT)
        return eigenvalues.clamp_min(0), vectors.square()
    eigenvalues, vectors = torch.linalg.eigh(maps.mT @ maps)
    sound = eigenvalues > _ROUNDING * eigenvalues[..., -1:]
    squares = ((maps @ vectors).square() / eigenvalues.unsqueeze(-2)).where(sound.unsqueeze(-2), 0)
    rest = (1 - squares.sum(-1, keepdim=True)).clamp_min(0)
    return torch.cat([torch.zeros_like(eigenvalues[..., :1]), eigenvalues.where(sound, 0)], -1), torch.cat(
        [rest, squares], -1
    )
