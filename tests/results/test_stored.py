"""The networks of studies without frames, from tables worked out by hand."""

import pandas as pd
import pytest
import stored
from published import Study, numbers


@pytest.fixture
def regularizers(tmp_path):
    """The quotient rises from seed to seed, and the overlap falls; UP is .01, .03 and .02 less accurate than MP."""
    norms = {"gradient_norm": [0.2, 0.4, 0.6], "penalty_gradient_norm": 0.2}
    overlaps = {f"overlap_{ratio}": [0.8, 0.7, 0.5] for ratio in (4, 10, 20)}
    dense = pd.DataFrame({"training": "l2", "seed": range(3), "accuracy": 0.9, **norms, **overlaps})
    dense.to_csv(tmp_path / "networks.csv", index=False)
    own = pd.DataFrame({"training": "l2", "seed": range(3), "ratio": 20, "largest_excess": 0.02})
    up, mp = own.assign(pruner="up", accuracy=[0.89, 0.87, 0.88]), own.assign(pruner="mp", accuracy=0.9)
    pd.concat([up, mp]).to_csv(tmp_path / "fine_tuned.csv", index=False)
    (tmp_path / "study.yaml").write_text("""
published:
  networks: stored.regularizers
  axes: {training: training, pruner: pruner}
  means: [{by: [training, pruner], where: {pruner: dense}, outcomes: [quotient, overlap_4]}]
  compare: [{axis: pruner, pairs: [[up, mp]], by: [training], outcomes: [accuracy]}]
""")
    return Study(tmp_path)


def test_networks_of_a_table_are_compared_as_those_of_frames(regularizers):
    table = numbers(regularizers).set_index("quantity")
    assert table["estimate"].to_dict() == pytest.approx({"quotient": 2, "overlap_4": 200 / 3, "accuracy": -2})
    # The standard error of 1, 2 and 3 is 3**-.5, and t of two degrees of freedom 4.3027.
    assert (table["high"] - table["estimate"])[["quotient", "accuracy"]].tolist() == pytest.approx(
        [4.3027 / 3**0.5] * 2, rel=1e-4
    )


def test_the_overlap_falls_with_the_quotient(regularizers):
    both = stored.gradients(regularizers)
    assert both["training"].tolist() == ["all", "l2"]
    assert both[["least", "most", "rho"]].to_numpy().ravel().tolist() == pytest.approx([1, 3, -1] * 2)


def test_corrupted_accuracy_is_a_mean_over_corruptions_less_what_a_line_expects_of_the_clean_accuracy(tmp_path):
    networks = pd.DataFrame({"seed": range(3), "method": "set", "ratio": 2, "clean": [0.5, 0.6, 0.7]})
    networks["largest_excess"] = 0.03
    networks = networks.assign(motion_blur=[0.3, 0.4, 0.5], fog=[0.2, 0.3, 0.4], none=0.72)
    networks.to_csv(tmp_path / "networks.csv", index=False)
    table = stored.sparse_from_start(Study(tmp_path))
    assert table["motion blur"].tolist() == pytest.approx([30, 40, 50])
    assert table["corrupted"].tolist() == pytest.approx([25, 35, 45])  # not of the images as they are
    assert table["beyond_clean"].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
