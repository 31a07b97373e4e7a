"""The tables of resnet20-full/, on networks whose outcomes are known by hand."""

import pandas as pd
import pytest
import resnet20_full
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.study.arrays import run_arrays
from tests import made_up_runs

ZEROS = dict.fromkeys(resnet20_full.OUTCOMES, 0.0)


@pytest.fixture
def networks():
    """Bird pays 1, 2 and 3 points in gradual pruning at 20; UP at 50 has an alpha higher by .1, .2 and .6 than MP."""
    rows = []
    for seed, cost, more in ((0, 1.0, 0.1), (1, 2.0, 0.2), (2, 3.0, 0.6)):
        rows += [
            {"method": "gradual MP", "ratio": 20.0, "seed": seed, **ZEROS, "bird_cost": cost},
            {"method": "MP", "ratio": 50.0, "seed": seed, **ZEROS, "alpha": 2.0 + seed},
            {"method": "UP", "ratio": 50.0, "seed": seed, **ZEROS, "alpha": 2.0 + seed + more},
        ]
    return pd.DataFrame(rows)


def test_birds_cost_is_tested_one_sided_and_up_against_mp_two_sided_and_both_are_primary(networks):
    table = resnet20_full.comparisons(networks)
    primary = table[table["p_holm"].notna()]
    assert primary[["outcome", "method", "minus", "ratio"]].to_numpy().tolist() == [
        ["bird_cost", "gradual MP", "control", 20.0],
        ["alpha", "UP", "MP", 50.0],
    ]
    assert primary["difference"].tolist() == pytest.approx([2.0, 0.3])
    # Standard deviations of 1 and of the root of .07.
    p = [stats.t.sf(2 * 3**0.5, 2), 2 * stats.t.sf(0.3 / (0.07 / 3) ** 0.5, 2)]
    assert primary["p"].tolist() == pytest.approx(p)
    assert primary["p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_bird_pays_the_recall_that_it_loses_beyond_the_accuracy_compared_with_the_control():
    def cell(pruner, ratio, alphas, schedule):
        made = made_up_runs.runs("cifar10-jpeg", "resnet20", pruner, ratio, alphas).assign(schedule=schedule)
        return made.rename(columns=lambda name: name.replace("/a", "/bird"))

    # At alpha a, bird has .8 + .1 a of its images right; the accuracy stays .8.
    control = cell("none", 1, [1.0, 1.1], "none")
    runs = made_up_runs.study(control, cell("mp", 20, [0.8, 0.6], "cubic"), cell("up", 50, [1.2, 1.0], "one-shot"))
    networks = resnet20_full.pruned_networks(runs, run_arrays(runs)).set_index(["method", "ratio", "seed"])
    assert networks["bird_cost"].to_dict() == pytest.approx(
        {
            ("gradual MP", 20.0, 0): 2.0,
            ("gradual MP", 20.0, 1): 5.0,
            ("UP", 50.0, 0): -2.0,
            ("UP", 50.0, 1): 1.0,
        }
    )
    assert networks["alpha"].tolist() == pytest.approx([0.8, 0.6, 1.2, 1.0])
    assert networks[["raw_slope", "alpha_beyond"]].isna().all(axis=None)  # the jackknife needs three networks


def test_slopes_beyond_proportion_are_those_from_the_control():
    def cell(pruner, ratio, alphas, schedule):
        made = made_up_runs.runs("cifar10-jpeg", "resnet20", pruner, ratio, alphas).assign(schedule=schedule)
        return made_up_runs.with_images(made).rename(columns=lambda name: name.replace("/a", "/bird"))

    control, twice = [1.0, 1.1, 1.2], [2.0, 2.2, 2.4]
    runs = made_up_runs.study(cell("none", 1, control, "none"), cell("mp", 20, twice, "cubic"))
    networks = resnet20_full.pruned_networks(runs, run_arrays(runs))
    # The accuracy, and therefore k = 1, stays, and every gap is twice that of the control.
    assert networks["raw_slope"].tolist() == pytest.approx([2.0] * 3)
    assert networks["alpha_beyond"].tolist() == pytest.approx([2.0] * 3)
    assert networks["alpha"].tolist() == pytest.approx(twice)
