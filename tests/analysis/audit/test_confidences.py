"""How sure networks are, read from files of every kind, and what is refused in one line."""

import numpy as np
import pytest

from analysis.audit import confidences
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit

LIMIT = SizeLimit(0.1)
LABEL = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0, 1, 0]], np.float32)


@pytest.fixture
def npz(tmp_path):
    """Return a function that writes arrays beside predictions and returns the path."""

    def of(name="a.npz", **arrays):
        np.savez(tmp_path / name, label=LABEL, predicted=LABEL, **arrays)
        return tmp_path / name

    return of


@pytest.fixture
def csv(tmp_path):
    """Return a function that writes a table with a column of confidences and returns the path."""

    def of(*values, header="label,predicted,confidence"):
        rows = [f"{label},{label},{value}" for label, value in zip(LABEL, values, strict=True)]
        (tmp_path / "a.csv").write_text("\n".join([header, *rows]) + "\n")
        return tmp_path / "a.csv"

    return of


def read(*paths):
    return confidences.read(paths, np.tile(LABEL, (len(paths), 1)), LIMIT)


def refusal(*paths):
    with pytest.raises(StudyError) as caught:
        read(*paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_probabilities_and_logits_tell_the_same(npz):
    logits = np.log(np.maximum(PROBABILITIES, 1e-30)) + 5
    for path in (npz(probabilities=PROBABILITIES), npz("b.npz", logits=logits)):
        assert read(path).values == pytest.approx(np.array([[0.7, 0.5, 1]]))


def test_a_confidence_alone_is_enough(npz, csv):
    for path in (npz(confidence=np.array([0.5, 0.7, 1 + 1e-7], np.float32)), csv(0.5, " 0.7 ", 1)):
        found = read(path)
        assert found.values == pytest.approx(np.array([[0.5, 0.7, 1]]))
        assert found.values.max() == 1


def test_files_of_labels_alone_have_no_confidence(npz):
    assert read(npz(), npz("b.npz")).values is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"confidence": [0.5, np.nan, 1]}, "image 2 has no confidence"),
        ({"confidence": [0.5, 0.5, 1.2]}, "image 3 has the confidence 1.2: give probabilities from 0 to 1"),
        ({"confidence": [-0.1, 0.5, 1]}, "image 1 has the confidence -0.1"),
        ({"confidence": [0.5, np.inf, 1]}, "image 2 has the confidence inf"),
        ({"confidence": [0.5, 0.5]}, r"for each of 3 images; it is float64 of shape (2,)"),
        ({"confidence": ["a", "b", "c"]}, "confidence must be a number"),
        ({"probabilities": PROBABILITIES * [1, 1, -1]}, "image 1 has the probability -0.1"),
        ({"probabilities": PROBABILITIES * [1, np.nan, 1]}, "image 1 has the probability nan"),
        ({"probabilities": PROBABILITIES / [[1], [2], [1]]}, "the probabilities of image 2 sum to 0.5, not to 1"),
        ({"probabilities": PROBABILITIES[:2]}, r"(3 images, classes)"),
        ({"probabilities": PROBABILITIES[:, :1]}, r"(3 images, classes)"),
        ({"logits": np.where(np.arange(3)[:, np.newaxis] == 2, np.inf, PROBABILITIES)}, "the logits of image 3"),
    ],
)
def test_what_is_no_probability_is_refused_with_the_image(npz, arrays, message):
    path = npz(**{name: np.array(values) for name, values in arrays.items()})
    told = refusal(path)
    assert told.startswith(f"{path}: ")
    assert message in told


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "image 2 has no confidence: fill it in"),
        ("1.5", "image 2 has the confidence 1.5"),
        ("high", "image 2 has the confidence 'high', which is not a number"),
    ],
)
def test_a_table_with_a_cell_that_is_no_confidence_is_refused(csv, value, message):
    assert message in refusal(csv(0.5, value, 1))


def test_an_empty_last_row_of_a_spreadsheet_is_no_image(csv):
    path = csv("0.1,0.9", "0.6,0.4", "0.8,0.2", header="label,predicted,p1,p0")
    path.write_text(path.read_text() + ",,,\n")
    assert read(path).values == pytest.approx(np.array([[0.9, 0.6, 0.8]]))


