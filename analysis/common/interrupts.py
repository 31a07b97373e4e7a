"""Turn the signals that end a command into one KeyboardInterrupt, and delay it while it would do harm."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT = signal.SIGALRM
REPEAT_SECONDS = 0.01  # longer than a finalizer usually takes

interrupted = False


class _Interrupt(KeyboardInterrupt):
    """KeyboardInterrupt raised by one of the signals."""


def interrupt_once() -> None:
    """Raise KeyboardInterrupt at the first signal, and ignore all later ones.

    A signal that the caller has set to be ignored, as `nohup` does with SIGHUP, stays ignored.
    """
    global interrupted
    interrupted = False
    sys.unraisablehook = _repeat_lost_interrupt
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal was received.

    Long computations call this regularly, because a library may have caught the first KeyboardInterrupt.
    """
    if interrupted:
        raise _Interrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global interrupted
    interrupted = True
    # `mlflow run` passes Ctrl-C on as a second signal, which must not interrupt the cleanup.
    for number in SIGNALS:
        signal.signal(number, _ignore)  # with SIG_IGN, Python prints an error if the signal has just arrived
    raise _Interrupt


def _ignore(signum: int, frame: FrameType | None) -> None:
    pass


def _repeat_lost_interrupt(error: Any) -> None:
    """Repeat an interrupt that was lost because it was raised inside a finalizer.

    Python calls this hook because a finalizer, such as `__del__`, cannot raise. A timer raises the interrupt again a
    moment later, unless the interpreter is exiting.
    """
    if isinstance(error.exc_value, _Interrupt) and "atexit" not in (error.err_msg or ""):
        signal.signal(REPEAT, _repeat)
        signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS, REPEAT_SECONDS)
    else:
        sys.__unraisablehook__(error)


def _repeat(signum: int, frame: FrameType | None) -> None:
    """Stop the timer and raise the interrupt again."""
    # On a busy machine `_repeat_lost_interrupt` may still be running, and the interrupt would be lost again: wait for
    # the timer's next turn.
    while frame:
        if frame.f_code is _repeat_lost_interrupt.__code__:
            return
        frame = frame.f_back
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise _Interrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay the signals that end a command until the end of the block."""
    # Python handles signals in the main thread only, so no other thread can be interrupted.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, Any]] = []
    numbers = (*SIGNALS, REPEAT)
    handlers = [signal.signal(number, lambda *arguments: waiting.append(arguments)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        for received, _ in waiting:
            signal.raise_signal(received)
