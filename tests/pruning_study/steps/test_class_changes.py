"""Comparisons of predictions made by hand, and what MLflow says about them."""

import numpy as np
import pytest

from analysis.compare.logged import loss_metrics, loss_tags
from pruning_study.steps.class_changes import class_changes, description, together
from pruning_study.training.evaluation import Predictions

CLASSES = ("cat", "dog")


def network(wrong, images=10):
    """Return predictions for so many images of each class; `wrong` are the places of wrong ones."""
    label = np.repeat([0, 1], images)
    predicted = label.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def test_losses_are_since_the_dense_network__and_lost_images_are_called_by_their_new_class():
    """Of 100 cats the control loses 5 and the pruned network 20, all of which are called dog now."""
    dense, control, after = network([], 100), network(range(5), 100), network(range(20), 100)
    changes = class_changes(CLASSES, [dense], [after], [control])
    row = changes.table.iloc[0]
    assert row[["recall_before", "recall_control", "recall_after"]].tolist() == [1, 0.95, 0.8]
    assert (row["loss"], row["loss_from_control"]) == pytest.approx((0.2, 0.15))
    assert changes.called(0) == ("dog", 20, 20)


def test_bounds_of_a_run_are_those_of_a_single_class_and_of_the_accuracy():
    """No image changes, so Tango's bounds are 2.706 / (100 + 2.706) and 2.706 / (200 + 2.706)."""
    same = class_changes(CLASSES, [network([], 100)], [network([], 100)])
    metrics = loss_metrics(same)
    assert metrics["worst_class_loss"] == 0
    assert metrics["worst_class_loss_upper"] == pytest.approx(2.7055 / 102.7055, abs=1e-5)
    assert metrics["accuracy_loss_upper"] == pytest.approx(2.7055 / 202.7055, abs=1e-5)


def test_the_class_that_lost_most_is_tagged_beside_the_outcome():
    changes = class_changes(CLASSES, [network([], 100)], [network(range(100, 120), 100)])
    assert loss_metrics(changes)["worst_class_loss"] == pytest.approx(0.2)
    assert loss_tags(changes) == {"worst_class": "dog", "outcome": "dog is worse (20.0 points)"}


def test_networks_of_several_seeds_are_joined_with_their_controls():
    """Cats lose one and two of ten images."""
    dense = network([])
    each = [class_changes(CLASSES, [dense], [network(range(lost))], [dense]) for lost in (1, 2)]
    joined = together(each)
    assert (joined.networks, len(joined.right["control"]), len(joined.predicted["after"])) == (2, 2, 2)
    assert joined.table["loss"].tolist() == pytest.approx([0.15, 0])


def test_the_description_has_both_questions_and_the_table_of_a_single_comparison():
    changes = class_changes(CLASSES, [network([], 100)], [network(range(20), 100)])
    one, several = description({"mine": changes}), description({"ratio 2": changes, "ratio 4": changes})
    for told, times in ((one, 1), (several, 2)):
        assert told.count("cat is worse: 100.0 ->") == told.count("Is compression to blame?") == times
    assert ("| cat | 100.0 | 80.0 | 20.0 |" in one, "# ratio" in one) == (True, False)
    assert ("| cat |" in several, several.count("# ratio")) == (False, 2)
