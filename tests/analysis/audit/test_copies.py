"""Copies of one network under other names count as one."""

import click.testing
import numpy as np
import pytest

from analysis.__main__ import cli
from analysis.audit import audit, power
from analysis.common.errors import StudyError
from analysis.statistics.limits import in_points

LABEL = np.repeat(np.arange(10), 100)


def networks(count, seed, recall=0.85):
    rng = np.random.default_rng(seed)
    wrong = rng.random((count, len(LABEL))) > recall
    return np.where(wrong, (LABEL + 1) % 10, LABEL)


def test_copies_of_a_pair_say_no_more_than_the_pair():
    before, after = networks(1, 0), networks(1, 1)
    copies = audit.audit_predictions(LABEL, np.repeat(before, 3, 0), np.repeat(after, 3, 0))
    one = audit.audit_predictions(LABEL, before, after)
    assert copies.comparison.is_single
    assert copies.table.equals(one.table)
    assert copies.notes[0].startswith("Copies of one network count as one (before 1, 2, 3; after 1, 2, 3).")
    limits = in_points(15, None)
    assert (copies.gate(limits), copies.damage_gate) == (one.gate(limits), one.damage_gate)


def test_a_copy_is_left_out_with_its_pair():
    before, after = networks(4, 0), networks(4, 1)
    after[3] = after[1]
    copies = audit.audit_predictions(LABEL, before, after, before)
    three = audit.audit_predictions(LABEL, before[:3], after[:3], before[:3])
    assert copies.table.equals(three.table)
    assert copies.notes[0] == (
        "Copies of one network count as one (after 2, 4). Remaining networks: 3 of 4 before, 3 of 4 after, 3 of 4 "
        "control."
    )


def test_a_single_network_before_under_several_names_is_that_of_all_after():
    before, after = networks(1, 0), networks(3, 1)
    copies = audit.audit_predictions(LABEL, np.repeat(before, 3, 0), after)
    one = audit.audit_predictions(LABEL, before, after)
    assert copies.table.equals(one.table)


def test_numbers_of_networks_are_those_given():
    before, after = networks(4, 0), networks(4, 1)
    after[1] = after[0]
    after[3, LABEL == 5] = 6
    assert "alone network 4 lost" in audit.audit_predictions(LABEL, before, after).damage_gate.reason


@pytest.mark.parametrize("same", [LABEL, np.zeros_like(LABEL)])
def test_networks_that_are_all_right_or_name_one_class_are_no_copies(same):
    result = audit.audit_predictions(LABEL, networks(3, 0), np.array([same] * 3))
    assert not any("Copies" in note for note in result.notes)


def test_independent_networks_are_counted_side_by_side():
    before, after = networks(3, 0), networks(4, 1)
    after[3] = after[0]
    result = audit.audit_predictions(LABEL, before, after)
    assert "Remaining networks: 3 of 3 before, 3 of 4 after." in result.notes[0]
    assert result.slopes.n == 0


def test_power_counts_copies_once():
    before, after = networks(5, 0), networks(5, 1)
    copied = {"before": before[[0, 1, 2, 3, 3]], "after": after[[0, 1, 2, 3, 3]]}
    four = {"before": before[:4], "after": after[:4]}
    with_copies, without = (power.of_networks(LABEL, each) for each in (copied, four))
    assert with_copies.table.equals(without.table)
    assert with_copies.notes[0].startswith("Copies of one network count as one (before 4, 5; after 4, 5)")


def test_power_of_copies_alone_names_them():
    one = {"before": np.repeat(networks(1, 0), 4, 0), "after": np.repeat(networks(1, 1), 4, 0)}
    assert power.of_networks(LABEL, one).notes[0].startswith("Copies of one network count as one")


def test_commands_say_that_files_are_copies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side, seed in (("before", 0), ("after", 1)):
        for number, predicted in enumerate(networks(3, seed)[[0, 1, 1]]):
            np.savez(f"{side}_{number}.npz", label=LABEL, predicted=predicted)
    sides = [f"--{side}={side}_{number}.npz" for side in ("before", "after") for number in range(3)]
    for command in (["audit", *sides], ["power", *sides]):
        result = click.testing.CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output
        assert "Copies of one network count as one (before 2, 3" in result.output


def test_a_control_that_is_a_copy_of_a_network_after_is_refused():
    before, after = networks(3, 0), networks(3, 1)
    control = np.array([*networks(2, 2), after[2]])
    for sides in ((before, after, control), (before[0], after[2], control[2])):
        with pytest.raises(StudyError, match="of the control predicts the same as one after for every image, and none"):
            audit.audit_predictions(LABEL, *sides)


@pytest.mark.parametrize("same", [LABEL, np.zeros_like(LABEL), networks(1, 0)[0], networks(1, 0, 0.995)[0]])
def test_a_control_may_agree_with_after_if_that_says_nothing(same):
    """They are both right, constant, as before, or almost always right."""
    assert audit.audit_predictions(LABEL, networks(1, 0)[0], same, same).comparison.has_control
