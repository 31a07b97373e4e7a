"""Processes of a test's own, forked from a server that has imported what they need, which takes seconds."""

import atexit
import os
import runpy
import signal
import sys
import tempfile
import weakref
from multiprocessing import util
from pathlib import Path

from pruning_study.study.processes import CONTEXT, start_server
from tests import deadline


def run_module(name):
    """Do what `python -m` does."""
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_code(code):
    """Do what `python -c` does."""
    exec(code, {"__name__": "__main__"})


class WarmProcess:
    """A process that runs what a new Python would, in the same environment and folder.

    Signals to its group reach no other process. Unlike a new Python it has imported its modules, and an uncaught
    interrupt ends it with the status 1.

    Parameters
    ----------
    run : callable
        `run_module` or `run_code`.
    source : str
        What it runs.
    arguments : sequence
        Of the command line.
    environment : mapping of str
        Variables that differ from those of the caller.
    """

    def __init__(self, run, source, *arguments, **environment):
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        self.output = Path(name)
        weakref.finalize(self, self.output.unlink, missing_ok=True)
        self._process = CONTEXT.Process(
            target=_run,
            args=(run, source, [*map(str, arguments)], {**os.environ, **environment}, str(Path.cwd()), self.output),
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status as in `subprocess`, or None as long as the process runs."""
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def kill_group(self, number=signal.SIGKILL):
        """Send a signal to the process and all that it started."""
        os.killpg(self.pid, number)

    def wait(self, timeout=deadline.SECONDS):
        """Wait until the process has ended, and return what it wrote to stdout and stderr."""
        self._process.join(timeout)
        assert self.returncode is not None, f"it runs longer than {timeout} seconds: {self.output.read_text()}"
        return self.output.read_text()

    def wait_for_output(self, text):
        """Wait until the process has written a text."""
        deadline.wait_until(lambda: text in self.output.read_text(), self)


def _run(run, source, arguments, environment, folder, output):
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    sys.argv = ["-c" if run is run_code else source, *arguments]
    sys.path.insert(0, folder)
    # Now, because a process that has a SQLite store open must not be forked.
    util.spawnv_passfds = _fork_server
    tempfile.tempdir = str(output.parent)  # for its socket: a test's own path may be too long
    start_server()
    util.spawnv_passfds = _spawn
    tempfile.tempdir = None
    try:
        run(source)
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing leaves out


_spawn = util.spawnv_passfds


def _fork_server(executable, arguments, kept):
    """Fork the server of a study's workers, rather than start a Python that imports everything again."""
    *_, code = arguments
    if "multiprocessing.forkserver" not in code:
        return _spawn(executable, arguments, kept)
    if pid := os.fork():
        return pid
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    tempfile.tempdir = None
    try:
        exec(code, {})
    finally:
        os._exit(0)
