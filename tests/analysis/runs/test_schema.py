import pytest
from mlflow.utils.validation import _validate_metric_name

from analysis.runs import schema


def test_names_that_mlflow_takes_stay_as_they_are():
    assert schema.metric_names(["T-shirt/top", "Ankle boot", "7", "été"]) == ["T-shirt/top", "Ankle boot", "7", "été"]


def test_characters_that_mlflow_refuses_become_underscores():
    assert schema.metric_names(["cat (big)", "100%"]) == ["cat _big_", "100_"]


def test_a_collision_gets_the_index_appended():
    assert schema.metric_names(["a?", "b", "a!"]) == ["a_", "b", "a__2"]


@pytest.mark.parametrize(
    "name", ["..", ".", "", "/", "a//b", "../x", "a/", "/a", "a\nb", "x" * 300, "a\\b", "<html>", "日本?", " "]
)
def test_mlflow_takes_every_name(name):
    for prefix in (schema.RECALL, schema.SUPPORT, schema.BOTH_RIGHT):
        full = prefix + schema.metric_names([name])[0]
        _validate_metric_name(full)
        assert len(full) <= 250


def test_names_are_never_doubled():
    classes = ["a?", "a!", "a__1", "a*", "x" * 300, "x" * 301]
    assert len(set(schema.metric_names(classes))) == len(classes)
