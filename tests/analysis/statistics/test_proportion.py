import numpy as np
import pytest

from analysis.statistics import intensification, losses, new_images, proportion
from analysis.statistics.proportion import (
    disproportionate_losses,
    equal_factors_p,
    error_factors,
    for_new_images,
    odds_ratio,
    on_these_images,
    pooled_alpha_beyond,
    proportionality_without_each,
)
from analysis.statistics.recalls import Recalls

THIRDS = np.full(3, 1 / 3)


def answers(errors, images=1000, seed=0):
    """Return labels and answers, (networks, images), with exactly these shares of errors, (networks, classes)."""
    random, errors = np.random.default_rng(seed), np.atleast_2d(errors)
    label = np.repeat(np.arange(errors.shape[1]), images)
    ranks = np.argsort(random.random((len(errors), errors.shape[1], images)), axis=-1)
    return label, (ranks >= np.rint(errors * images)[..., np.newaxis]).reshape(len(errors), -1)


def drawn(random, errors, images):
    """Return labels and answers of networks with these probabilities of errors, that agree on which images are hard."""
    label = np.repeat(np.arange(errors.shape[-1]), images)
    hardness = random.random(len(label))
    own = random.random((len(errors), len(label)))
    return label, np.where(own < 0.5, own * 2, hardness) >= errors[:, label]


def disproportionate(*sides):
    return disproportionate_losses(*sides)["disproportionate"]


def test_three_classes_whose_errors_grow_by_half():
    before, after = np.array([0.9, 0.8, 0.7]), np.array([0.85, 0.7, 0.55])
    sides = Recalls(before, 0.8), Recalls(after, 0.7)
    assert intensification.raw_slope(*sides) == pytest.approx(1.5)
    assert (
        intensification.alpha(*(side.balance for side in sides)) == pytest.approx(12 / 7) == odds_ratio(0.8, 0.7)
    )  # (3 / 7) / (2 / 8)
    found = on_these_images(np.tile(before, (3, 1)), np.tile(after, (3, 1)), THIRDS)
    assert (found.slope, found.growth) == pytest.approx((1.5, 1.5))
    assert found.proportionality() == pytest.approx((1, 1, 1))
    assert found.alpha_beyond() == pytest.approx((1, 1, 1))
    label, right = answers([1 - before, 1 - after])
    assert disproportionate(label, right[[0, 0]], right[[1, 1]]) == pytest.approx([0, 0, 0], abs=1e-12)


def test_equal_losses_have_proportionality_0_and_are_told_from_proportional_errors():
    before = np.array([[0.9, 0.8, 0.7], [0.92, 0.8, 0.68], [0.9, 0.81, 0.69]])
    found = on_these_images(before, before - [[0.1], [0.11], [0.12]], THIRDS)
    assert found.slope == pytest.approx(1)
    assert found.growth == pytest.approx(1 + 0.33 / 0.6)  # sums over the networks
    assert found.proportionality().estimate == pytest.approx(0)
    assert found.p_value(1) < 0.01
    label, right = answers([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])
    # In proportion, that is half as many errors again, the classes would lose .05, .1 and .15.
    assert disproportionate(label, right[[0, 0]], right[[1, 1]]) == pytest.approx([0.05, 0, -0.05])


def test_accuracy_that_is_gained_passes_the_test_of_equivalence():
    errors = np.array([0.1, 0.2, 0.3]) * (1 + np.array([[0.02], [0], [-0.02], [0.01], [-0.01]]))
    for growth in (0.5, 1.5):
        noise = np.array([[0.001, -0.001, 0], [0, 0.001, -0.001], [-0.001, 0, 0.001], [0, 0, 0], [0, 0.001, -0.001]])
        found = on_these_images(1 - errors, 1 - growth * errors + noise, THIRDS)
        assert found.equivalence_p() < 0.001
        assert on_these_images(1 - errors, 1 - errors - 0.1 * (growth - 1) + noise, THIRDS).equivalence_p() > 0.99


def test_where_nothing_is_lost_proportionality_is_undefined_and_nothing_is_disproportionate():
    label, right = answers(np.tile([0.1, 0.2, 0.3], (6, 1)))
    found = for_new_images(label, right[:3], right[3:])
    assert found.growth == pytest.approx(1)
    assert np.isnan(found.proportionality()).all()
    assert found.equivalence_p() > 0.4
    assert np.isfinite(found.alpha_beyond()).all()
    assert disproportionate(label, right[:3], right[3:]) == pytest.approx([0, 0, 0], abs=1e-12)


