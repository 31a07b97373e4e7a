"""Rank classes and images by risk scores of dense networks; if there are pruned networks, judge the scores by them."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.audit import confidences, copies
from analysis.audit.audit import read_sides
from analysis.audit.prediction_columns import USUAL, ColumnNames
from analysis.common import csv_text, files
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import printable
from analysis.common.text_tables import opened_table
from analysis.rendering.formats import decimals, p_value, with_interval
from analysis.runs.checks import some
from analysis.statistics.intensification import networks_at_chance
from analysis.statistics.modal_labels import FEWEST
from analysis.statistics.proportion import expected_losses
from analysis.statistics.risk_judgement import CLASSES, EXEMPLARS, Networks, judge
from analysis.statistics.risk_scores import RECALL, class_scores, combined, image_scores

FILES = ("risk_classes.csv", "risk_images.csv")
JUDGEMENT = "risk_judged.csv"
_MOST_ROWS = 20
_LARGEST_TABLE = SizeLimit(2**-4)
# Scores are computed from two networks or more, because one has no disagreement, and judged by two or more others,
# because one has no interval.
_FEWEST_JUDGED = 4
_CLASS, _TRAINING_IMAGES = "class", "training_images"
_EXPECTED = "expected_loss"


class Risk(NamedTuple):
    """Risk scores of each class and image, computed from dense networks.

    Attributes
    ----------
    classes : DataFrame, one row per class that has test images, the riskiest first
        rank, class, images (test images), and its scores: recall, share, confidence, margin, entropy, disagreement.
        expected_loss: the recall that the class loses if all errors grow by one factor (`proportion.expected_losses`),
        at most its recall.
    images : DataFrame, one row per test image, the riskiest first
        rank, index (position among the test images, from 0), label, and its scores.
    judgement : DataFrame
        As `risk_judgement.judge` returns it; empty without compressed networks.
    notes : list of str
    accuracy_loss : float
        Assumed loss of accuracy through pruning, in points, for `expected_loss`.
    """

    classes: pd.DataFrame
    images: pd.DataFrame
    judgement: pd.DataFrame
    notes: list[str]
    accuracy_loss: float


def risk(
    before: Sequence[str],
    after: Sequence[str] = (),
    control: Sequence[str] = (),
    *,
    training_images: Path | None = None,
    accuracy_loss: float = 1.0,
    max_data_gib: float = 1.0,
    pair_by_order: bool = False,
    columns: ColumnNames = USUAL,
) -> Risk:
    """Score classes and images by dense networks, and judge the scores by compressed ones.

    Parameters
    ----------
    before, after, control : sequence of str
        As for `audit.audit`. If `after` is given, the scores from one half of the networks are judged by the other
        half.
    training_images : Path, optional
        CSV file with the columns `class` and `training_images`, such as a run's `class_characteristics.csv`.
    accuracy_loss : float
        Assumed loss of accuracy through pruning, in points, from which the expected loss of each class follows.
    max_data_gib, pair_by_order, columns
        As for `audit.audit`.

    Raises
    ------
    StudyError
        If confidences are missing in some files or are not probabilities, if networks are too few or not in pairs, or
        for the reasons given in `audit.audit`.
    """
    limit = SizeLimit(max_data_gib, "max_data_gib")
    sides = {"before": before, "after": after, "control": control}
    with tempfile.TemporaryDirectory() as downloads:
        read = read_sides(sides, Path(downloads), limit, pair_by_order, columns)
        paths = list(read.networks_by_path["before"])
        certainty = confidences.read(paths, read.networks["before"], limit, read.orders)
    names = np.unique(read.label)
    shares = _training_shares(training_images, names.astype(str).tolist()) if training_images else None
    result = of_predictions(
        read.label,
        {side: each for side, each in read.networks.items() if len(each)},
        certainty.values,
        shares,
        accuracy_loss,
    )
    result.notes.extend([*read.notes, *certainty.notes])
    left_out = [certainty.left_out] if certainty.left_out else []
    if "disagreement" not in result.classes:
        left_out.append("no disagreement, which needs two networks")
    if training_images is None:
        left_out.append("no share of training images: give --training-images")
    if left_out:
        result.notes.append(f"Some scores are missing: {'; '.join(left_out)}.")
    return result


def of_predictions(
    label: np.ndarray,
    networks: Mapping[str, np.ndarray],
    uncertainties: Mapping[str, np.ndarray],
    shares: np.ndarray | None = None,
    accuracy_loss: float = 1.0,
) -> Risk:
    """Score classes and images, and judge the scores if `networks` has `after`.

    Parameters
    ----------
    label : (images,), text or integers
    networks : mapping of str to (networks, images)
        Classes that the networks predict, by the side: before, and perhaps after and control.
    uncertainties : mapping of str to (networks, images)
        Uncertainty scores from the networks of `before`, as in `confidences.Uncertainties.values`.
    shares : (labels,), optional
        Each class's share of all training images, for the classes with test images, in the order of the sorted labels.
    accuracy_loss : float
        As for `risk`.

    Raises
    ------
    StudyError
        If all networks of `before` are at chance, or if those of `after` are too few or not as many as those of
        `before`.
    """
    _check_equal_counts({side: len(each) for side, each in networks.items()})
    networks, places, copied = copies.without_copies(label, networks)
    if "after" in networks and len(networks["before"]) < len(networks["after"]):
        raise StudyError(
            "risk needs pairs of networks, but all networks before are copies of one network", option="before"
        )
    _check_enough(len(networks.get("after", networks["before"])), "after" in networks, copied)
    uncertainties = {name: values[places["before"]] for name, values in uncertainties.items()}
    classes = np.unique(np.concatenate([label, *(each.ravel() for each in networks.values())]))
    class_index = np.searchsorted(classes, label)
    indices = {side: np.searchsorted(classes, each) for side, each in networks.items()}
    notes = [*copied, *_at_chance(class_index, indices)]
    support = np.bincount(class_index, minlength=len(classes))
    if untested := classes[support == 0].astype(str).tolist():
        notes.append(f"Predicted classes without a test image, which are not scored: {some(untested)}.")
    of_classes = None
    if shares is not None:
        of_classes = np.zeros(len(classes))
        of_classes[support > 0] = shares
    scores = image_scores(class_index, indices["before"], uncertainties)
    by_class = class_scores(scores, class_index, len(classes), of_classes)
    judgement = pd.DataFrame()
    if "after" in indices:
        judgement = _judge(class_index, indices, uncertainties, len(classes), of_classes)
        notes += _judging_notes(len(indices["after"]), judgement)
    expected = np.minimum(
        expected_losses(by_class[RECALL], scores[RECALL].mean(), accuracy_loss / 100), by_class[RECALL]
    )
    table = pd.DataFrame({_CLASS: classes.astype(str), "images": support, **by_class, _EXPECTED: expected})
    per_image = pd.DataFrame({"index": np.arange(len(label)), "label": label, **scores})
    ranked = _ranked(table, combined(by_class))
    per_image_ranked = _ranked(per_image, combined(scores))
    return Risk(ranked[ranked["images"] > 0], per_image_ranked, judgement, notes, accuracy_loss)


def _check_equal_counts(counts: Mapping[str, int]) -> None:
    """Raise a StudyError if sides differ in their numbers of networks, or if there is a control but no `after`."""
    if "after" not in counts:
        if "control" in counts:
            raise StudyError("a control alone cannot judge scores: give --after too", option="control")
        return
    if len(set(counts.values())) > 1:
        counts_of_sides = ", ".join(f"{count} {side}" for side, count in counts.items())
        raise StudyError(
            f"risk needs pairs of networks, but has {counts_of_sides}: give the same number of files on each side",
            option="after",
        )


def _check_enough(networks: int, is_judged: bool, copied: Sequence[str]) -> None:
    """Raise a StudyError if the pairs of networks are too few to judge scores."""
    if is_judged and networks < _FEWEST_JUDGED:
        why = f". {copied[0]}" if copied else ""
        raise StudyError(
            f"risk judges the scores of half of the networks by the other half, but there are only {networks} on each "
            f"side: give {_FEWEST_JUDGED} or more, or --before alone{why}",
            option="after",
        )


def _at_chance(label: np.ndarray, indices: Mapping[str, np.ndarray]) -> list[str]:
    """Return a note on the networks at chance, and raise a StudyError if all networks of `before` are at chance."""
    guesses = {side: networks_at_chance(label, each == label) for side, each in indices.items()}
    if guesses["before"].all():
        n = len(guesses["before"])
        are = f"all {n} networks before are at chance, so their" if n > 1 else "the network before is at chance, so its"
        raise StudyError(f"{are} scores predict nothing: give trained networks", option="before")
    counts = [f"{each.sum()} of {len(each)} {side}" for side, each in guesses.items() if each.any()]
    return [f"Networks at chance, which are included like the others: {', '.join(counts)}."] if counts else []


def _judge(
    label: np.ndarray,
    indices: Mapping[str, np.ndarray],
    uncertainties: Mapping[str, np.ndarray],
    classes: int,
    shares: np.ndarray | None,
) -> pd.DataFrame:
    """Compute scores from the first half of the networks, and judge them by the second half."""
    half = len(indices["after"]) // 2
    first, second = (
        Networks(**{side: each[part] for side, each in indices.items()}) for part in (slice(half), slice(half, None))
    )
    scores = image_scores(label, first.before, {name: values[:half] for name, values in uncertainties.items()})
    return judge(class_scores(scores, label, classes, shares), scores, label, second, first)


def _judging_notes(networks: int, judgement: pd.DataFrame) -> list[str]:
    half = networks // 2
    notes = [f"Scores of the first {half} networks are judged by the other {networks - half}."]
    if EXEMPLARS not in set(judgement["outcome"]):
        notes.append(f"PIEs are left out, because they need {FEWEST} networks in each half: give {2 * FEWEST} or more.")
    return notes


def _ranked(table: pd.DataFrame, risk: np.ndarray) -> pd.DataFrame:
    """Return a table with its riskiest rows first, and their ranks."""
    place = (-pd.Series(risk)).rank(method="min")
    ranked = table.assign(rank=place).sort_values("rank", kind="stable", ignore_index=True)
    return ranked[["rank", *table.columns]].astype({"rank": "Int64"})


def _training_shares(path: Path, names: Sequence[str]) -> np.ndarray:
    """Return the share of each named class among the training images of all classes in the table."""
    with opened_table(path, _LARGEST_TABLE, option="training_images") as (header, rows):
        try:
            places = [header.index(name) for name in (_CLASS, _TRAINING_IMAGES)]
            cells = [[row[place].strip() for place in places] for _, row in rows]
            counts = pd.Series([float(count) for _, count in cells], [csv_text.unquoted(name) for name, _ in cells])
        except ValueError as error:
            raise StudyError(
                f"{path}: give a table with the columns {_CLASS} and {_TRAINING_IMAGES}, and a number for each class",
                option="training_images",
            ) from error
    if missing := [name for name in names if name not in counts.index]:
        raise StudyError(f"{path}: no row for the class {printable(missing[0])}", option="training_images")
    if counts.index.has_duplicates or not (np.isfinite(counts) & (counts >= 0)).all() or not counts[names].any():
        raise StudyError(
            f"{path}: {_TRAINING_IMAGES} must be one number for each class, 0 or more", option="training_images"
        )
    return (counts[names] / counts.sum()).to_numpy()


def summary(result: Risk) -> str:
    """Return the tables and notes as text."""
    table = result.classes.head(_MOST_ROWS)
    scores = [name for name in table if name not in ("rank", _CLASS, "images", _EXPECTED)]
    shown = table.assign(**{name: table[name].map(decimals(3)) for name in scores})
    shown[_CLASS] = shown[_CLASS].map(printable)
    shown[_EXPECTED] = (100 * table[_EXPECTED]).map(decimals(1))
    shown = shown.rename(columns={_EXPECTED: "expected loss"})
    blocks = [
        f"Classes by their risk, the riskiest first:\n\n{shown.to_string(index=False)}",
        f"Expected loss: points of recall that a class loses if pruning costs {result.accuracy_loss:g} points of "
        "accuracy and multiplies the error of every class by one factor. Errors of networks at "
        "chance do not grow by one factor.",
    ]
    if len(result.classes) > len(table):
        blocks.append(f"And {len(result.classes) - len(table):,} more classes, in {FILES[0]}.")
    if len(result.judgement):
        blocks.append(
            "How well the scores predict losses in networks of other seeds. For classes: the rank correlation with "
            "their losses, and the share of the differences between their losses that the expected losses explain (1 "
            "is all, 0 is no better than equal losses). For images: the AUC (0.5 is chance). The row called "
            "ceiling has scores from compressed networks of other seeds, not from dense "
            f"networks.\n\n{_printable_judgement(result.judgement).to_string(index=False)}"
        )
    return "\n\n".join([*blocks, *result.notes])


def _printable_judgement(judgement: pd.DataFrame) -> pd.DataFrame:
    """Return a table of strings with a row per score, a column per outcome, and p for the class losses."""
    write = decimals(2)
    ends = zip(judgement["value"], judgement["low"], judgement["high"], strict=True)
    cells = judgement.assign(cell=[with_interval(*each, write) for each in ends])
    table = cells.pivot_table("cell", "score", "outcome", aggfunc="first", sort=False).fillna("")
    p = judgement[judgement["outcome"] == CLASSES].set_index("score")["p"].map(p_value)
    table.insert(1, "p", p.reindex(table.index, fill_value=""))
    return table.rename_axis(columns=None).reset_index()


def write(result: Risk, output: Path) -> list[str]:
    """Write the tables into a folder, delete an earlier judgement if there is no new one, and return their names.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    tables = dict(zip(FILES, (result.classes, result.images), strict=True))
    tables |= {JUDGEMENT: result.judgement} if len(result.judgement) else {}
    with files.aside(output, obsolete=[JUDGEMENT]) as folder:
        for name, table in tables.items():
            csv_text.write(table, folder / name)
    return list(tables)