def test_two_columns_of_confidences_are_refused(csv):
    path = csv("0.5,0.5", "0.5,0.5", "1,1", header="label,predicted,confidence,confidence")
    assert "2 columns have the name confidence" in refusal(path)


def test_confidences_that_only_some_files_have_are_missing_in_the_others(npz):
    with_all, without = npz(probabilities=PROBABILITIES), npz("b.npz")
    for paths in ((with_all, without), (without, with_all)):
        assert refusal(*paths) == f"{without} has no confidence, but {with_all} does: save all files in the same way"


def test_rows_of_other_images_and_too_few_columns_are_refused(npz):
    label = np.repeat(["a", "b", "c", "d"], 50)
    sure = np.repeat(np.eye(4) * 0.96 + 0.01, 50, axis=0)
    shuffled = npz("shuffled.npz", probabilities=sure[np.random.default_rng(0).permutation(200)])
    with pytest.raises(StudyError, match="in the order of the predictions"):
        confidences.read([shuffled], label[np.newaxis], LIMIT)
    few = npz("few.npz", probabilities=np.full((200, 3), 1 / 3))
    with pytest.raises(StudyError, match="probabilities have 3 columns, but 4 classes are predicted"):
        confidences.read([few], label[np.newaxis], LIMIT)
    other_order = npz("order.npz", probabilities=sure[:, [2, 0, 3, 1]])
    assert confidences.read([other_order], label[np.newaxis], LIMIT).values == pytest.approx(0.97)


@pytest.mark.parametrize("columns", [2, 3])
def test_the_largest_probabilities_beside_predictions_are_not_checked_and_give_no_confidence(tmp_path, columns):
    label = np.repeat([0, 1, 2], 10)
    largest = np.tile([0.6, 0.3, 0.1], (30, 1))[:, :columns]
    np.savez(tmp_path / "a.npz", label=label, predicted=label, probabilities=largest)
    confidences.check([tmp_path / "a.npz"], label[np.newaxis], LIMIT)
    with pytest.raises(StudyError, match="give a column for each class"):
        confidences.read([tmp_path / "a.npz"], label[np.newaxis], LIMIT)


@pytest.mark.parametrize(
    ("arrays", "classes"),
    [
        ({}, [0, 1]),
        ({"class_names": ["no", "yes"]}, ["no", "yes"]),
        ({"class_names": ["no", "yes"]}, [0, 1]),
    ],
)
def test_own_thresholds_leave_the_confidence_that_of_the_predicted_class(npz, arrays, classes):
    yes = np.array([0.1, 0.2, 0.4, 0.9])
    predicted = np.array(classes)[[0, 0, 1, 1]]  # the threshold is 0.3
    path = npz(probabilities=np.stack([1 - yes, yes], 1), **{name: np.array(each) for name, each in arrays.items()})
    found = confidences.read([path], predicted[np.newaxis], LIMIT)
    assert found.values == pytest.approx(np.array([[0.9, 0.8, 0.4, 0.9]]))
    assert found.notes == []


def test_a_table_names_the_columns_of_probabilities(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,predicted,prob_yes,prob_no\nno,no,0.1,0.9\nyes,yes,0.4,0.6\nno,no,0.2,0.8\n")
    found = confidences.read([path], np.array([["no", "yes", "no"]]), LIMIT)
    assert found.values == pytest.approx(np.array([[0.9, 0.4, 0.8]]))


def test_columns_without_names_give_the_largest_probability_and_a_note_if_predictions_differ(npz):
    yes = np.array([0.1, 0.2, 0.4, 0.9])
    path = npz(probabilities=np.stack([1 - yes, yes], 1))
    found = confidences.read([path], np.array([["no", "no", "yes", "yes"]]), LIMIT)
    assert found.values == pytest.approx(np.array([[0.9, 0.8, 0.6, 0.9]]))
    assert len(found.notes) == 1
    assert "does not say which probability is that of the predicted class 'no'" in found.notes[0]
    assert confidences.read([path], np.array([["no", "no", "no", "yes"]]), LIMIT).notes == []


def test_no_images_are_not_the_largest_probabilities():
    assert not confidences.are_largest(np.zeros((0, 4)))