def test_classes_that_do_not_differ_leave_the_slope_unidentified():
    label, right = answers(np.vstack([np.full((3, 3), 0.2), np.full((3, 3), 0.3)]))
    found = for_new_images(label, right[:3], right[3:])
    assert not found.identified
    assert np.isnan([*found.proportionality(), *found.alpha_beyond(), found.p_value(1), found.equivalence_p()]).all()


def test_controls_without_errors_have_no_growth():
    label, right = answers([[0, 0, 0], [0.1, 0.2, 0.3]])
    found = for_new_images(label, right[:1], right[1:])
    assert np.isnan(found.growth)
    assert np.isnan(found.proportionality()).all()


def test_slope_and_interval_are_those_of_new_images():
    errors = np.random.default_rng(1).uniform(0.05, 0.4, (6, 4))
    label, right = answers(errors, images=50)
    found = for_new_images(label, right[:3], right[3:])
    expected = new_images.pooled_slope(new_images.slope_parts(label, right[:3], right[3:], raw=True)).interval(0.95)
    assert (found.slope, *found.slope_interval()) == pytest.approx(expected[:3])
    alone = for_new_images(label, right[:1], right[3:4])
    accuracy, accuracy_after = right[0].mean(), right[3].mean()
    alpha = new_images.alpha_new_from_predictions(label, right[:1], right[3:4]).estimate
    assert alone.slope / alone.growth == pytest.approx(alpha / odds_ratio(accuracy, accuracy_after))


@pytest.mark.parametrize("networks", [1, 4])
def test_the_test_just_rejects_the_ends_of_the_interval(networks):
    errors = np.array([0.05, 0.1, 0.2, 0.3]) + np.random.default_rng(2).uniform(-0.01, 0.01, (networks, 4))
    label, right = answers(np.vstack([errors, 1.5 * errors]), images=500)
    found = for_new_images(label, right[:networks], right[networks:])
    estimate, low, high = found.proportionality()
    assert low < estimate < high
    assert [found.p_value(low), found.p_value(high)] == pytest.approx([0.05, 0.05])


def test_disproportionate_losses_sum_to_0_by_support_and_are_the_mean_of_those_between_halves():
    label = np.repeat([0, 1, 2], [400, 200, 40])
    random = np.random.default_rng(3)
    before, after = (random.random((4, 640)) > share for share in (0.2, 0.3))
    value = disproportionate(label, before, after)
    assert value @ np.bincount(label) == pytest.approx(0, abs=1e-9)
    growth = (1 - after.mean()) / (1 - before.mean())
    half = np.arange(640) % 2
    for place, expected in enumerate(value):
        parts = [(label == place) & (half == each) for each in (0, 1)]
        losses = [before[:, part].mean() - after[:, part].mean() for part in parts]
        errors = [1 - before[:, part].mean() for part in parts]
        between = [losses[0] - (growth - 1) * errors[1], losses[1] - (growth - 1) * errors[0]]
        assert np.mean(between) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("networks", [3, 10])
def test_intervals_cover_proportional_errors(networks):
    random = np.random.default_rng(4)
    errors, growth = np.array([0.03, 0.06, 0.1, 0.2]), 1.3
    covered, losses_covered, passed = [], [], []
    for _ in range(300):
        own = errors * random.lognormal(0, 0.1, (networks, 4))
        label, right = drawn(random, np.vstack([own, own * growth * random.lognormal(0, 0.05, (networks, 1))]), 400)
        found = for_new_images(label, right[:networks], right[networks:])
        _, low, high = found.proportionality()
        covered.append(np.isnan(low) or low <= 1 <= high)
        passed.append(found.equivalence_p(margin=0) < 0.05)
        beyond = disproportionate_losses(label, right[:networks], right[networks:])
        losses_covered.append((beyond["disproportionate_low"] <= 0) & (beyond["disproportionate_high"] >= 0))
    assert np.mean(covered) > 0.93
    assert np.mean(losses_covered, axis=0).min() > 0.92
    assert np.mean(passed) < 0.08  # with no margin proportional errors lie on the edge of the null hypothesis


