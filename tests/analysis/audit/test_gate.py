"""What --fail-on-damage lets pass: destroyed classes, single destroyed networks, and audits that show nothing."""

import click.testing
import numpy as np
import pytest

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.statistics.limits import Limits

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


def test_a_class_that_all_networks_lost_is_damaged_however_much_the_others_move():
    results = [audit.audit_predictions(LABEL, *destroyed(draw)) for draw in range(6)]
    # The variance of the others hides it from the test of the mean in some draws.
    assert max(result.table.set_index("class")["p_holm"]["0"] for result in results) > 0.05
    assert all("0" in result.damaged for result in results)
    assert all(result.fails for result in results)


def one_destroyed(networks=5, recall=0.0):
    """Networks of recall .85, of which the second alone lost class 7 after."""
    rng = np.random.default_rng(1)
    recalls = np.full((networks, CLASSES), 0.85)
    before = answers(rng, recalls)
    recalls[1, 7] = recall
    return before, answers(rng, recalls)


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize(("recall", "lost"), [(0.0, "8"), (0.67, "1")])
def test_a_network_that_alone_lost_a_class_leaves_the_gate_undecided(recall, lost, control):
    before, after = one_destroyed(recall=recall)
    result = audit.audit_predictions(LABEL, before, after, before if control else None)
    assert result.damaged == []
    assert result.damage_gate.state == "undecided"
    assert f"alone network 2 lost {lost}" in result.damage_gate.reason
    assert f"Shown in single networks: network 2 lost {lost}" in " ".join(result.verdict.split())
    assert ("No image of 7 is recognised by network 2" in result.damage_gate.reason) == (recall == 0)


def test_networks_of_other_seeds_have_no_single_losses():
    before, after = one_destroyed(recall=0.3)
    assert audit.audit_predictions(LABEL, before[:4], after).damage_gate.state == "within"


def test_groups_of_which_a_network_alone_lost_most_are_named():
    before, after = one_destroyed()
    light = np.where(LABEL == 7, "day", "night")
    gate = audit.audit_predictions(LABEL, before, after, groups=light).damage_gate
    assert (gate.state, "of day" in gate.reason, "of night" in gate.reason) == ("undecided", True, False)


def test_a_single_network_beyond_the_limit_keeps_the_mean_from_passing():
    """Network 2 of 20 lost 55 of 85 points of class 7: the mean lost 2.8."""
    before, after = one_destroyed(20, recall=0.3)
    result = audit.audit_predictions(LABEL, before, after)
    gate = result.gate(Limits(class_loss=0.15))
    assert result.comparison.losses().mean.upper().max() < 0.15
    assert (gate.state, "network 2 lost 5" in gate.reason) == ("undecided", True)
    assert "audit such a network, with one file a side" in gate.reason
    assert "smallest limit" not in gate.reason


def test_damage_decides_though_accuracy_is_within_its_limit(tmp_path, monkeypatch, blank_picture):
    monkeypatch.chdir(tmp_path)
    for side, networks in zip(("before", "after"), one_destroyed(3), strict=True):
        for number, predicted in enumerate(networks):
            np.savez(f"{side}_{number}.npz", label=LABEL, predicted=predicted)
    sides = [f"--{side}={side}_{number}.npz" for side in ("before", "after") for number in range(3)]
    result = click.testing.CliRunner().invoke(cli, ["audit", *sides, "--fail-on-damage", "--max-accuracy-loss", "50"])
    assert result.exit_code == 4, result.output
    assert "Limit 50 points of accuracy: KEPT." in result.output
    assert "--fail-on-damage: NOT DECIDED (exit code 4)." in result.output


def test_a_network_that_alone_is_beyond_the_limit_is_named_with_the_command_of_its_pair(tmp_path):
    before, after = one_destroyed(20, recall=0.3)
    for side, networks in (("before", before), ("after", after)):
        (tmp_path / side).mkdir()
        for number, predicted in enumerate(networks):
            np.savez(tmp_path / side / f"{number}.npz", label=LABEL, predicted=predicted)
    result = audit.audit([str(tmp_path / "before")], [str(tmp_path / "after")])
    alone = f"--before {tmp_path}/before/1.npz --after {tmp_path}/after/1.npz"
    assert f": pruning-analysis audit {alone}." in result.gate(Limits(class_loss=0.15)).reason


def test_a_class_that_no_network_recognised_before_has_nothing_to_lose():
    rng = np.random.default_rng(3)
    recalls = np.full((2, CLASSES), 0.8)
    recalls[:, 4] = 0
    result = audit.audit_predictions(LABEL, answers(rng, recalls), answers(rng, recalls))
    assert "recognise no test image of 4 (2 of 2 networks)" in " ".join(result.verdict.split())
    assert "4" not in result.damaged
    assert result.damage_gate.state == "within"


def test_a_class_that_only_one_network_predicts_is_said():
    before, after = one_destroyed(3, recall=0.85)
    after[2, :5] = CLASSES
    result = audit.audit_predictions(LABEL, before, after)
    assert "Predicted classes without a test image, which are never right: 10." in result.notes


def test_compression_that_changes_no_answer_changed_no_class():
    before, _ = one_destroyed(3)
    result = audit.audit_predictions(LABEL, before, before)
    assert "nan" not in " ".join([result.verdict, *result.notes])
    assert result.damage_gate.state == "within"


def test_classes_with_few_images_are_left_out_of_damage():
    """Ten images of class 9 are lost: p is 2 / 2^10, and with Holm's 10 classes .0195."""
    label = np.concatenate([np.repeat(np.arange(9), 100), np.full(12, 9)])
    after = np.where((label == 9) & (np.arange(len(label)) < 910), 0, label)
    comparison = audit.audit_predictions(label, label, after).comparison
    states = [comparison.damage_gate(images).state for images in (12, 13)]
    assert states == ["beyond", "within"]
