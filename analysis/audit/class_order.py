"""Predictions whose classes are numbered differently from those of the labels or of the networks before."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.runs.checks import some

# Classes are taken for others if at least so many of their images agree with the others, and more than half of them,
# and if at most a quarter as many agree with the classes themselves.
_FEWEST_IMAGES = 8
_FEWEST_AFTER = 0.5
_MOST_BEFORE = 0.25


def check(label: np.ndarray, networks: Mapping[str, np.ndarray]) -> None:
    """Refuse networks that agree with the labels, or with the network before, only after classes are renumbered.

    Parameters
    ----------
    label : (images,)
    networks : mapping of str to (networks, images)
        Predicted classes before, after, and perhaps in the control.

    Raises
    ------
    StudyError
        If the labels seem to be numbered without the classes that the test images lack (`closed_up`), or if a network
        predicts the classes of the labels, or of the network before, in another order (`permuted`).
    """
    before = networks["before"]
    for side, predictions in networks.items():
        for place, predicted in enumerate(predictions):
            where = side if len(predictions) == 1 else f"{side}, network {place + 1}"
            if side == "before" and (names := closed_up(label, predicted)):
                raise StudyError(
                    f"{where}: the labels agree with the predictions only if they are renumbered ({_listed(names)}), "
                    "as if a loader numbered the classes of test images that lack some: number labels as in training "
                    "(class_to_idx of the training images), or add --keep-class-order (keep_class_order=True) if the "
                    "labels are right"
                )
            partner = label if side == "before" else before[place if len(before) == len(predictions) else 0]
            for name, reference in (("the labels", label), ("those before", partner)):
                if names := permuted(reference, predicted):
                    raise StudyError(
                        f"{where}: the predictions agree with {name} only if their classes are in another order "
                        f"({_listed(names)}): write each class the same way in all files, or add --keep-class-order "
                        "(keep_class_order=True) if the order is right"
                    )


def _listed(names: Mapping[str, str]) -> str:
    return some([f"{new} for {old}" for old, new in names.items()])


def closed_up(label: np.ndarray, predicted: np.ndarray) -> dict[str, str]:
    """Map labels that seem to be numbered without gaps to the classes that they stand for, in the same order.

    The map is empty if the labels seem to be right, if there are classes without images between them, or if no
    predicted class lacks images.

    Examples
    --------
    >>> label = np.repeat([0, 1, 2], 10)
    >>> closed_up(label, np.array([0, 2, 3])[label])
    {'1': '2', '2': '3'}
    >>> closed_up(label, label)
    {}
    """
    classes, matches = _matches(label, predicted)
    own = matches["own"].to_numpy()
    if len(classes) == len(own) or own[-1] - own[0] >= len(own):
        return {}
    chain = matches.iloc[_heaviest_increasing(matches["other"].to_numpy(), matches["agreeing"].to_numpy())]
    moved = chain[chain["own"] != chain["other"]]
    return _named(classes, moved["own"], moved["other"]) if _are_clear(moved.sum()) else {}


def permuted(reference: np.ndarray, predicted: np.ndarray) -> dict[str, str]:
    """Map predicted classes to the reference classes that they stand for; empty if the order seems to be right.

    Classes are in another order if each is predicted as the next one in a circle, or in a row whose last one is never a
    reference class. A single class that is predicted as another one may have been lost instead.

    Examples
    --------
    >>> label = np.repeat([0, 1], 10)
    >>> permuted(label, 1 - label)
    {'0': '1', '1': '0'}
    >>> permuted(label + 1, label)  # the predictions count from 0
    {'0': '1', '1': '2'}
    >>> permuted(label, np.zeros(20, int))
    {}
    """
    classes, matches = _matches(reference, predicted)
    is_clear = _are_clear(matches) | (matches["own"] == matches["other"])
    known = matches[is_clear].sort_values("agreeing", kind="stable").drop_duplicates("other", keep="last")
    moved = known[known["own"] != known["other"]].sort_values("other")
    while not (is_closed := moved["other"].isin(moved["own"]) | ~moved["other"].isin(matches["own"])).all():
        moved = moved[is_closed]
    linked = moved[moved["other"].isin(moved["own"]) | moved["own"].isin(moved["other"])]
    return _named(classes, linked["other"], linked["own"])


def _matches(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the sorted classes, and the class that is predicted most often for each reference class.

    The columns are indices of the reference class (`own`) and of the predicted class (`other`), the images of the
    reference class (`images`), and how many of them are predicted as the other class (`agreeing`) and as their own
    (`right`).
    """
    classes, index = np.unique(np.concatenate([reference, predicted]), return_inverse=True)
    own, other = np.split(index, 2)
    pairs, counts = np.unique(own * len(classes) + other, return_counts=True)
    cells = pd.DataFrame({"own": pairs // len(classes), "other": pairs % len(classes), "agreeing": counts})
    matches = cells.sort_values("agreeing", ascending=False, kind="stable").drop_duplicates("own").sort_values("own")
    images, right = (np.bincount(each, minlength=len(classes)) for each in (own, own[own == other]))
    return classes, matches.assign(images=images[matches["own"]], right=right[matches["own"]])


def _are_clear(matches: pd.Series | pd.DataFrame) -> bool | pd.Series:
    """Return whether classes, each or all together, clearly agree with the others instead of themselves."""
    agreeing = matches["agreeing"]
    return (
        (agreeing >= _FEWEST_IMAGES)
        & (agreeing > _FEWEST_AFTER * matches["images"])
        & (matches["right"] <= _MOST_BEFORE * agreeing)
    )


def _heaviest_increasing(values: np.ndarray, weights: np.ndarray) -> list[int]:
    """Return the places of the strictly increasing subsequence of values with the largest sum of weights."""
    totals, previous = weights.copy(), np.full(len(values), -1)
    for place in range(1, len(values)):
        before = np.where(values[:place] < values[place], totals[:place], 0)
        if before.any():
            previous[place] = before.argmax()
            totals[place] += before.max()
    chain = [int(totals.argmax())]
    while previous[chain[-1]] >= 0:
        chain.append(int(previous[chain[-1]]))
    return chain[::-1]


def _named(classes: np.ndarray, old: pd.Series, new: pd.Series) -> dict[str, str]:
    names = (classes[each].astype(str).tolist() for each in (old, new))
    return dict(zip(*names, strict=True))
