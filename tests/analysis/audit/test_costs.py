"""What an audit says classes cost: as `classes.csv` says it, of one network, and of input that is no ordinary study."""

import click.testing
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.audit.evaluator import audit_metrics
from analysis.statistics import class_costs, class_losses, class_sums
from analysis.statistics.limits import Limits
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS

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


@pytest.mark.parametrize("networks", [3, 12])
def test_costs_and_bounds_are_those_of_a_study(networks):
    label, *sides = audited(networks)
    _, after, control = (side == label for side in sides)
    result = audit.audit_predictions(label, *sides).table
    table = result.sort_values("class", key=lambda names: names.astype(int))
    changes = class_losses.from_predictions(label, control, after)
    recall = np.array([(control[:, label == each].mean() + after[:, label == each].mean()) / 2 for each in range(10)])
    moderated = class_losses.moderated(changes, recall)
    weights = class_sums.excess_weights(np.full(CLASSES, 0.1))
    of_losses, of_costs = (class_costs.bounds(moderated, each) for each in (np.eye(CLASSES), weights))
    of_images = moderated.image_bounds(np.full(CLASSES, IMAGES), 0.05 / CLASSES)
    joint = class_costs.bounds(moderated, np.eye(CLASSES), level=0.05 / CLASSES)
    upper = np.maximum(of_losses.upper_all, of_images.upper)
    of_losses = (of_losses.value, of_losses.low, of_losses.high, joint.low, upper)
    of_costs = of_costs._replace(upper_all=np.maximum(of_costs.upper_all, of_images.of_sums(weights)))
    for names, expected in ((class_costs.LOSS_COLUMNS, of_losses), (class_costs.COST_COLUMNS, of_costs)):
        for name, values in zip(names, expected, strict=True):
            np.testing.assert_allclose(table[name], values, atol=1e-12)
    assert table["reference"].unique().tolist() == ["control"]


@pytest.mark.parametrize(
    ("destroyed", "said"),
    [
        (0, "No class is shown to lose more than the accuracy does.\n"),
        (1, "3 networks are too few to show which class costs most."),
    ],
)
def test_no_class_is_named_where_none_costs_anything_in_the_networks_that_did_not_choose_it(destroyed, said):
    """No answer changes, so that no variance is known; or one network of three loses all classes but the first."""
    label, before, _, _ = audited(3)
    after = before.copy()
    after[:destroyed] = 0
    shown = audit_result.summary(audit.audit_predictions(label, before, after, before))
    assert said in shown
    assert " costs most: " not in shown
    assert "nan" not in shown


def test_the_worst_class_is_read_where_it_was_not_chosen():
    result = audit.audit_predictions(*audited(5, loss=0.3))
    row = result.worst.iloc[0]
    assert row["name"] == "0"
    # A loss of .3 of one class of ten is .03 of the accuracy.
    assert row["cost"] == pytest.approx(0.27, abs=0.04)
    assert row["cost_low"] < 0.27 < row["cost_high"]
    said = audit_result.summary(result)
    assert "\n0 costs most: on average it loses 2" in said
    metrics = audit_metrics(result)
    assert metrics["worst_class_cost"] == row["cost"]
    assert metrics["worst_class_loss_upper"] == result.table["loss_upper_all"].max()


def test_where_no_class_is_shown_to_cost_anything_this_is_said():
    result = audit.audit_predictions(*audited(3, loss=0.0))
    said = " ".join(audit_result.summary(result).split())
    assert "3 networks are too few to show which class costs most. They show only that on average no class " in said
    assert f" loses over {100 * result.worst['cost_high'].item():.1f} points more than the accuracy." in said


