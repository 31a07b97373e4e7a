"""The labelling sheet: balanced, shuffled, the same for the same seed, and with nothing on it that tells the PIEs."""

import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.commands.exemplars import sheet
from pruning_study.commands.exemplars.cell import PopulationPair
from tests.made_up_populations import CLASSES, LABEL, predictions

CELL = PopulationPair("a cell", "made-up", None, LABEL, notes=[], **predictions())


def test_half_of_a_sample_are_pies_in_random_order():
    identified = np.arange(1000) < 300
    drawn = sheet.sample(identified, 100, 0)
    assert len(set(drawn.tolist())) == 100
    assert identified[drawn].sum() == 50
    assert 10 < identified[drawn][:50].sum() < 40
    assert drawn.tolist() == sheet.sample(identified, 100, 0).tolist()
    assert drawn.tolist() != sheet.sample(identified, 100, 1).tolist()


def test_with_few_pies_there_are_as_many_of_both_kinds():
    drawn = sheet.sample(np.arange(1000) < 3, 100, 0)
    assert len(drawn) == 6
    assert (drawn < 3).sum() == 3


@pytest.mark.attack
@pytest.mark.parametrize(("pies", "said"), [(0, "no image is a PIE"), (20, "every image is a PIE")])
def test_a_cell_without_a_pie_or_with_pies_alone__has_no_labelling_sheet(pies, said):
    with pytest.raises(StudyError, match=said):
        sheet.sample(np.arange(20) < pies, 10, 0)


def test_labels_2_and_3_are_the_other_classes_that_most_networks_predict():
    # Image 1 is a shirt that six networks of twelve take for a coat. Nobody errs on image 4, a shirt too: the second
    # label is then what shirts are most often taken for.
    assert sheet.alternatives(CELL, np.array([0, 1, 4]), 3).tolist() == [[1, 2], [2, 0], [2, 0]]


def test_with_two_classes_there_is_one_other_label():
    cell = CELL._replace(label=LABEL % 2, dense=CELL.dense % 2, compressed=CELL.compressed % 2)
    labelling, _ = sheet.sheet(cell, ("yes", "no"), 2, 0)
    assert (labelling["label_3"] == "").all()
    assert {*labelling["label_1"], *labelling["label_2"]} == {"yes", "no"}


def test_the_sheet_does_not_tell_pies_and_the_key_does():
    labelling, key = sheet.sheet(CELL, CLASSES, 6, 3)
    assert labelling.columns.tolist() == [
        *("index", "label_1", "label_2", "label_3"),
        *("label_correct", "single_object", "fine_grained", "typical", "corrupted", "abstract"),
    ]
    assert (labelling.iloc[:, 4:] == "").all(axis=None)
    # Every row has three different labels, whatever kind of image it is.
    assert labelling[["label_1", "label_2", "label_3"]].nunique(axis=1).eq(3).all()
    assert labelling["index"].tolist() == key["index"].tolist()
    assert sorted(key.loc[key["pie"] == 1, "index"]) == [0, 1, 5]
    assert labelling["label_1"].tolist() == [CLASSES[LABEL[index]] for index in key["index"]]
