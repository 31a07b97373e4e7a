"""A real MLflow server, and proxies before it that lose answers."""

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import chdir, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import requests

from tests.deadline import wait_until
from tests.stored_runs import empty_store


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(folder, port, backend=None):
    """Run an MLflow server, on a sqlite file unless another store is given; yield the id of its process group."""
    if not (folder / "server.db").exists() and not backend:
        empty_store(folder / "server.db")
    backend = backend or f"sqlite:///{folder}/server.db"
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": backend,
        "_MLFLOW_SERVER_REGISTRY_STORE": backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with chdir(folder):
        process = _started(settings, "--host", "127.0.0.1", "--port", str(port), "mlflow.server.fastapi_app:app")
    try:
        wait_until(lambda: _answers(port), process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _started(settings, *arguments):
    """Start uvicorn as `mlflow server` does, in a process that need not import MLflow if there is a fork server."""
    if find_spec("torch") is not None:
        from tests.warm_processes import WarmProcess, run_module

        return WarmProcess(run_module, "uvicorn", *arguments, **settings)
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *arguments],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=10).ok
    except requests.RequestException:
        return False


@contextmanager
def breaking_off(port):
    """Run a proxy for the server at a port that sends only half of the second answer to each kind of request.

    Yields the proxy's port, and a counter of the requests of each kind. A kind is a method and a path; the path of an
    artifact is without the artifact's name.
    """
    asked, counting = Counter(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            kind = (self.command, self.path.partition("?")[0].partition("/artifacts/")[0])
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = requests.request(
                self.command, f"http://127.0.0.1:{port}{self.path}", data=body, headers=dict(self.headers), timeout=60
            )
            with counting:
                asked[kind] += 1
                end = len(answer.content) // (2 if asked[kind] == 2 else 1)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content[:end])

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    with _running(Handler) as proxy_port:
        yield proxy_port, asked


@contextmanager
def losing(port, faults):
    """Run a proxy for the server at a port that loses answers; yield the proxy's port and a counter of the requests.

    Parameters
    ----------
    port : int
    faults : dict
        What happens to the first requests to a path, the last part of which is the key: `unanswered` (the server does
        what it is asked, and the connection is closed), `half` an answer, `unended` (half an answer of unknown length),
        `empty`, `unheard` (the connection is closed before the server is asked), `late` (unheard, but done just before
        the next request to the path), `forbidden` (status 403, and the server is not asked), or `fine`. A string stands
        for all requests.
    """
    asked, late, counting = Counter(), {}, threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            name = self.path.partition("?")[0].rpartition("/")[2]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def forward():
                return requests.request(
                    self.command, f"http://127.0.0.1:{port}{self.path}", data=body, headers=self.headers, timeout=60
                )

            with counting:
                asked[name] += 1
                planned = faults.get(name, [])
                fault = planned if isinstance(planned, str) else (planned.pop(0) if planned else "fine")
                if name in late:
                    late.pop(name)()
                if fault == "late":
                    late[name] = forward
            if fault in ("unheard", "late"):
                return
            if fault == "forbidden":
                self.send_error(403)
                return
            answer = forward()
            if fault == "unanswered":
                return
            shown = {"fine": answer.content, "empty": b""}.get(fault, answer.content[: len(answer.content) // 2])
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            if fault != "unended":
                self.send_header("Content-Length", str(len(answer.content if fault == "half" else shown)))
            self.end_headers()
            self.wfile.write(shown)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    with _running(Handler) as proxy_port:
        yield proxy_port, asked


@contextmanager
def _running(handler):
    """Run a server in a thread while the block runs; yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
