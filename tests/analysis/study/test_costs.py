"""What classes lost against the control, controls of other seeds or the dense networks, by hand."""

import numpy as np
import pytest
from scipy import stats

from analysis import audit_predictions
from analysis.compare.comparison import Comparison
from analysis.statistics.hypothesis_tests import change_interval
from analysis.statistics.limits import Limits
from analysis.study.arrays import run_arrays
from analysis.study.cells import cells
from analysis.study.classes import classes
from analysis.study.costs import COLUMNS, images_are_too_few, networks_for_limits, promised
from analysis.study.predictions import StudyPredictions
from tests.made_up_runs import predicted, runs, study, with_images

ALPHAS = np.array([1.1, 1.2, 1.5])


def pruned(alphas=ALPHAS):
    return with_images(runs("toy", "net", "mp", 2, alphas))


def none(alphas):
    return with_images(runs("toy", "net", "none", 1, alphas))


def class_b(*made):
    return classes(run_arrays(study(*made))).set_index("class").loc["b"]


def test_losses_are_against_the_control_of_the_same_dense_network():
    """Class b has recall .8 - .1 alpha. Networks without a control are left out."""
    row = class_b(pruned(), none([1.0, 1.0]))
    assert (row["reference"], row["n_reference"]) == ("control", 2)
    assert row["loss"] == pytest.approx(0.015)
    interval = stats.ttest_1samp([0.01, 0.02], 0).confidence_interval()
    assert (row["loss_low"], row["loss_high"]) == pytest.approx((interval.low, interval.high))
    # Two classes: one-sided at .05 / 2 is two-sided at .05.
    assert row["loss_upper_all"] == pytest.approx(interval.high)
    joint = stats.ttest_1samp([0.01, 0.02], 0).confidence_interval(0.975)
    assert row["loss_low_all"] == pytest.approx(joint.low)


def test_without_a_control_losses_are_against_the_dense_networks():
    row = class_b(pruned())
    assert (row["reference"], row["n_reference"]) == ("dense", 3)
    assert row["loss"] == pytest.approx(0.1 * (ALPHAS - 1).mean())


def test_controls_of_other_seeds_are_not_paired():
    controls = none([0.9, 1.0, 1.4]).assign(dense_run_id=["x", "y", "z"], seed=[7, 8, 9])
    row = class_b(pruned(), controls)
    assert (row["reference"], row["n_reference"]) == ("control of other seeds", 3)
    losses = 0.1 * ALPHAS, 0.1 * np.array([0.9, 1.0, 1.4])
    assert row["loss"] == pytest.approx(losses[0].mean() - losses[1].mean())
    # Far wider than the paired interval of the same numbers, and wider than either group's own.
    half = stats.t.ppf(0.975, 2) * (losses[0].var(ddof=1) / 3 + losses[1].var(ddof=1) / 3) ** 0.5
    assert row["loss_high"] - row["loss"] == pytest.approx(half)
    cell = cells(run_arrays(study(pruned(), controls))).set_index("pruner").loc["mp"]
    assert (cell["worst_class"], np.isnan(cell["worst_class_cost"])) == ("", True)
    assert np.isfinite(cell["worst_class_loss_upper"])


def test_of_three_networks_and_two_controls_of_other_seeds_two_are_counted():
    controls = none([0.9, 1.0]).assign(dense_run_id=["x", "y"], seed=[7, 8])
    assert class_b(pruned(), controls)["n_reference"] == 2


@pytest.mark.parametrize(("networks", "others"), [(3, 1), (1, 3)])
def test_one_network_beside_several_of_other_seeds_has_a_loss_and_no_bound(networks, others):
    """Nothing shows how far the single network moved by chance."""
    controls = none([0.9, 1.0, 1.4]).head(others).assign(dense_run_id=list("xyz")[:others], seed=range(7, 7 + others))
    made = study(pruned().head(networks), controls)
    for predictions in (None, predicted(made)):
        row = classes(run_arrays(made), predictions).set_index("class").loc["b"]
        assert (row["reference"], row["n_reference"]) == ("control of other seeds", 1)
        assert row["loss"] == pytest.approx(row["cost"])
        assert row["cost"] == pytest.approx(0.1 * (ALPHAS[:networks].mean() - np.mean([0.9, 1.0, 1.4][:others])))
        assert row[[name for name in COLUMNS if name not in ("loss", "cost")]].isna().all()
        cell = cells(run_arrays(made), predictions).set_index("pruner").loc["mp"]
        bounds = cell[["worst_class_loss_upper", "accuracy_loss_low", "accuracy_loss_upper"]]
        assert (bounds.isna().all(), cell["worst_class"]) == (True, "")


def test_a_network_at_chance_counts_in_what_pruning_costs():
    """The third network has lost everything."""
    made = pruned()
    made.loc[2, ["accuracy_after", "recall_after/a", "recall_after/b"]] = 0.5, 0.5, 0.5
    row = class_b(made, none([1.0, 1.0, 1.0]))
    assert (row["n"], row["n_reference"]) == (3, 3)
    assert row["loss"] == pytest.approx((0.01 + 0.02 + 0.2) / 3)


