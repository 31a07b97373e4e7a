"""What each class lost in every cell, by hand, against scipy, and in agreement with the other files."""

import numpy as np
import pytest
from scipy import stats

from analysis.report.methods import compare as methods
from analysis.study.arrays import run_arrays
from analysis.study.cells import alphas, cells
from analysis.study.classes import classes
from tests.made_up_runs import runs, study


def toy(pruner, ratio, values, **more):
    """Runs of two classes of 100 images."""
    return runs("toy", "net", pruner, ratio, values, **more).assign(**{"support/a": 100.0, "support/b": 100.0})


def lower(made, by):
    """The runs with recalls and accuracy after pruning lowered."""
    return made.assign(**{name: made[name] - by for name in ("accuracy_after", "recall_after/a", "recall_after/b")})


ALPHAS = np.array([1.1, 1.2, 1.5])


def test_losses_and_costs_by_hand():
    frame = classes(run_arrays(lower(toy("mp", 2, ALPHAS), 0.02)))
    assert frame[["dataset", "model", "pruner", "ratio", "class", "images", "n"]].to_numpy().tolist() == [
        ["toy", "net", "mp", 2, name, 100, 3] for name in "ab"
    ]
    weak = frame.set_index("class").loc["b"]
    # .7 before; .78 - .1 alpha after.
    losses = 0.7 - (0.78 - 0.1 * ALPHAS)
    assert (weak["recall_before"], weak["recall_after"]) == pytest.approx((0.7, 0.7 - losses.mean()))
    interval = stats.ttest_1samp(losses, 0).confidence_interval()
    assert weak[["loss", "loss_low", "loss_high"]].tolist() == pytest.approx(
        [losses.mean(), interval.low, interval.high]
    )
    # The accuracy fell by .02.
    interval = stats.ttest_1samp(losses - 0.02, 0).confidence_interval()
    assert weak[["cost", "cost_low", "cost_high"]].tolist() == pytest.approx(
        [losses.mean() - 0.02, interval.low, interval.high]
    )


def test_labels_of_predictions_may_be_in_another_order_than_names():
    made = toy("mp", 2, [1.0, 1.0]).assign(accuracy_after=0.7, **{"recall_after/a": 0.9, "recall_after/b": 0.5})
    made = made.assign(class_names='["b", "a"]')
    label = np.repeat([0, 1], 100)
    place = np.tile(np.arange(100), 2)
    right = {
        **{run: place < np.where(label == 0, 70, 90) for run in made["dense_run_id"]},
        **{run: place < np.where(label == 0, 50, 90) for run in made["run_id"]},
    }

    def predictions(run_ids):
        return {run: {"label": label, "predicted": np.where(right[run], label, 1 - label)} for run in run_ids}

    frame = classes(run_arrays(made), predictions).set_index("class")
    assert frame["loss"].to_dict() == pytest.approx({"a": 0, "b": 0.2})
    assert frame["cost"].to_dict() == pytest.approx({"a": -0.1, "b": 0.1})


def test_the_accuracy_is_that_of_all_images_where_classes_differ_in_size():
    # Of 300 images 240 are right before, and 230 after; a class of 200 loses 20 of them and one of 100 wins 10.
    made = runs("toy", "net", "mp", 2, [1.0, 1.0]).assign(
        **{"support/a": 200.0, "support/b": 100.0, "accuracy_after": 230 / 300}
    )
    made = made.assign(**{"recall_before/a": 0.9, "recall_before/b": 0.6, "recall_after/a": 0.8, "recall_after/b": 0.7})
    label = np.repeat([0, 1], [200, 100])
    place = np.append(np.arange(200), np.arange(100))
    right = {
        **{run: place < np.where(label == 0, 180, 60) for run in made["dense_run_id"]},
        **{run: place < np.where(label == 0, 160, 70) for run in made["run_id"]},
    }

    def predictions(run_ids):
        return {run: {"label": label, "predicted": np.where(right[run], label, 1 - label)} for run in run_ids}

    excess = [0.1 - 10 / 300, -0.1 - 10 / 300]
    assert classes(run_arrays(made))["cost"].tolist() == pytest.approx(excess)
    assert classes(run_arrays(made), predictions)["cost"].tolist() == pytest.approx(excess)
    assert cells(run_arrays(made))["largest_excess"][0] == pytest.approx(excess[0])


def with_guessers():
    """Of six networks two pruned ones guess, one dense one and, of the control, one."""
    pruned, none = toy("mp", 2, [1.1, 1.3, 1.2, 1.4, 1.2, 1.5]), toy("none", 1, [1.0, 1.1, 1.0, 1.2, 1.0, 1.0])
    pruned.loc[[0, 1], "accuracy_after"] = 0.55
    pruned.loc[2, "accuracy_before"] = none.loc[2, "accuracy_before"] = 0.55
    none.loc[3, "accuracy_after"] = 0.55
    return study(pruned, none)


def test_all_files_agree_on_which_networks_count():
    made = with_guessers()
    # 114 of 200 right answers may be guesses, and 117 may not be.
    at_chance = alphas(run_arrays(made)).set_index(["pruner", "seed"])["at_chance"]
    assert at_chance.loc["mp"].tolist() == [True, True, True, False, False, False]
    assert at_chance.loc["none"].tolist() == [False, False, True, True, False, False]
    cell = cells(run_arrays(made)).set_index("pruner").loc["mp"]
    assert cell[["n", "n_at_chance", "n_alpha", "n_none"]].tolist() == [6, 3, 3, 6]
    of_class = classes(run_arrays(made))
    assert of_class[["n", "n_none"]].drop_duplicates().to_numpy().tolist() == [[6, 6]]
    compared = methods.compare(run_arrays(made)).set_index("outcome")
    assert (compared.loc["alpha", "n"], compared.loc["alpha", "n_at_chance"]) == (2, 4)
    assert compared.loc["accuracy", "n"] == 6
    # And on what follows from them.
    mean_alpha = (1.1 + 1.3 + 1.2 + 1.4 + 1.2 + 1.5) / 6
    assert of_class.set_index("class").loc["a", "recall_after"] == pytest.approx(0.8 + 0.1 * mean_alpha)
    assert compared.loc["alpha", "difference"] == pytest.approx(cell["alpha_minus_none"]) == pytest.approx(0.35)


def test_a_study_without_pruned_networks_has_no_rows():
    assert classes(run_arrays(toy("none", 1, [1.0, 1.1]))).empty
