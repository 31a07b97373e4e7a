import signal
import subprocess
import sys
import time

import pytest

from analysis.common.interrupts import SIGNALS
from tests import deadline

BEGIN = """
import atexit, signal, sys, time
from analysis.common import interrupts
from analysis.common.interrupts import interrupt_once, uninterrupted

class Finalized:
    def __del__(self):
        ready()

class Slow:
    def __del__(self):
        time.sleep(0.3)

def ready():
    print("ready", flush=True)
    sys.stdin.read()  # until the signals are sent

interrupt_once()
"""
WAIT = """
try:
    {when}
    time.sleep({seconds})
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""


def output_after(number, code=WAIT, *, before=(), when="ready()", seconds=600, times=1, apart=0.0):
    """What a program says that gets signals, and then has the given time to be interrupted."""
    command = [*before, sys.executable, "-c", BEGIN + code.format(when=when, seconds=seconds)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout.readline() == "ready\n"
    for _ in range(times):
        process.send_signal(number)
        time.sleep(apart)
    return process.communicate(timeout=deadline.SECONDS)[0].strip()


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts(number):
    assert output_after(number) == "interrupted"


def test_nohup_is_respected():
    assert output_after(signal.SIGHUP, before=("nohup",), seconds=0) == "undisturbed"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_a_finalizer_is_not_lost(number):
    assert output_after(number, when="Finalized()") == "interrupted"


@pytest.mark.parametrize("apart", [0.0, 0.0002, 0.001])
def test_a_signal_during_a_finalizer_is_not_lost_when_a_second_one_follows(apart):
    assert output_after(signal.SIGTERM, when="Finalized()", times=2, apart=apart) == "interrupted"


def test_a_repeated_interrupt_inside_another_finalizer_is_not_lost():
    """The second finalizer prints nothing, since an interrupt may part a line from its end."""
    assert output_after(signal.SIGTERM, when="Finalized(); Slow()") == "interrupted"


def test_a_repeated_interrupt_is_not_lost_where_the_timer_is_faster_than_the_hook_that_sets_it():
    """As on a busy machine, which stops the process between the two."""
    code = """
import signal
setitimer = signal.setitimer

def slow_setitimer(*arguments):
    setitimer(*arguments)
    time.sleep(0.1)

signal.setitimer = slow_setitimer
"""
    assert output_after(signal.SIGTERM, code + WAIT, when="Finalized()") == "interrupted"


def test_an_interrupt_that_a_library_swallows_is_raised_when_it_is_asked_for():
    code = """
try:
    interrupts.raise_if_interrupted()
    try:
        ready()
    except KeyboardInterrupt:
        print("swallowed")
    interrupts.raise_if_interrupted()
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert output_after(signal.SIGTERM, code).splitlines() == ["swallowed", "interrupted"]


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_waits_for_the_end_of_an_uninterrupted_block(times):
    code = """
try:
    with uninterrupted():
        ready()
        print("whole")
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert output_after(signal.SIGTERM, code, times=times).splitlines() == ["whole", "interrupted"]


def test_a_repeated_interrupt_waits_for_the_end_of_an_uninterrupted_block():
    code = """
interrupts.REPEAT_SECONDS = 600
try:
    Finalized()
    with uninterrupted():
        signal.raise_signal(interrupts.REPEAT)
        print("whole")
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert output_after(signal.SIGTERM, code).splitlines() == ["whole", "interrupted"]


def test_a_signal_at_the_exit_ends_one_callback_and_no_more():
    code = """
atexit.register(print, "tidied")
atexit.register(time.sleep, 0.2)
atexit.register(ready)
"""
    output = output_after(signal.SIGTERM, code)
    assert output.startswith("Exception ignored in atexit callback")
    assert output.endswith("tidied")


def test_other_errors_of_a_finalizer_are_shown():
    code = """
class Failing:
    def __del__(self):
        raise KeyboardInterrupt("of its own")

ready()
Failing()
print("undisturbed")
"""
    output = output_after(signal.SIGCONT, code)
    assert "Exception ignored in: <function Failing.__del__" in output
    assert "KeyboardInterrupt: of its own" in output
    assert output.endswith("undisturbed")