def test_one_network_has_a_loss_and_no_bound():
    row = class_b(pruned().head(1), none([1.0]))
    assert row["loss"] == pytest.approx(0.01)
    assert np.isnan(row[["loss_upper_all", "cost_low", "cost_p"]].astype(float)).all()
    cell = cells(run_arrays(study(pruned().head(1), none([1.0])))).set_index("pruner").loc["mp"]
    assert np.isnan(cell["worst_class_loss_upper"])
    assert networks_for_limits(run_arrays(pruned().head(1)), np.array([0]), Limits(0.1)) is None


def test_classes_that_all_lose_the_same_cost_nothing():
    made = pruned([1.0, 1.0, 1.0])
    lower = 0.1 * np.array([1.0, 2.0, 3.0])
    for name in ("accuracy_after", "recall_after/a", "recall_after/b"):
        made[name] -= lower
    row = class_b(made, none([1.0, 1.0, 1.0]))
    assert (row["loss"], row["cost"]) == (pytest.approx(0.2), pytest.approx(0, abs=1e-12))


def test_the_worst_class_of_a_cell_and_its_bound():
    cell = cells(run_arrays(study(pruned(), none([1.0, 1.0, 1.1])))).set_index("pruner").loc["mp"]
    assert cell["worst_class"] == "b"
    costs = 0.1 * (ALPHAS - [1.0, 1.0, 1.1])
    # The others choose b, and the accuracy loses nothing.
    assert cell["worst_class_cost"] == pytest.approx(costs.mean())
    # Both ends have half of .05, and the two classes half of that.
    half = stats.t.ppf(1 - 0.0125, 2) * costs.std(ddof=1) / 3**0.5
    ends = cell["worst_class_cost_low"], cell["worst_class_cost_high"]
    assert ends == pytest.approx((max(costs.mean() - half, -costs.mean() - half), costs.mean() + half))


LABEL = np.repeat([0, 1], 100)


def test_a_report_and_an_audit_have_one_bound_of_the_accuracy():
    """Three networks lose the same 20 of 100 images of class b, which holds half of the images."""
    made = pruned([1.0] * 3).assign(accuracy_after=0.7, **{"recall_after/a": 0.9, "recall_after/b": 0.5})
    # The bound is that of one network that loses these 20 of 200 images.
    upper = -change_interval(20, 0, 200, confidence=0.9)[0]
    (reported,) = cells(run_arrays(made), predicted(made))["accuracy_loss_upper"]
    assert reported == pytest.approx(upper)
    before, after = (np.tile(np.arange(100), 2) < np.repeat([90, right], 100) for right in (70, 50))
    sides = {"before": np.array([before] * 3), "after": np.array([after] * 3)}
    accuracy, *_ = Comparison("ab", LABEL, sides).losses["upper"]
    assert accuracy == pytest.approx(upper)


def test_a_single_network_that_changed_no_image_has_the_bound_of_no_loss_among_all():
    made = pruned([1.0])
    (upper,) = cells(run_arrays(made), predicted(made))["accuracy_loss_upper"]
    assert upper == pytest.approx(1 - 0.05 ** (1 / 200))


def networks_of(pruner, ratio, dense, after):
    """Runs with the recalls of these answers, each (networks, images)."""
    made = with_images(runs("toy", "net", pruner, ratio, [1.0] * len(after)))
    for when, right in (("before", dense), ("after", after)):
        recalls = {f"recall_{when}/{name}": right[:, place == LABEL].mean(1) for place, name in enumerate("ab")}
        made = made.assign(**recalls, **{f"accuracy_{when}": right.mean(1)})
    return made


@pytest.mark.parametrize("networks", [1, 3])
def test_predictions_have_the_losses_of_an_audit(networks):
    generator = np.random.default_rng(0)
    dense, control = (generator.random((networks, 200)) < 0.9 for _ in range(2))
    after = control & (generator.random((networks, 200)) < np.where(LABEL, 0.7, 0.95))
    made = networks_of("mp", 2, dense, after), networks_of("none", 1, dense, control)
    sides = [np.where(right, LABEL, 1 - LABEL) for right in (dense, after, control)]
    answers = dict(zip(made[0]["dense_run_id"], sides[0], strict=True))
    for each, predictions in zip(made, sides[1:], strict=True):
        answers |= dict(zip(each["run_id"], predictions, strict=True))
    reported = classes(
        run_arrays(study(*made)), lambda ids: {run: {"label": LABEL, "predicted": answers[run]} for run in ids}
    )
    audited = audit_predictions(LABEL, *sides, class_names=["a", "b"]).table
    np.testing.assert_allclose(
        reported.set_index("class")[COLUMNS], audited.set_index("class").loc[["a", "b"], COLUMNS]
    )


