import json
import random
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow.exceptions import MlflowException

from analysis.common.errors import StudyError
from analysis.runs import address, pull, stores
from analysis.runs.store_errors import explained
from pruning_study.tracking import connect
from tests.deadline import in_time

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in to\n the lab</title></head><body>Hello</body></html>"


@pytest.fixture
def answering(store_uri, monkeypatch):
    """Return a function that runs a server with one answer to every request, and gives what is said about it."""
    servers = []

    def said(status, body, **headers):
        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                healthy = self.path == "/health"
                content = b"OK" if healthy else body() if callable(body) else body
                self.send_response(200 if healthy else status)
                for name, value in {"Content-Length": len(content), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever).start()
        uri = f"http://127.0.0.1:{servers[-1].server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return lambda: [line(ask, uri) for ask in (lambda: pull.pull_runs("study"), connect.connect)]

    yield said
    for each in servers:
        each.shutdown()
        each.server_close()


def line(ask, uri):
    """Return the error of a question to a store, which is one line, without the store's name."""
    with pytest.raises(StudyError) as raised:
        ask()
    (text,) = str(raised.value).splitlines()
    assert text.startswith(uri)
    return text.removeprefix(uri).removeprefix(": the tracking store cannot be used").strip(": ()")


@pytest.mark.attack
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_the_user_with_a_page__its_title_is_said_and_the_password_named(answering, status):
    for text in answering(status, PAGE)():
        assert text.startswith(f"the server answers with status {status}: Sign in to the lab")
        assert text.endswith("; check the user's name, and the password or token")


@pytest.mark.attack
def test_a_server_that_refuses_the_user_in_mlflows_words__those_words_are_said(answering):
    body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "not your experiment\nat all"}).encode()
    assert all("not your experiment" in text for text in answering(403, body)())


@pytest.mark.attack
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_overloaded_or_broken__its_status_is_said(answering, status):
    for text in answering(status, PAGE)():
        assert text.startswith(f"the server answers with status {status}")
        assert text.endswith("; look at the tracking server's log, or try again later")


@pytest.mark.attack
def test_a_server_whose_database_is_locked__its_reason_is_said(answering):
    body = json.dumps(
        {"error_code": "BAD_REQUEST", "message": "(sqlite3.OperationalError) database is locked\n[SQL: SELECT]"}
    )
    assert all(text.startswith("database is locked") for text in answering(400, body.encode())())


@pytest.mark.attack
def test_a_page_of_a_proxy_in_the_place_of_every_answer__its_title_is_said(answering):
    assert {text.partition(";")[0].rstrip(")") for text in answering(200, PAGE)()} == {
        "the server's answer is not from MLflow: Sign in to the lab"
    }


@pytest.mark.attack
def test_a_server_that_redirects_without_end__it_is_said(answering):
    assert all("Exceeded 30 redirects" in text for text in answering(302, b"", Location="/elsewhere")())


@pytest.mark.attack
@pytest.mark.parametrize("body", [b"", b"{}", b'{"experiments": [{}]}'])
def test_another_service_that_says_yes_to_everything__it_is_told_from_mlflow(answering, body):
    assert all("lists no experiment" in text for text in answering(200, body)())


