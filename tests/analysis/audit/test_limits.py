"""Gates on what is ruled out."""

import re
from pathlib import Path

import click.testing
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models import MetricThreshold

from analysis import audit_predictions
from analysis.__main__ import cli
from analysis.common.errors import StudyError
from analysis.statistics.limits import in_points
from tests.error_lines import refused
from tests.stored_runs import empty_store


def predictions(lost, images=1000, classes=10):
    """Return labels and predictions, of which so many of each class's images are wrong."""
    label = np.repeat(np.arange(classes), images)
    place = np.tile(np.arange(images), classes)
    return label, np.where(place < np.repeat(lost, images), (label + 1) % classes, label)


def gate(lost, limits, images=1000):
    label, after = predictions(lost, images, len(lost))
    return audit_predictions(label, label, after).gate(in_points(*limits))


@pytest.mark.parametrize(
    ("lost", "limits", "state"),
    [
        ([10] * 10, (5, 2), "within"),
        ([10] * 10, (1.8, None), "within"),  # Tango's bound of 10 lost in 1,000 is 1.66 points
        ([10] * 10, (1.6, None), "undecided"),
        ([10] * 9 + [100], (5, None), "beyond"),
        ([10] * 10, (None, 0.5), "beyond"),  # 1 % of 10,000 images, at least 0.8
        ([0] * 10, (0, None), "undecided"),
        ([0] * 10, (0.2, None), "undecided"),  # 1.645^2 / (1,000 + 1.645^2) is .0027
        ([0] * 10, (0.3, None), "within"),
    ],
)
def test_bounds_decide(lost, limits, state):
    assert gate(lost, limits).state == state


def test_few_images_do_not_help_to_pass():
    # 2.7055 / (n + 2.7055) is .05 for n = 51.4.
    found = gate([0] * 10, (5, None), images=51)
    assert (found.state, "4 and 5 more" in found.reason) == ("undecided", True)
    assert gate([0] * 10, (5, None), images=52).state == "within"


def test_classes_with_few_images_are_left_out_if_asked():
    """Of class 1, which has three images, one is lost."""
    label = np.repeat([0, 1], [1000, 3])
    result = audit_predictions(label, label, np.where(np.arange(1003) == 1000, 0, label))
    limits = in_points(5, None)
    assert [result.gate(limits, min_images=images).state for images in (3, 4, 2000)] == [
        "undecided",
        "within",
        "undecided",
    ]


