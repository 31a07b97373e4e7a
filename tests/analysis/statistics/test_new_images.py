from itertools import permutations

import numpy as np
import pytest

from analysis.statistics.intensification import alpha
from analysis.statistics.new_images import (
    SlopeParts,
    alpha_new,
    alpha_new_from_predictions,
    pooled_slope,
    slope_parts,
)
from analysis.statistics.recalls import Recalls

# alpha_new: classes of different size, a network that changes its mind on some of the images.


def predictions(support):
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(len(support)), support)
    before = rng.random(len(label)) < np.array([0.95, 0.6, 0.8])[label]
    after = np.where(rng.random(len(label)) < 0.6, before, rng.random(len(label)) < 0.7)
    return label, before, after


def recalls(label, right):
    return np.array([right[label == c].mean() for c in range(label.max() + 1)])


def from_recalls(label, before, after):
    parts = (recalls(label, right)[np.newaxis] for right in (before, after, before & after))
    return alpha_new(*parts, np.bincount(label))


@pytest.mark.parametrize("support", [(40, 40, 40), (60, 20, 30)])
def test_alpha_new_is_the_limit_over_random_splits_in_halves(support):
    label, before, after = predictions(support)
    rng = np.random.default_rng(0)
    splits, classes = 20_000, range(3)
    halves = np.hstack([rng.permuted(np.tile(np.arange(n) % 2, (splits, 1)), axis=1) for n in support]) == 0
    share = np.array(support) / len(label)

    def balance(right, half):
        of_half = np.stack([(half & right)[:, label == c].sum(1) / (support[c] / 2) for c in classes], axis=-1)
        return of_half - (of_half @ share)[:, np.newaxis]

    b1, b2, after1, after2 = (balance(right, h) for right in (before, after) for h in (halves, ~halves))
    cross, own = (b1 * after2 + b2 * after1).sum(-1).mean(), 2 * (b1 * b2).sum(-1).mean()
    by_splitting = before.mean() / after.mean() * cross / own

    new = from_recalls(label, before, after)
    printed = alpha(*(Recalls(recalls(label, right), right.mean()).balance for right in (before, after)))
    assert new.estimate == pytest.approx(by_splitting, abs=0.005)
    assert abs(printed - by_splitting) > 0.01


def test_alpha_new_of_balanced_classes_by_hand():
    # Four images a class, R = (1, .5), R_t = (.75, .25), right after only where right before.
    # sum B^2 = .125, v = (0, 1/12), k = (0, 1/24); K = (1 - 1/C) sum = v: 1/24, k: 1/48; sum B B_t = .125.
    new = alpha_new(np.array([[1, 0.5]]), np.array([[0.75, 0.25]]), np.array([[0.75, 0.25]]), np.array([4, 4]))
    assert new.estimate == pytest.approx((0.75 / 0.5) * (1 / 8 - 1 / 48) / (1 / 8 - 1 / 24))
    assert new.reliability == pytest.approx(1 - (1 / 24) / (1 / 8))
    assert np.isnan([new.low, new.high]).all()
    assert not new.identified


def test_predictions_and_recalls_give_the_same_alpha_new():
    label, before, after = predictions((60, 20, 30))
    new = alpha_new_from_predictions(label, before[np.newaxis], after[np.newaxis])
    assert new[0] == pytest.approx(from_recalls(label, before, after).estimate)
    assert new.reliability == pytest.approx(from_recalls(label, before, after).reliability)
    assert new.resampled == "seeds and images"


def test_a_cell_is_a_ratio_of_sums_and_not_the_mean_of_ratios():
    parts = [predictions((40, 40, 40)), predictions((40, 40, 40))]
    label, before, after = parts[0]
    worse = np.roll(before, 7)
    both = [np.array([recalls(label, x), recalls(label, y)]) for x, y in ((before, worse), (after, after))]
    both_right = np.array([recalls(label, before & after), recalls(label, worse & after)])
    support = np.bincount(label)
    together = alpha_new(*both, both_right, support).estimate
    alone = [alpha_new(b[None], a[None], r[None], support) for b, a, r in zip(*both, both_right, strict=True)]
    # The denominator of one seed is its reliability times its sum of squares.
    squares = np.square(Recalls(both[0], both[0].mean(1)).balance).sum(1)
    weights = np.array([one.reliability for one in alone]) * squares
    assert together == pytest.approx(np.average([one.estimate for one in alone], weights=weights))
    assert together != pytest.approx(np.mean([one.estimate for one in alone]), rel=1e-3)


def test_identical_models_have_alpha_new_one_whatever_is_drawn():
    label, before, after = predictions((40, 40, 40))
    seeds = np.array([before, after, np.roll(before, 5)])
    new = alpha_new_from_predictions(label, seeds, seeds)
    assert (new.estimate, new.low, new.high) == pytest.approx((1, 1, 1))
    assert new.identified


def test_classes_that_differ_by_noise_alone_do_not_identify_alpha_new():
    right = np.random.default_rng(0).random((2, 8, 1000)) < 0.9
    label = np.repeat(np.arange(10), 100)
    new = alpha_new_from_predictions(label, *right)
    recall = right.reshape(2, 8, 10, 100).mean(-1)
    both = right.all(0).reshape(8, 10, 100).mean(-1)
    assert abs(new.reliability) < 0.5
    assert not new.identified
    assert not alpha_new(*recall, both, np.full(10, 100)).identified


