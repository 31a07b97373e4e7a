"""A control, or networks before, of other seeds than those after: nothing is paired, which is said."""

import click.testing
import numpy as np
import pytest

from analysis.__main__ import cli
from analysis.audit import audit
from analysis.common.errors import StudyError
from analysis.statistics.limits import Limits
from analysis.statistics.losses import between

IMAGES = 1000
LABEL = np.repeat([0, 1], IMAGES)
# Wrong answers of each network for the images of the two classes. The control loses 10, 20 and 30 of the first class,
# those after 60, 80, 100 and 120.
CONTROL, AFTER = [(10, 50), (20, 50), (30, 50)], [(60, 60), (80, 40), (100, 50), (120, 50)]


def networks(wrong, first=0):
    """Predictions of networks that are wrong about these numbers of images, other images in each network."""
    predicted, starts = np.tile(LABEL, (len(wrong), 1)), [first, first]
    for network, counts in zip(predicted, wrong, strict=True):
        for place, count in enumerate(counts):
            begin = place * IMAGES + starts[place]
            network[begin : begin + count] = 1 - place
            starts[place] += count
    return predicted


BEFORE = networks([(5, 5), (5, 10), (5, 15), (5, 20)], 800)


@pytest.fixture
def result():
    return audit.audit_predictions(LABEL, BEFORE, networks(AFTER), networks(CONTROL, 400))


def test_losses_from_the_control_are_those_of_independent_networks(result):
    row = result.table.set_index("class").loc["0"]
    control, after = (networks(side, first) == LABEL for side, first in ((CONTROL, 400), (AFTER, 0)))
    spread, cost = (between(LABEL, control, after, expected, paired=False) for expected in (0, 1))
    assert row["loss_from_control"] == pytest.approx(0.07)  # .98 - .91
    assert [row["loss_from_control_low"], row["loss_from_control_high"]] == pytest.approx(spread.interval()[:, 0])
    # Of balanced classes the cost is half of the difference between the losses: (7 points - 0) / 2.
    assert row["cost"] == pytest.approx(0.035)
    assert [row["cost_low"], row["cost_high"]] == pytest.approx(cost.interval()[:, 0])
    assert result.worst.empty


def test_it_is_said_once_and_all_since_the_networks_before_stays_that_of_the_pairs(result):
    (note,) = [note for note in result.notes if "Not paired" in note]
    assert note.startswith("Not paired: 3 networks of the control and 4 after, which are treated as independent")
    paired = audit.audit_predictions(LABEL, BEFORE, networks(AFTER))
    assert result.slopes.alpha == paired.slopes.alpha
    assert result.table[paired.table.columns].equals(paired.table)


def test_limits_are_held_against_the_bounds_of_independent_networks(result):
    upper = result.comparison.losses("control").mean.upper().max()
    gates = [result.gate(Limits(upper + distance), limit_from="control") for distance in (1e-6, -1e-6)]
    assert [gate.state for gate in gates] == ["within", "undecided"]


def test_equal_numbers_are_pairs_unless_they_are_said_to_be_of_other_seeds():
    """What networks of one seed have in common widens the interval where nothing is paired, and only there."""
    shared = [(10, 10), (110, 10), (210, 10)]
    after = [(first + 20 + each, 10) for each, (first, _) in enumerate(shared)]
    sides = LABEL, networks(shared), networks(after, 500), networks(shared)
    paired, independent = (audit.audit_predictions(*sides, unpaired=unpaired) for unpaired in ((), {"control"}))
    rows = [each.table.set_index("class").loc["0"] for each in (paired, independent)]
    assert [row["loss_from_control"] for row in rows] == pytest.approx([0.021] * 2)
    assert rows[0]["loss_from_control_high"] < 0.06
    assert rows[1]["loss_from_control_high"] > 0.2
    of_a_name = audit.audit_predictions(*sides, unpaired="control")
    assert of_a_name.table.equals(independent.table)
    assert audit.audit_predictions(*sides, unpaired=None).table.equals(paired.table)


def test_unknown_sides_are_not_taken_for_unpaired():
    with pytest.raises(StudyError, match="unpaired has 'Before': give before, control or both"):
        audit.audit_predictions(LABEL, BEFORE, networks(AFTER), unpaired={"control", "Before"})