def test_images_that_would_decide_do_decide():
    found = gate([1] * 10, (3.2, None), images=100)
    assert found.state == "undecided"
    needed = int(re.search(r"([\d,]+) test images", found.reason)[1].replace(",", ""))
    states = [gate([round(0.001 * each)] * 10, (3.2, None), each // 10).state for each in (0.7 * needed, needed)]
    assert states == ["undecided", "within"]


def test_the_smallest_limit_that_is_kept_is_said():
    reason = gate([10] * 10, (1.5, None)).reason
    smallest = float(re.search(r"smallest limit shown to be kept is ([\d.]+) points", reason)[1])
    assert smallest == pytest.approx(1.7)
    assert gate([10] * 10, (smallest, None)).state == "within"


def networks_that_move(points, networks, images=1000):
    """Predictions of networks that lose 2 % of each class's images on average, and so many points more or less.

    Each takes lost images for another class, so that none is a copy of another.
    """
    lost = np.full((networks, 10), 0.02) + points * np.resize([-0.01, 0.01], (10, networks)).T
    label = predictions([0] * 10, images)[0]
    after = np.array([predictions((images * each).round().astype(int), images)[1] for each in lost])
    wrong = (label + 1 + np.arange(networks)[:, np.newaxis] % 9) % 10
    return np.where(after == label, label, wrong)


def of_networks(networks, limit, points=1):
    label, _ = predictions([0] * 10)
    before, after = np.array([label] * networks), networks_that_move(points, networks)
    return audit_predictions(label, before, after).gate(in_points(limit, None))


def test_networks_that_would_decide_do_decide():
    found = of_networks(4, 3.2)
    assert found.state == "undecided"
    needed = int(re.search(r"(\d+) networks would decide", found.reason)[1])
    assert of_networks(needed + needed % 2, 3.2).state == "within"  # of an odd number classes lose unlike


def test_no_number_of_networks_decides_where_the_images_leave_more_than_the_limit():
    """Each network loses the same 20 of 1,000 images, whose share may be 2.8 %."""
    for networks in (4, 40):
        found = of_networks(networks, 2.5, points=0)
        assert found.state == "undecided"
        assert "networks would decide" not in found.reason
        assert "test images in all would decide" in found.reason


def test_losses_since_the_control_need_several_pairs():
    label, after = predictions([10] * 10)
    limits = in_points(5, None)
    with pytest.raises(StudyError, match="need a control"):
        audit_predictions(label, label, after).gate(limits, limit_from="control")
    with pytest.raises(StudyError, match="need several networks"):
        audit_predictions(label, label, after, label).gate(limits, limit_from="control")


def test_losses_since_the_control_are_smaller_if_retraining_alone_loses_too():
    """All lose 10 to 12 % since the networks before, and 1 % since the control."""
    label, _ = predictions([0] * 10)
    control, after = (
        [np.where(predictions([lost + 10 * own] * 10)[1] == label, label, (label + 1 + own) % 10) for own in range(3)]
        for lost in (90, 100)
    )
    result = audit_predictions(label, [label] * 3, after, control)
    limits = in_points(5, None)
    states = [result.gate(limits, limit_from=side).state for side in ("before", "control")]
    assert states == ["beyond", "within"]


def test_a_limit_that_may_be_a_share_is_refused_with_both_readings():
    with pytest.raises(StudyError, match=r"0\.03 points, or 3 points if it is meant as a share"):
        in_points(0.03, None)
    assert in_points(0, 0.05)[:2] == (0, 0.0005)


@pytest.mark.parametrize(("limits", "option"), [((-1, None), "--max-class-loss"), ((5, 101), "--max-accuracy-loss")])
def test_a_limit_is_a_number_of_points(limits, option):
    with refused(option, "from 0 to 100"):
        in_points(*limits)


@pytest.fixture
def files(tmp_path, monkeypatch, blank_picture):
    monkeypatch.chdir(tmp_path)
    for name, lost in (("dense", [0] * 10), ("mild", [10] * 10), ("broken", [10] * 9 + [400])):
        label, predicted = predictions(lost)
        pd.DataFrame({"label": label, "predicted": predicted}).to_csv(tmp_path / f"{name}.csv", index=False)


@pytest.mark.parametrize(
    ("after", "options", "code"),
    [
        ("mild", ["--max-class-loss", "5", "--max-accuracy-loss", "2"], 0),
        ("mild", ["--max-class-loss", "1"], 4),
        ("mild", ["--max-class-loss", "5", "--min-images", "2000"], 4),
        ("broken", ["--max-class-loss", "5"], 3),
        ("broken", [], 0),
        ("mild", ["--fail-on-damage"], 3),
        ("mild", ["--max-class-loss", "5", "--fail-on-damage"], 3),
        ("mild", ["--fail-on-damage", "--min-images", "2000"], 0),
        ("mild", ["--max-class-loss", "auto"], 0),
        ("mild", ["--max-class-loss", "5", "--limit-from", "control"], 2),
        ("mild", ["--max-class-loss", "5", "--limit-from", "control", "--control", "dense.csv"], 2),
        ("mild", ["--max-class-loss", "-1"], 2),
        ("mild", ["--max-accuracy-loss", "101"], 2),
    ],
)
def test_exit_codes(files, after, options, code):
    given = ["audit", "--before", "dense.csv", "--after", f"{after}.csv", *options]
    result = click.testing.CliRunner().invoke(cli, given)
    assert result.exit_code == code
    assert result.output.count("exit code") == (code in (3, 4))
    assert Path("audit").exists() == (code != 2)


@pytest.mark.usefixtures("blank_picture")
def test_upper_bounds_on_a_run_are_a_gate_of_mlflow(tmp_path):
    mlflow.set_tracking_uri(empty_store(tmp_path / "mlflow.db"))
    experiment = MlflowClient().create_experiment("gate", artifact_location=(tmp_path / "artifacts").as_uri())
    label, after = predictions([10] * 10)
    with mlflow.start_run(experiment_id=experiment):
        evaluated = mlflow.models.evaluate(
            data=pd.DataFrame({"label": label, "predicted": after}),
            targets="label",
            predictions="predicted",
            model_type="classifier",
            evaluators="pruning-audit",
            evaluator_config={"baseline_predictions": label},
        )
    mlflow.set_tracking_uri(None)
    assert evaluated.metrics["worst_class_loss_upper"] == pytest.approx(0.0166, abs=1e-4)
    assert 0.0117 < evaluated.metrics["accuracy_loss_upper"] < 0.0119
    limit = {"worst_class_loss_upper": MetricThreshold(threshold=0.05, greater_is_better=False)}
    mlflow.validate_evaluation_results(validation_thresholds=limit, candidate_result=evaluated)
    limit = {"worst_class_loss_upper": MetricThreshold(threshold=0.015, greater_is_better=False)}
    with pytest.raises(mlflow.models.evaluation.validation.ModelValidationFailedException):
        mlflow.validate_evaluation_results(validation_thresholds=limit, candidate_result=evaluated)
