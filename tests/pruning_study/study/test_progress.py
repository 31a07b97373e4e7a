import pytest

from pruning_study.options.config import PruneConfig
from pruning_study.study.plan import Step
from pruning_study.study.progress import Progress
from pruning_study.study.queue import Queue, StepOutcome

LENET = PruneConfig()


def test_away_from_a_terminal_each_run_is_one_line(capsys):
    steps = [
        Step("dense", LENET, "", "a", settings_hash="d"),
        Step("pruned", LENET, "a", "ab", settings_hash="p"),
        Step("dense", LENET, "", "c", settings_hash="d"),
    ]
    made = StepOutcome("made", "2", metrics={"test_accuracy": 0.5}, seconds=4.0)
    failed = StepOutcome("failed", error="no luck")
    queue = Queue(steps, {"c": "1"})
    with Progress(queue) as progress:
        for step, outcome in zip(steps, (made, failed), strict=False):
            progress.doing(0, step)
            queue.end(step, outcome)
            progress.ended(step, outcome)
    assert capsys.readouterr().err.splitlines() == [
        "[2/3] fashion-mnist-mini lenet5 dense seed 0: made in 4.0 s, accuracy 0.500; 4 s left",
        "[3/3] fashion-mnist-mini lenet5 mp ratio 10 seed 0: failed, no luck; 4 s left",
    ]


@pytest.mark.attack
def test_terminal_escapes_in_the_error_of_a_run__are_shown_in_its_line_of_progress(capsys):
    step = Step("dense", LENET, "", "a")
    failed = StepOutcome("failed", error="class \x1b[2J\nall 100 runs: made")
    queue = Queue([step], {})
    with Progress(queue) as progress:
        progress.doing(0, step)
        queue.end(step, failed)
        progress.ended(step, failed)
    (line,) = capsys.readouterr().err.splitlines()
    assert "failed, class \\x1b[2J\\nall 100 runs: made" in line
