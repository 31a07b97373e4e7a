"""Worker processes on this machine, each of which makes one step after another and is replaced when it dies.

`concurrent.futures` and joblib end all workers when one dies, and cannot send a step to the worker that holds its
parent in memory.
"""

import ctypes
import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from joblib import cpu_count

from analysis.common.interrupts import interrupt_once
from analysis.common.masking import without_secrets
from pruning_study.data.arrays import MappedArray

# Workers are forked from a server that has imported all they need. Unlike the driver (the process that runs the
# study), this server has no thread, connection or lock that a fork would break.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pruning_study.study.worker"])
SECONDS_TO_END = 60
_SAFE_PATH = "PYTHONSAFEPATH"


def start_server() -> None:
    """Start the process from which workers are forked; its imports take seconds.

    A console command does not search the current folder for modules first, so this process must not either: otherwise
    an `analysis.py` there would shadow this project's package.
    """
    if sys.path[0] in ("", str(Path.cwd())) or _SAFE_PATH in os.environ:
        forkserver.ensure_running()
        return
    os.environ[_SAFE_PATH] = "1"
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[_SAFE_PATH]


def worker_count(workers: int | None, tasks: int) -> int:
    """Return the number of workers to start: the wanted number, by default one per core, but at most one per task.

    Only the cores that this process may use, by its CPU affinity and control groups, are counted.
    """
    return max(1, min(workers or cpu_count(), tasks))


class Died(NamedTuple):
    """The result of a task whose worker died."""

    reason: str


class SharedMemory:
    """An array in memory that all workers share; the kernel frees it when the last of them ends.

    Parameters
    ----------
    array : np.ndarray
        It is copied, unless it is memory-mapped: then each worker maps the file.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._mapped = MappedArray(array) if isinstance(array, np.memmap) else None
        if self._mapped:
            return
        self._memory = CONTEXT.RawArray(ctypes.c_uint8, max(array.nbytes, 1))
        self._dtype, self._shape, self._bytes = array.dtype, array.shape, array.nbytes
        self.numpy()[...] = array

    def numpy(self) -> np.ndarray:
        """Return the array itself, not a copy."""
        if self._mapped:
            return self._mapped.numpy()
        return np.frombuffer(memoryview(self._memory), np.uint8, self._bytes).view(self._dtype).reshape(self._shape)


@dataclass
class _Worker:
    process: Any
    connection: connection.Connection
    task: Any = None


class Processes:
    """A pool of processes, started when needed. Leaving the `with` block interrupts those that are busy.

    Parameters
    ----------
    count : int
    do : callable
        Does a task in a process, and returns its result. It is pickled, so each process has its own copy.
    say : callable
        Shows a line that a process wrote to stderr.
    """

    def __init__(self, count: int, do: Callable[[Any], Any], say: Callable[[str], None]) -> None:
        self._do, self._say = do, say
        self._workers: list[_Worker | None] = [None] * count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        workers = [worker for worker in self._workers if worker]
        for worker in workers:
            if worker.task is None:
                worker.connection.close()
            else:
                worker.process.terminate()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in workers:
            if not worker.connection.closed:
                _drain(worker.connection, deadline)
            worker.process.join(max(deadline - time.monotonic(), 1))
            worker.process.kill()

    def idle(self) -> list[int]:
        """Return the numbers of the workers that have no task."""
        return [number for number, worker in enumerate(self._workers) if worker is None or worker.task is None]

    def give(self, number: int, task: Any) -> None:
        """Have an idle worker do a task."""
        worker = self._workers[number] or self._started()
        self._workers[number] = worker
        worker.task = task
        with suppress(OSError):  # the worker has died, which `results` will report
            worker.connection.send(task)

    def results(self) -> Iterator[tuple[int, Any, Any]]:
        """Wait for a message from any worker, and yield the worker's number, task and result for each finished task."""
        there = [(number, worker) for number, worker in enumerate(self._workers) if worker]
        ready = connection.wait([worker.connection for _, worker in there])
        for number, worker in there:
            if worker.connection not in ready:
                continue
            try:
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                self._workers[number] = None
                worker.process.join(SECONDS_TO_END)
                if worker.task is not None:
                    yield number, worker.task, Died(_reason(worker.process.exitcode))
                continue
            if kind == "said":
                self._say(content)
            else:
                task, worker.task = worker.task, None
                yield number, task, content

    def _started(self) -> _Worker:
        start_server()  # the server may have died
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_work, args=(theirs, self._do, dict(os.environ)), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _reason(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, probably because memory ran out"
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return "its process ended"


def _drain(pipe: connection.Connection, deadline: float) -> None:
    """Wait until the worker has closed its end of the pipe, or the deadline has passed."""
    with suppress(EOFError, OSError):
        while pipe.poll(max(deadline - time.monotonic(), 0)):
            pipe.recv()


def _work(pipe: connection.Connection, do: Callable[[Any], Any], environment: dict[str, str]) -> None:
    interrupt_once()
    os.environ.clear()  # the fork server's environment may be older than the driver's
    os.environ.update(environment)
    sys.stderr = _Lines(pipe)
    # These errors mean that the driver has died, or that it has told this worker to end.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(("done", do(pipe.recv())))


class _Lines(io.TextIOBase):
    """A stream that sends its lines to the driver, which prints them above the progress bar."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        with suppress(OSError):
            for line in lines:
                self._pipe.send(("said", without_secrets(line)))
        return len(text)
