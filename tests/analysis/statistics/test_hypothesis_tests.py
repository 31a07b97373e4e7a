import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower

from analysis.statistics.hypothesis_tests import (
    TOO_FEW,
    benjamini_hochberg,
    change_interval,
    corrected,
    detectable_in_errors,
    exact_mcnemar,
    independent,
    paired,
    wilson_interval,
)

# R's data set `sleep`; the figures below are those that R's t.test prints for it.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_t_of_r():
    row = paired(FIRST, SECOND)
    assert row["statistic"] == pytest.approx(-4.0621, abs=5e-5)
    assert (row["dof"], row["n"]) == (9, 10)
    assert row["p"] == pytest.approx(0.002833, abs=5e-7)
    assert row["difference"] == pytest.approx(-1.58)
    assert row["difference_low"] == pytest.approx(-2.4598858, abs=5e-8)
    assert row["difference_high"] == pytest.approx(-0.7001142, abs=5e-8)
    # Cohen's d_z of these data, 1.58 / 1.229995.
    assert row["effect_size"] == pytest.approx(-1.28456, abs=5e-6)


def test_welch_t_of_r():
    row = independent(FIRST, SECOND)
    assert row["statistic"] == pytest.approx(-1.8608, abs=5e-5)
    assert row["dof"] == pytest.approx(17.776, abs=5e-4)
    assert row["p"] == pytest.approx(0.07939, abs=5e-6)
    assert row["difference_low"] == pytest.approx(-3.3654832, abs=5e-8)
    assert row["difference_high"] == pytest.approx(0.2054832, abs=5e-8)
    assert row["n"] == 20


def test_pooled_t_of_r():
    row = independent(FIRST, SECOND, variance="pooled")
    assert row["dof"] == 18
    assert row["p"] == pytest.approx(0.07919, abs=5e-6)
    assert row["difference_low"] == pytest.approx(-3.363874, abs=5e-7)


def test_hedges_g_is_cohens_d_with_the_small_sample_factor():
    # d = 1.58 / sqrt((3.200556 + 4.009) / 2) = .83218, times 1 - 3 / (4 * 18 - 1).
    assert independent(FIRST, SECOND)["effect_size"] == pytest.approx(-0.83218 * (1 - 3 / 71), abs=1e-4)


@pytest.mark.parametrize("test", [paired, independent])
def test_sides(test):
    two, less, greater = (test(FIRST, SECOND, alternative=side) for side in ("two-sided", "less", "greater"))
    assert less["p"] == pytest.approx(two["p"] / 2)
    assert greater["p"] == pytest.approx(1 - two["p"] / 2)
    assert less["p_permutation"] < 0.1 < greater["p_permutation"]
    for column in ("difference", "difference_low", "difference_high", "statistic"):
        assert less[column] == two[column] == greater[column]


def test_sign_flips_are_counted_exactly():
    # One pair does not differ and all others fall: 2 of the 2^9 signs are as extreme, 4 of 2^10 with the tie.
    assert paired(FIRST, SECOND)["p_permutation"] == pytest.approx(2 / 2**9)
    assert paired(FIRST, SECOND, alternative="less")["p_permutation"] == pytest.approx(1 / 2**9)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("n", [6, 13, 14, 30])
def test_the_permutation_test_of_pairs_is_that_of_scipy(n, alternative):
    rng = np.random.default_rng(n)
    first, second = rng.normal(size=n).round(2), rng.normal(0.3, size=n).round(2)
    expected = stats.permutation_test(
        (first, second),
        lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples",
        n_resamples=9999,
        alternative=alternative,
        vectorized=True,
        random_state=np.random.default_rng(0),
    )
    assert paired(first, second, alternative=alternative)["p_permutation"] == pytest.approx(expected.pvalue)


def test_the_permutation_test_of_separated_samples_counts_the_two_orders():
    low, high = np.arange(6.0), np.arange(6.0) + 100
    # 12! / (6! 6!) = 924 splits, of which the data and their mirror are the most extreme.
    assert independent(low, high)["p_permutation"] == pytest.approx(2 / 924)


@pytest.mark.parametrize("test", [paired, independent])
def test_five_seeds_are_too_few_to_permute(test):
    assert test(FIRST[:5], SECOND[:5])["p_permutation"] == TOO_FEW
    assert isinstance(test(FIRST[:6], SECOND[:6])["p_permutation"], float)


@pytest.mark.parametrize("test", [paired, independent])
@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0]), ([], []), ([1.0, np.nan], [np.nan, 2.0])])
def test_fewer_than_two_seeds_are_not_available(test, first, second):
    row = test(first, second)
    assert np.isnan([value for name, value in row.items() if name != "n"]).all()


def test_a_seed_without_alpha_is_left_out_with_its_partner():
    with_gap = paired([*FIRST, np.nan, 1.0], [*SECOND, 1.0, np.nan])
    assert with_gap == paired(FIRST, SECOND)
    assert independent([*FIRST, np.nan], SECOND) == independent(FIRST, SECOND)


def test_equal_differences_give_a_difference_and_no_test():
    row = paired([0.1, 0.2, 0.3], [0.3, 0.4, 0.5])
    assert row["difference"] == pytest.approx(-0.2)
    assert np.isnan([row["p"], row["statistic"], row["effect_size"], row["p_equivalence"]]).all()
    assert np.isnan(independent([1.0, 1.0], [2.0, 2.0])["p"])


