import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.study.arrays import run_arrays
from analysis.study.cells import alphas, cells, ratio_summaries
from analysis.study.settings import ALPHA_COLUMNS, CELL_COLUMNS
from tests.made_up_runs import runs, study


def toy(pruner, ratio, values, **more):
    return runs("toy", "net", pruner, ratio, values, **more)


def test_alphas_are_computed_from_the_recalls():
    frame = alphas(run_arrays(toy("mp", 2, [1.5, 0.5, -0.5])))
    assert list(frame.columns) == ALPHA_COLUMNS
    assert frame["alpha"].tolist() == pytest.approx([1.5, 0.5, -0.5])
    assert frame["correlation"].tolist() == pytest.approx([1, 1, -1])
    assert frame["spread_ratio"].tolist() == pytest.approx([1.5, 0.5, 0.5])
    assert frame["run_id"].tolist() == ["toy net mp 2 0 ", "toy net mp 2 1 ", "toy net mp 2 2 "]


def with_supports(made, *supports):
    first, second = supports * (2 // len(supports))
    return made.assign(**{"support/a": float(first), "support/b": float(second)})


def test_without_supports_a_network_below_one_and_a_half_over_classes_is_at_chance():
    made = toy("mp", 2, [1, 1])
    made["accuracy_after"] = [0.74, 0.76]
    assert alphas(run_arrays(made))["at_chance"].tolist() == [True, False]


def test_chance_is_a_mean_recall_that_is_not_above_that_of_a_guess():
    # Of 60 and 40 images, who answers the first class in 60 % of cases has recalls .6 and .4. Their mean has the
    # standard deviation sqrt(.24 / 60 + .24 / 40) / 2 = .05, so that .5 + 2.326 * .05 = .616 is the bound.
    made = with_supports(toy("mp", 2, [1, 1, 1]), 60, 40)
    made["recall_after/a"], made["recall_after/b"] = [0.73, 0.745, 0.73], [0.49, 0.5, 0.49]
    assert alphas(run_arrays(made))["at_chance"].tolist() == [True, False, True]
    made.loc[1, ["recall_before/a", "recall_before/b"]] = 1, 0
    assert alphas(run_arrays(made))["at_chance"].all()


def test_supports_of_data_sets_are_told_apart():
    made = study(
        with_supports(toy("mp", 2, [1]), 50), runs("other", "net", "mp", 2, [1], classes="cd"), toy("gp", 2, [1])
    ).assign(accuracy_after=[0.72, 0.72, 0.72])
    assert alphas(run_arrays(made))["at_chance"].tolist() == [False, True, True]


def test_a_network_of_accuracy_0_has_an_undefined_alpha_for_this_reason():
    made = toy("mp", 2, [1.5, 0.5, 0.7])
    made.loc[0, ["accuracy_after", "recall_after/a", "recall_after/b"]] = 0
    made.loc[1, ["recall_before/a", "recall_before/b"]] = 0.8
    of_accuracy, of_recalls = alphas(run_arrays(made)).attrs["notes"]
    assert of_accuracy == (
        "alpha is undefined in 1 runs, because the accuracy before or after pruning is 0: toy net mp 2 0 "
    )
    assert of_recalls.endswith("equals the accuracy: toy net mp 2 1 ")


def test_a_cell_without_a_defined_alpha_has_accuracies_and_no_slopes():
    made = toy("mp", 2, [1.5, 0.5]).assign(accuracy_after=[0.77, 0.79])
    made[["recall_before/a", "recall_before/b"]] = 0.8
    cell = cells(run_arrays(made)).iloc[0]
    assert (cell["n"], cell["n_alpha"], cell["accuracy_after"]) == (2, 0, pytest.approx(0.78))
    assert np.isnan([cell["alpha_mean"], cell["ci_low"], cell["alpha_shared"], cell["alpha_other_seed"]]).all()
    assert ratio_summaries(run_arrays(made)).empty


def test_relabelling_the_classes_changes_nothing():
    made = study(toy("mp", 2, [1.5, 0.7, 0.9]), toy("none", 1, [1.1, 1, 0.95]))
    swapped = made.rename(columns=lambda name: name.replace("/a", "/z"))[reversed(made.columns.str.replace("/a", "/z"))]
    pd.testing.assert_frame_equal(cells(run_arrays(made)), cells(run_arrays(swapped)))


def test_the_settings_that_split_cells_are_named():
    made = study(
        toy("up", 2, [1, 1.2], weight_decay="0.1", epsilon="0.1"),
        toy("up", 2, [1, 1.2], weight_decay="0.2", epsilon="0.2"),
    )
    (note,) = [note for note in cells(run_arrays(made)).attrs["notes"] if "also distinguished" in note]
    assert "weight_decay, epsilon" in note
    assert not any("also distinguished" in note for note in cells(run_arrays(toy("up", 2, [1, 1.2]))).attrs["notes"])


def test_the_realized_ratio_is_a_mean_and_no_setting():
    made = study(toy("mp", 2, [1, 1.2]), toy("mp", 4, [1, 1.2])).assign(realized_ratio=[1.5, 2, 4, 4])
    frame = cells(run_arrays(made))
    assert frame["realized_ratio"].tolist() == [1.75, 4]
    assert frame.columns.get_loc("realized_ratio") >= len(CELL_COLUMNS)
    assert "realized_ratio" not in cells(run_arrays(toy("mp", 2, [1, 1.2])))
    assert "realized_ratio" not in alphas(run_arrays(made))


def test_seeds_that_share_a_dense_network_say_nothing_of_other_seeds():
    shared = toy("mp", 2, [1, 1.2, 1.4, 1.6]).assign(dense_run_id="one")
    frame = cells(run_arrays(study(shared, toy("mp", 4, [1, 1.2, 1.4, 1.6])))).set_index("ratio")
    between = ["alpha_shared", "alpha_shared_low", "alpha_shared_high", "alpha_other_seed"]
    assert frame.loc[2.0, between].isna().all()
    assert not frame.loc[2.0, "alpha_shared_identified"]
    assert frame.loc[2.0, "alpha_mean"] == pytest.approx(1.3)
    assert frame.loc[4.0, ["alpha_other_seed", "alpha_shared"]].tolist() == pytest.approx([1, 1.3])
    (note,) = [note for note in frame.attrs["notes"] if "alpha_other_seed" in note]
    assert "1 of 2 cells" in note


def test_columns_and_hand_worked_numbers_of_a_cell():
    frame = cells(run_arrays(toy("mp", 2, [1.1, 1.2, 1.3])))
    assert list(frame.columns[: len(CELL_COLUMNS)]) == CELL_COLUMNS
    cell = frame.iloc[0]
    assert (cell["n"], cell["n_at_chance"], cell["mark"], cell["confidence"]) == (3, 0, "?", 0.95)
    assert cell[["alpha_mean", "alpha_median", "alpha_sd"]].tolist() == pytest.approx([1.2, 1.2, 0.1])
    # 1.2 -+ 4.302653 x .1 / sqrt(3)
    assert cell[["ci_low", "ci_high"]].tolist() == pytest.approx([0.951586, 1.448414], abs=1e-6)
    # All networks have the same balance before: another seed's is as good, and the shared slope is the mean.
    assert cell[["alpha_other_seed", "alpha_shared"]].tolist() == pytest.approx([1, 1.2])
    assert cell[["accuracy_before", "accuracy_after"]].tolist() == pytest.approx([0.8, 0.8])


def test_the_raw_slope_and_the_largest_excess_of_a_cell_by_hand():
    made = toy("mp", 2, [1.1, 1.2, 1.3])
    # Accuracies .8 and .78: both recalls are .02 lower, and the balances are .1 alpha as before.
    lower = {name: made[name] - 0.02 for name in ("accuracy_after", "recall_after/a", "recall_after/b")}
    none = toy("none", 1, [1.0, 1.1, 1.05])
    frame = cells(run_arrays(study(made.assign(**lower), none))).set_index("pruner")
    cell = frame.loc["mp"]
    half = 4.302653 * 0.1 / 3**0.5
    names = ["raw_slope_mean", "raw_slope_low", "raw_slope_high"]
    assert cell[names].tolist() == pytest.approx([1.2, 1.2 - half, 1.2 + half], abs=1e-6)
    assert cell["alpha_mean"] == pytest.approx(1.2 * 0.8 / 0.78)
    # Minus the control's: .1, .1, .25.
    differences = np.array([0.1, 0.1, 0.25])
    half_of_differences = 4.302653 * differences.std(ddof=1) / 3**0.5
    names = ["raw_slope_minus_none", "raw_slope_minus_none_low", "raw_slope_minus_none_high"]
    expected = [0.15, 0.15 - half_of_differences, 0.15 + half_of_differences]
    assert cell[names].tolist() == pytest.approx(expected, abs=1e-6)
    # The weak class loses .02 + .1 (alpha - 1), the accuracy .02.
    names = ["largest_excess", "largest_excess_low", "largest_excess_high"]
    assert cell[names].tolist() == pytest.approx([0.02, 0.02 - half / 10, 0.02 + half / 10], abs=1e-6)
    assert cell["largest_excess_none"] == pytest.approx(0.1 * (0 + 0.1 + 0.05) / 3)


def test_the_floor_of_the_largest_excess_is_that_of_two_normal_variables():
    made = with_supports(study(toy("mp", 2, [1.0, 1.0]), toy("none", 1, [1.0, 1.0])), 101)
    # Recalls stay at .9 and .7. A tenth of each class is lost, and a tenth won; of the control nothing moves.
    kept = np.where(made["pruner"] == "mp", 0.1, 0)
    made = made.assign(**{f"both_right/{name}": recall - kept for name, recall in (("a", 0.9), ("b", 0.7))})
    cell = cells(run_arrays(made)).set_index("pruner").loc["mp"]
    assert cell["largest_excess_floor"] == pytest.approx(np.sqrt(2 * 0.2 / 100 / (2 * np.pi)), rel=1e-5)
    assert cell["largest_excess_floor_none"] == 0
    assert np.isnan(cells(run_arrays(made.drop(columns="both_right/a")))["largest_excess_floor"]).all()


def test_the_raw_slope_is_equivalent_to_the_controls_by_two_one_sided_tests():
    differences = [0.01, -0.02, 0.03, 0.0]
    made = study(toy("mp", 2, 1.1 + np.array(differences)), toy("none", 1, [1.1] * 4))
    lower, upper = (
        stats.ttest_1samp(differences, margin, alternative=side).pvalue
        for margin, side in ((-0.05, "greater"), (0.05, "less"))
    )
    p = cells(run_arrays(made)).set_index("pruner").loc["mp", "raw_slope_equivalence_p"]
    assert p == pytest.approx(max(lower, upper))
    assert p < 0.05


def test_networks_that_guess_are_out_of_the_slopes_of_a_cell_and_nothing_else():
    made = toy("mp", 2, [1.1, 1.2, 1.3, 9.0, 9.0])
    none = toy("none", 1, [1.0, 1.0, 9.0, 1.0, 1.0])
    made.loc[3, "accuracy_after"] = none.loc[2, "accuracy_after"] = 0.5
    made.loc[4, "accuracy_before"] = none.loc[4, "accuracy_before"] = 0.5
    cell = cells(run_arrays(study(made, none))).set_index("pruner").loc["mp"]
    alone = cells(run_arrays(made[:3])).iloc[0]
    assert cell[["n", "n_at_chance", "n_alpha", "n_none"]].tolist() == [5, 2, 3, 5]
    same = ["alpha_mean", "ci_low", "raw_slope_mean", "alpha_shared"]
    assert cell[same].tolist() == pytest.approx(alone[same].tolist())
    # Of the third network the control guesses.
    assert cell["alpha_minus_none"] == pytest.approx(0.15)
    assert cell["accuracy_after"] == pytest.approx((4 * 0.8 + 0.5) / 5)
    assert cell["accuracy_minus_none"] == pytest.approx((0.3 - 0.3) / 5)


def test_intervals_share_five_percent_among_the_ratios_of_a_pruner():
    made = study(*(toy("mp", ratio, [1.1, 1.2, 1.3]) for ratio in (2, 4, 10, 20, 50)), toy("none", 1, [1, 1.1, 1]))
    frame = cells(run_arrays(made)).set_index(["pruner", "ratio"])
    assert frame.loc["mp", "confidence"].tolist() == pytest.approx([0.99] * 5)
    assert frame.loc[("none", 1.0), "confidence"] == 0.95
    # 9.924843 x .1 / sqrt(3)
    assert frame.loc[("mp", 50.0), "ci_high"] == pytest.approx(1.2 + 0.573011, abs=1e-6)


def test_every_ratio_is_set_against_none_of_the_same_seed():
    none = toy("none", 1, [1, 1, 1.1])
    made = study(toy("mp", 2, [1.2, 1.3, 1.5]), toy("mp", 10, [2, 2, 2, 2]), none)
    frame = cells(run_arrays(made)).set_index(["pruner", "ratio"])
    low = frame.loc[("mp", 2.0)]
    assert (low["n_none"], low["alpha_minus_none"]) == (3, pytest.approx(0.3))
    # .3 -+ t x .1 / sqrt(3), of two ratios: t(.9875, 2 dof) = 6.205347
    assert low["alpha_minus_none_low"] == pytest.approx(0.3 - 6.205347 * 0.1 / 3**0.5, abs=1e-6)
    assert low["alpha_on_none"] == pytest.approx((1.2 + 1.3 + 1.5 / 1.1) / 3)
    assert frame.loc[("mp", 10.0), "n_none"] == 3
    assert frame.loc[("none", 1.0), "n_none"] == 0
    assert np.isnan(frame.loc[("none", 1.0), "alpha_minus_none"])


def with_images(made):
    """Recalls of 100 images a class, of which before and after share as many as can be."""
    more = {}
    for name in "ab":
        more[f"support/{name}"] = 100.0
        more[f"both_right/{name}"] = np.minimum(made[f"recall_before/{name}"], made[f"recall_after/{name}"])
    return made.assign(**more)


def test_alpha_new_needs_images():
    frame = cells(run_arrays(toy("mp", 2, [1.1, 1.2])))
    assert np.isnan(frame["alpha_new"][0])
    (note,) = frame.attrs["notes"]
    assert "alpha_new" in note
    assert "1 of 1 cells" in note


def test_a_class_with_one_test_image_is_named_as_a_cause_of_a_missing_alpha_new():
    made = with_images(toy("mp", 2, [1.0, 1.0])).assign(accuracy_before=161 / 201, accuracy_after=161 / 201)
    third = dict.fromkeys([f"{name}/c" for name in ("support", "recall_before", "recall_after", "both_right")], 1.0)
    frame = cells(run_arrays(made.assign(**third)))
    assert (frame["n_alpha"][0], np.isnan(frame["alpha_new"][0])) == (2, True)
    assert "have a class with a single test image" in " ".join(frame.attrs["notes"])


def test_alpha_new_and_reliability_of_the_same_network():
    cell = cells(run_arrays(with_images(toy("mp", 2, [1, 1, 1])))).iloc[0]
    assert cell["alpha_new"] == pytest.approx(1)
    # 1 - K(v) / sum b^2 with v = .9 x .1 / 99 and .7 x .3 / 99, K(v) = (1 - 1/2)(sum v) / .64, sum b^2 = 1/32.
    assert cell["reliability"] == pytest.approx(1 - 0.5 * (0.09 + 0.21) / 99 / 0.64 * 32)


LABEL = np.repeat([0, 1], 4)
BEFORE = {"label": LABEL, "predicted": np.array([0, 0, 0, 1, 1, 1, 0, 0])}
AFTER = {"label": LABEL, "predicted": np.array([0, 0, 0, 0, 1, 1, 0, 0])}


def stored(found):
    """A store that answers as `analysis.runs.pull.predictions` does."""

    def predictions(run_ids):
        assert len(set(run_ids)) == len(run_ids)
        return {run_id: found[run_id] for run_id in run_ids if run_id in found}

    return predictions


def test_precision_and_f1_from_predictions():
    made = toy("mp", 2, [1.1, 1.2])
    found = dict.fromkeys(made["dense_run_id"], BEFORE) | dict.fromkeys(made["run_id"], AFTER)
    cell = cells(run_arrays(made), stored(found)).iloc[0]
    # Precision 3/5, 2/3 before: b = -+1/19; 2/3, 1 after: b = -+1/5.
    assert cell["alpha_precision"] == pytest.approx(19 / 5)
    # F1 2/3, 4/7 before: b = +-1/13; 4/5, 2/3 after: b = +-1/11.
    assert cell["alpha_f1"] == pytest.approx(13 / 11)
    assert cell["alpha_new_resampled"] == "seeds and images"


def test_predictions_that_some_run_lacks_or_of_other_images_are_not_used():
    made = toy("mp", 2, [1.1, 1.2])
    found = dict.fromkeys(made["dense_run_id"], BEFORE) | {made["run_id"][0]: AFTER}
    other = {"label": LABEL[::-1], "predicted": AFTER["predicted"]}
    for more in ({}, {made["run_id"][1]: other}):
        cell = cells(run_arrays(made), stored(found | more)).iloc[0]
        assert np.isnan(cell["alpha_precision"])
        assert cell["alpha_new_resampled"] == "seeds"


def test_a_note_names_the_runs_whose_predictions_are_missing_if_others_are_there():
    made = with_images(study(toy("mp", 2, [1.1, 1.2]), toy("mp", 4, [1.1, 1.2])))
    found = dict.fromkeys(made["dense_run_id"], BEFORE) | dict.fromkeys(made["run_id"][1:], AFTER)
    assert cells(run_arrays(made), stored(found)).attrs["notes"] == [
        "1 of 2 cells have no PIEs, and no intervals over images, because predictions.npz is missing or not used for: "
        "toy net mp 2 0 "
    ]
    assert cells(run_arrays(made), stored({})).attrs["notes"] == []


def test_ratio_summaries_of_classes_that_all_change_alike():
    summary = ratio_summaries(run_arrays(toy("mp", 2, [1.2, 1.4, 1.9]))).iloc[0]
    assert summary[["pooled_alpha", "alpha_mean", "ratio_mean", "ratio_max"]].tolist() == pytest.approx(
        [1.5, 1.5, 1.5, 1.9]
    )
    assert (summary["pruner"], summary["n"]) == ("mp", 3)


def test_the_same_seed_with_other_weights_is_another_network_of_the_cell():
    weights = {"params.weights_digest": ["one", "two", "one"], "dense_run_id": ["d0", "d1", "d2"]}
    made = study(
        toy("mp", 2, [1.2, 1.5, 1.9]).assign(seed=[0, 0, 1], **weights),
        toy("none", 1, [1.0, 1.1, 1.3]).assign(seed=[0, 0, 1], **weights),
    )
    cell = cells(run_arrays(made)).set_index("pruner").loc["mp"]
    assert (cell["n"], cell["n_none"]) == (3, 3)
    # .2, .4 and .6: each network is set against its own control.
    assert cell["alpha_minus_none"] == pytest.approx(0.4)
    assert cell["alpha_minus_none_low"] == pytest.approx(0.4 - 4.302653 * 0.2 / 3**0.5, abs=1e-6)
    assert alphas(run_arrays(made))["params.weights_digest"].tolist() == ["one", "two", "one"] * 2
