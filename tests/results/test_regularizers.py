"""The tables of regularizers/, on networks whose norms and overlaps are known by hand."""

import pandas as pd
import pytest
import regularizers


@pytest.fixture
def networks():
    """The quotient rises from seed to seed, and the overlap falls; the decoupled networks overlap by .1 more."""
    rows = []
    for training, more in (("l2 0.005", 0.0), ("decoupled 0.05", 0.1)):
        for seed in range(3):
            norms = {"gradient_norm": 0.2 * (seed + 1), "data_gradient_norm": 0.3, "penalty_gradient_norm": 0.2}
            overlaps = {f"overlap_{ratio}": 0.8 + more - 0.1 * seed - 0.01 * seed**2 for ratio in (4, 10, 20)}
            rows.append({"training": training, "seed": seed, "accuracy": 0.9 + 0.01 * seed, **norms, **overlaps})
    return pd.DataFrame(rows)


def test_the_summary_has_the_mean_and_the_range_of_each_training(networks):
    table = regularizers.summary(networks).set_index(["training", "measure"])
    quotient = table.loc["l2 0.005", "quotient"]
    assert quotient[["n", "mean", "least", "most"]].tolist() == pytest.approx([3, 2, 1, 3])
    # The standard error of 1, 2 and 3 is 3**-.5, and t of two degrees of freedom 4.3027.
    assert quotient["high"] - quotient["mean"] == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert table.loc["decoupled 0.05", "overlap_4"]["mean"] == pytest.approx(0.8 - 0.05 / 3)


def test_the_correlation_is_minus_one_within_each_training(networks):
    table = regularizers.correlations(networks).set_index(["networks", "overlap"])["rho"]
    assert table["l2 0.005"].tolist() == pytest.approx([-1] * 3)
    assert -1 < table["all", "overlap_20"] < 0


def test_the_overlap_of_decoupled_decay_is_compared_seed_by_seed(networks):
    networks.loc[5, "overlap_10"] += 0.03  # of three differences of .1, one is .13
    table = regularizers.decoupled(networks).set_index("measure")
    assert table["difference"]["overlap_10"] == pytest.approx(0.11)
    assert table["difference"]["quotient"] == 0
    assert table["n"].tolist() == [3] * len(table)


def test_a_folder_without_networks_is_left_alone(tmp_path):
    (tmp_path / "regularizers").mkdir()
    regularizers.write(tmp_path)
    assert not list((tmp_path / "regularizers").iterdir())


@pytest.fixture
def fine_tuned():
    """Undecayed pruning is .01 or .03 less accurate than magnitude pruning at ratio 20, and equally so before."""
    rows = []
    for training in ("l2 0.005", "decoupled 0.05"):
        for seed in range(2):
            for ratio in (4, 10, 20):
                loss = 0.01 + 0.02 * seed if ratio == 20 else 0.0
                for pruner, lost in (("mp", 0.0), ("up", loss)):
                    row = {"training": training, "seed": seed, "pruner": pruner, "ratio": ratio}
                    rows.append({**row, "accuracy": 0.9 - lost, "largest_excess": 0.02 + lost})
    return pd.DataFrame(rows)


def test_undecayed_and_magnitude_pruning_are_compared_by_the_dense_network(fine_tuned):
    table = regularizers.comparisons(fine_tuned).set_index(["training", "ratio", "outcome"])
    last = table.loc["l2 0.005", 20, "accuracy"]
    # The differences are -.01 and -.03, with a standard error of .01; t of one degree of freedom is 12.706.
    assert last["difference"] == pytest.approx(-0.02)
    assert last["difference_low"] == pytest.approx(-0.02 - 0.12706, rel=1e-4)
    assert table.loc["l2 0.005", 20, "largest_excess"]["difference"] == pytest.approx(0.02)
    assert table.loc["l2 0.005", 4, "accuracy"]["difference"] == 0
    # t is 2, whose p is twice the tail beyond 2 of a Cauchy variable; Holm doubles it for two trainings.
    assert last["p_holm"] == pytest.approx(2 * 0.29517, rel=1e-4)
    assert table["p_holm"].notna().sum() == 2


def test_all_files_are_written_from_the_networks_alone(networks, fine_tuned, tmp_path):
    folder = tmp_path / "regularizers"
    folder.mkdir()
    networks.to_csv(folder / "networks.csv", index=False)
    fine_tuned.to_csv(folder / "fine_tuned.csv", index=False)
    regularizers.write(tmp_path)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    tables = {"networks.csv", "fine_tuned.csv", "summary.csv", "correlations.csv", "decoupled.csv", "comparisons.csv"}
    assert names == tables | {"figures/overlap.png", "figures/differences.png"}
