"""Worker processes on the Ray cluster at RAY_ADDRESS, with the same methods as `processes.Processes`."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Self

import numpy as np
import ray
from ray.exceptions import RayError

from analysis.common import masking
from analysis.common.errors import StudyError, first_line
from pruning_study.study.processes import Died

# Number of times that a step is retried after its machine was lost.
RETRIES = 5


class StoredArray:
    """An array in the cluster's object store, which copies it to each node once, for all processes there."""

    def __init__(self, array: np.ndarray) -> None:
        self._reference = ray.put(array)

    def numpy(self) -> np.ndarray:
        """Return the stored array itself, which is read-only."""
        return ray.get(self._reference)


def connect() -> None:
    """Connect to the cluster at RAY_ADDRESS; raise a StudyError if none answers there."""
    address = os.environ["RAY_ADDRESS"]
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for a quarter of an hour
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(log_to_driver=True, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({first_line(error)}): start one with "
            "`ray start --head`, or unset RAY_ADDRESS"
        ) from error


class Cluster:
    """The connected cluster, as a context manager. Leaving the `with` block interrupts running tasks.

    This process's `MLFLOW_*` variables are passed to the cluster's processes.

    Parameters
    ----------
    do : callable
        Does a task in a process of the cluster. It is pickled, so each process has its own copy.
    gpus : int
        Number of GPUs that a task uses in addition to one CPU core.
    """

    def __init__(self, do: Callable[[Any], Any], gpus: int) -> None:
        # Ray writes its runtime environment to its log, passwords included, so the variables are passed as an object.
        variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        self._do: list[ray.ObjectRef] = [ray.put(variables), ray.put(do)]
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_do)
        self._kind = "GPU" if gpus else "CPU"
        self._running: dict[ray.ObjectRef, tuple[int, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for reference in self._running:
            with suppress(RayError):
                ray.cancel(reference, force=True)
        ray.shutdown()

    def idle(self) -> list[int]:
        """Return the numbers of the free slots; the cluster could start a task in each slot now."""
        busy = {number for number, _ in self._running.values()}
        return [number for number in range(int(ray.cluster_resources().get(self._kind, 0))) if number not in busy]

    def give(self, number: int, task: Any) -> None:
        """Run a task on the cluster; if its node is lost, the task is retried elsewhere."""
        self._running[self._task.remote(self._do, task)] = (number, task)

    def results(self) -> Iterator[tuple[int, Any, Any]]:
        """Wait until a task is done, and yield the slot's number, the task and the result of each finished task."""
        if not self._running:
            time.sleep(1)  # the cluster has no room at the moment
            return
        references, _ = ray.wait(list(self._running), num_returns=1)
        for reference in references:
            number, task = self._running.pop(reference)
            try:
                yield number, task, ray.get(reference)
            except RayError as error:
                yield number, task, Died(first_line(error))


@cache
def _local_worker(variables: ray.ObjectRef, do: ray.ObjectRef) -> Callable[[Any], Any]:
    """Return this process's copy of `do`, unpickled only once, so that models in its memory serve later tasks."""
    os.environ.update(ray.get(variables))
    masking.install()  # Ray logs what its processes print
    return ray.get(do)


def _do(do: list[ray.ObjectRef], task: Any) -> Any:
    # The references are in a list, because Ray would replace a bare reference by a new copy for each task.
    return _local_worker(*do)(task)
