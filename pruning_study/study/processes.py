"""Processes that do one task after the other, and are replaced when they die."""

import ctypes
import io
import math
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pruning_study.tracking.interrupts import interrupt_once

# The server that the workers are forked from has imported all they need, and holds no thread, connection or
# lock that a fork would break, as the driver does.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pruning_study.study.worker"])
SECONDS_TO_END = 60


def start_server() -> None:
    """Have what the workers are forked from import all they need, which takes seconds, while this goes on."""
    forkserver.ensure_running()


def worth(wanted: int | None, tasks: int) -> int:
    """How many workers pay: as many as are wanted, else one for each core, and no more than there are tasks."""
    return max(1, min(wanted or cores(), tasks))


def cores() -> int:
    """The number of cores that this process may use, by its affinity and by what its control groups grant it."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(here, granted_cores()))


def granted_cores(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """As many cores as control groups (version 2) grant this process the time of; infinite where they set no limit.

    Parameters
    ----------
    own : Path
        The file that names the group of this process.
    root : Path
        The folder of all groups; each has its limit in `cpu.max`, microseconds in so many or `max`, and is held to
        those above it.
    """
    granted = [math.inf]
    with suppress(OSError):
        for name in re.findall(r"^0::/(.*)$", own.read_text(), re.MULTILINE):
            for group in (root / name, *(root / name).parents):
                with suppress(OSError, ValueError):
                    time_granted, period = (group / "cpu.max").read_text().split()
                    granted.append(float(time_granted) / float(period))
    return min(granted)


class Died(NamedTuple):
    """Stands for the result of a task whose worker died."""

    reason: str


class SharedArray:
    """An array in memory that all workers share; the kernel frees it with the last of them.

    Parameters
    ----------
    array : np.ndarray
        Copied.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._memory = CONTEXT.RawArray(ctypes.c_uint8, max(array.nbytes, 1))
        self._dtype, self._shape, self._bytes = array.dtype, array.shape, array.nbytes
        self.numpy()[...] = array

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy."""
        return np.frombuffer(memoryview(self._memory), np.uint8, self._bytes).view(self._dtype).reshape(self._shape)


@dataclass
class _Worker:
    process: Any
    connection: connection.Connection
    task: Any = None


class Workers:
    """So many processes, from entering a `with` block to leaving it; those that are busy then are interrupted.

    Parameters
    ----------
    count : int
    do : callable
        Does a task in a worker, and returns its result; picklable, and each worker has a copy of its own.
    say : callable
        Given what a worker writes to stderr, line by line.
    """

    def __init__(self, count: int, do: Callable[[Any], Any], say: Callable[[str], None]) -> None:
        self._do, self._say = do, say
        self._workers: list[_Worker | None] = [None] * count

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *raised: object) -> None:
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
        """The numbers of the workers that have no task."""
        return [number for number, worker in enumerate(self._workers) if worker is None or worker.task is None]

    def give(self, number: int, task: Any) -> None:
        """Have an idle worker do a task."""
        worker = self._workers[number] or self._started()
        self._workers[number] = worker
        worker.task = task
        with suppress(OSError):  # it has died, which `results` will say
            worker.connection.send(task)

    def results(self) -> Iterator[tuple[int, Any, Any]]:
        """Wait until a worker has done something, and give the number, task and result of each that is done."""
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
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_work, args=(theirs, self._do, dict(os.environ)), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _reason(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, as the system does where memory runs out"
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return "its process ended"


def _drain(pipe: connection.Connection, deadline: float) -> None:
    """Wait until the other end is gone, which the worker's end alone tells for sure."""
    with suppress(EOFError, OSError):
        while pipe.poll(max(deadline - time.monotonic(), 0)):
            pipe.recv()


def _work(pipe: connection.Connection, do: Callable[[Any], Any], environment: dict[str, str]) -> None:
    interrupt_once()
    os.environ.clear()  # the server's, of when it was started
    os.environ.update(environment)
    sys.stderr = _Lines(pipe)
    # Gone is the driver, or this worker is asked to go.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send(("done", do(pipe.recv())))


class _Lines(io.TextIOBase):
    """Sends what is written to the driver, which alone knows where it can be shown."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        with suppress(OSError):
            for line in lines:
                self._pipe.send(("said", line))
        return len(text)
