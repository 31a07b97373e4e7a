import pytest

from pruning_study.options.config import PruneConfig
from pruning_study.study.pace import Pace, duration, time_left, together
from pruning_study.study.plan import Step

LENET, RESNET = (PruneConfig(model=model) for model in ("lenet5", "resnet20"))


def a_study(seeds, pruned):
    """Return steps: for each seed a dense one, and after it those that start from it."""
    return [
        step
        for seed in range(seeds)
        for step in (
            Step("dense", LENET, "", f"{seed}"),
            *(Step("pruned", LENET, f"{seed}", f"{seed}-{number}", 1) for number in range(pruned)),
        )
    ]


def seconds(step):
    """A dense step takes 12 seconds, and a pruned one 6; those of ResNet-20 are unknown."""
    return None if step.config is RESNET else {"dense": 12.0, "pruned": 6.0}[step.kind]


def test_the_time_of_steps_is_unknown_if_that_of_one_is():
    assert together(a_study(1, 1), seconds) == 18
    steps = [*a_study(1, 1), Step("dense", RESNET, "", "x")]
    assert together(steps, seconds) is None
    assert time_left(steps, seconds, 2) is None


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, 2 * 12 + 6 * 6),
        (2, 12 + 3 * 6),  # each worker makes the steps of one seed
        (100, 12 + 6),  # a pruned step waits for its dense one, however many workers there are
    ],
)
def test_the_time_left_is_a_workers_share_or_the_longest_chain(workers, expected):
    assert time_left(a_study(2, 3), seconds, workers) == pytest.approx(expected)


def test_steps_whose_parent_is_there_do_not_wait():
    left = [step for step in a_study(2, 3) if step.kind == "pruned"]
    assert time_left(left, seconds, 6) == pytest.approx(6)
    assert time_left(left, seconds, 4) == pytest.approx(9)


def test_a_chain_takes_the_sum_of_its_steps():
    chain = [Step("pruned", LENET, f"{level}", f"{level + 1}", level) for level in range(5)]
    assert time_left(chain, seconds, 8) == pytest.approx(30)


def test_nothing_takes_no_time():
    assert time_left([], seconds, 2) == 0
    assert together([], seconds) == 0


def test_the_pace_is_the_mean_of_the_runs_below_the_first_key_that_has_any():
    pace = Pace()
    assert pace.seconds("mp", "tiny") is None
    pace.add(10.0, "mp", "tiny")
    pace.add(6.0, "mp", "tiny")
    pace.add(2.0, "gp", "tiny")
    assert (pace.seconds("mp", "tiny"), pace.seconds("up", "tiny"), pace.seconds("up")) == (8.0, 6.0, None)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "unknown"),
        (0.4, "0 s"),
        (99, "99 s"),
        (100, "1 min 40 s"),
        (184.6, "3 min 05 s"),
        (629, "10 min"),
        (5900, "98 min"),
        (6060, "1 h 41 min"),
    ],
)
def test_duration(given, text):
    assert duration(given) == text
