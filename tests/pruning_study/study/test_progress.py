import pytest

from pruning_study.config import PruneConfig
from pruning_study.study.pace import Pace, duration
from pruning_study.study.plan import Step
from pruning_study.study.progress import Progress
from pruning_study.study.queue import Outcome, Queue

LENET, RESNET = (PruneConfig(model=model) for model in ("lenet5", "resnet20"))


def test_pace_is_of_each_data_set_and_model():
    pace = Pace()
    steps = [Step("dense", LENET, "", "a", images=3000), Step("dense", RESNET, "", "b", images=100)]
    pace.add(("fashion-mnist-mini", "lenet5"), 1000, 1.0)
    pace.add(("fashion-mnist-mini", "lenet5"), 1000, 3.0)
    assert pace.seconds(steps[:1]) == 6.0  # 500 images a second
    assert pace.seconds(steps) is None
    pace.add(("fashion-mnist-mini", "resnet20"), 10, 1.0)
    assert pace.seconds(steps) == 16.0
    assert pace.seconds([]) == 0.0
    assert pace.seconds([Step("dense", LENET)]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (6060, "1 h 41 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_away_from_a_terminal_each_run_is_one_line(capsys):
    steps = [
        Step("dense", LENET, "", "a", images=100),
        Step("pruned", LENET, "a", "ab", images=50),
        Step("dense", LENET, "", "c", images=9),
    ]
    made = Outcome("made", "2", metrics={"test_accuracy": 0.5}, seconds=4.0)
    failed = Outcome("failed", error="no luck")
    queue = Queue(steps, {"c": "1"})
    with Progress(queue) as progress:
        for step, outcome in zip(steps, (made, failed), strict=False):
            progress.doing(0, step)
            queue.end(step, outcome)
            progress.ended(step, outcome)
    assert capsys.readouterr().err.splitlines() == [
        "[2/3] fashion-mnist-mini lenet5 dense seed 0: made in 4.0 s, accuracy 0.500; 2 s left",
        "[3/3] fashion-mnist-mini lenet5 mp t=10 seed 0: failed, no luck; 2 s left",
    ]


@pytest.mark.attack
def test_terminal_escapes_in_the_error_of_a_run__are_shown_in_its_line_of_progress(capsys):
    step = Step("dense", LENET, "", "a", images=100)
    failed = Outcome("failed", error="class \x1b[2J\nall 100 runs: made")
    queue = Queue([step], {})
    with Progress(queue) as progress:
        progress.doing(0, step)
        queue.end(step, failed)
        progress.ended(step, failed)
    (line,) = capsys.readouterr().err.splitlines()
    assert "failed, class \\x1b[2J\\nall 100 runs: made" in line
