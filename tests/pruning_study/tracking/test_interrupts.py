import signal
import subprocess
import sys
import time

import pytest

from pruning_study.tracking.interrupts import SIGNALS

BEGIN = """
import atexit, time
from pruning_study.tracking import interrupts
from pruning_study.tracking.interrupts import interrupt_once, uninterrupted

class Finalized:
    def __del__(self):
        ready()

def ready():
    print("ready", flush=True)
    time.sleep(0.3)

interrupt_once()
"""
WAIT = """
try:
    {when}
    time.sleep(1)
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""


def told(number, code=WAIT, *, before=(), when="ready()", times=1, apart=0.0):
    command = [*before, sys.executable, "-c", BEGIN + code.format(when=when)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(apart)
    return process.communicate(timeout=20)[0].strip()


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts(number):
    assert told(number) == "interrupted"


def test_nohup_is_respected():
    assert told(signal.SIGHUP, before=("nohup",)) == "undisturbed"


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_comes_while_an_object_is_finalized_is_not_lost(number):
    assert told(number, when="Finalized()") == "interrupted"


@pytest.mark.parametrize("apart", [0.0, 0.0002, 0.001])
def test_nor_is_it_where_a_second_follows(apart):
    assert told(signal.SIGTERM, when="Finalized()", times=2, apart=apart) == "interrupted"


def test_nor_where_it_comes_once_more_to_a_finalizer():
    assert told(signal.SIGTERM, when="Finalized(); Finalized()").splitlines() == ["ready", "interrupted"]


def test_it_waits_for_the_end_of_what_is_not_to_be_interrupted():
    code = """
interrupts.SECONDS_OF_A_FINALIZER = 0.2
try:
    Finalized()
    with uninterrupted():
        time.sleep(0.4)
        print("whole")
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert told(signal.SIGTERM, code).splitlines() == ["whole", "interrupted"]


def test_one_that_comes_at_the_exit_breaks_off_one_callback_and_no_more():
    code = """
atexit.register(print, "tidied")
atexit.register(time.sleep, 0.2)
atexit.register(ready)
"""
    said = told(signal.SIGTERM, code)
    assert said.startswith("Exception ignored in atexit callback")
    assert said.endswith("tidied")


def test_what_else_a_finalizer_cannot_raise_is_shown():
    code = """
class Failing:
    def __del__(self):
        raise KeyboardInterrupt("of its own")

ready()
Failing()
print("undisturbed")
"""
    said = told(signal.SIGCONT, code)
    assert "Exception ignored in: <function Failing.__del__" in said
    assert "KeyboardInterrupt: of its own" in said
    assert said.endswith("undisturbed")
