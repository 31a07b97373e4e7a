import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from analysis.statistics import losses
from analysis.statistics.hypothesis_tests import wilson_interval

Z = stats.norm.isf(0.025)


def row(lost: int, won: int, images: int) -> np.ndarray:
    """Return the differences of one pair of networks, (1, images)."""
    return np.repeat([1, -1, 0], [lost, won, images - lost - won])[np.newaxis]


def one_class(difference: np.ndarray) -> losses.Spread:
    return losses.spread(np.zeros(difference.shape[1], int), difference)


@pytest.fixture
def study() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels of six unequal classes, and what seven networks recognise before and after."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(np.arange(6), [1, 15, 40, 100, 200, 300]))
    before, after = rng.random((2, 7, len(label))) < np.array([[[0.9]], [[0.8]]])
    return label, before, after


def test_five_lost_of_a_hundred():
    found = one_class(row(5, 0, 100))
    assert found.value == 0.05
    assert found.p() == 2 / 2**5
    # If none is won, Tango's upper end is Wilson's of a share; McNemar's p above .05 takes the lower end to 0.
    assert found.interval()[:, 0] == pytest.approx([0, wilson_interval(5, 100)[1]])
    assert found.interval(level=0.07)[0] > 0


def test_three_networks_of_six_images():
    lost = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0]])
    found = one_class(lost)
    assert found.value == pytest.approx(5 / 18)
    # The images' means are 1, 1/3, 1/3, 0, 0, 0. Around 5/18 their squares add up to 11/9 - 25/54 = 41/54.
    assert found.images == pytest.approx(41 / 54 / (6 * 5))
    # The networks' losses are 1/3, 1/6, 1/3, with variance 1/108.
    assert found.networks == pytest.approx(1 / 108 / 3)
    # Around their images' means and the networks' losses, squares add up to 5 - 3 * 11/9 - 6 * 1/54 = 11/9.
    assert found.images - found.beyond == pytest.approx(11 / 9 / (6 * 5) / (3 * 2))
    assert found.rare == pytest.approx(((11 / 9 + 1) / (5 / 3 + 1) / 6) ** 2)
    t = stats.t(2).isf(0.025)
    half = (t**2 / 324 + Z**2 * (1 / 54 + Z**2 * (5 / 36) ** 2)) ** 0.5
    assert found.interval()[:, 0] == pytest.approx([5 / 18 - half, 5 / 18 + half])


def test_variances_are_shrunk_to_the_usual_one():
    # Two networks; one of them loses two of the four images of the first class, whose variance is 1/8, 1/24 of it from
    # images. A quarter of its images change, so that it counts as 1/4 + 1/4 and the other class as 1/4: the factor is
    # (1/8 - 1/24) / (3/4) = 1/9. Usual are 1/24 + 1/18, which is less than 1/8, and 1/36, which counts half.
    label, lost = np.repeat([0, 1], 4), np.array([[1, 1, 0, 0, 0, 0, 0, 0], np.zeros(8)])
    found = losses.spread(label, lost)
    assert found.networks == pytest.approx([1 / 8 / 2, (1 / 36 + 0) / 2 / 2])
    assert found.dof == 1 + 1
    # A cost is half of the own loss minus half of the other's.
    assert found.images == pytest.approx([1 / 48, 0])
    assert losses.spread(label, lost, 1).images == pytest.approx([1 / 48 / 4, 1 / 48 / 4])


@pytest.mark.parametrize(
    ("lost", "won", "images", "low", "high"),
    # Published by Agresti and Min (2005), and by Fagerland, Lydersen and Laake (2014). McNemar's exact p of the second
    # is .07, so that its lower end, .026, is set to 0.
    [(16, 8, 86, -0.020, 0.207), (7, 1, 21, 0, 0.517)],
)
def test_intervals_of_one_pair_are_tangos(lost, won, images, low, high):
    assert one_class(row(lost, won, images)).interval()[:, 0] == pytest.approx([low, high], abs=5e-4)
    assert one_class(-row(lost, won, images)).interval()[:, 0] == pytest.approx([-high, -low], abs=5e-4)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 7), (6, 0), (30, 12), (200, 150)])
