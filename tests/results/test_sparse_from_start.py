"""The tables of sparse-from-start/, on networks whose accuracies are known by hand."""

import pandas as pd
import pytest
import sparse_from_start

KINDS = (("dense", 1), ("set", 2), ("rigl", 2), ("gradual", 2), ("set", 10), ("rigl", 10), ("gradual", 10))


@pytest.fixture
def networks():
    """Under fog RigL is .04 better than the dense networks, or .02 with the second seed; SET .01 better, or worse."""
    rows = []
    for seed in range(2):
        for method, ratio in KINDS:
            more = {"rigl": 0.04, "set": 0.01}.get(method, 0) - {"rigl": 0.02, "set": 0.02}.get(method, 0) * seed
            row = {"seed": seed, "method": method, "ratio": ratio, "clean": 0.7 - 0.01 * ratio, "largest_excess": 0.03}
            rows.append({**row, "fog": 0.5 + more, "frost": 0.3, "none": 0.72})
    return pd.DataFrame(rows)


def test_the_corrupted_accuracy_is_the_mean_over_corruptions_and_not_over_images_as_they_are(networks):
    measured = sparse_from_start.measured(networks)
    assert measured.loc[measured["method"].eq("dense"), "corrupted"].tolist() == pytest.approx([0.4, 0.4])
    assert measured.loc[measured["method"].eq("rigl"), "corrupted"].tolist() == pytest.approx([0.42, 0.42, 0.41, 0.41])


def test_what_the_clean_accuracy_lets_expect_is_taken_off_as_a_line(networks):
    on_a_line = networks.assign(fog=0.1 + networks["clean"], frost=0.3 + networks["clean"])
    assert sparse_from_start.measured(on_a_line)["beyond_clean"].tolist() == pytest.approx([0] * len(networks))


def test_each_ratio_has_its_baseline_among_the_primary_outcomes(networks):
    table = sparse_from_start.comparisons(sparse_from_start.measured(networks))
    primary = table[table["p_holm"].notna()].set_index(["method", "ratio", "baseline"])
    assert list(primary.index) == [
        *(("set", 2, "dense"), ("rigl", 2, "dense"), ("set", 10, "gradual"), ("rigl", 10, "gradual"))
    ]
    assert set(primary["outcome"]) == {"corrupted"}
    # The differences are .02 and .01, with a standard error of .005; t of one degree of freedom is 12.706.
    rigl = primary.loc["rigl", 2, "dense"]
    assert (rigl["difference"], rigl["difference_low"]) == pytest.approx((0.015, 0.015 - 0.06353), rel=1e-3)
    assert primary.loc["set", 2, "dense"]["difference"] == pytest.approx(0)


def test_the_summary_has_the_mean_of_each_kind(networks):
    table = sparse_from_start.summary(sparse_from_start.measured(networks)).set_index(["method", "ratio", "outcome"])
    assert len(table) == len(KINDS) * 7
    assert table.loc["rigl", 10, "fog"]["mean"] == pytest.approx(0.53)


def test_all_files_are_written_from_the_networks_alone(networks, tmp_path):
    folder = tmp_path / "sparse-from-start"
    folder.mkdir()
    sparse_from_start.write(tmp_path)
    assert not list(folder.iterdir())
    networks.to_csv(folder / "networks.csv", index=False)
    sparse_from_start.write(tmp_path)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"networks.csv", "summary.csv", "comparisons.csv", "figures/corruptions.png"}
