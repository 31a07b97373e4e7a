"""Signals that end a call, and when they count."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = signal.SIGALRM
SECONDS_OF_A_FINALIZER = 0.01


class _Interrupt(KeyboardInterrupt):
    """Raised by a signal."""


def interrupt_once() -> None:
    """Have the first of the signals raise KeyboardInterrupt, and the others do nothing.

    What the caller has had ignored stays ignored, as `nohup` does with SIGHUP.
    """
    sys.unraisablehook = _interrupt_again
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    # `mlflow run` passes Ctrl-C on as a second signal, which must not break off the tidying up.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise _Interrupt


def _interrupt_again(lost: Any) -> None:
    """Interrupt once more where it came while Python ran a finalizer, which cannot raise; at the exit it is lost."""
    if isinstance(lost.exc_value, _Interrupt) and "atexit" not in (lost.err_msg or ""):
        signal.signal(AGAIN, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_OF_A_FINALIZER)
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait until the block is through; Python takes them in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, Any]] = []
    numbers = (*SIGNALS, AGAIN)
    handlers = [signal.signal(number, lambda *arguments: waiting.append(arguments)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        for received, _ in waiting:
            signal.raise_signal(received)