def test_p_of_one_pair_is_the_larger_one_of_mcnemars(lost, won):
    tests = [mcnemar([[0, lost], [won, 0]], exact=exact, correction=False).pvalue for exact in (True, lost + won == 0)]
    assert one_class(row(lost, won, 400)).p() == pytest.approx(max(tests))


@pytest.mark.parametrize("counts", [(56, 48, 70, 80), (9, 3, 10, 10), (10, 0, 10, 20), (4, 4, 9, 9)])
def test_intervals_of_counts_are_newcombes(counts):
    before, after, *images = counts
    found = losses.from_counts([before], [after], np.transpose([images]))
    expected = confint_proportions_2indep(before, images[0], after, images[1], method="newcomb", compare="diff")
    assert found.interval()[:, 0] == pytest.approx(expected, abs=1e-9)
    assert np.abs(found.interval(found.p()[0])).min() == pytest.approx(0, abs=1e-9)
    expected = confint_proportions_2indep(
        3 * before, 3 * images[0], 3 * after, 3 * images[1], method="newcomb", compare="diff", alpha=0.1
    )
    assert found.projected(images=3).upper() == pytest.approx(expected[1])


def test_two_sides_of_other_seeds_add_their_variances():
    rng = np.random.default_rng(0)
    sides = rng.random((5, 60)) < 0.9, rng.random((8, 60)) < 0.7
    found = losses.between(np.zeros(60, int), *sides, paired=False)
    recalls = [side.mean(1) for side in sides]
    assert found.value == pytest.approx(recalls[0].mean() - recalls[1].mean())
    assert found.networks == pytest.approx(sum(each.var(ddof=1) / len(each) for each in recalls))
    assert (found.n, found.dof) == (5, 4)


def test_two_sides_that_are_wrong_in_place_of_right_lose_the_same(study):
    label, before, after = study
    found, other = losses.between(*study, paired=False), losses.between(label, ~after, ~before, paired=False)
    assert other.interval() == pytest.approx(found.interval())


def test_one_network_before_is_compared_with_each_after(study):
    label, before, after = study
    expected = losses.between(label, np.repeat(before[:1], 7, axis=0), after).interval()
    assert losses.between(label, before[:1], after, paired=False).interval() == pytest.approx(expected)


def test_recalls_alone_have_an_interval_of_t():
    recalls = np.random.default_rng(0).random((4, 3)) / 4
    expected = stats.ttest_1samp(recalls, 0)
    found = losses.from_recalls(recalls)
    assert found.interval() == pytest.approx(np.array(expected.confidence_interval()))
    assert found.p() == pytest.approx(expected.pvalue)
    # Recalls of one network, or the same ones of all networks, show nothing.
    for found in (losses.from_recalls(np.ones((1, 2)) / 4), losses.from_recalls(np.ones((3, 2)) / 4)):
        assert np.isnan([*found.interval(), found.p(), found.upper()]).all()


@pytest.mark.parametrize("expected", [0, 1, np.arange(6) / 2])
@pytest.mark.parametrize("paired", [True, False])
def test_intervals_and_p_agree(study, expected, paired):
    found = losses.between(*study, expected, paired=paired)
    for place, p in enumerate(found.p()):
        low, high = found.interval(p)[:, place]
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)


def test_intervals_of_one_pair_exclude_0_where_p_is_small():
    for lost, won in np.ndindex(13, 13):
        found = one_class(row(lost, won, 40))
        for level in (0.01, 0.05, 0.1):
            low, high = found.interval(level)
            assert (low > 0 or high < 0) == (found.p() < level)


