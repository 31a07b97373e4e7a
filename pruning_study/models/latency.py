"""How long a network takes for an image, or for a batch of them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# A measurement ends after so many calls, or after so many seconds if it has the fewest calls by then.
MOST_CALLS, FEWEST_CALLS, SECONDS = 200, 11, 1.0
# Calls that are not counted: in the first ones memory is allocated.
WARM_UP = 3


class Latency(NamedTuple):
    """Median time of a call in milliseconds, and its 95 % interval, which assumes no distribution."""

    median: float
    low: float
    high: float


def latency(call: Callable[[], object]) -> Latency:
    """Measure how long a network takes for some images.

    Parameters
    ----------
    call : callable
        Computes the network's outputs for the images.
    """
    taken: list[float] = []
    for _ in range(WARM_UP):
        call()
    since = time.perf_counter()
    while len(taken) < FEWEST_CALLS or (len(taken) < MOST_CALLS and time.perf_counter() - since < SECONDS):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return median_interval(taken)


def median_interval(milliseconds: list[float]) -> Latency:
    """Return the median of independent times, and the 95 % interval of the median.

    The ends are two of the times: the binomial distribution says between which of them, in order, the median lies
    (Conover 1999, Section 3.2).
    """
    from scipy import stats  # the command line must not wait for it

    interval = stats.quantile_test(milliseconds, p=0.5).confidence_interval(0.95)
    return Latency(float(np.median(milliseconds)), float(interval.low), float(interval.high))