@pytest.mark.parametrize("family", [1, 6, 25])
@pytest.mark.parametrize(("side", "name"), [("two-sided", "two-sided"), ("less", "larger")])
def test_detectable_difference_is_statsmodels_solution(family, side, name):
    solve = {"alpha": 0.05 / family, "power": 0.8, "alternative": name}
    spread = np.std(np.subtract(FIRST, SECOND), ddof=1)
    expected = TTestPower().solve_power(nobs=10, **solve) * spread
    assert paired(FIRST, SECOND, alternative=side, family=family)["detectable_difference"] == pytest.approx(
        expected, rel=1e-4
    )
    spread = np.sqrt((np.var(FIRST, ddof=1) + np.var(SECOND, ddof=1)) / 2)
    expected = TTestIndPower().solve_power(nobs1=10, **solve) * spread
    pooled = independent(FIRST, SECOND, alternative=side, family=family, variance="pooled")
    assert pooled["detectable_difference"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.filterwarnings("error")
def test_detectable_difference_of_two_pairs_among_thousands_of_tests_has_that_power():
    """With one degree of freedom the standard error is |z| times its true value, with z from a normal distribution."""
    level = 0.05 / 2660
    difference, critical = detectable_in_errors(1, level), stats.t.isf(level / 2, 1)
    power = integrate.quad(lambda z: 2 * stats.norm.pdf(z) * stats.norm.sf(critical * z - difference), 0, 8, limit=500)
    assert power[0] == pytest.approx(0.8, abs=1e-6)


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 0.04, size=(2, 12))
    above = stats.ttest_rel(first, second - 0.05, alternative="greater").pvalue
    below = stats.ttest_rel(first, second + 0.05, alternative="less").pvalue
    assert paired(first, second)["p_equivalence"] == pytest.approx(max(above, below))
    above = stats.ttest_ind(first, second - 0.05, alternative="greater", equal_var=False).pvalue
    below = stats.ttest_ind(first, second + 0.05, alternative="less", equal_var=False).pvalue
    assert independent(first, second)["p_equivalence"] == pytest.approx(max(above, below))


def test_corrections_count_missing_rows():
    bonferroni, holm = corrected([0.01, np.nan, 0.02], family=4)
    assert bonferroni == pytest.approx([0.04, np.nan, 0.08], nan_ok=True)
    assert holm == pytest.approx([0.04, np.nan, 0.06], nan_ok=True)


def test_a_test_that_could_not_be_run_has_no_false_discovery_rate_and_does_not_count():
    adjusted = benjamini_hochberg([np.nan, 0.04, 0.01])
    assert np.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.02])


def test_more_rows_than_printed_are_a_larger_family():
    assert corrected([0.01, 0.02, 0.03], family=2)[0] == pytest.approx([0.03, 0.06, 0.09])


def test_wilson_interval_of_newcombe():
    # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, score method without correction.
    low, high = wilson_interval([81, 15, 0, 1], [263, 148, 20, 29])
    assert low == pytest.approx([0.2553, 0.0624, 0, 0.0061], abs=5e-5)
    assert high == pytest.approx([0.3662, 0.1605, 0.1611, 0.1718], abs=5e-5)


def test_exact_mcnemar_of_many_classes_is_that_of_statsmodels():
    lost, won = np.meshgrid([0, 1, 3, 40], [0, 2, 3, 55])
    expected = [mcnemar([[0, a], [b, 0]], exact=True).pvalue for a, b in zip(lost.flat, won.flat, strict=True)]
    assert exact_mcnemar(lost, won).ravel() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lost", "won", "images", "confidence", "low", "high"),
    [
        # Fagerland, Lydersen and Laake (2014), airway reactivity, with the sides changed.
        (1, 7, 21, 0.95, 0.026, 0.517),
        # Agresti and Min (2005).
        (8, 16, 86, 0.95, -0.020, 0.207),
        # Tang, Li and Tang (2010).
        (1, 3, 14, 0.95, -0.1670, 0.4327),
        # R's PropCIs::scoreci.mp(25, 28, 618, .9).
        (25, 28, 618, 0.90, -0.0148, 0.0247),
    ],
)
def test_tangos_published_intervals(lost, won, images, confidence, low, high):
    digits = 5e-5 if images in (14, 618) else 5e-4
    assert change_interval(lost, won, images, confidence) == pytest.approx((low, high), abs=digits)


def test_tangos_interval_without_any_change_is_wilsons():
    # The score is then -n d / sqrt(n d (1 - d)) above 0, so that the limit is z^2 / (n + z^2).
    z = stats.norm.isf(0.025)
    assert change_interval(0, 0, 100) == pytest.approx((-(z**2) / (100 + z**2), z**2 / (100 + z**2)))


def test_losing_and_winning_mirror_each_other():
    low, high = change_interval(48, 1, 50)
    assert change_interval(1, 48, 50) == pytest.approx((-high, -low))
    assert change_interval(50, 0, 50)[0] == -1
    assert change_interval(0, 50, 50)[1] == 1
    assert -1 < change_interval(49, 0, 50)[0] < change_interval(49, 0, 50)[1] < 0


def test_corrections_are_those_of_statsmodels():
    """Its correction by Holm collects garbage, which takes seconds after many tests, and so it is asked once."""
    p = np.random.default_rng(0).uniform(size=35) ** 3
    p[3] = p[5]
    for given, method in zip(corrected(p, 35), ("bonferroni", "holm"), strict=True):
        np.testing.assert_allclose(given, multipletests(p, method=method)[1])
