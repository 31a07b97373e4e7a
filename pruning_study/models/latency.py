"""Measure how long a network takes for an image, or for a batch of them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# A measurement ends after MOST_CALLS, or after SECONDS if it has FEWEST_CALLS by then.
MOST_CALLS, FEWEST_CALLS, SECONDS = 200, 11, 1.0
# Calls that are not counted: in the first ones memory is allocated.
WARM_UP = 3


class Latency(NamedTuple):
    """Median time of a call in milliseconds, and its 95 % interval, which assumes no distribution."""

    median: float
    low: float
    high: float


class Compared(NamedTuple):
    """Times of two networks that take turns, and the time of the second as a share of the first's."""

    first: Latency
    second: Latency
    share: Latency


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> Compared:
    """Measure how long two networks take for some images, in turns, so that a busy machine slows both.

    Parameters
    ----------
    first, second : callable
        Each computes a network's outputs for the images.
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
    """Measure how long a network takes for some images.

    Parameters
    ----------
    call : callable
        Computes the network's outputs for the images.
    """
    return median_interval([1000 * taken for (taken,) in _seconds(call)])


def _seconds(*calls: Callable[[], object]) -> list[tuple[float, ...]]:
    """Time the calls in turns, again and again; return the seconds of each call in each turn."""
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
    """Return the median of independent times, or shares of times, and the 95 % interval of the median.

    The ends are two of the sorted times; by the binomial distribution the median lies between them (Conover 1999,
    Section 3.2).
    """
    from scipy import stats  # imported here, so that the command line need not wait for it

    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return Latency(float(np.median(values)), float(interval.low), float(interval.high))
