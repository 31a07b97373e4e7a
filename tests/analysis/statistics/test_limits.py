"""Decisions about limits, at their edges and by the rules for several networks."""

import numpy as np
import pytest

from analysis.statistics.hypothesis_tests import wilson_interval
from analysis.statistics.limits import Gate, Limits, Losses, damage, decide, in_points, merged, smallest_limit
from analysis.statistics.losses import Spread, joined, spread

Z = 1.6448536269514722


def lost_of(images: int, *lost: int) -> Losses:
    """The losses of one class, of one network or of several that lose other images."""
    label = np.zeros(images, int)
    rows = np.array([(np.arange(images) + 37 * each) % images < number for each, number in enumerate(lost)])
    singles = [spread(label, row[np.newaxis]) for row in rows] if len(lost) > 1 else []
    return Losses(
        ["cat"],
        np.array([images]),
        spread(label, rows),
        singles,
        [f"network {number}" for number in range(1, len(singles) + 1)],
    )


def known(value: float, deviation: float) -> Losses:
    """A loss with a normal interval and many images."""
    none = np.zeros(1)
    return Losses(
        ["cat"], np.array([10**9]), Spread(np.array([value]), 9, np.inf, np.array([deviation**2]), none, none, none)
    )


def test_a_loss_is_within_a_limit_only_if_its_bound_is_below_it():
    losses = known(0.02, 0.01)
    upper = losses.mean.upper()[0]
    assert upper == pytest.approx(0.02 + Z * 0.01)
    assert decide(losses, upper).state == "undecided"
    assert decide(losses, np.nextafter(upper, 1)).state == "within"


def test_a_loss_is_beyond_a_limit_only_if_its_lower_bound_is_above_it():
    """The lower bound is one-sided at .05 / 2."""
    losses = known(0.1, 0.01)
    low = losses.mean.lower(0.025)[0]
    assert low == pytest.approx(0.1 - 1.95996 * 0.01, rel=1e-5)
    assert decide(losses, low).state == "undecided"
    assert decide(losses, np.nextafter(low, 0)).state == "beyond"


def test_the_lower_bound_is_corrected_for_the_classes_and_the_upper_one_is_not():
    one = known(0.1, 0.01)
    ten = one._replace(names=list("abcdefghij"), images=np.full(10, 10**9), mean=joined([one.mean] * 10))
    assert decide(one, 0.079).state == "beyond"
    assert decide(ten, 0.079).state == "undecided"  # .1 - 2.807 * .01 is .0719
    assert decide(ten, 0.0719).state == "beyond"
    assert decide(ten, 0.1 + 1.65 * 0.01).state == "within"


def test_five_networks_that_all_lose_much_are_beyond_a_limit_however_they_vary():
    losses = lost_of(200, 30, 30, 200, 30, 30)
    assert losses.mean.lower(0.025)[0] < 0.05
    gate = decide(losses, 0.05)
    assert gate.state == "beyond"
    assert "in every network" in gate.reason


def test_a_single_network_beyond_the_limit_leaves_a_good_mean_undecided():
    """One of twenty networks loses 72 of 100 images."""
    losses = lost_of(100, 72, *[0] * 19)
    assert losses.mean.upper()[0] < 0.15
    gate = decide(losses, 0.15)
    assert gate.state == "undecided"
    assert "network 1 lost 72.0 points of cat" in gate.reason
    assert "smallest limit" not in gate.reason
    assert damage(losses, []).state == "undecided"


def test_a_class_is_too_small_if_no_change_could_pass():
    assert smallest_limit(np.array([50])) == pytest.approx(Z**2 / (50 + Z**2))
    gate = decide(lost_of(50, 0), 0.05)
    assert gate.state == "undecided"
    assert "5.2 points" in gate.reason
    assert decide(lost_of(52, 0), 0.05).state == "within"


def test_what_would_decide():
    """Three of a hundred images are lost. If this share stays lost, Wilson's bound of 330 images is .0497."""
    assert wilson_interval(9.9, 330, 0.9)[1] < 0.05 < wilson_interval(9.3, 310, 0.9)[1]
    assert "330 test images in all would decide" in decide(lost_of(100, 3), 0.05).reason


def test_classes_can_be_left_out_of_every_rule():
    small, large = lost_of(3, 3), lost_of(1000, 0)
    both = Losses(["dog", "cat"], np.array([3, 1000]), joined([small.mean, large.mean]))
    assert decide(both, 0.05).state == "undecided"
    assert decide(both.of(both.images >= 10), 0.05).state == "within"
    assert decide(both.of(both.images >= 10**4), 0.05).state == "undecided"


def test_an_unknown_bound_decides_nothing():
    assert decide(known(0.0, np.nan), 0.5).state == "undecided"


def test_a_doubt_keeps_a_gate_open_but_does_not_hide_a_loss():
    doubt = ["A network is at chance."]
    assert decide(lost_of(1000, 0)._replace(doubts=doubt), 0.05).state == "undecided"
    assert decide(lost_of(1000, 900)._replace(doubts=doubt), 0.05).state == "beyond"
    assert damage(lost_of(1000, 0)._replace(doubts=doubt), []).state == "undecided"
    assert damage(lost_of(1000, 0), []).state == "within"
    assert damage(lost_of(1000, 900), ["cat"]).state == "beyond"


def test_the_worst_gate_counts():
    gates = [Gate("within", "a."), Gate("undecided", "b."), Gate("beyond", "c.")]
    assert merged(gates) == Gate("beyond", "a. b. c.")
    assert merged(gates[:2]).state == "undecided"
    assert merged(gates[:1]).state == "within"


def test_limits_are_read_in_points():
    assert in_points(5, None) == Limits(0.05)