@pytest.mark.parametrize("networks", [1, 2, 7])
def test_projecting_by_1_changes_nothing(study, networks):
    label, before, after = study
    found = losses.between(label, before[:networks], after[:networks])
    # Each of two networks loses another image, so that networks vary less than images let expect.
    for each in (found, one_class(np.eye(2, 10))):
        assert each.projected().interval() == pytest.approx(each.interval())
        assert not (each.projected(images=4).networks < 0).any()


def test_more_networks_and_images_narrow_intervals(study):
    found = losses.between(*study)
    assert found.dof == 4 + 6
    widths = [np.diff(each.interval(), axis=0)[0, 1:] for each in (found, found.projected(2), found.projected(2, 2))]
    assert (np.diff(widths, axis=0) < 0).all()


@pytest.mark.parametrize("networks", [1, 2, 7])
def test_the_order_of_classes_and_images_does_not_matter(study, networks):
    label, before, after = study
    rng = np.random.default_rng(1)
    order, images = rng.permutation(6), rng.permutation(len(label))
    found = losses.between(label, before[:networks], after[:networks])
    other = losses.between(order[label][images], before[:networks, images], after[:networks, images])
    assert other.interval()[:, order] == pytest.approx(found.interval())
    assert other.p()[order] == pytest.approx(found.p())


@pytest.mark.parametrize("networks", [1, 2, 7])
def test_the_loss_of_a_single_class_is_that_of_accuracy(study, networks):
    label, before, after = study
    difference = before[:networks].astype(int) - after[:networks]
    assert losses.accuracy(label, difference).interval() == pytest.approx(one_class(difference).interval())


def test_classes_that_lose_alike_have_no_cost():
    label, difference = np.repeat([0, 1], 10), np.tile(row(2, 0, 10), (3, 2))
    found = losses.spread(label, difference, 1)
    assert [*found.value, *found.p()] == pytest.approx([0, 0, 1, 1])
    assert losses.spread(label, difference, [2, 0.5]).value == pytest.approx([-0.2, 0.1])
    with pytest.raises(ValueError, match="needs two pairs"):
        losses.spread(label, difference[:1], 1)


def test_a_class_that_one_network_destroys_does_not_widen_the_others():
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(10), 100)
    difference = rng.choice([1, -1, 0], (3, 1000), p=[0.1, 0.1, 0.8])
    width = np.diff(losses.spread(label, difference).interval(), axis=0)[0]
    difference[0, label == 0] = 1
    destroyed = np.diff(losses.spread(label, difference).interval(), axis=0)[0]
    assert destroyed[0] > 3 * width[0]
    # Its variance of 1/3 among others of .002 would make the mean of all seventeen times as large, and widths fourfold.
    assert (destroyed[1:] < 1.7 * width[1:]).all()


@pytest.mark.parametrize("networks", [1, 3])
def test_classes_and_images_are_left_out(study, networks):
    label, before, after = study
    difference = before[:networks].astype(float) - after[:networks]
    expected = losses.spread(label, difference)
    # Class 2 gets no images, class 7 neither; some images have no class, others no prediction.
    more, label = np.hstack([difference, np.ones((networks, 30))]), np.array([0, 1, 3, 4, 5, 6])[label]
    more[:, -10:] = np.nan
    label = np.concatenate([label, np.full(20, -1), np.full(10, 2)])
    found = losses.spread(label, more, classes=8)
    known = [0, 1, 3, 4, 5, 6]
    assert found.interval()[:, known] == pytest.approx(expected.interval())
    assert found.p()[known] == pytest.approx(expected.p())
    assert np.isnan([*found.interval()[:, [2, 7]], found.p()[[2, 7]], found.projected(2, 2).upper()[[2, 7]]]).all()


