"""Audit: hand-worked classes, published tests, several seeds, and every file that cannot be audited."""

import csv
import re
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats
from wcwidth import wcswidth

from analysis.audit import audit, prediction_files
from analysis.audit import result as audit_result
from analysis.audit.result import Audit
from analysis.common import printable
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.compare import picture, sentences
from analysis.compare.comparison import row_names
from analysis.rendering.drawing import ABOVE, BELOW
from analysis.statistics.pair_slopes import Slopes
from tests.analysis.rendering.test_markdown_text import parsed
from tests.error_lines import refused

LABEL = np.repeat(["a", "b"], 10)


def predicted(*right: int | slice) -> np.ndarray:
    """Predictions of LABEL that are right about the images at `right` alone."""
    wrong = np.where(LABEL == "a", "b", "a")
    for place in right:
        wrong[place] = LABEL[place]
    return wrong


# Class a: 10 right before, 2 after. Class b: images 10-14 right before, 11-15 after: one lost, one won.
BEFORE, AFTER = predicted(slice(0, 15)), predicted(slice(0, 2), slice(11, 16))
# Of 20 images of two classes, 15 right answers may be guesses: slopes need more images.
MANY, MANY_BEFORE, MANY_AFTER = (
    np.repeat(values, 10) for values in (LABEL, BEFORE, predicted(slice(0, 4), slice(11, 19)))
)


def of_class(result: Audit, name: str) -> pd.Series:
    return result.table.set_index("class").loc[name]


def test_two_classes_by_hand():
    result = audit.audit_predictions(LABEL, BEFORE[np.newaxis], AFTER[np.newaxis])
    a, b = of_class(result, "a"), of_class(result, "b")
    assert (result.accuracy_before, result.accuracy_after) == (0.75, 0.35)
    assert a[["recall_before", "recall_after", "loss"]].tolist() == pytest.approx([1, 0.2, 0.8])
    assert b[["recall_before", "recall_after", "loss"]].tolist() == pytest.approx([0.5, 0.5, 0])
    # Eight images lost and none won, one and one; Holm doubles the smaller.
    assert [a["p"], a["p_holm"]] == pytest.approx([2 / 2**8, 4 / 2**8])
    assert [b["p"], b["p_holm"]] == [1, 1]
    assert (a["damaged"], b["damaged"]) == (True, False)
    assert list(result.table["class"]) == ["a", "b"]
    # Fifteen images are called a before, ten of them rightly; seven after, two of them rightly.
    assert a[["precision_before", "precision_after"]].tolist() == pytest.approx([10 / 15, 2 / 7])
    assert a["f1_loss"] == pytest.approx(20 / 25 - 4 / 17)
    # 200 images, recalls 1, .5 before and .4, .8 after.
    many = audit.audit_predictions(MANY, MANY_BEFORE[np.newaxis], MANY_AFTER[np.newaxis])
    assert many.damaged == ["a"]
    assert re.search(r"a is worse: 100\.0 -> 40\.0 % recall, 60\.0 points lost \(", many.verdict)
    assert "60 of 60 lost images are called b now" in " ".join(many.verdict.split())
    assert "Accuracy 75.0 -> 60.0 %" in many.verdict


def test_slopes_by_hand():
    slopes = audit.audit_predictions(MANY, MANY_BEFORE[np.newaxis], MANY_AFTER[np.newaxis]).slopes
    # Recalls 1, .5 before and .4, .8 after; accuracies .75 and .6: balances 1/4, -1/4 and -.2, .2.
    assert slopes.n == 1
    assert [slopes.raw_slope, slopes.alpha] == pytest.approx([-0.8, -0.8 * 0.75 / 0.6])
    assert [slopes.raw_spread_ratio, slopes.spread_ratio] == pytest.approx([0.8, 1])


def test_identical_networks_have_slopes_of_1_and_no_damage():
    result = audit.audit_predictions(MANY, MANY_BEFORE[np.newaxis], MANY_BEFORE[np.newaxis])
    slopes = result.slopes
    assert [slopes.alpha, slopes.raw_slope, slopes.new.estimate, slopes.raw_new.estimate] == pytest.approx([1] * 4)
    assert not result.damaged
    # Tango's bound without a change: z^2 / (100 + z^2), where z is 1.645, is 2.63.
    assert re.search(r"No class is shown to be worse\. Any may have lost up to 2\.7 points", result.verdict)
    assert "the same images are recognised" in result.verdict
    assert "same to within 5 %" in slopes_of(result)


def test_p_are_corrected_by_holm():
    label = np.repeat(["a", "b", "c"], 20)
    place = np.arange(60) % 20
    after = np.where(place < np.repeat([10, 9, 8], 20), "d", label)
    classes = audit.audit_predictions(label, label[np.newaxis], after[np.newaxis]).table
    assert classes["p_holm"].tolist() == pytest.approx([3 * 2 / 2**10, 2 * 2 / 2**9, 2 / 2**8])


def test_one_image_is_no_proof_however_many_seeds_agree():
    label = np.array(["a", "b", "b", "b"])
    before = np.repeat([label], 8, axis=0)
    after = np.where(label == "a", "b", before)
    row = of_class(audit.audit_predictions(label, before, after), "a")
    # The half-width is z: the loss of 1 and its interval touch 0 where z is 1.
    assert (row["p"], row["damaged"]) == (pytest.approx(2 * stats.norm.sf(1)), False)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_class_of_one_image_leaves_the_intervals_of_the_others(seeds):
    label = np.append(MANY, "c")
    before, after = (np.append(values, "c") for values in (MANY_BEFORE, MANY_AFTER))
    classes = audit.audit_predictions(
        label, np.repeat([before], seeds, axis=0), np.repeat([after], seeds, axis=0)
    ).table
    assert classes.notna().all(axis=None)
    assert classes.set_index("class").loc["c", "loss"] == 0


def test_unequal_counts_are_independent_networks_without_alpha():
    before = np.repeat([BEFORE, predicted(slice(0, 14))], 10, axis=1)
    after = np.repeat([AFTER, predicted(slice(0, 2), slice(12, 17)), predicted(slice(0, 3), slice(10, 20))], 10, axis=1)
    before, after = (np.concatenate([side, np.repeat([MANY], len(side), axis=0)], axis=1) for side in (before, after))
    label = np.append(MANY, MANY)
    result = audit.audit_predictions(label, before, after)
    turned = audit.audit_predictions(label, before, after[::-1])
    np.testing.assert_allclose(result.table["p"], turned.table["p"])
    assert of_class(result, "a")["loss"] == pytest.approx((1 - 7 / 30) / 2)
    assert result.slopes.n == 0
    networks, alpha = result.notes[:2]
    assert re.search("2 networks before and 3 after.*independent", networks)
    assert "Alpha is n/a" in alpha


def test_one_network_after_several_before_is_compared_with_each():
    # Right about class a: 10, 8 and 6 of 10 before, 2 after; about b the same five always.
    before = np.array([predicted(slice(0, right), slice(10, 15)) for right in (10, 8, 6)])
    after = predicted(slice(0, 2), slice(10, 15))
    result = audit.audit_predictions(LABEL, before, after[np.newaxis])
    assert result.slopes == Slopes(0)
    assert re.search("3 networks before and 1 after.*independent", result.notes[0])
    assert of_class(result, "a")["loss"] == pytest.approx(0.6)
    assert result.comparison.losses().singles == []


