"""A common shift of the logits: nothing of changes image by image, all of a change of the output layer's bias."""

import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.statistics import common_shift
from analysis.statistics.common_shift import diagnose

CLASSES = 10
SHIFT = np.linspace(-0.9, 0.9, CLASSES)
# What a class's images get, as the standard deviation of each logit: classes lose recall by it, and unequally.
NOISE = np.array([0, 3, 0, 2, 0, 3, 0, 2, 0, 3])


def images(each: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Return labels, logits that are mostly right, and where to go on drawing from."""
    random = np.random.default_rng(seed)
    label = np.repeat(np.arange(CLASSES), each)
    return label, 3 * np.eye(CLASSES)[label] + 1.5 * random.normal(size=(len(label), CLASSES)), random


def noise(label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return NOISE[label, np.newaxis] * random.normal(size=(len(label), CLASSES))


def test_a_pure_shift_explains_all_and_is_found():
    label, before, _ = images(each=100, seed=0)
    found = diagnose([before], [before + SHIFT], label)
    assert found.value == pytest.approx(SHIFT)
    assert (found.share, found.low, found.high, found.movement_left, found.changed_left) == (1, 1, 1, 0, 0)
    assert found.movement > 0.05
    assert not found.excess_left.any()
    assert found.changed > 0.1


def test_changes_image_by_image_are_explained_by_no_shift():
    label, before, random = images(each=1000, seed=1)
    found = diagnose([before], [before + noise(label, random)], label)
    assert found.excess.min() < -0.1
    assert found.share == pytest.approx(0, abs=0.05)
    assert found.low < 0 < found.high


def test_a_shift_is_found_among_changes_image_by_image():
    """The movement is a shift's in one half of the classes' squares, and noise's in the rest: the share is between."""
    label, before, random = images(each=1000, seed=2)
    found = diagnose([before], [before + SHIFT + 0.5 * noise(label, random)], label)
    assert found.value == pytest.approx(SHIFT, abs=0.1)
    assert 0.2 < found.low < found.share < found.high < 0.99


def test_logits_that_are_never_taken_for_the_answer_say_nothing():
    """The logit of class 9 is 6 lower for all images of the first five classes, which are never taken for it."""
    label, before, _ = images(each=100, seed=3)
    before[label < 5, 9] -= 20
    after = before + SHIFT
    after[label < 5, 9] -= 6
    found = diagnose([before], [after], label)
    assert found.value == pytest.approx(SHIFT, abs=0.02)
    assert found.share > 0.99


def test_a_number_for_each_image_does_not_matter_and_the_scale_of_logits_hardly():
    label, before, random = images(each=100, seed=4)
    after = before + SHIFT + 0.3 * noise(label, random)
    found = diagnose([before], [after], label)
    moved = diagnose([before], [after + random.normal(size=(len(label), 1))], label)
    assert (moved.share, moved.movement_left) == pytest.approx((found.share, found.movement_left))
    assert diagnose([before], [1.7 * after], label).share == pytest.approx(found.share, abs=0.01)


def test_the_other_direction_has_the_opposite_shift():
    label, before, random = images(each=100, seed=5)
    after = before + SHIFT + 0.3 * noise(label, random)
    forwards, backwards = diagnose([before], [after], label), diagnose([after], [before], label)
    size = np.abs(forwards.value).sum() / np.abs(backwards.value).sum()
    assert forwards.value == pytest.approx(-backwards.value * size)
    assert forwards.movement == pytest.approx(backwards.movement)


def test_several_pairs_have_one_share_the_ratio_of_mean_squares():
    label, before, random = images(each=100, seed=6)
    after = [before + SHIFT, before + noise(label, random)]
    first, second = (diagnose([before], [each], label) for each in after)
    both = diagnose([before, before], after, label)
    assert both.movement == pytest.approx((first.movement + second.movement) / 2)
    assert both.share == pytest.approx(
        1 - (first.movement_left + second.movement_left) / (first.movement + second.movement)
    )


def test_the_noise_of_the_images_is_no_movement():
    """Two networks have the same distribution of answers. On average over draws their squared movement is 0."""
    movements, shares = [], []
    for seed in range(12):
        label, first, random = images(each=40, seed=seed)
        second = first + random.normal(size=first.shape)
        found = diagnose([first], [second], label)
        movements.append(found.movement)
        shares.append(found.share)
    error = np.std(movements) / len(movements) ** 0.5
    assert abs(np.mean(movements)) < 3 * error
    assert np.isnan(shares).sum() >= 10


def test_intervals_cover_the_share_on_many_images():
    label, before, random = images(each=2000, seed=7)
    truth = diagnose([before], [before + SHIFT + 0.5 * noise(label, random)], label).share
    held = 0
    for seed in range(12):
        label, before, random = images(each=100, seed=100 + seed)
        found = diagnose([before], [before + SHIFT + 0.5 * noise(label, random)], label)
        held += found.low <= truth <= found.high
    assert held >= 10  # at 95 %, fewer hold in 2 % of such draws


def test_networks_with_the_same_answers_have_no_share():
    label, before, _ = images(each=40, seed=8)
    found = diagnose([before], [before], label)
    assert np.isnan([found.share, found.low, found.high]).all()
    assert found.movement == found.changed == 0


def test_logits_without_any_difference_are_no_fault():
    label = np.repeat([0, 1], 40)
    found = diagnose([np.zeros((80, 2))], [np.zeros((80, 2))], label)
    assert np.isnan(found.share)


@pytest.mark.parametrize(
    ("each", "pairs", "word"),
    [(39, 1, "class 0 has 39 images"), (40, 0, "0 networks")],
)
def test_what_cannot_be_judged_is_one_line(each, pairs, word):
    label, before, _ = images(each, seed=9)
    with pytest.raises(StudyError, match=word) as caught:
        diagnose([before] * pairs, [before] * pairs, label)
    assert "\n" not in str(caught.value)


def test_as_many_networks_on_each_side():
    label, before, _ = images(each=40, seed=9)
    with pytest.raises(StudyError, match="1 networks before and 2 after"):
        diagnose([before], [before, before], label)


def test_the_squares_of_two_classes_by_hand():
    """12 images each; class 0 wins two and loses one, class 1 loses one.

    Changes 1/12 and -1/12, and the accuracy's 0. Their variances over images are (3/12 - 1/144) / 11 and
    (1/12 - 1/144) / 11; the noise in both squares together is half of their sum.
    """
    found = common_shift.squared_excess(np.array([12, 12]), np.array([1, -1]), np.array([3, 1]))
    assert found == pytest.approx(2 / 144 - (4 / 12 - 2 / 144) / 11 / 2)
