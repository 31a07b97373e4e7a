"""Make the lineages of a study in processes on this machine, one process for each lineage.

`concurrent.futures` and joblib end all workers when one dies; here a process that dies ends its own lineage alone.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import fields
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from analysis.common import masking
from analysis.common.interrupts import interrupt_once
from pruning_study.data.arrays import MappedArray
from pruning_study.data.datasets import Dataset

# Workers are forked from a server that has imported all they need. Unlike the driver (the process that runs the
# study), this server has no thread, connection or lock that a fork would break.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pruning_study.study.lineage"])
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


Task = TypeVar("Task")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


class Died(NamedTuple):
    """The result of a task whose process died."""

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


class SharedDataset:
    """A data set whose arrays are in memory that all processes share. Calling it returns the data set.

    Parameters
    ----------
    data : Dataset
    """

    def __init__(self, data: Dataset) -> None:
        self._rest = {item.name: getattr(data, item.name) for item in fields(data) if item.name not in ARRAYS}
        self._arrays = {name: SharedMemory(getattr(data, name)) for name in ARRAYS}

    def __call__(self) -> Dataset:
        arrays: dict[str, Any] = {name: array.numpy() for name, array in self._arrays.items()}
        return Dataset(**self._rest, **arrays)


def outcomes(tasks: deque[Task], do: Callable[[Task], Iterator[Any]], count: int) -> Generator[tuple[Task, Any | Died]]:
    """Do each task in a process of its own, and yield what it yields; a process that dies yields `Died` last.

    Leaving this generator interrupts the processes that run.

    Parameters
    ----------
    tasks : deque
        The caller may add tasks as long as others are running.
    do : callable
        It is pickled, as are the tasks and what it yields.
    count : int
        Number of processes that run at once.
    """
    running: dict[connection.Connection, tuple[Any, Task]] = {}
    try:
        while tasks or running:
            while tasks and len(running) < count:
                task = tasks.popleft()
                start_server()  # it may have died
                ours, theirs = CONTEXT.Pipe(duplex=False)
                process = CONTEXT.Process(target=_work, args=(theirs, do, task, dict(os.environ)), daemon=True)
                process.start()
                theirs.close()
                running[ours] = process, task
            for pipe in cast(list[connection.Connection], connection.wait(list(running))):
                process, task = running[pipe]
                try:
                    yield task, pipe.recv()
                except (EOFError, OSError):
                    del running[pipe]
                    process.join()
                    if process.exitcode:
                        yield task, Died(_reason(process.exitcode))
    finally:
        for process, _ in running.values():
            process.terminate()
        deadline = time.monotonic() + SECONDS_TO_END
        for process, _ in running.values():
            process.join(max(deadline - time.monotonic(), 1))
            process.kill()


def _reason(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, probably because memory ran out"
    if exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return "its process ended"


def _work(
    pipe: connection.Connection, do: Callable[[Task], Iterator[Any]], task: Task, environment: dict[str, str]
) -> None:
    interrupt_once()
    masking.install()
    os.environ.clear()  # the fork server's environment may be older than the driver's
    os.environ.update(environment)
    # An OSError means that the driver has died.
    with suppress(OSError, KeyboardInterrupt):
        for result in do(task):
            pipe.send(result)
