"""How long ONNX Runtime takes for an image, or for a batch of them."""

import time
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from pruning_study.models.onnx_export import INPUT, OUTPUT

# A measurement ends after so many calls, or after so many seconds if it has the fewest calls by then.
MOST_CALLS, FEWEST_CALLS, SECONDS = 200, 11, 1.0
# Calls that are not counted: in the first ones memory is allocated.
WARM_UP = 3


class Latency(NamedTuple):
    """Median time of a call in milliseconds, and its 95 % interval, which assumes no distribution."""

    median: float
    low: float
    high: float


def latency(session: Any, images: np.ndarray) -> Latency:
    """Measure how long an inference session takes for some images.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    images : array [N, ...]
        What one call takes.
    """
    taken: list[float] = []
    for _ in range(WARM_UP):
        session.run([OUTPUT], {INPUT: images})
    since = time.perf_counter()
    while len(taken) < FEWEST_CALLS or (len(taken) < MOST_CALLS and time.perf_counter() - since < SECONDS):
        start = time.perf_counter()
        session.run([OUTPUT], {INPUT: images})
        taken.append(1000 * (time.perf_counter() - start))
    return median_interval(taken)


def median_interval(milliseconds: list[float]) -> Latency:
    """Return the median of independent times, and the 95 % interval of the median.

    The ends are two of the times: the binomial distribution says between which of them, in order, the median lies
    (Conover 1999, Section 3.2).
    """
    interval = stats.quantile_test(milliseconds, p=0.5).confidence_interval(0.95)
    return Latency(float(np.median(milliseconds)), float(interval.low), float(interval.high))
