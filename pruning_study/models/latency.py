"""Measure a network's latency for one image or for a batch."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# A network is called MOST_CALLS times, or until SECONDS have passed, but at least FEWEST_CALLS times.
MOST_CALLS, FEWEST_CALLS, SECONDS = 200, 11, 1.0
# First calls, which are not counted because they allocate memory.
WARM_UP = 3


class Latency(NamedTuple):
    """Median, with a distribution-free 95 % interval, of times per call in milliseconds or of ratios of such times."""

    median: float
    low: float
    high: float


class Compared(NamedTuple):
    """Latencies of two networks called alternately, and the ratio of the second's time to the first's."""

    first: Latency
    second: Latency
    share: Latency


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> Compared:
    """Measure the latencies of two networks by alternate calls, so that a busy machine slows both equally.

    Parameters
    ----------
    first, second : callable
        Each runs a network on one image or on a batch.
    """
    taken = _seconds(first, second)
    ones, others = zip(*taken, strict=True)
    shares = [other / one for one, other in taken]
    return Compared(
        median_interval([1000 * one for one in ones]),
        median_interval([1000 * other for other in others]),
        median_interval(shares),
    )


def latency(call: Callable[[], object]) -> Latency:
    """Measure the latency of a network.

    Parameters
    ----------
    call : callable
        Runs the network on one image or on a batch.
    """
    return median_interval([1000 * taken for (taken,) in _seconds(call)])


def _seconds(*calls: Callable[[], object]) -> list[tuple[float, ...]]:
    """Run the calls in turn, in many rounds; return a tuple for each round, with the seconds that each call took."""
    for _ in range(WARM_UP):
        for call in calls:
            call()
    taken: list[tuple[float, ...]] = []
    since = time.perf_counter()
    longest = len(calls) * SECONDS
    while len(taken) < FEWEST_CALLS or (len(taken) < MOST_CALLS and time.perf_counter() - since < longest):
        taken.append(tuple(map(_timed, calls)))
    return taken


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_interval(values: list[float]) -> Latency:
    """Return the median of independent times, or of independent ratios of times, and its 95 % confidence interval.

    The ends of the interval are two of the sorted values, chosen by the binomial distribution (Conover 1999, Section
    3.2).
    """
    from scipy import stats  # slow to import, and few commands need it

    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return Latency(float(np.median(values)), float(interval.low), float(interval.high))
