"""A study on a Ray cluster of two nodes of this machine, before a server on Postgres."""

import logging
import os
import subprocess
import sys
from collections import Counter, deque
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.deadline import SECONDS, wait_until
from tests.mlflow_server import free_port, server
from tests.postgres_server import postgres

pytestmark = pytest.mark.cluster

STUDY = """
dataset: [{data}]
pruner: [mp, none]
ratio: [2, 10]
seed: 0-3
epochs: 2
fine_tune_epochs: 1
"""
HASHES = 4 * (1 + 3)


@pytest.fixture
def tracking_uri(tmp_path, store_uri, monkeypatch):
    port = free_port()
    with postgres() as backend, server(tmp_path, port, backend):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        yield os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture
def nodes(monkeypatch):
    from ray.cluster_utils import Cluster

    # Ray's processes are at 15 otherwise, where they stand still beside other tests.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, second
    cluster.shutdown()


def study(tmp_path, tiny_npz):
    (tmp_path / "study.yaml").write_text(STUDY.format(data=tiny_npz))
    command = [sys.executable, "-m", "pruning_study", "study", str(tmp_path / "study.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def found(client):
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_study_is_complete_though_a_node_is_lost(tmp_path, tiny_npz, tracking_uri, nodes):
    client = MlflowClient(tracking_uri)
    process = study(tmp_path, tiny_npz)
    wait_until(lambda: sum("config_hash" in run.data.tags for run in found(client)) >= 4, process)
    cluster, second = nodes
    cluster.remove_node(second)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    of_steps = [run for run in found(client) if "config_hash" in run.data.tags]
    finished = [run for run in of_steps if run.info.status == "FINISHED"]
    assert Counter(run.data.tags["kind"] for run in finished) == {"dense": 4, "pruned": 12}
    assert len({run.data.tags["config_hash"] for run in finished}) == HASHES
    assert {run.info.status for run in of_steps} <= {"FINISHED", "KILLED"}
    for run in finished:
        assert {"checkpoint.safetensors", "predictions.npz"} <= {
            item.path for item in client.list_artifacts(run.info.run_id)
        }


def test_no_cluster_is_one_line(tmp_path, tiny_npz, store_uri, monkeypatch, run_command):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    (tmp_path / "study.yaml").write_text(STUDY.format(data=tiny_npz))
    result = run_command("study", tmp_path / "study.yaml")
    assert result.exit_code == 1
    assert "no Ray cluster answers at RAY_ADDRESS" in result.output


@pytest.mark.attack
def test_a_password_in_the_tracking_uri_of_a_study_on_a_cluster__is_in_no_file_that_ray_writes(nodes, monkeypatch):
    from pruning_study.study import cluster

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")

    def warn(task):
        logging.getLogger("mlflow").warning("cannot reach %s", os.environ["MLFLOW_TRACKING_URI"])
        yield task

    cluster.connect()
    assert list(cluster.outcomes(deque(["task"]), warn, gpus=0)) == [("task", "task")]
    folder = Path(nodes[0].head_node.get_session_dir_path())
    logs = {path.name: path.read_bytes() for path in (folder / "logs").rglob("*") if path.is_file()}
    assert any(b"cannot reach http://me:***@127.0.0.1:9" in content for content in logs.values())
    assert [name for name, content in logs.items() if b"s3cret" in content] == []
