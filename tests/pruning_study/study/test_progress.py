import pytest

from pruning_study.config import PruneConfig
from pruning_study.study.pace import Pace, duration
from pruning_study.study.plan import Step
from pruning_study.study.progress import Progress
from pruning_study.study.queue import Board, Result
from pruning_study.study.worker import Outcome

LENET, RESNET = (PruneConfig(model=model) for model in ("lenet5", "resnet20"))


def test_pace_is_of_each_data_set_and_model():
    pace = Pace()
    steps = [Step("dense", LENET, "a", "a", 3000), Step("dense", RESNET, "b", "b", 100)]
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
        Step("dense", LENET, "a", "a", 100),
        Step("pruned", LENET, "ab", "a", 50),
        Step("dense", LENET, "c", "c", 9),
    ]
    board = Board(steps, {"c": "1"})
    with Progress(board) as progress:
        progress.doing(0, steps[0])
        board.end(steps[0], Result("made", "2"))
        progress.ended(steps[0], Outcome("2", False, {"test_accuracy": 0.5}, 4.0))
        progress.doing(0, steps[1])
        board.end(steps[1], Result("failed", error="no luck"))
        progress.ended(steps[1], Outcome(error="no luck"))
    assert capsys.readouterr().err.splitlines() == [
        "[2/3] fashion-mnist-mini lenet5 dense seed 0: made in 4.0 s, accuracy 0.500; 2 s left",
        "[3/3] fashion-mnist-mini lenet5 mp t=10 seed 0: failed, no luck; 2 s left",
    ]
