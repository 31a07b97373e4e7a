"""How much networks differ under each training, on networks whose values are known by hand."""

from pathlib import Path

import decay
import numpy as np
import pandas as pd
import pytest
from published import Study


def study_of(values):
    """A study in which each training has these values: in dense networks, in pruned minus control, and as cost."""
    rows = []
    for training, own in values.items():
        for seed, value in enumerate(own):
            key = {"dataset": "mnist", "training": training, "seed": seed, "gaps": np.array([value, -value])}
            rows.append({**key, "method": "control", "beyond_floor": 10.0 * seed, "named_cost": np.nan})
            rows.append({**key, "method": "pruned", "beyond_floor": 10.0 * seed + value, "named_cost": float(value)})
    study = Study(Path())
    study.spec, study.networks = {}, pd.DataFrame(rows)
    return study


def test_the_deviation_is_the_root_of_the_mean_variance():
    table = decay.deviations(study_of({"constant": [0, 2, 4], "cosine": [1, 2, 3]})).set_index(["of", "training"])
    for of in ("gaps", "beyond_floor", "cost"):
        assert table["deviation"][of].to_dict() == {"constant": 2, "cosine": 1}


def test_twice_as_much_deviation_needs_four_times_as_many_networks():
    table = decay.variance_ratios(study_of({"constant": 5 * [0, 2, 4], "cosine": 5 * [1, 2, 3]}))
    assert table.set_index(["of", "training"])["ratio"].to_dict() == pytest.approx(
        {(of, "cosine"): 4 for of in ("gaps", "beyond_floor", "cost")}
    )
