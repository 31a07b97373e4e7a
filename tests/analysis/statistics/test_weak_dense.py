"""Which dense networks are weak, and what is said of them."""

import numpy as np

from analysis.statistics.weak_dense import sentence, weak_dense

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
