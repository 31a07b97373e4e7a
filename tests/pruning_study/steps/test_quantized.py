import numpy as np

from pruning_study.steps.quantized import calibrating


def test_images_that_stand_class_by_class_calibrate_with_as_many_of_each_class():
    labels = np.repeat(np.arange(10), 540)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    chosen = calibrating(shuffled)
    assert np.bincount(labels[chosen]).tolist() == [10] * 10
    assert chosen.tolist() == list(range(0, 5400, 54))


def test_few_images_all_calibrate_once():
    assert calibrating(np.array([7, 3, 5])).tolist() == [3, 5, 7]
