"""The decision on runs whose losses are known: one ratio, whoever tells it."""

import numpy as np
import pytest
from scipy import stats

from analysis.compare.comparison import Comparison
from analysis.report.verdict import verdict
from analysis.statistics.limits import LIMITS, Limits
from analysis.study.decision import at_the_ratio, by_accuracy, decision, decisions, ratio_of
from analysis.study.study import StudyData
from tests import made_up_runs

WORKLOAD = ("mnist", "lenet5")
SPREAD = np.linspace(-0.01, 0.01, 8)


def pruned(pruner="mp", ratio=2.0, *, alpha=1.0, loss=0.0, noise=SPREAD):
    """Eight networks, of which alpha moves class b by a tenth; a loss without noise would have no bound."""
    made = made_up_runs.runs("mnist", "lenet5", pruner, ratio, alpha + noise)
    return made_up_runs.with_images(made.assign(accuracy_after=0.8 - loss + noise / 100), images=1000)


def none():
    return pruned("none", 1, noise=-SPREAD)


def study(*cells):
    return StudyData(made_up_runs.study(*cells))


def told(decided):
    return decided.cell["pruner"], decided.ratio, decided.is_safe


def test_the_largest_safe_ratio_is_the_one_of_text_tables_and_pictures():
    """At ratio 10 the accuracy loses .9 points, and class b 6: it used to be the ratio of pictures and details."""
    made = study(pruned(), pruned(ratio=10, alpha=1.6, loss=0.009), none())
    decided = decisions(made)[WORKLOAD]
    assert told(decided) == ("mp", 2, True)
    assert decided.failing.cell["ratio"] == 10
    assert ratio_of(made, WORKLOAD) == 2
    assert at_the_ratio(made, made.cells[made.cells["pruner"] != "none"])["ratio"].tolist() == [2]
    (line,) = verdict(made)
    assert "use mp at ratio 2." in line
    assert "At ratio 10, it is not safe: against the control (limit 5), the loss of b is above 5." in line


def test_where_nothing_is_safe_the_largest_ratio_of_small_mean_loss_leads():
    """Class b loses 6 points or more at each ratio; the accuracy at most 1 point up to ratio 4."""
    cells = [pruned(ratio=ratio, alpha=1.6, loss=loss) for ratio, loss in ((2, 0.0), (4, 0.009), (8, 0.02))]
    assert told(decisions(study(*cells, none()))[WORKLOAD]) == ("mp", 4, False)
    assert told(decisions(study(cells[2], none()))[WORKLOAD]) == ("mp", 8, False)


def test_a_ratio_that_passes_after_a_failure_is_told_with_the_failure():
    """Class b loses 6 points at ratio 2, and nothing at ratio 4."""
    made = study(pruned(alpha=1.6), pruned(ratio=4), none())
    assert told(decisions(made)[WORKLOAD]) == ("mp", 4, False)
    (line,) = verdict(made)
    assert "This ratio would pass, but it is safe only if all smaller ratios of the method pass too. At ratio 2" in line
    assert "undecided" not in line


def test_a_ratio_after_a_failure_is_not_tried():
    decided = decisions(study(pruned(), pruned(ratio=4, alpha=1.6), pruned(ratio=8), none()))[WORKLOAD]
    assert told(decided) == ("mp", 2, True)
    assert [judged.cell["ratio"] for judged in decided.tried] == [2, 4]


def test_the_method_of_the_verdict_stands_before_a_more_accurate_one_that_is_not_safe():
    made = study(pruned(), pruned("gp", alpha=1.6, loss=-0.01), none())
    cells = made.cells[made.cells["pruner"] != "none"]
    assert by_accuracy(made, cells, 2)["pruner"].tolist() == ["gp", "mp"]
    assert at_the_ratio(made, cells)["pruner"].tolist() == ["mp", "gp"]


@pytest.mark.parametrize(
    ("limits", "safe_ratio"),
    [(LIMITS, 2), (Limits(0.07, 0.01), 10), (Limits(0.07, 0.005), 2), (Limits(0.07, 0.01, alpha=1.2), 2)],
)
def test_other_limits_choose_another_ratio(limits, safe_ratio):
    """At ratio 10 class b loses 6 points and the accuracy .9; alpha is 1.6 there, and 1 at ratio 2."""
    made = study(pruned(), pruned(ratio=10, alpha=1.6, loss=0.009), none())
    assert told(decision(made, WORKLOAD, limits)) == ("mp", safe_ratio, True)


def test_of_networks_that_mostly_guess_others_lead():
    guessing = pruned(ratio=4, alpha=9).assign(accuracy_after=[0.5] * 5 + [0.8] * 3, accuracy_before=0.5)
    assert told(decisions(study(pruned(alpha=1.6, loss=0.1), guessing))[WORKLOAD]) == ("mp", 2, False)


def test_dense_networks_at_chance_have_no_safe_choice():
    guessing = [made.assign(accuracy_before=0.5) for made in (pruned(), none())]
    assert decisions(study(*guessing))[WORKLOAD].is_safe is False


def test_a_class_that_no_network_ever_recognises_has_nothing_to_lose():
    cells = pruned(), none()
    for made in cells:
        made[["recall_before/b", "recall_after/b"]] = 0.0
    assert told(decisions(study(*cells))[WORKLOAD]) == ("mp", 2, True)


