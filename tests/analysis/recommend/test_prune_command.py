"""The command that makes a cell: its options by hand, and that it asks for the very runs of the cell."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from analysis.recommend import prune_command as module
from analysis.recommend import recommend, result
from analysis.recommend.prune_command import prune_command
from analysis.runs import frames, pull, schema
from analysis.runs.options import names
from analysis.runs.options.values import seeds
from pruning_study.__main__ import cli
from pruning_study.data import datasets
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.options.protocols import PROTOCOLS
from pruning_study.steps.resolved import (
    dense_training,
    fine_tuning,
    pruning_params,
    pruning_times,
    training_params,
)
from pruning_study.training.recipes import RECIPES


@pytest.fixture(autouse=True)
def own_store(store_uri):
    """No test reads another store."""


def cell(params, seed_list=(0,)):
    named = {frames.column(name): value for name, value in params.items()}
    return pd.DataFrame([{**named, "seed": seed, "run_id": "0" * 32, "dense_run_id": "d" * 32} for seed in seed_list])


def test_what_is_the_default_is_left_out():
    run = {"dataset": "mnist", "model": "lenet5", "pruner": "mp", "ratio": 4.0, "fine_tune_epochs": "15"}
    start = "pruning-study prune --dataset mnist --model lenet5 --pruner mp --ratio 4"
    assert prune_command(cell(run)) == f"{start} --seed 0"
    given = {"fine_tune_epochs": "0", "fine_tune_learning_rate": np.nan, "image_shape": "1x32x32", "ramp": "0.5"}
    assert prune_command(cell(run | given, (2, 1, 0)), "ours") == (
        f"{start} --fine-tune-epochs 0 --image-size 32 --seed 0-2 --experiment ours"
    )
    assert prune_command(cell(run | {"schedule": "cubic", "ramp": "0.25", "gradient_batches": "all"}, (5, 1))) == (
        f"{start} --schedule cubic --ramp 0.25 --seed 1,5"
    )


def test_a_scope_that_is_not_the_pruners_own_is_named():
    def scope(pruner, logged):
        command = prune_command(cell({"dataset": "mnist", "pruner": pruner, "ratio": 4.0, "scope": logged}))
        return command.partition("--scope ")[2].partition(" ")[0]

    assert (scope("mp", "global"), scope("mp", "layer")) == ("", "layer")
    assert (scope("l1-unstructured", "global"), scope("l1-unstructured", "layer")) == ("global", "")


def test_networks_from_files_are_named_by_their_run_and_those_pruned_twice_have_no_command():
    run = {"dataset": "mnist", "model": "lenet5", "pruner": "mp", "ratio": 4.0, "weights_digest": "ab"}
    assert prune_command(cell(run)).endswith(f"--ratio 4 --dense-run-id {'d' * 32}")
    assert prune_command(cell({**run, "iteration": "2"})) == ""


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("data/my_set.npz", "my-set"),
        ("data/my-set.npz", "my-set"),
        ("data/pets", "data/pets"),
        ("data/mnist", "data/mnist"),
        ("mnist.npz", "mnist.npz"),
    ],
)
def test_a_data_set_is_named_by_its_path_unless_the_name_means_the_same_file(path, typed):
    Path(path).mkdir(parents=True)
    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    logged = Dataset(datasets.dataset_name(path), run_id, "local", json.dumps({"uri": path}))
    client.log_inputs(run_id, [DatasetInput(logged)])
    run = {"dataset": logged.name, "model": "lenet5", "pruner": "mp", "ratio": 4.0}
    assert prune_command(cell(run).assign(run_id=run_id)).startswith(f"pruning-study prune --dataset {typed} --model")


def test_a_level_of_iterative_pruning_is_the_last_iteration_of_its_command():
    run = {"dataset": "mnist", "model": "lenet5", "recipe": "prune-responsibly", "pruner": "l1-structured"}
    run |= {"ratio": 1.9, "iteration": "3", "keep": "0.8", "weight_treatment": "finetune", "scope": "layer"}
    run |= {"validation_fraction": "0.2", "fine_tune_epochs": "30", "epochs": "30", "batch_size": "32"}
    start = "pruning-study iterate --dataset mnist --model lenet5"
    assert prune_command(cell(run, (0, 1))) == f"{start} --pruner l1-structured --iterations 4 --seed 0,1"
    other = {"keep": "0.5", "weight_treatment": "rewind", "epochs": "2", "validation_fraction": "0.1"}
    assert prune_command(cell({**run, **other})) == (
        f"{start} --validation-fraction 0.1 --epochs 2 --pruner l1-structured --keep 0.5 --weight-treatment rewind "
        "--iterations 4 --seed 0"
    )


@pytest.mark.attack
def test_a_shell_command_in_the_param_of_a_foreign_run__is_quoted_in_the_command_that_is_recommended():
    run = {"pruner": "mp; rm -rf ~", "ratio": 2.0, "epsilon": "$(reboot)", "weight_decay": "`reboot`"}
    command = prune_command(cell(run), "'; reboot")
    assert shlex.split(command) == [
        *("pruning-study", "prune", "--weight-decay", "`reboot`", "--pruner", "mp; rm -rf ~", "--ratio", "2"),
        *("--epsilon", "$(reboot)", "--seed", "0", "--experiment", "'; reboot"),
    ]


def test_what_the_command_knows_of_protocols_and_data_sets():
    assert {name: getattr(PROTOCOLS["paper"], name) for name in module.PAPER_DEFAULTS} == module.PAPER_DEFAULTS
    assert tuple(PROTOCOLS) == names.PROTOCOLS
    assert set(module.SIDES) == {datasets.MINI, *datasets.DOWNLOADABLE}


def some(**choices):
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in choices.items()})


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    some(
        model=["lenet5", "resnet20", "wrn16-4"],
        recipe=list(RECIPES),
        protocol=["paper", "released"],
        epochs=[1, 3, 30, 60],
        batch_size=[32, 128, 256],
        learning_rate=[0.01, 0.02],
        momentum=[0, 0.9],
        weight_decay=[0, 5e-4, 1e-3],
        validation_fraction=[0.1, 0.2],
        precision=["float32", "bf16"],
    ),
    some(
        pruner=["mp", "gp", "up", "up-signed", "rp"],
        ratio=[(2,), (10,), (2.5,)],
        scope=["global", "layer"],
        epsilon=[0, 5e-4, 1e-3],
        gradient_objective=["regularized", "data"],
        gradient_batches=[1, 7],
        gradient_mode=["eval", "train"],
        fine_tune_epochs=[1, 6, 15, 25],
        fine_tune_learning_rate=[0.01, 0.1],
        prune_output_layer=[True, False],
        schedule=["one-shot", "cubic"],
        ramp=[0, 0.25, 0.5],
        ramp_steps=[1, 2],
        regrow=[True, False],
        distill=[0, 0.5, 1],
        temperature=[2, 4],
    ),
)
def test_the_command_asks_for_the_settings_of_the_run(training, pruning):
    assert_asks_for(PruneConfig(**training, **pruning))


@pytest.mark.parametrize("regrow", [None, True, False])
@pytest.mark.parametrize("options", [{}, {"begin": 100, "end": 0.5, "frequency": 7}, {"pruner": "none"}])
def test_the_command_of_a_network_that_is_pruned_while_it_is_trained(options, regrow):
    assert_asks_for(PruneConfig(start="initialization", epochs=3, regrow=regrow, **options))


@pytest.mark.parametrize("options", [{}, {"begin": 100, "frequency": 7}, {"scope": "layer"}, {"pruner": "none"}])
@pytest.mark.parametrize("schedule", ["set", "rigl"])
def test_the_command_of_a_network_that_is_sparse_from_the_start(schedule, options):
    assert_asks_for(PruneConfig(schedule=schedule, epochs=3, **options))


@pytest.mark.parametrize("regularizer", ["l1", "elastic", "decoupled"])
def test_the_command_names_the_regularizer(regularizer):
    assert_asks_for(PruneConfig(regularizer=regularizer, weight_decay=0.001))


@pytest.mark.parametrize("quantization", ["while-training", "after-training"])
def test_the_command_says_how_weights_are_quantized(quantization):
    assert_asks_for(PruneConfig(weight_bits=4, quantization=quantization))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learning_rate": 0.01, "fine_tune_learning_rate": 0.01},  # what the recipe has for SGD
        {"recipe": "prune-responsibly", "momentum": 0.0},
        {"model": "resnet20", "epochs": 2},
    ],
)
def test_the_command_names_the_optimizer_and_its_rates(options):
    assert_asks_for(PruneConfig(optimizer="adam", **options))


@pytest.mark.parametrize(
    "options",
    [
        {"decay": "cosine"},
        {"decay": "cosine", "fine_tune_decay": "none"},
        {"fine_tune_decay": "linear", "kept_epoch": "best"},
        {"average_epochs": 7},
        {"average_epochs": 7, "fine_tune_average_epochs": 0},
        {"fine_tune_average_epochs": 3, "kept_epoch": "last"},
        {"start": "initialization", "average_epochs": 5},
    ],
)
def test_the_command_says_how_training_and_fine_tuning_end(options):
    assert_asks_for(PruneConfig(**options))


def assert_asks_for(config):
    def params(config):
        training = fine_tuning(config)
        steps = pruning_times(config, training, 54_000)
        pruned = pruning_params(config, training, config.ratio[0], 1, steps)
        return {**training_params(config, {"dataset": config.dataset}), **pruned}

    wanted = params(config)
    command = prune_command(cell({**wanted, "ratio": float(wanted["ratio"])}))
    assert params(PruneConfig(**parsed(command))) == wanted


@settings(max_examples=50, deadline=None)
@given(
    some(
        model=["lenet5", "resnet20"],
        recipe=["prune-responsibly", "lenet5", "resnet-cifar"],
        epochs=[1, 30],
        batch_size=[32, 128],
        learning_rate=[0.01, 0.02],
        momentum=[0, 0.9],
        weight_decay=[0, 5e-4],
        validation_fraction=[0.1, 0.2],
        pruner=["mp", "l1-structured", "up"],
        iterations=[2, 5],
        keep=[0.5, 0.8],
        weight_treatment=["finetune", "rewind"],
        prune_output_layer=[True, False],
        epsilon=[1e-3],
    )
)
def test_the_command_asks_for_the_settings_of_a_level(options):
    def params(config):
        return {
            **training_params(config, {"dataset": config.dataset}),
            **pruning_params(config.pruning, dense_training(config), 2.0, config.iterations - 1),
            "keep": schema.text(config.keep),
            "weight_treatment": config.weight_treatment,
        }

    wanted = params(IterateConfig(**options))
    assert params(IterateConfig(**parsed(prune_command(cell({**wanted, "ratio": 2.0}))))) == wanted


def parsed(command):
    program, name, *arguments = shlex.split(command)
    assert program == "pruning-study"
    return cli.commands[name].make_context(name, arguments, parent=cli.make_context(program, [name])).params


def test_the_command_that_is_recommended_finds_the_cell(run_command, tiny_npz, request):
    typed = "--epochs 2 --fine-tune-epochs 1 --batch-size 32 --learning-rate 0.05 --validation-fraction 0.3"
    distilled = (
        "--seed 3,5 --pruner up --ratio 2 --epsilon 0.001 --distill 0.5 --temperature 3 --prune-output-layer true"
    )
    options = shlex.split(f"{typed} {distilled}")
    assert run_command("prune", "--dataset", tiny_npz, *options).exit_code == 0
    (found,) = recommend.recommend_ratio(request.node.name, max_accuracy_loss=None, max_class_loss=None)
    lines = result.summary(found).splitlines()
    (line,) = [line for line in lines if line.startswith("pruning-study prune")]
    for option in ("--distill 0.5", "--temperature 3.0", "--epsilon 0.001", "--seed 3,5", f"--dataset {tiny_npz}"):
        assert option in line
    before = pull.pull_runs(request.node.name)
    output = run_command(*shlex.split(line)[1:]).output
    assert output.count("(already made") == 6, output
    assert list(pull.pull_runs(request.node.name)["run_id"]) == list(before["run_id"])
    assert seeds("3,5") == tuple(before["seed"][before["pruner"] == "up"])
    assert len(MlflowClient().search_runs([pull.experiment_id(request.node.name)], "tags.kind = 'pruned'")) == 4
