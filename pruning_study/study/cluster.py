"""Make the lineages of a study on the Ray cluster at RAY_ADDRESS, as `processes` does on this machine."""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

import ray
from ray.exceptions import RayError

from analysis.common import masking
from analysis.common.errors import StudyError, first_line
from pruning_study.study.processes import Died, Task

RETRIES = 5  # after a task's machine was lost


def connect(device: str | None = None) -> int:
    """Connect to the cluster at RAY_ADDRESS, and return how many tasks it does at once on a device.

    Raises
    ------
    StudyError
        If no cluster answers.
    """
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
    return int(ray.cluster_resources().get("GPU" if device == "cuda" else "CPU", 0))


def outcomes(tasks: deque[Task], do: Callable[[Task], Iterator[Any]], gpus: int) -> Generator[tuple[Task, Any | Died]]:
    """Do tasks on the connected cluster, each on a core and some GPUs; else like `processes.outcomes`."""
    # Ray writes its runtime environment to its log, passwords included, so the variables are passed as an object.
    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    work: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_work)
    shared = ray.put((do, variables))
    running: dict[Any, Task] = {}
    try:
        while tasks or running:
            while tasks:
                task = tasks.popleft()
                running[work.remote(shared, task)] = task
            (reference,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(reference)
            try:
                yield from ((task, result) for result in ray.get(reference))
            except RayError as error:
                yield task, Died(first_line(error))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        ray.shutdown()


def _work(shared: tuple[Callable[[Task], Iterator[Any]], dict[str, str]], task: Task) -> list[Any]:
    do, variables = shared
    os.environ.update(variables)
    masking.install()  # Ray logs what its processes print
    return list(do(task))