def test_one_network_before_belongs_to_all_after():
    second = np.repeat(predicted(slice(0, 4), slice(12, 20)), 10)
    result = audit.audit_predictions(MANY, np.array([MANY_BEFORE]), np.array([MANY_AFTER, second]))
    assert result.slopes.n == 2
    assert result.slopes.alpha == pytest.approx(-1)
    (note,) = result.notes
    assert re.search("1 before, 2 after.*all", note)


def test_alpha_is_weighted_where_classes_differ_in_size():
    label = np.repeat(["a", "b"], [400, 600])
    place = np.append(np.arange(400), np.arange(600))
    before, after = (np.where(place < np.repeat(right, [400, 600]), label, "c") for right in ([400, 400], [360, 400]))
    # A = .8, recalls 1, 2/3: b = 1/4, -1/6. A = .76, recalls .9, 2/3: b = 7/38, -7/57.
    slopes = audit.audit_predictions(label, before[np.newaxis], after[np.newaxis]).slopes
    slope = (0.4 / 4 * 7 / 38 + 0.6 / 6 * 7 / 57) / (0.4 / 16 + 0.6 / 36)
    assert slopes.weighted == pytest.approx(slope)
    before_only = audit.audit_predictions(label, before[np.newaxis], before[np.newaxis]).slopes
    assert before_only.weighted == pytest.approx(1)


@pytest.mark.usefixtures("blank_picture")
def test_alpha_weighted_and_the_interval_over_networks_stand_beside_alpha(tmp_path):
    label = np.repeat(["a", "b", "c"], [1000, 1000, 2000])
    place = np.concatenate([np.arange(1000), np.arange(1000), np.arange(2000)])
    first, second = (
        np.where(place < np.repeat(right, [1000, 1000, 2000]), label, "d")
        for right in ([1000, 800, 1400], [600, 1000, 1600])
    )
    # A = 4/5; b = 1/4, 0, -1/8. After, the same: both slopes 1; and -1/4, 1/4, 0: alpha -4/5, weighted -2/3.
    result = audit.audit_predictions(label, np.array([first, first]), np.array([first, second]))
    # Student's t of one degree of freedom, 12.71, times the standard error .9.
    said = r"alpha is 0\.10 \(-11\.34 to 11\.54\), 0\.17 .*weighted.* new images"
    audit_result.write(result, tmp_path)
    assert re.search(said, " ".join(audit_result.summary(result).split()))
    assert re.search(said, (tmp_path / "audit.md").read_text())


@pytest.mark.usefixtures("blank_picture")
def test_of_classes_that_are_alike_no_alpha_is_given_and_why_is_said(tmp_path):
    """Of 20 images of each class 17 and 18 are right before, and 17 and 17 after."""
    label, place = np.repeat(["a", "b"], 20), np.tile(np.arange(20), 2)
    before, after = (np.where(place < np.repeat(right, 20), label, "c") for right in ([17, 18], [17, 17]))
    result = audit.audit_predictions(label, before, after, before)
    assert np.isfinite(result.slopes.alpha)
    audit_result.write(result, tmp_path)
    for text in (audit_result.summary(result), (tmp_path / "audit.md").read_text()):
        assert re.search(r"Alpha.* is left out.*\(85\.0 to 90\.0 %\)", " ".join(text.split()))


def test_an_audit_is_printed_as_the_command_prints_it():
    result = audit.audit_predictions(MANY, MANY_BEFORE, MANY_AFTER)
    assert str(result) == audit_result.summary(result)


def test_one_network_has_no_interval_over_networks_and_classes_of_a_size_no_weights():
    said = slopes_of(audit.audit_predictions(MANY, MANY_BEFORE[np.newaxis], MANY_BEFORE[np.newaxis]))
    assert re.search(r"alpha is 1\.00, .*new images", said)
    assert "weighted" not in said


