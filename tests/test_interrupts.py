import signal
import subprocess
import sys
import time

CODE = """
import time
from pruning_study.interrupts import interrupt_once
interrupt_once()
print("ready", flush=True)
try:
    time.sleep(1)
    print("undisturbed")
except KeyboardInterrupt:
    print("interrupted")
"""


def told(number, *, before=()):
    process = subprocess.Popen([*before, sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    return process.communicate(timeout=20)[0].strip()


def test_each_signal_interrupts():
    assert [told(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == ["interrupted"] * 3


def test_nohup_is_respected():
    assert told(signal.SIGHUP, before=("nohup",)) == "undisturbed"
