"""Split changes of recall between two networks into a common shift of the logits and changes of single images."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.audit import logit_files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.points import points
from analysis.common.printable import folded, printable
from analysis.rendering.formats import decimals, with_interval
from analysis.statistics import class_offsets, common_shift


class Movement(NamedTuple):
    """Recall changes of classes between two networks, and the part that a common shift of each class's logit explains.

    Attributes
    ----------
    table : DataFrame, a row for each class
        With several pairs of networks, values are means over pairs. The columns:

        - class, index: name and index
        - shift: change of the class's logit that all images share
        - excess: change of recall minus change of accuracy, negative for a class that loses more than the accuracy
        - excess_left: the excess with the shift undone, on images that the shift was not fitted on
        - images: number of images
    share, share_low, share_high : float
        Share of the squared movement that the shift explains, with its 95 % interval over images. NaN if the movement
        is not shown to exceed the noise of the images.
    movement, movement_left : float
        Root mean square of the classes' excess, corrected for the noise of the images, and the same with the shift
        undone.
    changed, changed_left : float
        Share of the images for which the networks predict different classes, and the same with the shift undone.
    pairs : int
        Number of pairs of networks.
    """

    table: pd.DataFrame
    share: float
    share_low: float
    share_high: float
    movement: float
    movement_left: float
    changed: float
    changed_left: float
    pairs: int = 1

    @property
    def verdict(self) -> str:
        """How much the shift explains, and what undoing it changes, in one or two sentences."""
        if not self.changed:
            return "For every image, the networks predict the same class before and after."
        if np.isnan(self.share):
            return (
                "The changes of recall are not shown to exceed the noise of the images, so no common shift of the "
                "logits is reported."
            )
        share = with_interval(100 * self.share, 100 * self.share_low, 100 * self.share_high, decimals(0))
        return (
            f"A common shift of the logits, one number for each class, explains {share} % of the squared changes of "
            f"the classes' recalls beyond the change of accuracy (root mean square {100 * self.movement:.1f} points); "
            "the rest is due to single images. On images that the shift was not fitted on, undoing it changes "
            f"{_cost(self)}, and the share of images with different predictions from {100 * self.changed:.1f} % to "
            f"{100 * self.changed_left:.1f} %."
        )

    def __str__(self) -> str:
        return f"{folded(self.verdict)}\n\n{self.table.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.verdict}</p>{self.table.to_html(index=False)}"


def diagnose_movement(
    label: ArrayLike, before: ArrayLike, after: ArrayLike, *, class_names: Sequence[str] | None = None
) -> Movement:
    """Estimate the share of recall changes between two networks that a common shift of each class's logit explains.

    The networks may be a dense network and its control, or two seeds. If the learning rate does not decay, training
    ends with a random shift of this kind.

    Parameters
    ----------
    label : (images,), integers
        Index of each image's class among the columns. The images should be new to both networks.
    before, after : (images, classes) or (networks, images, classes)
        Logits of the two networks, or of pairs of networks.
    class_names : sequence of str, optional
        A name for each class.

    Returns
    -------
    Movement
        `.share`, `.share_low` and `.share_high`, the share of the squared movement of recalls that the shift explains,
        with its interval over images; `.table`, a row for each class; `.verdict`, one or two sentences.

    Raises
    ------
    StudyError
        If the arrays do not fit each other, or if a class has too few images.

    Examples
    --------
    The logit of class 0 is 0.5 higher after than before, for all images alike:

    >>> import numpy as np
    >>> from analysis import diagnose_movement
    >>> label = np.repeat([0, 1], 1000)
    >>> before = 1.5 * np.eye(2)[label] + np.random.default_rng(0).normal(size=(2000, 2))
    >>> found = diagnose_movement(label, before, before + [0.5, 0], class_names=["cat", "dog"])
    >>> round(found.share, 2), found.table["shift"].round(2).tolist()
    (1.0, [0.25, -0.25])
    """
    label, before, after = class_offsets.as_arrays((label, before, after))
    class_names = None if class_names is None else list(class_names)
    pairs = [logits if logits.ndim == 3 else logits[np.newaxis] for logits in (before, after)]
    return _diagnose(list(pairs[0]), list(pairs[1]), label, class_names)


def of_files(
    sides: Mapping[str, Sequence[Path]],
    limit: SizeLimit,
    orders: Mapping[Path, np.ndarray],
    unpaired: Collection[str] = (),
) -> tuple[dict[str, Movement], list[str]]:
    """Diagnose the movement from the networks before to the control and to those after, if their files have logits.

    Parameters
    ----------
    sides : mapping of str to sequence of Path
        Prediction files of `before`, `after` and `control`, in pairs; a single file of `before` is paired with all
        others.
    limit : SizeLimit
        Largest memory for the arrays of a file.
    orders : mapping of Path to (images,)
        For each file that lists the images in another order than the first file: the row of each image.
    unpaired : collection of str
        Sides whose networks are not paired with those after.

    Returns
    -------
    movements : dict of str to Movement
        Movements by side. A side is missing if it has no logits, has the same files as `before` or is not paired, or if
        a note says why it cannot be diagnosed.
    notes : list of str
        The diagnosis of each side as text, or the reason why there is none although there are logits.
    """
    movements, notes = {}, []
    for side, when in (("control", "in the control"), ("after", "after")):
        before, after = list(sides["before"]), list(sides[side])
        before = before * len(after) if len(before) == 1 else before
        are_pairs = len(before) == len(after) and before != after and not {"before", side} & {*unpaired}
        if not (after and are_pairs and all(logit_files.has_logits(path, limit) for path in [*before, *after])):
            continue
        try:
            movements[side] = _of_pairs(before, after, limit, orders)
        except StudyError as error:
            notes.append(f"The logits before and {when} are not compared: {error}.")
        else:
            notes.append(f"From the logits before to those {when}: {movements[side].verdict}")
    return movements, notes


def _of_pairs(
    before: Sequence[Path], after: Sequence[Path], limit: SizeLimit, orders: Mapping[Path, np.ndarray]
) -> Movement:
    pairs = [logit_files.read_pair(*paths, limit, orders) for paths in zip(before, after, strict=True)]
    logits = ([first.values for first, _ in pairs], [second.values for _, second in pairs])
    return _diagnose(*logits, pairs[0][0].label, pairs[0][0].class_names)


def _diagnose(
    before: list[np.ndarray], after: list[np.ndarray], label: np.ndarray, class_names: Sequence[str] | None
) -> Movement:
    if not before or len(before) != len(after):
        raise StudyError(f"there are logits of {len(before)} networks before and {len(after)} after: give pairs")
    for pair in zip(before, after, strict=True):
        class_offsets.check_arrays(*pair, label)
    classes = before[0].shape[1]
    if class_names is not None and len(class_names) != classes:
        raise StudyError(f"class_names has {len(class_names):,} names for {classes:,} classes: name every class")
    support = np.bincount(label, minlength=classes)
    common_shift.check_images(support, class_names)
    diagnosis = common_shift.diagnose(before, after, label)
    table = pd.DataFrame(
        {
            "class": [str(each) for each in (class_names if class_names is not None else range(classes))],
            "index": range(classes),
            "shift": diagnosis.value,
            "excess": diagnosis.excess,
            "excess_left": diagnosis.excess_left,
            "images": support,
        }
    )
    movement, movement_left = (max(each / classes, 0) ** 0.5 for each in (diagnosis.movement, diagnosis.movement_left))
    return Movement(
        table,
        diagnosis.share,
        diagnosis.low,
        diagnosis.high,
        movement,
        movement_left,
        diagnosis.changed,
        diagnosis.changed_left,
        len(before),
    )


def _cost(result: Movement) -> str:
    """Say what undoing the shift changes for the class that loses most.

    With several pairs, only the class with the largest mean cost is named. With one pair, two classes are named,
    because another class may lose most once the shift is undone.
    """
    worst, worst_left = (result.table.loc[result.table[column].idxmin()] for column in ("excess", "excess_left"))
    if result.pairs > 1:
        losses = f"from {points(-worst['excess'])} to {points(-worst['excess_left'])} points"
        return f"the mean cost of {printable(worst['class'])}, the largest in these networks, {losses}"
    before, after = (
        f"{points(-row[column])} points ({printable(row['class'])})"
        for column, row in (("excess", worst), ("excess_left", worst_left))
    )
    return f"the chance movement, the loss of the hardest-hit class beyond the accuracy, from {before} to {after}"
