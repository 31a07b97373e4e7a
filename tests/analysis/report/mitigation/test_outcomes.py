"""What mitigations cost and bring, on networks whose losses are worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from analysis.report.mitigation.networks import Cells
from analysis.report.mitigation.outcomes import MARGIN, outcomes
from analysis.runs import schema
from analysis.runs.validation_counts import ValidationRecalls
from analysis.study.arrays import run_arrays
from tests import made_up_mitigations as made_up
from tests import made_up_runs


def rows(made, **place):
    """Return the row of each mitigation of the pruned networks."""
    runs, counts = made
    found = outcomes(Cells(run_arrays(runs), ValidationRecalls(counts)))
    for name, value in place.items():
        found = found[found[name] == value]
    return found.set_index("mitigation")


@pytest.fixture(scope="module")
def pruned():
    return rows(made_up.mitigated(), pruner="mp")


def test_largest_excess_is_the_mean_of_the_networks_largest(pruned):
    # 12 - 5 and 15 - 5; with offsets 9 - 5 and 8 - 5.
    assert pruned["largest_excess"].to_dict() == {"": pytest.approx(0.085), "class offsets": pytest.approx(0.035)}
    assert pruned["val_largest_excess"].to_dict() == {
        "": pytest.approx(0.085),
        "class offsets": pytest.approx(0, abs=1e-12),
    }


def test_the_control_has_the_same_mitigation(pruned):
    # Without: accuracy rises by 1 and two classes stay, and by 1 where a class loses 2; with: all classes gain 1.
    assert pruned.loc["", "largest_excess_of_control"] == pytest.approx((0.01 + 0.03) / 2)
    assert pruned.loc["class offsets", "largest_excess_of_control"] == pytest.approx(0, abs=1e-12)


def test_what_pruning_does_is_beyond_the_control_with_the_same_mitigation(pruned):
    # Without offsets 7 - 1 and 10 - 3; with offsets 4 - 0 and 3 - 0.
    assert pruned.loc["", "largest_excess_minus_control"] == pytest.approx(0.065)
    assert pruned.loc["class offsets", "largest_excess_minus_control"] == pytest.approx(0.035)
    half = stats.t.isf(0.025, 1) * np.std([0.06, 0.07], ddof=1) / 2**0.5
    assert pruned.loc["", "largest_excess_minus_control_high"] == pytest.approx(0.065 + half)


def test_a_mitigation_that_spares_the_control_as_much_gains_nothing_from_pruning(pruned):
    row = pruned.loc["class offsets"]
    # The controls gain 1 and 3, the pruned networks 3 and 7.
    assert row["gain_of_control"] == pytest.approx(0.02)
    assert row["gain_beyond_control"] == pytest.approx((0.02 + 0.04) / 2)
    assert np.isnan(pruned.loc["", ["gain_of_control", "gain_beyond_control"]].astype(float)).all()


def test_without_a_control_of_its_own_a_mitigation_has_no_gain_beyond_it():
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)]),
        made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=made_up.OFFSETS),
        made_up.cell("none", 1, [(90, 90, 93), (88, 92, 93)]),
    )
    found = rows(made, pruner="mp")
    assert found.loc["", "largest_excess_minus_control"] == pytest.approx(0.065)
    assert np.isnan(found.loc["class offsets", "largest_excess_minus_control"])


@pytest.mark.parametrize(
    ("on_validation", "has_interval"),
    [
        # Gains of 7, 10 and 8 on validation images, of 3, 7 and 5 on test images.
        ([(85, 85, 85)] * 3, True),
        # Gains of 7, -4 and 8: the mean may be 0.
        ([(85, 85, 85), (71, 92, 92), (85, 85, 85)], False),
    ],
)
def test_what_survives_has_an_interval_only_if_something_was_gained(on_validation, has_interval):
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90), (77, 88, 90)]),
        made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86), (82, 86, 87)], on_validation, made_up.OFFSETS),
    )
    row = rows(made).loc["class offsets"]
    assert np.isfinite(row["survives"])
    assert np.isfinite([row["survives_low"], row["survives_high"]]).tolist() == [has_interval] * 2
    if has_interval:
        assert row["survives_low"] <= row["survives"] <= row["survives_high"]


def test_the_mean_excess_is_of_the_class_that_loses_most_in_the_mean(pruned):
    assert pruned.loc["", "largest_mean_excess"] == pytest.approx(0.085)
    # Class a loses 9 and 8, less 5.
    assert pruned.loc["class offsets", "largest_mean_excess"] == pytest.approx(0.035)


def test_the_systematic_cost_is_held_against_the_control_with_the_same_mitigation():
    """Class a loses 12 and 14 points beyond the control, 4 and 14 / 3 of them of the accuracy, and the others none."""
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (76, 90, 90)]),
        made_up.cell("none", 1, [(90, 87, 90), (90, 90, 90)]),
        made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=made_up.OFFSETS),
        made_up.cell("none", 1, [(81, 90, 87), (82, 90, 86)], params=made_up.OFFSETS),
    )
    found = rows(made, pruner="mp")
    assert found["worst_class"].to_dict() == {"": "a", "class offsets": "b"}
    assert found.loc["", "worst_class_cost"] == pytest.approx((8 + 28 / 3) / 200)
    assert found.loc["class offsets", "worst_class_cost"] == pytest.approx(0.02)


TEACHER = {schema.DISTILL: "0.5"}


def test_the_systematic_cost_of_a_teacher_that_no_control_has_is_held_against_the_control_without_one():
    """Class a loses 9 and 8 points beyond the control, 4 and 5 of them of the accuracy; from dense, 9 and 8, less 5."""
    plain_control = made_up.cell("none", 1, [(90, 87, 90), (90, 90, 90)])
    taught = made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86)], params=TEACHER)
    row = rows(made_up.study(taught, plain_control), pruner="mp").loc["distill 0.5"]
    assert (row["worst_class"], row["worst_class_cost"]) == ("a", pytest.approx(0.04))
    # A control with the teacher is the better one: class a loses 5 points beyond it, and the accuracy 3.
    taught_control = made_up.cell("none", 1, [(86, 88, 90), (87, 88, 89)], params=TEACHER)
    row = rows(made_up.study(taught, plain_control, taught_control), pruner="mp").loc["distill 0.5"]
    assert (row["worst_class"], row["worst_class_cost"]) == ("a", pytest.approx(0.02))


def test_gains_and_what_survives_of_them(pruned):
    row = pruned.loc["class offsets"]
    # 7 - 4 and 10 - 3 on test images; 7 - 0 and 10 - 0 on validation images.
    assert row["gain_on_test"] == pytest.approx(0.05)
    assert row["gain_on_validation"] == pytest.approx(0.085)
    assert row["survives"] == pytest.approx(10 / 17)
    half = stats.t.isf(0.025, 1) * np.std([0.03, 0.07], ddof=1) / 2**0.5
    assert row["gain_on_test_high"] - row["gain_on_test"] == pytest.approx(half)
    assert np.isnan(pruned.loc["", "gain_on_test"])


def test_p_of_halving_and_of_accuracy_are_those_of_scipy():
    # Three networks: their accuracies differ by 1/3, 0 and 2/3 points.
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90), (80, 88, 90)]),
        made_up.cell("mp", 20, [(81, 87, 86), (82, 87, 86), (86, 84, 86)], params=made_up.OFFSETS),
    )
    row = rows(made).loc["class offsets"]
    lost = np.array([-1 / 300, 0, -2 / 300])
    assert row["accuracy_difference"] == pytest.approx(lost.mean())
    assert row["p_not_inferior"] == pytest.approx(stats.ttest_1samp(lost + MARGIN, 0, alternative="greater").pvalue)
    # Largest excess: 7, 10, 6 without; then 9 - 16/3, 8 - 5, 6 - 14/3.
    before, after = np.array([7, 10, 6]) / 100, np.array([11 / 3, 3, 4 / 3]) / 100
    assert row["p_halved"] == pytest.approx(stats.ttest_1samp(after - before / 2, 0, alternative="less").pvalue)


def test_classes_are_worse_where_their_interval_is_below_the_control():
    # Class a loses 10 points in each of three networks but for one image, b and c nothing that is sure.
    made = made_up.study(
        made_up.cell("mp", 20, [(80, 90, 90), (80, 91, 89), (81, 89, 91)]),
        made_up.cell("mp", 20, [(89, 90, 90), (91, 91, 89), (90, 89, 91)], params=made_up.OFFSETS),
        made_up.cell("none", 1, [(90, 90, 90), (90, 90, 90), (90, 90, 90)]),
    )
    worse = rows(made, pruner="mp")["classes_worse"]
    assert worse.to_dict() == {"": 1, "class offsets": 0}


def test_holm_is_over_the_data_sets_of_a_method():
    parts = [made_up.mitigated(name) for name in ("toy", "other")]
    found = rows(made_up.study(*parts), pruner="mp").loc["class offsets"]
    # Both data sets have the same p, so that Holm's is twice that.
    assert found["p_halved_holm"].tolist() == pytest.approx([min(2 * p, 1) for p in found["p_halved"]])


def test_a_pruner_that_is_a_mitigation_is_compared_with_magnitude_and_has_the_plain_control():
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)]),
        made_up.cell("fairgrape", 20, [(85, 85, 85), (85, 85, 85)], params={"scope": "layer"}),
        made_up.cell("none", 1, [(90, 90, 93), (88, 92, 93)]),
    )
    runs, counts = made
    row = rows((runs.fillna({"params.scope": "global"}), counts)).loc["fairgrape"]
    assert row["gain_on_test"] == pytest.approx(0.085)
    assert row["largest_excess_of_control"] == pytest.approx(0.02)


def test_settings_of_other_pruners_do_not_part_fairgrape_from_magnitude():
    shown = {"gradient_objective": "none"}
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90)], params=shown),
        made_up.cell("fairgrape", 20, [(85, 85, 85), (85, 85, 85)], params=shown),
        *(
            made_up.cell("gp", 20, [(85, 85, 85)], params={"gradient_objective": name})
            for name in ("data", "regularized")
        ),
    )
    assert rows(made).loc["fairgrape", "gain_on_test"] == pytest.approx(0.085)


def test_details_are_named_where_they_differ_and_do_not_follow_from_others():
    both = [
        made_up.cell(
            "mp",
            20,
            [(78, 87, 90)],
            params={"constraint": "ceag", "constraint_images": images, "constraint_step": step},
        )
        for images, step in (("train", "0.01"), ("validation", "0.5"))
    ]
    runs, counts = made_up.study(made_up.cell("mp", 20, [(78, 87, 90)]), *both)
    runs = runs.fillna({"params.constraint_images": "train"})
    named = list(outcomes(Cells(run_arrays(runs), ValidationRecalls(counts)))["mitigation"])
    assert [name.rpartition("(")[2] for name in named if name] == ["images train)", "images validation)"]


def test_without_validation_images_what_they_tell_is_missing():
    runs, _ = made_up.mitigated()
    found = rows((runs, None), pruner="mp").loc["class offsets"]
    assert found[["gain_on_validation", "survives", "val_largest_excess"]].isna().all()
    assert found["gain_on_test"] == pytest.approx(0.05)


def test_networks_that_guess_count():
    made = made_up.study(
        made_up.cell("mp", 20, [(78, 87, 90), (75, 90, 90), (34, 33, 33)]),
        made_up.cell("mp", 20, [(81, 87, 87), (82, 87, 86), (81, 87, 87)], params=made_up.OFFSETS),
    )
    found = rows(made)
    assert found[["n", "n_at_chance"]].to_numpy().tolist() in ([[3, 1], [3, 0]], [[3, 0], [3, 1]])
    # The last network has recalls .34, .33, .33, and about a third of its images right.
    assert found["accuracy"].min() == pytest.approx((0.85 + 0.85 + 1 / 3) / 3)


def test_a_study_without_mitigations_has_no_outcomes():
    assert outcomes(
        Cells(run_arrays(made_up_runs.runs("toy", "net", "mp", 10, [1.0, 1.1])), ValidationRecalls(None))
    ).empty
