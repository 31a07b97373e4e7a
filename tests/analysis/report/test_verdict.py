"""The verdict on runs whose alpha, accuracy and recalls are known."""

import numpy as np
import pytest

from analysis.report.verdict import gaps, payers, reading, to_know, verdict
from analysis.study.decision import class_rows
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_runs

SPREAD = np.linspace(-0.1, 0.1, 8)


def runs(pruner="mp", ratio=10, alpha=1.0, *, noise=SPREAD, after=0.8, dataset="mnist", model="lenet5", **params):
    """The accuracy varies a hundredth as much as the gaps, since a loss without variance has no bound."""
    made = made_up_runs.runs(dataset, model, pruner, ratio, alpha + noise, **params)
    return made_up_runs.with_images(made.assign(accuracy_after=after + noise / 1000), images=1000)


def none(alpha=1.0, **settings):
    """The control, whose noise is the opposite of that of pruned networks."""
    return runs("none", 1, alpha, noise=-SPREAD, **settings)


def judged(*cells):
    study = StudyData(made_up_runs.study(*cells))
    return [*verdict(study), *([" ".join(reading(study))] if reading(study) else [])]


def test_cost_classes_gaps_and_the_largest_safe_ratio():
    # At ratio 2, both classes differ from the control by 1.1 SPREAD tenths: 1.895 standard errors are .52 points. At
    # ratio 10 class b has recall .8 - .1 * 1.5 = .65, and .7 in the control, and the standard errors are .94 points.
    worse, same = runs(alpha=1.5, after=0.79), runs(ratio=2, noise=SPREAD / 10)
    line, how_to_read = judged(worse, same, none())
    assert line == (
        "On mnist with lenet5 (8 networks), use mp at ratio 2. It costs 0.0 points of accuracy (0.0 to 0.0). "
        "No class is shown to lose more than the accuracy; a loss above 0.6 points is ruled out for all. "
        "Gaps between classes may shrink or grow (-8 to +8 %). "
        "This is safe. At ratio 10, it is undecided: against the control (limit 5), the loss of b may be up to 6.0 "
        "points. The smallest limit shown to be kept is 6.0 points."
    )
    assert "trained as long and not pruned" in how_to_read
    assert "mp is magnitude pruning" in how_to_read


def test_what_became_of_gaps_and_which_class_pays_are_numbers():
    # With one ratio, the half-width of the gaps is 2.365 * 4.95 %, and that of b's excess loss 2.365 * .495 points.
    study = StudyData(made_up_runs.study(runs(alpha=0.5), runs("gp", alpha=1.5, after=0.79), none()))
    smaller, larger = (study.cells[study.cells["pruner"] == name].iloc[0] for name in ("mp", "gp"))
    change = gaps(smaller)
    assert change.kind == "narrower"
    assert [change.change, change.low, change.high] == pytest.approx([-50, -61.7, -38.3], abs=0.05)
    assert (gaps(larger).kind, gaps(larger).change) == ("weak behind", pytest.approx(50))
    are_tested, names, points, losses = payers(class_rows(study, larger))
    assert (are_tested, names, losses) == (True, ["b"], pytest.approx([5.0]))
    assert points == pytest.approx(np.array([[4.0, 2.82, 5.18]]), abs=0.01)


def sentences(*cells):
    return judged(*cells)[0].removesuffix(".").split(". ")


def lower(made, loss):
    """Every class loses as much as the accuracy does."""
    recalls = made.filter(like="recall_after/")
    return made.assign(accuracy_after=0.8 - loss, **{name: recalls[name] - loss for name in recalls})


