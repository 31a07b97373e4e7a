import numpy as np
import pytest
from scipy import stats

from analysis.statistics.class_losses import estimates, from_predictions, from_recalls
from analysis.statistics.class_sums import excess_weights

LABEL = np.repeat([0, 1, 2], [50, 30, 20])


def answers(networks, chance, seed=0):
    return np.random.default_rng(seed).random((networks, 100)) < chance


def test_recalls_alone_give_the_paired_t_test():
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 6, 3))
    found = estimates(from_recalls(before, after), np.eye(3))
    expected = stats.ttest_rel(after, before)
    assert found["p"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert found["low"] == pytest.approx(interval.low)
    assert found["high"] == pytest.approx(interval.high)


def test_mean_recalls_are_known_of_the_same_networks_alone():
    before, after = (np.array([right], bool) for right in ([1, 1, 1, 0], [1, 0, 1, 1]))
    label = np.array([0, 0, 1, 1])
    assert from_predictions(label, before, after).recalls.tolist() == [[0.75, 0.75]]
    assert from_predictions(label, before, after, paired=False).recalls is None
    assert from_recalls(np.array([[0.2]]), np.array([[0.4]])).recalls == pytest.approx(0.3)
    assert from_recalls(np.array([[0.2]]), np.array([[0.4]]), paired=False).recalls is None


def test_one_network_varies_over_images_alone():
    before, after = answers(1, 0.9), answers(1, 0.6, seed=1)
    changes = from_predictions(LABEL, before, after)
    assert not changes.variances(np.eye(3)).networks
    for place in range(3):
        change = after[0, place == LABEL].astype(float) - before[0, place == LABEL]
        assert changes.images[place] == pytest.approx(change.var(ddof=1) / len(change))


def test_excess_is_the_loss_beyond_that_of_the_accuracy():
    before, after = answers(4, 0.9), answers(4, 0.6, seed=1)
    found = estimates(from_predictions(LABEL, before, after), excess_weights(np.bincount(LABEL) / 100))
    accuracy = after.mean() - before.mean()
    recalls = [after[:, place == LABEL].mean() - before[:, place == LABEL].mean() for place in range(3)]
    assert found["value"] == pytest.approx(np.array(recalls) - accuracy)


def test_networks_that_share_every_answer_count_as_one():
    before, after = (np.repeat(answers(1, chance, seed), 5, axis=0) for chance, seed in ((0.9, 0), (0.6, 1)))
    one, five = from_predictions(LABEL, before[:1], after[:1]), from_predictions(LABEL, before, after)
    assert five.images == pytest.approx(one.images)
    assert five.in_both == pytest.approx(np.zeros(3))
    assert estimates(five, np.eye(3))["low"] == pytest.approx(estimates(one, np.eye(3))["low"])


def test_unpaired_networks_vary_in_two_groups():
    before, after = answers(3, 0.9), answers(5, 0.6, seed=1)
    changes = from_predictions(LABEL, before, after, paired=False)
    variances = changes.variances(np.eye(3)[:1])
    recalls = [side[:, LABEL == 0].mean(1) for side in (before, after)]
    assert [dof for _, dof in variances.networks] == [2, 4]
    assert [v for v, _ in variances.networks] == pytest.approx([r.var(ddof=1) / len(r) for r in recalls])
    assert estimates(changes, np.eye(3))["value"][0] == pytest.approx(recalls[1].mean() - recalls[0].mean())


@pytest.mark.slow
def test_intervals_cover_where_networks_are_few():
    # Two networks that share hard images; a coverage of .95 over 1,500 studies has a standard error of .006.
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 200)
    covered = []
    for _ in range(1500):
        chance = np.clip(0.7 + 0.3 * rng.standard_normal(400) + 0.05 * rng.standard_normal((2, 1)), 0, 1)
        before, after = rng.random((2, 2, 400)) < np.array([chance, chance])
        found = estimates(from_predictions(label, before, after), np.eye(2))
        covered.append((found["low"] <= 0) & (found["high"] >= 0))
    assert np.nanmean(covered) > 0.94
