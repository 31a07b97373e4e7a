"""Numbers of R's limma are those that the tests of two Python ports quote, inmoose and transcriptomic_clustering."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma

from analysis.statistics import class_losses, two_way
from analysis.statistics.moderation import expected_prior, likely_alike, moderated, prior, trigamma_inverse

TWENTY = np.array([20, 25, 10, 15, 25, 30, 110, 30, 15, 20, 20, 25, 30, 15, 25, 20, 20, 25, 15, 10.0])


@pytest.mark.parametrize(("value", "of_limma"), [(5, 0.4961687), (1e8, 0.0001)])
def test_inverse_of_the_trigamma_function_is_that_of_limma(value, of_limma):
    assert trigamma_inverse(value) == pytest.approx(of_limma, rel=1e-6)


@pytest.mark.parametrize("value", [1e-6, 0.01, 1, 30, 1e6])
def test_trigamma_function_of_its_inverse_is_the_value(value):
    assert polygamma(1, trigamma_inverse(value)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("variances", "dof", "of_limma"),
    [(np.array([0.5, 1.3, 7.8]), 3, (1.676927, 2.830777)), (TWENTY, 15, (21.86946, 18.92199))],
)
def test_prior_is_that_of_limma(variances, dof, of_limma):
    assert prior(variances, dof) == pytest.approx(of_limma, rel=1e-6)


def test_variances_that_differ_less_than_chance_allows_have_one_mean():
    assert prior(np.array([1.0, 2.0, 3.0]), 2) == (2.0, np.inf)


@pytest.mark.parametrize(("dof", "variances"), [(2, TWENTY), (1, TWENTY[:10] ** 2), (15, TWENTY)])
def test_expected_prior_is_the_integral_over_densities_of_f(dof, variances):
    reciprocals, logarithms = np.linspace(0.0025, 1.9975, 400), np.linspace(-4, 10, 701)
    ratios = variances / np.exp(logarithms)[:, np.newaxis]
    densities = np.array([stats.f.logpdf(ratios, dof, 1 / each).sum(1) for each in reciprocals])
    weights = np.exp(densities - len(variances) * logarithms - (densities - len(variances) * logarithms).max())
    weights /= weights.sum()
    found = expected_prior(variances, dof)
    assert 1 / found.dof == pytest.approx(weights.sum(1) @ reciprocals, rel=0.02)
    assert np.log(found.variance) == pytest.approx(weights.sum(0) @ logarithms, abs=0.02)


def test_expected_prior_of_thousands_of_classes_is_that_they_were_drawn_from():
    rng = np.random.default_rng(0)
    found = expected_prior(3 * 4 / rng.chisquare(4, 3000) * rng.chisquare(2, 3000) / 2, 2)
    assert found == pytest.approx((3, 4), rel=0.15)


def test_no_more_than_eight_degrees_of_freedom_are_added_and_a_quarter_of_one_is_lost_by_estimation():
    assert moderated(np.ones(1000), 9, np.ones(1000)).dof.tolist() == [9 + 8 - 0.25] * 1000


def test_two_networks_lose_no_degrees_of_freedom_by_estimation():
    """Each class has one degree of freedom then. Their false alarms are below 5 % without it."""
    variances = np.linspace(1, 3, 20)
    assert expected_prior(variances, 1).dof > 8
    assert moderated(variances, 1, np.ones(20)).dof.tolist() == [1 + 8] * 20


def test_variances_are_averaged_by_degrees_of_freedom():
    variances = TWENTY**2
    common = expected_prior(variances, 2)
    assert common.dof < 8
    found = moderated(variances, 2, np.ones(20))
    assert found.variances[0] == pytest.approx((2 * 400 + common.dof * common.variance) / (2 + common.dof))
    assert found.dof[0] == pytest.approx(2 + common.dof - 0.25)


def test_a_class_that_varies_far_more_than_the_others_keeps_its_own_variance():
    variances = np.append(np.random.default_rng(0).chisquare(4, 99) / 4, 1000)
    found = moderated(variances, 4, np.ones(100))
    assert found.variances[-1] == pytest.approx(1000, rel=0.02)
    assert found.dof[-1] == pytest.approx(4, abs=0.1)
    assert np.median(found.dof) > 6


def test_a_class_that_varies_far_more_in_the_second_estimate_keeps_its_own_variance():
    variances = np.tile([1.0, 2.0], 10)
    second = np.append(1e4, np.ones(19))
    alone, found = (moderated(variances, 1, np.ones(20), second=each) for each in (None, second))
    assert (found.variances[0], found.dof[0]) == (pytest.approx(1.0, abs=0.05), pytest.approx(1.0, abs=0.2))
    assert (found.variances[1:] == alone.variances[1:]).all()
    assert alone.dof[0] > 3


@pytest.mark.parametrize("unknown", [np.zeros(20), np.append(np.ones(4), np.zeros(16))])
def test_a_second_estimate_that_shows_nothing_changes_nothing(unknown):
    variances = np.tile([1.0, 2.0], 10)
    found = moderated(variances, 1, np.ones(20), second=unknown)
    assert found.dof.tolist() == moderated(variances, 1, np.ones(20)).dof.tolist()


def test_outliers_are_as_likely_as_in_limma():
    """Worked out by the steps of limma's fitFDistRobustly: tails over (n - rank + .5) / n, at most 1, rising."""
    ratios = np.array([0.2, 1.0, 40.0, 2.0, 9.0, 0.7, 15.0, 1.4])
    tails = stats.f.sf(ratios, 3, 5)
    shares = (len(ratios) - stats.rankdata(ratios) + 0.5) / len(ratios)
    likely = np.minimum(tails / shares, 1)
    expected = [max(likely[ratios >= ratio]) for ratio in ratios]
    assert (sorted(expected)[2] < 0.2, likely_alike(ratios, 3, 5)) == (True, pytest.approx(expected))