def test_ten_classes_that_lose_ten_points_each_differ_as_before():
    """Alpha is above 1 because the accuracy fell; the differences between recalls are what they were."""
    open_, same = "not shown to have become more or less unequal", "same to within 5 %"
    for images, said in ((1000, open_), (10_000, same)):
        label = np.repeat(np.arange(10), images)
        place = np.tile(np.arange(images), 10)
        right = images * np.arange(800, 980, 19) // 1000
        before, after = (
            np.where(place < np.repeat(count, images), label, -1)[np.newaxis] for count in (right, right - images // 10)
        )
        result = audit.audit_predictions(label, before, after)
        assert result.slopes.alpha == pytest.approx(0.8855 / 0.7855)
        assert result.slopes.raw_slope == pytest.approx(1)
        assert f"{said} (raw slope on new images 1.00" in slopes_of(result)
        assert (result.slopes.unchanged is None) == (images == 1000)
        assert "alpha is 1.13" in slopes_of(result)
        assert "grew" not in slopes_of(result)


def slopes_of(result):
    """The line on slopes."""
    return sentences.on_slopes(result.comparison)


def moved(before, after):
    """What is said of the slopes of three classes of 2,000 images with these recalls."""
    label = np.repeat(["a", "b", "c"], 2000)
    place = np.tile(np.arange(2000), 3) / 2000
    sides = (np.where(place < np.repeat(recall, 2000), label, "z")[np.newaxis] for recall in (before, after))
    return slopes_of(audit.audit_predictions(label, *sides))


def test_what_became_of_the_differences_is_said_of_recalls_and_not_of_alpha():
    assert "The differences between classes grew" in moved((0.9, 0.8, 0.7), (0.9, 0.7, 0.5))
    # Half the differences are left, and half the accuracy: alpha stays 1, the differences shrank.
    shrunk = moved((0.9, 0.8, 0.7), (0.45, 0.4, 0.35))
    assert "The differences between classes shrank (raw slope on new images 0.50" in shrunk
    assert "alpha is 1.00" in shrunk
    # .8 of the differences and .6 of the accuracy: relative to the accuracy they grew, in recall they shrank.
    assert "The differences between classes shrank" in moved((0.9, 0.8, 0.7), (0.56, 0.48, 0.40))


def test_a_class_that_is_never_predicted_makes_differences_grow():
    # The middle class is lost. Balances .1, 0, -.1 become .367, -.533, .167: the raw slope is .02 / .02, the spread
    # (.448 / .02) ** .5.
    lost = moved((0.9, 0.8, 0.7), (0.9, 0.0, 0.7))
    assert re.search(
        r"grew, although weak classes are not shown to have fallen further behind \(raw slope on new images 1\.00 .*, "
        r"spread 4\.74 \(",
        lost,
    )
    # The best class becomes the worst: -.133, .167, -.033 are (.0467 / .02) ** .5 times as large.
    swapped = moved((0.9, 0.8, 0.7), (0.6, 0.9, 0.7))
    assert re.search(r"reversed, .*, and the differences grew \(raw slope .* -0\.51 .*, spread 1\.53 \(", swapped)


def test_a_reversed_order_of_classes_is_not_called_smaller_gaps():
    # Classes change places: the slope is -1, the spread as before.
    assert re.search(
        r"The order of the classes reversed, .* \(raw slope .* -1\.0.*, spread 1\.00 ",
        moved((0.9, 0.8, 0.7), (0.7, 0.8, 0.9)),
    )
    # Balances .1, 0, -.1 become -.05, 0, .05: the slope is -.5, and half of the spread is left.
    halved = moved((0.9, 0.8, 0.7), (0.75, 0.8, 0.85))
    assert re.search(r"reversed, .* and the differences shrank \(raw slope .* -0\.5", halved)
    # Balances .1, 0, -.1 become .01, -.02, .01, whose slope is 0.
    unrelated = moved((0.9, 0.8, 0.7), (0.81, 0.78, 0.81))
    assert "The differences between classes shrank and are not shown to be related to those before (raw" in unrelated


def test_equivalence_is_said_with_the_interval_that_shows_it():
    label = np.repeat(np.arange(10), 10_000)
    place, right = np.tile(np.arange(10_000), 10), np.arange(8000, 9800, 190)
    sides = [np.where(place < np.repeat(count, 10_000), label, -1) for count in (right, right - 1000)]
    result = audit.audit_predictions(label, *sides)
    full, narrower = result.slopes.raw_new, result.slopes.unchanged
    # Both are normal, of one network: 1.645 and 1.96 standard errors.
    ratio = (narrower.high - narrower.low) / (full.high - full.low)
    assert ratio == pytest.approx(stats.norm.isf(0.05) / stats.norm.isf(0.025))
    assert f"1.00, 90 % interval {narrower.low:.2f} to {narrower.high:.2f})" in slopes_of(result)


def ten_classes(*recalls):
    """Predictions for ten classes of 100 images, a network for each list of ten recalls in images.

    The wrong answers of the networks differ, so that none is a copy of another.
    """
    label, image = np.repeat(np.arange(10), 100), np.arange(1000)
    return np.array(
        [
            np.where(image % 100 < np.repeat(right, 100), label, (label + 1 + (image + number) % 9) % 10)
            for number, right in enumerate(recalls)
        ]
    )


TEN = np.repeat(np.arange(10), 100)
GOOD, WORSE, NAMES_ONE = [90, 80] * 5, [80, 70] * 5, [100, *[0] * 9]


def test_a_network_that_guesses_has_no_slopes_and_counts_in_all_else():
    before, after = ten_classes(GOOD, GOOD, GOOD), ten_classes(WORSE, NAMES_ONE, WORSE)
    result = audit.audit_predictions(TEN, before, after)
    # Class 1 has recalls .8 before, and .7, 0, .7 after.
    assert of_class(result, "1")["loss"] == pytest.approx((0.1 + 0.8 + 0.1) / 3)
    assert (result.accuracy_before, result.accuracy_after) == (pytest.approx(0.85), pytest.approx((0.75 * 2 + 0.1) / 3))
    assert result.slopes.n == 2
    assert result.slopes.raw_slope == pytest.approx(1)
    assert result.verdict.count("1 of 3 networks is at chance after compression.") == 1
    assert any("mean recall over classes" in note for note in result.notes)


def test_a_network_at_chance_leaves_the_gate_undecided_unless_a_loss_is_shown():
    good, guesses = ten_classes(GOOD), ten_classes(NAMES_ONE)
    three, other_guesses = ten_classes(GOOD, GOOD, GOOD), ten_classes(GOOD, NAMES_ONE)[1:]
    for before, after, control, state in (
        (good, guesses, None, "beyond"),
        (good, guesses, other_guesses, "beyond"),
        (good, good, guesses, "undecided"),
        (guesses, good, None, "beyond"),  # class 0 loses ten images
        (guesses, guesses, None, "undecided"),
        (three, np.concatenate([three[:2], guesses]), None, "undecided"),
        (np.concatenate([three[:2], guesses]), three, None, "undecided"),
    ):
        result = audit.audit_predictions(TEN, before, after, control)
        assert result.damage_gate.state == state
        assert "at chance" in result.verdict


def test_of_a_network_that_names_one_class_losses_are_said_and_no_slopes():
    good, guesses = ten_classes(GOOD), ten_classes(NAMES_ONE)
    for before, after, said, damaged in (
        (good, guesses, ["The network is at chance after compression."], 9),
        (guesses, good, ["The dense network is at chance."], 1),
        (guesses, guesses, ["The dense network is at chance.", "The network is at chance after compression."], 0),
    ):
        result = audit.audit_predictions(TEN, before, after)
        assert [line.strip() for line in result.verdict.splitlines()[1 : len(said) + 1]] == said
        assert slopes_of(result) == "Alpha means nothing at chance."
        assert (len(result.damaged), result.slopes) == (damaged, Slopes(0))


def test_a_dense_network_without_a_right_image_of_a_class_is_said_first():
    blind = ten_classes([*GOOD[:9], 0])
    result = audit.audit_predictions(TEN, blind, ten_classes([*WORSE[:9], 0]))
    assert result.verdict.splitlines()[1].strip() == "The dense network is weak: no test image of 9 is recognised."
    assert "weak" not in audit.audit_predictions(TEN, ten_classes(GOOD), blind).verdict


def test_a_pair_whose_control_guesses_counts():
    before, after = ten_classes(GOOD, GOOD, GOOD), ten_classes(WORSE, GOOD, WORSE)
    result = audit.audit_predictions(TEN, before, after, ten_classes(GOOD, NAMES_ONE, GOOD))
    # Class 1 of the second pair has recall .8 after and 0 in the control.
    assert of_class(result, "1")["loss_from_control"] == pytest.approx((0.1 - 0.8 + 0.1) / 3)
    assert "1 of 3 networks is at chance in the control." in result.verdict
    assert result.slopes.n == 3


def test_a_rare_class_that_a_detector_loses_is_told():
    """Of 950 and 50 images .955 and .9 are right: fewer than if one said the first class always, and no guess."""
    label = np.repeat(["usual", "rare"], [950, 50])
    networks = [
        np.where(np.concatenate([np.arange(950) < usual, np.arange(50) < rare]), label, "other")
        for usual, rare in ((907, 45), (907, 15))
    ]
    result = audit.audit_predictions(label, networks[0], networks[1])
    assert not result.chance_level.any_at_chance
    assert (result.damaged, of_class(result, "rare")["loss"]) == (["rare"], pytest.approx(0.6))
    assert result.fails


def test_of_networks_that_all_are_at_chance_losses_are_said_and_no_slopes():
    result = audit.audit_predictions(MANY, np.full((2, 200), "a"), np.full((2, 200), "b"))
    assert result.slopes == Slopes(0)
    assert of_class(result, "a")["loss"] == 1
    assert "All 2 dense networks are at chance." in result.verdict
    assert "2 of 2 networks are at chance after compression." in result.verdict


def test_classes_all_alike_have_no_alpha():
    result = audit.audit_predictions(MANY, MANY[np.newaxis], MANY_AFTER[np.newaxis])
    assert "n/a for 1 of 1 pairs" in result.notes[-1]


def test_nothing_right_after_has_no_alpha():
    wrong = np.where(LABEL == "a", "b", "a")
    result = audit.audit_predictions(LABEL, BEFORE[np.newaxis], wrong[np.newaxis], keep_class_order=True)
    assert result.slopes.n == 0
    assert result.table.notna().all(axis=None)


def test_a_class_without_an_image_is_named():
    after = np.where(AFTER == LABEL, AFTER, "c")
    result = audit.audit_predictions(LABEL, BEFORE[np.newaxis], after[np.newaxis])
    assert list(result.table["class"]) == ["a", "b"]
    note = result.notes[0]
    assert re.search(r"without a test image.*\bc\b", note)


def test_a_class_never_predicted_has_recall_0():
    result = audit.audit_predictions(LABEL, BEFORE[np.newaxis], np.full((1, 20), "b"))
    assert of_class(result, "a")["recall_after"] == 0
    assert of_class(result, "b")["recall_after"] == 1


def test_labels_and_predictions_must_be_of_the_same_names():
    with pytest.raises(StudyError, match=r"labels: a, b; predicted: 0"):
        audit.audit_predictions(LABEL, BEFORE[np.newaxis], np.full((1, 20), "0"))


def test_renaming_classes_changes_nothing():
    names = {"a": "zebra", "b": "ant"}
    renamed = [np.vectorize(names.get)(values) for values in (LABEL, BEFORE, AFTER)]
    one = audit.audit_predictions(LABEL, BEFORE[np.newaxis], AFTER[np.newaxis])
    other = audit.audit_predictions(renamed[0], renamed[1][np.newaxis], renamed[2][np.newaxis])
    np.testing.assert_allclose(one.table.iloc[:, 1:].astype(float), other.table.iloc[:, 1:].astype(float))


def csv_of(path: Path, label, predicted_) -> str:
    pd.DataFrame({"label": label, "predicted": predicted_}).to_csv(path, index=False)
    return str(path)


def test_csv_and_npz_of_the_same_numbers_are_the_same(tmp_path):
    label, right = np.arange(12), np.arange(12)
    before = csv_of(tmp_path / "before.csv", label.astype(float), right)
    np.savez(tmp_path / "after.npz", label=label, predicted=np.where(label == 3, 2, right))
    result = audit.audit([before], [str(tmp_path / "after.npz")])
    # Numbers are sorted as such: 10 after 9; class 3 alone lost, and is worst.
    assert list(result.table["class"]) == ["3", "0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11"]
    assert result.table["loss"].tolist() == [1] + [0] * 11


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["9007199254740992", "9007199254740993", "-1"], ["-1", "9007199254740992", "9007199254740993"]),
        (["1e5", "100000", "7"], ["100000", "1e5", "7"]),
        (["10.", "9.00", "-1"], ["-1", "9", "10"]),
        (
            ["100000000000000000000", "100000000000000000001", "9"],
            ["100000000000000000000", "100000000000000000001", "9"],
        ),
    ],
)
def test_only_whole_numbers_are_numbers_and_none_become_one_class(tmp_path, names, classes):
    path = csv_of(tmp_path / "a.csv", names, names)
    assert list(audit.audit([path], [csv_of(tmp_path / "b.csv", names, names)]).table["class"]) == classes


