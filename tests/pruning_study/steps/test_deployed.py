import numpy as np

from pruning_study.steps.deployed import calibrating


def test_the_first_hundred_training_images_calibrate():
    labels = np.arange(5400) % 10
    shuffled = np.random.default_rng(0).permutation(np.arange(7, 5400))
    assert calibrating(shuffled, labels).tolist() == list(range(7, 107))


def test_images_that_stand_class_by_class_calibrate_at_equal_distances():
    labels = np.repeat(np.arange(10), 540)
    shuffled = np.random.default_rng(0).permutation(5400)
    places = calibrating(shuffled, labels)
    assert places.tolist() == list(range(0, 5400, 54))
    assert np.bincount(labels[places]).tolist() == [10] * 10


def test_half_of_the_classes_are_enough_of_the_first_images():
    labels = np.concatenate([np.arange(5), np.repeat(np.arange(10), 50)])
    assert calibrating(np.arange(505), labels).tolist() == list(range(100))  # 5 of 10 classes
    labels[:5] = [0, 1, 2, 3, 3]
    assert calibrating(np.arange(505), labels)[:3].tolist() == [0, 5, 10]


def test_few_images_all_calibrate_once():
    assert calibrating(np.array([7, 3, 5]), np.arange(8)).tolist() == [3, 5, 7]