@pytest.mark.slow
@pytest.mark.attack
def test_hundreds_of_answers_of_a_wrong_shape__each_is_read_or_refused_in_one_line(answering):
    random_ = random.Random(0)
    names = [
        "experiments",
        "experiment",
        "runs",
        "run",
        "info",
        "data",
        "tags",
        "key",
        "value",
        "experiment_id",
        "name",
    ]
    names += ["lifecycle_stage", "status", "run_id", "start_time", "params", "metrics", "next_page_token"]
    words = [
        "study",
        "active",
        "kind",
        "dense",
        "pruned",
        "FINISHED",
        "",
        "7",
        7,
        -1,
        1e300,
        None,
        True,
        "\x00",
        "\ud800",
    ]

    def value(depth):
        shape = random_.choice(["word", "list", "object", "object"]) if depth else "word"
        if shape == "list":
            return [value(depth - 1) for _ in range(random_.randrange(3))]
        if shape == "object":
            return {random_.choice(names): value(depth - 1) for _ in range(random_.randrange(4))}
        return random_.choice(words)

    def body():
        experiment = {"experiment_id": "7", "name": "study", "lifecycle_stage": "active"}
        known = {"experiments": [experiment], "experiment": experiment}
        changed = json.dumps({**known, random_.choice(names): value(4), random_.choice(names): value(4)}).encode()
        return changed if random_.random() < 0.9 else changed[: random_.randrange(len(changed))]

    answering(200, body)
    refused = []
    for _ in range(150):
        try:
            with stores.open_store(None) as store:
                store.experiments()
                for _, page in zip(range(3), store.pages("7"), strict=False):
                    _ = [*page.runs, *page.tags, *page.params, *page.metrics]
                list(store.pages(["abc"]))
        except StudyError as error:
            refused.append(str(error))
    assert len(refused) > 15
    assert {len(text.splitlines()) for text in refused} == {1}


@contextmanager
def talking(talk):
    """Run a server that talks on a bare connection; yield its address without the scheme."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def said_by_probe(uri):
    with in_time():
        return line(lambda: address.probe(uri), uri)


@pytest.mark.attack
def test_a_server_that_accepts_and_never_answers__it_is_given_up(monkeypatch):
    monkeypatch.setattr(address, "PROBE_SECONDS", 0.3)
    with talking(lambda connection: threading.Event().wait()) as host:
        assert said_by_probe(f"http://{host}").startswith("does not answer (Read timed out")


@pytest.mark.slow
@pytest.mark.attack
def test_a_server_that_answers_one_byte_at_a_time__it_is_given_up(monkeypatch):
    monkeypatch.setattr(address, "PROBE_SECONDS", 2)

    def drip(connection):
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" * 3:
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.1)

    with talking(drip) as host:
        assert said_by_probe(f"http://{host}").startswith("does not answer (no complete answer within 4 s)")


@pytest.mark.attack
def test_a_service_of_another_kind_at_the_port__its_first_words_are_said():
    def greet(connection):
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            connection.recv(1000)

    with talking(greet) as host:
        assert "SSH-2.0-OpenSSH_9.6" in said_by_probe(f"http://{host}")
        assert "WRONG_VERSION_NUMBER" in said_by_probe(f"https://{host}")


@pytest.mark.attack
def test_a_server_that_closes_every_connection__it_is_said():
    with talking(lambda connection: connection.close()) as host:
        assert said_by_probe(f"http://{host}").startswith("does not answer (")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            MlflowException("(psycopg.OperationalError) server closed the connection unexpectedly\n\tThis"),
            "server closed",
        ),
        (MlflowException('(psycopg.errors.UndefinedTable) relation "runs" does not exist\nLINE 1'), 'relation "runs"'),
        (OSError(5, "Input/output error", "/data/mlflow.db"), "[Errno 5] Input/output error: '/data/mlflow.db'"),
        (MlflowException("disk I/O error"), "disk I/O error; check the disk of the store"),
        (
            MlflowException(
                "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if this "
                "flush is occurring prematurely)\n(sqlite3.OperationalError) database is locked\n[SQL: INSERT]"
            ),
            "database is locked; another process has locked the database",
        ),
        (MlflowException("the data can be moved losslessly"), "the data can be moved losslessly"),
    ],
)
def test_an_error_of_a_database_or_a_disk__its_reason_is_said_and_what_to_do(error, said):
    line = explained("postgresql://me:secret@host/db", error)
    assert line.startswith(f"postgresql://me:***@host/db: {said}")
    assert "certificate" not in line.lower()
    assert "autoflush" not in line
