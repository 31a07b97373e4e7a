"""Sheets of images whose classes, predictions and pixels are chosen by hand."""

import io

import numpy as np
import pytest

from pruning_study.steps import flipped
from pruning_study.steps.class_changes import class_changes
from pruning_study.training.evaluation import Predictions
from tests.text_boxes import hidden_texts, ink

NAMES = ["shirt", "bag", "$boot$"]
# Ten images of each class. Shirts lose 2 and bags 3, of which one is won back; no boot changes.
LABEL = np.repeat([0, 1, 2], 10)
BEFORE, AFTER = LABEL.copy(), LABEL.copy()
AFTER[[3, 5]] = 2
AFTER[[10, 12, 14]] = [0, 2, 0]
BEFORE[19] = 0


def predictions(predicted, confidence=None):
    sure = np.full(len(LABEL), 0.5) if confidence is None else confidence
    return Predictions(LABEL, predicted, predicted[:, np.newaxis], sure.astype(np.float32))


def sheet(images=None, before=None, after=AFTER, classes=NAMES):
    images = np.zeros((len(LABEL), 1, 28, 28), np.uint8) if images is None else images
    before, after = before or predictions(BEFORE), predictions(after)
    return flipped.flipped(images, before, after, class_changes(classes, [before], [after]), "title")


def texts(figure):
    panels = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [*figure.get_suptitle().split("\n"), figure.get_supxlabel(), *panels]


def shown(figure):
    return [int(image.get_array()[0, 0, 0]) for axes in figure.axes for image in axes.images]


def test_the_class_that_lost_most_is_on_top_and_every_image_says_what_it_became():
    said = texts(sheet())
    assert said[:2] == ["title", "5 of 30 test images were right before and are wrong after; 1 the other way round."]
    # Shirts fell from 10 of 10 to 8, bags from 9 of 10 to 7: both by .2, so that the order of the classes decides.
    assert said[3:] == [
        *("shirt", "recall 1.000 → 0.800\n2 images", "$boot$", "$boot$"),
        *("bag", "recall 0.900 → 0.700\n3 images", "shirt", "$boot$", "shirt"),
    ]


def test_a_class_that_lost_more_recall_stands_above_one_with_more_such_images():
    won_back = BEFORE.copy()
    won_back[[17, 18]] = 0  # so that bags are as many as before
    said = texts(sheet(before=predictions(won_back)))
    assert said.index("shirt") < said.index("bag")
    assert "recall 0.700 → 0.700\n3 images" in said


def test_the_images_that_the_network_before_was_surest_of_come_first():
    images = np.zeros((30, 1, 8, 8), np.uint8)
    images[:, 0] = np.arange(30)[:, np.newaxis, np.newaxis]
    confidence = np.full(30, 0.5)
    confidence[[12, 14]] = 0.9, 0.7
    figure = sheet(images, predictions(BEFORE, confidence))
    assert shown(figure) == [3, 5, 12, 14, 10]


def test_pixels_of_an_image_are_drawn_as_they_are():
    images = np.zeros((30, 3, 28, 28), np.uint8)
    images[3, 0], images[5, 2] = 255, 255
    pixels = ink(sheet(images))
    # 84 pixels a side, and in the upper row the only red and the only blue ones.
    for color in ([255, 0, 0], [0, 0, 255]):
        rows, columns = np.nonzero((pixels == color).all(-1))
        assert (np.ptp(rows), np.ptp(columns), len(rows)) == (83, 83, 84 * 84)


def test_without_such_an_image_the_sheet_says_so():
    figure = sheet(after=BEFORE)
    assert texts(figure) == [
        "title",
        "No test image that was right before is wrong after; 0 wrong ones are right after.",
        "",
    ]
    assert shown(figure) == []
    assert hidden_texts(figure) == []


def test_of_many_classes_and_images_some_are_shown_and_that_is_said(monkeypatch):
    monkeypatch.setattr(flipped, "MOST_CLASSES", 1)
    monkeypatch.setattr(flipped, "MOST_IMAGES", 1)
    said = texts(sheet())
    assert said[2].startswith("Worst class first; 1 of 2 classes with lost images are drawn.")
    assert "recall 1.000 → 0.800\n1 of 2 images" in said
    assert "bag" not in said


def test_a_mapped_file_gives_the_same_bytes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    images.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, "r", shape=images.shape)
    contents = [io.BytesIO(), io.BytesIO()]
    for source, content in zip((images, mapped), contents, strict=True):
        sheet(source).savefig(content)
    assert contents[0].getvalue() == contents[1].getvalue()


@pytest.mark.filterwarnings("ignore:Glyph")
def test_words_of_long_names_do_not_overlap():
    kinds = ["abcdefghij klmnop", "W" * 50, "猫" * 17, "_$x^2$_" * 3]
    names = [f"{kinds[index % 4]}{index:03}" for index in range(100)]
    label = np.repeat(np.arange(100), 10)
    before, after = (Predictions(label, to, to[:, None], np.ones(1000, np.float32)) for to in (label, label[::-1]))
    changes = class_changes(names, [before], [after])
    images = np.zeros((1000, 1, 4, 4), np.uint8)
    assert hidden_texts(flipped.flipped(images, before, after, changes, "a title " * 30)) == []
