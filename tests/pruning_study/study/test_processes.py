import os
import signal
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from pruning_study.study.processes import Died, SharedMemory, outcomes
from tests.deadline import in_time, wait_until


def act(task):
    """Run in a process."""
    kind, value = task
    yield os.getpid()
    if kind == "die":
        os.kill(os.getpid(), value)
    if kind == "exit":
        os._exit(value)
    if kind == "sleep":
        Path(value).touch()
        time.sleep(600)
    if kind == "add":
        value.numpy()[0] += 10


def test_each_task_has_a_process_of_its_own_whose_results_come_in_turn():
    results = list(outcomes(deque(("", place) for place in range(3)), act, 2))
    assert {task for task, _ in results} == {("", 0), ("", 1), ("", 2)}
    assert len({pid for _, pid in results} | {os.getpid()}) == 4


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (("die", signal.SIGKILL), "its process was killed, probably because memory ran out"),
        (("die", signal.SIGSEGV), "its process was ended by SIGSEGV"),
        (("exit", 3), "its process ended"),
    ],
)
def test_one_that_dies_ends_its_own_task_alone(task, reason):
    results = list(outcomes(deque([task, ("", "")]), act, 1))
    assert [each for each, _ in results] == [task, task, ("", "")]
    assert results[1] == (task, Died(reason))


def test_those_that_run_are_interrupted_at_the_end(tmp_path):
    with in_time():
        results = outcomes(deque([("sleep", tmp_path / "begun")]), act, 1)
        next(results)
        wait_until((tmp_path / "begun").exists)
        results.close()


def test_a_shared_array_is_one_for_all():
    shared = SharedMemory(np.array([1, 2], dtype=np.int64))
    list(outcomes(deque([("add", shared)] * 2), act, 1))
    assert shared.numpy().tolist() == [21, 2]
    assert SharedMemory(np.array([[1.0, 2.0]])).numpy().tolist() == [[1.0, 2.0]]
    assert SharedMemory(np.zeros((0, 3))).numpy().shape == (0, 3)
