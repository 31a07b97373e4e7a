"""Lottery tickets by level, on networks whose alphas are known by hand."""

from pathlib import Path

import pandas as pd
import pytest
import tickets
from published import Study, names, numbers
from scipy import stats


def study_of(folder, rows):
    study = Study(Path(tickets.__file__).parent / folder)
    study.spec = {name: part for name, part in study.spec.items() if name != "tables"}  # they need predictions
    study.networks = pd.DataFrame(rows).astype(dict.fromkeys(study.spec["axes"].keys() & rows[0].keys(), "category"))
    return study


def test_the_intervals_of_twenty_levels_hold_together():
    """At level 20 MP's alpha is .5, .51 and .52 above the control's; the standard error is .01 / 3 ** .5."""
    rows = [
        {"dataset": "mnist", "method": method, "level": level, "seed": seed, "alpha": alpha, "raw_slope": 1.0}
        for seed in range(3)
        for level in ("3", "20")
        for method, alpha in (("control", 1.0), ("MP", 1.5 + 0.01 * seed if level == "20" else 1.0 + 0.01 * seed))
    ]
    study = study_of(
        "lottery-tickets", [{**row, "accuracy": 90.0, "alpha_without": 1.0, "raw_slope_without": 1.0} for row in rows]
    )
    row = tickets.simultaneous(study).set_index(["quantity", "of", "level"]).loc[("alpha", "MP minus control", "20")]
    half = stats.t.ppf(1 - 0.05 / 40, 2) * 0.01 / 3**0.5
    assert row[["estimate", "low", "high"]].tolist() == pytest.approx([0.51, 0.51 - half, 0.51 + half])
    assert row["p"] == pytest.approx(20 * 2 * stats.t.sf(0.51 / (0.01 / 3**0.5), 2))


@pytest.fixture
def dip():
    """MP's alpha is 0, .01 and .02 below the control's at level 1, and .02 more at level 2; the odds ratio is 1."""
    return [
        {"method": method, "level": level, "seed": seed, "alpha": alpha, "alpha_minus_odds_ratio": alpha - 1}
        | {"odds_ratio": 1.0, "raw_slope": 1.0, "alpha_without": 1.0, "accuracy": 90.0}
        for seed in range(3)
        for level in ("1", "2")
        for method, alpha in (("control", 1.0), ("MP", 1.0 - 0.01 * seed - 0.02 * (level == "2")))
    ]


def test_the_primary_tests_of_the_dip_are_of_the_mean_over_the_levels(dip):
    table = numbers(study_of("lottery-dip", dip))
    rows = table.set_index(names(table))
    # Over the levels the differences are -.01, -.02 and -.03. Holm doubles the two equal p.
    p = 2 * stats.t.sf(0.02 / (0.01 / 3**0.5), 2)
    assert rows.loc["alpha/MP minus control", ["estimate", "p", "n"]].tolist() == pytest.approx([-0.02, p, 3])
    assert rows.loc["alpha/2/MP minus control", "estimate"] == pytest.approx(-0.03)
    assert rows["p_holm"].dropna().to_dict() == pytest.approx(
        {"alpha/MP minus control": 2 * p, "alpha_minus_odds_ratio/MP minus control": 2 * p}
    )


def test_a_network_at_chance_leaves_its_seed_out_of_the_mean(dip):
    there = [row for row in dip if (row["method"], row["level"], row["seed"]) != ("MP", "1", 2)]
    table = numbers(study_of("lottery-dip", there))
    row = table.set_index(names(table)).loc["alpha/MP minus control"]
    assert row[["estimate", "n"]].tolist() == pytest.approx([-0.015, 2])
