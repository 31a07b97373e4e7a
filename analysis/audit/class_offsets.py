"""Class offsets fitted to stored logits, and their effect on images that they were not fitted on."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.audit import logit_files
from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.points import points
from analysis.common.printable import printable, shortened
from analysis.rendering.formats import decimals, with_interval
from analysis.statistics import class_offsets, losses
from analysis.statistics.hypothesis_tests import wilson_interval

BEFORE, AFTER, WITH_OFFSETS = "before", "after", "with offsets"
_LOSS, _RECALL, _ACCURACY = "largest loss", "weakest recall", "accuracy"
_READING = (
    "Recalls and accuracies are in %; losses of a class's recall since the network before are in points. With another\n"
    "seed other classes may lose, so prune many seeds with --class-offsets."
)


class ClassOffsets(NamedTuple):
    """Class offsets and their effect.

    Attributes
    ----------
    table : DataFrame, a row for each class
        As `statistics.class_offsets.table` returns it: class, index, offset, excess, error, reliability, excess_fitted,
        excess_held_out, images.
    effect : DataFrame
        Effect on images that the offsets were not fitted on. Columns: measure (largest loss of a class's recall since
        the network before, weakest recall, accuracy), network (before, after, with offsets), class, value, and the ends
        of its 95 % interval, low and high. Values are shares.
    accuracy_change, accuracy_change_low, accuracy_change_high : float
        Change of accuracy through the offsets on the images of `effect`, with the ends of its 95 % interval.
    images : int
        Number of images that the effect is measured on.
    tested : bool
        Whether the effect is measured on separate test images. If not, it is measured on the images of the fit, with
        cross-fitted offsets.
    """

    table: pd.DataFrame
    effect: pd.DataFrame
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    images: int
    tested: bool

    @property
    def offsets(self) -> np.ndarray:
        """The offsets, (classes,)."""
        return self.table["offset"].to_numpy()

    @property
    def verdict(self) -> str:
        """A sentence on how the offsets change the largest loss of a class and the accuracy."""
        if not self.table["excess"].any():
            return "No class changed differently from the accuracy: all offsets are 0."
        if not self.offsets.any():
            return (
                "All offsets are 0: classes changed differently from the accuracy only by noise, or no offsets undo "
                "these changes."
            )
        largest = self.effect[self.effect["measure"] == _LOSS].set_index("network")
        before, after = (
            f"{points(largest['value'][name])} points ({printable(largest['class'][name])})"
            for name in (AFTER, WITH_OFFSETS)
        )
        ends = self.accuracy_change, self.accuracy_change_low, self.accuracy_change_high
        value, low, high = (100 * each for each in ends)
        change = with_interval(value, low, high, decimals(1, sign=True))
        return (
            f"Offsets change the largest loss of a class from {before} to {after}, and the accuracy by {change} points."
        )

    def __str__(self) -> str:
        """Return the text that the command `offsets` prints."""
        return summary(self)

    def _repr_html_(self) -> str:
        return f"<p>{self.verdict}</p>{printed(self).to_html()}<p>{_READING}</p>{self.table.to_html(index=False)}"


def fit_files(
    before: Path,
    after: Path,
    test_before: Path | None = None,
    test_after: Path | None = None,
    *,
    shrinkage: float = 1.0,
    max_data_gib: float = 1.0,
) -> ClassOffsets:
    """Fit class offsets to stored logits.

    Parameters
    ----------
    before, after : Path
        Files in the format of `logit_files.read`.
    test_before, test_after : Path, optional
        Files of the same networks' logits for other images, on which the effect is measured.
    shrinkage : float, >= 0
    max_data_gib : float
        Largest memory, in GiB, for the arrays of one file.

    Raises
    ------
    StudyError
        If a file is damaged or too large, if the files are not of the same images, or for the reasons given in
        `fit_class_offsets`.
    """
    limit = SizeLimit(max_data_gib, "max_data_gib")
    if (test_before is None) != (test_after is None):
        missing = "test_before" if test_before is None else "test_after"
        raise StudyError("test images need the logits of both networks", option=missing)
    first, second = logit_files.read_pair(before, after, limit)
    test = None
    if test_before and test_after:
        test_first, test_second = logit_files.read_pair(test_before, test_after, limit)
        if test_first.values.shape[1] != first.values.shape[1]:
            raise StudyError(
                f"{test_before} has logits of {test_first.values.shape[1]:,} classes, but {before} has "
                f"{first.values.shape[1]:,}: give logits of the same networks"
            )
        for each, test_logits in itertools.product((first, second), (test_first, test_second)):
            logit_files.check_names(each, test_logits)
        test = test_first.label, test_first.values, test_second.values
    names = first.class_names or second.class_names
    return fit_class_offsets(first.label, first.values, second.values, test, class_names=names, shrinkage=shrinkage)


def fit_class_offsets(
    label: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    test: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    shrinkage: float = 1.0,
) -> ClassOffsets:
    """Fit one logit offset for each class, so that every class loses only as much recall as the network loses accuracy.

    Parameters
    ----------
    label : (images,), integers
        Index of each image's class among the columns. The images should be new to both networks.
    before, after : (images, classes)
        Logits of the network before compression and after it.
    test : tuple of label, before and after, optional
        These arrays for other images, on which the effect is measured. By default the effect is measured on the images
        of the fit by cross-fitting: the offsets for each image are fitted without it.
    class_names : sequence of str, optional
        A name for each class.
    shrinkage : float, >= 0
        Strength of shrinkage toward no offset. With 1, a class whose change is within chance gets almost no offset;
        with 0, every change is corrected in full.

    Returns
    -------
    ClassOffsets
        `.offsets`; `.table`, a row for each class; `.effect`, the largest loss of a class, the weakest recall and the
        accuracy without and with offsets; `.verdict`, a sentence.

    Raises
    ------
    StudyError
        If the arrays do not fit each other, or if a class has too few images.

    Examples
    --------
    Compression raised the logits of class 0 by 0.5:

    >>> import numpy as np
    >>> from analysis import fit_class_offsets
    >>> label = np.repeat([0, 1], 500)
    >>> before = np.eye(2)[label] + np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = fit_class_offsets(label, before, before + [0.5, 0], class_names=["cat", "dog"])
    >>> found.offsets.round(1).tolist()
    [-0.2, 0.2]
    """
    label, before, after = class_offsets.as_arrays((label, before, after))
    class_names = None if class_names is None else list(class_names)
    class_offsets.check(before, after, label, class_names)
    names = [str(each) for each in (class_names if class_names is not None else range(before.shape[1]))]
    if not 0 <= shrinkage < np.inf:
        raise StudyError(f"shrinkage is {shrinkage}: give a number of 0 or more", option="shrinkage")
    test_arrays = None if test is None else _test_arrays(test, names)
    table = class_offsets.table(before, after, label, names, shrinkage=shrinkage)
    if test_arrays is None:
        adjusted = class_offsets.held_out(before, after, label, shrinkage=shrinkage)
    else:
        label, before, after = test_arrays
        adjusted = after + table["offset"].to_numpy(after.dtype)
    right = {
        name: (logits.argmax(1) == label)[np.newaxis]
        for name, logits in ((BEFORE, before), (AFTER, after), (WITH_OFFSETS, adjusted))
    }
    gain = losses.between(np.zeros_like(label), right[WITH_OFFSETS], right[AFTER])
    low, high = gain.interval()[:, 0].tolist()
    return ClassOffsets(
        table,
        _effect(names, label, right),
        gain.value.item(),
        low,
        high,
        images=len(label),
        tested=test_arrays is not None,
    )


def _test_arrays(test: Sequence[ArrayLike], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return label, before and after of the test images, and check that each class has an image."""
    if len(test) != 3:
        raise StudyError(f"test has {len(test)} arrays: give three, the label, before and after of the test images")
    label, before, after = class_offsets.as_arrays(test)
    class_offsets.check_arrays(before, after, label)
    if before.shape[1] != len(names):
        raise StudyError(
            f"the test logits have {before.shape[1]:,} classes, but the other logits {len(names):,}: give logits of "
            "the same networks"
        )
    support = np.bincount(label, minlength=len(names))
    if not support.all():
        missing = shortened(names[int(support.argmin())])
        raise StudyError(f"no test image is of class {missing}: give at least one of each class")
    return label, before, after


