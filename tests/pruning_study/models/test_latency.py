import time

import pytest

from pruning_study.models.latency import interleaved, median_interval


def test_the_interval_of_a_median_ends_at_two_of_the_times():
    # Of 11 times, at most one lies below the median with probability 12/2048 = .006, at most two with 67/2048 = .033.
    # Between them is .025, so that the interval goes from the second time to the last but one.
    times = [5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 11.0, 4.0, 10.0, 6.0, 1000.0]
    assert median_interval(times) == (6.0, 2.0, 11.0)


def test_two_networks_take_turns_in_being_loaded_and_called_first_and_the_share_is_of_the_first():
    """The network that came second was the faster one, so that a network was faster than itself."""
    loads, calls = [], []

    def waiting(name, seconds):
        def call():
            calls.append(name)
            time.sleep(seconds)

        def load():
            loads.append(name)
            return call

        return load

    found = interleaved(waiting("slow", 0.004), waiting("fast", 0.001))
    assert loads == ["slow", "fast", "fast", "slow"] * 3
    assert calls[6:14] == ["slow", "fast", "fast", "slow"] * 2  # after three calls of each to warm up
    assert calls.count("slow") == calls.count("fast")
    assert found.first.median >= 4
    assert found.second.median >= 1
    assert found.share.low <= found.share.median <= found.share.high < 1
    assert found.share.median == pytest.approx(found.second.median / found.first.median, rel=0.5)