def test_one_network_has_bounds_over_images_that_hold_together():
    label = LABEL
    after = np.where(np.arange(len(label)) < 20, label + 1, label)  # 20 of 200 images of the first class
    result = audit.audit_predictions(label, label, after, label)
    table = result.table.set_index("class")
    assert table.loc["0", ["loss", "cost"]].tolist() == pytest.approx([0.1, 0.09])
    # None is won, so that the bound is Wilson's of 20 in 200, with a tenth of 5 % for each of ten classes.
    z = stats.norm.isf(0.005)
    wilson = (0.1 + z**2 / 400 + z * (0.1 * 0.9 / 200 + z**2 / (4 * 200**2)) ** 0.5) / (1 + z**2 / 200)
    assert table["loss_upper_all"]["0"] == pytest.approx(wilson, abs=1e-6)
    # No image of the others changed, and .9737 ** 200 is .005.
    assert table["loss_upper_all"]["1"] == pytest.approx(1 - 0.005 ** (1 / 200))
    # The first class and a tenth of it: its cost has .9 of the standard error of its loss.
    error = 0.9 * (0.1 * 0.9 / 199) ** 0.5
    assert table["cost_p"]["0"] == pytest.approx(10 * stats.norm.sf(0.09 / error), rel=1e-3)
    assert result.worst.empty
    said = "Only several seeds can show whether 0 loses recall in other networks too."
    assert said in " ".join(audit_result.summary(result).split())


def test_retraining_widens_the_costs_of_one_network():
    rng = np.random.default_rng(3)
    before, after = answers(rng, np.full((1, CLASSES), 0.9)), answers(rng, np.full((1, CLASSES), 0.9))
    control = before.copy()
    for number in range(CLASSES):  # retraining moved every other class up, and the others down
        own = np.flatnonzero(number == LABEL)[:60]
        control[0, own] = LABEL[own] if number % 2 else LABEL[own] - 1
    still, moved = (audit.audit_predictions(LABEL, start, after, control).table for start in (control, before))
    widths = [(each["cost_high"] - each["cost_low"]).to_numpy() for each in (still, moved)]
    assert (widths[1] > 1.2 * widths[0]).all()


def test_an_unchanged_class_beside_a_control_that_moved_may_lose_what_retraining_moves():
    """The control gained 60 of 200 images of every class, and the network after is the control."""
    place = np.tile(np.arange(IMAGES), CLASSES)
    before = np.where(place < 60, (LABEL + 1) % CLASSES, LABEL)
    moved, still = (audit.audit_predictions(LABEL, start, LABEL, LABEL).table for start in (before, LABEL))
    assert still["loss_upper_all"].tolist() == pytest.approx([1 - 0.005 ** (1 / 200)] * CLASSES)
    # The control's shift of .3 has at least the variance of 6 such shifts: half an interval is more than .3 * 6^.5.
    assert (moved["loss_upper_all"] > 0.7).all()


def test_two_classes():
    result = audit.audit_predictions(*audited(4, loss=0.2, classes=2))
    costs = result.table.set_index("class")["cost"]
    # Two classes of one size cost the same beyond the accuracy, one more and one less.
    assert costs["0"] == pytest.approx(-costs["1"])
    assert costs["0"] == pytest.approx(0.1, abs=0.03)
    assert result.table.drop(columns=[*DISPROPORTIONATE_COLUMNS]).notna().all(axis=None)
    assert result.worst["name"].item() == "0"


@pytest.mark.parametrize("networks", [1, 3, 12])
def test_where_all_classes_lose_the_same_none_costs_anything(networks):
    place = np.tile(np.arange(IMAGES), CLASSES)
    rows = [np.where((place - 20 * number) % IMAGES < 20, (LABEL + 1) % CLASSES, LABEL) for number in range(networks)]
    same = np.array([LABEL] * networks)
    table = audit.audit_predictions(LABEL, same, np.array(rows), same).table
    assert table["loss"].tolist() == pytest.approx([0.1] * CLASSES)
    assert table["cost"].tolist() == pytest.approx([0] * CLASSES, abs=1e-12)
    assert (table["cost_p"] > 0.3).all()
    assert table.drop(columns=[*DISPROPORTIONATE_COLUMNS]).notna().all(axis=None)


def test_networks_that_are_no_pairs_are_independent_and_it_is_said():
    label, before, after, _ = audited(5)
    result = audit.audit_predictions(label, before[:3], after)
    assert result.table["reference"].unique().tolist() == ["dense networks of other seeds"]
    assert any("treated as independent" in note for note in result.notes)
    assert result.worst.empty
    # With pairs, what a network's own classes have in common leaves the interval; here networks are made apart.
    assert result.table.drop(columns=[*DISPROPORTIONATE_COLUMNS]).notna().all(axis=None)


