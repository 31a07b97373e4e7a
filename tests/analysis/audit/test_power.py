"""Losses that audits find, held against exact probabilities."""

import click.testing
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from analysis.__main__ import cli
from analysis.audit import power
from tests.error_lines import refused


def test_one_network_of_ten_classes_is_seen_to_lose_nine_images():
    """By Holm, p of nine lost images is 10 * 2 / 2^9, which is .039, and p of eight is .078."""
    found = power.of_numbers(10, 100).table
    assert found["images"].tolist() == [100, 200, 500, 1000, 2000, 5000]
    for images, loss in found[["images", "loss_found"]].to_numpy():
        assert stats.binom.sf(8, images, loss) == pytest.approx(0.8)
    assert found["smallest_limit"].to_numpy() == pytest.approx(2.7055 / (found["images"] + 2.7055), abs=1e-6)
    assert np.isnan(power.of_numbers(10, 8).table["loss_found"][0])


def test_images_that_trade_places_hide_losses():
    """Each way, 5 of 100 images trade places in both classes."""
    label = np.repeat([0, 1], 100)
    before, after = label.copy(), label.copy()
    for first in (0, 100):
        before[first : first + 5] = after[first + 5 : first + 10] = 1 - label[first]
    found = power.of_networks(label, {"before": before[np.newaxis], "after": after[np.newaxis]}).table
    for images, loss in found[["images", "loss_found"]].to_numpy()[:3]:
        assert chance_to_find(loss, 0.05, int(images), 0.025) == pytest.approx(0.8, abs=0.03)


def chance_to_find(loss, traded, images, level):
    """Sum up the chances of all numbers of changed images by which McNemar's exact test finds a loss."""
    lost, won = loss + traded, traded
    numbers = np.arange(images + 1)
    # The most won images of so many changed ones, of which at most half are won
    most = stats.binom.ppf(level / 2, numbers, 0.5)
    most -= stats.binom.cdf(most, numbers, 0.5) > level / 2
    found = stats.binom.cdf(most, numbers, won / (lost + won))
    return stats.binom.pmf(numbers, images, lost + won) @ found


@pytest.mark.parametrize(("networks", "place"), [(3, 1), (10, 3), (30, 5)])
def test_several_networks_have_the_power_of_the_noncentral_t_distribution(networks, place):
    """Of very many images, and with so little movement, only the variance over networks counts."""
    row = power.of_numbers(10, 10**12, movement=0.01).table.iloc[place]
    assert row["networks"] == networks
    dof, error = 4 + networks - 1, 1e-4 / networks**0.5
    critical = stats.t.isf(0.05 / 10 / 2, dof)
    shift = optimize.brentq(lambda shift: stats.nct.sf(critical, dof, shift) - 0.8, 0.1, 50)
    assert row["loss_found"] == pytest.approx(shift * error, rel=0.05)
    assert row["smallest_limit"] == pytest.approx(stats.t.isf(0.05, dof) * error, rel=0.001)


def test_the_only_network_before_as_control_is_no_control():
    label = np.repeat([0, 1], 50)
    before, after = label[np.newaxis], np.array([np.roll(label, 5), np.roll(label, 9)])
    without = power.of_networks(label, {"before": before, "after": after})
    assert without.table.equals(power.of_networks(label, {"before": before, "after": after, "control": before}).table)


def test_a_single_pair_is_compared_with_the_network_before():
    label, networks = made(0)
    sides = {"before": networks[:1], "after": networks[1:2]}
    alone = power.of_networks(label, sides).table
    assert alone.equals(power.of_networks(label, sides | {"control": networks[2:3]}).table)
    assert alone["images"][0] == 200


def test_no_loss_is_found_that_is_larger_than_the_recall_of_the_class():
    found = power.of_numbers(10, 1000, movement=50)
    few, *_, many = found.table["loss_found"]
    assert np.isnan(few)
    assert 0 < many < 0.9
    lines = power.summary(found).splitlines()
    assert lines[-6].split()[:2] == ["2", "none"]
    assert lines[-1].split()[:2] == ["30", f"{100 * many:.1f}"]


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
    found = power.of_networks(label, {"before": before, "after": np.roll(after, 1, axis=0)})
    assert set(found.table["class_most"]) == {"0"}
    assert (found.table["loss_found_most"] > 1.5 * found.table["loss_found"])[2:].all()
    assert found.table["loss_found"].is_monotonic_decreasing
    assert "(0)" in power.summary(found)


@pytest.mark.parametrize(
    ("numbers", "option"),
    [((1, 100, 2), "classes"), ((10, 0, 2), "images"), ((10, 100, 0), "movement"), ((2, 1, 101), "movement")],
)
def test_numbers_out_of_range_name_their_option(numbers, option):
    with refused(option):
        power.of_numbers(*numbers)


@pytest.mark.parametrize(
    ("options", "by"),
    [
        ("--before b.csv --before c.csv --after c.csv --after d.csv --pair-by-order", "networks"),
        ("--before b.csv --after c.csv", "images"),
        ("--classes 2 --images 100 --movement 2", "networks"),
        ("--classes 2 --images 100", "images"),
        ("--classes 2", ""),
        ("--before b.csv", ""),
        ("--before b.csv --after c.csv --classes 2", ""),
        ("", ""),
    ],
)
def test_command(tmp_path, monkeypatch, options, by):
    monkeypatch.chdir(tmp_path)
    label, networks = made(0, images=20)
    for name, predicted in zip("bcd", networks[:3], strict=True):
        pd.DataFrame({"label": label, "predicted": predicted}).to_csv(f"{name}.csv", index=False)
    result = click.testing.CliRunner().invoke(cli, ["power", *options.split()])
    assert result.exit_code == (0 if by else 2), result.output
    if by:
        assert pd.read_csv("power/power.csv").columns[0] == by
        assert (tmp_path / "power" / "power.png").stat().st_size > 0
    else:
        assert "is missing" in result.output or "either predictions" in result.output
