"""`quantize` and `export` from end to end: what their runs hold, what is found again, and what is refused."""

import re
import shlex
import sys

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

import pruning_study
from analysis.common.errors import StudyError
from tests.pruning_study.steps.test_logged_model import models_of, scored
from tests.stored_runs import artifact, runs

FORMATS = ["float16", "dynamic-int8", "fixed-int8"]
LATENCIES = [f"latency_ms/{what}{end}" for what in ("one", "batch") for end in ("", "_low", "_high")]
DISTORTION = ["alpha", "raw_slope", "val_alpha", "val_raw_slope", "largest_excess", "largest_excess_floor"]
LOSSES = ["worst_class_loss", "worst_class_loss_upper", "accuracy_loss_upper"]
METRICS = {"test_accuracy", "test_loss", "realized_ratio", "duration_seconds", "model_bytes"}
METRICS |= {*DISTORTION, *LATENCIES, *LOSSES}
ARTIFACTS = {"model.onnx", "predictions.npz", "val_predictions.npz", "per_class.csv", "confusion.csv"}
ARTIFACTS |= {"recall_balance.png", "flipped.png", "confusion.png", "confusion_change.csv"}


@pytest.fixture
def command(run_command, tiny_npz, store_uri):
    def run(name, *arguments):
        result = run_command(name, *arguments, "--dataset", tiny_npz)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def refused(run_command, store_uri):
    def run(*arguments):
        result = run_command(*arguments)
        assert result.exit_code != 0
        (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
        return line

    return run


def predicted(run):
    with np.load(artifact(run, "predictions.npz")) as predictions:
        return predictions["predicted"].tolist()


@pytest.mark.parametrize("arguments", [("quantize",), ("export", "0" * 32)])
def test_without_the_extra_is_one_line_before_anything_is_made(refused, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = refused(*arguments)
    assert "this command needs" in line
    assert "pip install 'pruning-study[onnx]'" in line
    assert not runs(status=None)


@pytest.mark.parametrize("named", ["0" * 32, "--all"])
def test_several_seeds_of_runs_that_exist_are_refused(refused, named):
    assert "--seed: runs have seeds already: name no run and leave out --all" in refused(
        "quantize", named, "--seed", "0-2"
    )


def test_several_seeds_of_given_weights_are_refused(refused):
    line = refused("quantize", "--weights", "w.safetensors", "--seed", "0,1")
    assert "--seed: --weights names one network: give one seed, or leave --weights out" in line
    assert not runs(status=None)


def test_a_folder_in_place_of_a_file_is_refused_before_anything_is_read(refused, tmp_path):
    assert f"--output: {tmp_path} is a folder" in refused("export", "0" * 32, "--output", tmp_path)
    assert not runs(status=None)


@pytest.mark.onnx
class TestQuantize:
    def test_of_the_dense_network_makes_a_run_of_each_format_which_is_found_afterwards(self, command, tiny_npz, tiny):
        output = command("quantize", "--epochs", 1)
        (dense,), made = runs("dense"), runs("quantized")
        assert [run.data.params["number_format"] for run in made] == FORMATS
        for run in made:
            assert run.data.params == dense.data.params | {"number_format": run.data.params["number_format"]}
            tags, metrics = run.data.tags, run.data.metrics
            assert (tags["parent_run_id"], tags["dense_run_id"]) == (dense.info.run_id, dense.info.run_id)
            assert (tags["engine"], tags["device"]) == ("onnxruntime", "cpu")
            assert run.info.run_name == dense.info.run_name.replace("dense", run.data.params["number_format"])
            assert {
                name for name in metrics if name.split("/")[0] not in ("recall", "support", "both_right")
            } == METRICS
            assert len([name for name in metrics if name.startswith("both_right/")]) == 10
            assert metrics["realized_ratio"] == 1
            assert metrics["latency_ms/one_low"] <= metrics["latency_ms/one"] <= metrics["latency_ms/one_high"]
            assert {path.name for path in artifact(run, "").iterdir()} == ARTIFACTS
            assert metrics["model_bytes"] == artifact(run, "model.onnx").stat().st_size
            assert {"worst_class", "outcome"} <= tags.keys()
            assert f"-> {100 * metrics['test_accuracy']:.1f} %: " in output
        assert output.count("Nothing was retrained: the control is the network before.") == 3
        assert predicted(made[0]) == predicted(dense)
        (job,) = runs("job")
        assert job.data.tags["quantized_run_ids"].split(",") == [run.info.run_id for run in made]
        assert "(already made" not in output
        again = command("quantize", "--epochs", 1, "--number-format", "fixed-int8,float16")
        assert again.count("(already made; --force makes it again)") == 3  # the dense network and two formats
        assert len(runs("quantized")) == 3
        with pytest.raises(StudyError, match=r"is quantized: .* use its artifact model.onnx"):
            pruning_study.load_model(made[0].info.run_id)

    def test_of_a_pruned_run_has_its_params_and_makes_the_same_again(self, command):
        command("prune", "--ratio", 4, "--epochs", 1, "--fine-tune-epochs", 0)
        (dense,), (pruned,) = runs("dense"), runs("pruned")
        for force in ("false", "true"):
            command("quantize", pruned.info.run_id, "--number-format", "dynamic-int8,fixed-int8", "--force", force)
        made = runs("quantized")
        assert [run.data.params["number_format"] for run in made] == 2 * ["dynamic-int8", "fixed-int8"]
        for run in made:
            assert run.data.params == pruned.data.params | {"number_format": run.data.params["number_format"]}
            assert run.data.tags["parent_run_id"] == pruned.info.run_id
            assert run.data.tags["dense_run_id"] == dense.info.run_id
            assert run.data.metrics["realized_ratio"] == pruned.data.metrics["realized_ratio"]
            assert run.data.metrics["test_accuracy"] == pytest.approx(pruned.data.metrics["test_accuracy"], abs=0.05)
        assert [predicted(run) for run in made[:2]] == [predicted(run) for run in made[2:]]

    def test_of_all_dense_networks_goes_on_after_one_that_cannot_be_quantized(self, run_command, command, tiny_npz):
        command("train", "--seed", "0-2", "--epochs", 1)
        first, second, third = runs("dense")
        artifact(second, "checkpoint.safetensors").write_bytes(b"damaged")
        result = run_command("quantize", "--all", "--dataset", tiny_npz, "--number-format", "fixed-int8")
        made = runs("quantized")
        assert [run.data.tags["dense_run_id"] for run in made] == [first.info.run_id, third.info.run_id]
        assert result.exit_code == 1
        assert "error: 1 of 3 networks were not quantized" in result.output
        assert "[3/3]" in result.output
        assert "mean of 2 networks" in result.output
        jobs = [run.data.params for run in runs("job", status=None) if "number_format" in run.data.params]
        made_of = [(params["dataset"], params["seed"], params["epochs"]) for params in jobs]
        assert made_of == [("tiny", "0", "1"), ("tiny", "1", "1"), ("tiny", "2", "1")]
        before, after = (
            100 * np.mean([run.data.metrics["test_accuracy"] for run in side]) for side in ((first, third), made)
        )
        assert "Networks compressed like these" in result.output
        assert f"Accuracy {before:.1f} -> {after:.1f} %: " in result.output

    def test_with_one_network_left_has_no_means(self, run_command, command, tiny_npz):
        command("train", "--seed", "0,1", "--epochs", 1)
        artifact(runs("dense")[1], "checkpoint.safetensors").write_bytes(b"damaged")
        result = run_command("quantize", "--all", "--dataset", tiny_npz, "--number-format", "float16")
        assert "error: 1 of 2 networks were not quantized" in result.output
        assert "mean of" not in result.output

    def test_copies_of_a_network_are_one_network(self, command):
        command("train", "--epochs", 1)
        (trained,) = runs("dense")
        command("train", "--seed", "1,2", "--weights", artifact(trained, "checkpoint.safetensors"))
        MlflowClient().delete_run(trained.info.run_id)
        copies = [run.info.run_id for run in runs("dense")]
        means = command("quantize", *copies, "--number-format", "float16")
        assert "Networks compressed like these" not in means  # they are one network
        assert "mean of" not in command("quantize", "--all", "--number-format", "float16")

    def test_a_run_of_another_kind_and_one_that_is_not_finished_are_one_line(self, refused, command):
        command("train", "--epochs", 1)
        (job,), (dense,) = runs("job"), runs("dense")
        assert f"run {job.info.run_id} is not a finished dense or pruned run (kind job" in refused(
            "quantize", job.info.run_id
        )
        assert "--dataset" in refused("quantize", dense.info.run_id)  # it names no data set of its own
        assert "--all: it quantizes every dense network" in refused("quantize", dense.info.run_id, "--all")
        MlflowClient().update_run(dense.info.run_id, "RUNNING")
        assert "is not a finished dense or pruned run (kind dense, RUNNING)" in refused("quantize", dense.info.run_id)
        assert "--all: the experiment has no finished dense run" in refused("quantize", "--all")
        MlflowClient().update_run(dense.info.run_id, "FINISHED")
        MlflowClient().delete_run(dense.info.run_id)
        assert "is deleted: mlflow runs restore" in refused("quantize", dense.info.run_id)

    def test_a_weight_that_float16_does_not_have_is_one_line(self, refused, command, tiny_npz, tmp_path):
        from safetensors.torch import load_file, save_file

        command("train", "--epochs", 1)
        weights = load_file(artifact(runs("dense")[0], "checkpoint.safetensors"))
        weights["fc1.weight"][0, 0] = 1e6
        save_file(weights, tmp_path / "large.safetensors")
        line = refused("quantize", "--dataset", tiny_npz, "--weights", tmp_path / "large.safetensors")
        assert "holds a weight outside -65,504 to 65,504" in line
        assert not runs("quantized", status=None)


@pytest.mark.onnx
class TestExport:
    def test_of_a_pruned_run_is_served_without_pickle_and_written_to_a_file(self, command, tiny_npz, tmp_path):
        import onnx

        command("prune", "--ratio", 4, "--epochs", 1, "--fine-tune-epochs", 0)
        (pruned,) = runs("pruned")
        file = tmp_path / "new" / "network.onnx"
        output = command("export", pruned.info.run_id, "--output", file)
        (model,) = models_of(pruned)
        uri = f"models:/{model.model_id}"
        assert f'mlflow.pyfunc.load_model("{uri}")' in output
        assert f'mlflow models serve --env-manager local --model-uri "{uri}"' in output
        assert "operator set 20" in output
        assert scored(uri, tiny_npz) == predicted(pruned)
        assert [part.version for part in onnx.load(file).opset_import if not part.domain] == [20]
        command("export", pruned.info.run_id)
        assert len(models_of(pruned)) == 1

    def test_of_a_quantized_run_is_its_own_model(self, command, run_command, tiny_npz, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        output = command("quantize", "--epochs", 1, "--number-format", "fixed-int8", "--data-dir", "my data")
        (run,) = runs("quantized")
        _, *typed = shlex.split(re.search("pruning-study export .*", output)[0])
        assert typed[4:] == ["--dataset", str(tiny_npz), "--data-dir", "my data"]
        assert run_command(*typed).exit_code == 0
        assert (tmp_path / "model.onnx").read_bytes() == artifact(run, "model.onnx").read_bytes()
        (model,) = models_of(run)
        assert model.params["number_format"] == "fixed-int8"
        assert scored(f"models:/{model.model_id}", tiny_npz) == predicted(run)
        described = mlflow.models.get_model_info(f"models:/{model.model_id}")
        assert described.signature.inputs.inputs[0].shape == (-1, 1, 28, 28)

    @pytest.mark.attack
    def test_a_damaged_onnx_file_of_a_run__is_one_line(self, command, refused, tiny_npz):
        command("quantize", "--epochs", 1, "--number-format", "fixed-int8")
        (run,) = runs("quantized")
        whole = artifact(run, "model.onnx").read_bytes()
        for damaged in (b"", b"no model", whole[: len(whole) // 2], whole[1:]):
            artifact(run, "model.onnx").write_bytes(damaged)
            line = refused("export", run.info.run_id, "--dataset", tiny_npz)
            assert (
                f"run {run.info.run_id}: model.onnx: not a complete ONNX model" in line or "ONNX Runtime cannot" in line
            )
            assert not models_of(run)