@pytest.mark.parametrize(
    ("pruned", "said"),
    [
        (runs(noise=SPREAD / 10), "Gaps of weak classes change by less than 5 %, by an equivalence test"),
        (runs(alpha=0.5), "Gaps shrink 50 % (38 to 62)"),
        # 6 * SPREAD has a half-width of .351.
        (runs(alpha=1.1, noise=5 * SPREAD), "Gaps between classes may shrink or grow (-25 to +45 %)"),
        # 20 * SPREAD has a half-width of 1.17.
        (runs(alpha=1.1, noise=20 * SPREAD), "8 networks are too few to say whether gaps grow or shrink"),
        # Alpha is 1.25 times the raw slope, and rises by .25.
        (
            lower(runs(), 0.16),
            "Gaps grow relative to the accuracy; the gaps themselves may shrink or grow (-12 to +12 %)",
        ),
        # Half of the networks have the other class as the weak one. The half-width is 2.365 * .0700 / sqrt 8, of the
        # control alone.
        (
            runs(alpha=0, noise=np.tile([1.5, -1.5], 4)),
            "Gaps grow 50 % (44 to 56); that weak classes fall behind is not shown",
        ),
    ],
)
def test_what_is_said_of_gaps_rests_on_the_raw_slope_and_the_raw_spread(pruned, said):
    control = runs("none", 1, noise=-SPREAD / 10) if "equivalence" in said else none()
    assert said in sentences(pruned, control)


def with_gaps(made, gaps, growth):
    """Four classes with gaps .1, .05, -.05, -.1 before, and the given gaps, times each network's growth, after."""
    columns = {}
    for name, before, after in zip("abcd", [0.1, 0.05, -0.05, -0.1], gaps, strict=True):
        columns |= {f"recall_before/{name}": 0.8 + before, f"recall_after/{name}": 0.8 + growth * after}
    return made.assign(**columns, **{f"support/{name}": 100.0 for name in "abcd"})


def test_gaps_that_moved_to_other_classes_are_not_said_to_shrink_or_grow():
    """The raw slope is (.1² - .05 * .1 - .05² + .1 * .05) / .025 = .3; .7 + 1.3 SPREAD below that of the control."""
    moved = with_gaps(runs(), [0.1, -0.1, 0.05, -0.05], 1 + SPREAD)
    said = sentences(moved, with_gaps(none(), [0.1, 0.05, -0.05, -0.1], 1 - SPREAD))
    assert "Gaps move to other classes: the raw slope is 0.70 (0.62 to 0.78) below that of the control" in said


def test_a_reversed_order_of_classes_is_not_called_smaller_gaps():
    """The half-widths are those of t: 2.365 times the standard error of SPREAD, .0247; of a tenth of it, .0025."""
    said = sentences(runs(alpha=-0.8, noise=SPREAD), none())
    assert "Gaps shrink" not in " ".join(said)
    assert said[-1] == (
        "The order of the classes reverses and strong classes become the weak ones: the raw slope is -0.80 (-0.86 to "
        "-0.74), 1.80 below that of the control"
    )
    one = sentences(runs(alpha=-0.8, noise=SPREAD).head(1), none().head(1))
    # -.8 - .1, from 1 + .1.
    assert "raw slope is -0.90, 2.00 below that of the control" in one[-1]


def test_gaps_whose_slope_may_be_0_have_no_shown_relation_to_those_before():
    said = sentences(runs(alpha=0.02), none())
    assert (
        said[-1]
        == "Gaps are not shown to be related to the gaps before pruning: the raw slope may be 0 (-0.04 to 0.08)"
    )


def test_where_no_class_is_shown_to_lose_more_the_verdict_says_how_much_one_may_lose():
    said = sentences(runs(), none())
    # 1.895 standard errors of a tenth of 2 * SPREAD.
    assert said[:2] == [
        "On mnist with lenet5 (8 networks), use mp at ratio 10",
        "It costs 0.0 points of accuracy (0.0 to 0.0)",
    ]
    assert said[2] == "No class is shown to lose more than the accuracy; a loss above 1.0 points is ruled out for all"
    assert said[-1] == "This is safe, and no larger ratio is shown to be"


def test_a_class_that_another_network_gains_is_no_cost_but_may_be_one():
    """Each class loses 5 points in half of the networks: 1.895 times 5.35 points over the root of 8 are 3.6."""
    said = sentences(runs(noise=np.tile([0.5, -0.5], 4)), none())
    assert said[0].endswith("use mp at ratio 10")
    assert said[2] == "No class is shown to lose more than the accuracy; a loss above 3.6 points is ruled out for all"
    # Three networks rule out less.
    few = sentences(runs(noise=np.array([0.5, -0.5, 0.5])), none().head(3))
    assert few[0].endswith("nothing is shown to be safe")
    assert few[3].startswith("It is undecided: ")


