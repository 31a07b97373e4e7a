"""Read rows of a sqlite file as Arrow columns, in a process of its own.

Arrow's driver contains its own copy of SQLite, and two copies in one process free each other's locks on a file
(sqlite.org/howtocorrupt.html, section 2.2.1). MLflow opens the file with Python's copy, so that a second copy in its
process could destroy the store. This module is also the program of the reading process, and therefore imports nothing
of the package.
"""

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

BUSY_MILLISECONDS = 30_000
_HEADER = struct.Struct("?q")  # whether the statement succeeded, and how many bytes follow


class Reader:
    """An open sqlite file.

    Parameters
    ----------
    process : Popen
        A process that runs this module.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def read(self, statement: str) -> pa.Table:
        """Return the rows of a SELECT.

        Raises
        ------
        sqlite3.Error
            A ProgrammingError if the statement does not fit the file or the file is not a database; another error if
            the file cannot be read.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(statement).encode() + b"\n")
            self._process.stdin.flush()
            good, size = _HEADER.unpack(self._process.stdout.read(_HEADER.size))
            answer = self._process.stdout.read(size)
        except (OSError, struct.error) as error:
            raise sqlite3.OperationalError("the process that reads the file has died") from error
        if good:
            return pa.ipc.open_stream(answer).read_all()
        kind, message = json.loads(answer)
        raise getattr(sqlite3, kind)(message)


@contextmanager
def reader(path: Path) -> Iterator[Reader]:
    """Open a file read-only; no transaction stays open between two statements.

    Parameters
    ----------
    path : Path
    """
    with subprocess.Popen(
        [
            sys.executable,
            "-P",
            str(Path(__file__)),
            str(path),
            str(BUSY_MILLISECONDS),
        ],  # -P: no file beside this one is imported in place of a library
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # the caller handles Ctrl-C
    ) as process:
        try:
            yield Reader(process)
        finally:
            process.kill()
            assert process.stdin
            with suppress(BrokenPipeError):  # the statement that the process did not read any more
                process.stdin.close()


def main(path: str, busy_milliseconds: str) -> None:
    """Answer the statements on standard input, one a line, with Arrow streams or errors on standard output."""
    # The drivers' modules called dbapi would import pandas, which takes three times as long as all the rest.
    import adbc_driver_manager as adbc
    import adbc_driver_sqlite

    connection = None
    for line in sys.stdin.buffer:
        try:
            connection = connection or adbc.AdbcConnection(adbc_driver_sqlite.connect(f"file:{quote(path)}?mode=ro"))
            with adbc.AdbcStatement(connection) as statement:
                for query in (f"PRAGMA busy_timeout = {busy_milliseconds}", json.loads(line)):
                    statement.set_sql_query(query)
                    stream, _ = statement.execute_query()
                    table = pa.RecordBatchReader.from_stream(stream).read_all()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            good, answer = True, sink.getvalue().to_pybytes()
        except Exception as error:  # the process that asked reports it
            kind = "ProgrammingError" if isinstance(error, adbc.ProgrammingError) else "OperationalError"
            good, answer = False, json.dumps([kind, str(error)]).encode()
        sys.stdout.buffer.write(_HEADER.pack(good, len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (BrokenPipeError, KeyboardInterrupt):  # the command that asked was interrupted
        os._exit(1)
