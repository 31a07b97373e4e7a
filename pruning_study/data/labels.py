"""Check class names and labels, and split labels at random."""

import unicodedata
from collections.abc import Mapping

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import fault_of_name, shortened


def split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split images at random, by class, into a part to keep and a part to hold out.

    Parameters
    ----------
    labels : int64 [N]
        Labels with at least two images of each class.
    fraction : float in (0, 1)
        Share of each class that is held out: at least one image, and never all of them.
    seed : int

    Returns
    -------
    kept, held_out : int64 arrays
        Indices of the images, ascending.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        chosen.append(generator.permutation(members)[:count])
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def thinned(labels: np.ndarray, indices: np.ndarray, shares: Mapping[int, float], seed: int) -> np.ndarray:
    """Leave out random images of some classes.

    A larger share of a class keeps all images that a smaller share keeps.

    Parameters
    ----------
    labels : int64 [N]
    indices : int64 [n]
        Indices of the images to thin out.
    shares : mapping of int to float
        Share of a class's images to keep, from 0 to 1, by label. Classes without a share keep all images.
    seed : int

    Returns
    -------
    int64 [at most n]
        Indices of the images kept, ascending. A class may keep none.
    """
    left_out = [np.empty(0, np.int64)]
    for label, share in shares.items():
        members = indices[labels[indices] == label]
        order = np.random.default_rng([seed, label]).permutation(members)
        left_out.append(order[round(len(members) * share) :])
    return np.setdiff1d(indices, np.concatenate(left_out))


def check_class_names(source: str, classes: tuple[str, ...]) -> None:
    """Check that class names are valid, and that no two are the same; errors name `source`."""
    for name in classes:
        if fault := fault_of_name(name):
            raise StudyError(f"{source}: the class name {shortened(name)} {fault}; rename the class")
    if len({unicodedata.normalize("NFC", name) for name in classes}) < len(classes):
        raise StudyError(f"{source}: two classes have the same name; rename one of them")


def check_labels(where: str, count: int, labels: np.ndarray, classes: tuple[str, ...], *, least: int = 1) -> None:
    """Check that there are `count` labels, that they are valid, and that every class has images.

    Parameters
    ----------
    where : str
        Source and part for the error message, such as `pets.npz: train`.
    count : int
    labels : int64 [N]
    classes : tuple of str
    least : {1, 2}
        Least number of images of each class: 2 if they are split into images to train on and for validation.
    """
    if len(labels) != count:
        raise StudyError(f"{where}_labels has {len(labels):,} entries for {count:,} images")
    outside = (labels < 0) | (labels >= len(classes))
    if outside.any():
        first = int(np.argmax(outside))
        raise StudyError(
            f"{where}_labels holds {labels[first]} at index {first}, outside the {len(classes)} classes (0 to "
            f"{len(classes) - 1})"
        )
    support = np.bincount(labels, minlength=len(classes))
    if not support.all():
        missing = [classes[index] for index in np.flatnonzero(support == 0)]
        raise StudyError(f"{where} data have no image of class {some(missing)}")
    if support.min() < least:
        raise StudyError(
            f"{where} data have 1 image of class {classes[int(support.argmin())]}; it needs 2, one to train on and one "
            "for validation"
        )


def some(names: list[str]) -> str:
    """Join the first five names with commas, and add the number of further names."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
