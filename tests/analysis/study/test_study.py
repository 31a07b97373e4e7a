"""What the sections of a report share."""

import pandas as pd
import pytest

from analysis.runs import primaries, robustness, validation_counts
from analysis.runs.primaries import Primary
from analysis.study.study import ReportOptions, StudyData, notes
from tests import made_up_levels, made_up_runs
from tests.error_lines import refused

RUNS = made_up_runs.study(
    *(
        made_up_runs.runs(dataset, "lenet5", "up", 2, [1.0, 1.1, 1.2], epsilon=epsilon)
        for dataset, epsilon in (("mnist", "0.1"), ("mnist", "0.2"), ("cifar10", "0.1"))
    )
)


def test_every_frame_is_worked_out_once():
    study = StudyData(RUNS)
    assert study.alphas is study.alphas
    assert study.cells is study.cells


def test_frames_follow_from_the_runs_and_the_confidence():
    study = StudyData(RUNS, options=ReportOptions(confidence=0.9))
    assert study.datasets == ["mnist", "cifar10"]
    assert study.shown == ["params.epsilon"]
    assert study.alphas["alpha"].tolist() == pytest.approx([1.0, 1.1, 1.2] * 3)
    # One ratio is a family of its own.
    assert study.cells["confidence"].tolist() == pytest.approx([0.9] * 3)


def test_what_a_study_has_comes_back_from_the_folder_it_was_exported_to(tmp_path):
    runs = made_up_levels.runs()
    run_id = runs["run_id"].iloc[0]
    images = pd.DataFrame({"label": [3], "images": 10, "right": 7})
    measured = pd.DataFrame(
        {
            "corruption": ["fog"],
            "severity": 2,
            "class": "cat",
            "support": 10,
            "right": 4,
            "right_top5": 9,
            "measured": "x",
        }
    )
    artifacts = {
        "primary.json": {"a": primaries.described([Primary("mp", "none", 10.0, ("accuracy",))], "a study").encode()},
        "corruptions.csv": {run_id: robustness.TABLE.as_csv(measured)},
        "validation_counts.csv": {run_id: validation_counts.TABLE.as_csv(images)},
    }
    made = StudyData._with_artifacts(made_up_runs.whole(runs), lambda run_ids: {}, artifacts)
    assert made.primaries == [Primary("mp", "none", 10.0, ("accuracy",))]
    assert (len(made.corrupted), len(made.characteristics), len(made.validation)) == (1, 0, 1)
    assert sorted(map(str, made.export(tmp_path))) == [
        "artifacts/a/primary.json",
        f"artifacts/{run_id}/corruptions.csv",
        f"artifacts/{run_id}/validation_counts.csv",
        "runs.parquet",
    ]
    read = StudyData.from_frames([tmp_path])
    assert read.primaries == made.primaries
    for name in ("runs", "dense_runs", "corrupted", "characteristics", "validation"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(made, name))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"confidence": 1.0}, "confidence"),
        ({"min_accuracy": 2.0}, "min_accuracy"),
        ({"fairness_value": -1.0}, "fairness_value"),
    ],
)
def test_an_option_out_of_range_is_named(options, named):
    with refused(named):
        ReportOptions(**options)


def test_notes_stand_in_the_order_of_the_frames():
    one, two = pd.DataFrame(), pd.DataFrame()
    one.attrs = {"notes": ["b"], "left_out": ["a"]}
    two.attrs = {"notes": ["c", "d"]}
    assert notes(one, pd.DataFrame(), two) == ["a", "b", "c", "d"]
