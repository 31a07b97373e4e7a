"""What a long training says on its way, where there is no terminal."""

import pytest
from tqdm import tqdm

from pruning_study.training import progress

METRICS = {"train_loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.75}


@pytest.mark.parametrize("shown", [True, False])
def test_a_command_shows_a_line_now_and_then__and_a_worker_of_a_study_none(monkeypatch, capsys, shown):
    clock = iter([0, 10, 25, 30, 50])  # the start, and the ends of four epochs
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress.Lines, "shown", shown)
    monkeypatch.setattr(progress.Lines, "last", 0.0)
    with progress.reporting("dense", 4) as report:
        for epoch in range(1, 5):
            report(epoch, METRICS)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"dense: epoch {epoch} of 4, train_loss 0.500, val_accuracy 0.750, {seconds} s"
        for epoch, seconds in ([(2, 25), (4, 50)] if shown else [])
    ]


def test_a_command_of_short_trainings_says_at_once_what_it_does_and_then_how_it_goes(monkeypatch, capsys):
    """The command starts at 0 s. An epoch takes 15 s, and no training 20 s."""
    clock = iter([0, 10, 15, 16, 31])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress.Lines, "shown", False)
    monkeypatch.setattr(progress.Lines, "last", 0.0)
    progress.begin("getting ready")
    assert capsys.readouterr().err == "getting ready\n"
    for name in ("dense", "fine-tuning"):
        with progress.reporting(name, 1) as report:
            report(1, METRICS)
    assert capsys.readouterr().err == "fine-tuning: epoch 1 of 1, train_loss 0.500, val_accuracy 0.750, 15 s\n"


def test_a_slow_command_is_said_to_be_after_its_first_epoch_with_what_comes_later(monkeypatch, capsys):
    """An epoch takes 30 s; 3 epochs of this training and 16 of others are left: 9.5 minutes."""
    clock = iter([0, 30, 60, 90, 120])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress.Lines, "shown", True)
    monkeypatch.setattr(progress.Lines, "last", 0.0)
    monkeypatch.setattr(progress.Lines, "advice", "; take a smaller one")
    with progress.named("ratio 4", 16), progress.reporting("fine-tune", 4) as report:
        for epoch in range(1, 5):
            report(epoch, METRICS)
    first, *others = capsys.readouterr().err.splitlines()
    said = "fine-tune, ratio 4: an epoch takes 30 s, and the command about 10 min more; take a smaller one"
    assert " ".join([first, others[0]]) == said
    assert len(others) == 5
    assert all(line.startswith("fine-tune, ratio 4: epoch ") for line in others[1:])


def test_a_bar_shows_the_ratio_the_accuracy_and_the_time_left_in_80_columns():
    """One epoch of 40 took 30 s: 19.5 minutes are left."""
    shown = tqdm.format_meter(
        1, 40, 30, ncols=80, prefix="fine-tune, ratio 12.5", postfix="val_accuracy=0.750", bar_format=progress.BAR
    )
    assert shown.startswith("fine-tune, ratio 12.5: 1/40 epochs, 19:30 left, val_accuracy=0.750 |")
    assert len(shown) <= 80
