import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.statistics.class_metrics import class_metrics


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
