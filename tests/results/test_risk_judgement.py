"""AUC and rank correlation, worked out by hand, and held against SciPy and simulated truth."""

import numpy as np
import pytest
import risk_judgement
from risk_judgement import Networks
from scipy import stats


def auc(scores, positive):
    return risk_judgement.auc(np.array(scores, dtype=float), np.array(positive, dtype=bool))


def test_auc_counts_pairs_in_order_and_ties_by_half():
    # Positive 3 and 1, negative 2 and 1: in order 3-2 and 3-1, tied 1-1, not in order 1-2.
    assert auc([3, 1, 2, 1], [1, 1, 0, 0]) == 2.5 / 4
    assert auc([1, 2, 3, 4], [0, 0, 1, 1]) == 1
    assert auc([1, 2, 3, 4], [1, 1, 0, 0]) == 0
    assert auc([5, 5, 5], [1, 0, 0]) == 0.5


def test_auc_is_the_statistic_of_mann_and_whitney():
    random = np.random.default_rng(1)
    score, positive = random.integers(0, 6, 60), random.random(60) < 0.3  # with many ties
    expected = stats.mannwhitneyu(score[positive], score[~positive]).statistic / (positive.sum() * (~positive).sum())
    assert auc(score, positive) == pytest.approx(expected)


@pytest.mark.parametrize("positive", [[0, 0], [1, 1]])
def test_auc_of_one_kind_of_image_is_undefined(positive):
    assert np.isnan(auc([1, 2], positive))


def test_rank_correlation_of_a_worked_example():
    # Differences of ranks 1, -1, 1, -1: 1 - 6 * 4 / (4 * 15) = .6.
    found = risk_judgement.rank_correlation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([20.0, 10.0, 40.0, 30.0]))
    assert float(found) == pytest.approx(0.6)


def test_rank_correlation_with_ties_is_that_of_scipy():
    random = np.random.default_rng(2)
    score, outcomes = random.integers(0, 4, 12), random.integers(0, 4, (5, 12))
    expected = [stats.spearmanr(score, outcome).statistic for outcome in outcomes]
    assert risk_judgement.rank_correlation(score, outcomes) == pytest.approx(np.array(expected))


def test_rounding_errors_break_no_ties():
    # Recalls fall from .9 to .8, .8 to .7, .7 to .6 and .9 to .7: ranks 2, 2, 2, 4 have a correlation of 3 / sqrt(15).
    losses = np.array([0.9, 0.8, 0.7, 0.9]) - [0.8, 0.7, 0.6, 0.7]
    assert len(set(losses)) == 3
    assert float(risk_judgement.rank_correlation(np.arange(4.0), losses)) == pytest.approx(3 / 15**0.5)
    assert risk_judgement.auc(losses, np.array([True, True, False, False])) == 0.25
    assert np.isnan(risk_judgement.rank_correlation(losses[:3], np.arange(3.0)))


def test_rank_correlation_leaves_out_a_class_without_images():
    score, outcome = np.array([1.0, np.nan, 2.0, 3.0]), np.array([1.0, 9.0, 2.0, 3.0])
    assert float(risk_judgement.rank_correlation(score, outcome)) == pytest.approx(1)
    assert float(risk_judgement.rank_correlation(outcome, score)) == pytest.approx(1)


def test_rank_correlation_is_undefined_where_all_are_alike_or_two_are_left():
    assert np.isnan(risk_judgement.rank_correlation(np.ones(4), np.arange(4.0)))
    assert np.isnan(risk_judgement.rank_correlation(np.array([1.0, 2.0, np.nan]), np.arange(3.0)))


def test_p_is_the_share_of_orders_that_correlate_as_much():
    score = np.arange(5.0)
    # Of 120 orders, the same and the reversed one have a correlation of 1 or -1.
    assert risk_judgement.permutation_p([(score, score)]) == pytest.approx(2 / 120, abs=0.005)
    # Of two data sets, both have to be in the same one of the two.
    assert risk_judgement.permutation_p([(score, score)] * 2) == pytest.approx(2 / 120**2, abs=0.001)
    # No sample of orders shows that none does as well, so p is never 0.
    assert risk_judgement.permutation_p([(np.arange(12.0), np.arange(12.0))]) == 1 / 10_000
    assert np.isnan(risk_judgement.permutation_p([(np.ones(5), score)]))
    assert np.isnan(risk_judgement.permutation_p([(np.array([1.0, 2]), np.array([0.1, 0.2]))]))  # two classes


def test_p_is_right_for_scores_without_meaning():
    random = np.random.default_rng(3)
    found = [risk_judgement.permutation_p([(random.random(8), random.random(8))]) for _ in range(60)]
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.2)


LABEL = np.repeat([0, 1, 2, 3], 50)


def network(lost):
    """Predictions of a network that is wrong about the first images of each class."""
    place = np.tile(np.arange(50), 4)
    return np.where(place < np.array(lost)[LABEL], (LABEL + 1) % 4, LABEL)


def test_what_a_class_pays_is_beyond_the_control_and_beyond_the_accuracy():
    networks = Networks(network([0] * 4)[None], network([10, 0, 0, 0])[None], network([5, 5, 0, 0])[None])
    # Recall from .9 to .8, from .9 to 1, and 1 twice; the accuracy stays at .95.
    assert risk_judgement.class_losses(LABEL, 4, networks) == pytest.approx(np.array([[0.1, -0.1, 0, 0]]))
    # From before, the accuracy falls by .05.
    without = networks._replace(control=None)
    assert risk_judgement.class_losses(LABEL, 4, without) == pytest.approx(np.array([[0.15, -0.05, -0.05, -0.05]]))