def test_networks_at_chance_whose_controls_are_missing_do_not_leave_a_safe_rest():
    """Five networks lose nothing; three lose 30 points of accuracy, and their controls were killed."""
    some_destroyed = pruned().assign(accuracy_after=[0.8] * 5 + [0.5] * 3)
    decided = decisions(study(some_destroyed, none().head(5)))[WORKLOAD]
    assert (decided.is_safe, decided.judged.gate.state) == (False, "undecided")
    assert "3 networks have no control" in decided.judged.gate.reason


def losing(*lost):
    """Networks of which so many of 100 images of class b are lost, and none of class a; also for an audit."""
    control = made_up_runs.runs("mnist", "lenet5", "none", 1, np.zeros(len(lost)))
    perfect = {f"recall_{when}/{name}": 1.0 for when in ("before", "after") for name in "ab"}
    control = made_up_runs.with_images(control.assign(accuracy_before=1.0, accuracy_after=1.0, **perfect))
    recall = 1 - np.array(lost) / 100
    after = control.assign(pruner="mp", ratio=2.0, run_id=[f"mp {seed}" for seed in control["seed"]])
    after = after.assign(accuracy_after=(1 + recall) / 2, **{"recall_after/b": recall})
    made = made_up_runs.study(made_up_runs.with_images(after), control)
    place = np.tile(np.arange(100), 2)
    after_pruning = np.array([(np.arange(200) < 100) | (place < 100 - each) for each in lost])
    right = {"before": np.ones((len(lost), 200), bool), "after": after_pruning}
    return StudyData(made, made_up_runs.predicted(made)), Comparison("ab", np.repeat([0, 1], 100), right)


def test_a_single_network_lacks_other_networks_whatever_its_images():
    made, _ = losing(3)
    assert "undecided: one network says nothing about others" in verdict(made)[0]


@pytest.mark.parametrize(("lost", "state"), [((95, 85, 5), "undecided"), ((100, 100, 100), "beyond")])
def test_a_report_and_an_audit_agree_that_a_loss_is_surely_above_its_limit(lost, state):
    """With t of two degrees of freedom, three networks that lose 95, 85 and 5 images may lose none on average."""
    assert stats.ttest_1samp([0.95, 0.85, 0.05], 0).confidence_interval().low < 0
    made, audited = losing(*lost)
    judged = decisions(made)[WORKLOAD].judged
    assert judged.gate.state == audited.gate(LIMITS).state == state
    bounds = judged.costs.losses(judged.costs.own).mean.interval()
    np.testing.assert_allclose(bounds, audited.losses().mean.interval())


@pytest.mark.parametrize(
    ("alpha", "of_control", "where", "bound"),
    [(3.0, 3.0, "since the dense networks", 19.9), (1.0, 0.0, "against the control", 9.9)],
)
def test_neither_question_may_be_answered_with_a_loss_beyond_the_limit(alpha, of_control, where, bound):
    """Class b loses 20 points in the control, too; or it loses the 10 that the control won.

    The networks differ by less than a tenth of a point.
    """
    made = study(pruned(alpha=alpha), pruned("none", 1, alpha=of_control, noise=-SPREAD))
    decided = decisions(made)[WORKLOAD]
    assert (decided.is_safe, decided.judged.gate.state) == (False, "beyond")
    assert f"{where} (limit 5), the loss of b is above {bound}" in decided.judged.gate.reason


def with_dense(made, rows, accuracy):
    """Some of the networks; the last four dense networks have another accuracy, and prunings keep their loss."""
    change = np.where(np.arange(8) < 4, 0.0, accuracy - 0.8)
    moved = made.assign(**{name: made[name] + change for name in ("accuracy_before", "accuracy_after")})
    return moved.iloc[rows]


def test_methods_are_compared_on_the_dense_networks_that_all_of_them_have():
    """Undecayed pruning loses .2 points more than magnitude pruning, and was not applied to the weak dense networks."""
    every, first, last = slice(None), slice(4), slice(4, None)
    control = with_dense(none(), every, 0.7)
    shared = study(with_dense(pruned(), every, 0.7), with_dense(pruned("up", loss=0.002), first, 0.7), control)
    assert told(decisions(shared)[WORKLOAD]) == ("mp", 2, True)
    cells = shared.cells[shared.cells["pruner"] != "none"]
    assert by_accuracy(shared, cells, 2)["pruner"].tolist() == ["mp", "up"]
    assert cells.set_index("pruner")["accuracy_after"]["up"] > cells.set_index("pruner")["accuracy_after"]["mp"]
    # A pilot on one dense network changes nothing in the comparison of the others.
    pilot = with_dense(pruned("gp", loss=0.01), slice(1), 0.7)
    three = study(with_dense(pruned(), every, 0.7), with_dense(pruned("up", loss=0.002), first, 0.7), pilot, control)
    of_three = three.cells[three.cells["pruner"] != "none"]
    assert by_accuracy(three, of_three, 2)["pruner"].tolist() == ["mp", "up", "gp"]
    apart = study(with_dense(pruned(), last, 0.7), with_dense(pruned("up", loss=0.002), first, 0.7), control)
    assert told(decisions(apart)[WORKLOAD]) == ("up", 2, True)


def test_methods_without_common_dense_networks_are_compared_by_their_accuracies():
    """Two networks of mp have accuracy .8, six others of gp .79, and rp .6 from the dense networks of gp."""
    cells = pruned().iloc[:2], pruned("gp", loss=0.01).iloc[2:], pruned("rp", loss=0.2).iloc[2:]
    apart = study(*cells)
    assert by_accuracy(apart, apart.cells, 2)["pruner"].tolist() == ["mp", "gp", "rp"]
