"""Networks at chance level: which count, which are left out, and which collapsed."""

import numpy as np
import pytest

from analysis.statistics.guessing import without_guessing

# 900 images of the first class and 100 of the second. By chance 900 are right; in one case of a hundred more than 921
# (a standard deviation is 9.5, and 2.33 of them are 22).
LABEL = np.repeat([0, 1], [900, 100])


def right(*images):
    """Networks that are right about the first so many images."""
    return np.arange(1000) < np.array(images)[:, np.newaxis]


@pytest.mark.parametrize(
    ("before", "after", "collapsed"),
    [
        # Two right answers more or less are no collapse, although they cross the bound.
        (923, 920, 0),
        # Nine lost and none won: 2 / 2^9 is below .01; of seven it is 2 / 2^7.
        (929, 920, 1),
        (927, 920, 0),
        (990, 900, 1),
        (900, 100, 0),
    ],
)
def test_a_collapse_is_a_loss_beyond_doubt(before, after, collapsed):
    chance_level, remaining = without_guessing(LABEL, {"before": right(before), "after": right(after)}, paired=True)
    assert (chance_level.collapsed, chance_level.any_at_chance, chance_level.left_out) == (collapsed, True, False)
    assert remaining["after"].sum() == after


def test_pairs_are_left_out_together_and_independent_networks_one_by_one():
    networks = {"before": right(990, 900, 990), "after": right(980, 980, 900), "control": right(990, 990, 990)}
    pairs = without_guessing(LABEL, networks, paired=True)[1]
    assert {side: answers.sum(1).tolist() for side, answers in pairs.items()} == {
        "before": [990],
        "after": [980],
        "control": [990],
    }
    alone = without_guessing(LABEL, networks, paired=False)[1]
    assert {side: answers.sum(1).tolist() for side, answers in alone.items()} == {
        "before": [990, 990],
        "after": [980, 980],
        "control": [990, 990],
    }


def test_a_single_network_before_stays_with_those_that_are_left():
    chance_level, remaining = without_guessing(LABEL, {"before": right(990), "after": right(900, 980)}, paired=True)
    assert {side: answers.sum(1).tolist() for side, answers in remaining.items()} == {"before": [990], "after": [980]}
    assert chance_level.counts == {"before": (0, 1), "after": (1, 2)}
    chance_level, remaining = without_guessing(LABEL, {"before": right(900), "after": right(980, 980)}, paired=True)
    assert (chance_level.are_all_at_chance, len(remaining["after"])) == (True, 2)