def test_variances_are_compared_in_units_of_the_scale():
    scale = np.linspace(0.01, 0.25, 20)
    found, unscaled = moderated(TWENTY * scale, 15, scale), moderated(TWENTY, 15, np.ones(20))
    assert found.variances == pytest.approx(unscaled.variances * scale)


@pytest.mark.parametrize("variances", [np.arange(1.0, 10), np.append(np.zeros(6), [1.0, 2, 3, 4])])
def test_fewer_than_ten_classes_or_five_that_vary_keep_their_variances(variances):
    found = moderated(variances, 2, np.ones(len(variances)))
    assert found.variances.tolist() == variances.tolist()
    assert found.dof.tolist() == [2] * len(variances)


def test_a_class_that_did_not_vary_gets_a_variance_and_one_of_scale_0_keeps_its_own():
    found = moderated(np.append(np.arange(1.0, 11), [0, 0]), 2, np.array([1.0] * 11 + [0.0]))
    assert found.variances[10] > 0
    assert (found.variances[11], found.dof[11]) == (0, 2)


def test_a_variance_that_is_rounding_is_none():
    variances = np.append(np.tile([1.0, 2.0], 6), 1e-30)
    assert moderated(variances, 2, np.ones(13)).dof[0] == moderated(variances[:12], 2, np.ones(12)).dof[0]


def test_no_variance_is_below_the_least():
    assert moderated(np.array([1.0, 2.0] * 5), 2, np.ones(10), least=5.0).variances.tolist() == [5.0] * 10


@pytest.mark.parametrize("dof", [1.0, 4.4, np.inf])
def test_degrees_of_freedom_of_each_class_give_its_own_interval_and_p(dof):
    both = two_way.Variances([(np.array([1.0, 1.0]), np.array([3.0, dof]))], images=0.5)
    alone = two_way.Variances([(np.array([1.0]), dof)], images=0.5)
    assert two_way.half_widths(both)[1] == pytest.approx(two_way.half_widths(alone)[0])
    if np.isfinite(dof):
        assert two_way.p_values(both, np.full(2, 4.0))[1] == pytest.approx(two_way.p_values(alone, np.full(1, 4.0))[0])


@pytest.mark.slow
@pytest.mark.parametrize("unequal", [False, True])
def test_three_networks_of_ten_classes_find_more_without_more_false_alarms(unequal):
    rng = np.random.default_rng(0)
    draws, classes, networks = 400, 10, 3
    variances = np.exp(rng.normal(size=(draws, classes))) if unequal else np.ones((draws, classes))
    means = rng.normal(size=(draws, classes)) * np.sqrt(variances / networks)
    estimated = variances * rng.chisquare(networks - 1, (draws, classes)) / (networks - 1)
    alarms, losses = [], []
    for mean, over_networks in zip(means, estimated / networks, strict=True):
        found = two_way.Variances([moderated(over_networks, networks - 1, np.ones(classes))])
        alarms.append(two_way.p_values(found, mean).min() * classes <= 0.05)
        losses.append(two_way.p_values(found, mean + 4)[0] * classes <= 0.05)
    assert np.mean(alarms) < 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5
    assert np.mean(losses) > 0.6  # 0.2 by the plain t-test


@pytest.mark.slow
def test_a_class_that_varies_a_hundredfold_is_not_found_falsely_by_two_networks():
    rng = np.random.default_rng(0)
    draws, networks = 1000, 2
    deviations = np.append(10.0, np.ones(9))
    before, after = rng.normal(size=(2, draws, networks, 10)) * deviations
    alarms = []
    for pair in zip(before, after, strict=True):
        changes = class_losses.moderated(class_losses.from_recalls(*pair), np.full(10, 0.5))
        alarms.append(class_losses.estimates(changes, np.eye(10))["p"].min() * 10 <= 0.05)
    assert np.mean(alarms) < 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5  # 0.10 by the change alone
