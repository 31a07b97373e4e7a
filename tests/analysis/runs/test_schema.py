import pytest
from mlflow.utils.validation import _validate_metric_name

from analysis.runs import schema
from pruning_study.options.table import OPTIONS


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


def test_every_param_of_the_schema_is_declared():
    names = [name for name in vars(schema) if name.isupper()]
    start, end = names.index("DATASET"), names.index("NUMBER_FORMAT")
    options = {record.name for record in OPTIONS if record.param}
    options |= {*schema.FIXED, "regrow", "constraint_step"}  # runs log them, but they are no options any more
    assert {getattr(schema, name) for name in names[start : end + 1]} | options == schema.PARAM_ROLES.keys()


def test_details_follow_from_a_param_of_the_same_concern():
    assert schema.details(schema.SCHEDULE) == ["ramp", "ramp_steps", "regrow"]
    assert schema.details(schema.DISTILL) == ["temperature"]
    for declared in schema.PARAM_ROLES.values():
        if declared.detail_of:
            assert schema.role(declared.detail_of).concerns == declared.concerns


def test_a_param_that_the_schema_does_not_know_is_a_setting():
    assert schema.role("output") == schema.ParamRole("setting")
    assert [schema.role(name).role for name in ("seed", "weights_digest", "phases")] == ["seed", "seed", "consequence"]
