"""The entry points of MLproject, by the command line that MLflow itself makes of parameters."""

import shlex
from pathlib import Path

import click
import pytest
from click.core import ParameterSource
from mlflow.projects._project_spec import load_project

from analysis.__main__ import cli as analysis
from pruning_study.__main__ import cli as pruning_study

GROUPS = {"pruning_study": pruning_study, "analysis": analysis}
PROJECT = load_project(str(Path(__file__).parents[1]))
REQUIRED = {
    "export": {"run_id": "abc"},
    "tally": {"sheets": "anna.csv,ben.csv", "key": "key.csv"},
    "audit": {"before": "before.csv", "after": "after.csv"},
    "offsets": {"before": "before.npz", "after": "after.npz"},
}
# A value of each option that takes neither a number, a flag nor any word.
VALUES = {
    "class_fractions": "cat=0.5",
    "class_offsets": "dense",
    "class_weights": "dense",
    "constraint": "ceag",
    "corruptions": "fog",
    "constraint_images": "validation",
    "control": "none",
    "data_quotas": "recall",
    "decay": "cosine",
    "device": "cpu",
    "engine": "torch",
    "fine_tune_decay": "cosine",
    "format": "onnx",
    "gradient_mode": "eval",
    "gradient_objective": "data",
    "kept_epoch": "last",
    "limit_from": "control",
    "minimize": "latency",
    "number_format": "float16",
    "objective": "alpha",
    "optimizer": "adam",
    "performance_weighted": "0.5,1",
    "precision": "bf16",
    "protocol": "released",
    "pruner": "up",
    "quantization": "after-training",
    "recipe": "resnet-cifar",
    "regularizer": "l1",
    "schedule": "cubic",
    "scope": "layer",
    "start": "initialization",
    "weight_treatment": "rewind",
    "setting": "schedule=cubic",
    "variance": "pooled",
}
ENTRY_POINTS = list(PROJECT._entry_points)


def called(entry_point, **given):
    """Return the command and its context, parsed as MLflow calls it."""
    line = PROJECT.get_entry_point(entry_point).compute_command({**REQUIRED.get(entry_point, {}), **given}, None)
    python, module, program, name, *arguments = shlex.split(line)
    assert (python, module) == ("python", "-m")
    command = GROUPS[program].commands[name]
    return command, GROUPS[program].commands[name].make_context(name, arguments, parent=group_context(program))


def group_context(program):
    return click.Context(GROUPS[program], **GROUPS[program].context_settings)


@pytest.mark.parametrize("entry_point", [name for name in ENTRY_POINTS if name not in REQUIRED])
def test_parameters_have_the_defaults_of_the_command(entry_point):
    command, context = called(entry_point)
    bare = command.make_context(command.name, [], parent=context.parent) if entry_point != "study" else context
    arguments = {param.name for param in command.params if isinstance(param, click.Argument)}
    assert {name: value for name, value in context.params.items() if name not in arguments} == {
        name: value for name, value in bare.params.items() if name not in arguments
    }


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_option_of_the_command_is_a_parameter(entry_point):
    command, _ = called(entry_point)
    for option in (param for param in command.params if isinstance(param, click.Option)):
        key = option.opts[0].removeprefix("--").replace("-", "_")
        context = with_some_value(entry_point, key)
        assert context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE, key


def with_some_value(entry_point, key):
    for value in [VALUES[key]] if key in VALUES else ["0.37", "3", "true", "some words"]:
        try:
            return called(entry_point, **{key: value})[1]
        except click.BadParameter as error:
            refusal = error
    raise refusal


def test_flags_and_lists_are_passed_on():
    _, context = called("prune", force="true", ratio="2,4", seed="0-4", class_fractions="cat=0.5,dog=0.1")
    assert [context.params[name] for name in ("force", "ratio", "seed", "class_fractions")] == [
        *(True, "2,4", "0-4"),
        "cat=0.5,dog=0.1",
    ]
    assert called("prune", force="false")[1].params["force"] is False
    assert called("quantize", run_ids="abc,def")[1].params["run_ids"] == ("abc", "def")
    assert called("verify", study="results/proportion", seed="3")[1].params["study"] == Path("results/proportion")


def test_auto_is_as_if_not_given():
    assert called("prune", epsilon="auto", force="auto")[1].params == called("prune")[1].params


def test_a_mistyped_parameter_is_refused_with_the_likely_one():
    with pytest.raises(click.NoSuchOption, match="prunner"):
        called("prune", prunner="up")
