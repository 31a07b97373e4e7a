import signal
import subprocess
import sys
import time

import pytest

from pruning_study.interrupts import SIGNALS

CODE = """
import time
from pruning_study.interrupts import interrupt_once

class Finalized:
    def __del__(self):
        ready()

def ready():
    print("ready", flush=True)
    time.sleep(0.5)

interrupt_once()
try:
    {when}
    time.sleep(1)
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""


def told(number, *, before=(), when="ready()"):
    command = [*before, sys.executable, "-c", CODE.format(when=when)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    return process.communicate(timeout=20)[0].strip()


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts(number):
    assert told(number) == "interrupted"


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_comes_while_an_object_is_finalized_is_not_lost(number):
    assert told(number, when="Finalized()") == "interrupted"


def test_nohup_is_respected():
    assert told(signal.SIGHUP, before=("nohup",)) == "undisturbed"
    assert told(signal.SIGHUP, before=("nohup",), when="Finalized()") == "undisturbed"
