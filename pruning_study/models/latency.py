"""Measure a network's latency for one image or for a batch."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

# A network is called MOST_CALLS times, or until SECONDS have passed, but at least FEWEST_CALLS times.
MOST_CALLS, FEWEST_CALLS, SECONDS = 200, 11, 1.0
# First calls, which are not counted because they allocate memory.
WARM_UP = 3
# Number of times that networks which are compared are loaded: the fewest with which their medians have a 95 % interval.
LOADS = 6

Call = Callable[[], object]
T = TypeVar("T")


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


def interleaved(first: Callable[[], Call], second: Callable[[], Call]) -> Compared:
    """Measure the latencies of two networks by alternate calls, so that a busy machine slows both equally.

    The networks are loaded `LOADS` times, because two copies of one network differ by a per cent or two, for as long as
    they are in memory. Each network is loaded first and called first half of the time.

    Parameters
    ----------
    first, second : callable
        Each loads a network, and returns a function that runs it on one image or on a batch.
    """
    medians = []
    for number in range(LOADS):
        taken = np.array(_seconds(*_alternately((first, second), number), loads=LOADS))
        ratios = taken[:, 1] / taken[:, 0]
        medians.append([*np.median(1000 * taken, axis=0), np.median(ratios)])
    return Compared(*map(median_interval, np.transpose(medians)))


def latency(call: Call) -> Latency:
    """Measure the latency of a network.

    Parameters
    ----------
    call : callable
        Runs the network on one image or on a batch.
    """
    return median_interval([1000 * taken for (taken,) in _seconds(call)])


def _seconds(*calls: Call, loads: int = 1) -> list[tuple[float, ...]]:
    """Run the calls in turn, in many rounds; return a tuple for each round, with the seconds that each call took.

    If the networks are loaded several times, each time has its share of the rounds.
    """
    for _ in range(WARM_UP):
        for call in calls:
            call()
    timed = [partial(_timed, call) for call in calls]
    taken: list[tuple[float, ...]] = []
    since = time.perf_counter()
    fewest, most, longest = (limit / loads for limit in (FEWEST_CALLS, MOST_CALLS, len(calls) * SECONDS))
    while len(taken) < fewest or (len(taken) < most and time.perf_counter() - since < longest):
        taken.append(_alternately(timed, len(taken)))
    return taken


def _alternately(calls: Sequence[Callable[[], T]], number: int) -> tuple[T, ...]:
    """Run the calls, in reverse order if the number is odd; return their results in the order of the calls."""
    step = -1 if number % 2 else 1
    return tuple(call() for call in calls[::step])[::step]


def _timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_interval(values: Sequence[float]) -> Latency:
    """Return the median of independent times, or of independent ratios of times, and its 95 % confidence interval.

    The ends of the interval are two of the sorted values, chosen by the binomial distribution (Conover 1999, Section
    3.2).
    """
    from scipy import stats  # slow to import, and few commands need it

    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return Latency(float(np.median(values)), float(interval.low), float(interval.high))
