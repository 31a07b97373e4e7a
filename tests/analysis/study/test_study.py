"""What the sections of a report share."""

import pandas as pd
import pytest

from analysis.study.study import AnalyzedStudy, notes
from tests import made_up_runs

RUNS = made_up_runs.study(
    *(
        made_up_runs.runs(dataset, "lenet5", "up", 2, [1.0, 1.1, 1.2], epsilon=epsilon)
        for dataset, epsilon in (("mnist", "0.1"), ("mnist", "0.2"), ("cifar10", "0.1"))
    )
)


def test_every_frame_is_worked_out_once():
    study = AnalyzedStudy(RUNS)
    assert study.alphas is study.alphas
    assert study.cells is study.cells


def test_frames_follow_from_the_runs_and_the_confidence():
    study = AnalyzedStudy(RUNS, confidence=0.9)
    assert study.datasets == ["mnist", "cifar10"]
    assert study.shown == ["params.epsilon"]
    assert study.alphas["alpha"].tolist() == pytest.approx([1.0, 1.1, 1.2] * 3)
    # One ratio is a family of its own.
    assert study.cells["confidence"].tolist() == pytest.approx([0.9] * 3)


def test_a_study_is_not_changed():
    with pytest.raises(AttributeError):
        AnalyzedStudy(RUNS).confidence = 0.5


def test_notes_stand_in_the_order_of_the_frames():
    one, two = pd.DataFrame(), pd.DataFrame()
    one.attrs = {"notes": ["b"], "left_out": ["a"]}
    two.attrs = {"notes": ["c", "d"]}
    assert notes(one, pd.DataFrame(), two) == ["a", "b", "c", "d"]
