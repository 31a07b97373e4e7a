"""Wait for a state, or end a test that hangs. A busy machine may take minutes for what takes a second otherwise."""

import time
from contextlib import contextmanager

# MLflow, whose requests are to fail at once, would repeat them for four minutes.
SECONDS = 600


def wait_until(condition, process=None):
    """Wait until a condition holds; `process`, if given, must run meanwhile."""
    end = time.monotonic() + SECONDS
    while not condition():
        if process is not None:
            status = process.poll() if hasattr(process, "poll") else process.returncode
            assert status is None, f"the process ended with {status}"
        assert time.monotonic() < end, f"it did not come within {SECONDS} seconds"
        time.sleep(0.02)


@contextmanager
def in_time():
    """Check that the block ends before the deadline."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SECONDS
