"""Networks and images that make an interval narrow enough, by hand."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import two_way
from analysis.statistics.sample_size import Spread, half_widths, images_needed, networks_needed

IMAGES_ALONE = Spread(1, 0.0, np.inf, 0.01**2, 0.0)


def test_present_numbers_give_the_present_interval():
    spread = Spread(4, 3.0, 5, 2.0, 0.5)
    present = two_way.half_width(two_way.Variances([(3.0, 5)], 2.0, 0.5))
    assert half_widths(spread, 0.05) == pytest.approx(present)


def test_networks_follow_students_interval():
    # One network has the variance 1, so that three have 1/3 and n have 1/n.
    needed = networks_needed(Spread(3, 1 / 3, 2, 0.0, 0.0), 0.5)
    widths = [stats.t.ppf(0.975, n - 1) / n**0.5 for n in (needed - 1, needed)]
    assert widths[0] >= 0.5 > widths[1]


def test_half_the_margin_takes_four_times_the_images():
    times = [images_needed(IMAGES_ALONE, margin) for margin in (0.01, 0.005)]
    assert times[0] == pytest.approx((1.96 * 0.01 / 0.01) ** 2, rel=0.03)
    assert times[1] / times[0] == pytest.approx(4, rel=0.03)


def test_images_cannot_make_up_for_networks_that_differ_nor_networks_for_images():
    # Networks alone give a half-width of 4.3 * 0.1, images alone of 1.96 * 0.1.
    assert images_needed(Spread(3, 0.01, 2, 0.0, 0.0), 0.4) is None
    assert networks_needed(Spread(3, 0.01, 2, 0.01, 0.0), 0.19) is None
    assert networks_needed(IMAGES_ALONE, 0.001) is None