def test_labels_that_are_the_same_number_are_names(tmp_path):
    label = ["1", "01", "2", "2"]
    before = csv_of(tmp_path / "before.csv", label, label)
    after = csv_of(tmp_path / "after.csv", label, ["01", "01", "2", "2"])
    table = audit.audit([before], [after]).table.set_index("class")
    assert table["loss"].to_dict() == {"1": 1, "01": 0, "2": 0}


def test_a_prediction_that_writes_a_label_otherwise_is_refused_with_both_names(tmp_path):
    before = csv_of(tmp_path / "before.csv", ["1", "2", "2"], ["1", "2", "1"])
    after = csv_of(tmp_path / "after.csv", ["1", "2", "2"], ["01", "2", "2"])
    with pytest.raises(StudyError, match=r"after\.csv has class 01 and .*before\.csv class 1, .* the same number"):
        audit.audit([before], [after])


def npz_of(path: Path, label, predicted_) -> str:
    np.savez(path, label=np.array(label), predicted=np.array(predicted_))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spellings")


SPELLING = st.sampled_from(["{}", "{:02}", "{}.0", " {} ", "{:+}"])
COLUMN = st.lists(st.tuples(st.integers(1, 3), SPELLING), min_size=4, max_size=4)
WRITER = st.sampled_from([(csv_of, "a.csv"), (npz_of, "a.npz")])


@given(COLUMN, COLUMN, WRITER)
@settings(deadline=None)
def test_numbers_in_any_spelling_are_the_plain_ones_or_names_of_their_own_or_refused(folder, label, predicted_, writer):
    write, name = writer
    numbers = [[number for number, _ in column] for column in (label, predicted_)]
    texts = [[spelling.format(number) for number, spelling in column] for column in (label, predicted_)]
    path = Path(write(folder / name, *texts))
    names = [[text.strip() for text in column] for column in texts]
    number_of = dict(zip([*names[0], *names[1]], [*numbers[0], *numbers[1]], strict=True))
    if len({name.removesuffix(".0") for name in number_of}) == len(set(number_of.values())):
        assert read_file(path) == numbers
    elif any(list(number_of.values()).count(number_of[name]) > 1 for name in number_of.keys() - set(names[0])):
        with pytest.raises(StudyError, match="the same number"):
            read_file(path)
    else:
        assert read_file(path) == names


def read_file(path):
    label, predicted, *_ = prediction_files.read([path], SizeLimit(0.01))
    return [label.tolist(), predicted[0].tolist()]


def test_classes_of_a_runs_predictions_have_the_names_of_its_table(tmp_path):
    for name, predicted in (("before", [0, 1, 1]), ("after", [0, 0, 1])):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "predictions.npz", label=np.array([0, 1, 1]), predicted=np.array(predicted))
    files = [str(tmp_path / name / "predictions.npz") for name in ("before", "after")]
    assert audit.audit(files[:1], files[1:]).table["class"].tolist() == ["1", "0"]
    (tmp_path / "before" / "per_class.csv").write_text("class,index,recall\nnone,1,1\nT-shirt/top,0,1\n")
    assert audit.audit(files[:1], files[1:]).table["class"].tolist() == ["none", "T-shirt/top"]
    (tmp_path / "before" / "per_class.csv").write_text("class,index\ncat,0\n")
    assert audit.audit(files[:1], files[1:]).table["class"].tolist() == ["1", "0"]


def test_whole_floats_of_an_npz_are_integers(tmp_path):
    for name, kind in (("before", np.float32), ("after", np.int64)):
        np.savez(tmp_path / f"{name}.npz", label=np.array([9, 10, 1e6], kind), predicted=np.array([9, 10, 1e6], kind))
    result = audit.audit([str(tmp_path / "before.npz")], [str(tmp_path / "after.npz")])
    assert list(result.table["class"]) == ["9", "10", "1000000"]


