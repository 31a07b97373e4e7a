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
    captions = [block.text for block in blocks if isinstance(block, Caption)]
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
    assert caption.endswith(
        " No class is shown to lose more than if every class's error had been multiplied by the same factor."
    )
    (axes,) = figures["class_losses"].axes
    ticks = axes.collections[-1].get_offsets()[:, 0]
    assert ticks.tolist() == pytest.approx([30, 10])


def test_a_class_that_takes_all_new_errors_is_named():
    _, (caption,), _ = losses(ALL_OF_ONE)  # a loses 40 in place of 10
    assert "a loses 30.0 points (" in caption
    assert caption.endswith(" more than if every class's error had been multiplied by the same factor.")


def test_the_growth_of_gaps_is_a_share_of_what_proportional_errors_give():
    cell = pd.Series(
        {"error_growth": 1.183, "proportionality": 0.93, "proportionality_low": 0.76, "proportionality_high": 1.1}
    )
    rows = pd.DataFrame({"class": ["a", "b", "c"], "disproportionate_p": [0.2, 0.01, 0.04]})
    rows = rows.assign(disproportionate=[0.03, 0.02, 0.01], disproportionate_low=0.005, disproportionate_high=0.035)
    rows = rows.assign(
        recall_control=[0.9, 0.8, 0.7],
        loss_from_control=rows["disproportionate"] + 0.183 * np.array([0.1, 0.2, 0.3]),
    )
    assert sentences(cell, rows, Pairs(8, 0)) == [
        "The error is 1.18 times that of the control. The change of the gaps between classes is 93 % (76 to 110) of "
        "the change that proportional errors would give; equal losses would give 0 %.",
        "b loses 2.0 points (0.5 to 3.5) more than if every class's error had been multiplied by the same factor, and "
        "so does another class.",
    ]


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
    assert caption.startswith(
        "The error is 2.50 times that of the control. The change of the gaps between classes is undefined, because "
        "every pair has a network at chance. a loses 25.0 points"
    )


def test_networks_without_a_control_do_not_count_in_the_growth_of_the_error():
    """Two networks have a control: 70 and 74 of their images are wrong, 40 of a control's."""
    _, (caption,), _ = losses([[20, 50], [21, 53], [90, 90], [90, 90]], controls=(CONTROLS.head(2),))
    assert caption.startswith("The error is 1.80 times that of the control")
    assert "at chance" not in caption


def test_if_nothing_is_lost_the_expectations_are_not_told_apart():
    _, (caption,), _ = losses([[10, 30], [11, 30], [9, 30], [10, 30]])
    assert "The error is 1.00 times that of the control: whether classes lose in proportion to their errors," in caption


def test_without_a_control_no_proportion_is_told():
    blocks, captions, figures = losses(IN_PROPORTION, controls=())
    assert EXPECTATIONS not in [block for block in blocks if isinstance(block, str)]
    assert captions == []
    assert "Black ticks" not in "".join(text.get_text() for text in figures["class_losses"].texts)
