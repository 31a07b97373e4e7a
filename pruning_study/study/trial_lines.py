"""Lines that say how a search goes, and how long the rest will take."""

import sys
import time

from tqdm import tqdm

from analysis.common.terminal import folded
from pruning_study.study.pace import duration


class TrialLines:
    """A line for each trial that this process makes, above the bar of a training.

    Parameters
    ----------
    total : int
        Number of trials that the search is to have.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._made = 0

    def ended(self, count: int, line: str) -> None:
        """Say what a trial came to.

        Parameters
        ----------
        count : int
            Trials that have ended, those of earlier calls and of other processes too.
        line : str
        """
        self._made += 1
        trials_left = self._total - count
        seconds = (time.monotonic() - self._start) / self._made * trials_left
        rest = f"; about {duration(seconds)} left" if trials_left > 0 else ""
        tqdm.write(folded(f"[{count}/{self._total}] {line}{rest}"), file=sys.stderr)
