"""Files of images as people have them: each is read right, or refused with what to do."""

import numpy as np
import pytest
from PIL import Image

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
        ({"val_images": np.zeros((3, 6, 5, 3), np.uint8)}, "has no val_labels"),
        ({"val_images": np.zeros((3, 9, 5, 3), np.uint8), "val_labels": [0, 1, 2]}, "differ in shape"),
        ({"val_labels": [0], "valid_labels": [0]}, "val and valid may each be"),
    ],
)
def test_images_for_validation_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        load(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": [0, 1, 1]}, r"pets.npz: val data have no image of class 2$"),
        ({"train_labels": np.repeat([0, 1], 6)}, r"pets.npz: train data have no image of class 2$"),
        ({"val_labels": [0, 2, -1]}, r"pets.npz: val_labels holds -1 at index 2, outside the 3 classes"),
        ({"train_labels": [*LABELS, 0], "val_labels": [1, 2]}, r"pets.npz: train_labels has 13 entries for 12 images"),
    ],
)
def test_a_class_without_images_to_train_on_or_for_validation_is_refused(tmp_path, changes, message):
    """Training and validation images were checked together."""
    with pytest.raises(StudyError, match=message):
        load(tmp_path, **{"val_images": np.zeros((3, 6, 5, 3), np.uint8), "val_labels": [0, 1, 2], **changes})


def test_one_image_of_a_class_to_train_on_is_enough_beside_images_for_validation(tmp_path):
    labels = np.array([0] * 6 + [1] * 5 + [2])
    images = np.zeros((3, 6, 5, 3), np.uint8)
    data = load(tmp_path, train_labels=labels, val_images=images, val_labels=np.array([0, 1, 2]))
    assert np.bincount(data.train_labels).tolist() == [7, 6, 2]


def folder_of_images(folder, parts, picture=None):
    for part in parts:
        for number, name in enumerate(("cat", "dog")):
            (folder / part / name).mkdir(parents=True)
            for place in range(2):
                (picture or Image.new("RGB", (6, 6), (40 * number, 0, place))).save(
                    folder / part / name / f"{place}.png"
                )
    return datasets.load(str(folder), data_dir=folder.parent)


@pytest.mark.parametrize(
    "parts", [("Training", "Test", "Validation"), ("train", "test", "valid"), ("TRAIN", "Testing", "Val")]
)
def test_parts_of_other_names_and_capitals_are_read(tmp_path, parts):
    """`Training` and `Test` were taken for two classes, and `valid` was refused."""
    data = folder_of_images(tmp_path / "pets", parts)
    assert data.classes == ("cat", "dog")
    assert (len(data.train_labels), len(data.test_labels), len(data.validation_indices)) == (8, 4, 4)


def test_two_folders_for_one_part_are_refused(tmp_path):
    with pytest.raises(StudyError, match="valid and validation may both be the part val: rename one of them"):
        folder_of_images(tmp_path / "pets", ("train", "test", "valid", "validation"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_read_as_they_look_before_white_and_it_is_said(tmp_path, mode, caplog):
    """The colours that transparent pixels hide were read."""
    picture = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    picture.paste((80, 80, 80, 255), (0, 0, 3, 6))
    picture = picture.convert(mode)
    data = folder_of_images(tmp_path / "pets", ("train", "test"), picture)
    assert data.test_images[0, 0, 0].tolist() == [80, 80, 80, 255, 255, 255]
    assert caplog.text.count("pets/train has images with transparent pixels") == 1


def test_opaque_pictures_with_an_alpha_channel_need_no_word(tmp_path, caplog):
    data = folder_of_images(tmp_path / "pets", ("train", "test"), Image.new("RGBA", (6, 6), (9, 8, 7, 255)))
    assert data.test_images[0, :, 0, 0].tolist() == [9, 8, 7]
    assert not caplog.text
