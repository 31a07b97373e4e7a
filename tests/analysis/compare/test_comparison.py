"""What follows from made-up networks before and after compression, by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.compare.comparison import Comparison

LABEL = np.repeat([0, 1], 100)
CLASSES = ("cat", "dog")


def network(cats, dogs):
    """Return whether a network is right about each image, (1, images), if it has so many of each hundred right."""
    return np.concatenate([np.arange(100) < cats, np.arange(100) < dogs])[np.newaxis]


def test_groups_that_are_the_classes_have_their_numbers():
    right = {"before": network(90, 80), "after": network(80, 40), "control": network(88, 79)}
    classes = Comparison(CLASSES, LABEL, right)
    groups = Comparison(CLASSES, LABEL, right, groups={"animal": np.array(CLASSES)[LABEL]})
    assert groups.kind == "groups"
    pd.testing.assert_frame_equal(groups.ranked.rename(columns={"group": "class"}), classes.ranked)
    assert groups.groupings["groups"].tolist() == [2]


def test_the_rows_keep_the_order_of_the_classes_and_the_ranked_ones_begin_with_the_class_that_lost_most():
    found = Comparison(CLASSES, LABEL, {"before": network(90, 90), "after": network(80, 40)})
    assert found.table["class"].tolist() == ["cat", "dog"]
    assert found.ranked["class"].tolist() == ["dog", "cat"]
    assert found.ranked["loss"].tolist() == pytest.approx([0.5, 0.1])
    assert found.accuracy[["before", "after", "loss"]].tolist() == pytest.approx([0.9, 0.6, 0.3])


def test_what_was_worked_out_is_kept():
    found = Comparison(CLASSES, LABEL, {"before": network(90, 90), "after": network(80, 40)})
    for name in ("table", "ranked", "accuracy", "slopes", "chance_level", "worst"):
        assert getattr(found, name) is getattr(found, name)


def test_a_single_network_is_compared_with_all_its_controls():
    controls = np.vstack([network(90, 80), network(90, 60)])
    right = {"before": network(90, 80), "control": controls, "after": network(90, 40)}
    found = Comparison(CLASSES, LABEL, right, frozenset())
    assert found.losses("control").mean.value.tolist() == pytest.approx([0, 0.3])
    assert found.accuracy["loss_from_control"] == pytest.approx(0.15)


def test_without_pairs_the_order_of_the_networks_after_does_not_matter():
    """In pairs all networks would lose .1, and in the other order 0, .1 and .2."""
    before = np.vstack([network(90, right) for right in (90, 80, 70)])
    after = np.vstack([network(90, right) for right in (70, 60, 50)])
    uppers = [
        Comparison(CLASSES, LABEL, {"before": before, "after": each}, frozenset()).accuracy["loss_high"]
        for each in (after, after[[1, 0, 2]])
    ]
    assert uppers[0] == pytest.approx(uppers[1])
    paired = Comparison(CLASSES, LABEL, {"before": before, "after": after}).accuracy["loss_high"]
    assert paired < uppers[0] - 0.05


def test_the_first_class_may_be_the_worst():
    before = np.vstack([network(90, 90)] * 3)
    after = np.vstack([network(right, 90) for right in (50, 52, 54)])
    worst = Comparison(CLASSES, LABEL, {"before": before, "after": after}).worst
    assert worst["name"].tolist() == ["cat"]


def test_pairs_without_a_control_have_a_group_that_costs_most():
    right = {"before": np.vstack([network(90, 90)] * 3)}
    right["after"] = np.vstack([network(kept, 90) for kept in (50, 52, 54)])
    groups = {"animal": np.array(CLASSES)[LABEL]}
    found = Comparison(CLASSES, LABEL, right, frozenset({"before"}), groups=groups)
    assert found.groupings["worst_group"].tolist() == ["cat"]


def test_a_class_that_every_single_network_lost_is_damaged():
    """The losses of two networks, 95 and 15 points, vary too much for the test of their mean."""
    right = {"before": np.vstack([network(100, 90)] * 2), "after": np.vstack([network(5, 90), network(85, 90)])}
    found = Comparison(CLASSES, LABEL, right)
    assert found.table["p_holm"][0] > 0.05
    assert found.damaged == ["cat"]


def test_what_lost_images_are_called_is_counted():
    """Of forty lost dogs, 25 are called cats, and the others by no known name."""
    before, after = network(90, 80), network(90, 40)
    called = np.where(np.arange(200) % 100 < 65, 0, -1)[np.newaxis]
    predicted = {"before": np.where(before, LABEL, -1), "after": np.where(after, LABEL, called)}
    found = Comparison(CLASSES, LABEL, {"before": before, "after": after}, predicted=predicted)
    assert found.called(1) == ("cat", 25, 40)
    assert found.called(0) is None
    # 65 images are called dog before and after: none that is not one, so precision is 1.
    assert found.table["precision_after"].tolist() == pytest.approx([90 / 115, 1])
    assert found.table["f1_loss"][1] == pytest.approx(160 / 180 - 80 / 140)
