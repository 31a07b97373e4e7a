import pytest

from pruning_study.options.config import PruneConfig
from pruning_study.study.pace import Costs, MeasuredCosts, Pace, duration, time_left, together
from pruning_study.study.plan import Step

LENET, RESNET = (PruneConfig(model=model) for model in ("lenet5", "resnet20"))
MINI = "fashion-mnist-mini"


def a_study(seeds, pruned):
    """Return steps: for each seed a dense one, and after it those that start from it."""
    return [
        step
        for seed in range(seeds)
        for step in (
            Step("dense", LENET, "", f"{seed}", trained=600, predicted=100),
            *(Step("pruned", LENET, f"{seed}", f"{seed}-{number}", 1, 300, 100) for number in range(pruned)),
        )
    ]


class TestMeasuredCosts:
    # A dense step of the study takes 4 + 600 * 0.01 + 100 * 0.02 = 12 seconds, a pruned one 1 + 3 + 2 = 6.
    measured = MeasuredCosts(9.0, {(MINI, "lenet5"): Costs(dense=4.0, pruned=1.0, trained=0.01, predicted=0.02)})

    def test_a_step_costs_its_run_and_its_images(self):
        dense, pruned = a_study(1, 1)
        assert self.measured.seconds(dense) == pytest.approx(12)
        assert self.measured.seconds(pruned) == pytest.approx(6)
        assert together([dense, pruned], self.measured.seconds) == pytest.approx(18)

    def test_what_was_not_measured_or_is_not_here_is_unknown(self):
        known = a_study(1, 1)
        for unknown in (Step("dense", RESNET, "", "x", trained=1), Step("dense", LENET)):
            assert self.measured.seconds(unknown) is None
            assert together([*known, unknown], self.measured.seconds) is None
            assert time_left([*known, unknown], self.measured.seconds, 2) is None

    @pytest.mark.parametrize(
        ("workers", "seconds"),
        [
            (1, 2 * 12 + 6 * 6),
            (2, 12 + 3 * 6),  # each worker makes the steps of one seed
            (3, 12 + 2 * 6),  # three pruned steps at once, twice
            (100, 12 + 6),  # a pruned step waits for its dense one, however many workers there are
        ],
    )
    def test_a_plan_on_several_workers(self, workers, seconds):
        assert time_left(a_study(2, 3), self.measured.seconds, workers) == pytest.approx(seconds)

    def test_steps_whose_parent_is_there_do_not_wait(self):
        left = [step for step in a_study(2, 3) if step.kind == "pruned"]
        assert time_left(left, self.measured.seconds, 6) == pytest.approx(6)
        assert time_left(left, self.measured.seconds, 4) == pytest.approx(12)

    def test_a_chain_takes_the_sum_of_its_steps(self):
        chain = [Step("pruned", LENET, f"{level}", f"{level + 1}", level, 300, 100) for level in range(5)]
        assert time_left(chain, self.measured.seconds, 8) == pytest.approx(30)

    def test_nothing_takes_no_time(self):
        assert time_left([], self.measured.seconds, 2) == 0
        assert together([], self.measured.seconds) == 0


class TestPace:
    def test_steps_that_are_alike_take_their_mean(self):
        pace, (dense, pruned, other) = Pace(), a_study(1, 2)
        pace.add(dense, 10.0)
        pace.add(pruned, 5.0)
        pace.add(pruned, 7.0)
        assert (pace.seconds(dense), pace.seconds(other)) == (10.0, 6.0)

    def test_other_steps_count_by_their_images_on_the_same_data_set_and_model(self):
        pace, (dense, pruned) = Pace(), a_study(1, 1)
        resnet = Step("dense", RESNET, "", "b", trained=100)
        assert pace.seconds(dense) is None
        pace.add(dense, 14.0)  # 700 images
        assert pace.seconds(pruned) == 8.0  # 400 images
        assert pace.seconds(resnet) is None
        pace.add(resnet, 30.0)
        assert pace.seconds(pruned) == 8.0


@pytest.mark.parametrize(
    ("seconds", "text"),
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
def test_duration(seconds, text):
    assert duration(seconds) == text
