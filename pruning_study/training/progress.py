"""Show a training's progress: by a bar on a terminal, otherwise by occasional lines if the command enables them."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from analysis.common.printable import folded
from analysis.runs import schema

SECONDS_BETWEEN_LINES = 20
SLOW_SECONDS = 60  # if a command will take longer, a line after a training's first epoch gives the time left
BAR = "{desc}: {n_fmt}/{total_fmt} epochs, {remaining} left{postfix} |{bar}|"  # the bar fills the rest of the line

Report = Callable[[int, Mapping[str, float]], None]


class Lines:
    """Settings of the progress lines of this process; a study's workers print none, because the study prints its own.

    Attributes
    ----------
    shown : bool
    what : str
        Variant that is trained, such as a ratio, printed after the name of the training.
    later : int
        Number of epochs that the command trains after this training.
    advice : str
        Advice to print if training is slow.
    last : float
        Time of the last line, on the monotonic clock.
    """

    shown = False
    what = ""
    later = 0
    advice = ""
    last = 0.0


def begin(line: str) -> None:
    """Enable lines for the trainings of this command, and show a first line."""
    Lines.shown = True
    _show(line, time.monotonic())


def _show(line: str, now: float) -> None:
    """Print a line, unless stderr is a terminal, where a bar is shown instead."""
    Lines.last = now
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


@contextmanager
def named(what: str, later: int = 0) -> Iterator[None]:
    """Set the name of the variant that the `with` block trains, and the number of epochs trained after the block."""
    Lines.what, Lines.later = what, later
    try:
        yield
    finally:
        Lines.what, Lines.later = "", 0


@contextmanager
def reporting(stream: str, epochs: int) -> Iterator[Report]:
    """Show a bar over the epochs of a training, and yield a function that reports the end of an epoch.

    Parameters
    ----------
    stream : str
        Name of the training.
    epochs : int
    """
    start = time.monotonic()
    stream = f"{stream}, {Lines.what}" if Lines.what else stream
    is_first = True
    with tqdm(total=epochs, desc=stream, disable=None, leave=False, dynamic_ncols=True, bar_format=BAR) as bar:

        def report(epoch: int, metrics: Mapping[str, float]) -> None:
            nonlocal is_first
            shown = {name: f"{metrics[name]:.3f}" for name in (schema.TRAIN_LOSS, schema.VAL_ACCURACY)}
            bar.set_postfix({schema.VAL_ACCURACY: shown[schema.VAL_ACCURACY]}, refresh=False)
            bar.update()
            now = time.monotonic()
            seconds = (now - start) * (epochs - epoch + Lines.later) / epoch
            if Lines.shown and is_first and seconds > SLOW_SECONDS and Lines.what:
                rest = f"{now - start:.0f} s, and the command about {seconds / 60:.0f} min more"
                tqdm.write(folded(f"{stream}: an epoch takes {rest}{Lines.advice}"), file=sys.stderr)
            is_first = False
            if Lines.shown and now - Lines.last > SECONDS_BETWEEN_LINES:
                values = ", ".join(f"{name} {value}" for name, value in shown.items())
                _show(f"{stream}: epoch {epoch} of {epochs}, {values}, {now - start:.0f} s", now)

        yield report