def test_images_are_too_few_for_a_limit_that_no_lost_image_would_rule_out():
    right = np.ones((3, 200), bool)
    made = study(networks_of("mp", 2, right, right), networks_of("none", 1, right, right))
    predictions = StudyPredictions(lambda ids: {run: {"label": LABEL, "predicted": LABEL} for run in ids})
    # Networks that lose none of 100 images of each of two classes may lose 1 - .025^(1/100), which is 3.6 %.
    of_classes = [Limits(0.03), Limits(0.04)]
    # And they may lose 1 - .05^(1/200) of the accuracy, which is 1.5 %.
    of_accuracy = [Limits(accuracy_loss=0.014), Limits(accuracy_loss=0.016)]
    for limits in (of_classes, of_accuracy):
        found = [images_are_too_few(run_arrays(made), np.arange(3), each, predictions) for each in limits]
        assert found == [True, False]
    assert not images_are_too_few(run_arrays(made), np.arange(3), Limits(0.03))


def test_how_many_networks_would_rule_out_a_loss():
    made = study(pruned([1.0, 1.1, 1.2, 1.3]), none([1.0] * 4))
    found = networks_for_limits(run_arrays(made), np.arange(4), Limits(0.03))
    # b loses .015, and varies by .0129. Two classes have .025 each.
    losses = 0.1 * np.array([0.0, 0.1, 0.2, 0.3])
    counts = np.arange(5, 100)
    enough = losses.mean() + stats.t.ppf(0.975, counts - 1) * losses.std(ddof=1) / counts**0.5 < 0.03
    assert found == counts[enough][0]
    assert networks_for_limits(run_arrays(made), np.arange(4), Limits(0.01)) is None


def test_networks_that_all_lose_the_same_promise_nothing():
    assert len(promised(run_arrays(study(pruned(), none([1.0] * 3))), np.arange(3))) > 0
    assert promised(run_arrays(study(pruned([1.1] * 3), none([1.0] * 3))), np.arange(3)).empty


def study_of(label, names, dense, after, digits=None):
    """Runs of one cell with sorted columns, and a reader of their predictions; label i is the class names[i]."""
    support = np.bincount(label)
    made = runs("toy", "net", "mp", 2, [1.0] * len(after)).drop(
        columns=[f"recall_{w}/{c}" for w in ("before", "after") for c in "ab"]
    )
    for when, right in (("before", dense), ("after", after)):
        made[f"accuracy_{when}"] = right.mean(1)
        for name in sorted(names):
            recall = right[:, label == names.index(name)].mean(1)
            made[f"recall_{when}/{name}"] = recall if digits is None else recall.round(digits)
    for name in sorted(names):
        made[f"support/{name}"] = float(support[names.index(name)])
    ids = [*made["dense_run_id"], *made["run_id"]]
    answers = {
        run: np.where(right, label, (label + 1) % len(names)) for run, right in zip(ids, [*dense, *after], strict=True)
    }
    return run_arrays(made), lambda run_ids: {run: {"label": label, "predicted": answers[run]} for run in run_ids}


def test_classes_with_equal_recalls_are_told_apart_by_their_images():
    """Zebras and ants are never wrong; every other cow of each network is lost."""
    label = np.repeat([0, 1, 2], [1000, 100, 3])
    dense = np.ones((3, len(label)), bool)
    lost = (label == 1) & ((np.arange(len(label)) + np.arange(3)[:, np.newaxis]) % 2 == 0)
    upper = classes(*study_of(label, ["zebra", "cow", "ant"], dense, dense & ~lost)).set_index("class")[
        "loss_upper_all"
    ]
    # The rule of three, for three classes.
    assert upper[["zebra", "ant"]].tolist() == pytest.approx([1 - (0.05 / 3) ** (1 / 1000), 1 - (0.05 / 3) ** (1 / 3)])


def test_rounded_recalls_that_are_equal_in_one_network_are_matched_by_the_others():
    """With three digits, 2,401 of 3,000 are as many as 2,400, but the order of the counts is the other one."""
    label, place = np.repeat([0, 1], 3000), np.tile(np.arange(3000), 2)
    dense, after = (
        np.array([place < np.repeat(each, 3000) for each in counts])
        for counts in (([2700, 2100], [2401, 2400]), ([2600, 2100], [2301, 2400]))
    )
    table = classes(*study_of(label, ["zebra", "ant"], dense, after, digits=3)).set_index("class")
    exact = classes(*study_of(label, ["zebra", "ant"], dense, after)).set_index("class")
    assert table["loss"].tolist() == pytest.approx([0, 0.0333], abs=1e-3)
    assert table["loss_upper_all"].tolist() == pytest.approx(exact["loss_upper_all"].tolist())


def test_predictions_of_other_numbers_of_images_are_not_used():
    label = np.repeat([0, 1], 100)
    dense = np.ones((2, 200), bool)
    arrays, read = study_of(label, ["a", "b"], dense, dense)
    of_others = {"label": np.repeat([0, 1], 50), "predicted": np.repeat([0, 1], 50)}
    assert classes(arrays, read)["loss_upper_all"].notna().all()
    assert classes(arrays, lambda ids: dict.fromkeys(ids, of_others))["loss_upper_all"].isna().all()
