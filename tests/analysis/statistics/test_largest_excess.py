import numpy as np
import pytest

from analysis.statistics.intensification import excess_loss
from analysis.statistics.largest_excess import largest_excess_floor
from analysis.statistics.recalls import Recalls


def test_ten_equal_classes_have_the_expected_maximum_of_ten_normal_variables():
    # 1.53875 standard deviations (Teichroew 1956). A tenth of 1,001 images is lost and a tenth won: .2 / 1,000.
    shares = [np.full(10, share) for share in (0.8, 0.8, 0.7)]
    assert largest_excess_floor(*shares, np.full(10, 1001)) == pytest.approx(1.53875 * np.sqrt(0.2 / 1000), rel=1e-5)


def test_a_change_that_all_images_share_is_no_noise():
    assert largest_excess_floor([1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [50, 50]) == 0
    assert largest_excess_floor([0.9, 0.7], [0.9, 0.7], [0.9, 0.7], [50, 50]) == 0


def test_a_class_that_cannot_move_keeps_the_maximum_above_0():
    # Half of the normal density: sd / sqrt(2 pi), whichever way the other class moves.
    found = largest_excess_floor([0.9, 0.5], [0.9, 0.5], [0.9, 0.4], [101, 101])
    assert found == pytest.approx(np.sqrt(0.2 / 100 / (2 * np.pi)), rel=1e-4)


def test_a_class_without_images_counts_as_if_it_were_not_there():
    shares = np.array([[0.8, 0.6], [0.8, 0.6], [0.7, 0.5]])
    with_empty = np.column_stack([shares, np.full(3, np.nan)])
    expected = largest_excess_floor(*shares, [101, 51])
    assert largest_excess_floor(*with_empty, [101, 51, 0]) == pytest.approx(expected)
    assert np.isnan(largest_excess_floor(*with_empty, [101, 51, 10]))


def test_networks_are_measured_one_by_one():
    rng = np.random.default_rng(0)
    both = rng.uniform(0.3, 0.5, (3, 4))
    before, after = (both + rng.uniform(0, 0.1, (3, 4)) for _ in range(2))
    support = np.array([100, 200, 50, 1000])
    one_by_one = [largest_excess_floor(*rows, support) for rows in zip(before, after, both, strict=True)]
    np.testing.assert_allclose(largest_excess_floor(before, after, both, support), one_by_one)


def test_it_is_the_mean_of_simulated_test_sets_in_which_every_class_loses_the_same():
    # Classes of unequal size and churn; each loses 2 % of its images more than it wins.
    support, won = np.array([1000, 400, 700, 1000]), np.array([0.01, 0.05, 0.02, 0.1])
    lost = won + 0.02
    rng, excess, floors = np.random.default_rng(1), [], []
    for _ in range(4000):
        counts = np.array([rng.multinomial(n, [w, m, 1 - w - m]) for n, w, m in zip(support, won, lost, strict=True)])
        gained, missed, kept = (counts / support[:, np.newaxis]).T
        both = kept - 0.1  # a tenth of the images is wrong both times
        before, after = both + missed, both + gained
        recalls = (Recalls(recall, (recall * support).sum() / support.sum()) for recall in (before, after))
        excess.append(excess_loss(*recalls).max())
        floors.append(largest_excess_floor(before, after, both, support))
    error = np.std(excess) / np.sqrt(len(excess))
    assert np.mean(floors) == pytest.approx(np.mean(excess), abs=4 * error)
