"""Frames of cells are joined by the text of their settings, whatever the type of a column that has no value."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from analysis.study.joins import is_alike, join, key_text, with_params

CELLS = pd.DataFrame(
    {
        "pruner": ["mp", "mp", "up"],
        "ratio": [2.0, 4.0, 2.0],
        "params.color": ["green", np.nan, np.nan],
        "params.schedule": ["one-shot", "cubic", "one-shot"],
        "n": [3, 4, 5],
    }
)
KEY = ["pruner", "ratio", "params.color", "params.schedule"]


def test_a_column_without_a_value_joins_with_one_of_text():
    """pandas refuses to: `merge on float64 and str columns`."""
    of_others = pd.DataFrame({"pruner": ["mp", "up"], "ratio": [4, 2], "params.color": np.nan, "classes": [1, 2]})
    of_others["params.schedule"] = ["cubic", None]  # made before the param existed
    with pytest.raises(ValueError, match="merge on"):
        CELLS.merge(of_others, on=KEY)
    assert join(CELLS, of_others, KEY)[["n", "classes"]].to_numpy().tolist() == [[4, 1], [5, 2]]
    kept = join(CELLS, of_others, KEY, how="left")
    assert kept["classes"].fillna(0).tolist() == [0, 1, 2]
    assert_frame_equal(kept[CELLS.columns], CELLS)


def test_a_param_that_a_frame_lacks_is_as_it_was_before_it_existed():
    older = pd.DataFrame({"pruner": ["mp", "up"], "ratio": [2.0, 2.0], "classes": [1, 2]})
    assert join(CELLS, older, KEY)["n"].tolist() == [5]  # the green one is another cell
    assert join(CELLS, older, ["pruner", "ratio", "params.schedule"])["n"].tolist() == [3, 5]


def test_joins_as_pandas_does_where_pandas_can():
    random = np.random.default_rng(0)
    left, right = (
        pd.DataFrame({name: random.choice(["a", "b", None], 60) for name in ("dataset", "model")}).assign(
            ratio=random.choice([0.1 + 0.2, 0.3, 1e-7], 60), value=range(60)
        )
        for _ in range(2)
    )
    key = ["dataset", "model", "ratio"]
    for how in ("inner", "left"):
        found = join(left, right.iloc[:30], key, how=how, suffixes=("", "_other"))
        assert_frame_equal(found, left.merge(right.iloc[:30], on=key, how=how, suffixes=("", "_other")))


def test_empty_frames_join_to_an_empty_one():
    assert join(CELLS.head(0), CELLS[KEY], KEY).empty
    assert join(CELLS, CELLS[KEY].head(0), KEY, how="left")["n"].tolist() == [3, 4, 5]


def test_rows_that_agree_with_one():
    assert is_alike(CELLS, {"pruner": "mp", "ratio": 4, "params.schedule": "cubic"}, KEY).tolist() == [
        False,
        True,
        False,
    ]
    assert is_alike(CELLS, CELLS.iloc[0], KEY).tolist() == [True, False, False]


def test_columns_that_a_frame_lacks_have_the_absent_or_nothing():
    frame = with_params(CELLS[["n"]], ["n", "params.schedule", "params.color"])
    assert frame["params.schedule"].tolist() == ["one-shot"] * 3
    assert frame["params.color"].isna().all()


@pytest.mark.parametrize(
    ("column", "values"), [("params.iteration", (2, 2.0, "2", "2.0")), ("ratio", (10, 10.0, np.float64(10)))]
)
def test_one_number_has_one_text(column, values):
    assert len({key_text(column, value) for value in values}) == 1