def test_the_variance_of_alpha_beyond_proportion_is_that_over_draws_of_networks_and_images():
    before = np.tile([0.1, 0.2, 0.4], (6, 1))
    estimates, variances = [], []
    for seed in range(300):
        label, right = drawn(np.random.default_rng(seed), np.vstack([before, 1.4 * before]), 200)
        alpha = new_images.pooled_slope(new_images.slope_parts(label, right[:6], right[6:]))
        found = pooled_alpha_beyond(alpha, right[:6].mean(1), right[6:].mean(1), (label, right[:6], right[6:]))
        estimates.append(found.estimate)
        variances.append(found.variances.total)
    assert np.mean(estimates) == pytest.approx(1, abs=0.02)
    # If the odds ratio were taken as known, the variance would be half as large again.
    assert 0.9 < np.mean(variances) / np.var(estimates, ddof=1) < 1.35


def test_a_class_loses_disproportionately_beyond_its_share_of_the_error():
    """Errors of .1 and .2 are 2 / 3 and 4 / 3 of the mean error."""
    label, right = answers([[0.08, 0.2], [0.12, 0.2], [0.1, 0.3], [0.1, 0.5]])
    found = disproportionate_losses(label, right[:2], right[2:])
    expected = losses.between(label, right[:2], right[2:], [2 / 3, 4 / 3])
    assert found["disproportionate"] == pytest.approx([-0.2 / 3, 0.2 / 3])  # losses are 0 and .2, .1 of all images
    assert list(found) == list(proportion.DISPROPORTIONATE_COLUMNS)
    bounds = *expected.interval(), expected.upper(0.025), 2 * expected.p()
    assert np.array(list(found.values())[1:]) == pytest.approx(np.minimum(bounds, 1))
    for before, after in ((right[:1], right[2:3]), (np.ones_like(right), right)):  # one pair, and no error before
        assert np.isnan(list(disproportionate_losses(label, before, after).values())).all()


SHARE = np.array([0.1, 0.2, 0.3, 0.4])


def networks(factors, number=12, seed=0):
    """Return errors of controls and of networks: those of four classes grow by these factors, with chance."""
    random = np.random.default_rng(seed)
    before = np.array([0.1, 0.2, 0.3, 0.4]) + random.normal(0, 0.01, (number, 4))
    return before, before * factors + random.normal(0, [0.01, 0.03, 0.01, 0.02], (number, 4))


def test_equal_factors_are_rejected_as_often_as_the_level_says_and_others_nearly_always():
    def rejected(factors, draws=400):
        return np.mean([equal_factors_p(*networks(factors, seed=seed), SHARE) <= 0.05 for seed in range(draws)])

    assert 0.02 < rejected([1.2] * 4) < 0.08
    assert rejected([1.1, 1.2, 1.2, 1.3]) > 0.95


def test_the_test_does_not_depend_on_the_order_of_classes():
    before, after = networks([1.2] * 4)
    order = [3, 1, 0, 2]
    assert equal_factors_p(before[:, order], after[:, order], SHARE[order]) == pytest.approx(
        equal_factors_p(before, after, SHARE)
    )


def test_classes_without_errors_are_left_out():
    before, after = networks([1.2] * 4)
    without = [np.c_[errors, np.zeros(len(errors))] for errors in (before, after)]
    assert equal_factors_p(*without, np.append(SHARE / 2, 0.5)) == pytest.approx(equal_factors_p(before, after, SHARE))
    assert np.isnan(error_factors(*without)[:, -1]).all()


def test_one_network_more_than_classes_is_enough_to_test():
    assert np.isnan(equal_factors_p(*networks([1.2] * 4, number=4), SHARE))
    assert np.isfinite(equal_factors_p(*networks([1.2] * 4, number=5), SHARE))


def test_networks_that_are_all_alike_cannot_be_tested():
    assert np.isnan(equal_factors_p(*(np.tile(errors[0], (9, 1)) for errors in networks([1.2] * 4)), SHARE))


def test_a_factor_may_be_that_of_one_class_alone():
    """Without the class with the largest error, the errors of the others grow by equal factors."""
    before = np.tile([0.1, 0.2, 0.3, 0.4], (3, 1))
    recalls = 1 - before, 1 - before * [1.5, 1.5, 1.5, 1]
    assert on_these_images(*recalls, SHARE).proportionality().estimate < 0
    assert proportionality_without_each(*recalls, SHARE)[:, 3] == pytest.approx([1, 1, 1])
