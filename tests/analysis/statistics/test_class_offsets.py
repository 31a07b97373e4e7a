import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.statistics.class_offsets import fit, held_out, reliability, table

LABEL = np.repeat([0, 1], 100)


def networks(margins_of_0=None, margins_of_1=None):
    """Return logits of a dense network with recalls of .9, and of another with these margins of its classes.

    A margin is by how much the logit of an image's class is above the other one.
    """
    before = np.where(np.arange(200) % 100 < 90, 1.0, -1.0)
    after = np.concatenate([before[:100] if m is None else m for m in (margins_of_0, margins_of_1)])
    return tuple(np.stack([np.where(LABEL == 0, m, 0), np.where(LABEL == 1, m, 0)], axis=1) for m in (before, after))


def damaged():
    """Class 0 has not changed: margins .1 to 9.0, and 10 images wrong. Class 1 has margins from -2.95 to 6.95."""
    steps = np.arange(100) / 10
    return networks(np.concatenate([np.arange(1, 91) / 10, np.full(10, -5.0)]), steps - 2.95)


def test_offsets_of_two_made_up_networks():
    # Recalls were .9 and .9, and are .9 and .7. An offset difference of d gives class 1 the images with margins above
    # -d, of which there are 10 d, and costs class 0 those with margins up to d. Both lose 10 at a difference between
    # .95 and 1.05, which keeps 80 and 80.
    found = fit(*damaged(), LABEL, shrinkage=0)
    assert found.excess.tolist() == pytest.approx([0.1, -0.1])
    assert found.value[1] - found.value[0] == pytest.approx(1, abs=0.1)
    assert found.value.sum() == pytest.approx(0)
    assert found.excess_left.tolist() == pytest.approx([0, 0], abs=0.01)
    assert found.reliability.tolist() == [1, 1]


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("lost", [3, 10, 14])
def test_images_of_one_margin_are_won_back_together(classes, lost):
    # Class 0 has lost images by a margin of -1 each, and all others are right by 3: offsets undo it.
    label = np.repeat(np.arange(classes), 100)
    before = 3.0 * np.eye(classes)[label]
    after = before.copy()
    after[:lost, :2] = [0, 1]
    found = fit(before, after, label, shrinkage=0)
    assert found.excess[0] == pytest.approx(-lost / 100 * (1 - 1 / classes))
    assert found.excess_left.tolist() == [0] * classes
    assert ((after + found.value).argmax(1) == label).all()


def test_a_class_that_was_never_right_can_be_so_again_though_its_images_have_one_margin():
    label = np.repeat([0, 1], 100)
    before = np.where(np.arange(2) == 1, 1.0, 0.0).repeat(200).reshape(2, 200).T
    after = np.where(label[:, np.newaxis] == np.arange(2), [1.0, 3.0], 0.0)
    found = fit(before, after, label, shrinkage=0)
    assert found.excess.tolist() == [0.5, -0.5]
    assert found.excess_left.tolist() == [0, 0]
    assert ((after + found.value).argmax(1) == 1).all()


def test_images_of_one_margin_are_left_alone_where_half_of_them_would_be_too_many():
    # 20 of class 0 have a margin of -1, and 6 of them would be wanted: their excess is .06 without offsets.
    label = np.repeat([0, 1], 100)
    before = 3.0 * np.eye(2)[label]
    before[:8], after = before[:8, ::-1], 3.0 * np.eye(2)[label]
    after[:20] = [0, 1]
    found = fit(before, after, label, shrinkage=0)
    assert found.excess.tolist() == pytest.approx([-0.06, 0.06])
    assert found.value.tolist() == [0, 0]


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_of_equal_logits_the_first_is_the_answer(step):
    before, after, label = drawn(0, 100, np.linspace(-1, 1, 10))
    before, after = (np.round(logits / step) * step for logits in (before, after))
    found = fit(before, after, label, shrinkage=0)
    recall = [np.bincount(label, logits.argmax(1) == label) / 100 for logits in (before, after, after + found.value)]
    for excess_, change in ((found.excess, recall[1] - recall[0]), (found.excess_left, recall[2] - recall[0])):
        assert excess_.tolist() == pytest.approx((change - change.mean()).tolist())
    assert np.abs(found.excess_left).max() < np.abs(found.excess).max() / 2


def test_offsets_leave_what_may_be_noise():
    # Class 1 has lost 30 images and won 10, class 0 none; 1 and 2 are the half images added to changed ones and to all.
    error = np.sqrt((40 + 1 - 20**2 / 102) / 102**2 / 4 + 1 / 102**2 / 4)
    share = 0.1**2 / (0.1**2 + error**2)
    found = fit(*damaged(), LABEL)
    assert found.error.tolist() == pytest.approx([error, error])
    assert found.reliability.tolist() == pytest.approx([share, share])
    assert found.excess_left.tolist() == pytest.approx([0.1 * (1 - share), -0.1 * (1 - share)], abs=0.01)


