"""The tables of decay/: what a learning rate that falls to 0 does, on networks whose values are known by hand."""

import decay
import numpy as np
import pandas as pd
import pytest

from tests import made_up_runs


def networks(decay_name, pruner, ratio, alphas, **params):
    """Networks of which class b loses a tenth of (alpha - 1) beyond the accuracy, on 100 images a class."""
    params = {"decay": decay_name, "fine_tune_decay": decay_name, "schedule": "cubic", **params}
    made = made_up_runs.runs("fashion-mnist", "lenet5", pruner, ratio, alphas, **params)
    return made_up_runs.with_images(made)


@pytest.fixture(scope="module")
def primary():
    """Three seeds: under the constant rate class b moves by 3, 4 and 5 points, under cosine 1; pruned, 2 more."""
    runs = made_up_runs.study(
        networks("none", "none", 1, [1.3, 1.4, 1.5]),
        networks("none", "mp", 20, [1.5, 1.6, 1.7]),
        networks("none", "mp", 10, [1.9, 1.9, 1.9]),
        networks("cosine", "none", 1, [1.1, 1.1, 1.1]),
        networks("cosine", "mp", 20, [1.3, 1.3, 1.3]),
        networks("cosine", "mp", 20, [1.0, 1.0, 1.0], distill="0.5"),
    )
    return decay.primary_networks(runs.fillna({"params.distill": "0.0"}))


def test_other_ratios_and_mitigations_are_left_out(primary):
    assert primary.groupby(["training", "method"], observed=True).size().to_dict() == {
        ("constant", "control"): 3,
        ("constant", "pruned"): 3,
        ("cosine", "control"): 3,
        ("cosine", "pruned"): 3,
    }


def test_the_largest_excess_is_in_points(primary):
    means = primary.groupby(["training", "method"], observed=True)["largest_excess"].mean()
    assert means.to_dict() == pytest.approx(
        {("constant", "control"): 4, ("constant", "pruned"): 6, ("cosine", "control"): 1, ("cosine", "pruned"): 3}
    )
    assert (primary["beyond_floor"] == primary["largest_excess"] - primary["floor"]).all()


def test_trainings_are_compared_network_by_network(primary):
    """Without the floor the differences of the three seeds are -2, -3 and -4, and pruned minus control is 2."""
    without_floor = primary.assign(beyond_floor=primary["largest_excess"])
    rows = decay.paired_tests(without_floor).set_index(["family", "of"])
    control = rows.loc[("cosine minus constant", "control")]
    assert control["difference"] == pytest.approx(-3)
    assert control["difference_high"] == pytest.approx(-3 + 4.302653 / 3**0.5)  # t of 2 degrees of freedom
    assert rows.loc[("pruned minus control", "constant"), "difference"] == pytest.approx(2)
    both = rows.loc["cosine minus constant", "p"]
    assert rows.loc["cosine minus constant", "p_holm"].max() == pytest.approx(2 * both.min(), abs=both.max())


def test_class_offsets_are_compared_with_the_same_networks_without_them():
    """Class b of the pruned networks loses 3 points beyond the accuracy, and 1, 1 and 2 with offsets."""
    runs = made_up_runs.study(
        networks("cosine", "mp", 20, [1.3, 1.3, 1.3], class_offsets="none"),
        networks("cosine", "mp", 20, [1.1, 1.1, 1.2], class_offsets="dense"),
    )
    rows = decay.offsets(runs, decay.primary_networks(runs)).set_index("outcome")
    row = rows.loc["largest_excess"]
    assert (row["training"], row["method"], row["n"]) == ("cosine", "pruned", 3)
    assert (row["with_offsets"], row["without"]) == pytest.approx((4 / 3, 3))
    assert row["difference"] == pytest.approx(-5 / 3)
    assert rows.loc["accuracy", "difference"] == 0


def test_a_training_is_what_happens_before_pruning_and_what_happens_after():
    runs = made_up_runs.study(
        networks("none", "none", 1, [1.3], fine_tune_average_epochs="0"),
        networks("none", "none", 1, [1.2], average_epochs="7", fine_tune_average_epochs="7"),
        networks("cosine", "none", 1, [1.1], fine_tune_average_epochs="0"),
        networks("cosine", "none", 1, [1.1], fine_tune_decay="none", fine_tune_average_epochs="0"),
        networks("cosine", "none", 1, [1.1], fine_tune_decay="none", fine_tune_average_epochs="7"),
    )
    trainings = ["constant", "cosine", "average", "cosine, then constant", "cosine, then average"]
    assert list(decay.primary_networks(runs)["training"]) == trainings


def test_the_spread_is_the_mean_variance_of_the_classes():
    """Gaps 1, 2, 3 have variance 1, and 0, 2, 4 have 4: twice as much spread is a ratio of 4."""
    gaps = {"constant": [0, 2, 4], "cosine": [1, 2, 3]}
    made = pd.DataFrame(
        [
            {"dataset": "mnist", "training": name, "method": "control", "gaps": np.array([gap, -gap])}
            for name, values in gaps.items()
            for gap in values
        ]
    )
    rows = decay.spread(made).set_index("training")
    assert rows["deviation"].to_dict() == {"constant": 2, "cosine": 1}
    assert rows.loc["cosine", "variance_ratio"] == 4


def test_twice_as_wide_a_difference_needs_four_times_as_many_networks():
    """Pruned minus control is 0, 2, 4 at the constant rate, and 1, 2, 3 under the cosine."""
    made = pd.DataFrame(
        [
            {"dataset": "mnist", "training": name, "method": method, "seed": seed, "beyond_floor": level + control}
            for name, values in {"constant": [0, 2, 4], "cosine": [1, 2, 3]}.items()
            for seed, (level, control) in enumerate(zip(values, [5, 1, 7], strict=True))
            for method, level, control in [("control", 0, control), ("pruned", level, control)]
        ]
    )
    rows = decay.needed(made).set_index("training")
    assert rows["deviation"].to_dict() == {"constant": 2, "cosine": 1}
    assert rows.loc["cosine", "variance_ratio"] == 4
