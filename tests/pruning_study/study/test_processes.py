import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pruning_study.study.processes import Died, Processes, SharedMemory, worker_count
from tests.deadline import in_time, wait_until


def act(task):
    """Run in a worker."""
    kind, value = task
    if kind == "die":
        os.kill(os.getpid(), value)
    if kind == "exit":
        os._exit(value)
    if kind == "say":
        print(value, file=sys.stderr)
    if kind == "sleep":
        Path(value).touch()
        time.sleep(600)
    return os.getpid()


class Add:
    def __init__(self, array):
        self.array = array

    def __call__(self, number):
        self.array.numpy()[0] += number


def done(workers, count):
    results = []
    while len(results) < count:
        results += workers.results()
    return results


def test_there_are_as_many_as_the_process_may_use_cores():
    allowed = os.sched_getaffinity(0)
    assert worker_count(None, 1000) == len(allowed)
    try:
        os.sched_setaffinity(0, {max(allowed)})
        assert worker_count(None, 1000) == 1
        assert worker_count(3, 1000) == 3
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("wanted", "tasks", "count"), [(5, 2, 2), (2, 5, 2), (5, 0, 1)])
def test_there_are_no_more_than_tasks(wanted, tasks, count):
    assert worker_count(wanted, tasks) == count


def test_each_worker_does_one_task_after_the_other():
    with Processes(2, act, print) as workers:
        pids = set()
        for _ in range(2):
            for number in workers.idle():
                workers.give(number, ("", ""))
            assert workers.idle() == []
            results = done(workers, 2)
            assert sorted(number for number, *_ in results) == [0, 1]
            pids |= {pid for *_, pid in results}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (("die", signal.SIGKILL), "its process was killed, probably because memory ran out"),
        (("die", signal.SIGSEGV), "its process was ended by SIGSEGV"),
        (("exit", 3), "its process ended"),
    ],
)
def test_one_that_dies_is_replaced(task, reason):
    with Processes(1, act, print) as workers:
        workers.give(0, ("", ""))
        ((_, _, first),) = done(workers, 1)
        workers.give(0, task)
        assert done(workers, 1) == [(0, task, Died(reason))]
        workers.give(0, ("", ""))
        ((_, _, second),) = done(workers, 1)
        assert first != second


@pytest.mark.attack
def test_a_worker_process_that_writes_a_uri_with_a_password_to_stderr__is_shown_with_three_stars():
    said = []
    with Processes(1, act, said.append) as workers:
        workers.give(0, ("say", "cannot reach http://me:s3c@ret@host"))
        done(workers, 1)
    assert said == ["cannot reach http://me:***@host"]


def test_what_a_worker_writes_to_stderr_comes_line_by_line():
    said = []
    with Processes(1, act, said.append) as workers:
        workers.give(0, ("say", "one\ntwo"))
        done(workers, 1)
    assert said == ["one", "two"]


def test_a_busy_one_is_interrupted_at_the_end(tmp_path):
    with in_time(), Processes(1, act, print) as workers:
        workers.give(0, ("sleep", tmp_path / "begun"))
        wait_until((tmp_path / "begun").exists)


def test_a_shared_array_is_one_for_all():
    shared = SharedMemory(np.array([[1.0, 2.0]]))
    assert shared.numpy().tolist() == [[1.0, 2.0]]
    shared = SharedMemory(np.array([1, 2], dtype=np.int64))
    with Processes(2, Add(shared), print) as workers:
        for number in (0, 1):
            workers.give(number, 10)
            done(workers, 1)
    assert shared.numpy().tolist() == [21, 2]
    assert SharedMemory(np.zeros((0, 3))).numpy().shape == (0, 3)