def test_a_loss_of_every_class_is_none_beyond_the_accuracy_and_is_not_safe():
    """Both classes and the accuracy lose 20 points."""
    study = StudyData(made_up_runs.study(lower(runs(), 0.2), none()))
    assert study.classes["cost"].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert study.classes["loss"].tolist() == pytest.approx([0.2, 0.2])
    said = sentences(lower(runs(), 0.2), none())
    assert said[0].endswith("nothing is shown to be safe")
    assert any(
        "not safe" in each and "against the control (limit 5), the loss of b is above 18." in each for each in said
    )


def test_a_method_is_judged_from_its_smallest_ratio_up_to_the_first_that_fails():
    """At ratio 4 a class loses 6 points and at 10 none does, so that 10 does not count, and 2 is the choice."""
    cells = [runs(ratio=2), runs(ratio=4, alpha=1.6), runs(ratio=10), none()]
    assert sentences(*cells)[0].endswith("use mp at ratio 2")
    assert sentences(*cells[:1], *cells[2:])[0].endswith("use mp at ratio 10")


def test_a_choice_is_safe_where_harm_is_ruled_out_and_not_where_it_is_unknown():
    unsafe = "On mnist with lenet5 ({} networks), nothing is shown to be safe"
    assert sentences(runs().iloc[::7], none().iloc[::7])[0] == unsafe.format(2)
    assert sentences(runs(alpha=1.5), runs("gp", alpha=1.8), none())[0] == unsafe.format(8)


def test_without_a_control_it_cannot_tell_pruning_from_fine_tuning():
    line, how_to_read = judged(runs(alpha=1.5, after=0.79))
    assert line.startswith(
        "On mnist with lenet5 (8 networks), nothing is shown to be safe. mp at ratio 10 costs 1.0 points of accuracy "
        "(1.0 to 1.0). b loses 4.0"
    )
    assert line.endswith("Without runs of the pruner none, the effects of pruning and fine-tuning cannot be separated.")
    assert "control" not in how_to_read


def test_controls_of_another_data_set_are_none():
    line, *_ = judged(runs(), none(dataset="cifar10"))
    assert "Without runs of the pruner none, the effects of pruning and fine-tuning cannot be separated. " in line


def test_without_a_control_losses_from_the_dense_networks_decide():
    line, how_to_read = judged(runs(noise=SPREAD / 10))
    assert "(8 networks), use mp at ratio 10." in line
    assert line.endswith("This is safe, and no larger ratio is shown to be.")
    assert how_to_read.startswith("Safe: ")


def test_of_an_own_pruner_without_a_control_only_safe_is_to_be_known():
    _, how_to_read = judged(runs("own"))
    assert how_to_read.startswith("Safe: ")
    assert "own is" not in how_to_read


def test_networks_without_a_control_are_counted_and_named():
    assert "(8 networks, 5 of them without a control)" in judged(runs(), none().head(3))[0]


def test_while_networks_without_a_control_are_not_compared_nothing_is_safe():
    """With all controls the same networks are safe, although five of them could not be told from destroyed ones."""
    quiet = runs(noise=SPREAD / 10), none()
    assert "This is safe" in judged(*quiet)[0]
    line, *_ = judged(quiet[0], quiet[1].head(3))
    assert "nothing is shown to be safe" in line
    assert "undecided: 5 networks have no control and cannot be compared. Run the pruner none with all seeds." in line


def test_one_network_a_cell_has_no_interval_and_that_is_said_once():
    cells = [
        cell.iloc[:1] for name in ("mnist", "cifar10") for cell in (runs(alpha=1.5, dataset=name), none(dataset=name))
    ]
    *lines, how_to_read = judged(*cells)
    assert ["(one network)" in line for line in lines] == [True, True]
    assert ["is unknown" in line for line in lines] == [True, True]
    assert ["interval" in line for line in lines] == [False, False]
    assert "Every cell has one network" in how_to_read