def test_a_class_that_all_networks_lost_wholly_is_bounded_by_1_and_beyond_every_limit():
    after = np.where(LABEL == 0, 1, LABEL)
    result = audit.audit_predictions(LABEL, *[np.array([side] * 3) for side in (LABEL, after, LABEL)])
    table = result.table.set_index("class")
    assert table.loc["0", ["loss", "loss_upper_all"]].tolist() == [1, 1]
    assert table.loc["0", "cost"] == pytest.approx(0.9)
    assert table.drop(columns=[*DISPROPORTIONATE_COLUMNS]).notna().all(axis=None)
    assert result.gate(Limits(class_loss=0.5)).state == "beyond"


def test_a_network_at_chance_is_counted():
    label, before, after, control = audited(4)
    after[2] = 0
    result = audit.audit_predictions(label, before, after, control)
    assert result.chance_level.counts["after"] == (1, 4)
    assert "1 of 4 networks is at chance after compression" in result.verdict


def test_groups_are_a_family_of_their_own():
    label, before, after, control = audited(12)
    halves = np.where(np.arange(len(label)) % 2, "odd", "even")
    sides = (before == label, after == label, control == label)
    result = audit.audit_predictions(label, before, after, control, halves)
    changes = class_losses.from_predictions((halves == "odd").astype(int), sides[2], sides[1])
    expected = class_costs.bounds(changes, np.eye(2))
    table = result.table.set_index("group")
    assert table.loc[["even", "odd"], "loss_upper_all"].tolist() == pytest.approx(expected.upper_all.tolist())
    several = audit.audit_predictions(label, before, after, control, {"a": halves, "b": halves})
    assert several.worst["grouping"].tolist() == ["a", "b"]
    assert several.table.groupby("grouping")["loss_upper_all"].max().nunique() == 1


def test_a_limit_between_the_own_interval_and_the_bound_for_all_is_undecided():
    result = audit.audit_predictions(*audited(6, loss=0.0))
    rows = result.losses.iloc[1:]
    assert rows["high"].max() < rows["upper"].max()
    between = (rows["high"].max() + rows["upper"].max()) / 2
    assert result.gate(Limits(class_loss=between)).state == "undecided"
    assert result.gate(Limits(class_loss=rows["upper"].max() + 1e-6)).state == "within"


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
    table = [line for line in lines if line.lstrip().startswith(("class", "Ankle boot"))]
    assert len(table) == 1 + CLASSES + 1  # the header, the classes, and the sentence on the worst
    assert max(len(line) for line in table if " costs most" not in line) <= 80
    assert {"loss", "at", "expected", "(Holm)"} <= set(table[1].split())


def test_an_audit_tells_what_is_beyond_proportion():
    # Of a thousand images a class, 100 and 300 are wrong before, so that in proportion 200 and 600 are after.
    label, place = np.repeat(["cat", "dog"], 1000), np.tile(np.arange(1000), 2)
    other = np.where(label == "cat", "dog", "cat")

    def networks(cats, dogs):
        wrong = place < np.where(label == "cat", cats, dogs)
        return np.tile(np.where(wrong, other, label), (3, 1))

    result = audit.audit_predictions(label, networks(100, 300), networks(200, 600))
    assert result.table["disproportionate"].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert "The error is 2.00 times that of the network before. No class is shown" in audit_result.summary(result)
    result = audit.audit_predictions(label, networks(100, 300), networks(100, 700))
    table = result.table.set_index("class")
    assert table["disproportionate"].to_dict() == pytest.approx({"dog": 0.1, "cat": -0.1})
    assert "dog loses 10.0 points (" in audit_result.summary(result)
    assert audit_result.shown(result)["expected"].tolist() == ["30.0", "10.0"]


def test_the_factor_of_groups_is_that_of_the_images_that_are_in_one():
    # Of a thousand images of writers a and b 100 and 300 are wrong before, and 200 and 600 after; those of no writer
    # stay as they are.
    place, writer = np.tile(np.arange(1000), 3), np.repeat(["a", "b", ""], 1000)
    label = np.where(np.arange(3000) % 2, "cat", "dog")
    other = np.where(label == "cat", "dog", "cat")

    def networks(factor):
        wrong = place < np.repeat([factor * 100, factor * 300, 100], 1000)
        return np.tile(np.where(wrong, other, label), (3, 1))

    result = audit.audit_predictions(label, networks(1), networks(2), groups={"writer": writer})
    assert result.table["support"].tolist() == [1000, 1000]
    assert "The error is 2.00 times that of the network before. No group is shown" in audit_result.summary(result)
