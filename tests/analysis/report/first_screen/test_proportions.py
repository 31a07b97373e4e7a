"""What each class would lose in proportion, on two classes whose controls have 10 and 30 of 100 images wrong."""

import numpy as np
import pandas as pd
import pytest

from analysis.rendering.page import Caption, Picture
from analysis.report.first_screen import section
from analysis.report.first_screen.proportions import EXPECTATIONS, Pairs, sentences
from analysis.study.study import StudyData
from tests.made_up_runs import predicted, runs, study, with_images

CONTROLS = runs("toy", "net", "none", 1, [1.0] * 4)


def pruned(wrong):
    """Networks that have so many images of the two classes wrong."""
    first, second = (1 - np.asarray(wrong) / 100).T
    made = runs("toy", "net", "mp", 2, [1.0] * 4)
    recalls = {"recall_after/a": first, "recall_after/b": second, "accuracy_after": (first + second) / 2}
    return made.assign(**recalls)


def with_predictions(made):
    """Runs of networks that all have the first images of a class right, as `predicted` has it."""
    recalls = (np.minimum(made[f"recall_before/{name}"], made[f"recall_after/{name}"]) for name in "ab")
    return with_images(made).assign(**dict(zip(("both_right/a", "both_right/b"), recalls, strict=True)))


def losses(wrong, *, controls=(CONTROLS,)):
    """What the section on class losses says: its blocks, captions, and the figures by name."""
    made = [with_predictions(each) for each in (pruned(wrong), *controls)]
    blocks = section.class_losses(StudyData(study(*made), predicted(*made))).blocks
    captions = [block.text for block in blocks if isinstance(block, Caption) and block.text.startswith("The error")]
    return blocks, captions, {block.name: block.figure for block in blocks if isinstance(block, Picture)}


# Twice the errors: 20 and 60 wrong, give or take one.
IN_PROPORTION = [[20, 60], [21, 60], [19, 60], [20, 60]]
# As many errors in all, but those that are new are all of the first class.
ALL_OF_ONE = [[50, 30], [51, 30], [49, 30], [50, 30]]


def test_in_proportion_a_class_with_three_times_the_error_loses_three_times_as_much():
    blocks, captions, figures = losses(IN_PROPORTION)
    assert [block for block in blocks if isinstance(block, str)].count(EXPECTATIONS) == 1
    (caption,) = captions
    assert caption.startswith("The error is 2.00 times that of the control")
    assert "by class 2.00 (1.87 to 2.13; a) to 2.00 (2.00 to 2.00; b) times; these factors are not shown" in caption
    assert caption.endswith(" No class is shown to lose more than in proportion to its error.")
    (axes,) = figures["class_losses"].axes
    ticks = axes.collections[-1].get_offsets()[:, 0]
    assert ticks.tolist() == pytest.approx([30, 10])


def test_a_class_that_takes_all_new_errors_is_named():
    _, (caption,), _ = losses(ALL_OF_ONE)  # a loses 40 in place of 10
    assert "a loses 30.0 points (" in caption
    assert caption.endswith(" more than in proportion to its error.")


