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


def test_a_control_stands_in_the_place_of_missing_networks_before():
    """Of 80 dogs of the control the pruned network has 40."""
    found = Comparison(CLASSES, LABEL, {"control": network(90, 80), "after": network(90, 40)})
    alone = Comparison(CLASSES, LABEL, {"before": network(90, 80), "after": network(90, 40)})
    assert (found.basis, alone.basis) == ("control", "pair")
    assert found.table["recall_before"].tolist() == [0.9, 0.8]
    pd.testing.assert_frame_equal(found.table, alone.table)
    assert found.damaged == ["dog"]
    assert [found.accuracy_of(side) for side in ("before", "after")] == pytest.approx([0.85, 0.65])


def test_groups_that_are_the_classes_have_their_numbers():
    right = {"before": network(90, 80), "after": network(80, 40), "control": network(88, 79)}
    classes = Comparison(CLASSES, LABEL, right)
    groups = Comparison(CLASSES, LABEL, right, groups={"animal": np.array(CLASSES)[LABEL]})
    assert groups.kind == "groups"
    pd.testing.assert_frame_equal(groups.ranked.rename(columns={"group": "class"}), classes.ranked)
    pd.testing.assert_frame_equal(groups.losses, classes.losses)
    assert groups.groupings["groups"].tolist() == [2]


def test_the_rows_keep_the_order_of_the_classes_and_the_ranked_ones_begin_with_the_class_that_lost_most():
    found = Comparison(
        CLASSES, LABEL, {"before": network(90, 90), "after": network(80, 40), "control": network(90, 90)}
    )
    assert found.table["class"].tolist() == ["cat", "dog"]
    assert found.ranked["class"].tolist() == ["dog", "cat"]
    assert found.ranked["loss"].tolist() == pytest.approx([0.5, 0.1])
    assert found.costs["cost"].tolist() == pytest.approx([-0.2, 0.2])


def test_what_was_worked_out_is_kept():
    found = Comparison(CLASSES, LABEL, {"before": network(90, 90), "after": network(80, 40)})
    for name in ("table", "ranked", "losses", "slopes", "chance_level", "worst"):
        assert getattr(found, name) is getattr(found, name)


def test_a_single_network_is_compared_with_all_its_controls():
    """The controls have accuracies of .85 and .75, and the network after has .65."""
    controls = np.vstack([network(90, 80), network(90, 60)])
    right = {"before": network(90, 80), "control": controls, "after": network(90, 40)}
    losses = Comparison(CLASSES, LABEL, right, frozenset()).losses.set_index("name")["loss"]
    assert losses.to_dict() == pytest.approx({"accuracy": 0.15, "cat": 0, "dog": 0.3})


def test_without_pairs_the_order_of_the_networks_after_does_not_matter():
    """In pairs all networks would lose .1, and in the other order 0, .1 and .2."""
    before = np.vstack([network(90, right) for right in (90, 80, 70)])
    after = np.vstack([network(90, right) for right in (70, 60, 50)])
    uppers = [
        Comparison(CLASSES, LABEL, {"before": before, "after": each}, frozenset()).accuracy_loss.upper[0]
        for each in (after, after[[1, 0, 2]])
    ]
    assert uppers[0] == pytest.approx(uppers[1])
    paired = Comparison(CLASSES, LABEL, {"before": before, "after": after}).accuracy_loss.upper[0]
    assert paired < uppers[0] - 0.05


def test_losses_beyond_proportion_are_from_the_control_to_the_network_after():
    before, control, after = (
        np.vstack([network(*each) for each in sides])
        for sides in ([(95, 85), (95, 86)], [(90, 60), (91, 62)], [(80, 50), (84, 40)])
    )
    found = Comparison(CLASSES, LABEL, {"before": before, "control": control, "after": after}).disproportionate
    # Cats lose .1 and .07. In proportion their mean error of .095 would grow as that of all, from .2425 by .1225.
    expected = 0.085 - 0.095 * 0.1225 / 0.2425
    assert found["disproportionate"].tolist() == pytest.approx([expected, -expected])


def test_what_retraining_alone_moves_is_not_beyond_proportion():
    """The control gains cats and loses dogs, and the network after is the one before."""
    before, control = network(80, 80), network(95, 65)
    sides = {"before": before, "control": control, "after": before}
    found = Comparison(CLASSES, LABEL, sides).disproportionate
    assert found["disproportionate"].tolist() == pytest.approx([0.15, -0.15])
    assert found["disproportionate_p"][0] > 0.5
    known = Comparison(CLASSES, LABEL, {"before": control, "after": before}).disproportionate
    assert known["disproportionate_p"][0] < 0.001


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
    beside = Comparison(CLASSES, LABEL, right | {"control": right["before"]}, frozenset({"before"}), groups=groups)
    assert beside.groupings["worst_group"].tolist() == [""]