def test_the_interval_is_centred_on_the_estimate_and_not_on_the_biased_slope():
    # 40 images a class and half the answers drawn anew: alpha is far below alpha_new.
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(60), 40)
    right = np.linspace(0.6, 0.95, 60)[label]
    before, after = rng.random((2, 12, 2400)) < right
    new = alpha_new_from_predictions(label, before, after)
    balances = [Recalls(x.reshape(12, 60, 40).mean(-1), x.mean(1)).balance for x in (before, after)]
    printed = alpha(*balances).mean()
    assert (new.low + new.high) / 2 == pytest.approx(new.estimate)
    assert new.low < 1 < new.high
    assert printed < new.low


def test_a_class_of_one_image_leaves_alpha_new_undefined():
    label, right = np.array([0, 0, 0, 1]), np.array([[True, False, True, True]])
    new = alpha_new_from_predictions(label, right, right)
    assert np.isnan([new.estimate, new.low, new.high]).all()
    assert np.isnan(from_recalls(label, right[0], right[0]).estimate)


def raw_sums(label, before, after, share):
    """Numerator and denominator from the definition, with given shares of the classes."""
    right, counts = np.array([after, before], dtype=float), np.bincount(label)
    recall = np.array([[answers[label == c].mean() for c in range(len(counts))] for answers in right])
    balance = recall - (recall @ share)[:, np.newaxis]
    weights = (1 - 2 * share + len(counts) * share**2) / counts
    noise = sum(weight * np.cov(right[:, label == c])[1] for c, weight in enumerate(weights))
    return balance @ balance[1] - noise


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("support", [(40, 40, 40), (60, 20, 30), (3, 9, 2)])
def test_an_image_moves_the_parts_by_what_leaving_it_out_changes(support, raw):
    label, before, after = predictions(support)
    parts = slope_parts(label, before[np.newaxis], after[np.newaxis], raw=raw)
    share, whole = np.array(support) / len(label), raw_sums(label, before, after, np.array(support) / len(label))
    for image in (0, 1, support[0] + 3, len(label) - 1):
        images = support[label[image]]
        if images == 2:
            continue
        without = [np.delete(x, image) for x in (label, before, after)]
        change = (images - 1) * (whole - raw_sums(*without, share))
        if not raw:  # the quotient rule, with the accuracies of before and after
            own = share[label[image]]
            by_accuracy = [own * (x[image] - x[label == label[image]].mean()) / x.mean() for x in (before, after)]
            lost = whole * [sum(by_accuracy), 2 * by_accuracy[0]]
            change = (change - lost) / (before.mean() * np.array([after.mean(), before.mean()]))
        assert parts.moves[:, 0, image] * np.sqrt(images * (images - 1)) == pytest.approx(change)


@pytest.mark.parametrize("raw", [False, True])
def test_the_covariances_of_pairs_are_sums_over_all_pairs(raw):
    rng = np.random.default_rng(0)
    support = np.array([5, 8, 2])
    label = np.repeat(np.arange(3), support)
    before, after = rng.random((2, 2, 15)) < 0.6
    share, expected = support / 15, np.zeros((2, 2, 2, 2))
    for c, images in enumerate(support):
        z, w = (x[:, label == c] - x[:, label == c].mean(1, keepdims=True) for x in (before, after))
        for i, j in permutations(range(images), 2):
            product = np.array([z[:, i] * w[:, j] + z[:, j] * w[:, i], 2 * z[:, i] * z[:, j]]) / 2
            weight = (1 - 2 * share[c] + 3 * share[c] ** 2) / (images * (images - 1))
            expected += 2 * weight**2 * np.multiply.outer(product, product)
    if not raw:
        divisors = before.mean(1) * np.array([after.mean(1), before.mean(1)])
        expected /= np.multiply.outer(divisors, divisors)
    assert slope_parts(label, before, after, raw=raw).pairs == pytest.approx(expected)


def test_pairs_are_counted_once_where_all_balance_is_noise():
    # Recall .9 in each of twenty classes of 30 images: the variance of the numerators is that of pairs alone, so the
    # jackknife has it twice. What remains too much are pairs from different classes, 1 / 20, and terms of order 1 / 30.
    rng = np.random.default_rng(0)
    label, numerators, found = np.repeat(np.arange(20), 30), [], []
    for _ in range(1000):
        before = rng.random((1, 600)) < 0.9
        after = np.where(rng.random(600) < 0.5, before, rng.random(600) < 0.9)
        parts = slope_parts(label, before, after, raw=True)
        numerators.append(parts.sums[0, 0])
        found.append((np.square(parts.moves[0]).sum(), parts.pairs[0, 0, 0, 0]))
    jackknife, pairs = np.mean(found, axis=0) / np.var(numerators)
    assert 1.9 < jackknife < 2.3
    assert 1 < jackknife - pairs < 1.3


def test_recalls_alone_give_an_interval_over_networks_alone():
    parts = SlopeParts(np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]))
    interval = pooled_slope(parts).interval(0.95)
    # Mean 2, standard error 1 / sqrt(3), t for two degrees of freedom 4.3027.
    assert (interval.low, interval.high) == pytest.approx((2 - 4.3026527 / 3**0.5, 2 + 4.3026527 / 3**0.5))
    assert interval.resampled == "seeds"
