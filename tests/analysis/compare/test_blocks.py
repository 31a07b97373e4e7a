"""The answers to both questions, of made-up networks."""

import numpy as np
import pytest

from analysis.compare import blocks
from analysis.compare.comparison import Comparison
from analysis.statistics.limits import Limits
from tests.analysis.compare.test_comparison import CLASSES, LABEL, network

DENSE, PRUNED = network(90, 80), network(90, 40)


def compared(*sides, networks=1, **more):
    """Compare networks before, after and perhaps of a control, each repeated."""
    right = dict(zip(("before", "after", "control"), (np.repeat(each, networks, 0) for each in sides), strict=False))
    return Comparison(CLASSES, LABEL, right, **more)


def answers(comparison, *gated):
    """Return the lines of both blocks, each as one text."""
    return [" ".join(block.lines) for block in blocks.blocks(comparison, *gated)]


def test_one_network_is_asked_first_what_it_lost():
    first, second = answers(compared(DENSE, PRUNED))
    assert "dog is worse: 80.0 -> 40.0 % recall, 40.0 points lost (" in first
    # Tango's bound without a change is 1.645^2 / (100 + 1.645^2) = 2.63 %, rounded up.
    assert "No other class is shown to be worse. Any may have lost up to 2.7 points" in first
    assert "Accuracy 85.0 -> 65.0 %: 20.0 points lost (" in first
    assert second.startswith("No control was given")


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (network(90, 40), "lost 40.0 of the 40.0 points. In this network retraining alone lost as much."),
        (network(90, 70), "lost 10.0 of the 40.0 points."),
        (network(90, 85), "lost nothing of it."),
    ],
)
def test_one_network_with_a_control_is_told_what_retraining_alone_lost(control, said):
    _, second = answers(compared(DENSE, PRUNED, control))
    assert said in second
    assert "through pruning" not in second
    assert "(--seed 0-4)" in second


def test_several_pairs_with_controls_say_what_is_lost_through_pruning():
    first, second = answers(compared(DENSE, PRUNED, network(90, 78), networks=3))
    assert "dog is worse" in first
    assert "through pruning" not in first
    assert "dog loses 38.0 points (" in second
    assert "through pruning, 19.0 points (" in second  # of a loss of accuracy of 19 points
    _, alike = answers(compared(DENSE, PRUNED, network(90, 40), networks=3))
    assert "a loss through pruning is not shown" in alike


@pytest.mark.parametrize("networks", [1, 3])
def test_where_nothing_was_retrained_compression_alone_did_it(networks):
    right = {"before": DENSE, "after": np.repeat(PRUNED, networks, 0), "control": np.repeat(DENSE, networks, 0)}
    _, second = answers(Comparison(CLASSES, LABEL, right))
    assert second.startswith("Nothing was retrained")


def test_classes_that_all_gain_may_not_have_lost_anything():
    first, _ = answers(compared(network(50, 50), network(90, 90)))
    assert "Any may have lost up to 0.0 points" in first


def test_gates_stand_below_the_question_that_they_ask():
    comparison, limits = compared(DENSE, PRUNED, DENSE, networks=2), Limits(class_loss=0.05)
    for side in ("before", "control"):
        gates = comparison.gates(limits, limit_from=side) | {"--fail-on-damage": comparison.damage_gate()}
        first, second = answers(comparison, limits, gates, side)
        assert ("Limit 5 points: FAILS (exit code 3)." in first) == (side == "before")
        assert ("Limit 5 points: FAILS (exit code 3)." in second) == (side == "control")
        assert "--fail-on-damage: FAILS (exit code 3). Damaged: dog." in first


def test_the_exit_code_stands_only_with_the_gates_that_give_it():
    comparison, limits = compared(DENSE, PRUNED), Limits(class_loss=0.05, accuracy_loss=0.2)
    first, _ = answers(comparison, limits, comparison.gates(limits))
    assert "Limit 20 points of accuracy: NOT DECIDED. " in first
    assert first.count("exit code") == 1


def test_names_have_no_markup():
    names = ["<b>cat</b>", "*dog*"]
    asked = blocks.blocks(Comparison(names, LABEL, {"before": DENSE, "after": PRUNED}))
    assert r"\*dog\* is worse" in blocks.markdown_text(asked)
    asked = blocks.blocks(Comparison(names, LABEL, {"before": network(80, 80), "after": network(40, 80)}))
    assert "<p>&lt;b&gt;cat&lt;/b&gt; is worse" in blocks.html_text(asked)
    assert "<b>" not in blocks.html_table(compared(DENSE, PRUNED))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (DENSE, "no class shown to be worse"),
        (PRUNED, "dog is worse (40.0 points)"),
        (network(20, 40), "2 classes are worse, cat most (70.0 points)"),
    ],
)
def test_the_outcome_is_a_phrase(after, said):
    assert blocks.outcome(compared(DENSE, after)) == said
