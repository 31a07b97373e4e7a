"""Scores of images and classes, worked out by hand and by SciPy."""

import numpy as np
import pytest
import risk_scores


def test_scores_of_an_image_are_means_over_networks():
    # Three networks: all agree on image 0, and one is wrong about image 1.
    predicted = np.array([[0, 1], [0, 1], [0, 2]])
    found = risk_scores.image_scores(np.array([0, 1]), predicted, {"margin": np.array([[1, 0.2], [1, 0.3], [1, 0.4]])})
    assert found["recall"] == pytest.approx([1, 2 / 3])
    assert found["margin"] == pytest.approx([1, 0.3])
    assert found["disagreement"] == pytest.approx([0, 2 / 3])  # two of three pairs differ
    assert [*found] == ["recall", "margin", "disagreement"]


def test_one_network_has_no_disagreement():
    assert [*risk_scores.image_scores(np.array([0]), np.array([[0]]), {})] == ["recall"]


def test_a_class_without_images_is_nan_and_has_a_share():
    scores = {"recall": np.array([1.0, 0.0, 1.0])}
    found = risk_scores.class_scores(scores, np.array([0, 0, 2]), 4, np.array([0.1, 0.3, 0.4, 0.2]))
    np.testing.assert_equal(found["recall"], [0.5, np.nan, 1, np.nan])
    assert found["share"].tolist() == [0.1, 0.3, 0.4, 0.2]


def test_a_low_recall_and_a_high_entropy_are_risks():
    low, high = np.array([0.1]), np.array([0.9])
    for name in ("recall", "share", "confidence", "margin"):
        assert risk_scores.as_risk(name, low) > risk_scores.as_risk(name, high)
    for name in ("entropy", "disagreement"):
        assert risk_scores.as_risk(name, low) < risk_scores.as_risk(name, high)


def test_combined_is_the_mean_rank_and_a_score_without_differences_has_no_part():
    # By recall class 1 is riskiest, then 2; by entropy class 2, then 1.
    scores = {"recall": np.array([0.9, 0.5, 0.7]), "share": np.full(3, 1 / 3), "entropy": np.array([0.0, 1.0, 2.0])}
    assert risk_scores.combined(scores).tolist() == [0, 0.75, 0.75]
    assert risk_scores.combined({"share": np.full(3, 1 / 3)}).tolist() == [0, 0, 0]
    assert risk_scores.combined({"share": np.array([0.3, 0.1 + 0.2, 0.3])}).tolist() == [0, 0, 0]


def test_combined_leaves_a_class_without_images_out():
    scores = {"recall": np.array([0.9, np.nan, 0.7]), "share": np.array([0.5, 0.2, 0.3])}
    found = risk_scores.combined(scores)
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[0] < found[2]
