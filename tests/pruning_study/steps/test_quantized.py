import numpy as np

from pruning_study.steps.quantized import calibrating


def test_the_first_hundred_training_images_calibrate(caplog):
    labels = np.arange(5400) % 10
    shuffled = np.random.default_rng(0).permutation(np.arange(7, 5400))
    assert calibrating(shuffled, labels).tolist() == list(range(7, 107))
    assert not caplog.records


def test_images_that_stand_class_by_class_are_warned_of(caplog):
    labels = np.repeat(np.arange(10), 540)
    calibrating(np.arange(5400), labels)
    assert "the first 100 training images, which are of 1 of 10 classes: shuffle" in caplog.text


def test_few_images_all_calibrate_once():
    assert calibrating(np.array([7, 3, 5]), np.arange(8)).tolist() == [3, 5, 7]