def test_networks_on_images_of_their_own():
    found = one_class(np.array([[1, 0, np.nan, np.nan], [np.nan, np.nan, 1, 1]]))
    assert found.value == 0.75
    # The first network's loss of .5 has the variance .25 over its two images, so the mean of both has a quarter of it,
    # all of which the variance over networks, 1/8, contains.
    assert (found.images, found.beyond, found.networks) == pytest.approx((0.0625, 0, 1 / 16))
    assert found.rare == pytest.approx(1 / 4**2)


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_classes_of_one_image_or_without_changes(networks):
    found = losses.spread(np.array([0, 1, 1, 1]), np.tile([1, 0, 0, 0], (networks, 1)))
    (low, _), (high, upper) = found.interval()
    assert low < 0 < 1 == high
    assert 0.5 < upper <= 1
    assert (found.p() > 0.05).all()


def test_the_worst_class_is_named_and_read_on_other_images():
    label = np.tile(np.arange(3), 100)
    difference = np.zeros((4, 300), int)
    difference[:, label == 1] = [1, 1, 1, 0] * 25  # all lost on the images that name, half on the others
    difference[:, label == 2] = [0, 1] * 50
    found = losses.worst_class(label, difference)
    assert (found.place, found.value) == (1, 0.5)
    assert found.low < 0.5 < found.high
    others = np.arange(300) // 3 % 2 == 1
    assert found.p == losses.holm(losses.spread(label[others], difference[:, others]).p())[1]
    assert losses.worst_class(label, difference, 1).value == pytest.approx(0.5 - 1.5 / 3)
    assert losses.worst_class(np.array([0, 1, 2]), np.ones((2, 3))).place == -1  # one image of each class


def test_several_groupings_and_some_classes_keep_their_bounds():
    rng = np.random.default_rng(0)
    difference = rng.integers(-1, 2, (3, 60))
    labels = np.arange(60) % 2, np.arange(60) % 5
    each = [losses.spread(label, difference) for label in labels]
    together = losses.joined(each)
    assert together.interval().tolist() == np.hstack([one.interval() for one in each]).tolist()
    assert together.of(np.array([1, 3])).upper().tolist() == together.upper()[[1, 3]].tolist()
    one = losses.joined([losses.spread(label, difference[:1]) for label in labels])
    assert one.of(np.arange(7) > 1).p().tolist() == losses.spread(labels[1], difference[:1]).p().tolist()


def test_a_detectable_loss_of_a_pair_grows_with_the_images_that_trade_places():
    """Of 400 images 50 are lost and 50 won, so a quarter changes: (1.96 + .84)^2 * .25 / 400 is .07^2."""
    label, difference = np.zeros(400, int), np.repeat([1, -1, 0], [50, 50, 300])[np.newaxis]
    assert losses.spread(label, difference).detectable() == pytest.approx(
        (1.95996 + 0.84162) * (0.25 / 400) ** 0.5, rel=1e-4
    )


def test_a_detectable_loss_of_several_pairs_is_a_half_width_and_the_quantile_of_the_power():
    """Recalls of 60, 61 and 62 %: the standard error is .01 / 3^.5, and t with two degrees of freedom 4.303."""
    found = losses.from_recalls(np.array([[0.4], [0.39], [0.38]]))
    assert found.detectable() == pytest.approx(0.01 / 3**0.5 * (4.30265 + 0.84162), rel=1e-4)


def test_columns_are_bounded_and_corrected_for_the_known_classes(study):
    found = losses.between(*study, 1)
    columns = losses.columns("cost", found)
    assert list(columns) == ["cost", "cost_low", "cost_high", "cost_upper_all", "cost_p"]
    assert columns["cost_upper_all"].tolist() == found.upper(0.05 / 6).tolist()
    assert columns["cost_p"].tolist() == losses.holm(found.p()).tolist()
    label, before, after = study
    more = losses.columns("cost", losses.between(label, before, after, 1, classes=7))
    assert more["cost_upper_all"][:6].tolist() == columns["cost_upper_all"].tolist()
    assert np.isnan([each[6] for each in more.values()]).all()
