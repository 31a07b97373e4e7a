"""`--log-model` from end to end: what it logs, and that any process can load it with pickle forbidden."""

import json
import os
import subprocess
import sys

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from tests.stored_runs import artifact, runs

QUICK = ("--epochs", 1, "--fine-tune-epochs", 0, "--batch-size", 32)
# Loads a model in a process that cannot unpickle, and prints the predicted classes of the images in a file.
SCORE = """
import pickle, sys, mlflow, numpy as np
def refuse(*args, **kwargs): raise AssertionError("this unpickles")
pickle.load = pickle.loads = pickle.Unpickler = refuse
model = mlflow.pyfunc.load_model(sys.argv[1])
images = np.load(sys.argv[2])["test_images"].transpose(0, 3, 1, 2)
assert (model.input_example == images[:4]).all()
print(model.predict(images)["logits"].argmax(1).tolist())
assert "torch" not in sys.modules
"""
OWN_MODEL = """
from torch import nn
class Branching(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.linear = nn.Linear(784, num_classes)
    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return logits if logits.sum() > 0 else logits * 1.0
"""


@pytest.fixture
def command(run_command, tiny_npz, store_uri):
    def run(name, *arguments):
        result = run_command(name, "--dataset", tiny_npz, *arguments, *(QUICK if name == "prune" else QUICK[:2]))
        assert result.exit_code == 0, result.output
        return result.output

    return run


def models_of(run):
    return MlflowClient().search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'", max_results=10
    )


def scored(uri, tiny_npz):
    """Return the classes that a fresh process without pickle predicts."""
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", SCORE, uri, tiny_npz], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_extra_is_one_line_before_anything_is_made(run_command, tiny_npz, store_uri, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = run_command("train", "--dataset", tiny_npz, "--log-model")
    assert result.exit_code == 2
    assert "--log-model: it needs" in result.output
    assert "pip install 'pruning-study[onnx]'" in result.output
    assert not runs()


@pytest.mark.onnx
class TestLogModel:
    def test_logs_a_model_for_each_ratio_which_loads_without_pickle_and_predicts_as_the_run(self, command, tiny_npz):
        output = command("prune", "--ratio", "2.5,10", "--log-model")
        pruned = runs("pruned")
        assert len(pruned) == 2
        for run in pruned:
            (model,) = models_of(run)
            assert (model.name, model.status) == ("model", "READY")
            assert model.params == run.data.params
            recalls = {name: value for name, value in run.data.metrics.items() if name.startswith("recall/")}
            weakest = model.tags["weakest_class"]
            assert recalls[f"recall/{weakest}"] == min(recalls.values())
            linked = {"test_accuracy", "test_loss", "alpha", "raw_slope", "realized_ratio", f"recall/{weakest}"}
            assert {metric.key: metric.value for metric in model.metrics} == {
                name: run.data.metrics[name] for name in linked
            }
            assert len(MlflowClient().get_metric_history(run.info.run_id, "alpha")) == 1
        last = next(run for run in pruned if run.data.params["ratio"] == "10.0")
        uri = f"models:/{models_of(last)[0].model_id}"
        assert f'mlflow.pyfunc.load_model("{uri}")' in output
        with np.load(artifact(last, "predictions.npz")) as predictions:
            assert scored(uri, tiny_npz) == predictions["predicted"].tolist()
        assert not models_of(runs("dense")[0])

    def test_says_what_the_model_takes_and_gives(self, command):
        command("train", "--log-model")
        run = runs("dense")[0]
        described = mlflow.models.get_model_info(f"runs:/{run.info.run_id}/model")
        (images,), (logits,) = described.signature.inputs, described.signature.outputs
        assert (images.type, images.shape) == (np.dtype("uint8"), (-1, 1, 28, 28))
        assert (logits.name, logits.type, logits.shape) == ("logits", np.dtype("float32"), (-1, 10))
        assert described.metadata["classes"][6] == "Shirt"

    def test_of_a_run_that_is_found_logs_it_once_and_goes_on_with_what_a_killed_process_left(self, command):
        command("train")
        run = runs("dense")[0]
        left = MlflowClient().create_logged_model(run.info.experiment_id, "model", run.info.run_id)
        for _ in range(2):
            assert "(already made; --force makes" in command("train", "--log-model")
            assert [(model.model_id, model.status) for model in models_of(run)] == [(left.model_id, "READY")]

    def test_of_a_network_that_cannot_be_exported_leaves_a_complete_run_and_a_line(
        self, command, tmp_path, monkeypatch, caplog
    ):
        (tmp_path / "branching_net.py").write_text(OWN_MODEL)
        monkeypatch.syspath_prepend(tmp_path)
        command("train", "--model", "branching_net:Branching", "--log-model")
        (run,) = runs("dense")
        assert run.info.status == "FINISHED"
        assert not models_of(run)
        (line,) = [record.getMessage() for record in caplog.records if "not logged as a model" in record.getMessage()]
        assert line.startswith(f"run {run.info.run_id} is complete, and its network is not logged as a model: ")
        assert "\n" not in line

    def test_of_a_run_with_other_images_is_refused(self, command, run_command, tiny, tmp_path):
        """Its model was named after the classes of the other images, or a traceback said which class was missing."""
        command("train")
        (run,) = runs("dense")
        (tmp_path / "other").mkdir()
        np.savez(tmp_path / "other" / "tiny.npz", **tiny | {"class_names": np.array(list("abcdefghij"))})
        result = run_command("export", run.info.run_id, "--dataset", tmp_path / "other" / "tiny.npz")
        assert result.exit_code == 1, result.output
        assert f"other/tiny.npz does not hold the images of run {run.info.run_id}: give --dataset" in result.output
        assert not models_of(run)
