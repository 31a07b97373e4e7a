"""Networks at chance level: which count, which are left out, and which collapsed."""

import numpy as np
import pytest

from analysis.statistics.guessing import chance_level

# 500 images of either class. By chance 500 are right; in one case of a hundred more than 537 (a standard deviation is
# 15.8, and 2.33 of them are 37).
LABEL = np.arange(1000) % 2


def right(*images):
    """Networks that are right about the first so many images."""
    return np.arange(1000) < np.array(images)[:, np.newaxis]


@pytest.mark.parametrize(
    ("before", "after", "collapsed"),
    [
        # Two right answers more or less are no collapse, although they cross the bound.
        (538, 536, 0),
        # Nine lost and none won: 2 / 2^9 is below .01; of seven it is 2 / 2^7.
        (545, 536, 1),
        (543, 536, 0),
        (990, 500, 1),
        (500, 100, 0),
    ],
)
def test_a_collapse_is_a_loss_beyond_doubt(before, after, collapsed):
    counts, pairs = chance_level(LABEL, {"before": right(before), "after": right(after)}, paired=True)
    assert (counts.collapsed, counts.any_at_chance, counts.are_all_at_chance) == (collapsed, True, True)
    assert len(pairs.after) == 0


def test_pairs_without_a_network_at_chance_are_sound_whatever_their_control():
    networks = {"before": right(990, 500, 990), "after": right(980, 980, 500), "control": right(500, 990, 990)}
    counts, pairs = chance_level(LABEL, networks, paired=True)
    assert [side.sum(1).tolist() for side in pairs] == [[990], [980]]
    assert counts.counts == {"before": (1, 3), "after": (1, 3), "control": (1, 3)}


def test_a_single_network_before_is_that_of_all_after():
    counts, pairs = chance_level(LABEL, {"before": right(990), "after": right(500, 980)}, paired=True)
    assert [side.sum(1).tolist() for side in pairs] == [[990], [980]]
    assert counts.counts == {"before": (0, 1), "after": (1, 2)}
    assert chance_level(LABEL, {"before": right(500), "after": right(980, 980)}, paired=True)[0].are_all_at_chance


def test_independent_networks_are_no_pairs():
    networks = {"before": right(990, 500), "after": right(980, 970, 960)}
    counts, pairs = chance_level(LABEL, networks, paired=False)
    assert (counts.are_all_at_chance, len(pairs.after)) == (False, 0)