def test_a_glob_is_sorted_by_name_and_pairs_with_the_files_given_if_the_order_is_insisted_on(tmp_path):
    for name, values in (("d2", MANY_AFTER), ("d1", MANY_BEFORE)):
        csv_of(tmp_path / f"{name}.csv", MANY, values)
    others = [csv_of(tmp_path / f"p{name}.csv", MANY, values) for name, values in ((9, MANY_BEFORE), (1, MANY_AFTER))]
    result = audit.audit([str(tmp_path / "d*.csv")], others, pair_by_order=True)
    assert result.slopes.alpha == pytest.approx(1)
    assert result.notes[:2] == [
        f"Pair 1: before {tmp_path / 'd1.csv'}, after {others[0]}.",
        f"Pair 2: before {tmp_path / 'd2.csv'}, after {others[1]}.",
    ]
    with pytest.raises(StudyError, match=r"matches --before .*d2\.csv; --after .*p9\.csv; .*--pair-by-order"):
        audit.audit([str(tmp_path / "d*.csv")], others)


def test_names_with_commas_byte_order_mark_and_further_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('\ufeffimage, predicted ,label\n1,"top, short","top, short"\n\n2,NA,NA\n', encoding="utf-8")
    result = audit.audit([str(path)], [csv_of(tmp_path / "b.csv", ["top, short", "NA"], ["NA", "NA"])])
    assert list(result.table["class"]) == ["top, short", "NA"]
    assert result.table["recall_after"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column label and no column predicted"),
        ("label,predicted\n", "no image in it"),
        ("label predicted\na b\n", "first line .*label,predicted .*'label predicted'"),
        ("label,predicted\na\n", "line 2: 1 values for 2 columns"),
        ("label,predicted\na,b\nT-shirt, top,a\n", "line 3: 3 values for 2 columns"),
        ("label,predicted\na,a\nb,\n", "image 2 has no label or no predicted"),
        ("label,predicted\nb,b\na,a\n", "image 1 .* b, but a in .*good.csv: .*same order"),
        ("label,predicted\na,a\n", "has 1 images and .*good.csv has 2"),
    ],
)
def test_csv_that_cannot_be_audited(tmp_path, text, message):
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    with pytest.raises(StudyError, match=f"bad.csv.*{message}") as caught:
        audit.audit([csv_of(tmp_path / "good.csv", ["a", "b"], ["a", "a"])], [str(bad)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": [0, 1]}, "no array predicted in it"),
        ({"label": [0, 1], "predicted": [[0.1, 0.9], [0.5, 0.5]]}, r"label has shape \(2,\), predicted \(2, 2\)"),
        ({"label": [0, 1], "predicted": [0, 1, 1]}, r"label has shape \(2,\), predicted \(3,\)"),
        ({"label": [0, 1], "predicted": [0, np.nan]}, "predicted contains nan"),
        ({"label": [0, 1], "predicted": [0, np.inf]}, "predicted contains inf"),
        ({"label": [0, 0.5], "predicted": [0, 1]}, "label contains 0.5"),
        ({"label": [0, 2.0**53], "predicted": [0, 1]}, r"label contains 9007199254740992.0: .*integer type"),
        ({"label": np.array(["a", "b"], dtype=object), "predicted": [0, 1]}, "not a complete .npz file"),
        ({"label": [], "predicted": []}, "no image in it"),
    ],
)
def test_npz_that_cannot_be_audited(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(StudyError, match=f"bad.npz: {message}"):
        audit.audit([csv_of(tmp_path / "good.csv", [0, 1], [0, 0])], [str(tmp_path / "bad.npz")])


def test_a_file_in_another_encoding_or_a_folder_is_named(tmp_path):
    good = csv_of(tmp_path / "good.csv", ["a", "b"], ["a", "a"])
    (tmp_path / "latin.csv").write_bytes("label,predicted\nGr\xfcn,Gr\xfcn\n".encode("latin-1"))
    (tmp_path / "truncated.npz").write_bytes(b"PK\x03\x04 cut off")
    for name in ("latin.csv", "truncated.npz", ""):
        with pytest.raises(StudyError, match=str(tmp_path / name)):
            audit.audit([good], [str(tmp_path / name)])


def test_a_file_is_given_once(tmp_path):
    good = csv_of(tmp_path / "good.csv", ["a", "b"], ["a", "a"])
    with refused("after", "given twice"):
        audit.audit([good], [good, good])


def test_files_are_written_and_nothing_else(tmp_path):
    result = audit.audit_predictions(MANY, MANY_BEFORE[np.newaxis], MANY_AFTER[np.newaxis])
    recalls = ["class", "images", "recall_before", "recall_after"]
    losses = ["loss", "loss_low", "loss_high", "loss_upper_all", "p", "p_holm", "damaged"]
    assert result.table.columns.tolist() == [*recalls, *losses, "precision_before", "precision_after", "f1_loss"]
    for _ in range(2):
        audit_result.write(result, tmp_path / "deep" / "out")
    names = sorted(path.name for path in (tmp_path / "deep" / "out").iterdir())
    assert names == ["audit.csv", "audit.md", "audit.png", "metrics.csv"]
    written = pd.read_csv(tmp_path / "deep" / "out" / "audit.csv")
    pd.testing.assert_frame_equal(written, result.table)
    markdown = (tmp_path / "deep" / "out" / "audit.md").read_text()
    assert [line[:4] for line in markdown.splitlines() if line.startswith("## ")] == ["## 1", "## 2"]
    assert "| a | 100.0 | 40.0 | 60.0 |" in markdown


def test_the_terminal_gets_25_classes_and_the_figure_100():
    label = np.repeat([f"class {index:03}" for index in range(120)], 2)
    result = audit.audit_predictions(label, label[np.newaxis], np.roll(label, 1)[np.newaxis])
    lines = audit_result.summary(result).splitlines()
    assert sum(line.startswith("class ") for line in lines) == 25
    assert "and 95 more classes in audit.csv" in lines
    assert len(picture.figure(result.comparison).axes[0].get_yticklabels()) == 100


def test_an_audit_is_drawn_into_axes_and_the_class_that_lost_most_is_coloured():
    label = np.repeat(["a", "b"], 100)
    after = np.where(np.arange(200) == 150, "a", label)  # one image of b is lost
    result = audit.audit_predictions(label, before=label, after=after, control=label)
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert result.plot(right) is figure
    assert not left.lines
    most = "the class that lost most, no loss shown"
    assert most in [text.get_text() for text in right.get_legend().get_texts()]
    marks = [drawn for drawn in right.collections if isinstance(drawn, PathCollection)]
    looks = [(to_hex(drawn.get_edgecolors()[0]), to_hex(drawn.get_facecolors()[0])) for drawn in marks]
    assert looks == [(ABOVE, "#ffffff"), (BELOW, BELOW)]
    assert len(result.plot().axes) == 1


def test_a_class_name_is_never_read_as_a_formula(tmp_path):
    label = np.repeat(["$5 $_{", "$x$"], 10)
    result = audit.audit_predictions(label, label[np.newaxis], np.roll(label, 1)[np.newaxis])
    audit_result.write(result, tmp_path)
    ticks = picture.figure(result.comparison).axes[0].get_yticklabels()
    assert {tick.get_text(): tick.get_parse_math() for tick in ticks} == {"$5 $_{": False, "$x$": False}


PIECES = [
    *"ab\"'<>/&;#*_`![]()|\\=+-@.~$:\x1b\t\u202e猫\u0301",
    "<script>",
    "](http://a.b)",
    "![x](",
    "1. ",
    "http://a.b",
    "**",
    "\n",
]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(lambda pieces: "".join(pieces).strip())


def audit_of(names, folder):
    """An audit of CSV files, in which each class has ten images of which the last is lost."""
    rows = [name for name in names for _ in range(10)]
    wrong = [names[0] if place % 10 == 9 else name for place, name in enumerate(rows)]
    for file, predicted in (("before.csv", rows), ("after.csv", wrong)):
        with (folder / file).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("label", "predicted"), *zip(rows, predicted, strict=True)])
    return audit.audit([str(folder / "before.csv")], [str(folder / "after.csv")])