def _effect(names: Sequence[str], label: np.ndarray, right: dict[str, np.ndarray]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    images = np.bincount(label)
    for network, answers in right.items():
        if network != BEFORE:
            lost = losses.between(label, right[BEFORE], answers)
            worst = int(lost.value.argmax())
            rows.append((_LOSS, network, names[worst], lost.value[worst], *lost.interval()[:, worst]))
        recognised = np.bincount(label, answers[0])
        place = int((recognised / images).argmin())
        rows += [
            (_RECALL, network, names[place], *_share(recognised[place], images[place])),
            (_ACCURACY, network, "", *_share(answers.sum(), answers.size)),
        ]
    return pd.DataFrame(rows, columns=["measure", "network", "class", "value", "low", "high"])


def _share(right: int, images: int) -> tuple[float, float, float]:
    low, high = wilson_interval(right, images)
    return right / images, float(low), float(high)


def printed(result: ClassOffsets) -> pd.DataFrame:
    """Return the effect as a table of strings, in % and points, with a row per measure and a column per network."""
    cells = {
        (row["measure"], row["network"]): " ".join(
            filter(None, [with_interval(row["value"], row["low"], row["high"], points), printable(row["class"])])
        )
        for row in result.effect.to_dict("records")
    }
    return pd.DataFrame(
        {name: [cells.get((measure, name), "") for measure in _MEASURES] for name in (BEFORE, AFTER, WITH_OFFSETS)},
        index=list(_MEASURES),
    )


_MEASURES = (_LOSS, _RECALL, _ACCURACY)


def summary(result: ClassOffsets) -> str:
    """Return the verdict and the effect on images that the offsets were not fitted on, formatted for a terminal."""
    images = "test images" if result.tested else "images, each with offsets that were fitted on other images"
    with pd.option_context("display.width", 200, "display.max_colwidth", None):
        table = printed(result).to_string()
    return f"{result.verdict}\n\nOn {result.images:,} {images}, with 95 % intervals:\n\n{table}\n\n{_READING}\n"


def write(result: ClassOffsets, path: Path) -> None:
    """Write `result.table` as CSV.

    Raises
    ------
    StudyError
        If the file cannot be written.
    """
    with files.one_aside(path) as scratch:
        csv_text.write(result.table, scratch)
