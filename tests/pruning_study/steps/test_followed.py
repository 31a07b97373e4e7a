import sys

import pytest
from mlflow.entities import Param, Run, RunData, RunInfo, RunTag

from pruning_study.options.config import CompressConfig, IterateConfig, PruneConfig, TrainConfig
from pruning_study.steps.followed import following, with_followed
from pruning_study.steps.plan import Settings, dense_training, training_params
from pruning_study.tracking.connect import connect
from pruning_study.training.recipes import RECIPES
from tests.error_lines import error_line, refused
from tests.stored_runs import runs


@pytest.fixture
def claimed(store_uri, run_command, tiny_npz, tmp_path, monkeypatch):
    """Return a function that claims a dense run with some params, and prunes it through the command line.

    It returns the command's last line, after it has checked that the command made no run and imported nothing: a
    module in the current folder leaves a file behind when it is imported.
    """
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path; Path('trace').touch(); from pruning_study.models.lenet import lenet5 as net"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".", str(tmp_path))])
    store = connect()

    def prune(params, *arguments, kind="dense", status="FINISHED", deleted=False):
        run_id = store.client.create_run(store.experiment_id, tags={"kind": kind}).info.run_id
        for name, value in params.items():
            store.client.log_param(run_id, name, value)
        if status != "RUNNING":
            store.client.set_terminated(run_id, status)
        if deleted:
            store.client.delete_run(run_id)
        before = len(runs(status=None))
        result = run_command("prune", "--dense-run-id", run_id, *arguments)
        assert result.exit_code == 2, result.output
        assert len(runs(status=None)) == before
        assert not (tmp_path / "trace").exists()
        line = error_line(result.output)
        assert line.startswith("error: ")
        assert line.isprintable()
        assert len(line) < 1000
        return line

    yield prune
    sys.modules.pop("planted", None)


@pytest.mark.attack
def test_a_dense_run_that_names_code_as_its_model__imports_nothing_and_says_which_option_to_type(claimed, tmp_path):
    path_before = list(sys.path)
    for name, shown in (
        ("planted:net", "planted:net"),
        ("os:system", "os:system"),
        ("planted", "package.module:factory"),
        ("planted:net\x1b[2J\nError: all is well", "package.module:factory"),
    ):
        line = claimed({"model": name, "dataset": "fashion-mnist-mini"})
        assert "--model" in line
        assert line.endswith(f"if you trust that code, type --model {shown}")
    assert sys.path == path_before


@pytest.mark.attack
def test_a_model_that_is_typed_and_is_not_that_of_the_dense_run__is_not_imported(claimed):
    line = claimed({"model": "os:system"}, "--model", "planted:net")
    assert "planted:net contradicts dense run" in line


@pytest.mark.attack
def test_a_precision_that_the_dense_run_has_not__is_a_usage_error_before_any_run(claimed):
    for params in ({}, {"precision": "float32"}):  # runs of earlier versions have no such param
        line = claimed(params, "--precision", "bf16")
        assert line.startswith("error: --precision: bf16 contradicts dense run")
        assert line.endswith("which has float32: leave this option out")


def test_the_precision_of_a_pruned_run_is_that_of_its_dense_run():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    for params, precision in (([], "float32"), ([Param("precision", "bf16")], "bf16")):
        dense = Run(info, RunData(params=params, tags=[RunTag("kind", "dense")]))
        assert following(PruneConfig(), dense).precision == precision


@pytest.mark.parametrize(
    ("params", "decay", "average_epochs"),
    [({}, "none", 0), ({"decay": "cosine"}, "cosine", 0), ({"decay": "none", "average_epochs": "7"}, "none", 7)],
    ids=["earlier", "decay", "average"],
)
def test_the_end_of_training_is_that_of_the_dense_run(params, decay, average_epochs):
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    dense = Run(info, RunData(params=[Param(*pair) for pair in params.items()], tags=[RunTag("kind", "dense")]))
    taken = following(PruneConfig(), dense)
    assert (taken.decay, taken.average_epochs) == (decay, average_epochs)
    with refused("decay", f"linear contradicts dense run ab, which has {decay}:"):
        following(PruneConfig(decay="linear", fine_tune_average_epochs=0), dense)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("rate", [None, 0.05])
