import numpy as np
import pandas as pd
import pytest

from pruning_study.study.tuning import objectives
from pruning_study.study.tuning.objectives import PairedRecalls
from pruning_study.training.evaluation import Predictions

SUPPORT = np.array([10, 10])


def recalls(before, after, both_right):
    return PairedRecalls(np.array(before), np.array(after), np.array(both_right), SUPPORT)


def predictions(label, predicted):
    label, predicted = np.array(label), np.array(predicted)
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def test_recalls_before_and_after_and_both_on_the_images_of_each_seed():
    before = predictions([0, 0, 1, 1], [0, 0, 1, 0])
    after = predictions([0, 0, 1, 1], [0, 1, 1, 1])
    found = objectives.measure_recalls([before], [after], 2)
    assert found.before.tolist() == [[1.0, 0.5]]
    assert found.after.tolist() == [[0.5, 1.0]]
    assert found.both_right.tolist() == [[0.5, 0.5]]
    assert found.support.tolist() == [2, 2]


def test_each_seeds_accuracy_weighs_the_classes_by_their_images():
    """.9 of 20 images and .6 of 10 are 24 of 30; .3 of 20 and .9 of 10 are 15."""
    found = objectives.accuracies(np.array([[0.9, 0.6], [0.3, 0.9]]), np.array([20, 10]))
    assert found == pytest.approx([0.8, 0.5])


def test_accuracy_is_the_mean_over_the_seeds():
    found = recalls([[1, 1], [1, 1]], [[0.9, 0.7], [0.8, 0.4]], [[0.9, 0.7], [0.8, 0.4]])
    assert objectives.accuracy(found) == pytest.approx((0.8 + 0.6) / 2)


def test_expected_accuracy_takes_off_what_the_first_seeds_lost_from_all():
    # The first dense model has .9 and lost .1; all together have .8.
    found = recalls([[0.9, 0.9]], [[0.8, 0.8]], [[0.8, 0.8]])
    assert objectives.expected_accuracy(found, np.array([0.9, 0.8, 0.7])) == pytest.approx(0.7)


def test_a_network_that_did_not_change_has_no_distortion():
    same = [[0.9, 0.5], [0.8, 0.6]]
    found = recalls(same, same, same)
    assert objectives.alpha_new(found) == pytest.approx(1)
    assert objectives.distortion(found) == pytest.approx(0)


def test_distortion_is_what_alpha_new_has_above_1():
    # Balances (1/8, -1/8) and (1/6, -1/6): correlation 1. With n = 10: k = (both - z w) / 9, v = z (1 - z) / 9.
    found = recalls([[0.9, 0.7]], [[0.7, 0.5]], [[0.65, 0.4]])
    shared = ((0.65 - 0.63) + (0.4 - 0.35)) / 9 / 2
    own = (0.09 + 0.21) / 9 / 2
    expected = 0.8 / 0.6 * (0.02 - shared) / (0.02 - own)
    assert objectives.alpha_new(found) == pytest.approx(expected)
    assert objectives.distortion(found) == pytest.approx(expected - 1)


def test_classes_that_change_places_are_a_distortion_of_2_although_alpha_is_below_1():
    found = recalls([[0.9, 0.7]], [[0.7, 0.9]], [[0.63, 0.63]])
    assert objectives.alpha_new(found) < 1
    assert objectives.correlation(found) == pytest.approx(-1)
    assert objectives.distortion(found) == pytest.approx(2)


def test_the_correlation_is_of_all_seeds_together():
    # Balances (1/8, -1/8), (1/8, -1/8) before; (1/8, -1/8), (0, 0) after: r = 1 / sqrt(2 * 1).
    found = recalls([[0.9, 0.7]] * 2, [[0.9, 0.7], [0.8, 0.8]], [[0.9, 0.7], [0.7, 0.6]])
    assert objectives.correlation(found) == pytest.approx(1 / np.sqrt(2))