def test_the_page_says_with_which_confidence_intervals_of_gaps_hold():
    study = StudyData(made_up_runs.study(runs(), none()), options=ReportOptions(confidence=0.5))
    assert "(accuracy and gaps: 50 %, jointly for a method's ratios)" in reading(study)[0]


def test_networks_at_chance_count_and_their_number_is_said():
    after = np.array([0.8] * 6 + [0.5, 0.5])
    line, how_to_read = judged(runs(alpha=1.5).assign(accuracy_after=after), none())
    assert "(8 networks, 2 at chance)" in line
    # Two of eight networks lose 30 points.
    assert "costs 7.5 points" in line
    assert "Networks at chance count in all numbers but slopes and changes of gaps." in how_to_read


def test_compressed_networks_that_all_are_at_chance_are_told_as_others_are():
    line, _ = judged(runs(after=0.5), none())
    assert line.startswith(
        "On mnist with lenet5 (8 networks, 8 at chance), nothing is shown to be safe. mp at ratio 10 "
    )
    assert "costs 30.0 points of accuracy" in line


def test_networks_whose_alpha_is_undefined_count():
    """Four of eight dense networks have one recall for both classes, and of these b loses 30 points."""
    made = runs(noise=SPREAD / 10)
    made.loc[:3, ["recall_before/a", "recall_before/b"]] = 0.8
    made.loc[:3, "recall_after/b"] = 0.5
    made.loc[:3, "accuracy_after"] = 0.65
    controls = none()
    controls.loc[:3, ["recall_before/a", "recall_before/b", "recall_after/a", "recall_after/b"]] = 0.8
    study = StudyData(made_up_runs.study(made, controls))
    row = study.classes.set_index("class").loc["b"]
    # The recalls of the other four differ by SPREAD and a tenth of it, whose means are 0.
    assert (row["n"], row["n_reference"]) == (8, 8)
    assert row["loss"] == pytest.approx(0.15, abs=0.005)
    (line,) = verdict(study)
    assert "(8 networks)" in line
    # Four of eight lose 15 points of accuracy.
    assert "costs 7.5 points of accuracy" in line


def test_a_weak_dense_network_is_said_before_the_verdict():
    def blind(made):
        return made.assign(**{"recall_before/b": 0.0})

    assert sentences(blind(runs()), blind(none()))[0] == (
        "On mnist with lenet5: Dense networks are weak and recognise no test image of b (8 of 8 networks)"
    )
    guessing = [made.assign(accuracy_before=0.5) for made in (runs(), none())]
    assert judged(*guessing) == ["On mnist with lenet5: All 8 dense networks are at chance."]


def test_a_dense_network_that_was_trained_again_counts_once():
    made = [each.assign(**{"recall_before/b": 0.0}) for each in (runs(), none(), runs("up"))]
    again = made[2].assign(dense_run_id="again " + made[2]["dense_run_id"])
    for pruned, number in ((again, 8), (again.assign(**{"params.epochs": "5"}), 16)):
        assert f"b ({number} of {number} networks)" in sentences(*made[:2], pruned)[0]


def test_what_is_gained_is_no_cost():
    assert sentences(runs(after=0.81), none())[1] == "It gains 1.0 points of accuracy (1.0 to 1.0)"


def test_a_class_pays_relative_to_an_accuracy_that_rises():
    """The accuracy rises by 6 points, and class b by 4; or the accuracy by 1 point, and class b loses 5."""
    assert (
        sentences(lower(runs(alpha=1.2), -0.06), none())[2]
        == "The accuracy rises, but relative to it b loses 2.0 points (0.8 to 3.2)"
    )
    assert sentences(runs(alpha=1.5, after=0.81), none())[2] == (
        "The accuracy rises, but relative to it b loses 6.0 points (4.8 to 7.2)"
    )


def test_an_experiment_of_the_control_alone_says_so():
    (line,) = judged(none())
    assert "No network" in line
    assert "none" in line


