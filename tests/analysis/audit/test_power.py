"""Smallest losses that audits find, held against the noncentral t distribution."""

import click.testing
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from analysis.__main__ import cli
from analysis.audit import power
from analysis.common.errors import StudyError
from tests.error_lines import refused


def of_one_class(variance):
    one = np.ones(1)
    return power.ChangeVariances(["a"], variance * one, 0 * one, 0 * one, one)


def losses(movement, *networks):
    """The table of smallest losses that so many networks a side find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "NETWORKS", networks)
        return power.simulated(movement).table


@pytest.fixture(scope="module")
def single():
    return losses(of_one_class(0.02**2), 3, 5, 10, 30).set_index("networks")


@pytest.mark.parametrize("networks", [3, 5, 10, 30])
def test_a_single_class_has_the_power_of_the_noncentral_t_distribution(single, networks):
    dof, critical = networks - 1, stats.t.ppf(0.975, networks - 1)
    shift = optimize.brentq(lambda shift: stats.nct.sf(critical, dof, shift) - 0.8, 0.1, 50)
    assert single["smallest_loss"][networks] == pytest.approx(shift * 0.02 / networks**0.5, rel=0.05)


@pytest.mark.slow
def test_more_networks_find_smaller_losses_and_more_movement_hides_them():
    calm, restless = (losses(power.of_points(10, 1000, points), 2, 3, 5, 10, 30) for points in (1, 3))
    assert calm["smallest_loss"].is_monotonic_decreasing
    assert (restless["smallest_loss"] > 2 * calm["smallest_loss"]).all()


def test_images_alone_bound_what_many_networks_find():
    shared = power.ChangeVariances(["a"], np.full(1, 1e-12), np.zeros(1), np.full(1, 0.01**2), np.ones(1))
    found = losses(shared, 30)["smallest_loss"]
    # 1.96 + 0.84 standard errors of a normal variable.
    assert found.item() == pytest.approx(0.028, rel=0.05)


def test_few_images_are_tested_by_quantiles_of_t():
    shared = power.ChangeVariances(
        ["a"], np.full(1, 1e-12), np.zeros(1), np.full(1, 0.2**2), np.ones(1), images=np.array([10])
    )
    found = losses(shared, 30)["smallest_loss"]
    # The quantile of t with nine degrees of freedom is 2.262, and the normal one for 80 % is .842.
    assert found.item() == pytest.approx((2.262 + 0.842) * 0.2, rel=0.02)


def test_a_loss_that_changes_too_few_images_is_not_promised():
    # Ten classes need 9 changed images: 10 * 2^(1 - 8) is .078, and 10 * 2^(1 - 9) is .039.
    few, enough = (losses(power.of_points(10, images, 2), 30)["smallest_loss"].item() for images in (8, 12))
    assert np.isnan(few)
    assert enough < 0.9
    # If nothing changes by chance, all networks lose the same images.
    nothing, of_each = np.zeros(10), np.ones(10)
    still = power.ChangeVariances(
        [""] * 10, 1e-12 * of_each, nothing, nothing, 0.002 * of_each, recall=0.998 * of_each, images=1000 * of_each
    )
    assert 1000 * losses(still, 2)["smallest_loss"].item() > 9


def test_the_only_network_before_as_control_is_no_control():
    label = np.repeat([0, 1], 50)
    before, after = label[np.newaxis], np.array([np.roll(label, 5), np.roll(label, 9)])
    without = power.of_networks(label, {"before": before, "after": after})
    as_control = power.of_networks(label, {"before": before, "after": after, "control": before})
    assert as_control.over_networks.tolist() == without.over_networks.tolist()


@pytest.mark.parametrize("movement", [30, 50])
def test_no_loss_is_found_that_is_larger_than_the_recall_of_the_class(movement, tmp_path):
    found = power.Power(losses(power.of_points(10, 1000, movement), 2, 100), 10)
    few, many = found.table["smallest_loss"]
    assert np.isnan(few)
    assert 0 < many < 0.9
    lines = power.summary(found).splitlines()
    assert lines[-2].split() == ["2", "none"]
    assert lines[-1].split() == ["100", f"{100 * many:.1f}"]
    power.write(found, tmp_path / "power")


def test_a_class_that_loses_moves_further():
    usual = power.of_points(10, 1000, 2)
    moved = usual.with_losses(np.full(10, 0.4))
    # Recall .9 becomes .5: R (1 - R) grows from .09 to .25, and its square 7.716-fold on one of two sides.
    own = 0.02**2 * (1 + (0.25 / 0.09) ** 2) / 2
    # Losing 40 of 100 images adds a binomial variance, of which all networks share .4.
    noise = (0.9 * 0.1 + 0.6 * 0.4 * 0.6) / 1000
    np.testing.assert_allclose(moved.over_networks, own + noise)
    np.testing.assert_allclose(moved.over_images, 0.4 * 0.4 * 0.6 / 1000)
    np.testing.assert_allclose(moved.in_one, noise)
    np.testing.assert_allclose(moved.scale, 0.7 * 0.3)
    np.testing.assert_allclose(usual.with_losses(np.zeros(10)).over_networks, usual.over_networks)


@pytest.mark.slow
def test_a_promise_is_kept_by_networks_that_share_none_of_its_assumptions():
    from benchmarks import power as promised

    loss = promised.promised_loss(1000, 3)
    found = sum(promised.is_found(np.random.default_rng(audit), 1000, 3, loss) for audit in range(40))
    # A rate of 80 % gives 25 or fewer, or 38 or more, of 40 in 1 % of all cases.
    assert 25 < found <= 38


def made(seed, networks=4, classes=10, images=200):
    """Predictions of networks whose recalls are .9; the first class moves between networks, by ten points."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), images)
    recall = np.full((networks, classes), 0.9)
    recall[:, 0] = 0.8 + 0.1 * np.resize([-1, 1], networks)
    wrong = rng.random((networks, len(label))) > recall[:, label]
    return label, np.where(wrong, (label + 1) % classes, label)


