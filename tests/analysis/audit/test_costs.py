"""What an audit says classes lost and cost, also of one network and of input that is no ordinary study."""

import click.testing
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.statistics.limits import Limits
from analysis.statistics.losses import between, holm

CLASSES, IMAGES = 10, 200
LABEL = np.repeat(np.arange(CLASSES), IMAGES)


def answers(rng, recalls, label=LABEL):
    """Predictions of networks with these recalls, (networks, classes)."""
    recalls = np.asarray(recalls)
    wrong = rng.random((len(recalls), len(label))) >= recalls[:, label]
    return np.where(wrong, (label + 1) % recalls.shape[1], label)


def audited(networks, loss=0.1, classes=CLASSES, seed=0):
    """An audit of networks of which the first class loses recall, with controls."""
    rng, label = np.random.default_rng(seed), LABEL[classes > LABEL]
    sides = [np.full((networks, classes), 0.9) for _ in range(3)]
    sides[1][:, 0] -= loss
    before, after, control = (answers(rng, side, label) for side in sides)
    return label, before, after, control


def test_losses_and_costs_are_those_of_the_one_procedure():
    label, *sides = audited(3)
    result = audit.audit_predictions(label, *sides)
    table = result.table.sort_values("class", key=lambda names: names.astype(int))
    before, after, control = (side == label for side in sides)
    spreads = {"loss": between(label, before, after), "loss_from_control": between(label, control, after)}
    spreads["cost"] = between(label, control, after, 1)
    for name, spread in spreads.items():
        np.testing.assert_allclose(table[name], spread.value)
        np.testing.assert_allclose(table[[f"{name}_low", f"{name}_high"]].T, spread.interval())
        np.testing.assert_allclose(table[f"{name}_upper_all"], spread.upper(0.05 / CLASSES))
    for name, each in (("p_holm", "loss"), ("loss_from_control_p", "loss_from_control"), ("cost_p", "cost")):
        np.testing.assert_allclose(table[name], holm(spreads[each].p()))


def test_the_worst_class_is_read_where_it_was_not_chosen():
    row = audit.audit_predictions(*audited(5, loss=0.3)).worst.iloc[0]
    assert row["name"] == "0"
    # A loss of .3 of one class of ten is .03 of the accuracy.
    assert row["cost"] == pytest.approx(0.27, abs=0.04)
    assert row["cost_low"] < 0.27 < row["cost_high"]


def test_one_network_has_a_bound_of_each_class_and_one_for_all_together():
    after = np.where(np.arange(len(LABEL)) < 20, LABEL + 1, LABEL)  # 20 of 200 images of the first class
    result = audit.audit_predictions(LABEL, LABEL, after, LABEL)
    table = result.table.set_index("class")
    assert table["loss"]["0"] == pytest.approx(0.1)

    def wilson(level):
        """None is won, so that the bound is Wilson's of 20 in 200."""
        z = stats.norm.isf(level)
        return (0.1 + z**2 / 400 + z * (0.1 * 0.9 / 200 + z**2 / (4 * 200**2)) ** 0.5) / (1 + z**2 / 200)

    assert table["loss_high"]["0"] == pytest.approx(wilson(0.025), abs=1e-6)
    assert table["loss_upper_all"]["0"] == pytest.approx(wilson(0.005), abs=1e-6)
    # No image of the others changed.
    z = stats.norm.isf(0.005)
    assert table["loss_upper_all"]["1"] == pytest.approx(z**2 / (200 + z**2))
    assert result.worst.empty
    assert not {"cost", "loss_from_control_low"} & {*table.columns}
    # Limits are compared with the bounds of single classes.
    bound = wilson(0.05)
    states = [result.gate(Limits(class_loss=bound + distance)).state for distance in (-1e-6, 1e-6)]
    assert states == ["undecided", "within"]