def test_no_class_may_lose_more_than_all_of_its_recall():
    """Of two networks that differ widely, the bound of a class's loss is above 100 points."""
    line, *_ = judged(runs(noise=np.array([-4.0, 3.0])), none(alpha=1.0)[:2])
    assert "the loss of a may be up to 100.0 points" in line
    assert "No class is shown to lose more than the accuracy. " in line


def test_classes_that_were_equally_right_have_no_gaps_that_could_grow():
    equal = {f"recall_{side}/{name}": 0.8 for side in ("before", "after") for name in "ab"}
    line, *_ = judged(runs().assign(**equal), none().assign(**equal))
    assert "The change of gaps is undefined, because all classes have the same recall before pruning." in line
    assert "nan" not in line


AT_CHANCE = np.repeat([0.5, 0.8], 4)  # accuracies: the first four of eight networks guess


@pytest.mark.parametrize(
    ("pruned", "control", "reason"),
    [
        (runs(after=0.5), none(), "all pruned networks are at chance"),
        (runs(), none(after=0.5), "all controls are at chance"),
        (runs(after=AT_CHANCE), none(after=AT_CHANCE[::-1]), "every pruned network or its control is at chance"),
        (
            runs(after=AT_CHANCE).assign(**{f"recall_before/{name}": [0.9] * 4 + [0.8] * 4 for name in "ab"}),
            none(),
            "every pruned network or its control is at chance, or had the same recall for all classes before pruning",
        ),
    ],
)
def test_gaps_that_cannot_be_compared_have_the_true_reason(pruned, control, reason):
    assert f"The change of gaps is undefined, because {reason}." in judged(pruned, control)[0]


def test_a_reversed_order_is_not_compared_with_controls_at_chance():
    said = sentences(runs(alpha=-0.8), none(after=0.5))
    assert said[-1].endswith("strong classes become the weak ones: the raw slope is -0.80 (-0.86 to -0.74)")


def test_too_few_networks_are_those_that_are_compared_with_their_controls():
    noisy = runs(alpha=1.1, noise=20 * SPREAD)
    too_few = "{} networks are too few to say whether gaps grow or shrink"
    # The two differ by 6/7 - .02 in the raw slope, and t of one degree of freedom is 12.7.
    assert too_few.format(2) in sentences(noisy, none().iloc[[0, 3]])
    # Four are left, whose raw slopes lie .57 * 2 apart.
    assert too_few.format(4) in sentences(noisy.assign(accuracy_after=np.tile([0.8, 0.5], 4)), none())


def test_networks_that_are_all_alike_have_no_intervals():
    """The raw slope is 1.35 in every network and 1 in every control."""
    alike = np.zeros(8)
    said = sentences(runs(alpha=1.35, after=0.79, noise=alike), runs("none", 1, noise=alike))
    assert said[1] == "mp at ratio 10 costs 1.0 points of accuracy"
    assert said[-1] == "Gaps grow by 35 % in each of 8 networks"
    reversed_order = sentences(runs(alpha=-0.8, noise=alike), runs("none", 1, noise=alike))[-1]
    assert reversed_order == (
        "The order of the classes reverses in each of 8 networks and strong classes become the weak ones: the raw "
        "slope is -0.80, 1.80 below that of the control"
    )


def test_the_only_network_that_is_not_at_chance_has_no_interval():
    said = sentences(runs(alpha=1.5, after=np.array([0.8] + [0.5] * 7)), none())
    # 1.5 - .1, from 1 + .1.
    assert said[-1] == "Gaps grow by 30 % in the only network whose gaps can be compared"


def test_what_is_ruled_out_in_one_network_is_said_of_this_network():
    alike = [made_up_runs.runs("mnist", "lenet5", pruner, ratio, [1.0]) for pruner, ratio in (("mp", 10), ("none", 1))]
    for some in (alike, alike[:1]):
        study = StudyData(made_up_runs.study(*some), made_up_runs.predicted(*some))
        (bound,) = (each for each in verdict(study)[0].split(". ") if "ruled out" in each)
        assert bound.endswith("points is ruled out for all in this network")
    three = made_up_runs.runs("mnist", "lenet5", "mp", 10, [1.5] * 3)
    (line,) = verdict(StudyData(made_up_runs.study(three, alike[1]), made_up_runs.predicted(three, alike[1])))
    assert "points is ruled out for all in the one network that has a control. " in line
    assert line.endswith("Gaps grow by 50 % in the only network whose gaps can be compared.")


