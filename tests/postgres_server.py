"""A real Postgres server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mlflow_server import free_port


@contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres server and yield its URI; if the tests run as root, the server runs as the user postgres."""
    binaries = [Path(shutil.which("initdb") or "initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    initdb = next(path.resolve() for path in binaries if path.is_file())
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    port = free_port()
    folder = Path(tempfile.mkdtemp())
    try:
        if prefix:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
        subprocess.run([*prefix, initdb, "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"], **run)
        control = [*prefix, initdb.with_name("pg_ctl"), "-D", data, "-w", "-l", folder / "log"]
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder)
