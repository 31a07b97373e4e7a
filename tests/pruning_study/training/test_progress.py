"""What a long training says on its way, where there is no terminal."""

import pytest

from pruning_study.training import progress

METRICS = {"train_loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.75}


@pytest.mark.parametrize("shown", [True, False])
def test_a_command_shows_a_line_now_and_then__and_a_worker_of_a_study_none(monkeypatch, capsys, shown):
    clock = iter([0, 10, 25, 30, 50])  # the start, and the ends of four epochs
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress.Lines, "shown", shown)
    with progress.reporting("dense", 4) as report:
        for epoch in range(1, 5):
            report(epoch, METRICS)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"dense: epoch {epoch} of 4, train_loss 0.500, val_accuracy 0.750, {seconds} s"
        for epoch, seconds in ([(2, 25), (4, 50)] if shown else [])
    ]
