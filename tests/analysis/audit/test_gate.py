"""What --fail-on-damage lets pass: destroyed classes, single destroyed networks, and audits that show nothing."""

import click.testing
import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.statistics import class_losses
from analysis.statistics.hypothesis_tests import corrected

CLASSES, IMAGES = 10, 1000
LABEL = np.repeat(np.arange(CLASSES), IMAGES)


def answers(rng, recalls, label=LABEL):
    """Predictions of networks with these recalls, (networks, classes)."""
    wrong = rng.random((len(recalls), len(label))) >= np.asarray(recalls)[:, label]
    return np.where(wrong, (label + 1) % CLASSES, label)


def destroyed(draw):
    """Three networks before of accuracy .83, and after: class 0 went from .72 to 0, and others anywhere."""
    rng = np.random.default_rng(draw)
    before = np.full((3, CLASSES), 0.842)
    before[:, 0] = 0.72
    after = rng.beta(0.4, 0.36, (3, CLASSES))
    after[:, 0] = 0
    return answers(rng, before), answers(rng, after)


def moderated_p(before, after):
    """Holm's p of the moderated test alone."""
    right = before == LABEL, after == LABEL
    recall = np.bincount(LABEL, sum(side.mean(0) for side in right)) / (2 * IMAGES)
    changes = class_losses.moderated(class_losses.from_predictions(LABEL, *right), recall)
    return corrected(class_losses.estimates(changes, np.eye(CLASSES))["p"], CLASSES)[1]


def test_a_class_that_all_networks_lost_is_damaged_however_much_the_others_move():
    draws = [destroyed(draw) for draw in range(12)]
    hidden = sum(moderated_p(*draw).min() > 0.05 for draw in draws)
    results = [audit.audit_predictions(LABEL, *draw) for draw in draws]
    assert hidden >= 6
    assert all("0" in result.damaged for result in results)
    assert all(result.fails for result in results)
    assert np.mean([result.accuracy_before for result in results]) == pytest.approx(0.83, abs=0.01)
    assert np.mean([result.accuracy_after for result in results]) == pytest.approx(0.47, abs=0.05)


def test_a_class_that_all_networks_lost_wholly_is_damaged_though_it_has_no_variance():
    before, after = destroyed(0)
    before[:, LABEL == 0], after[:, LABEL == 0] = 0, 1
    result = audit.audit_predictions(LABEL, before, after).table.set_index("class")
    # No p is below that of the exact test of a thousand images.
    assert result["p_holm"]["0"] < 1e-100
    assert result["damaged"]["0"]


def test_with_fewer_than_ten_classes_one_test_decides_at_the_whole_level():
    rng = np.random.default_rng(0)
    label = LABEL[LABEL < 3]
    before, after = (answers(rng, np.full((4, 3), recall), label) for recall in (0.9, 0.8))
    changes = class_losses.from_predictions(label, before == label, after == label)
    plain = class_losses.estimates(changes, np.eye(3))["p"]
    table = audit.audit_predictions(label, before, after).table
    np.testing.assert_allclose(table.set_index("class")["p"].loc[["0", "1", "2"]], plain)


def one_destroyed(networks=5, recall=0.0):
    """Networks of recall .85, of which the second alone lost class 7 after."""
    rng = np.random.default_rng(1)
    recalls = np.full((networks, CLASSES), 0.85)
    before = answers(rng, recalls)
    recalls[1, 7] = recall
    return before, answers(rng, recalls)


@pytest.mark.parametrize("control", [True, False])
def test_a_network_that_alone_lost_a_class_fails(control):
    before, after = one_destroyed()
    result = audit.audit_predictions(LABEL, before, after, before if control else None)
    assert result.damaged == []
    assert result.fails
    assert result.gross_losses[["network", "name"]].to_numpy().tolist() == [[2, "7"]]
    assert result.gross_losses["loss"].item() == pytest.approx(0.85, abs=0.03)
    assert "network 2 lost 8" in result.verdict
    assert "points of recall in 7, surely more than" in result.verdict