def test_the_standard_error_of_a_mean_is_that_of_the_textbook():
    accuracies = [0.7, 0.8, 0.95]
    found = recalls([[1, 1]] * 3, [[a, a] for a in accuracies], [[a, a] for a in accuracies])
    assert objectives.standard_error(objectives.accuracy, found) == pytest.approx(np.std(accuracies, ddof=1) / 3**0.5)
    assert np.isnan(objectives.standard_error(objectives.accuracy, found.subset([0])))


def test_all_numbers_of_a_trial():
    """Two seeds that did not change, of accuracies .8 and .7: the error of their mean is .05."""
    same = [[0.9, 0.7], [0.8, 0.6]]
    found = objectives.values(recalls(same, same, same))
    assert found == pytest.approx(
        {
            **{"accuracy": 0.75, "accuracy_error": 0.05, "accuracy/0": 0.8, "accuracy/1": 0.7},
            **{"distortion": 0, "distortion_error": 0, "distortion/0": 0, "distortion/1": 0},
            **{"alpha_new": 1, "correlation": 1},
        },
        abs=1e-12,
    )


def trials(*rows):
    return pd.DataFrame(rows, columns=["anchor", "complete", "accuracy", "distortion"])


SEARCH = trials(
    ("lambda", True, 0.800, 0.50),
    ("MP", True, 0.780, 0.10),
    ("GP", True, 0.100, 0.00),  # collapsed: its alpha means nothing
    ("", True, 0.790, 0.20),  # exactly a point below the best anchor
    ("", True, 0.7899, 0.05),
    ("", False, 0.900, 0.01),
    ("", True, 0.805, 0.40),
)


def test_only_whole_trials_within_a_point_of_the_best_anchor_may_win():
    assert objectives.eligible(SEARCH).tolist() == [True, False, False, True, False, False, True]


def test_the_most_accurate_whole_trial_wins():
    assert objectives.winner(SEARCH, "accuracy") == (6, 0.805, 6)


def test_the_least_distorted_of_those_that_may_win():
    best = objectives.winner(SEARCH, "alpha")
    assert best == (3, 0.2, 3)
    reason = objectives.reason(SEARCH, "alpha", best)
    assert "of the 3 trials" in reason
    assert "0.8000" in reason


def test_the_front_and_the_point_recommended_on_it():
    # By falling accuracy: .805/.4, .8/.5 (beaten), .79/.2, .7899/.05, .78/.1 (beaten), .1/.0.
    assert objectives.pareto_front(SEARCH).tolist() == [False, False, True, True, True, False, True]
    best = objectives.winner(SEARCH, "both")
    assert best.trial == 3
    assert "4 of the complete trials" in objectives.reason(SEARCH, "both", best)


def test_a_stopped_trial_is_measured_against_lambda_on_the_seeds_it_had():
    frame = pd.DataFrame(
        {
            "complete": [True, True, False],
            "anchor": ["lambda", "", ""],
            "ratio": 10.0,
            "accuracy": [0.8, 0.82, 0.91],
            # The first dense model is the best one: .91 on it is no merit.
            "accuracy/0": [0.9, 0.92, 0.91],
            "accuracy/1": [0.7, 0.72, np.nan],
        }
    )
    found = objectives.with_comparable_accuracy(frame, "lambda")
    assert found["accuracy"].tolist() == pytest.approx([0.8, 0.82, 0.81])


def test_equals_are_on_the_front_together_and_those_they_beat_in_one_are_not():
    equals = trials(("", True, 0.8, 0.1), ("", True, 0.8, 0.1), ("", True, 0.7, 0.1), ("", True, 0.8, 0.2))
    assert objectives.pareto_front(equals).tolist() == [True, True, False, False]


def test_lambda_wins_a_tie():
    tied = trials(("lambda", True, 0.8, 0.1), ("MP", True, 0.8, 0.1), ("", True, 0.8, 0.1))
    assert [objectives.winner(tied, objective).trial for objective in ("accuracy", "alpha", "both")] == [0, 0, 0]


def test_an_undefined_distortion_never_wins():
    undefined = trials(("lambda", True, 0.8, 0.3), ("", True, 0.8, np.nan))
    assert objectives.winner(undefined, "alpha").trial == 0
    assert objectives.pareto_front(undefined).tolist() == [True, False]
