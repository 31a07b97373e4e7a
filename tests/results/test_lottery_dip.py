"""The tables of lottery-dip/, on networks whose alphas and odds ratios are known by hand."""

import lottery_dip
import pandas as pd
import pytest
from scipy import stats


@pytest.fixture
def networks():
    """At both levels MP's alpha is 0, .01 and .02 below the control's, and the accuracy stays 90."""
    rows = [
        {"pruner": pruner, "level": level, "seed": seed, "accuracy_before": 90.0, "accuracy": 90.0, "alpha": alpha}
        for seed in range(3)
        for level in (1, 2)
        for pruner, alpha in (("none", 1.0 + level), ("mp", 1.0 + level - 0.01 * seed))
    ]
    return pd.DataFrame(rows).assign(raw_slope=1.0)


def test_the_odds_ratio_is_that_of_the_error(networks):
    # From 90 to 80 points the odds of an error go from 1/9 to 1/4.
    networks.loc[0, "accuracy"] = 80.0
    table = lottery_dip.with_odds_ratios(networks)
    assert table["odds_ratio"].tolist() == pytest.approx([9 / 4] + 11 * [1.0])
    assert table["alpha_minus_odds_ratio"][0] == pytest.approx(2.0 - 9 / 4)


def test_both_primary_tests_are_of_the_mean_over_the_levels_and_paired_by_seed(networks):
    networks.loc[networks["pruner"].eq("mp") & networks["level"].eq(2), "alpha"] -= 0.02
    table = lottery_dip.comparisons(lottery_dip.with_odds_ratios(networks)).set_index(["outcome", "level"])
    # Over the levels the differences are -.01, -.02 and -.03, whose standard error is .01 / 3 ** .5.
    row = table.loc[("alpha", "mean")]
    p = 2 * stats.t.sf(0.02 / (0.01 / 3**0.5), 2)
    assert row[["difference", "p", "n"]].tolist() == pytest.approx([-0.02, p, 3])
    assert table.loc[("alpha", "2"), "difference"] == pytest.approx(-0.03)
    # Accuracies are equal, so alpha minus the odds ratio differs as alpha does, and Holm doubles the equal p-values.
    primary = table["p_holm"].dropna()
    assert primary.to_dict() == pytest.approx(
        {("alpha", "mean"): 2 * p, ("alpha_minus_odds_ratio", "mean"): 2 * p}
    )


def test_a_network_at_chance_leaves_its_seed_out_of_the_mean(networks):
    missing = networks["seed"].eq(2) & networks["level"].eq(1) & networks["pruner"].eq("mp")
    table = lottery_dip.comparisons(lottery_dip.with_odds_ratios(networks[~missing]))
    alpha = table[table["outcome"].eq("alpha")].set_index("level")
    assert alpha["n"].to_dict() == {"1": 2, "2": 3, "mean": 2}
    assert alpha.loc["mean", "difference"] == pytest.approx(-0.005)