def test_a_network_that_alone_lost_less_than_twenty_points_passes():
    result = audit.audit_predictions(LABEL, *one_destroyed(recall=0.67))
    assert result.gross_losses.empty
    assert result.damage_gate.state == "within"


def test_a_loss_beside_gains_of_the_same_size_is_retraining():
    rng = np.random.default_rng(2)
    before, after = np.full((3, CLASSES), 0.6), np.full((3, CLASSES), 0.6)
    after[0, :2] = 0.3, 0.9  # thirty points down and up
    moved = audit.audit_predictions(LABEL, answers(rng, before), answers(rng, after))
    assert moved.gross_losses.empty
    after[0, :2] = 0.1, 0.9  # more than three quarters of the recall
    lost = audit.audit_predictions(LABEL, answers(rng, before), answers(rng, after))
    assert lost.gross_losses["name"].tolist() == ["0"]


def test_networks_without_a_partner_are_held_against_the_weakest_of_the_other_side():
    before, after = one_destroyed()
    before[0, LABEL == 7] = 0
    assert audit.audit_predictions(LABEL, before[1:], after).gross_losses["network"].tolist() == [2]
    assert audit.audit_predictions(LABEL, before[:4], after).gross_losses.empty


def test_groups_of_which_a_network_alone_lost_most_fail_too():
    before, after = one_destroyed()
    light = np.where(LABEL == 7, "day", "night")
    result = audit.audit_predictions(LABEL, before, after, groups=light)
    assert result.gross_losses["name"].tolist() == ["day"]


def test_where_a_class_may_have_lost_everything_nothing_is_decided(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    label = np.repeat(["Coat", "Pullover"], 500)
    place = np.tile(np.arange(500), 2)
    for side, kept in (("before", (450, 430)), ("after", (430, 340))):
        for number, images in enumerate(kept):
            right = place < np.where(label == "Pullover", images, 440 + number)
            predicted = np.where(right, label, np.where(label == "Coat", "Pullover", "Coat"))
            pd.DataFrame({"label": label, "predicted": predicted}).to_csv(f"{side}_{number}.csv", index=False)
    sides = [f"--{side}={side}_{number}.csv" for side in ("before", "after") for number in (0, 1)]
    result = click.testing.CliRunner().invoke(cli, ["audit", *sides, "--fail-on-damage"])
    assert result.exit_code == 4, result.output
    assert "Undecided: Pullover may have lost everything" in result.output
    without = click.testing.CliRunner().invoke(cli, ["audit", *sides])
    assert without.exit_code == 0


def test_damage_decides_though_accuracy_is_within_its_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side, networks in zip(("before", "after"), one_destroyed(3), strict=True):
        for number, predicted in enumerate(networks):
            np.savez(f"{side}_{number}.npz", label=LABEL, predicted=predicted)
    sides = [f"--{side}={side}_{number}.npz" for side in ("before", "after") for number in range(3)]
    result = click.testing.CliRunner().invoke(cli, ["audit", *sides, "--fail-on-damage", "--max-accuracy-loss", "50"])
    assert result.exit_code == 3, result.output
    assert "Damaged in single networks: network 2 lost" in result.output


def test_a_class_that_no_network_recognised_before_has_nothing_to_lose():
    rng = np.random.default_rng(3)
    recalls = np.full((2, CLASSES), 0.8)
    recalls[:, 4] = 0
    result = audit.audit_predictions(LABEL, answers(rng, recalls), answers(rng, recalls))
    assert result.verdict.startswith("Dense networks are weak and recognise no test image of 4 (2 of 2 networks)")
    assert "4" not in result.damaged
    assert "4 may have lost" not in result.damage_gate.reason


def test_a_class_that_only_one_network_predicts_is_said():
    before, after = one_destroyed(3, recall=0.85)
    after[2, :5] = CLASSES
    result = audit.audit_predictions(LABEL, before, after)
    assert "Predicted classes without a test image, which are never right: 10." in result.notes


def test_compression_that_changes_no_answer_changed_no_class():
    before, _ = one_destroyed(3)
    result = audit.audit_predictions(LABEL, before, before)
    text = " ".join([result.verdict, *result.notes])
    assert "nan" not in text
    assert result.damage_gate.state == "within"
