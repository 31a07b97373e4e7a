"""Runs of several commands in one experiment, as everything lands in `Default`: no analysis ends in a traceback."""

import os
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.__main__ import cli
from tests.blank_figures import leave_undrawn
from tests.made_up_experiments import COMMANDS, Experiment

ITERATE, QUANTIZE = "iterate --pruner l1-unstructured", "quantize"
FOLDER, OWN, COLORED = "prune --dataset FOLDER --image-size 32", "of one's own", "of one's own, with a param"
ANALYSES = (
    ("recommend",),
    ("recommend", "--fairness-value", "10", "--max-class-loss", "10"),
    ("report", "--paper", "true"),
    ("compare",),
    ("export", "--output", "study.zip"),
    ("report", "--frames", "study.zip", "--output", "of_frames"),
)


@pytest.fixture
def analysed(store_uri, tmp_path, monkeypatch):
    """Return a function that logs what some commands log, runs an analysis of it, and returns what that prints."""
    leave_undrawn(monkeypatch)
    logged: list[str] = []

    def run(commands: tuple[str, ...], *arguments: str) -> str:
        name = f"{os.environ['MLFLOW_EXPERIMENT_NAME']} made up"
        if not logged:
            experiment = Experiment(store_uri, name, tmp_path / "artifacts")
            for command in commands:
                COMMANDS[command](experiment)
            logged.extend(commands)
        result = CliRunner().invoke(cli, [*arguments, *(() if "--frames" in arguments else ("--experiment", name))])
        # An error in one line is an answer, such as that there is nothing to recommend from; a traceback is none.
        assert isinstance(result.exception, SystemExit | None), (commands, arguments, result.exc_info)
        assert result.exit_code == 0 or "error: " in result.output
        return result.output

    return run


@pytest.mark.slow
def test_quantized_networks_beside_iterations_have_a_report_and_a_trade_off(analysed):
    """The iterations have one augmentation, and the quantized networks another: `KeyError: 'params.augmentation'`."""
    analysed((ITERATE, QUANTIZE), "report", "--paper", "true")
    pareto = pd.read_csv("report/pareto.csv")
    assert pareto["pruner"].value_counts().to_dict() == {"l1-unstructured": 2, "dense": 1}
    assert pareto["networks"].tolist() == [3, 3, 3]


@pytest.mark.slow
def test_another_data_set_beside_iterations_has_a_recommendation(analysed):
    """Both data sets are told apart by params that one of them lacks: `KeyError: ['params.scope'] not in index`."""
    printed = analysed((ITERATE, FOLDER), "recommend")
    assert "On fashion-mnist-mini with lenet5" in " ".join(printed.split())
    assert "On pics with lenet5" in " ".join(printed.split())
    assert "The trade-off was chosen on validation images." in printed


@pytest.mark.slow
def test_a_param_of_ones_own_leaves_the_report_as_it_is(analysed):
    """One network has the param, and no class of it is tested: `trying to merge on float64 and str columns`."""
    analysed((QUANTIZE, OWN, COLORED), "report", "--paper", "true")
    cells = pd.read_csv("report/cells.csv")
    own = cells[cells["dataset"] == "pets"]
    assert own[["pruner", "n", "n_none"]].to_numpy().tolist() == [["mp", 3, 3], ["mp", 3, 3], ["none", 3, 0]]
    assert "params.color" not in cells
    formats = pd.read_csv("report/number_formats.csv")
    assert formats["n"].tolist() == [3, 3, 3]
    assert formats[["method", "model_bytes"]].notna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands",
    [
        ("prune", QUANTIZE, COLORED),
        ("prune --class-offsets dense", "iterate --weight-treatment rewind", OWN),
        ("prune; quantize RUN_ID", "prune --weight-bits 4", FOLDER),
    ],
    ids="; ".join,
)
def test_every_analysis_of_three_commands_ends_without_a_traceback(analysed, commands):
    for arguments in ANALYSES:
        analysed(commands, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("commands", [*pairwise([*COMMANDS, *COMMANDS][: len(COMMANDS) + 1])], ids="; ".join)
def test_every_analysis_of_two_commands_ends_without_a_traceback(analysed, commands):
    for arguments in ANALYSES:
        analysed(commands, *arguments)


REAL = {
    "prune": (("prune", "--pruner", "mp", "--ratio", "2,4", "--seed", "0,1"),),
    "prune --pruner none": (("prune", "--pruner", "none", "--seed", "0,1"),),
    "iterate": (("iterate", "--pruner", "l1-unstructured", "--iterations", "3", "--seed", "0,1"),),
    "quantize": (("quantize",),),
}


@pytest.mark.slow
@pytest.mark.onnx
@pytest.mark.parametrize("commands", [[*REAL], ["iterate", "quantize"]], ids="; ".join)
def test_every_analysis_of_real_runs_ends_without_a_traceback(run_command, tiny_npz, store_uri, monkeypatch, commands):
    leave_undrawn(monkeypatch)
    further = {
        "prune": ("--epochs", 2, "--batch-size", 32, "--fine-tune-epochs", 1),
        "iterate": ("--epochs", 2, "--batch-size", 32),
        "quantize": ("--epochs", 2),
    }
    for command in commands:
        for arguments in REAL[command]:
            result = run_command(*arguments, "--dataset", tiny_npz, *further[arguments[0]])
            assert result.exit_code == 0, result.output
    for arguments in ANALYSES:
        result = CliRunner().invoke(cli, list(arguments))
        assert isinstance(result.exception, SystemExit | None), (commands, arguments, result.exc_info)
    assert Path("study.zip").is_file()
