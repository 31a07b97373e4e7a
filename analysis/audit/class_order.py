"""Predictions whose classes are numbered in another order than those of the labels or of the networks before."""

from collections.abc import Mapping

import numpy as np

from analysis.common.errors import StudyError
from analysis.runs.checks import some

# Predictions are refused if they agree with the labels, or with the network before, on less than `_MOST_BEFORE` of the
# images, but on at least `_FEWEST_AFTER` after their classes are permuted. For a network destroyed by pruning, no
# permutation reaches `_FEWEST_AFTER`.
_MOST_BEFORE, _FEWEST_AFTER = 0.5, 0.8
_FEWEST_IMAGES = 20


def check(label: np.ndarray, networks: Mapping[str, np.ndarray]) -> None:
    """Refuse networks that agree with the labels, or with the network before, only after their classes are renumbered.

    Parameters
    ----------
    label : (images,)
    networks : mapping of str to (networks, images)
        Predicted classes before, after, and perhaps in the control.

    Raises
    ------
    StudyError
        If a network agrees with the labels, or with the network before, on fewer than half of the images, but on at
        least four fifths after its classes are permuted.
    """
    before = networks["before"]
    for side, predictions in networks.items():
        for place, predicted in enumerate(predictions):
            partner = label if side == "before" else before[place if len(before) == len(predictions) else 0]
            for name, reference in (("the labels", label), ("those before", partner)):
                if names := permutation(reference, predicted):
                    pairs = some([f"{new} for {old}" for old, new in names.items() if old != new])
                    number = f", network {place + 1}" if len(predictions) > 1 else ""
                    raise StudyError(
                        f"{side}{number}: the predictions agree with {name} only if their classes are in another order "
                        f"({pairs}): write each class the same way in all files, or add --keep-class-order "
                        "(keep_class_order=True) if the order is right"
                    )


def permutation(reference: np.ndarray, predicted: np.ndarray) -> dict[str, str]:
    """Map each predicted class to the reference class that it matches, or return {} if `check` accepts the predictions.

    A predicted and a reference class match if each is the most frequent partner of the other. Predictions are accepted
    unless the same classes match in another order, or each number matches one that is higher, or lower, by a constant.

    Examples
    --------
    >>> label = np.repeat([0, 1], 10)
    >>> permutation(label, 1 - label)
    {'0': '1', '1': '0'}
    >>> permutation(label + 1, label)  # the predictions count from 0
    {'0': '1', '1': '2'}
    >>> permutation(label, label)
    {}
    """
    if len(predicted) < _FEWEST_IMAGES or np.mean(predicted == reference) >= _MOST_BEFORE:
        return {}
    (old, old_index), (new, new_index) = (np.unique(each, return_inverse=True) for each in (predicted, reference))
    pairs, counts = np.unique(old_index * len(new) + new_index, return_counts=True)
    ranked = pairs[np.argsort(-counts, kind="stable")]
    best_new, best_old = (
        dict(zip(own[first].tolist(), ranked[first].tolist(), strict=True))
        for own in (ranked // len(new), ranked % len(new))
        for first in [np.unique(own, return_index=True)[1]]
    )
    mutual = [pair for pair in best_new.values() if best_old[pair % len(new)] == pair]
    if counts[np.isin(pairs, mutual)].sum() < _FEWEST_AFTER * len(predicted):
        return {}
    matched_old, matched_new = old[np.array(mutual) // len(new)], new[np.array(mutual) % len(new)]
    names = dict(zip(matched_old.astype(str).tolist(), matched_new.astype(str).tolist(), strict=True))
    is_shifted = not np.isin(old, new).all() and _differ_by_a_constant(matched_old, matched_new)
    return names if names.keys() == set(names.values()) or is_shifted else {}


def _differ_by_a_constant(old: np.ndarray, new: np.ndarray) -> bool:
    are_numbers = old.dtype.kind in "iu" and new.dtype.kind in "iu"
    return are_numbers and len(old) > 1 and len(set((new.astype(int) - old.astype(int)).tolist())) == 1