def test_the_training_of_a_dense_run_is_followed_although_few_epochs_drop_the_recipes_first_phase(
    recipe, optimizer, rate
):
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    for epochs in range(1, 10):
        trained = TrainConfig(recipe=recipe, optimizer=optimizer, learning_rate=rate, epochs=epochs)
        params = training_params(trained, dense_training(trained), {})
        dense = Run(info, RunData(params=[Param(*pair) for pair in params.items()], tags=[RunTag("kind", "dense")]))
        for own in (PruneConfig(), PruneConfig(learning_rate=rate)):
            assert str(dense_training(following(own, dense))) == params["phases"]


def test_a_job_has_the_params_of_the_dense_run_that_it_names_and_its_learning_rate_as_it_was_typed():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    # In one epoch of this recipe, the rate of the second phase is used, ten times the first.
    params = {"recipe": "resnet-cifar", "seed": "2", "epochs": "1", "learning_rate": "0.1", "ratio": "9"}
    dense = Run(info, RunData(params=[Param(*pair) for pair in params.items()], tags=[RunTag("kind", "dense")]))
    typed = {"seed": "0", "epochs": "auto", "learning_rate": "auto", "decay": "none", "ratio": "10"}
    followed = {"seed": "2", "epochs": "1", "learning_rate": "0.01"}
    assert with_followed(typed, dense) == typed | followed
    assert with_followed(typed, None) == typed


def test_compress_averages_no_epochs_of_fine_tuning_if_those_of_the_dense_run_are_averaged():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    dense = Run(info, RunData(params=[Param("average_epochs", "7")], tags=[RunTag("kind", "dense")]))
    taken = following(CompressConfig().pruning, dense)
    assert taken.average_epochs == 7
    tuning = Settings.of(taken, dense_training(taken)).hyperparameters
    assert (tuning.decay, tuning.average_epochs) == ("cosine", 0)


def test_iterations_of_given_weights_may_end_as_the_options_say():
    info = RunInfo("ab", "0", "user", "FINISHED", 0, 1, "active")
    given = RunData(params=[Param("weights_digest", "0")], tags=[RunTag("kind", "dense")])
    assert following(IterateConfig(decay="linear"), Run(info, given)).decay == "linear"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"status": "FAILED"}, "is not a finished dense run (kind dense, FAILED)"),
        ({"status": "KILLED"}, "is not a finished dense run (kind dense, KILLED)"),
        ({"status": "RUNNING"}, "is not a finished dense run (kind dense, RUNNING)"),
        ({"deleted": True}, "is deleted: mlflow runs restore --run-id"),
        ({"kind": "report"}, "is not a finished dense run (kind report, FINISHED)"),
        ({"kind": "x" * 4000}, "is not a finished dense run (kind xxx"),
        ({"kind": "dense\x1b[2J"}, "is not a finished dense run (kind dense"),
    ],
    ids=["failed", "killed", "running", "deleted", "a report", "a long kind", "a kind with escapes"],
)
def test_a_dense_run_id_of_a_run_that_is_no_finished_dense_run__is_a_usage_error(claimed, run, message):
    assert message in claimed({}, **run)


@pytest.mark.attack
def test_a_dense_run_whose_params_are_no_values_of_options__is_a_usage_error_before_any_run(claimed):
    for params, message in (
        ({"seed": "abc"}, "its param seed: 'abc' is not a whole number"),
        ({"seed": "-1"}, "its param seed: -1 is below 0"),
        ({"weight_decay": "nan"}, "its param weight_decay: nan is not a finite number"),
        ({"epochs": "9" * 5000}, "its param epochs"),
        ({"recipe": "os:system"}, "its param recipe: 'os:system'"),
        ({"protocol": "\x1b[2J"}, "its param protocol"),
        ({"validation_fraction": "2"}, "its param validation_fraction"),
        ({"model": " "}, "its param model: is empty"),
    ):
        assert message in claimed(params)


@pytest.mark.attack
def test_a_dense_run_that_names_a_path_as_its_data_set__does_not_make_prune_read_it(claimed, tiny_npz):
    for path in (str(tiny_npz), "./tiny.npz", "../x", "/etc", "~/x", "x/", "..", "."):
        assert "names the path" in claimed({"dataset": path})