def test_the_more_noise_counts_the_smaller_are_offsets():
    sizes = [np.abs(fit(*damaged(), LABEL, shrinkage=shrinkage).value).max() for shrinkage in (0, 1, 10, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


@pytest.mark.parametrize("shrinkage", [0, 1])
def test_equal_networks_have_offsets_of_exactly_0(shrinkage):
    logits = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    found = fit(logits, logits, LABEL, shrinkage=shrinkage)
    assert found.value.tolist() == [0, 0]
    assert np.array_equal(held_out(logits, logits, LABEL, shrinkage=shrinkage), logits)


def drawn(seed, images, bias):
    """Return labels and logits of a network of ten classes, and of another that differs by noise and by a bias."""
    random = np.random.default_rng(seed)
    label = np.repeat(np.arange(10), images)
    before = random.normal(size=(len(label), 10)) + 3.0 * np.eye(10)[label]
    return before, before + 0.5 * random.normal(size=before.shape) + bias, label


def test_offsets_undo_a_bias():
    bias = np.linspace(-1, 1, 10)
    found = fit(*drawn(0, 2000, bias), shrinkage=0)
    assert found.value.tolist() == pytest.approx((-bias).tolist(), abs=0.1)
    assert np.abs(found.excess_left).max() < 0.002 < 0.1 < np.abs(found.excess).max()


def test_held_out_offsets_know_nothing_of_the_image():
    before, after = damaged()
    in_first_fold = np.arange(200) % 100 % 5 == 0  # every fifth image of each class
    after[in_first_fold] = before[in_first_fold]  # of which the network lost none, so that they would lower the offsets
    adjusted = held_out(before, after, LABEL, shrinkage=0)
    value = fit(before[~in_first_fold], after[~in_first_fold], LABEL[~in_first_fold], shrinkage=0).value
    assert (adjusted - after)[in_first_fold] == pytest.approx(np.tile(value, (40, 1)))
    assert fit(before, after, LABEL, shrinkage=0).value != pytest.approx(value)


def test_the_table_has_a_row_for_each_class():
    found = table(*damaged(), LABEL, ["cat", "dog"])
    assert found["class"].tolist() == ["cat", "dog"]
    assert found["index"].tolist() == [0, 1]
    assert found["images"].tolist() == [100, 100]
    assert found["excess"].tolist() == pytest.approx([0.1, -0.1])
    assert found["excess_held_out"].abs().max() < 0.05
    assert list(found) == [
        *("class", "index", "offset", "excess", "error", "reliability", "excess_fitted", "excess_held_out", "images")
    ]


def test_reliability_of_an_excess_of_no_and_of_two_errors():
    assert reliability(np.array([0, 0.02]), np.array([0.01, 0.01])).tolist() == pytest.approx([0, 0.8])
    assert reliability(np.array([0, 0.02]), np.array([0.01, 0.01]), 4).tolist() == pytest.approx([0, 0.5])


LOGITS = np.zeros((200, 2))


@pytest.mark.parametrize(
    ("before", "after", "label", "said"),
    [
        (LOGITS, LOGITS[:, :1], LABEL, r"shapes \(200, 2\) and \(200, 1\): give \(images, classes\)"),
        (LOGITS[:, 0], LOGITS[:, 0], LABEL, r"shapes \(200,\) and \(200,\)"),
        (LOGITS, LOGITS, LABEL[:-1], r"int64 of shape \(199,\) for 200 images"),
        (LOGITS, LOGITS, LABEL * 1.0, "labels are float64"),
        (LOGITS, LOGITS + np.nan, LABEL, "logits after are not all finite"),
        (LOGITS - np.inf, LOGITS, LABEL, "logits before are not all finite"),
        (LOGITS.astype(int), LOGITS, LABEL, "logits before are not all finite"),
        (LOGITS, LOGITS, LABEL + 1, "label 2 is not one of the 2 columns"),
        (LOGITS, LOGITS, LABEL - 1, "label -1 is not one of the 2 columns"),
        (LOGITS[:-61], LOGITS[:-61], LABEL[:-61], "class 1 has 39 images, .* give at least 40 images of each class"),
        (LOGITS[:100], LOGITS[:100], LABEL[:100], "class 1 has 0 images"),
    ],
)
def test_what_cannot_be_used_is_one_line(before, after, label, said):
    with pytest.raises(StudyError, match=said):
        fit(before, after, label)
