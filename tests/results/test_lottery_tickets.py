"""The tables of lottery-tickets/, on networks whose alphas are known by hand."""

import lottery_tickets
import pandas as pd
import pytest
from scipy import stats

SEEDS = (0, 1, 2)


@pytest.fixture
def networks():
    """MP's alpha is .5, .51 and .52 above the control's at level 20 and alike before; UP's is .5 above MP's."""
    rows = []
    for seed in SEEDS:
        for level in range(1, 21):
            control = 0.9 + 0.01 * level + 0.001 * seed
            magnitude = control + (0.5 + 0.01 * seed if level == 20 else 0.01 * (seed - 1))
            for pruner, alpha in (("none", control), ("mp", magnitude), ("up", magnitude + 0.5 + 0.01 * seed)):
                own = dict.fromkeys(lottery_tickets.OUTCOMES, 50.0 + seed * (pruner == "mp"))
                rows.append({"seed": seed, "level": level, "pruner": pruner, "floor": 1.0, **own, "alpha": alpha})
    return pd.DataFrame(rows)


def test_mp_minus_the_control_is_paired_by_seed_and_its_twenty_intervals_hold_together(networks):
    table = lottery_tickets.comparisons(networks).set_index(["outcome", "pruner", "minus", "level"]).sort_index()
    row = table.loc["alpha", "mp", "none", 20]
    # The differences .5, .51 and .52 have the standard error .01 / 3 ** .5.
    half = stats.t.ppf(1 - 0.05 / 40, 2) * 0.01 / 3**0.5
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([0.51, 0.51 - half, 0.51 + half])
    assert row["p_bonferroni"] == pytest.approx(20 * 2 * stats.t.sf(0.51 / (0.01 / 3**0.5), 2))
    assert row["p_bonferroni"] < 0.01
    assert table.loc["alpha", "mp", "none", 3]["difference"] == pytest.approx(0)
    assert table.loc[("alpha", "up", "mp"), "difference"].tolist() == pytest.approx([0.51] * 20)
    assert len(table) == 5 * 2 * 20


def test_the_means_stand_beside_those_of_table_12(networks):
    table = lottery_tickets.means(networks).set_index(["pruner", "level"])
    assert table.loc[("none", 6), "alpha"] == pytest.approx(0.961)
    assert table["printed_alpha"]["mp"][[1, 6, 20]].tolist() == [1.01, 0.932, 1.91]
