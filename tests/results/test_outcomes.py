"""Slopes from controls to pruned networks, on recalls whose slopes and growth of the error are known by hand."""

from types import SimpleNamespace

import numpy as np
import outcomes
import pandas as pd
import pytest
from of_analysis import Recalls, StudyPredictions

SHARE = np.full(3, 1 / 3)
CONTROLS = np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.7, 0.7], [0.9, 0.8, 0.6]])


def test_if_every_error_grows_by_half_then_s_is_k_and_alpha_the_odds_ratio():
    recall = np.tile([0.9, 0.8, 0.7], (4, 1))
    # The accuracy falls from .8 to .7: the odds of an error grow from 1 / 4 to 3 / 7.
    assert outcomes.slopes(recall, 1 - 1.5 * (1 - recall), SHARE) == pytest.approx([12 / 7, 1.5, 1.0])


def test_if_every_class_loses_the_same_then_only_s_over_k_is_below_one():
    recall = np.tile([0.9, 0.8, 0.7], (4, 1))
    # The error grows from .2 to .3, and the gaps stay.
    assert outcomes.slopes(recall, recall - 0.1, SHARE) == pytest.approx([0.8 / 0.7, 1.0, 1 / 1.5])


def test_pseudo_values_have_the_variance_of_the_jackknife():
    after = CONTROLS - np.array([[0.1, 0.1, 0.2], [0.0, 0.1, 0.1], [0.1, 0.2, 0.3], [0.1, 0.0, 0.1]])
    parts = [outcomes.slopes(np.delete(CONTROLS, i, 0), np.delete(after, i, 0), SHARE) for i in range(4)]
    # The jackknife's variance of an estimate is (n - 1) / n times the sum of squares of its values without one network.
    expected = 3 / 4 * np.square(parts - np.mean(parts, 0)).sum(0)
    assert outcomes._pseudo_values(CONTROLS, after, SHARE).var(0, ddof=1) / 4 == pytest.approx(expected)


def test_the_class_with_the_largest_gaps_is_left_out_of_recalls_and_accuracy():
    dense = Recalls(np.array([[0.9, 0.8, 0.4]]), np.array([0.7]))
    found = outcomes._without(Recalls(np.array([[0.8, 0.6, 0.1]]), np.array([0.5])), np.full((1, 3), 10), dense)
    assert found.recall.tolist() == [[0.8, 0.6]]
    assert found.accuracy.tolist() == pytest.approx([0.7])


def test_f1_costs_are_losses_of_f1_beyond_their_mean_in_the_order_of_the_classes():
    """The pruned network takes one of two images of label 1 for label 0: F1 falls from 1 to .8 and to 2 / 3."""
    answers = {"control": [0, 0, 1, 1], "pruned": [0, 0, 0, 1]}
    predictions = StudyPredictions(
        lambda ids: {name: {"label": np.array([0, 0, 1, 1]), "predicted": np.array(answers[name])} for name in ids}
    )
    study = SimpleNamespace(runs=pd.DataFrame({"run_id": [*answers]}))
    for label, expected in (([0, 0, 1, 1], [-20 / 3, 20 / 3]), ([1, 1, 0, 0], [20 / 3, -20 / 3])):
        found = outcomes.f1_costs(study, np.array([1]), np.array([0]), np.array(label), predictions)
        assert found.tolist() == pytest.approx(expected)
    assert np.isnan(outcomes.f1_costs(study, np.array([1]), np.array([0]), None, predictions))