def test_lost_images_are_told_among_those_that_were_right():
    before, after = np.array([[0, 0, 0, 1]]), np.array([[1, 0, 0, 0]])
    # Image 3 was wrong before. Of the others image 0 is lost, and one of the two kept ones has a lower score.
    found = risk_judgement.foresight_of_losses(np.array([2.0, 1.0, 3.0, 9.0]), np.zeros(4, int), before, after)
    assert found.tolist() == [0.5]


def test_networks_that_lose_nothing_have_no_part_in_the_mean():
    found = risk_judgement.mean_estimate(np.array([0.8, np.nan, 0.6]))
    assert (found.value, found.n) == (pytest.approx(0.7), 2)
    assert found.low < 0.6 < 0.8 < found.high


def test_exemplars_are_told_by_what_other_networks_see():
    before = np.zeros((10, 5), int)
    after = np.tile([0, 0, 0, 1, 1], (10, 1))
    found = risk_judgement.foresight_of_exemplars(np.array([0.0, 1.0, 2.0, 1.0, 3.0]), before, after)
    # Pairs of PIE and other: 1 over 0, tied with 1, under 2; 3 over all.
    assert (found.value, found.n) == (pytest.approx(4.5 / 6), 2)
    assert (found.low, found.high) == (pytest.approx(4.5 / 6), pytest.approx(4.5 / 6))
    assert risk_judgement.known_of_exemplars(before, after).tolist() == [0, 0, 0, 1, 1]


def simulated(seed, networks=12):
    """Networks that lose more of a class, and of a class more of its last images, and controls that lose nothing."""
    random = np.random.default_rng(seed)
    place = np.tile(np.arange(50) / 50, 4)
    before = np.tile(LABEL, (networks, 1))
    risk = 0.15 * LABEL * place
    lost = random.random(before.shape) < risk
    return Networks(before, np.where(lost, (LABEL + 1) % 4, LABEL), before), risk


def test_a_score_that_knows_the_truth_reaches_the_ceiling():
    (judges, risk), (others, _) = simulated(0), simulated(1)
    classes = {"recall": -np.arange(4.0), "entropy": np.array([1.0, 0.0, 1.0, 0.0])}
    images = {"recall": -risk, "entropy": np.random.default_rng(2).random(len(LABEL))}
    table = risk_judgement.judge(classes, images, LABEL, judges, others).set_index(["outcome", "score"])["value"]
    assert table["class losses", "recall"] == table["class losses", "ceiling"] == 1
    assert table["class losses", "entropy"] < 0
    assert table["lost images", "recall"] >= table["lost images", "ceiling"] - 0.02 > 0.6
    assert table["lost images", "entropy"] == pytest.approx(0.5, abs=0.1)
    assert np.isnan(table["lost by the control", "recall"])  # controls lose nothing


def test_no_interval_of_an_auc_is_above_1():
    # The AUC is 2 / 3 and 1, so the t-interval of the mean is .83 with a half-width above 2.
    label, before = np.zeros(4, int), np.zeros((2, 4), int)
    after = np.array([[0, 0, 1, 0], [0, 0, 0, 1]])
    scores = {"recall": -np.arange(4.0)}
    networks = Networks(before, after)
    table = risk_judgement.judge({"recall": np.ones(1)}, scores, label, networks, networks)
    row = table.set_index(["outcome", "score"]).loc[("lost images", "recall")]
    assert row["value"] == pytest.approx(5 / 6)
    assert (row["low"], row["high"]) == (0, 1)


def test_few_networks_have_no_exemplars():
    (judges, risk), (others, _) = simulated(0, networks=4), simulated(1, networks=4)
    table = risk_judgement.judge({"recall": np.arange(4.0)}, {"recall": risk}, LABEL, judges, others)
    assert set(table["outcome"]) == {"class losses", "sizes of class losses", "lost images", "lost by the control"}


def test_errors_that_grow_by_one_factor_are_expected_whole():
    # Of ten images a class, 1, 2 and 3 are wrong before, and twice as many after. So are those of other seeds.
    place, label = np.tile(np.arange(10), 3), np.repeat([0, 1, 2], 10)
    before, after = (
        np.tile(np.where(place < factor * np.array([1, 2, 3])[label], (label + 1) % 3, label), (2, 1))
        for factor in (1, 2)
    )
    networks = risk_judgement.Networks(before, after)
    scores = {"recall": np.array([0.9, 0.8, 0.7])}
    image_scores = {"recall": (before == label).mean(0)}
    table = risk_judgement.judge(scores, image_scores, label, networks, networks).set_index(["outcome", "score"])
    sizes = table.loc["sizes of class losses"]
    assert sizes["value"].to_dict() == {"in proportion": 1.0, "ceiling": 1.0}
    assert sizes["n"].tolist() == [3, 3]


def test_equal_losses_are_explained_by_no_other_expectation():
    expected, losses = np.array([[0.01, -0.01]] * 3), np.array([[0.02, 0.02]] * 3) * [1, -1]
    assert risk_judgement.foresight_of_sizes(np.zeros((3, 2)), losses).value == 0
    assert risk_judgement.foresight_of_sizes(-expected, losses).value == -1.25
