"""The password of a tracking URI, from the command line to every place that a run leaves a trace in."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import pytest

from tests.mlflow_server import breaking_off, free_port, server

USER = "user:pa%2Fss@w0rd"  # the password `pa/ss@w0rd`, as requests takes it
PART = "w0rd"
MASKED = "http://user:***@127.0.0.1"
RUNNING = "SELECT 1 FROM tags JOIN runs USING (run_uuid) WHERE key = 'kind' AND value = 'dense' AND status = 'RUNNING'"
ERRORS = "SELECT value FROM tags WHERE key = 'error'"


def rows(database, statement):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute(statement).fetchall()


def wait_for_training(database, process):
    while process.poll() is None and not rows(database, RUNNING):
        time.sleep(0.1)


@pytest.mark.attack
def test_a_server_that_breaks_off_and_then_dies__gets_the_password_into_no_output_file_tag_or_param(
    store_uri, tiny_npz, tmp_path, run_command, monkeypatch, caplog
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    options = ("train", "--dataset", str(tiny_npz), "--engine", "torch", "--epochs")
    port, database = free_port(), tmp_path / "server.db"
    with server(tmp_path, port) as group:
        with breaking_off(port) as (broken, _):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}@127.0.0.1:{broken}")
            first = run_command(*options, "1").output
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}@127.0.0.1:{port}")
        command = [sys.executable, "-m", "pruning_study", *options, "500", "--seed", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for_training(database, process)
        os.killpg(group, signal.SIGKILL)
        process.send_signal(signal.SIGTERM)
        second = process.communicate()[0]
    print(first, second, caplog.text, rows(database, ERRORS))
    assert MASKED in first
    assert any(MASKED in value for (value,) in rows(database, ERRORS))
    assert f"left RUNNING: {MASKED}" in second
    assert PART not in first + second + caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "server.db"} <= {path.name for path in files}
    assert [path.name for path in files if PART.encode() in path.read_bytes()] == []
