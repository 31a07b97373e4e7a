"""Gates on what is ruled out."""

import re

import click.testing
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models import MetricThreshold
from scipy import stats

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


def gate(lost, limits, images=1000, control=True):
    label, after = predictions(lost, images, len(lost))
    return audit_predictions(label, label, after, label if control else None).gate(in_points(*limits))


@pytest.mark.parametrize(
    ("lost", "limits", "state"),
    [
        ([10] * 10, (5, 2), "within"),  # 1 % of the images of each class, at most 2.2 for all ten together
        ([10] * 10, (2.1, None), "undecided"),
        ([10] * 9 + [100], (5, None), "beyond"),
        ([10] * 10, (None, 0.5), "beyond"),  # 1 % of 10,000 images, at least 0.8
        ([0] * 10, (0, None), "undecided"),
        ([0] * 10, (0.5, None), "undecided"),  # .9947 ** 1000 is .005, a tenth of 5 %
        ([0] * 10, (0.6, None), "within"),
    ],
)
def test_bounds_decide(lost, limits, state):
    assert gate(lost, limits).state == state


def test_few_images_do_not_help_to_pass():
    found = gate([0] * 10, (5, None), images=20)
    assert found.state == "undecided"
    # .95 ** 103 is .0051 and .95 ** 104 is .0048, a tenth of 5 % for each of ten classes.
    assert gate([0] * 10, (5, None), images=103).state == "undecided"
    assert gate([0] * 10, (5, None), images=104).state == "within"


def test_one_network_without_a_control_never_passes_and_a_gross_loss_fails():
    found = gate([0] * 10, (5, None), control=False)
    assert (found.state, "--control" in found.reason) == ("undecided", True)
    assert gate([0] * 9 + [100], (5, None), control=False).state == "undecided"
    assert gate([0] * 9 + [400], (5, None), control=False).state == "beyond"


def test_images_that_would_decide_are_worked_out():
    # One network that was not retrained: 1 % lost of 100 images has half an interval of 4.4 by Tango, and of 5.9 with
    # the level of ten classes. Half the distance to the limit takes four times the images: (5.9 / 2.2)^2 is 7.2.
    near, far = (gate([1] * 10, (points, None), images=100).reason for points in (3.2, 2.1))
    needed = [
        int(re.search(r"([\d,]+) images of each class would show", said)[1].replace(",", "")) for said in (near, far)
    ]
    assert needed[0] == pytest.approx(720, rel=0.1)
    assert needed[1] == pytest.approx(2880, rel=0.1)


def test_the_spread_of_a_class_that_loses_everything_is_that_of_its_lower_bound():
    """The upper end of the interval is 1, the loss itself; the lower end is joint for two classes."""
    label, after = predictions([1, 0], 1, 2)
    row = audit_predictions(label, label, after, label).losses.set_index("name").loc["0"]
    assert (row["loss"], row["low"] < 0.9) == (1, True)
    assert row["over_images"] ** 0.5 * stats.norm.isf(0.025 / 2) == pytest.approx(1 - row["low"])


def test_images_of_each_class_are_not_those_of_all_classes():
    """The accuracy needs fewer images of each class than the classes do, so it changes nothing."""
    alone, both = (gate([8] * 10, limits).reason for limits in ((1.25, None), (1.25, 0.95)))
    needed = [re.search(r"([\d,]+) images of each class would show", said)[1] for said in (alone, both)]
    assert needed[0] == needed[1]


def networks_that_move(points, networks, images=1000):
    """Predictions of networks that lose 2 % of each class's images on average, and so many points more or less.

    Each takes lost images for another class, so that none is a copy of another.
    """
    lost = np.full((networks, 10), 0.02) + points * np.resize([-0.01, 0.01], (10, networks)).T
    label = predictions([0] * 10, images)[0]
    after = np.array([predictions((images * each).round().astype(int), images)[1] for each in lost])
    wrong = (label + 1 + np.arange(networks)[:, np.newaxis] % 9) % 10
    return np.where(after == label, label, wrong)


def test_networks_that_would_decide_do_decide():
    label, _ = predictions([0] * 10)
    limits = in_points(3.3, None)
    found = audit_predictions(label, np.array([label] * 4), networks_that_move(1, 4), np.array([label] * 4)).gate(
        limits
    )
    assert found.state == "undecided"
    needed = int(re.search(r"(\d+) networks a side", found.reason)[1])
    more = networks_that_move(1, needed)
    assert audit_predictions(label, np.array([label] * needed), more, np.array([label] * needed)).gate(
        limits
    ).state == ("within")


