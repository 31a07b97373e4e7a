"""Scores and a budget become masks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analysis.runs.errors import StudyError


def exact_k(scores: Sequence[Tensor], k: int, among: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Masks that keep the k largest scores over all layers together, ties to the lower index.

    Parameters
    ----------
    scores : sequence of Tensor, any shapes
    k : int, 0 <= k <= number of scores to choose from
    among : sequence of bool Tensor, shaped as `scores`, optional
        Those to choose from; all by default.

    Returns
    -------
    list of bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    StudyError
        Where a score is NaN or infinite.
    """
    flat, places = _flat(scores), _places(scores, among)
    chosen = flat[places]
    # Partitioning finds the k-th largest score in linear time, and cutting the ties there by index keeps
    # exactly k; a stable sort would take 50 times as long, and a threshold would keep all ties.
    keep = np.zeros(flat.size, dtype=bool)
    if k > 0:
        threshold = np.partition(chosen, chosen.size - k)[chosen.size - k]
        keep[places] = chosen > threshold
        ties = places[chosen == threshold]
        keep[ties[: k - np.count_nonzero(keep)]] = True
    return _split(keep, scores)


def signed_quantile(scores: Sequence[Tensor], k: int, among: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Masks of the released code: prune where |s| < tau, tau the quantile of the signed s that would keep k.

    Prunes fewer than asked, and none where tau <= 0.

    Parameters
    ----------
    scores : sequence of Tensor, signed, any shapes
    k, among : as in `exact_k`

    Returns
    -------
    list of bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    StudyError
        Where a score is NaN or infinite.
    """
    flat, places = _flat(scores), _places(scores, among)
    tau = np.quantile(flat[places], 1 - k / places.size)
    keep = np.zeros(flat.size, dtype=bool)
    keep[places] = np.abs(flat[places]) >= tau
    return _split(keep, scores)


def _flat(scores: Sequence[Tensor]) -> np.ndarray:
    flat = torch.cat([score.flatten() for score in scores]).double().cpu().numpy()
    if bad := int(np.count_nonzero(~np.isfinite(flat))):
        raise StudyError(f"{bad:,} of {flat.size:,} pruning scores are NaN or infinite: the dense model has diverged")
    return flat


def _places(scores: Sequence[Tensor], among: Sequence[Tensor] | None) -> np.ndarray:
    if among is None:
        return np.arange(sum(score.numel() for score in scores))
    return np.flatnonzero(torch.cat([mask.flatten() for mask in among]).cpu().numpy())


def _split(keep: np.ndarray, scores: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.from_numpy(keep).split([score.numel() for score in scores])
    return [part.view(score.shape).to(score.device) for part, score in zip(parts, scores, strict=True)]


Masks = dict[str, Tensor]
