import re
import socket
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from analysis.common.errors import StudyError
from analysis.runs import address
from tests.deadline import in_time
from tests.mlflow_server import free_port


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "postgresql+psycopg"])
class TestProbe:
    def test_a_closed_port_is_an_error_at_once(self, scheme):
        with in_time(), pytest.raises(StudyError) as error:
            address.probe(f"{scheme}://me:secret@127.0.0.1:{free_port()}/db")
        assert str(error.value).startswith(f"{scheme}://me:***@127.0.0.1")
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time(self, scheme, monkeypatch):
        monkeypatch.setattr(address, "PROBE_SECONDS", 2)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            with in_time(), pytest.raises(StudyError, match="127"):
                address.probe(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/db")


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


@pytest.mark.attack
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mysql://me:secret@host/db", "mysql://me:***@host/db needs MySQLdb"),
        ("mssql+pyodbc://me:secret@host/db", "mssql+pyodbc://me:***@host/db needs pyodbc"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=*** needs pyodbc"),
    ],
)
def test_a_database_without_its_driver__is_an_error_that_names_the_driver(uri, said):
    with pytest.raises(StudyError, match=re.escape(said)):
        address.probe(uri)


def test_a_driver_that_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(StudyError, match=r"needs psycopg2?: pip install 'pruning-study\[postgres\]', or"):
        address.probe("postgresql://me:s3cret@127.0.0.1:9/db")
    with pytest.raises(StudyError, match=r"needs pg8000: install it with pip$"):
        address.probe("postgresql+pg8000://me:s3cret@127.0.0.1:9/db")


@pytest.mark.postgres
def test_a_user_name_with_an_at_sign_is_not_refused():
    for uri in (f"postgresql://me@there:secret@127.0.0.1:{free_port()}/db", f"postgresql://127.0.0.1:{free_port()}"):
        with pytest.raises(StudyError, match="Connection refused"):
            address.probe(uri)


@pytest.mark.attack
@pytest.mark.parametrize(
    "content", ["mlflow_tracking_password = s3cret", "[mlflow]\nmlflow_tracking_password = %s3cret", "[mlflow]\ns3cret"]
)
def test_a_credentials_file_that_cannot_be_read__is_named_without_a_word_of_it(content, tmp_path, monkeypatch):
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering(200) as uri, pytest.raises(StudyError, match=r"\.mlflow/credentials cannot be read") as error:
        address.probe(uri)
    assert "s3cret" not in str(error.value)