def test_no_number_of_networks_decides_where_the_images_leave_more_than_the_limit():
    """1,000 images of which each network loses 10 to 30 leave 3.2 points: more networks do not change that."""
    label, _ = predictions([0] * 10)
    for networks in (4, 40):
        sides = np.array([label] * networks), networks_that_move(1, networks), np.array([label] * networks)
        found = audit_predictions(label, *sides).gate(in_points(3, None))
        assert found.state == "undecided"
        assert "networks a side" not in found.reason


def test_a_retrained_network_says_that_several_are_needed():
    label, after = predictions([10] * 10)
    _, control = predictions([5] * 10)
    assert "Give several networks" in audit_predictions(label, label, after, control).gate(in_points(1, None)).reason


def test_two_classes_and_a_class_that_does_not_vary_have_bounds():
    label, _ = predictions([0, 0], classes=2)
    after = np.array([predictions([lost, 0], classes=2)[1] for lost in (10, 20, 30)])
    result = audit_predictions(label, np.array([label] * 3), after, np.array([label] * 3))
    found = result.losses.set_index("name")
    # t for two degrees of freedom is 4.303; the standard error is .01 / sqrt(3).
    assert found["high"]["0"] == pytest.approx(0.02 + 4.303 * 0.01 / 3**0.5, abs=0.002)
    assert 0 < found["high"]["1"] < 0.01
    assert any("only its own variance over networks" in note for note in result.notes)


def test_classes_that_are_always_right_do_not_count_among_the_ten():
    lost = np.array([[10, 30, 20, 40, 10, 20, 30, 10, 40, 20], [30, 10, 40, 20, 20, 10, 40, 30, 20, 30]])
    plain, enough = lost.copy(), lost
    plain[:, 0] = 0
    label, _ = predictions(lost[0])
    dense = np.array([label] * 2)
    for losses in (plain, enough):
        after = np.array([predictions(each)[1] for each in losses])
        result = audit_predictions(label, dense, after, dense)
        assert any("only its own variance over networks" in note for note in result.notes) == (losses is plain)
        # Two networks have one degree of freedom; those of the other classes are more.
        assert (result.losses["dof"][1:].max() > 1) == (losses is enough)


def test_no_loss_is_written_with_a_sign():
    assert "the loss of 0, 0.0 points" in gate([0] * 10, (5, None)).reason


@pytest.mark.parametrize(("limits", "name"), [((5, None), "0"), ((None, 5), "accuracy")])
def test_a_loss_that_is_surely_below_0_is_a_gain(limits, name):
    """A tenth of the images of two classes becomes right."""
    label, before = predictions([100, 100], classes=2)
    reason = audit_predictions(label, before, label, before).gate(in_points(*limits)).reason
    assert reason == f"Within the limits: {name} surely gains (10.0 points; limit: a loss of 5)."


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
        ("broken", ["--max-class-loss", "5"], 3),
        ("broken", [], 0),
        ("mild", ["--fail-on-damage"], 3),
        ("mild", ["--max-class-loss", "5", "--fail-on-damage"], 3),
        ("mild", ["--max-class-loss", "auto"], 0),
        ("mild", ["--max-class-loss", "-1"], 2),
        ("mild", ["--max-accuracy-loss", "101"], 2),
    ],
)
def test_exit_codes(files, after, options, code):
    given = ["audit", "--before", "dense.csv", "--after", f"{after}.csv", "--control", "dense.csv", *options]
    assert click.testing.CliRunner().invoke(cli, given).exit_code == code


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
            evaluator_config={"baseline_predictions": label, "control_predictions": label},
        )
    mlflow.set_tracking_uri(None)
    assert 0.02 < evaluated.metrics["worst_class_loss_upper"] < 0.025
    assert 0.01 < evaluated.metrics["accuracy_loss_upper"] < 0.0125
    limit = {"worst_class_loss_upper": MetricThreshold(threshold=0.05, greater_is_better=False)}
    mlflow.validate_evaluation_results(validation_thresholds=limit, candidate_result=evaluated)
    limit = {"worst_class_loss_upper": MetricThreshold(threshold=0.02, greater_is_better=False)}
    with pytest.raises(mlflow.models.evaluation.validation.ModelValidationFailedException):
        mlflow.validate_evaluation_results(validation_thresholds=limit, candidate_result=evaluated)