@pytest.mark.slow
@pytest.mark.attack
def test_class_names_with_any_markup_in_an_audit__add_no_element_to_its_page_and_no_line_to_the_terminal(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(printable, "COLUMNS", 10**4)  # no sentence is wrapped because its name is long
    plain = audit_of(["a", "b", "c", "d"], tmp_path)
    elements, lines = parsed(audit_result.markdown(plain))[0], audit_result.summary(plain).count("\n")

    @settings(max_examples=60, deadline=None)
    @given(st.lists(NAMES.filter(bool), min_size=4, max_size=4, unique_by=partial(unicodedata.normalize, "NFC")))
    def check(names):
        result = audit_of(names, tmp_path)
        assert set(result.table["class"]) == {unicodedata.normalize("NFC", name) for name in names}
        assert parsed(audit_result.markdown(result))[0] == elements
        assert audit_result.summary(result).count("\n") == lines
        assert audit_result.summary(result).replace("\n", "").isprintable()

    check()


@pytest.mark.attack
@pytest.mark.usefixtures("blank_picture")
def test_a_class_named_as_a_formula_in_an_audit__gets_a_quote_in_its_table(tmp_path):
    audit_result.write(audit_of(["=1+1", "'=x", "-1", "a"], tmp_path), tmp_path / "out")
    with (tmp_path / "out" / "audit.csv").open(newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"'=1+1", "''=x", "-1", "a"}


@pytest.mark.attack
def test_wide_letters_in_a_class_name__leave_the_columns_of_an_audit_aligned(tmp_path):
    lines = audit_result.summary(audit_of(["猫猫", "cats"], tmp_path)).splitlines()
    rows = [line for line in lines if line.split()[:1] in (["猫猫"], ["cats"])]
    assert len(rows) == 2
    assert len({wcswidth(row.rstrip()) for row in rows}) == 1


# A control, groups, names, and what plain arrays may be.


def shirts(lost, won=0):
    """Labels of ten classes of 100 images, 80 of each right, and predictions that lose and win images of class 9."""
    label = np.repeat(np.arange(10), 100)
    right = np.arange(1000) % 100 < 80
    right[900 : 900 + lost] = False
    right[980 : 980 + won] = True
    return label, np.where(right, label, (label + 1) % 10)


def test_a_control_that_lost_as_much_is_said_and_excuses_nothing():
    label, before = shirts(0)
    _, retrained = shirts(20)
    control = np.where(retrained == label, label, (label + 2) % 10)
    result = audit.audit_predictions(label, before, retrained, control=control)
    assert (result.damaged, result.fails) == (["9"], True)
    assert result.table["loss_from_control"].tolist() == [0] * 10
    assert "lost 20.0 of the 20.0 points" in " ".join(result.verdict.split())


def test_a_loss_that_the_control_does_not_have_is_said():
    label, before = shirts(0)
    _, control = shirts(2, won=3)
    _, after = shirts(40)
    result = audit.audit_predictions(label, before, after, control=control)
    assert (result.damaged, result.fails) == (["9"], True)
    worst = result.table.iloc[0]
    assert worst[["recall_before", "recall_after", "recall_control"]].tolist() == pytest.approx([0.8, 0.4, 0.81])
    assert worst[["loss", "loss_from_control"]].tolist() == pytest.approx([0.4, 0.41])
    assert re.search(r"9 is worse: 80\.0 -> 40\.0 % recall, 40\.0 points lost \(", result.verdict)
    assert "9: the control, trained further without pruning, lost nothing of it." in " ".join(result.verdict.split())


def test_networks_of_a_control_are_compared_one_by_one_with_those_after():
    networks = [[shirts(lost)[1] for lost in side] for side in ((0, 0, 0), (16, 25, 20), (6, 15, 10))]
    label = shirts(0)[0]
    worst = audit.audit_predictions(label, *networks).table.iloc[0]
    # Each network loses ten images more than its control.
    assert worst["loss_from_control"] == pytest.approx(0.1)
    alone = audit.audit_predictions(label, networks[2], networks[1]).table.iloc[0]
    assert worst[["loss_from_control_low", "loss_from_control_p"]].tolist() == pytest.approx(
        alone[["loss_low", "p_holm"]].tolist()
    )


def test_without_a_control_one_network_a_side_is_asked_the_first_question_alone():
    label, before = shirts(0)
    for lost in (0, 15, 60):
        result = audit.audit_predictions(label, before, shirts(lost)[1])
        assert result.damaged == (["9"] if lost else [])
        assert result.fails == (lost > 0)
        assert result.accuracy_control is None
        assert "through pruning" not in result.verdict
        assert "No control was given" in result.verdict


def test_several_networks_a_side_need_no_control():
    label, before = shirts(0)
    after = [shirts(lost)[1] for lost in (48, 50, 52)]
    # The same right answers, and other wrong ones.
    dense = [np.where(before == label, label, (label + number) % 10) for number in (1, 2, 3)]
    result = audit.audit_predictions(label, dense, after)
    assert (result.damaged, result.fails) == (["9"], True)
    assert "9 is worse: 80.0 -> 30.0 % recall, 50.0 points lost (" in result.verdict
    assert result.verdict.startswith("1. Networks compressed like these")


def test_one_network_before_is_the_control_of_all_after_if_nothing_was_retrained():
    label, before = shirts(0)
    after = [shirts(lost)[1] for lost in (38, 40, 42)]
    sure = {"before": np.full(1000, 0.9), "after": np.full((3, 1000), 0.9), "control": np.full(1000, 0.9)}
    once = audit.audit_predictions(label, before, after, before, confidences=sure)
    each = audit.audit_predictions(label, before, after, [before] * 3)
    assert once.damaged == ["9"]
    assert "Nothing was retrained" in once.verdict
    pd.testing.assert_frame_equal(once.table, each.table)
    with pytest.raises(StudyError, match="1 network in the control and 3 after"):
        audit.audit_predictions(label, before, after, shirts(1)[1])


def test_a_network_that_predicts_only_a_class_without_images_is_at_chance_if_another_network_predicts_it_too():
    label, before = shirts(0)
    before[0] = 10
    result = audit.audit_predictions(label, before, np.full_like(label, 10), before)
    assert result.table["recall_after"].tolist() == [0] * 10
    assert result.fails
    with pytest.raises(StudyError, match="a network that really predicts only classes without test images cannot"):
        audit.audit_predictions(label, label, np.full_like(label, 10))


def test_classes_have_the_names_that_are_given():
    label, before = shirts(0)
    names = [f"class {number}" for number in range(10)]
    for known in (names, dict(enumerate(names))):
        result = audit.audit_predictions(
            label.astype(object), pd.Series(before), shirts(40)[1].astype(float), before, None, known
        )
        assert result.damaged == ["class 9"]
    with pytest.raises(StudyError, match="class_names has 9 names, but none for label 9"):
        audit.audit_predictions(label, before, before, class_names=names[:9])


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"before": [0, 1]}, r"before has shape \(2,\) for 4 labels"),
        ({"after": [[[0, 1, 0, 1]]]}, r"after has shape \(1, 1, 4\) for 4 labels"),
        ({"control": [[0, 1, 0, 1]] * 2}, "2 networks in the control and 1 after"),
        ({"after": [0.5, 1, 0, 1]}, "after contains 0.5: give the class"),
        ({"label": [None, 1, 0, 1]}, "label has type object"),
        ({"label": []}, r"label has shape \(0,\)"),
        ({"after": ["a", "b", "a", "b"]}, "after: no predicted class is among the labels"),
        (
            {"before": [[0, 1, 0, 1]] * 2, "after": [[0, 1, 0, 1], [2, 3, 2, 3]]},
            r"after, network 2: no predicted class is among the labels \(labels: 0, 1; predicted: 2, 3\)",
        ),
        ({"groups": ["x", "y"]}, r"groups: group has shape \(2,\) for 4 images"),
        ({"groups": {"light": [""] * 4}}, "groups: light names no group"),
        ({"groups": {}}, "groups: no grouping"),
        ({"groups": {"measure:angle": [1, 2, 3, 4]}}, "groups: no grouping"),
        (
            {"groups": {"light": ["x"] * 4, "measure:angle": ["steep"] * 4}},
            "measure:angle, image 0: 'steep' is not a number",
        ),
        (
            {"groups": {"light": ["x"] * 4, "measure:angle": [np.inf] * 4}},
            "measure:angle, image 0: 'inf' is not a number",
        ),
        ({"groups": {"light": ["x"] * 4, "light ": ["x"] * 4}}, "a name of its own"),
        ({"groups": {"": ["x"] * 4}}, "a name of its own"),
        ({"groups": {"index": range(4), "light": ["x"] * 4}}, "index is not a grouping"),
        ({"groups": ["x\0", "x", "y", "y"]}, "groups: group: a name has a NUL"),
        ({"groups": ["x" * 251, "x", "y", "y"]}, "a group has 251 characters"),
        ({"groups": [[1, 2], [3]]}, "groups: group cannot be an array"),
        ({"groups": [np.inf, 1, 1, 2]}, "groups: group contains inf"),
        ({"groups": [2.0**53, 1, 1, 2]}, r"groups: group contains 9007199254740992\.0"),
        ({"groups": [1j, 1, 1, 2]}, "groups: group holds complex128"),
        ({"after": [0, 1, 0, np.inf]}, "after contains inf: give the class of each image as text or a whole number"),
        ({"label": [0, 1, 0, np.nan]}, "label contains nan"),
        ({"after": [0, 1, 0, 2.0**53]}, r"after contains 9007199254740992\.0: .*integer type"),
        ({"after": [0, 1, 0, -1e30]}, r"after contains -1e\+30"),
        ({"after": np.array([0, 1, 0, 2**11], np.float16)}, r"after contains 2048\.0"),
        ({"label": np.ma.masked_array([0, 1, 0, 1], [1, 0, 0, 0])}, "label has masked values"),
        ({"before": [np.ma.masked_array([0, 1, 0, 1], [1, 0, 0, 0])]}, "before has masked values"),
        ({"after": [[0, 1, 0, 1], [0, 1]]}, "after cannot be an array"),
        ({"after": ["a\0", "a", "b", "b"]}, "after: a name has a NUL character in it"),
        ({"label": pd.Series(["a\0b", "a", "b", "b"], dtype=object)}, "label: a name has a NUL character in it"),
        ({"label": np.array(["a\0b", "a", "b", "b"])}, "label: a class has a NUL character in its name"),
        ({"label": ["x" * 251, "a", "b", "b"]}, "a class has 251 characters"),
        ({"label": ["a", np.nan, "b", "b"]}, "label has type object"),
        ({"label": ["a", "", "b", "b"]}, "label: image 2 has no class"),
        ({"label": ["\ud800", "a", "b", "b"]}, "half a surrogate pair"),
        ({"class_names": "ab"}, "class_names is 'ab': give a list of names"),
        ({"class_names": 2}, "class_names is 2: give a list of names"),
        ({"class_names": {"a", "b"}}, "give a list of names"),
        ({"class_names": [1, 2]}, "class_names has 1, which is not a string"),
        ({"class_names": ["a", None]}, "class_names has None, which is not a string"),
        ({"class_names": ["a", "a"]}, "class_names has the name 'a' twice"),
        ({"class_names": {0: "a", 1: "a"}}, "class_names has the name 'a' twice"),
        ({"class_names": ["a", ""]}, "class_names has an empty name"),
        ({"class_names": ["a", "b\0"]}, "class_names: a class has a NUL"),
        ({"class_names": ["a"]}, "class_names has 1 names, but none for label 1"),
    ],
)
def test_arrays_that_cannot_be_audited(sides, message):
    with pytest.raises(StudyError, match=message):
        audit.audit_predictions(**({name: [0, 1, 0, 1] for name in ("label", "before", "after")} | sides))