def test_the_growth_of_gaps_is_a_share_of_what_proportional_errors_give():
    ends = ("", "_low", "_high")
    share = dict(zip((f"proportionality{end}" for end in ends), (0.93, 0.76, 1.1), strict=True))
    cell = pd.Series({"equal_factors_p": 0.0002, **share})
    rows = pd.DataFrame({"class": ["a", "b", "c", "d"], "disproportionate_p": [0.2, 0.01, 0.04, 0.9]})
    rows = rows.assign(disproportionate=[0.03, 0.02, 0.01, 0], disproportionate_low=0.005, disproportionate_high=0.035)
    rows = rows.assign(
        recall_control=[0.9, 0.8, 0.7, 1],
        loss_from_control=rows["disproportionate"] + 0.183 * np.array([0.1, 0.2, 0.3, 0]),
    )
    for name, values in (("error_factor", [1.6, 1.2, 1.1, np.nan]), ("proportionality_without", [1, 0.9, 0.5, 0.93])):
        rows = rows.assign(**{f"{name}{end}": np.add(values, by) for end, by in zip(ends, (0, -0.1, 0.1), strict=True)})
    assert sentences(cell, rows, Pairs(8, 0)) == [
        "The error is 1.18 times that of the control, and by class 1.10 (1.00 to 1.20; c) to 1.60 (1.50 to 1.70; a) "
        "times; these factors differ (p <0.001).",
        "Without a factor, because no control misclassifies an image of it: d.",
        "The change of the gaps between classes is 93 % (76 to 110) of the change that proportional errors would give; "
        "equal losses would give 0 %.",
        "b loses 2.0 points (0.5 to 3.5) more than in proportion to its error, and so does another class.",
    ]
    assert sentences(cell, rows, Pairs(3, 0))[0].endswith(
        "; too few networks to test whether these factors differ, which takes 4."
    )


def test_networks_at_chance_count_in_the_growth_of_the_error_and_not_in_that_of_gaps():
    """The control has 40 images wrong, the networks 80, 82, 100 and 100: in proportion a class loses 1.2625 errors."""
    _, (caption,), figures = losses([[20, 60], [21, 61], [50, 50], [50, 50]])
    assert caption.startswith("The error is 2.26 times that of the control")
    assert "(without 2 pairs that have a network at chance)" in caption
    (axes,) = figures["class_losses"].axes
    ticks = axes.collections[-1].get_offsets()[:, 0]
    assert sorted(ticks) == pytest.approx([1.2625 * 10, 1.2625 * 30])


def test_where_all_networks_are_at_chance_only_the_growth_of_the_error_is_told():
    _, (caption,), _ = losses([[50, 50], [51, 49], [49, 51], [50, 50]])
    assert caption.startswith("The error is 2.50 times that of the control, and by class ")
    assert (
        " The change of the gaps between classes is undefined, because every pair has a network at chance. a loses 25.0"
    ) in caption


def test_networks_without_a_control_do_not_count_in_the_growth_of_the_error():
    """Two networks have a control: 70 and 74 of their images are wrong, 40 of a control's."""
    _, (caption,), _ = losses([[20, 50], [21, 53], [90, 90], [90, 90]], controls=(CONTROLS.head(2),))
    assert caption.startswith("The error is 1.80 times that of the control")
    assert "at chance" not in caption


def test_if_nothing_is_lost_the_expectations_are_not_told_apart():
    _, (caption,), _ = losses([[10, 30], [11, 30], [9, 30], [10, 30]])
    assert caption.startswith("The error is 1.00 times that of the control, ")
    assert "Whether classes lose in proportion to their errors, or all lose the same, cannot be told." in caption


def test_without_a_control_no_proportion_is_told():
    blocks, captions, figures = losses(IN_PROPORTION, controls=())
    assert EXPECTATIONS not in [block for block in blocks if isinstance(block, str)]
    assert captions == []
    assert "Black ticks" not in "".join(text.get_text() for text in figures["class_losses"].texts)


def test_the_class_table_has_precision_and_f1_beside_recall():
    """Half of the wrong images of a class are 10 or 30; a false one of a is a missed one of b."""
    blocks, _, _ = losses(IN_PROPORTION)
    (table,) = (block for block in blocks if isinstance(block, pd.DataFrame))
    assert table["class"].tolist() == ["b", "a"]
    b = table.iloc[0]
    # 70 of 80 images called b are b after training on (before), 40 of 60 after pruning: F1 140 / 180 and 80 / 160.
    assert (b["recall"], b["precision"]) == ("70.0 to 40.0", "87.5 to 66.7")
    assert b["F1 lost since dense"] == "27.8"
    assert b["factor"] == "2.00 (2.00 to 2.00)"
