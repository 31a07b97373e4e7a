"""MLflow's evaluator: what mlflow.models.evaluate logs of models and of predictions."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from analysis.audit import audit
from analysis.audit.evaluator import classes
from analysis.common.errors import StudyError
from tests.stored_runs import empty_store

# Ten classes of 50 images; class 9 loses thirty of them.
LABEL = np.repeat(np.arange(10), 50)
AFTER = np.where(np.arange(500) < 470, LABEL, 0)


@pytest.fixture(scope="module")
def experiment_id(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    mlflow.set_tracking_uri(empty_store(folder / "mlflow.db"))
    yield MlflowClient().create_experiment("evaluated", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(None)


def evaluate(experiment_id, config, **what):
    with mlflow.start_run(experiment_id=experiment_id) as run:
        result = mlflow.models.evaluate(
            targets="label", model_type="classifier", evaluators="pruning-audit", evaluator_config=config, **what
        )
    return result, MlflowClient().get_run(run.info.run_id)


def test_predictions_and_a_model_have_the_audit_of_plain_arrays_on_the_run(experiment_id):
    expected = audit.audit_predictions(LABEL, LABEL, AFTER, LABEL)
    assert expected.damaged == ["9"]
    config = {"baseline_predictions": LABEL, "control_predictions": LABEL}
    stored = pd.DataFrame({"label": LABEL, "predicted": AFTER})
    images = pd.DataFrame({"pixel": AFTER.astype(float), "label": LABEL})

    def model(images):
        return np.eye(10)[images["pixel"].astype(int)]  # scores

    for what in ({"data": stored, "predictions": "predicted"}, {"model": model, "data": images}):
        result, run = evaluate(experiment_id, config, **what)
        assert result.metrics["damaged_classes"] == run.data.metrics["damaged_classes"] == 1
        assert run.data.metrics["worst_class_loss"] == pytest.approx(0.6)
        assert run.data.metrics["worst_class_loss_upper"] == expected.comparison.losses().mean.upper().max()
        assert run.data.metrics["accuracy_after"] == pytest.approx(0.94)
        assert "exit_code" not in run.data.metrics
        assert (run.data.tags["worst_class"], run.data.tags["outcome"]) == ("9", "9 is worse (60.0 points)")
        files = {file.path for file in MlflowClient().list_artifacts(run.info.run_id, "audit")}
        assert files == {f"audit/{name}" for name in ("audit.csv", "audit.md", "audit.png", "metrics.csv")}
        assert result.artifacts["audit.csv"].content["recall_after"].tolist()[0] == pytest.approx(0.4)
        assert result.artifacts["audit.png"].content.size[0] > 100


@pytest.mark.usefixtures("blank_picture")
def test_of_a_network_that_names_one_class_losses_are_logged_and_no_slopes(experiment_id):
    data = pd.DataFrame({"label": LABEL, "predicted": np.zeros_like(LABEL)})
    _, run = evaluate(experiment_id, {"baseline_predictions": LABEL}, data=data, predictions="predicted")
    assert {"alpha", "raw_slope"}.isdisjoint(run.data.metrics)
    assert (run.data.metrics["fails_on_damage"], run.data.metrics["worst_class_loss"]) == (1, 1)
    assert run.data.tags["outcome"] == "9 classes are worse, 1 most (100.0 points)"


@pytest.mark.usefixtures("blank_picture")
def test_names_groups_and_prefix(experiment_id):
    config = {
        "baseline_predictions": LABEL,
        "groups": np.where(LABEL == 9, "night", "day"),
        "metric_prefix": "int8_",
    }
    _, run = evaluate(
        experiment_id, config, data=pd.DataFrame({"label": LABEL, "predicted": AFTER}), predictions="predicted"
    )
    assert run.data.tags["int8_worst_class"] == "night"
    assert run.data.metrics["int8_fails_on_damage"] == 1


@pytest.mark.usefixtures("blank_picture")
@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_class_loss": 5}, 3), ({"max_class_loss": 70}, 4), ({"max_class_loss": 80, "max_accuracy_loss": 10}, 0)],
)
def test_limits_give_the_exit_code_of_the_command(experiment_id, limits, code):
    """Of 50 images of class 9 thirty are lost, so it loses at least 40 and at most 71 points."""
    data = pd.DataFrame({"label": LABEL, "predicted": AFTER})
    config = {"baseline_predictions": LABEL, **limits}
    result, run = evaluate(experiment_id, config, data=data, predictions="predicted")
    assert run.data.metrics["exit_code"] == code
    assert f"Limit {limits['max_class_loss']} points: " in result.artifacts["audit.md"].content


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"baseline_predictions": LABEL, "baselines": LABEL}, "'baselines' is unknown; pruning-audit accepts baseline"),
        ({"baseline_predictions": LABEL[:9]}, "before has shape"),
        ({"control_predictions": LABEL}, 'pruning-audit needs evaluator_config={"baseline_predictions": before}'),
        ({"baseline": LABEL}, "'baseline' is unknown; pruning-audit accepts baseline_predictions"),
        ({"baseline_predictions": LABEL, "max_class_loss": 0.03}, "3 points if it is meant as a share"),
    ],
)
def test_what_is_wrong_with_the_configuration_is_said(experiment_id, config, message):
    with pytest.raises(StudyError, match=message):
        evaluate(
            experiment_id, config, data=pd.DataFrame({"label": LABEL, "predicted": AFTER}), predictions="predicted"
        )


def test_without_a_baseline_it_does_not_take_part_and_says_so(experiment_id, caplog):
    with pytest.raises(mlflow.MlflowException, match="could not be evaluated by any"):
        evaluate(experiment_id, {}, data=pd.DataFrame({"label": LABEL, "predicted": AFTER}), predictions="predicted")
    assert "pruning-audit is skipped: it needs evaluator_config=" in caplog.text


@pytest.mark.parametrize(
    "returned",
    [
        [1, 0],
        pd.Series([1, 0], index=[7, 8]),
        pd.DataFrame({"class": [1, 0]}),
        pd.DataFrame({"class": [1, 0], "score": [0.9, 0.8]}),
        {"class": [1, 0], "score": [0.9, 0.8]},
        np.array([[0.2, 0.8], [0.9, 0.1]]),
        pd.DataFrame([[0.2, 0.8], [0.9, 0.1]]),
    ],
)
def test_classes_of_what_a_model_returns(returned):
    several = isinstance(returned, dict) or (isinstance(returned, pd.DataFrame) and "score" in returned)
    assert classes(returned, "class" if several else None).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("columns", "labels", "expected"),
    [
        ([1, 0], [0, 1], [1, 0]),
        (["1", "0"], [0, 1], [1, 0]),
        ([1, 0], ["1", "0"], ["1", "0"]),
        ([1, 0], pd.Series([0.0, 1.0], index=[7, 8]), [1.0, 0.0]),
        (["dog", "cat"], ["cat", "dog", "dog"], ["dog", "cat"]),
        (["dog", "cat"], [0, 1], [0, 1]),  # no label has these names, so positions count
        ([1, 2], [0, 1], [0, 1]),
        ([1, 0], [0, 1, 7], [1, 0]),
    ],
)
def test_columns_of_scores_that_have_the_names_of_labels_are_these_classes(columns, labels, expected):
    scores = pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], columns=columns)
    found = classes(scores, labels=labels if isinstance(labels, pd.Series) else np.array(labels))
    assert found.tolist() == expected
    assert classes(dict(scores), labels=np.array(labels)).tolist() == expected


def test_columns_named_false_and_true_are_these_classes():
    found = classes(pd.DataFrame({True: [0.9, 0.1], False: [0.1, 0.9]}), labels=np.array([True, False]))
    assert found.tolist() == [True, False]
    assert found.dtype == bool


@pytest.mark.parametrize(
    ("columns", "labels", "expected"),
    [
        ([0, 9, 8, 5], [0, 8, 9], [9, 8, 5]),
        (["0", "9", "8", "5"], [0, 8, 9], [9, 8, 5]),
        ([0, 9, 8, 5], ["0", "8", "9"], ["9", "8", "5"]),
        (["cat", "hen", "dog", "cow"], ["cat", "dog", "hen"], ["hen", "dog", "cow"]),
    ],
)
def test_a_column_of_scores_whose_class_has_no_image_is_the_class_in_its_name(columns, labels, expected):
    scores = pd.DataFrame(np.eye(4)[1:], columns=columns)
    assert classes(scores, labels=np.array(labels)).tolist() == expected


def test_columns_that_are_no_scores_are_refused_with_what_to_name():
    frame = pd.DataFrame({"label": ["cat", "dog"], "score": [0.9, 0.8]})
    with pytest.raises(StudyError, match=r"columns label, score, .* not the scores of all .* by predictions=<column>"):
        classes(frame, labels=np.array(["cat", "dog"]))


@pytest.mark.parametrize(
    ("columns", "labels"), [(["Label", "score"], [0, 1]), (["p", "q"], [0, 9]), (["p", "q"], [-1, 0])]
)
def test_numbers_that_are_no_scores_of_the_classes_are_refused(columns, labels):
    with pytest.raises(StudyError, match=f"columns {', '.join(columns)}, which are not the scores of all classes"):
        classes(pd.DataFrame([[0, 0.9], [1, 0.8]], columns=columns), labels=np.array(labels))


def test_eleven_columns_without_names_for_ten_classes_are_refused():
    with pytest.raises(StudyError, match=r"columns 0, 1, .* which are not the scores of all classes"):
        classes(np.eye(11)[:10], labels=np.arange(10))
    assert classes(np.eye(10)[[0, 9]], labels=np.array([0, 9])).tolist() == [0, 9]


def test_the_first_image_without_scores_is_named():
    with pytest.raises(StudyError, match="the scores of image 2 contain NaN"):
        classes(np.array([[0.1, 0.9], [np.nan, 0.9], [np.nan, np.nan]]))
    with pytest.raises(StudyError, match="the scores of image 1 contain NaN or infinity"):
        classes(np.array([[np.inf, 0.9], [0.1, 0.9]]))
    assert classes(np.array([[-np.inf, 0.9]])).tolist() == [1]  # the logit of an excluded class