def test_groups_in_place_of_classes_have_the_accuracy_of_their_images():
    label, before = shirts(0)
    after = shirts(60)[1]
    light = np.where(label == 9, "night", "day")
    result = audit.audit_predictions(label, before, after, groups=light)
    assert result.table[["group", "images"]].to_numpy().tolist() == [["night", 100], ["day", 900]]
    assert result.table["recall_after"].tolist() == pytest.approx([0.2, 0.8])
    assert result.damaged == ["night"]
    assert "night is worse: 80.0 -> 20.0 % recall" in result.verdict
    assert slopes_of(result) == ""


def test_several_groupings_are_corrected_together_and_an_image_may_be_in_no_group():
    label, before = shirts(0)
    both = {"light": np.where(label == 9, "night", ""), "parity": np.where(label % 2, "odd", "even")}
    result = audit.audit_predictions(label, before, shirts(20)[1], before, groups=both)
    assert row_names(result.table).tolist() == ["light: night", "parity: odd", "parity: even"]
    assert result.table["images"].tolist() == [100, 500, 500]
    # Twenty images lost and none won, of both groups that hold them; Holm multiplies by 3, then by 2.
    p = 2 * stats.norm.sf(20**0.5)
    assert result.table["p_holm"].tolist() == pytest.approx([3 * p, 3 * p, 1])
    assert "light: night" in audit_result.markdown(result)


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NA, pd.NaT, "", " "], ids=["None", "NaN", "NA", "NaT", "empty", "blank"]
)
def test_an_image_without_a_group_is_in_no_group_as_in_a_file(missing, tmp_path):
    label, before = shirts(0)
    groups = ["night" if image % 2 else missing for image in range(1000)]
    table = audit.audit_predictions(label, before, shirts(60)[1], before, groups=groups).table
    assert table[["group", "images"]].to_numpy().tolist() == [["night", 500]]
    as_column = {"light": pd.Series(groups, dtype=object), "measure:angle": np.where(label, np.nan, 1)}
    pd.testing.assert_frame_equal(
        audit.audit_predictions(label, before, shirts(60)[1], before, groups=as_column).table, table
    )
    for name, predicted_ in (("before", before), ("after", shirts(60)[1])):
        np.savez(tmp_path / f"{name}.npz", label=label, predicted=predicted_)
    pd.DataFrame(as_column).to_csv(tmp_path / "groups.csv", index=False)
    files = [str(tmp_path / "before.npz")], [str(tmp_path / "after.npz")]
    from_file = audit.audit(*files, files[0], groups=tmp_path / "groups.csv")
    # In a file NaT and NA are written as an empty cell too.
    pd.testing.assert_frame_equal(from_file.table, table)


