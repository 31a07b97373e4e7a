"""Signals that end a call, and when they count."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_OF_A_FINALIZER = 0.01


def interrupt_once() -> None:
    """Have the first of the signals raise KeyboardInterrupt, and the others do nothing.

    What the caller has had ignored stays ignored, as `nohup` does with SIGHUP.
    """
    sys.unraisablehook = _send_again
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    # `mlflow run` passes Ctrl-C on as a second signal, which must not break off the tidying up.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(signum)


def _send_again(lost: Any) -> None:
    """Send a signal again whose KeyboardInterrupt came while Python ran a finalizer, which cannot raise."""
    if isinstance(lost.exc_value, KeyboardInterrupt) and lost.exc_value.args:
        (signum,) = lost.exc_value.args
        signal.signal(signum, _interrupt)
        threading.Timer(SECONDS_OF_A_FINALIZER, os.kill, (os.getpid(), signum)).start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait until the block is through; Python takes them in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, Any]] = []
    handlers = [signal.signal(number, lambda *arguments: waiting.append(arguments)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
        for received, _ in waiting:
            signal.raise_signal(received)
