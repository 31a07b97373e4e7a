"""The gallery: which images it shows, in which order, and that its words can be read."""

import numpy as np
import pytest

from pruning_study.commands.exemplars import gallery
from pruning_study.commands.exemplars.cell import PopulationPair
from tests.made_up_populations import CLASSES, LABEL, PIES, predictions
from tests.text_boxes import hidden_texts

CELL = PopulationPair("a cell", "made-up", None, LABEL, notes=[], **predictions())
IMAGES = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 28, 28), np.uint8)


def shown(figure):
    return [int(image.get_array()[0, 0, 0]) for axes in figure.axes for image in axes.images]


def test_pies_are_sorted_by_the_product_of_both_shares():
    table = gallery.pies(CELL)
    assert table["index"].tolist() == PIES
    assert table["surprise"].tolist() == pytest.approx([5 / 6, 4 / 6, 4 / 9])
    columns = ["label", "dense_mode", "compressed_mode"]
    assert table[columns].to_numpy().tolist() == [[0, 0, 1], [2, 0, 2], [1, 1, 2]]


def test_every_image_has_its_label_both_modal_labels_and_their_shares():
    figure = gallery.gallery(IMAGES, gallery.pies(CELL), CLASSES, "title", "counts")
    assert shown(figure) == PIES
    assert figure.get_suptitle() == "title\ncounts"
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == [
        *("bag", "✓\u00a0bag", "100 %", "shirt", "83 %"),
        *("coat", "bag", "67 %", "✓\u00a0coat", "100 %"),
        *("shirt", "✓\u00a0shirt", "67 %", "coat", "67 %"),
    ]
    assert hidden_texts(figure) == []


def test_of_many_pies_the_most_surprising_are_shown_and_that_is_said(monkeypatch):
    monkeypatch.setattr(gallery, "MOST_IMAGES", 2)
    figure = gallery.gallery(IMAGES, gallery.pies(CELL), CLASSES, "title", "counts")
    assert shown(figure) == PIES[:2]
    assert figure.get_supxlabel().startswith("The 2 most surprising PIEs")


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", ["W" * 50, "abcdefghij klmnopqr", "猫" * 17, "_$x^2$_" * 3])
def test_words_of_long_names_do_not_overlap(kind):
    names = [f"{kind}{index}" for index in range(3)]
    figure = gallery.gallery(IMAGES, gallery.pies(CELL), names, "a title " * 40, "counts")
    assert hidden_texts(figure) == []
