"""The labelling sheet: balanced, shuffled, the same for the same seed, and with nothing on it that tells the PIEs."""

import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.commands.exemplars import labelling
from pruning_study.commands.exemplars.cell import PopulationPair
from tests.made_up_populations import CLASSES, LABEL, predictions
from tests.text_boxes import hidden_texts

CELL = PopulationPair("a cell", "made-up", {}, LABEL, notes=[], **predictions())


def test_half_of_a_sample_are_pies_in_random_order():
    identified = np.arange(1000) < 300
    drawn = labelling.sample(identified, 100, 0)
    assert len(set(drawn.tolist())) == 100
    assert identified[drawn].sum() == 50
    assert 10 < identified[drawn][:50].sum() < 40
    assert drawn.tolist() == labelling.sample(identified, 100, 0).tolist()
    assert drawn.tolist() != labelling.sample(identified, 100, 1).tolist()


def test_with_few_pies_there_are_as_many_of_both_kinds():
    drawn = labelling.sample(np.arange(1000) < 3, 100, 0)
    assert len(drawn) == 6
    assert (drawn < 3).sum() == 3


@pytest.mark.attack
@pytest.mark.parametrize(("pies", "said"), [(0, "no image is a PIE"), (20, "every image is a PIE")])
def test_a_cell_without_a_pie_or_with_pies_alone__has_no_labelling_sheet(pies, said):
    with pytest.raises(StudyError, match=said):
        labelling.sample(np.arange(20) < pies, 10, 0)


def test_labels_2_and_3_are_the_other_classes_that_most_networks_predict():
    # Image 1 is a shirt that six networks of twelve take for a coat. Nobody errs on image 4, a shirt too: the second
    # label is then what shirts are most often taken for.
    assert labelling.alternatives(CELL, np.array([0, 1, 4]), 3).tolist() == [[1, 2], [2, 0], [2, 0]]


def test_with_two_classes_there_is_one_other_label():
    cell = CELL._replace(label=LABEL % 2, dense=CELL.dense % 2, compressed=CELL.compressed % 2)
    sheet, _ = labelling.sheet(cell, ("yes", "no"), 2, 0)
    assert (sheet["label_3"] == "").all()
    assert {*sheet["label_1"], *sheet["label_2"]} == {"yes", "no"}


def test_the_sheet_does_not_tell_pies_and_the_key_does():
    sheet, key = labelling.sheet(CELL, CLASSES, 6, 3)
    assert sheet.columns.tolist() == [
        *("item", "label_1", "label_2", "label_3"),
        *("label_correct", "single_object", "fine_grained", "typical", "corrupted", "abstract"),
    ]
    assert (sheet.iloc[:, 4:] == "").all(axis=None)
    # Every row has three different labels, whatever kind of image it is.
    assert sheet[["label_1", "label_2", "label_3"]].nunique(axis=1).eq(3).all()
    assert sheet["item"].tolist() == key["item"].tolist() == [1, 2, 3, 4, 5, 6]
    assert sorted(key.loc[key["pie"] == 1, "index"]) == [0, 1, 5]
    assert key["label_1"].tolist() == [CLASSES[LABEL[place]] for place in key["index"]]


def test_pages_show_each_image_below_its_number():
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
    places = np.arange(30)
    sheet, _ = labelling.sheet(CELL, CLASSES, 6, 0)
    many = sheet.loc[np.zeros(30, int)].reset_index(drop=True).assign(item=np.arange(1, 31))
    pages = labelling.pages(images, many, places, "title")
    drawn = [[(axes.texts[0].get_text(), axes.images[0].get_array()[0, 0, 0]) for axes in page.axes] for page in pages]
    assert drawn[0] == [(str(place + 1), place) for place in range(25)]
    assert drawn[1] == [(str(place + 1), place) for place in range(25, 30)]
    assert pages[1].get_suptitle().startswith("title, page 2 of 2\n")


def test_pages_have_the_questions_below_the_images_each_in_a_line_of_its_own():
    images = np.zeros((60, 1, 8, 8), np.uint8)
    sheet, key = labelling.sheet(CELL, CLASSES, 6, 0)
    (page,) = labelling.pages(images, sheet, key["index"].to_numpy(), "title")
    said = page.get_supxlabel().split("\n")
    assert said[1:3] == [
        "label_correct: Does label 1 accurately label an object in the image?",
        "single_object: Does this image depict a single object?",
    ]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_words_of_long_names_do_not_overlap():
    images = np.zeros((60, 1, 8, 8), np.uint8)
    names = ["W" * 50, "猫" * 17, "_$x^2$_" * 3]
    sheet, key = labelling.sheet(CELL, names, 6, 0)
    for page in labelling.pages(images, sheet, key["index"].to_numpy(), "a title " * 30):
        assert hidden_texts(page) == []
