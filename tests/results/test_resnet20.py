"""The table of resnet20/, on networks whose outcomes are known by hand."""

import pandas as pd
import pytest
import resnet20
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests import made_up_runs

# Alpha of UP minus that of MP, seed by seed. MP with as many weights was not run on the GPU's seeds, 0 to 3.
_AS_ASKED = [-1.0, -2.0, -3.0, -2.0, -1.0, -3.0]
_BY_WEIGHTS = [1.0, 3.0]
_BY_TEXT = [2.0, 2.0, 2.0, 4.0, 6.0, 8.0]


@pytest.fixture
def networks():
    """MP has alpha 10 wherever it ran, and UP differs from each MP in a way of its own at ratio 50, by 0 at 10."""
    rows = []

    def add(protocol, pruner, ratio, seeds, values):
        outcomes = dict.fromkeys(resnet20.OUTCOMES, 0.0)
        for seed, value in zip(seeds, values, strict=True):
            key = {"protocol": protocol, "pruner": pruner, "ratio": ratio, "seed": seed}
            rows.append({**key, **outcomes, "alpha": 10 + value})

    seeds, on_cpu = range(6), (4, 5)
    for ratio, as_many in ((10.0, 5.4), (50.0, 32.0)):
        is_50 = ratio == 50
        add("released", "mp", ratio, seeds, [-is_50 * value for value in _AS_ASKED])
        add("released", "up-signed", ratio, seeds, [0.0] * 6)
        add("released", "mp", as_many, on_cpu, [-is_50 * value for value in _BY_WEIGHTS])
        add("paper", "mp", ratio, seeds, [0.0] * 6)
        add("paper", "up", ratio, seeds, [is_50 * value for value in _BY_TEXT])
    return pd.DataFrame(rows)


def test_undecayed_is_compared_with_magnitude_pruning_in_three_ways(networks):
    table = (
        resnet20.comparisons(networks).set_index(["outcome", "ratio", "seeds", "compared"]).sort_index().loc["alpha"]
    )
    names = [resnet20.AS_ASKED, resnet20.BY_WEIGHTS, resnet20.BY_TEXT]
    at_50 = table.loc[50.0]
    assert at_50.loc["all"].loc[names, "difference"].tolist() == pytest.approx([-2, 2, 4])
    assert at_50.loc["all"].loc[names, "n"].tolist() == [6, 2, 6]
    assert at_50.loc["all"].loc[names, "ratio_of_mp"].tolist() == [50, 32, 50]
    assert at_50.loc["on a CPU"].loc[names, "difference"].tolist() == pytest.approx([-2, 2, 7])
    assert table.loc[10.0, "difference"].tolist() == [0] * len(table.loc[10.0])


def test_holm_is_over_the_two_primary_tests(networks):
    table = resnet20.comparisons(networks)
    corrected = table[table["p_holm"].notna()]
    p = [stats.ttest_1samp(_AS_ASKED, 0).pvalue, stats.ttest_1samp(_BY_WEIGHTS, 0).pvalue]
    assert corrected["compared"].tolist() == [resnet20.AS_ASKED, resnet20.BY_WEIGHTS]
    assert set(corrected["ratio"]) == {50.0}
    assert set(corrected["seeds"]) == {"all"}
    assert corrected["p"].tolist() == pytest.approx(p)
    assert corrected["p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_at_equal_accuracy_magnitude_pruning_stands_between_its_ratios():
    # UP at 10 is as accurate as MP half-way from 5.4 to 10, where alpha is 1.1. At 50 it is where alpha is 1.95.
    cells = [
        ("mp", 5.4, 0.81, 1.0),
        ("mp", 10, 0.79, 1.2),
        ("mp", 32, 0.78, 1.8),
        ("mp", 50, 0.76, 2.4),
        ("up-signed", 10, 0.8, 2.0),
        ("up-signed", 50, 0.775, 2.0),
    ]
    released = [_runs(*cell, protocol="released") for cell in cells]
    by_text = [_runs(pruner, ratio, 0.8, 1.5) for pruner, ratio in (("mp", 10), ("up", 10))]
    table = resnet20.at_equal_accuracy(made_up_runs.study(*released, *by_text)).set_index("ratio")
    assert table["difference"].to_dict() == pytest.approx({10: 0.9, 50: 0.05})
    assert table["n"].tolist() == [2, 2]


def _runs(pruner, ratio, accuracy, alpha, **params):
    """Six networks, all of one accuracy and alpha but for those of a GPU, seeds 0 to 3, where alpha is 0."""
    made = made_up_runs.runs("cifar10-jpeg", "resnet20", pruner, ratio, [0.0] * 4 + [alpha] * 2, **params)
    after = made.filter(like="recall_after/") * accuracy / made[["accuracy_after"]].to_numpy()
    return made.assign(**after, accuracy_after=accuracy)
