"""Worker processes on a Ray cluster, with the same methods as `processes.Processes`."""

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
from analysis.common.masking import without_password
from pruning_study.study.processes import Died

# Number of times that a step is retried after its machine was lost.
RETRIES = 5
PROBE_SECONDS = 5


class StoredArray:
    """An array in the cluster's object store, which copies it to each node once, for all processes there.

    Parameters
    ----------
    array : np.ndarray
        It is copied.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._reference = ray.put(array)

    def numpy(self) -> np.ndarray:
        """Return the stored array itself, which is read-only."""
        return ray.get(self._reference)


def connect(tracking_uri: str, *, gpus: float) -> None:
    """Connect to a running cluster: the one at $RAY_ADDRESS, or the one on this machine.

    Parameters
    ----------
    tracking_uri : str
        Store that the runs are written to.
    gpus : float
        Number of GPUs for each step; below 1, a share of a GPU.

    Raises
    ------
    StudyError
        If no cluster answers, if no machine has a core and the GPUs for a step, or if several machines would write to a
        store that is not an MLflow server.
    """
    _probe(os.environ.get("RAY_ADDRESS"))
    try:
        ray.init(address="auto", log_to_driver=True, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(first_line(error)) from error
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if not any(node["Resources"].get("CPU", 0) >= 1 and node["Resources"].get("GPU", 0) >= gpus for node in nodes):
        ray.shutdown()
        raise StudyError(f"no machine of the cluster has a core and {gpus:g} GPUs", option="gpus_per_step")
    machines = {node["NodeManagerAddress"] for node in nodes}
    if len(machines) > 1 and not tracking_uri.startswith("http"):
        ray.shutdown()
        raise StudyError(
            f"{without_password(tracking_uri)} is a file or a database, but the cluster has {len(machines)} machines: "
            "start `mlflow server` and set MLFLOW_TRACKING_URI=http://...",
            option="executor",
        )


def _probe(address: str | None) -> None:
    """Check that the address accepts connections, because Ray would retry for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
        except OSError as error:
            raise _no_cluster(f"RAY_ADDRESS={address}: {error.strerror or error}") from error


def _no_cluster(reason: str) -> StudyError:
    return StudyError(
        f"no Ray cluster answers ({reason}): start one with `ray start --head`, and on each further machine "
        "`ray start --address=HOST:6379`; or set RAY_ADDRESS",
        option="executor",
    )


class Cluster:
    """The connected cluster, as a context manager. Leaving the `with` block interrupts running tasks.

    This process's `MLFLOW_*` variables are passed to the cluster's processes.

    Parameters
    ----------
    do : callable
        Does a task in a process of the cluster, and returns the task's result. The callable is pickled, so each process
        has its own copy.
    gpus : float
        Number of GPUs, or share of one, that a task uses in addition to one CPU core; 0 for none.
    """

    def __init__(self, do: Callable[[Any], Any], *, gpus: float) -> None:
        self._gpus = gpus
        # Ray writes its runtime environment to its log, passwords included, so the variables are passed as an object.
        variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        self._do: list[ray.ObjectRef] = [ray.put(variables), ray.put(do)]
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_do)
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
        resources = ray.cluster_resources()
        count = resources.get("CPU", 0)
        if self._gpus:
            count = min(count, resources.get("GPU", 0) / self._gpus)
        return [number for number in range(int(count)) if number not in busy]

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