def test_two_classes():
    result = audit.audit_predictions(*audited(4, loss=0.2, classes=2))
    costs = result.table.set_index("class")["cost"]
    # Two classes of one size cost the same beyond the accuracy, one more and one less.
    assert costs["0"] == pytest.approx(-costs["1"])
    assert costs["0"] == pytest.approx(0.1, abs=0.03)
    assert result.table.notna().all(axis=None)
    assert result.worst["name"].item() == "0"


@pytest.mark.parametrize("networks", [3, 12])
def test_where_all_classes_lose_the_same_none_costs_anything(networks):
    place = np.tile(np.arange(IMAGES), CLASSES)
    rows = [np.where((place - 20 * number) % IMAGES < 20, (LABEL + 1) % CLASSES, LABEL) for number in range(networks)]
    same = np.array([LABEL] * networks)
    table = audit.audit_predictions(LABEL, same, np.array(rows), same).table
    assert table["loss"].tolist() == pytest.approx([0.1] * CLASSES)
    assert table["cost"].tolist() == pytest.approx([0] * CLASSES, abs=1e-12)
    assert (table["cost_p"] > 0.3).all()
    assert table.notna().all(axis=None)


def test_networks_that_are_no_pairs_are_independent_and_it_is_said():
    label, before, after, _ = audited(5)
    result = audit.audit_predictions(label, before[:3], after)
    assert any("treated as independent" in note for note in result.notes)
    assert result.worst.empty
    assert result.table.notna().all(axis=None)


def test_a_class_that_all_networks_lost_wholly_is_bounded_by_1_and_beyond_every_limit():
    after = np.where(LABEL == 0, 1, LABEL)
    result = audit.audit_predictions(LABEL, *[np.array([side] * 3) for side in (LABEL, after, LABEL)])
    table = result.table.set_index("class")
    assert table.loc["0", ["loss", "loss_high", "loss_upper_all"]].tolist() == [1, 1, 1]
    assert result.gate(Limits(class_loss=0.5)).state == "beyond"


def test_a_network_at_chance_is_counted():
    label, before, after, control = audited(4)
    after[2] = 0
    result = audit.audit_predictions(label, before, after, control)
    assert result.chance_level.counts["after"] == (1, 4)
    assert "1 of 4 networks is at chance after compression" in result.verdict


def test_bounds_of_groups_hold_for_the_groups_of_all_groupings():
    label, before, after, control = audited(12)
    halves = np.where(np.arange(len(label)) % 2, "odd", "even")
    expected = between((halves == "odd").astype(int), before == label, after == label)
    for groups, rows in ((halves, 2), ({"a": halves, "b": halves}, 4)):
        result = audit.audit_predictions(label, before, after, control, groups)
        table = result.table.sort_values([*result.table.columns.intersection(["grouping"]), "group"])
        assert table["loss_upper_all"][:2].tolist() == pytest.approx(expected.upper(0.05 / rows).tolist())
        assert len(result.worst) == rows / 2


def test_the_printed_table_fits_a_terminal(tmp_path, monkeypatch, blank_picture):
    monkeypatch.chdir(tmp_path)
    label, *sides = audited(3, loss=0.25)
    names = np.array([f"Ankle boot {number}" for number in range(CLASSES)])
    for side, networks in zip(("before", "after", "control"), sides, strict=True):
        for number, predicted in enumerate(networks):
            frame = pd.DataFrame({"label": names[label], "predicted": names[predicted]})
            frame.to_csv(f"{side}_{number}.csv", index=False)
    given = [f"--{side}={side}_*.csv" for side in ("before", "after", "control")]
    lines = click.testing.CliRunner().invoke(cli, ["audit", *given]).output.splitlines()
    (start,) = (place for place, line in enumerate(lines) if line.split()[:3] == ["class", "before", "control"])
    table = lines[start : start + 1 + CLASSES]
    assert all(line.lstrip().startswith("Ankle boot") for line in table[1:])
    assert max(map(len, table)) <= 80
