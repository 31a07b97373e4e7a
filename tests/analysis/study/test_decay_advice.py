"""Advice to decay the learning rate, on controls whose largest excess loss and its floor are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.report.verdict import verdict
from analysis.study.decay_advice import control_movement, decay_advice
from analysis.study.study import StudyData
from tests import made_up_runs

# Recall of class b goes from .7 to .8 - .1 alpha, and the accuracy stays: it loses 4, 5, 6 and 5 points.
ALPHAS = np.array([1.4, 1.5, 1.6, 1.5])
CONSTANT = {"phases": "30x0.01"}


def control(alphas=ALPHAS, dataset="mnist", **params: str) -> pd.DataFrame:
    """Many images move only as far as recalls do, so that the floor is nearly 0."""
    made = made_up_runs.runs(dataset, "lenet5", "none", 1, alphas, **{**CONSTANT, **params})
    more = {f"support/{name}": 1e8 for name in "ab"}
    both = {
        f"both_right/{name}": made[[f"recall_{side}/{name}" for side in ("before", "after")]].min(axis=1)
        for name in "ab"
    }
    return made.assign(**more, **both)


def test_the_size_is_the_largest_excess_minus_its_floor():
    # The mean is 5 points; t of 3 degrees of freedom is 3.182, and the standard error .8165 / 2.
    found = control_movement(control())
    assert 100 * np.array(found) == pytest.approx([5, 5 - 3.182 * 0.8165 / 2, 5 + 3.182 * 0.8165 / 2], abs=0.01)


def test_noise_of_few_images_is_not_advised_against():
    # 100 images a class, of which .9 + .75 - 2 * .675 = .3 moved: 4 to 6 points are what such noise makes.
    assert decay_advice(made_up_runs.with_images(control())) == []


@pytest.mark.parametrize(
    "params",
    [
        {"decay": "cosine"},
        {"phases": "10x0.1 5x0.01 5x0.001"},
        {"phases": "5x0.001 10x0.01"},
    ],
)
def test_a_rate_that_changes_is_not_advised_against(params):
    assert decay_advice(control(**params)) == []


def test_a_rate_that_is_not_known_is_not_advised_against():
    assert decay_advice(control().drop(columns="params.phases")) == []


@pytest.mark.parametrize("alphas", [[1.5], [1.0, 1.01, 1.02, 1.03], [1.0, 1.5, 1.2, 1.0]])
def test_a_control_that_surely_moves_a_class_by_a_point_is_needed(alphas):
    assert decay_advice(control(np.array(alphas))) == []


def test_warm_up_is_no_decay_where_one_rate_is_written_twice():
    assert decay_advice(control(phases="10x0.01 20x0.01", decay="none"))


def test_mitigated_controls_do_not_count():
    assert decay_advice(control(class_offsets="equal-loss")) == []


def study() -> pd.DataFrame:
    pruned = control().assign(pruner="mp", ratio=10.0, run_id=[f"pruned {seed}" for seed in range(len(ALPHAS))])
    return made_up_runs.study(control(), pruned)


def test_the_verdict_ends_with_the_advice():
    line, *_ = verdict(StudyData(study()))
    (advice,) = decay_advice(study())
    assert line.endswith(advice)
    assert "--decay cosine" in advice
    assert "5.0 (3.7 to 6.3) points" in advice