def test_the_class_that_moves_most_is_named():
    (label, before), (_, after) = made(0), made(1)
    after = np.roll(after, 1, axis=0)
    table = losses(power.of_networks(label, {"before": before, "after": after}), 2, 5, 30)
    assert set(table["class_most"]) == {"0"}
    assert table["smallest_loss_most"].isna().tolist() == [True, False, False]  # two networks find none of 90 points
    assert (table["smallest_loss_most"] > table["smallest_loss"])[1:].all()


def test_networks_that_show_no_variance_are_refused():
    label, networks = made(0)
    with pytest.raises(StudyError, match=r"two networks a side, but has 1"):
        power.of_networks(label, {"before": networks[:1], "after": networks[1:2]})
    with pytest.raises(StudyError, match="change of recall does not vary"):
        power.of_networks(label, {"before": networks, "after": networks})
    with pytest.raises(StudyError, match=r"pairs of networks, but has 2 before, 3 after"):
        power.of_networks(label, {"before": networks[:2], "after": networks[1:]})


@pytest.mark.parametrize(
    ("numbers", "option"),
    [((1, 100, 2), "classes"), ((10, 0, 2), "images"), ((10, 100, 0), "movement"), ((2, 1, 101), "movement")],
)
def test_numbers_out_of_range_name_their_option(numbers, option):
    with refused(option):
        power.of_points(*numbers)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--before b.csv --before c.csv --after c.csv --after d.csv --pair-by-order", 0),
        ("--classes 2 --images 100 --movement 2", 0),
        ("--classes 2 --images 100", 2),
        ("--before b.csv", 2),
        ("--before b.csv --after c.csv --classes 2", 2),
        ("", 2),
    ],
)
def test_command(tmp_path, monkeypatch, options, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(power, "NETWORKS", (2, 5))
    label, networks = made(0, images=20)
    for name, predicted in zip("bcd", networks[:3], strict=True):
        pd.DataFrame({"label": label, "predicted": predicted}).to_csv(f"{name}.csv", index=False)
    result = click.testing.CliRunner().invoke(cli, ["power", *options.split()])
    assert result.exit_code == code, result.output
    if code == 0:
        assert pd.read_csv("power/power.csv")["networks"].tolist() == [2, 5]
        assert (tmp_path / "power" / "power.png").stat().st_size > 0
    else:
        assert "is missing" in result.output or "either predictions" in result.output
