"""Copies of a network under other names, which count as one network, and copies of an image."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError

# Networks that were trained separately hardly ever agree on every image if they are wrong on this many images.
_FEWEST_WRONG = 20
_MOST_COPIES = 10


class Distinct(NamedTuple):
    """Networks without copies.

    Attributes
    ----------
    networks : dict of str to (networks, images)
        Predicted classes of the networks of each side.
    places : dict of str to (networks,)
        Indices of these networks among those given, from 0.
    notes : list of str
        Sentences that name the networks that are copies.
    """

    networks: dict[str, np.ndarray]
    places: dict[str, np.ndarray]
    notes: list[str]


def without_copies(label: np.ndarray, networks: Mapping[str, np.ndarray], unpaired: Collection[str] = ()) -> Distinct:
    """Leave out copies of networks.

    Networks are copies if they predict the same for every image, predict at least two classes, and are wrong on enough
    images. A pair is left out if one of its networks is a copy of a network of an earlier pair. If all networks before
    are copies of one network, this network is paired with all networks after.

    Parameters
    ----------
    label : (images,)
        True class of each image.
    networks : mapping of str to (networks, images)
        Classes that the networks predict, by the side: before, and perhaps after and control.
    unpaired : collection of str
        Sides whose networks are not paired with those after.

    Raises
    ------
    StudyError
        If a network of the control is a copy of one after, and of none before.

    Examples
    --------
    The second network after is a copy of the first:

    >>> label = np.repeat([0, 1], 50)
    >>> before = np.array([np.roll(label, 10), np.roll(label, 20), np.roll(label, 30)])
    >>> after = np.array([np.roll(label, 12), np.roll(label, 12), np.roll(label, 32)])
    >>> distinct = without_copies(label, {"before": before, "after": after})
    >>> {side: places.tolist() for side, places in distinct.places.items()}
    {'before': [0, 2], 'after': [0, 2]}
    >>> distinct.notes
    ['Copies of one network count as one (after 1, 2). Remaining networks: 2 of 3 before, 2 of 3 after.']
    """
    _check_control(label, networks)
    first = {side: _first_alike(label, each) for side, each in networks.items()}
    places = {side: np.arange(len(each)) for side, each in networks.items()}
    copies = {side: _groups(each) for side, each in first.items()}
    if not any(copies.values()):
        return Distinct(dict(networks), places, [])
    shared = _shared(networks, first)
    for sides in _blocks(networks, {*unpaired, *({"before"} & shared)}):
        is_first = [first[side] == places[side] for side in sides if side not in shared]
        kept = np.flatnonzero(np.all(is_first, axis=0)) if is_first else np.zeros(1, int)
        places |= dict.fromkeys(sides, kept)
    named = "; ".join(f"{side} {group}" for side, groups in copies.items() for group in groups)
    counts = ", ".join(f"{len(kept)} of {len(networks[side])} {side}" for side, kept in places.items())
    note = f"Copies of one network count as one ({named}). Remaining networks: {counts}."
    return Distinct({side: networks[side][kept] for side, kept in places.items()}, places, [note])


def repeated_images(class_index: np.ndarray, networks: Mapping[str, np.ndarray]) -> list[str]:
    """Return a warning if each image, or the whole sequence of images, seems to be repeated in successive rows.

    A change of the label from one row to the next does not count as a change of the image, because the images may be
    sorted by class.

    Parameters
    ----------
    class_index : (images,), integers
        The label of each image.
    networks : mapping of str to (networks, images)

    Examples
    --------
    >>> label = np.repeat([0, 1], 60)
    >>> predicted = np.where(np.arange(120) % 4, label, 1 - label)[np.newaxis]
    >>> repeated_images(np.repeat(label, 3), {"before": np.repeat(predicted, 3, axis=1)})[0][:54]
    'The 360 rows look like 3 copies of each of 120 images:'
    """
    rows = [class_index, *(each for side in networks.values() for each in side)]
    images = len(class_index)
    changes = np.any([row[1:] != row[:-1] for row in rows], axis=0)
    copies = int(np.gcd.reduce(np.append(np.flatnonzero(changes) + 1, images)))
    if copies == 1 or np.count_nonzero(changes) - class_index.max() < _FEWEST_WRONG:
        copies = next((each for each in range(_MOST_COPIES, 1, -1) if _is_tiled(rows, each)), 1)
    if copies == 1:
        return []
    return [
        f"The {images:,} rows look like {copies} copies of each of {images // copies:,} images: intervals count every "
        "row as a separate image, so they are too narrow if rows are copies."
    ]


def _is_tiled(rows: Sequence[np.ndarray], copies: int) -> bool:
    """Return whether the whole sequence of images is certainly repeated, `copies` times in all.

    This is certain only if the predictions for enough images differ from those for most images of their class.
    """
    length, rest = divmod(len(rows[0]), copies)
    if rest or not all((row[length:] == row[:-length]).all() for row in rows):
        return False
    table = pd.DataFrame({place: row[:length] for place, row in enumerate(rows)})
    sizes = table.value_counts().groupby(level=0)
    return int((sizes.sum() - sizes.max()).sum()) >= _FEWEST_WRONG


def _check_control(label: np.ndarray, networks: Mapping[str, np.ndarray]) -> None:
    for number, predicted in enumerate(networks.get("control", ()), 1):
        sides = [side for side in ("before", "after") if any((predicted == each).all() for each in networks[side])]
        if sides == ["after"] and _is_telling(label, predicted):
            raise StudyError(
                f"network {number} of the control predicts the same as one after for every image, and none before "
                "does, so the compressed network would be compared with itself: give the uncompressed network, trained "
                "as long as the compressed one",
                option="control",
            )


def _shared(networks: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray]) -> set[str]:
    """Return the sides whose only network is paired with all after: before, and a control that predicts the same."""
    if "after" not in networks or first["before"].any():
        return set()
    return {"before", "control"} if is_unretrained(networks) else {"before"}


def is_unretrained(networks: Mapping[str, np.ndarray]) -> bool:
    """Return whether there is a control whose networks all predict the same as the first network before."""
    control = networks.get("control")
    return control is not None and bool((control == networks["before"][0]).all())


def _blocks(networks: Mapping[str, np.ndarray], alone: set[str]) -> list[list[str]]:
    """Group the sides whose networks are left out together: paired sides form one group, any other side its own."""
    after = len(networks["after"]) if "after" in networks else None
    pairs = [side for side, each in networks.items() if len(each) == after and side not in alone]
    return [each for each in [*([side] for side in networks if side not in pairs), pairs] if each]


def _first_alike(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return, for each network, the index of the first network that it is a copy of, or its own, (networks,)."""
    first: dict[bytes, int] = {}
    return np.array(
        [
            first.setdefault(each.tobytes(), place) if _is_telling(label, each) else place
            for place, each in enumerate(predicted)
        ]
    )


def _is_telling(label: np.ndarray, predicted: np.ndarray) -> bool:
    """Return whether a separately trained network is unlikely to make the same predictions."""
    return bool((predicted != predicted[0]).any() and np.count_nonzero(predicted != label) >= _FEWEST_WRONG)


def _groups(first: np.ndarray) -> list[str]:
    """Return the numbers of the networks in each group of identical ones, counted from 1, as text."""
    return [
        ", ".join(map(str, np.flatnonzero(first == place) + 1))
        for place in np.unique(first)
        if np.count_nonzero(first == place) > 1
    ]
