"""Networks at chance level: which count, which are left out, and which collapsed."""

import numpy as np
import pytest

from analysis.statistics.weak_networks import chance_level, sentence, weak_dense

# 500 images of either class. By chance 500 are right; in one case of a hundred more than 537 (a standard deviation is
# 15.8, and 2.33 of them are 37).
LABEL = np.arange(1000) % 2


def right(*images):
    """Networks that are right about the first so many images."""
    return np.arange(1000) < np.array(images)[:, np.newaxis]


@pytest.mark.parametrize(
    ("before", "after", "collapsed"),
    [
        # Two right answers more or less are no collapse, although they cross the bound.
        (538, 536, 0),
        # Nine lost and none won: 2 / 2^9 is below .01; of seven it is 2 / 2^7.
        (545, 536, 1),
        (543, 536, 0),
        (990, 500, 1),
        (500, 100, 0),
    ],
)
def test_a_collapse_is_a_loss_beyond_doubt(before, after, collapsed):
    counts, pairs = chance_level(LABEL, {"before": right(before), "after": right(after)}, paired=True)
    assert (counts.collapsed, counts.any_at_chance, counts.are_all_at_chance) == (collapsed, True, True)
    assert len(pairs.after) == 0


def test_pairs_without_a_network_at_chance_are_sound_whatever_their_control():
    networks = {"before": right(990, 500, 990), "after": right(980, 980, 500), "control": right(500, 990, 990)}
    counts, pairs = chance_level(LABEL, networks, paired=True)
    assert [side.sum(1).tolist() for side in pairs] == [[990], [980]]
    assert counts.counts == {"before": (1, 3), "after": (1, 3), "control": (1, 3)}


def test_a_single_network_before_is_that_of_all_after():
    counts, pairs = chance_level(LABEL, {"before": right(990), "after": right(500, 980)}, paired=True)
    assert [side.sum(1).tolist() for side in pairs] == [[990], [980]]
    assert counts.counts == {"before": (0, 1), "after": (1, 2)}
    assert chance_level(LABEL, {"before": right(500), "after": right(980, 980)}, paired=True)[0].are_all_at_chance


def test_independent_networks_are_no_pairs():
    networks = {"before": right(990, 500), "after": right(980, 970, 960)}
    counts, pairs = chance_level(LABEL, networks, paired=False)
    assert (counts.are_all_at_chance, len(pairs.after)) == (False, 0)


NAMES = ["bag", "hat", "shoe"]


def said(recall, at_chance):
    return sentence(weak_dense(NAMES, np.array(recall), np.array(at_chance)))


def test_sound_networks_are_not_spoken_of():
    assert said([[0.9, 0.8, 0.01]], [False]) == ""
    assert said([[0.9, 0.8, 0.01]] * 2, [False, False]) == ""


def test_one_network_is_at_chance_or_lacks_classes():
    assert said([[1, 0, 0]], [True]) == "The dense network is at chance."
    assert said([[0.9, 0.8, 0]], [False]) == "The dense network is weak: no test image of shoe is recognised."


def test_of_several_networks_those_at_chance_are_counted_and_their_classes_are_not():
    found = weak_dense(NAMES, np.array([[1, 0, 0], [0.9, 0, 0.8], [0.9, 0, 0]]), np.array([True, False, False]))
    assert found == (3, 1, {"hat": 2, "shoe": 1})
    assert sentence(found) == (
        "1 of 3 dense networks is at chance. "
        "Dense networks are weak and recognise no test image of hat (2 of 3 networks), shoe (1 of 3 networks)."
    )
    assert said([[1, 0, 0]] * 2, [True, True]) == "All 2 dense networks are at chance."


def test_a_class_that_a_network_does_not_have_is_not_one_without_a_right_image():
    assert said([[0.9, 0.8, np.nan]], [False]) == ""
