import dataclasses

import numpy as np
import pytest
from scipy.stats import entropy

from pruning_study.data import arrays, datasets
from pruning_study.data.arrays import entropies
from pruning_study.data.datasets import class_characteristics


def dataset(images, labels, classes):
    return datasets.Dataset("made", classes, images, labels, images, labels, "made.npz")


def test_imbalance_and_entropy_of_three_images_worked_out_by_hand():
    images = np.zeros((3, 1, 2, 2), np.uint8)
    images[1] = [[7, 7], [0, 255]]  # shares 1/2, 1/4, 1/4: 1.5 bits
    images[2] = [[1, 2], [3, 4]]  # four values: 2 bits
    table = class_characteristics(dataset(images, np.array([1, 0, 0]), ("cat", "dog")), np.arange(3))
    assert table.to_dict("list") == {
        "class": ["cat", "dog"],
        "index": [0, 1],
        "training_images": [2, 1],
        "imbalance": [pytest.approx(2 / 3 - 1 / 2), pytest.approx(1 / 3 - 1 / 2)],
        "entropy": [pytest.approx(1.75), 0.0],
    }


def test_entropy_is_scipys_over_all_channels_together():
    images = np.random.default_rng(0).binomial(255, 0.3, (5, 3, 9, 7)).astype(np.uint8)
    expected = [entropy(np.bincount(image.ravel()), base=2) for image in images]
    assert entropies(images) == pytest.approx(expected)
    assert entropies(images, np.array([3, 1])) == pytest.approx([expected[3], expected[1]])


def test_only_the_images_that_are_trained_on_count(tiny, tmp_path):
    np.savez(tmp_path / "tiny.npz", **tiny)
    data = datasets.load(str(tmp_path / "tiny.npz"), data_dir=tmp_path)
    chosen = np.flatnonzero(data.train_labels < 2)[:30]
    fewer = dataclasses.replace(data, train_images=data.train_images[chosen], train_labels=data.train_labels[chosen])
    table = class_characteristics(data, chosen)
    assert table.equals(class_characteristics(fewer, np.arange(30)))
    assert table.training_images.sum() == 30
    assert table.imbalance.sum() == pytest.approx(0)
    assert np.isnan(table.entropy[2:]).all()


def test_more_images_than_one_portion_holds(monkeypatch):
    images = np.random.default_rng(1).integers(0, 256, (10, 1, 8, 8), np.uint8)
    expected = entropies(images)
    monkeypatch.setattr(arrays, "PORTION", 3 * 8 * (64 + 256))
    assert entropies(images).tolist() == expected.tolist()


def test_entropy_is_of_the_images_before_they_were_resized(tiny, tmp_path):
    np.savez(tmp_path / "tiny.npz", **tiny)
    own, resized = (
        datasets.load(str(tmp_path / "tiny.npz"), data_dir=tmp_path, image_size=size) for size in (None, 24)
    )
    chosen = np.arange(0, len(own.train_labels), 2)
    assert entropies(resized.train_images).mean() > entropies(own.train_images).mean()
    assert class_characteristics(resized, chosen).equals(class_characteristics(own, chosen))
