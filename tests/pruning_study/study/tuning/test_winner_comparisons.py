import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pruning_study.study.tuning.winner_comparisons import comparisons
from tests import made_up_tuning


def one(frame, against, metric):
    (row,) = frame[(frame["against"] == against) & (frame["metric"] == metric)].to_dict("records")
    return row


def test_the_primary_comparison_is_the_winner_with_lambda_paired_by_dense_model():
    frame = comparisons(made_up_tuning.finalists(), "accuracy")
    first = frame.iloc[0]
    assert (first["against"], first["metric"], first["primary"]) == ("lambda", "accuracy", True)
    assert frame["primary"].sum() == 1
    # Differences .02, .02, .01: mean .05 / 3, standard deviation .01 / sqrt(3), t with 2 degrees of freedom.
    assert first["difference"] == pytest.approx(0.05 / 3)
    half = stats.t.isf(0.025, 2) * 0.01 / 3
    assert (first["difference_low"], first["difference_high"]) == pytest.approx((0.05 / 3 - half, 0.05 / 3 + half))
    assert first["p"] == first["p_holm"] == pytest.approx(2 * stats.t.sf(5, 2))


def test_the_others_are_corrected_together():
    frame = comparisons(made_up_tuning.finalists(), "accuracy")
    rest = frame[~frame["primary"]].dropna(subset="p").sort_values("p")
    assert len(frame) == 6
    # Alpha against GP has one network that is not at chance, and so no p; it counts among the five.
    assert np.isnan(one(frame, "GP", "alpha")["p"])
    expected = np.minimum(np.maximum.accumulate(rest["p"] * [5, 4, 3, 2]), 1)
    assert rest["p_holm"].to_numpy() == pytest.approx(expected.to_numpy())


@pytest.mark.parametrize("objective", ["alpha", "both"])
def test_alpha_is_primary_where_it_was_the_objective(objective):
    first = comparisons(made_up_tuning.finalists(), objective).iloc[0]
    assert (first["against"], first["metric"], first["primary"]) == ("lambda", "alpha", True)
    assert first["difference"] == pytest.approx(-0.4 / 3)


def test_networks_at_chance_have_no_alpha():
    assert one(comparisons(made_up_tuning.finalists(), "accuracy"), "GP", "alpha")["n"] == 1


def test_new_networks_count_alone_where_there_are_any():
    old, new = made_up_tuning.finalists(), made_up_tuning.finalists(new=True, seeds=(3, 4, 5))
    old["accuracy"] = 0.5
    frame = comparisons(pd.concat([old, new]), "accuracy")
    assert frame["new"].all()
    assert frame["difference"].iloc[0] == pytest.approx(0.05 / 3)
    assert not comparisons(old, "accuracy")["new"].any()


def test_an_anchor_that_won_is_not_compared_with_itself():
    won = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    frame = comparisons(won, "accuracy")
    assert set(frame["against"]) == {"MP", "GP"}
    assert not frame["primary"].any()


def test_an_anchor_of_another_schedule_is_another_anchor():
    frame = made_up_tuning.finalists(epsilons={**made_up_tuning.EPSILONS, "winner": 5e-4})
    frame.loc[frame["role"] == "winner", "ramp"] = 0.35
    compared = comparisons(frame, "accuracy")
    assert set(compared["against"]) == {"lambda", "MP", "GP"}
    assert compared["primary"].sum() == 1


def test_an_anchor_of_another_decay_is_another_anchor():
    frame = made_up_tuning.decayed().finalists
    frame.loc[frame["role"] == "winner", "epsilon"] = 5e-4
    assert set(comparisons(frame, "accuracy")["against"]) == {"lambda", "MP", "GP"}
