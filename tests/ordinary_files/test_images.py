"""Files of images as people have them: each is read right, or refused with what to do."""

import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.data import datasets

LABELS = np.repeat([0, 1, 2], 4)


def load(tmp_path, **changes):
    images = np.arange(12 * 6 * 5 * 3, dtype=np.uint8).reshape(12, 6, 5, 3)
    arrays = {"train_images": images, "train_labels": LABELS, "test_images": images, "test_labels": LABELS}
    np.savez(tmp_path / "pets.npz", **{**arrays, **changes})
    return datasets.load(str(tmp_path / "pets.npz"), data_dir=tmp_path)


def test_channels_first_is_refused_with_the_transpose(tmp_path):
    """Six rows of pixels were read as six channels."""
    images = np.zeros((12, 3, 6, 5), np.uint8)
    with pytest.raises(StudyError, match=r"is \[N, C, H, W\] .*save images.transpose\(0, 2, 3, 1\)"):
        load(tmp_path, train_images=images, test_images=images)


@pytest.mark.parametrize(
    "labels", [LABELS[:, None], np.eye(3, dtype=np.uint8)[LABELS], np.eye(3)[LABELS]], ids=["N, 1", "one-hot", "floats"]
)
def test_labels_of_other_shapes(tmp_path, labels):
    assert load(tmp_path, train_labels=labels, test_labels=labels).train_labels.tolist() == LABELS.tolist()


def test_labels_of_several_classes_an_image_are_no_one_hot_labels(tmp_path):
    with pytest.raises(StudyError, match=r"of shape \(12, 3\); they must be whole numbers of shape \[N\]"):
        load(tmp_path, train_labels=np.ones((12, 3), int))


@pytest.mark.parametrize("part", ["val", "valid", "validation"])
def test_images_for_validation_are_used(tmp_path, part):
    """They were left out without a word, and a tenth of the training images took their place."""
    images = np.full((3, 6, 5, 3), 7, np.uint8)
    data = load(tmp_path, **{f"{part}_images": images, f"{part}_labels": np.array([0, 1, 2])})
    assert data.validation_indices.tolist() == [12, 13, 14]
    assert data.train_images[data.validation_indices].min() == data.train_images[data.validation_indices].max() == 7
    assert data.train_labels.tolist() == [*LABELS, 0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_images": np.zeros((3, 6, 5, 3), np.uint8)}, "no val_labels in it"),
        ({"val_images": np.zeros((3, 9, 5, 3), np.uint8), "val_labels": [0, 1, 2]}, "differ in shape"),
        ({"val_labels": [0], "valid_labels": [0]}, "val and valid may both be"),
    ],
)
def test_images_for_validation_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        load(tmp_path, **changes)
