"""Show how a training goes: a bar on a terminal, and elsewhere a line now and then if the command wants lines."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from analysis.runs import schema

SECONDS_BETWEEN_LINES = 20

Report = Callable[[int, Mapping[str, float]], None]


class Lines:
    """Whether the trainings of this process show lines. Those of a study's workers do not: the study shows its own.

    Attributes
    ----------
    shown : bool
    """

    shown = False


@contextmanager
def reporting(stream: str, epochs: int) -> Iterator[Report]:
    """Show a bar over the epochs of a training, and give a function that reports the end of an epoch.

    Parameters
    ----------
    stream : str
        Name of the training.
    epochs : int
    """
    start = last = time.monotonic()
    with tqdm(total=epochs, desc=stream, unit="epoch", disable=None, leave=False) as bar:

        def report(epoch: int, metrics: Mapping[str, float]) -> None:
            nonlocal last
            shown = {name: f"{metrics[name]:.3f}" for name in (schema.TRAIN_LOSS, schema.VAL_ACCURACY)}
            bar.set_postfix(shown, refresh=False)
            bar.update()
            now = time.monotonic()
            if Lines.shown and bar.disable and now - last > SECONDS_BETWEEN_LINES:
                last = now
                values = ", ".join(f"{name} {value}" for name, value in shown.items())
                print(
                    f"{stream}: epoch {epoch} of {epochs}, {values}, {now - start:.0f} s", file=sys.stderr, flush=True
                )

        yield report
