"""The tables of lottery-tickets/, on networks whose alphas are known by hand."""

import lottery_tickets
import pandas as pd
import pytest
from scipy import stats

SEEDS = (0, 1, 2)


@pytest.fixture
def networks():
    """On both data sets: MP's alpha is .5, .51 and .52 above the control's at level 20 and alike before."""
    return pd.concat([_of("fashion-mnist"), _of("mnist")])


def _of(dataset):
    """UP's alpha is .5, .51 and .52 above MP's."""
    rows = []
    for seed in SEEDS:
        for level in range(1, 21):
            control = 0.9 + 0.01 * level + 0.001 * seed
            magnitude = control + (0.5 + 0.01 * seed if level == 20 else 0.01 * (seed - 1))
            for pruner, alpha in (("none", control), ("mp", magnitude), ("up", magnitude + 0.5 + 0.01 * seed)):
                own = dict.fromkeys(lottery_tickets.OUTCOMES, 50.0 + seed * (pruner == "mp"))
                rows.append(
                    {
                        "dataset": dataset,
                        "seed": seed,
                        "level": level,
                        "pruner": pruner,
                        "floor": 1.0,
                        **own,
                        "alpha": alpha,
                    }
                )
    return pd.DataFrame(rows)


def test_mp_minus_the_control_is_paired_by_seed_and_its_twenty_intervals_hold_together(networks):
    table = lottery_tickets.comparisons(networks)
    assert len(table) == 2 * 5 * 2 * 20
    table = table.set_index(["dataset", "outcome", "pruner", "minus", "level"]).sort_index().loc["mnist"]
    row = table.loc["alpha", "mp", "none", 20]
    # The differences .5, .51 and .52 have the standard error .01 / 3 ** .5.
    half = stats.t.ppf(1 - 0.05 / 40, 2) * 0.01 / 3**0.5
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([0.51, 0.51 - half, 0.51 + half])
    assert row["p_bonferroni"] == pytest.approx(20 * 2 * stats.t.sf(0.51 / (0.01 / 3**0.5), 2))
    assert row["p_bonferroni"] < 0.01
    assert table.loc["alpha", "mp", "none", 3]["difference"] == pytest.approx(0)
    assert table.loc[("alpha", "up", "mp"), "difference"].tolist() == pytest.approx([0.51] * 20)


def test_the_means_stand_beside_those_of_table_12(networks):
    table = lottery_tickets.means(networks).set_index(["dataset", "pruner", "level"]).loc["mnist"]
    assert table.loc[("none", 6), "alpha"] == pytest.approx(0.961)
    assert table["printed_alpha"]["mp"][[1, 6, 20]].tolist() == [1.01, 0.932, 1.91]


def test_heavy_and_light_pruning_of_mnist_are_the_two_primary_tests(networks):
    # A network that guesses at level 3 has no mean over levels 1 to 12.
    guesses = networks["dataset"].eq("mnist") & networks["seed"].eq(2) & networks["level"].eq(3)
    networks["alpha"] += 0.012 * (networks["pruner"].eq("mp") & networks["level"].eq(5))
    table = lottery_tickets.light_and_heavy(networks[~guesses])
    table = table.set_index(["dataset", "outcome", "levels"]).sort_index()
    alpha = table.loc["mnist", "alpha"]
    # MP minus the control at levels 1 to 12: -.01 and 0, and .012 at one level of twelve.
    assert alpha.loc["1 to 12", "difference"] == pytest.approx(-0.005 + 0.001)
    assert alpha["n"].to_dict() == {"1 to 12": 2, "20": 3}
    assert alpha.loc["20", "difference"] == pytest.approx(0.51)
    at_20 = 2 * stats.t.sf(0.51 / (0.01 / 3**0.5), 2)
    assert alpha["p_holm"].to_dict() == pytest.approx({"20": 2 * at_20, "1 to 12": alpha.loc["1 to 12", "p"]})
    assert table["p_holm"].notna().sum() == 2
