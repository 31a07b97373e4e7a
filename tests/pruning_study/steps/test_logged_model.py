"""The model that `export` logs from end to end, and that any process can load it with pickle forbidden."""

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


@pytest.fixture
def command(run_command, tiny_npz, store_uri):
    def run(name, *arguments):
        result = run_command(
            name, "--dataset", tiny_npz, *arguments, *{"prune": QUICK, "train": QUICK[:2]}.get(name, ())
        )
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


@pytest.mark.onnx
class TestLoggedModel:
    def test_of_each_pruned_run_loads_without_pickle_and_predicts_as_the_run(self, command, tiny_npz):
        command("prune", "--ratio", "2.5,10", "--control", "none")
        pruned = runs("pruned")
        assert len(pruned) == 2
        output = "".join(command("export", run.info.run_id) for run in pruned)
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
        command("train")
        run = runs("dense")[0]
        command("export", run.info.run_id)
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
            command("export", run.info.run_id)
            assert [(model.model_id, model.status) for model in models_of(run)] == [(left.model_id, "READY")]

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
