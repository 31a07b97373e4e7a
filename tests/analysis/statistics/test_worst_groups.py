"""The worst groups, picked on one network and judged on the others."""

import numpy as np
import pytest

from analysis.statistics.worst_groups import picked_and_judged


def test_groups_that_are_all_alike_look_worse_where_they_are_picked_and_not_elsewhere():
    rng = np.random.default_rng(0)
    names, before = np.arange(300), np.ones((6, 300))
    after = rng.binomial(20, 0.8, (6, 300)) / 20
    found = picked_and_judged(names, before, after, most=10)
    assert len(found) == 60
    assert found["loss"].mean() > 0.38
    assert found["loss_elsewhere"].mean() == pytest.approx(0.2, abs=0.015)


def test_a_group_that_every_network_loses_is_as_bad_elsewhere():
    before, after = np.full((3, 4), 0.9), np.full((3, 4), 0.8)
    after[:, 2] = [0.5, 0.4, 0.3]
    found = picked_and_judged(np.array(["a", "b", "c", "d"]), before, after)
    assert found["group"].tolist() == ["c"] * 3
    assert found["loss"].to_numpy() == pytest.approx([0.4, 0.5, 0.6])
    assert found["loss_elsewhere"].to_numpy() == pytest.approx([0.55, 0.5, 0.45])


def test_one_network_has_no_other_to_be_judged_on():
    found = picked_and_judged(np.array(["a", "b"]), np.ones((1, 2)), np.array([[0.5, 0.25]]), most=2)
    assert found["group"].tolist() == ["b", "a"]
    assert found["loss_elsewhere"].isna().all()
