import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from analysis.runs import address
from analysis.runs.errors import StudyError
from tests.mlflow_server import free_port


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:s:e@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("https://me:secret@host:5000/path", "https://me:***@host:5000/path"),
        ("https://:secret@host", "https://:***@host"),
        ("http://host:5000/@home", "http://host:5000/@home"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_a_password_is_not_shown(uri, shown):
    assert address.without_password(uri) == shown


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "postgresql+psycopg"])
class TestProbe:
    def test_a_closed_port_is_an_error_at_once(self, scheme):
        start = time.monotonic()
        with pytest.raises(StudyError) as error:
            address.probe(f"{scheme}://me:secret@127.0.0.1:{free_port()}/db")
        assert time.monotonic() - start < 5
        assert str(error.value).startswith(f"{scheme}://me:***@127.0.0.1")
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(self, scheme, monkeypatch):
        monkeypatch.setattr(address, "PROBE_SECONDS", 2)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            start = time.monotonic()
            with pytest.raises(StudyError, match="127"):
                address.probe(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/db")
            assert time.monotonic() - start < 4


@contextmanager
def answering(status):
    """Yield the address of a server that answers each request with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{made.server_port}"
        finally:
            made.shutdown()


def test_a_server_with_an_error_of_its_own_is_an_error():
    with answering(503) as uri, pytest.raises(StudyError, match="503"):
        address.probe(uri)


@pytest.mark.parametrize("status", [200, 404])  # a server of another kind than MLflow's may have no /health
def test_a_server_that_answers_passes(status):
    with answering(status) as uri:
        address.probe(uri)


def test_a_sqlite_file_is_not_probed(tmp_path):
    address.probe(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_its_driver_is_an_error_that_names_it():
    with pytest.raises(StudyError, match=r"mysql://me:\*\*\*@host/db needs MySQLdb"):
        address.probe("mysql://me:secret@host/db")
