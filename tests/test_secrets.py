"""The password of a tracking URI, from the command line to every place that a run leaves a trace in."""

import json
import os
import signal
import sqlite3
import time

import click.testing
import pytest
from mlflow.exceptions import MlflowException

from analysis.__main__ import cli as analysis_cli
from analysis.report import report
from pruning_study.tracking import connect, store
from tests.mlflow_server import free_port, server
from tests.warm_processes import WarmProcess, run_module

USER = "user:pa%2Fss@w0rd"  # the password `pa/ss@w0rd`, as requests takes it
MASKED = "http://user:***@127.0.0.1"
DATA_LOGGED = "SELECT 1 FROM inputs"  # the last request before the training


def wait_for_training(database, process):
    while process.returncode is None:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            if connection.execute(DATA_LOGGED).fetchall():
                break
        time.sleep(0.1)
    time.sleep(0.5)  # until the answer has arrived


@pytest.mark.slow
@pytest.mark.attack
def test_a_server_that_dies_in_the_middle_of_a_run__gets_its_password_into_no_output_file_tag_or_param(
    store_uri, tiny_npz, tmp_path, monkeypatch, capsys
):
    port = free_port()
    (tmp_path / "temporary").mkdir()
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}@127.0.0.1:{port}")
    with server(tmp_path, port) as group:
        report.log([], tmp_path, "Default")
        process = WarmProcess(run_module, "pruning_study", "train", "--dataset", tiny_npz, "--epochs", 1000)
        wait_for_training(tmp_path / "server.db", process)
        os.killpg(group, signal.SIGKILL)
        said = process.wait()
    assert process.returncode == 1
    assert f"{MASKED}:{port} did not accept run" in said
    assert "w0rd" not in said + "".join(capsys.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "server.db"} <= {path.name for path in files}
    assert [path.name for path in files if b"w0rd" in path.read_bytes()] == []


@pytest.mark.attack
def test_a_git_remote_with_a_token_and_a_source_with_a_password__are_masked_in_the_tags_of_a_run(
    store_uri, monkeypatch
):
    tags = {"mlflow.source.git.repoURL": "https://s3cret@host/a.git", "mlflow.source.name": "https://me:s3cret@host/b"}
    monkeypatch.setenv("MLFLOW_RUN_CONTEXT", json.dumps(tags))  # from which MLflow takes tags, as from git
    store.context_tags.cache_clear()
    try:
        opened = connect.connect()
        with opened.job("a job", {}) as job:
            pass
    finally:
        store.context_tags.cache_clear()
    found = opened.get(job.run_id).data.tags
    assert [found[name] for name in tags] == ["https://***@host/a.git", "https://me:***@host/b"]


@pytest.mark.attack
def test_an_error_of_mlflow_that_holds_the_uri__is_masked_in_the_tag_error_of_the_run(store_uri):
    opened = connect.connect()
    with pytest.raises(MlflowException), opened.job("a job", {}) as job:
        raise MlflowException(f"API request to http://{USER}@host/api failed")
    assert opened.get(job.run_id).data.tags["error"] == "API request to http://user:***@host/api failed"


@pytest.mark.attack
def test_a_url_with_a_password_that_is_typed_as_an_option__is_masked_in_the_message_and_in_the_params(
    store_uri, tiny_npz, run_command
):
    for options in (
        ["--dataset", f"http://{USER}@host/a.npz"],
        [f"http://{USER}@host"],
        ["--seed", f"http://{USER}@h"],
    ):
        result = run_command("train", *options)
        assert (result.exit_code, "w0rd" in result.output) == (2, False)
        assert "/user:***@h" in result.output
    result = run_command("train", "--dataset", tiny_npz, "--epochs", "1", "--data-dir", f"http://{USER}@host")
    assert result.exit_code == 0, result.output
    opened = connect.connect()
    (job,) = opened.client.search_runs([opened.experiment_id], "tags.kind = 'job'")
    assert job.data.params["data_dir"] == "http://user:***@host"


@pytest.mark.attack
@pytest.mark.postgres
def test_the_uri_of_a_database_with_a_password_in_its_query__is_masked_in_the_lines_of_both_commands(
    store_uri, tiny_npz, run_command, monkeypatch
):
    uri = f"postgresql://me:pa@127.0.0.1:{free_port()}/db?password=s3cret"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for result in (
        run_command("train", "--dataset", tiny_npz),
        click.testing.CliRunner().invoke(analysis_cli, ["report"]),
        click.testing.CliRunner().invoke(analysis_cli, ["export"]),
    ):
        assert result.exit_code == 1
        assert f"{uri[:16]}***{uri[18:-6]}***: " in result.output
        assert "s3cret" not in result.output


@pytest.mark.attack
def test_a_password_in_the_file_of_a_study__is_masked_in_the_copy_that_the_store_keeps(
    store_uri, tiny_npz, tmp_path, run_command
):
    text = f"# \u00e9 http://{USER}@host\r\ndataset: [{tiny_npz}]\nratio: [2]\npruner: [mp]\nseed: [0]\n"
    text += "epochs: 1"
    (tmp_path / "a.yaml").write_bytes(text.encode())
    run_command("study", tmp_path / "a.yaml", "--workers", "1")
    opened = connect.connect()
    (job,) = opened.client.search_runs([opened.experiment_id], "tags.kind = 'study'")
    with opened.artifact(job.info.run_id, "a.yaml") as path:
        assert path.read_bytes().decode() == text.replace(USER, "user:***")
