"""The tables of decay-pruners/, on networks whose alphas are known by hand."""

from itertools import product
from pathlib import Path

import decay_pruners
import folders
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

SLOPES = {"fashion-mnist": 1.0, "mnist": 2.0, "cifar10-jpeg": 3.0}


def network(training, dataset, seed, pruner, ratio, alpha):
    outcomes = dict.fromkeys(decay_pruners.OUTCOMES, 0.0) | {"alpha": alpha, "accuracy": 90.0 - (pruner == "up") * seed}
    key = {"training": training, "dataset": dataset, "seed": seed, "pruner": pruner, "ratio": ratio}
    return {**key, **outcomes, "schedule": "one-shot", "mitigation": "plain", "largest_excess": 5.0}


@pytest.fixture
def networks():
    """MP's alpha is .1, .2 and .3 times the slope of its data set above the control's; UP's is .02 below MP's."""
    rows = []
    for training, (dataset, slope), seed in product(("cosine", "constant"), SLOPES.items(), range(3)):
        rows.append(network(training, dataset, seed, "none", 1, 0.9))
        for ratio in decay_pruners.RATIOS:
            alpha = 0.9 + 0.1 * slope * (seed + 1)
            rows.append(network(training, dataset, seed, "mp", ratio, alpha))
            rows.append(network(training, dataset, seed, "up", ratio, alpha - 0.02 - 0.001 * seed))
        rows.append(network(training, dataset, seed, "mp", 6, 50.0))
        rows.append(network(training, dataset, seed, "gp", 2, 50.0))
        gradual = network(training, dataset, seed, "mp", 20, 70.0) | {"schedule": "cubic"}
        for each in (gradual, network(training, dataset, seed, "none", 1, 70.0)):
            rows += [
                {**each, "mitigation": "class offsets", "largest_excess": 3.0 - seed, "accuracy": 89.0},
                {**each, "mitigation": "teacher"},
            ]
        rows.append(gradual)
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed(networks):
    table = decay_pruners.comparisons(networks).set_index(["training", "outcome", "pruner", "dataset", "ratio"])
    alphas = table.xs("alpha", level="outcome")["difference"]
    for dataset, slope in SLOPES.items():
        assert alphas.xs(("mp", dataset), level=("pruner", "dataset")).tolist() == pytest.approx([0.2 * slope] * 10)
    assert alphas.xs("up", level="pruner").tolist() == pytest.approx([-0.021] * 30)
    assert len(table) == 2 * 4 * 2 * 3 * 5


def test_the_three_primary_outcomes_are_corrected_over_the_data_sets(networks):
    changed = networks.copy()
    is_one = changed["pruner"].eq("mp") & changed["dataset"].eq("mnist") & changed["seed"].eq(0)
    changed.loc[is_one, "alpha"] -= 1  # so that the three p differ
    table = decay_pruners.comparisons(changed)
    primary = table[table["p_holm"].notna()]
    found = set(zip(primary["outcome"], primary["pruner"], primary["ratio"], strict=True))
    assert found == decay_pruners.PRIMARY
    assert set(primary["training"]) == {"cosine"}
    light = primary[primary["pruner"].eq("mp")]
    # The differences of seeds are .1, .2 and .3 times the slope: t is 2 / (1 / 3 ** .5).
    assert light["p"].tolist()[::2] == pytest.approx([2 * stats.t.sf(2 * 3**0.5, 2)] * 2)
    assert light["p_holm"].tolist() == pytest.approx(multipletests(light["p"], method="holm")[1].tolist())


def test_the_correction_is_over_three_data_sets_also_where_one_is_there(networks):
    table = decay_pruners.comparisons(networks[networks["dataset"].eq("mnist")])
    primary = table[table["p_holm"].notna()]
    assert primary["p_holm"].tolist() == pytest.approx((3 * primary["p"]).clip(upper=1).tolist())


def test_a_cell_whose_networks_all_guess_has_no_difference(networks):
    is_cell = networks["pruner"].eq("up") & networks["ratio"].eq(50) & networks["dataset"].eq("mnist")
    table = decay_pruners.comparisons(networks[~is_cell])
    gone = table["pruner"].eq("up") & table["ratio"].eq(50) & table["dataset"].eq("mnist")
    assert table.loc[gone, "n"].tolist() == [0] * 8
    assert table.loc[~gone, "n"].eq(3).all()


def test_the_means_are_of_the_compared_networks_alone(networks):
    table = decay_pruners.means(networks).set_index(["training", "dataset", "pruner", "ratio"])
    assert table.loc[("cosine", "mnist", "mp", 2), "alpha"] == pytest.approx(1.3)
    assert len(table) == 2 * 3 * 11


def test_mitigations_are_compared_with_the_same_networks_without(networks):
    table = decay_pruners.mitigations(networks[networks["training"].eq("cosine")])
    by_outcome = table.set_index(["outcome", "mitigation"])["difference"]
    assert by_outcome["largest_excess", "class offsets"].tolist() == pytest.approx([-3] * 6)
    assert by_outcome["accuracy", "class offsets"].tolist() == pytest.approx([-1] * 6)
    assert by_outcome["largest_excess", "teacher"].tolist() == pytest.approx([0] * 6)
    assert table["n"].tolist() == [3] * 24


def test_gradual_pruning_is_compared_with_the_control_and_with_one_step(networks):
    table = decay_pruners.gradual(networks[networks["training"].eq("cosine")])
    alphas = table[table["outcome"].eq("alpha") & table["ratio"].eq(20)].set_index(["minus", "dataset"])["difference"]
    # Gradual MP has alpha 70, the control .9, and MP in one step .9 and .2 times the slope of its data set.
    assert alphas["none"].tolist() == pytest.approx([69.1] * 3)
    assert alphas["one-shot"].to_dict() == pytest.approx(
        {dataset: 69.1 - 0.2 * slope for dataset, slope in SLOPES.items()}
    )
    assert table.loc[table["ratio"].ne(20), "n"].eq(0).all()


def test_offsets_a_teacher_and_a_schedule_are_read_from_params():
    runs = folders.runs(Path(decay_pruners.__file__).parent, "mitigation-confirmation")[0]
    found = decay_pruners.measured(runs)[["pruner", "schedule", "mitigation"]]
    assert {*found.itertuples(index=False, name=None)} >= {
        ("mp", "one-shot", "plain"),
        ("mp", "cubic", "plain"),
        ("mp", "cubic", "class offsets"),
        ("mp", "cubic", "teacher"),
        ("none", "one-shot", "teacher"),
    }
