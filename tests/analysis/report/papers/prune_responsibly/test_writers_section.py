"""What the section on writers says of the worst units, as numbers."""

import numpy as np
import pandas as pd
import pytest

from analysis.report.papers.prune_responsibly.writers_section import worst_losses


def test_the_worst_units_lose_less_in_the_networks_that_did_not_pick_them():
    table = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1],
            "loss": [0.4, 0.2, 0.3, 0.1],
            "loss_elsewhere": [0.1, 0.05, 0.2, 0.05],
        }
    )
    before, after = np.full((2, 4), 0.9), np.full((2, 4), [0.5, 0.8, 0.9, 1.0])
    losses = worst_losses(table, before, after)
    # The worst of each network lose .4 and .3, and .1 and .2 in the other network; all lose .1 on average.
    assert losses.worst == pytest.approx((35, 15))
    assert losses.several == pytest.approx((25, 10))
    assert (losses.number, losses.share, losses.mean) == (2, 0.5, pytest.approx(10))


def test_networks_of_one_seed_with_other_weights_are_other_networks():
    """As above; both networks have seed 0."""
    table = pd.DataFrame(
        {
            "seed": 0,
            "params.weights_digest": ["one", "one", "two", "two"],
            "loss": [0.4, 0.2, 0.3, 0.1],
            "loss_elsewhere": [0.1, 0.05, 0.2, 0.05],
        }
    )
    before, after = np.full((2, 4), 0.9), np.full((2, 4), [0.5, 0.8, 0.9, 1.0])
    losses = worst_losses(table, before, after)
    assert losses.worst == pytest.approx((35, 15))
    assert losses.number == 2
