"""Make masks from scores and a number of weights to keep."""

# The command line imports this module with the registry of pruners, so numpy and torch are imported on use.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from analysis.common.errors import NotFiniteError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Masks: TypeAlias = dict[str, "Tensor"]
Choose: TypeAlias = Callable[[Sequence["Tensor"], int, Sequence["Tensor"] | None], list["Tensor"]]


def exact_k(scores: Sequence[Tensor], k: int, candidates: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Make masks that keep the k largest scores over all layers together, ties to the lower index.

    Parameters
    ----------
    scores : sequence of Tensor, any shapes
    k : int, >= 0
        If there are fewer candidates, all are kept.
    candidates : sequence of bool Tensor, shaped as `scores`, optional
        True for the scores to choose from; all by default.

    Returns
    -------
    list of bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    NotFiniteError
        If a score is NaN or infinite.

    Examples
    --------
    >>> from torch import tensor
    >>> [mask.tolist() for mask in exact_k([tensor([1.0, 3.0]), tensor([3.0, 2.0, 3.0])], k=2)]
    [[False, True], [True, False, False]]
    """
    import numpy as np

    flat, indices = _flat(scores), _candidate_indices(scores, candidates)
    chosen, k = flat[indices], min(k, indices.size)
    # Partitioning finds the k-th largest score in linear time, and choosing its ties by index keeps exactly k. A stable
    # sort would take 50 times as long, and a threshold would keep all ties.
    keep = np.zeros(flat.size, dtype=bool)
    if k > 0:
        threshold = np.partition(chosen, chosen.size - k)[chosen.size - k]
        keep[indices] = chosen > threshold
        ties = indices[chosen == threshold]
        keep[ties[: k - np.count_nonzero(keep)]] = True
    return _split(keep, scores)


def signed_quantile(scores: Sequence[Tensor], k: int, candidates: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Make masks as the released code of Good et al. (2022) does, which may keep more than k weights.

    A weight with score s is pruned if |s| < tau, with tau the quantile of all signed scores above which k of them lie.
    No weight is pruned if tau <= 0.

    Parameters
    ----------
    scores : sequence of Tensor, signed, any shapes
    k, candidates : as in `exact_k`

    Returns
    -------
    list of bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    NotFiniteError
        If a score is NaN or infinite.

    Examples
    --------
    The 0.6 quantile of these five scores is 1.4, and three of them have at least this absolute value.

    >>> from torch import tensor
    >>> signed_quantile([tensor([-4.0, -1.0, 1.0, 2.0, 3.0])], k=2)[0].tolist()
    [True, False, False, True, True]
    """
    import numpy as np

    flat, indices = _flat(scores), _candidate_indices(scores, candidates)
    keep = np.zeros(flat.size, dtype=bool)
    if indices.size:
        tau = np.quantile(flat[indices], 1 - min(1, k / indices.size))
        keep[indices] = np.abs(flat[indices]) >= tau
    return _split(keep, scores)


def in_each_layer(
    choose: Choose, scores: Sequence[Tensor], counts: Sequence[int], candidates: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """Make masks that keep a given number of weights in each layer.

    Parameters
    ----------
    choose : callable
        Function such as `exact_k`, which makes the masks of one layer.
    scores : sequence of Tensor, one for each layer
    counts : sequence of int
        Number of weights to keep in each layer. A layer with fewer candidates keeps them all.
    candidates : sequence of bool Tensor, shaped as `scores`, optional
        True for the scores to choose from; all by default.

    Returns
    -------
    list of bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    NotFiniteError
        If a score is NaN or infinite.

    Examples
    --------
    >>> from torch import tensor
    >>> scores = [tensor([1.0, 2.0]), tensor([9.0, 7.0, 8.0, 6.0])]
    >>> [mask.tolist() for mask in in_each_layer(exact_k, scores, counts=[1, 2])]
    [[False, True], [True, False, True, False]]
    """
    if candidates is None:
        return [choose([score], count, None)[0] for score, count in zip(scores, counts, strict=True)]
    return [
        choose([score], count, [remaining])[0]
        for score, count, remaining in zip(scores, counts, candidates, strict=True)
    ]


def _flat(scores: Sequence[Tensor]) -> NDArray[np.float64]:
    import numpy as np
    import torch

    flat: NDArray[np.float64] = torch.cat([score.flatten() for score in scores]).double().cpu().numpy()
    if bad := int(np.count_nonzero(~np.isfinite(flat))):
        raise NotFiniteError(
            f"{bad:,} of {flat.size:,} pruning scores are NaN or infinite: the network has diverged, or the "
            "score is not defined for its weights"
        )
    return flat


def _candidate_indices(scores: Sequence[Tensor], candidates: Sequence[Tensor] | None) -> NDArray[np.intp]:
    import numpy as np
    import torch

    if candidates is None:
        return np.arange(sum(score.numel() for score in scores))
    return np.flatnonzero(torch.cat([mask.flatten() for mask in candidates]).cpu().numpy())


def _split(keep: NDArray[np.bool_], scores: Sequence[Tensor]) -> list[Tensor]:
    import torch

    parts = torch.split(torch.from_numpy(keep), [score.numel() for score in scores])
    return [part.view(score.shape).to(score.device) for part, score in zip(parts, scores, strict=True)]
