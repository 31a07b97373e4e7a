"""The tables of decay-resnet20/, on networks whose outcomes are known by hand."""

from itertools import product

import decay_resnet20
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests


@pytest.fixture
def networks():
    """The constant rate adds 1, 2 and 3 points to the control, and 1, 2 and 6 to the pruned network, which has 10."""
    rows = []
    for seed, training, pruner in product(range(3), ("printed", "constant"), ("none", "mp")):
        value = 10.0 * (pruner == "mp")
        if training == "constant":
            value += (1, 2, 3 if pruner == "none" else 6)[seed]
        outcomes = dict.fromkeys(decay_resnet20.OUTCOMES, 0.0) | {"beyond_floor": value}
        gaps = np.array([1.0, -1.0]) * seed * (1 + (training == "constant"))
        rows.append({"run_id": f"{training} {pruner} {seed}", "seed": seed, "pruner": pruner, "gaps": gaps, **outcomes})
    made = pd.DataFrame(rows)
    return decay_resnet20.named(made, {name for name in made["run_id"] if name.startswith("constant")})


def test_the_constant_rate_is_compared_with_the_recipe_seed_by_seed(networks):
    table = decay_resnet20.comparisons(networks).set_index(["outcome", "minus", "of"]).sort_index()
    primary = table.loc[("beyond_floor", "as printed")]
    assert primary["difference"].to_dict() == pytest.approx({"control": 2, "pruned": 3})
    p = [2 * stats.t.sf(2 * 3**0.5, 2), 2 * stats.t.sf(3 / (7 / 3) ** 0.5, 2)]  # deviations of 1 and of the root of 7
    assert primary["p"].tolist() == pytest.approx(p)
    assert primary["p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert table["p_holm"].notna().sum() == 2
    against_control = table.loc[("beyond_floor", "control"), "difference"]
    assert against_control.to_dict() == pytest.approx({"as printed": 10, "constant": 11})


def test_the_spread_is_that_of_gaps_over_seeds(networks):
    spread = decay_resnet20.means(networks).set_index(["training", "method"])["spread"]
    assert spread.xs("control", level="method").to_dict() == pytest.approx({"as printed": 1, "constant": 2})
