"""Lines that report the progress of a search, with an estimate of the time that is left."""

import sys
import time

from tqdm import tqdm

from analysis.common.printable import folded
from pruning_study.study.pace import duration


class TrialLines:
    """Print a line for each trial that this process makes, above a training's progress bar.

    Parameters
    ----------
    total : int
        Planned number of trials of the search.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._made = 0

    def ended(self, count: int, line: str) -> None:
        """Print the result of a trial.

        Parameters
        ----------
        count : int
            Number of trials that have ended, including those of earlier calls and of other processes.
        line : str
        """
        self._made += 1
        trials_left = self._total - count
        seconds = (time.monotonic() - self._start) / self._made * trials_left
        rest = f"; about {duration(seconds)} left" if trials_left > 0 else ""
        tqdm.write(folded(f"[{count}/{self._total}] {line}{rest}"), file=sys.stderr)
