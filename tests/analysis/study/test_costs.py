"""What classes lost against the control or the dense networks, by hand."""

import json

import numpy as np
import pytest
from scipy import stats

from analysis import audit_predictions
from analysis.compare.comparison import Comparison
from analysis.study.arrays import run_arrays
from analysis.study.cells import cells
from analysis.study.classes import classes
from analysis.study.costs import COLUMNS
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
    assert row["loss_from_control"] == pytest.approx(0.015)
    test = stats.ttest_1samp([0.01, 0.02], 0)
    interval = test.confidence_interval()
    bounds = row[["loss_from_control_low", "loss_from_control_high"]].tolist()
    assert bounds == pytest.approx([interval.low, interval.high])
    # Two classes: one-sided at .05 / 2 is two-sided at .05. Class a wins what b loses, so both have the same p.
    assert row["loss_from_control_upper_all"] == pytest.approx(interval.high)
    assert row["loss_from_control_p"] == pytest.approx(2 * test.pvalue)
    # All three have dense networks.
    assert row["loss"] == pytest.approx(0.1 * (ALPHAS - 1).mean())


def test_without_a_control_losses_are_against_the_dense_networks():
    row = class_b(pruned())
    assert (row["reference"], row["n_reference"]) == ("dense", 3)
    assert (row["loss"], row["cost"]) == pytest.approx([0.1 * (ALPHAS - 1).mean()] * 2)
    assert np.isnan(row["loss_from_control"])


def test_a_network_at_chance_counts_in_what_pruning_costs():
    """The third network has lost everything."""
    made = pruned()
    made.loc[2, ["accuracy_after", "recall_after/a", "recall_after/b"]] = 0.5, 0.5, 0.5
    row = class_b(made, none([1.0, 1.0, 1.0]))
    assert (row["n"], row["n_reference"]) == (3, 3)
    assert row["loss_from_control"] == pytest.approx((0.01 + 0.02 + 0.2) / 3)


def test_one_network_has_a_loss_and_no_bound():
    row = class_b(pruned().head(1), none([1.0]))
    assert row["loss_from_control"] == pytest.approx(0.01)
    assert np.isnan(row[["loss_upper_all", "loss_from_control_upper_all", "cost"]].astype(float)).all()
    cell = cells(run_arrays(study(pruned().head(1), none([1.0])))).set_index("pruner").loc["mp"]
    assert np.isnan(cell["worst_class_loss_upper"])


def test_the_worst_class_of_a_cell_and_its_bound():
    cell = cells(run_arrays(study(pruned(), none([1.0, 1.0, 1.1])))).set_index("pruner").loc["mp"]
    assert cell["worst_class"] == "b"
    costs = 0.1 * (ALPHAS - [1.0, 1.0, 1.1])
    assert cell["worst_class_cost"] == pytest.approx(costs.mean())  # the accuracy loses nothing
    interval = stats.ttest_1samp(costs, 0).confidence_interval()
    ends = cell["worst_class_cost_low"], cell["worst_class_cost_high"]
    assert ends == pytest.approx((interval.low, interval.high))
    # The bound of a single class, which is the largest.
    one_sided = stats.ttest_1samp(costs, 0).confidence_interval(0.9)
    assert cell["worst_class_loss_upper"] == pytest.approx(one_sided.high)


LABEL = np.repeat([0, 1], 100)


def test_a_report_and_an_audit_have_one_bound_of_the_accuracy():
    """Three networks lose the same 20 of 100 images of class b, which holds half of the images."""
    made = pruned([1.0] * 3).assign(accuracy_after=0.7, **{"recall_after/a": 0.9, "recall_after/b": 0.5})
    # A tenth of the images is lost, with the variance .1 * .9 / 199, and another image may be.
    z = stats.norm.ppf(0.95)
    upper = 0.1 + z * (0.09 / 199 + z**2 / 200**2) ** 0.5
    cell = cells(run_arrays(made), predicted(made)).iloc[0]
    assert cell["accuracy_loss_upper"] == pytest.approx(upper)
    before, after = (np.tile(np.arange(100), 2) < np.repeat([90, right], 100) for right in (70, 50))
    sides = {"before": np.array([before] * 3), "after": np.array([after] * 3)}
    audited = Comparison("ab", LABEL, sides)
    assert audited.accuracy_losses().mean.upper().tolist() == pytest.approx([upper])
    ends = [-cell["accuracy_change_high"], -cell["accuracy_change_low"]]
    assert ends == pytest.approx(audited.accuracy[["loss_low", "loss_high"]].tolist())


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
    shared = [name for name in COLUMNS if name in audited]
    assert "loss_from_control" in shared
    of_report, of_audit = (table.set_index("class").loc[["a", "b"], shared] for table in (reported, audited))
    np.testing.assert_allclose(of_report.astype(float), of_audit.astype(float))


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
    made["class_names"] = json.dumps(names)
    ids = [*made["dense_run_id"], *made["run_id"]]
    answers = {
        run: np.where(right, label, (label + 1) % len(names)) for run, right in zip(ids, [*dense, *after], strict=True)
    }
    return run_arrays(made), lambda run_ids: {run: {"label": label, "predicted": answers[run]} for run in run_ids}


@pytest.mark.parametrize("digits", [3, 17])
def test_classes_have_the_labels_that_their_runs_have_logged(digits):
    """Zebras and ants are never wrong; every other cow of each network is lost."""
    label = np.repeat([0, 1, 2], [1000, 100, 30])
    dense = np.ones((3, len(label)), bool)
    lost = (label == 1) & ((np.arange(len(label)) + np.arange(3)[:, np.newaxis]) % 2 == 0)
    arrays, read = study_of(label, ["zebra", "cow", "ant"], dense, dense & ~lost, digits=digits)
    assert sorted(arrays.names) != ["zebra", "cow", "ant"]
    upper = classes(arrays, read).set_index("class")["loss_upper_all"]
    z = stats.norm.ppf(1 - 0.05 / 3)
    assert upper[["zebra", "ant"]].tolist() == pytest.approx([z**2 / 1000, z**2 / 30])