@pytest.mark.parametrize(("control", "after"), [(1, 3), (2, 1)])
def test_a_single_network_says_nothing_of_other_seeds(control, after):
    with pytest.raises(StudyError, match=rf"{control} networks? in the control and {after} after: .* two or more"):
        audit.audit_predictions(LABEL, BEFORE[:1], networks(AFTER[:after]), networks(CONTROL[:control], 400))


def test_copies_of_a_control_of_other_seeds_take_no_network_after_away():
    control = networks(CONTROL, 400)[[0, 0, 1, 2]]
    result = audit.audit_predictions(LABEL, BEFORE, networks(AFTER), control, unpaired={"control"})
    (note,) = [note for note in result.notes if note.startswith("Copies")]
    assert note.endswith("4 of 4 before, 4 of 4 after, 3 of 4 control.")


def test_a_destroyed_network_fails_unless_as_many_of_the_control_are():
    after, controls = networks(AFTER), [networks(CONTROL, 400) for _ in range(2)]
    after[2], controls[1][:2] = 1, 1  # whatever the image, class 1 is predicted
    collapsed = [audit.audit_predictions(LABEL, BEFORE, after, control).chance_level.collapsed for control in controls]
    assert collapsed == [1, 0]


def written(folder, seeds, predicted):
    folder.mkdir()
    for seed, each in zip(seeds, predicted, strict=True):
        np.savez(folder / f"seed_{seed}.npz", label=LABEL, predicted=each)
    return str(folder)


@pytest.fixture
def sides(tmp_path):
    """Folders: seeds 0 to 2 before, after and of a control, and a control of seeds 7 to 9."""
    made = {"dense": (range(3), BEFORE[:3]), "pruned": (range(3), networks(AFTER[:3]))}
    made |= {"control": (range(3), networks(CONTROL, 400)), "others": (range(7, 10), networks(CONTROL, 400))}
    return {name: written(tmp_path / name, *each) for name, each in made.items()}


@pytest.mark.usefixtures("blank_picture")
def test_files_of_other_seeds_are_not_paired(sides, tmp_path):
    options = ["--before", sides["dense"], "--after", sides["pruned"], "--output", str(tmp_path / "out")]
    result = click.testing.CliRunner().invoke(cli, ["audit", *options, "--control", sides["others"]])
    assert result.exit_code == 0, result.output
    assert "Not paired: 3 networks of the control and 3 after" in result.output
    pair = f"Pair 1: before {sides['dense']}/seed_0.npz, after {sides['pruned']}/seed_0.npz."
    assert pair in " ".join(result.output.split())
    found = audit.audit([sides["dense"]], [sides["pruned"]], [sides["others"]])
    of_arrays = audit.audit_predictions(
        LABEL, BEFORE[:3], networks(AFTER[:3]), networks(CONTROL, 400), unpaired={"control"}
    )
    assert found.table.equals(of_arrays.table.assign(**{"class": found.table["class"]}))


def test_pairs_by_order_against_the_names_are_said(sides):
    given = [sides["dense"]], [sides["pruned"]], [sides["others"]]
    found = audit.audit(*given, pair_by_order=True)
    assert any(
        note.startswith("The networks of the control are paired with those after in the") for note in found.notes
    )
    own = audit.audit([sides["dense"]], [sides["pruned"]], [sides["control"]], pair_by_order=True)
    assert not any("in the order given, although" in note for note in own.notes)


def test_networks_before_of_other_seeds_are_not_paired(sides):
    found = audit.audit([sides["others"]], [sides["pruned"]])
    assert "Not paired: 3 networks before and 3 after, which are treated as independent." in found.notes
    assert np.isnan(found.slopes.alpha)


def test_one_network_and_its_control_need_the_one_network_that_they_start_from():
    """The first network before used to stand for all, so that p depended on the order of the networks."""
    with pytest.raises(StudyError, match="3 networks before, but one after and one control: ") as refused:
        audit.audit_predictions(LABEL, BEFORE[:3], networks(AFTER)[:1], networks(CONTROL)[:1])
    assert refused.value.option == "before"
    audit.audit_predictions(LABEL, BEFORE[:1], networks(AFTER)[:1], networks(CONTROL)[:1])