def test_a_letter_is_explained_where_it_is_used():
    gradual = runs(schedule="cubic", ramp="0.25", ramp_steps="2")
    other = runs("gp", schedule="cubic", ramp="0.5", ramp_steps="1", after=0.7)
    said = sentences(gradual, other, none(schedule="one-shot"))
    assert said[0].endswith("use mp A (cubic, ramp 0.25, ramp_steps 2) at ratio 10")


def test_every_data_set_and_model_has_a_line_of_at_most_seventy_five_words():
    settings = {"schedule": "cubic", "distill": "0.5"}
    cells = [
        runs("up", 20, 1.5, dataset=name, after=0.7, **params)
        for name in ("mnist", "cifar10")
        for params in ({"schedule": "one-shot", "distill": "0.0"}, settings)
    ]
    controls = [
        none(dataset=name, schedule="one-shot", distill=d) for name in ("mnist", "cifar10") for d in ("0.0", "0.5")
    ]
    *lines, _ = judged(*cells, *controls)
    assert [line.split()[1] for line in lines] == ["mnist", "cifar10"]
    assert max(len(line.split()) for line in lines) <= 75


def test_what_a_reader_has_to_know():
    assert to_know(runs()) == []
    assert ["`released`" in note for note in to_know(runs(protocol="released"))] == [True]
    released, signed = to_know(runs("up-signed", protocol="released"))
    assert "test loss" in released
    assert "`up-signed`" in signed


def test_number_formats_are_measured_from_the_dense_networks_and_never_lead():
    """The format that costs most is named. Half-widths are those of t, 2.365 times the standard error of the excess."""
    formats = [
        runs(name, 1, noise=SPREAD / 10, number_format=name, after=after)
        for name, after in (("float16", 0.8), ("fixed-int8", 0.797))
    ]
    pruned = runs(ratio=10, after=0.7, number_format="float32")
    said = sentences(pruned, none(number_format="float32"), *formats)
    assert said[1] == "mp at ratio 10 costs 10.0 points of accuracy (10.0 to 10.0)"
    assert said[-2] == (
        "fixed-int8 does worst of 2 number formats: it costs 0.3 points of accuracy (0.3 to 0.3), compared with "
        "the dense networks"
    )
    assert said[-1].startswith("No class is shown to lose more")
    of_three = sentences(pruned, none(number_format="float32"), formats[1].head(3))
    assert of_three[-2].startswith("In 3 networks, fixed-int8 costs 0.3 points of accuracy")


def test_of_number_formats_alone_the_worst_is_named():
    line, how_to_read = judged(runs("fixed-int8", 1, number_format="fixed-int8", after=0.797))
    assert line.startswith(
        "On mnist with lenet5 (8 networks), fixed-int8 costs 0.3 points of accuracy (0.3 to 0.3), compared with the "
        "dense networks. "
    )
    assert "control" not in line + how_to_read
    assert "fixed-int8 is weights and activations of 8 bits" in how_to_read


def test_a_number_format_with_two_settings_is_one_format():
    formats = [
        runs(name, 1, number_format=name, after=after, weight_decay=decay)
        for name, after in (("float16", 0.8), ("fixed-int8", 0.797))
        for decay in ("0.0005", "0.0")
    ]
    assert "does worst of 2 number formats" in judged(*formats)[0]


@pytest.mark.parametrize(
    "params",
    [
        {"start": "initialization", "schedule": "cubic"},
        {"start": "dense", "schedule": "one-shot", "fine_tune_epochs": "0"},
    ],
)
def test_networks_that_were_not_fine_tuned_are_compared_with_the_dense_ones(params):
    untuned = runs(noise=SPREAD / 10, after=0.798, **params)
    said = sentences(untuned, none(start="dense", schedule="one-shot", fine_tune_epochs="15"))
    assert "This method involves no fine-tuning, so it is compared with the dense networks" in said
    assert said[-1] == "This is safe, and no larger ratio is shown to be"
