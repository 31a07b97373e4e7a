import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.statistics.recalls import Recalls, class_metrics


def test_recalls_and_accuracies_of_answers():
    label = np.array([0, 0, 0, 1])
    right = np.array([[True, True, False, True], [False, False, False, True]])
    recalls = Recalls.from_answers(label, right)
    assert recalls.recall.round(3).tolist() == [[0.667, 1], [0, 1]]
    assert recalls.accuracy.tolist() == [0.75, 0.25]
    assert (len(recalls), recalls[np.array([False, True])].accuracy.tolist()) == (2, [0.25])


def test_only_the_balance_is_divided_by_the_accuracy():
    recalls = Recalls([[0.9, 0.7], [0, 0]], [0.8, 0])
    assert recalls.raw_balance.round(6).tolist() == [[0.1, -0.1], [0, 0]]
    assert recalls.balance[0].round(6).tolist() == [0.125, -0.125]
    assert np.isnan(recalls.balance[1]).all()


def test_class_metrics_of_four_predictions():
    metrics = class_metrics([0, 0, 1, 2], [0, 1, 1, 1], 3)
    assert metrics.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert metrics.support.tolist() == [2, 1, 1]
    assert metrics.recall.tolist() == [0.5, 1, 0]
    assert metrics.precision == pytest.approx([1, 1 / 3, 0])
    assert metrics.f1 == pytest.approx([2 / 3, 1 / 2, 0])


def test_a_class_without_images_has_no_recall():
    metrics = class_metrics([0, 0], [0, 0], 2)
    assert np.isnan(metrics.recall[1])
    assert metrics.precision.tolist() == [1, 0]


def test_small_integer_labels_do_not_overflow():
    label = np.arange(100, dtype=np.uint8)
    assert class_metrics(label, label, 100).recall.tolist() == [1] * 100


@pytest.mark.parametrize(
    ("label", "predicted", "said"),
    [
        ([0, 1], [0], "2 labels for 1 predictions"),
        ([0, 1], [0, 2], "predicted contains 2: give whole numbers from 0 to 1"),
        ([-1], [0], "label contains -1"),
        ([0, 1], [0, 0.9], "predicted contains 0.9"),
        ([0, np.nan], [0, 1], "label contains nan"),
    ],
)
def test_predictions_that_cannot_be_counted_are_refused(label, predicted, said):
    with pytest.raises(StudyError, match=said):
        class_metrics(label, predicted, 2)