def test_numbers_as_groups_have_none_for_nan():
    label, before = shirts(0)
    groups = np.where(label == 9, np.nan, label % 2)
    table = audit.audit_predictions(label, before, before, groups=groups).table
    assert dict(zip(table["group"], table["images"], strict=True)) == {"0.0": 500, "1.0": 400}


def test_bytes_and_masked_arrays_without_a_masked_value_are_classes():
    label = np.array([b"cat", b"dog"] * 20)
    result = audit.audit_predictions(label, np.ma.masked_array(label, False), label)
    assert set(result.table["class"]) == {"cat", "dog"}


def test_a_notebook_shows_the_answers_the_table_and_the_picture_and_no_markup_of_names():
    label, before = shirts(0)
    result = audit.audit_predictions(label, before, shirts(60)[1], class_names=["<script>", *"bcdefghi", "<b>shirt"])
    shown = result._repr_html_()
    assert shown.count("<h4>") == 2
    assert "<table" in shown
    assert 'src="data:image/png;base64,' in shown
    assert "&lt;b&gt;shirt" in shown
    assert "<script>" not in shown


def test_a_folder_stands_for_the_networks_in_it(tmp_path):
    label, before = shirts(0)
    for side, losses in (("before", (0, 0)), ("after", (40, 50))):
        for seed, lost in enumerate(losses):
            (tmp_path / side / f"seed{seed}").mkdir(parents=True)
            np.savez(tmp_path / side / f"seed{seed}" / "predictions.npz", label=label, predicted=shirts(lost)[1])
    np.savez(tmp_path / "after" / "seed2.npz", label=label, predicted=before)
    result = audit.audit([str(tmp_path / "before")], [str(tmp_path / "after")])
    assert result.accuracy_after == pytest.approx(0.8 - 0.09 / 3)
    one = audit.audit([str(tmp_path / "before" / "seed0")], [str(tmp_path / "after" / "seed1")])
    assert one.table["loss"].max() == pytest.approx(0.5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="empty: no predictions in this folder"):
        audit.audit([str(tmp_path / "empty")], [str(tmp_path / "after")])
    with pytest.raises(StudyError, match="given twice"):
        audit.audit([str(tmp_path / "before"), str(tmp_path / "before" / "seed0")], [str(tmp_path / "after")])


def test_groups_of_a_file(tmp_path):
    label, before = shirts(0)
    for name, predicted_ in (("before", before), ("after", shirts(60)[1])):
        np.savez(tmp_path / f"{name}.npz", label=label, predicted=predicted_)
    rows = "\n".join(f"{image},{'night' if image >= 900 else 'day'}" for image in range(0, 1000, 2))
    (tmp_path / "groups.csv").write_text(f"index,light\n{rows}\n")
    files = [str(tmp_path / "before.npz")], [str(tmp_path / "after.npz")]
    result = audit.audit(*files, files[0], groups=tmp_path / "groups.csv")
    assert result.damaged == ["night"]
    assert result.table["images"].tolist() == [50, 450]


def test_files_in_different_orders_need_groups_with_image_names(tmp_path):
    label, before = shirts(0)
    names = np.array([f"{image}.png" for image in range(1000)])
    order = np.arange(1000)[::-1]
    for name, rows, predicted_ in (("before", order, before), ("after", slice(None), shirts(60)[1])):
        table = {"filename": names[rows], "label": label[rows], "predicted": predicted_[rows]}
        pd.DataFrame(table).to_csv(tmp_path / f"{name}.csv", index=False)
    light = np.where(label == 9, "night", "day")
    pd.DataFrame({"filename": names, "light": light}).to_csv(tmp_path / "named.csv", index=False)
    pd.DataFrame({"index": range(1000), "light": light}).to_csv(tmp_path / "numbered.csv", index=False)
    pd.DataFrame({"light": light}).to_csv(tmp_path / "ordered.csv", index=False)
    files = [str(tmp_path / "before.csv")], [str(tmp_path / "after.csv")]
    assert audit.audit(*files, files[0], groups=tmp_path / "named.csv").damaged == ["night"]
    for groups in ("numbered.csv", "ordered.csv"):
        with refused("groups", r"different orders, so the table must name its images: .*such as '999.png'"):
            audit.audit(*files, files[0], groups=tmp_path / groups)
    in_order = [files[0][0]], [files[0][0]]
    assert sorted(audit.audit(*in_order, groups=tmp_path / "ordered.csv").table["images"]) == [100, 900]


def test_classes_counted_from_0_instead_of_1_are_refused():
    label = np.repeat([1, 2, 3], 100)
    before = np.where(np.arange(300) % 10, label, label % 3 + 1)
    with pytest.raises(StudyError, match=r"after: the predictions agree .*\(1 for 0, 2 for 1, 3 for 2\)"):
        audit.audit_predictions(label, before, before - 1)
    assert audit.audit_predictions(label, before, np.full(300, 1)).damaged  # a network that names one class


def test_networks_that_are_all_copies_lose_nothing_and_keep_their_gaps():
    three = np.repeat(ten_classes([95, 40] * 5), 3, axis=0)
    result = audit.audit_predictions(TEN, three, three, three)
    assert "same to within 5 %" in slopes_of(result)
    assert (result.damaged, result.fails) == ([], False)


def test_two_networks_with_a_class_at_0_before_have_all_numbers():
    before, after = ten_classes([0, *GOOD[1:]], [0, *GOOD[1:]]), ten_classes([0, *WORSE[1:]], [0, *WORSE[1:]])
    result = audit.audit_predictions(TEN, before, after)
    assert "Dense networks are weak and recognise no test image of 0 (2 of 2 networks)." in " ".join(
        result.verdict.split()
    )
    assert result.table.notna().all(axis=None)
    assert (of_class(result, "0")["loss"], result.slopes.n) == (0, 2)
